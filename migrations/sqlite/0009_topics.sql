-- Topics: who subscribed, and what was published. The number of a topic is that of its agent; 0 and -1
-- stand for what goes to all agents, and to all connected ones.

-- The number of the last publication of each topic.
CREATE TABLE topics (
    agent    INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL
);

-- A publication, and up to which subscriber its copies are made.
CREATE TABLE publications (
    topic        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    mid          INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    progress     TEXT    NOT NULL DEFAULT '',
    expanded     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX publications_by_message ON publications (mid, topic);

-- State 0 waits for its confirmation, 1 gets what is published, 2 gets first what was published
-- before. It has everything up to `after_seq`.
CREATE TABLE subscriptions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id  TEXT    NOT NULL,
    topic      INTEGER NOT NULL,
    subscriber TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    agent      INTEGER,
    session    INTEGER,
    filter     BLOB    NOT NULL,
    state      INTEGER NOT NULL,
    after_seq  INTEGER NOT NULL,
    token      BLOB,
    expires_at INTEGER,
    failures   INTEGER NOT NULL DEFAULT 0,
    failed_at  INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX subscriptions_by_public_id ON subscriptions (public_id);
CREATE INDEX subscriptions_by_topic ON subscriptions (topic, state, subscriber, id);
CREATE INDEX subscriptions_by_subscriber ON subscriptions (subscriber, topic);
CREATE INDEX subscriptions_by_agent ON subscriptions (agent) WHERE agent IS NOT NULL;
CREATE INDEX subscriptions_by_session ON subscriptions (session) WHERE session IS NOT NULL;
CREATE INDEX subscriptions_pending ON subscriptions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX subscriptions_behind ON subscriptions (id) WHERE state = 2;

-- When addresses of others were asked to confirm.
CREATE TABLE subscription_requests (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    subscriber   TEXT    NOT NULL,
    requested_at INTEGER NOT NULL
);
CREATE INDEX subscription_requests_by_subscriber ON subscription_requests (subscriber, requested_at);
