create schema if not exists door;

-- Which facts the doors have seen. A row is written before the append and gets its position after the acknowledgement,
-- so a row without one means: perhaps in the log.
create table door.event (
    id        uuid        primary key,
    digest    uuid        not null,
    partition int,
    "offset"  bigint,
    seen_at   timestamptz not null default now(),
    check ((partition is null) = ("offset" is null))
) with (fillfactor = 80);
comment on column door.event.digest is 'What two reports of the same fact must agree on';

-- Old rows are found by time, and a BRIN index costs next to nothing while rows come in the order of their time.
create index event_seen_at on door.event using brin (seen_at);

-- Which body each idempotency key was first sent with.
create table door.request (
    client   text        not null,
    key      text        not null,
    digest   uuid        not null,
    order_id text        not null,
    seen_at  timestamptz not null default now(),
    primary key (client, key)
);
comment on column door.request.digest is 'Of the request as it stands in the log, so no personal number is in it';

create index request_seen_at on door.request using brin (seen_at);
create index request_order on door.request (order_id);
