create schema if not exists engine;

-- One row for each partition of a projection. The first statement of every batch moves next_offset under the epoch.
create table engine.fence (
    projection   text        not null,
    partition    int         not null,
    log_identity text        not null,
    next_offset  bigint      not null default 0,
    log_time     timestamptz not null default 'epoch',
    epoch        bigint      not null default 0,
    owner        uuid,
    lease_until  timestamptz,
    backend_pid  int,
    primary key (projection, partition)
);

-- Living lanes, so that partitions can be shared out fairly.
create table engine.worker (
    projection text        not null,
    id         uuid        not null,
    seen_at    timestamptz not null,
    primary key (projection, id)
);

-- Calls to the outside that decisions ask for. A task is claimed, submitted and finished by compare-and-set.
create table engine.task (
    key         text        primary key,
    payload     text        not null,
    state       text        not null check (state in ('ready', 'claimed', 'submitted', 'unknown', 'done', 'cancelled')),
    due_at      timestamptz not null,
    tries       int         not null default 0,
    claim       bigint      not null default 0,
    -- Wanted no more: what is under way may end, nothing goes out again.
    withdrawn   boolean     not null default false,
    lease_until timestamptz,
    last_error  text,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);

create index task_due on engine.task (due_at) where state in ('ready', 'claimed', 'submitted', 'unknown');
