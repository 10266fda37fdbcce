-- Schemas of payloads that operators stored. An identifier has revisions; every change counts the
-- generation up, by which gateways see that something changed.
CREATE TABLE schemas (
    id         TEXT COLLATE "C" NOT NULL,
    revision   BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    document   BYTEA  NOT NULL,
    sha256     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, revision)
);
CREATE TABLE schema_generation (
    one        BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);
INSERT INTO schema_generation (one, generation) VALUES (1, 0);
