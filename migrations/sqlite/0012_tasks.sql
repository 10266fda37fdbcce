-- Tasks: what an A2A client sees of its exchange with an agent.

CREATE TABLE tasks (
    id          TEXT    NOT NULL PRIMARY KEY,
    agent       INTEGER NOT NULL,
    -- Who made it: nobody else sees it.
    owner       TEXT    NOT NULL,
    context     TEXT    NOT NULL,
    dialect     INTEGER NOT NULL,
    -- The name an early client gave it.
    alias       TEXT,
    state       INTEGER NOT NULL,
    status      BLOB    NOT NULL,
    changed_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    -- The position of the last event, the number of messages, the bytes of both.
    seq         INTEGER NOT NULL,
    said        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    -- Its client has not seen it yet, until then at most.
    held_until  INTEGER NOT NULL,
    deadline_at INTEGER,
    metadata    BLOB
);
CREATE INDEX tasks_by_owner ON tasks (owner, agent, changed_at, id);
CREATE INDEX tasks_ended ON tasks (changed_at) WHERE state IN (3, 4, 5, 7);
CREATE INDEX tasks_by_deadline ON tasks (deadline_at) WHERE deadline_at IS NOT NULL;

CREATE TABLE task_history (
    task TEXT    NOT NULL,
    n    INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (task, n)
);

-- What happened, in order: it feeds streams and push notifications, and is never changed.
CREATE TABLE task_events (
    task TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (task, seq)
);

-- Artifacts in pieces; `place` is the position of the first piece.
CREATE TABLE task_artifacts (
    task     TEXT    NOT NULL,
    artifact TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (task, artifact, seq)
);

-- The messages by which a task is carried: 0 to the agent, 1 from it.
CREATE TABLE task_links (
    message   TEXT    NOT NULL PRIMARY KEY,
    task      TEXT    NOT NULL,
    direction INTEGER NOT NULL,
    n         INTEGER NOT NULL
);
CREATE INDEX task_links_by_task ON task_links (task, direction, n);

CREATE TABLE task_aliases (
    owner TEXT    NOT NULL,
    agent INTEGER NOT NULL,
    alias TEXT    NOT NULL,
    task  TEXT    NOT NULL,
    PRIMARY KEY (owner, agent, alias)
);
CREATE INDEX task_aliases_by_task ON task_aliases (task);

-- Requests that may be repeated.
CREATE TABLE task_requests (
    request TEXT NOT NULL PRIMARY KEY,
    task    TEXT NOT NULL
);
CREATE INDEX task_requests_by_task ON task_requests (task);

-- Where changes are posted, and how far that is.
CREATE TABLE task_pushes (
    task       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    dialect    INTEGER NOT NULL,
    url        TEXT    NOT NULL,
    sealed     BLOB,
    created_at INTEGER NOT NULL,
    sent       INTEGER NOT NULL,
    due_at     INTEGER,
    failures   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, id)
);
CREATE INDEX task_pushes_due ON task_pushes (due_at) WHERE due_at IS NOT NULL;

-- Keys that sign cards of agents, sealed. A key signs until `signs_until` and is published until `ends_at`.
CREATE TABLE card_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    sealed      BLOB    NOT NULL,
    public      BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    signs_until INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL
);
