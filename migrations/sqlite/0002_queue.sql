-- The queue: how a delivery travelled and was tried, what was given up, and replies.

-- Bit 1: out of its lane, tried by itself. Bit 2: the destination was at fault last.
-- Bit 4: must travel under a fresh identity. Bit 8: the sender was told of the delay.
ALTER TABLE deliveries ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN first_at INTEGER;
ALTER TABLE deliveries ADD COLUMN last_at INTEGER;
-- How many recipients travel under wire_id.
ALTER TABLE deliveries ADD COLUMN wire_set INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_loose ON deliveries (due_at) WHERE state = 1 AND flags & 1;

-- The address a delivery was handed to.
ALTER TABLE settled ADD COLUMN remote TEXT;

-- A hash of the id of the message this one answers.
ALTER TABLE messages ADD COLUMN answers INTEGER;
CREATE INDEX messages_by_answers ON messages (answers) WHERE answers IS NOT NULL;

-- Ids a message travelled under beside its own.
CREATE TABLE wire_ids (
    wire_id TEXT    PRIMARY KEY,
    mid     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX wire_ids_by_message ON wire_ids (mid);

-- Attempts that did not succeed.
CREATE TABLE attempts (
    id         INTEGER PRIMARY KEY,
    mid        INTEGER NOT NULL,
    recipient  TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    made_at    INTEGER NOT NULL,
    took       INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    error_code TEXT    NOT NULL,
    text       TEXT    NOT NULL,
    remote     TEXT
);
CREATE INDEX attempts_by_message ON attempts (mid);

-- The kept record of a failure. Bounce: 0 none, 1 sent, 2 suppressed.
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    mid         INTEGER NOT NULL,
    recipient   TEXT    NOT NULL,
    party       INTEGER NOT NULL,
    destination TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    error_code  TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    first_at    INTEGER,
    last_at     INTEGER,
    dead_at     INTEGER NOT NULL,
    bounce      INTEGER NOT NULL
);
CREATE INDEX dead_letters_by_message ON dead_letters (mid);
CREATE INDEX dead_letters_by_age ON dead_letters (dead_at);

-- Foreign domains that had a valid record, and when it was last seen.
CREATE TABLE known_domains (
    domain  TEXT    PRIMARY KEY,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX deliveries_by_give_up ON deliveries (give_up_at);
