create schema if not exists coordinator;

-- What the coordinator knows of each order and contract, folded from the log and from its own decisions. Rows are
-- written again and again; half-empty pages let the new version stay beside the old one.
create table coordinator.orders (
    key text collate "C" primary key, partition int not null, due_at timestamptz, history bytea not null,
    state text not null) with (fillfactor = 50);
create index orders_due on coordinator.orders (partition, due_at) where due_at is not null;

create table coordinator.contracts (
    key text collate "C" primary key, partition int not null, due_at timestamptz, history bytea not null,
    state text not null) with (fillfactor = 50);

-- Decisions that are taken and perhaps not yet in the log; sent in order, deleted once acknowledged.
create table coordinator.outbox (
    seq       bigint generated always as identity primary key,
    partition int    not null,
    event     text   not null
);
create index outbox_partition on coordinator.outbox (partition, seq);

-- Below this offset the coordinator only folds: what was decided there stands in the log. It is set when the
-- coordinator first sees a partition, and again when its state is rebuilt.
create table coordinator.live_from (
    partition int    primary key,
    "offset"  bigint not null
);
