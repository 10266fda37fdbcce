-- The condition in the words both backends understand, so that the index serves the statement.
DROP INDEX deliveries_loose;
CREATE INDEX deliveries_loose ON deliveries (due_at) WHERE state = 1 AND flags & 1 <> 0;
