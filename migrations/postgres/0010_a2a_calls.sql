-- Calls: what was asked of A2A agents of others, until it is answered and for a while after that.

CREATE TABLE a2a_calls (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The agent that stands for the other one.
    agent        BIGINT NOT NULL,
    -- The delivery: one call is made of it.
    mid          BIGINT NOT NULL,
    recipient    TEXT COLLATE "C" NOT NULL,
    -- Who may go on with it: the sender, or whoever is in this conversation.
    sender       TEXT COLLATE "C" NOT NULL,
    conversation TEXT COLLATE "C",
    -- Where it was made, what it answers, what came at once: JSON.
    place        BYTEA   NOT NULL,
    asked        BYTEA   NOT NULL,
    heard        BYTEA,
    -- What the other side calls it; empty where it answered at once.
    task         TEXT COLLATE "C" NOT NULL,
    context      TEXT COLLATE "C" NOT NULL,
    -- The state the sender was told last.
    told         TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of what the other side shows when it calls back.
    token        BYTEA,
    looks        BIGINT NOT NULL,
    failures     BIGINT NOT NULL,
    looked_at    BIGINT NOT NULL,
    -- When it is looked at again; nothing once it is over.
    due_at       BIGINT,
    give_up_at   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    ended_at     BIGINT
);
CREATE UNIQUE INDEX a2a_calls_by_delivery ON a2a_calls (mid, recipient);
CREATE INDEX a2a_calls_by_due ON a2a_calls (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX a2a_calls_ended ON a2a_calls (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX a2a_calls_by_token ON a2a_calls (token) WHERE token IS NOT NULL;
CREATE INDEX a2a_calls_by_task ON a2a_calls (agent, task);
CREATE INDEX a2a_calls_by_conversation ON a2a_calls (agent, conversation, created_at) WHERE conversation IS NOT NULL;

-- The messages of a call: what was asked, and what was answered.
CREATE TABLE a2a_call_messages (
    message TEXT COLLATE "C" NOT NULL,
    call    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (message, call)
);
CREATE INDEX a2a_call_messages_by_call ON a2a_call_messages (call);
