-- What waits in a mailbox, kept with every change of it, and how much may.
ALTER TABLE mailboxes ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mailboxes ADD COLUMN max_messages INTEGER;
ALTER TABLE mailboxes ADD COLUMN max_bytes INTEGER;
-- Milliseconds that the oldest may have waited.
ALTER TABLE mailboxes ADD COLUMN max_age INTEGER;
-- 0 hold, 1 refuse, 2 dead letter; nothing: it depends on the sender.
ALTER TABLE mailboxes ADD COLUMN when_full INTEGER;
-- 1: mail for it may wait in the queue, and what follows it waits there too.
ALTER TABLE mailboxes ADD COLUMN overflow INTEGER NOT NULL DEFAULT 0;

UPDATE mailboxes SET
    messages = (SELECT count(*) FROM inbox WHERE inbox.mailbox = mailboxes.id),
    bytes = (SELECT coalesce(sum(m.size), 0) FROM inbox i JOIN messages m ON m.mid = i.mid
             WHERE i.mailbox = mailboxes.id);
