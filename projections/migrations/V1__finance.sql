-- The public face of the projections. Its views are pointed at one generation of tables, see generation.rs.
create schema if not exists finance;

-- A role that can read the reports and nothing else. Roles belong to the whole server, so it may be there already.
do $$
begin
    create role ledger_reader nologin;
exception when duplicate_object or unique_violation then
    null;
end
$$;
grant usage on schema finance to ledger_reader;

create table finance.generation (
    id         int         primary key,
    active     boolean     not null,
    created_at timestamptz not null default now()
);
-- At most one generation is shown.
create unique index generation_active on finance.generation (active) where active;
