-- Connections over which agents are sent their mail as it arrives.

-- A session is attached while a connection holds it, and detached from then on until it is resumed
-- or its time is over. epoch counts its connections. copies: each session of the mailbox gets every
-- message. upto: every message up to that position stands in session_copies. closing: why it is to
-- end, where somebody ended it.
CREATE TABLE sessions (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    token_hash  BLOB    NOT NULL,
    mailbox     INTEGER NOT NULL,
    agent       INTEGER NOT NULL,
    key_id      TEXT    NOT NULL,
    kind        INTEGER NOT NULL,
    copies      INTEGER NOT NULL,
    node        TEXT    NOT NULL,
    remote      TEXT,
    epoch       INTEGER NOT NULL DEFAULT 1,
    opened_at   INTEGER NOT NULL,
    attached_at INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    detached_at INTEGER,
    closing     TEXT,
    upto        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sessions_by_mailbox ON sessions (mailbox);
CREATE INDEX sessions_by_agent ON sessions (agent);

-- What became of a message at a session that gets copies: 0 handed out, 1 acknowledged, 2 put back.
-- What was acknowledged stays known after its session has ended, until the message is gone.
CREATE TABLE session_copies (
    mailbox      INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    session      INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    hidden_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (mailbox, seq, session)
) WITHOUT ROWID;
CREATE INDEX session_copies_open ON session_copies (session, seq) WHERE state <> 1;

-- The session that a message was handed out to and that has not acknowledged it; 0 none, -1 to all
-- that get copies.
ALTER TABLE inbox ADD COLUMN session INTEGER NOT NULL DEFAULT 0;
-- 0 low, 1 normal, 2 high, 3 urgent.
ALTER TABLE inbox ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
CREATE INDEX inbox_handed_out ON inbox (mailbox, sender_hash, session) WHERE session <> 0;
