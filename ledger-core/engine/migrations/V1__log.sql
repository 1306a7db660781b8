-- The log as a table: the engine for one machine. Records are only ever added; each partition's offsets have no gaps.
CREATE SCHEMA log;
COMMENT ON SCHEMA log IS 'The log: records in the order they happened, never changed';

CREATE TABLE log.topic (
    topic_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text    NOT NULL UNIQUE,
    identity   uuid    NOT NULL DEFAULT gen_random_uuid(),
    partitions integer NOT NULL CHECK (partitions > 0),
    settings   jsonb   NOT NULL
);
COMMENT ON COLUMN log.topic.identity IS 'Tells a topic made anew from an older one of the same name';
COMMENT ON COLUMN log.topic.settings IS 'Under Kafka''s names; message.timestamp.type = CreateTime keeps the producers'' time';

-- Whoever appends locks the heads of its partitions until it commits, so what can be seen of a partition has no gap.
CREATE TABLE log.head (
    topic_id       integer     NOT NULL REFERENCES log.topic ON DELETE CASCADE,
    partition      integer     NOT NULL,
    next_offset    bigint      NOT NULL DEFAULT 0,
    last_timestamp timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (topic_id, partition)
) WITH (fillfactor = 20);
COMMENT ON COLUMN log.head.next_offset IS 'The offset that the next record gets';
COMMENT ON COLUMN log.head.last_timestamp IS 'The log''s clock at the last append; it never goes back within a partition';

CREATE TABLE log.record (
    topic_id    integer     NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    "timestamp" timestamptz NOT NULL,
    key         bytea       NOT NULL,
    headers     bytea       NOT NULL,
    value       bytea       NOT NULL,
    PRIMARY KEY (topic_id, partition, "offset")
);
COMMENT ON COLUMN log.record."timestamp" IS 'The log''s time of the append, in whole milliseconds';
COMMENT ON COLUMN log.record.headers IS 'For each header: length and bytes of its name, then of its value; lengths are 4 bytes, big-endian';

CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is never changed' USING HINT = 'A mistake is put right by a new event.';
END
$$;

CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON log.record
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
