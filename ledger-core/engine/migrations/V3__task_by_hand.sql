-- A task without a time is claimed by nobody: a person takes it, such as a refund that a channel accepts in a file only.
alter table engine.task alter column due_at drop not null;
create index task_by_hand on engine.task (key) where due_at is null and state in ('ready', 'claimed');
