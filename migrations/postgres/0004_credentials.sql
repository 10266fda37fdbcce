-- What a key is good for, and who else may administer.

-- Scopes are bits: 1 send, 2 receive, 4 track.
ALTER TABLE api_keys ADD COLUMN scopes BIGINT NOT NULL DEFAULT 7;
-- The name of a set of limits in the configuration.
ALTER TABLE api_keys ADD COLUMN tier TEXT COLLATE "C";
ALTER TABLE api_keys ADD COLUMN label TEXT COLLATE "C";
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;

-- Keys of those who run the gateway, beside the admin key of the configuration.
CREATE TABLE staff_keys (
    id           TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    hash         BYTEA    NOT NULL,
    name         TEXT COLLATE "C"    NOT NULL,
    role         TEXT COLLATE "C"    NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);

-- Keys that sign tokens, sealed. A key signs until `signs_until` and is believed until `ends_at`.
CREATE TABLE token_keys (
    id          TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    sealed      BYTEA    NOT NULL,
    public      BYTEA    NOT NULL,
    created_at  BIGINT NOT NULL,
    signs_until BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL
);

-- What was done and by whom: a chain of each gateway, each entry holding the hash of the one before.
CREATE TABLE audit (
    chain TEXT COLLATE "C"    NOT NULL,
    n     BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    entry BYTEA    NOT NULL,
    hash  BYTEA    NOT NULL,
    PRIMARY KEY (chain, n)
);
CREATE INDEX audit_by_time ON audit (at, chain, n);

-- Where a chain begins that was cut at its old end.
CREATE TABLE audit_cuts (
    chain TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    n     BIGINT NOT NULL,
    hash  BYTEA    NOT NULL
);
