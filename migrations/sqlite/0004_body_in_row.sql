-- The received bytes in the row of their message, as its last column: one row and one page to write.
-- What is read without the body stands before it.
ALTER TABLE messages ADD COLUMN body BLOB NOT NULL DEFAULT x'';
UPDATE OR FAIL messages
SET body = coalesce((SELECT bodies.body FROM bodies WHERE bodies.mid = messages.mid), x'');
DROP TABLE bodies;
