-- Tasks: what an A2A client sees of its exchange with an agent.

CREATE TABLE tasks (
    id          TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    agent       BIGINT NOT NULL,
    -- Who made it: nobody else sees it.
    owner       TEXT COLLATE "C"    NOT NULL,
    context     TEXT COLLATE "C"    NOT NULL,
    dialect     BIGINT NOT NULL,
    -- The name an early client gave it.
    alias       TEXT COLLATE "C",
    state       BIGINT NOT NULL,
    status      BYTEA    NOT NULL,
    changed_at  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    -- The position of the last event, the number of messages, the bytes of both.
    seq         BIGINT NOT NULL,
    said        BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    -- Its client has not seen it yet, until then at most.
    held_until  BIGINT NOT NULL,
    deadline_at BIGINT,
    metadata    BYTEA
);
CREATE INDEX tasks_by_owner ON tasks (owner, agent, changed_at, id);
CREATE INDEX tasks_ended ON tasks (changed_at) WHERE state IN (3, 4, 5, 7);
CREATE INDEX tasks_by_deadline ON tasks (deadline_at) WHERE deadline_at IS NOT NULL;

CREATE TABLE task_history (
    task TEXT COLLATE "C"    NOT NULL,
    n    BIGINT NOT NULL,
    body BYTEA    NOT NULL,
    PRIMARY KEY (task, n)
);

-- What happened, in order: it feeds streams and push notifications, and is never changed.
CREATE TABLE task_events (
    task TEXT COLLATE "C"    NOT NULL,
    seq  BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    body BYTEA    NOT NULL,
    PRIMARY KEY (task, seq)
);

-- Artifacts in pieces; `place` is the position of the first piece.
CREATE TABLE task_artifacts (
    task     TEXT COLLATE "C"    NOT NULL,
    artifact TEXT COLLATE "C"    NOT NULL,
    seq      BIGINT NOT NULL,
    place    BIGINT NOT NULL,
    body     BYTEA    NOT NULL,
    PRIMARY KEY (task, artifact, seq)
);

-- The messages by which a task is carried: 0 to the agent, 1 from it.
CREATE TABLE task_links (
    message   TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    task      TEXT COLLATE "C"    NOT NULL,
    direction BIGINT NOT NULL,
    n         BIGINT NOT NULL
);
CREATE INDEX task_links_by_task ON task_links (task, direction, n);

CREATE TABLE task_aliases (
    owner TEXT COLLATE "C"    NOT NULL,
    agent BIGINT NOT NULL,
    alias TEXT COLLATE "C"    NOT NULL,
    task  TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (owner, agent, alias)
);
CREATE INDEX task_aliases_by_task ON task_aliases (task);

-- Requests that may be repeated.
CREATE TABLE task_requests (
    request TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    task    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX task_requests_by_task ON task_requests (task);

-- Where changes are posted, and how far that is.
CREATE TABLE task_pushes (
    task       TEXT COLLATE "C"    NOT NULL,
    id         TEXT COLLATE "C"    NOT NULL,
    dialect    BIGINT NOT NULL,
    url        TEXT COLLATE "C"    NOT NULL,
    sealed     BYTEA,
    created_at BIGINT NOT NULL,
    sent       BIGINT NOT NULL,
    due_at     BIGINT,
    failures   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (task, id)
);
CREATE INDEX task_pushes_due ON task_pushes (due_at) WHERE due_at IS NOT NULL;

-- Keys that sign cards of agents, sealed. A key signs until `signs_until` and is published until `ends_at`.
CREATE TABLE card_keys (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed      BYTEA NOT NULL,
    public      BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    signs_until BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL
);
