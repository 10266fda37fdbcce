-- Addresses that no mail is sent to any more: it came back for good, or its owner complained.
-- Because: 0 hard bounce, 1 complaint.
CREATE TABLE mail_suppressions (
    address TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    because BIGINT NOT NULL,
    text    TEXT COLLATE "C"    NOT NULL,
    since   BIGINT NOT NULL,
    mid     BIGINT
);
