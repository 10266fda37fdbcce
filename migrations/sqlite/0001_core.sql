-- Times are milliseconds since 1970 (UTC). Ids are text, JSON is bytes.

-- One row for each accepted request (a "representation" of a message): narrow, so that listings
-- read few pages. The received bytes stand in `bodies`.
CREATE TABLE messages (
    mid         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  TEXT    NOT NULL,
    sender      TEXT    NOT NULL,
    sender_hash INTEGER NOT NULL,
    trust       INTEGER NOT NULL,
    origin      INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    envelope    BLOB    NOT NULL
);
CREATE INDEX messages_by_message_id ON messages (message_id);
CREATE INDEX messages_by_sender ON messages (sender_hash, mid);

CREATE TABLE bodies (
    mid  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

-- Unsettled deliveries only.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    mid         INTEGER NOT NULL,
    recipient   TEXT    NOT NULL,
    party       INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    shard       INTEGER NOT NULL,
    destination TEXT    NOT NULL,
    state       INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    give_up_at  INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    error_code  TEXT,
    wire_id     TEXT,
    wire_key    TEXT
);
CREATE INDEX deliveries_by_lane ON deliveries (lane, seq);
CREATE INDEX deliveries_by_destination ON deliveries (destination, seq);
CREATE INDEX deliveries_by_due ON deliveries (shard, due_at) WHERE state = 1;
CREATE INDEX deliveries_by_message ON deliveries (mid);
CREATE INDEX deliveries_by_party ON deliveries (party, seq);

-- What became of a delivery; dropped after its retention. Class 1 is acknowledged mail.
CREATE TABLE settled (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    mid             INTEGER NOT NULL,
    recipient       TEXT    NOT NULL,
    party           INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    class           INTEGER NOT NULL,
    settled_at      INTEGER NOT NULL,
    delivered_at    INTEGER,
    acknowledged_at INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    error_code      TEXT
);
CREATE INDEX settled_by_message ON settled (mid);
CREATE INDEX settled_by_party ON settled (party, mid);
CREATE INDEX settled_by_age ON settled (class, settled_at);

CREATE TABLE agents (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    domain         TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    settings       BLOB    NOT NULL,
    sealed_headers BLOB,
    active         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    last_active_at INTEGER,
    deleted_at     INTEGER
);
CREATE UNIQUE INDEX agents_by_address ON agents (domain, name) WHERE deleted_at IS NULL;
CREATE INDEX agents_deleted ON agents (deleted_at) WHERE deleted_at IS NOT NULL;

-- The next inbox position of each agent; the row goes when the agent does.
CREATE TABLE mailboxes (
    id       INTEGER PRIMARY KEY,
    next_seq INTEGER NOT NULL
);

-- For an agent that polls, this row is the delivery.
CREATE TABLE inbox (
    mailbox      INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    mid          INTEGER NOT NULL,
    sender_hash  INTEGER NOT NULL,
    leased_until INTEGER NOT NULL DEFAULT 0,
    read         INTEGER NOT NULL DEFAULT 0,
    recipient    TEXT    NOT NULL,
    PRIMARY KEY (mailbox, seq)
) WITHOUT ROWID;
CREATE INDEX inbox_by_message ON inbox (mid);

-- Kept in slices of one day, so that the pages written are few and old slices go as a range.
CREATE TABLE idempotency (
    slice       INTEGER NOT NULL,
    k           BLOB    NOT NULL,
    fp          BLOB    NOT NULL,
    mid         INTEGER NOT NULL,
    message_id  TEXT    NOT NULL,
    accepted_at INTEGER NOT NULL,
    PRIMARY KEY (slice, k)
) WITHOUT ROWID;

CREATE TABLE api_keys (
    id         TEXT    PRIMARY KEY,
    agent      INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
);
CREATE INDEX api_keys_by_agent ON api_keys (agent);
CREATE INDEX api_keys_by_expiry ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE enrolment_tokens (
    id         TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL,
    domain     TEXT    NOT NULL,
    pattern    TEXT    NOT NULL,
    uses_left  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE blobs (
    id         TEXT    PRIMARY KEY,
    mid        INTEGER,
    size       INTEGER NOT NULL,
    sha256     BLOB    NOT NULL,
    media_type TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    complete   INTEGER NOT NULL
);
CREATE INDEX blobs_by_message ON blobs (mid);
CREATE INDEX blobs_unclaimed ON blobs (created_at) WHERE mid IS NULL;

CREATE TABLE blob_chunks (
    id    TEXT    NOT NULL,
    chunk INTEGER NOT NULL,
    bytes BLOB    NOT NULL,
    PRIMARY KEY (id, chunk)
);
