-- Idempotency keys are appended to a log, of which two take turns. A full log is moved, sorted, into a
-- run. The gateway keeps in memory where a key may stand. A message id that is a UUID takes 17 bytes,
-- the first of them zero.
CREATE TABLE key_log_0 (
    id          INTEGER PRIMARY KEY,
    k           BLOB    NOT NULL,
    fp          BLOB    NOT NULL,
    mid         INTEGER NOT NULL,
    message_id  BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL
);
CREATE TABLE key_log_1 (
    id          INTEGER PRIMARY KEY,
    k           BLOB    NOT NULL,
    fp          BLOB    NOT NULL,
    mid         INTEGER NOT NULL,
    message_id  BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL
);
CREATE TABLE sealed_keys (
    run         INTEGER NOT NULL,
    k           BLOB    NOT NULL,
    fp          BLOB    NOT NULL,
    mid         INTEGER NOT NULL,
    message_id  BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL,
    PRIMARY KEY (run, k)
) WITHOUT ROWID;

-- The log whose rows are being moved, while they are. A missing filter is made at the start.
CREATE TABLE key_runs (
    run    INTEGER PRIMARY KEY,
    newest INTEGER NOT NULL,
    half   INTEGER,
    filter BLOB
);

-- The slices of a day become runs.
INSERT OR FAIL INTO sealed_keys (run, k, fp, mid, message_id, accepted_at)
SELECT slice, k, fp, mid, CAST(message_id AS BLOB), accepted_at FROM idempotency ORDER BY slice, k;
INSERT INTO key_runs (run, newest) SELECT slice, max(accepted_at) FROM idempotency GROUP BY slice;
DROP TABLE idempotency;
