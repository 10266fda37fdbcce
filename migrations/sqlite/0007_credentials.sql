-- What a key is good for, and who else may administer.

-- Scopes are bits: 1 send, 2 receive, 4 track.
ALTER TABLE api_keys ADD COLUMN scopes INTEGER NOT NULL DEFAULT 7;
-- The name of a set of limits in the configuration.
ALTER TABLE api_keys ADD COLUMN tier TEXT;
ALTER TABLE api_keys ADD COLUMN label TEXT;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;

-- Keys of those who run the gateway, beside the admin key of the configuration.
CREATE TABLE staff_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    hash         BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
);

-- Keys that sign tokens, sealed. A key signs until `signs_until` and is believed until `ends_at`.
CREATE TABLE token_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    sealed      BLOB    NOT NULL,
    public      BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    signs_until INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL
);

-- What was done and by whom: a chain of each gateway, each entry holding the hash of the one before.
CREATE TABLE audit (
    chain TEXT    NOT NULL,
    n     INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    entry BLOB    NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (chain, n)
);
CREATE INDEX audit_by_time ON audit (at, chain, n);

-- Where a chain begins that was cut at its old end.
CREATE TABLE audit_cuts (
    chain TEXT    NOT NULL PRIMARY KEY,
    n     INTEGER NOT NULL,
    hash  BLOB    NOT NULL
);
