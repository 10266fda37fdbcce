-- Schemas of payloads that operators stored. An identifier has revisions; every change counts the
-- generation up, by which gateways see that something changed.
CREATE TABLE schemas (
    id         TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    document   BLOB    NOT NULL,
    sha256     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT    NOT NULL,
    UNIQUE (id, revision)
);
CREATE TABLE schema_generation (
    one        INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL
);
INSERT INTO schema_generation (one, generation) VALUES (1, 0);
