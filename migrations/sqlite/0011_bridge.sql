-- Addresses that no mail is sent to any more: it came back for good, or its owner complained.
-- Because: 0 hard bounce, 1 complaint.
CREATE TABLE mail_suppressions (
    address TEXT    NOT NULL PRIMARY KEY,
    because INTEGER NOT NULL,
    text    TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    mid     INTEGER
);
