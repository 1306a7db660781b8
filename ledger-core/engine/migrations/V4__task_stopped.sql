alter table engine.task
    -- Not to go out (again): only what became of it is asked.
    add column stopped boolean not null default false,
    -- Who is called. One that does not answer must leave room for the others.
    add column party text not null default '';
update engine.task
set party = coalesce(payload::json #>> '{call,target}', payload::json #>> '{call,channel}', '')
where state not in ('done', 'cancelled');

drop index engine.task_due;
create index task_due on engine.task (party, due_at) where state in ('ready', 'claimed', 'submitted', 'unknown');
create index task_withdrawn on engine.task (lease_until) where withdrawn and state in ('claimed', 'submitted');
