-- Calls: what was asked of A2A agents of others, until it is answered and for a while after that.

CREATE TABLE a2a_calls (
    id           TEXT    NOT NULL PRIMARY KEY,
    -- The agent that stands for the other one.
    agent        INTEGER NOT NULL,
    -- The delivery: one call is made of it.
    mid          INTEGER NOT NULL,
    recipient    TEXT    NOT NULL,
    -- Who may go on with it: the sender, or whoever is in this conversation.
    sender       TEXT    NOT NULL,
    conversation TEXT,
    -- Where it was made, what it answers, what came at once: JSON.
    place        BLOB    NOT NULL,
    asked        BLOB    NOT NULL,
    heard        BLOB,
    -- What the other side calls it; empty where it answered at once.
    task         TEXT    NOT NULL,
    context      TEXT    NOT NULL,
    -- The state the sender was told last.
    told         TEXT    NOT NULL,
    -- SHA-256 of what the other side shows when it calls back.
    token        BLOB,
    looks        INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    looked_at    INTEGER NOT NULL,
    -- When it is looked at again; nothing once it is over.
    due_at       INTEGER,
    give_up_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER
);
CREATE UNIQUE INDEX a2a_calls_by_delivery ON a2a_calls (mid, recipient);
CREATE INDEX a2a_calls_by_due ON a2a_calls (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX a2a_calls_ended ON a2a_calls (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX a2a_calls_by_token ON a2a_calls (token) WHERE token IS NOT NULL;
CREATE INDEX a2a_calls_by_task ON a2a_calls (agent, task);
CREATE INDEX a2a_calls_by_conversation ON a2a_calls (agent, conversation, created_at) WHERE conversation IS NOT NULL;

-- The messages of a call: what was asked, and what was answered.
CREATE TABLE a2a_call_messages (
    message TEXT NOT NULL,
    call    TEXT NOT NULL,
    PRIMARY KEY (message, call)
);
CREATE INDEX a2a_call_messages_by_call ON a2a_call_messages (call);
