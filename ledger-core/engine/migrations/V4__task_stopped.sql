alter table engine.task
    -- Not to go out (again): only what became of it is asked.
    add column stopped boolean not null default false,
    -- Who is called. One that does not answer must leave room for the others.
    add column party text not null default '';
