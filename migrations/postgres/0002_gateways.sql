-- The gateways that share this database. One that was not seen for fifteen seconds, by the clock of
-- the database, has lost its lane shards. "alone": it may send before it is on disk, because it
-- knows of no other. "status" is what it tells of its workers, as JSON.
CREATE TABLE gateways (
    node      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    joined_at BIGINT NOT NULL,
    seen_at   BIGINT NOT NULL,
    version   TEXT COLLATE "C" NOT NULL,
    alone     BIGINT NOT NULL,
    status    BYTEA  NOT NULL
) WITH (fillfactor = 30);

-- A slice of all lanes belongs to one gateway; epoch counts its owners.
CREATE TABLE shards (
    shard BIGINT NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C",
    epoch BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO shards (shard) SELECT * FROM generate_series(0, 1023);

-- Work that one gateway at a time does.
CREATE TABLE duties (
    duty       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner      TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
) WITH (fillfactor = 30);

-- Renews a gateway and answers its shards. It is one statement, so that a gateway that is cut off
-- in the middle holds nothing up. `solitude`: 0 it never sends what is not on disk, 1 it would if it
-- were alone, 2 it takes itself to be alone. `given` has a bit for each shard that is given up;
-- `moment` is for tests, in milliseconds since 1970. Besides the shards one row is answered, with the number
-- -1, how many gateways live, and how many of the others take themselves to be alone.
CREATE FUNCTION renew_gateway(
    me TEXT, its_version TEXT, its_status BYTEA, solitude BIGINT, given BYTEA, moment BIGINT
) RETURNS TABLE (shard BIGINT, epoch BIGINT, lonely BIGINT)
LANGUAGE plpgsql SET lock_timeout = '3s' AS $$
#variable_conflict use_column
DECLARE
    present BIGINT;
    oldest BIGINT;
    others BIGINT;
    solitary BIGINT;
    room BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock(4706287731);
    present := coalesce(moment, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT);
    oldest := present - 15000;
    UPDATE shards SET owner = NULL WHERE owner = me AND (
        get_bit(given, shard) = 1
        OR NOT EXISTS (SELECT 1 FROM gateways WHERE node = me AND seen_at > oldest));
    SELECT count(*), count(*) FILTER (WHERE alone <> 0) INTO others, solitary
        FROM gateways WHERE node <> me AND seen_at > oldest;
    INSERT INTO gateways (node, joined_at, seen_at, version, alone, status)
        VALUES (me, present, present, its_version,
            (solitude = 2 OR solitude = 1 AND others = 0)::INT, its_status)
        ON CONFLICT (node) DO UPDATE SET seen_at = excluded.seen_at, version = excluded.version,
            alone = excluded.alone, status = excluded.status;
    DELETE FROM gateways WHERE seen_at < present - 3600000;
    room := (1024 + others) / (others + 1) - (SELECT count(*) FROM shards WHERE owner = me);
    IF room > 0 THEN
        UPDATE shards SET owner = me, epoch = epoch + 1 WHERE shard IN (
            SELECT shard FROM shards WHERE owner IS NULL OR NOT EXISTS (
                SELECT 1 FROM gateways WHERE node = owner AND seen_at > oldest)
            ORDER BY shard LIMIT room FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN QUERY SELECT shard, epoch, 0::BIGINT FROM shards WHERE owner = me
        UNION ALL SELECT -1::BIGINT, others + 1, solitary;
END
$$;
