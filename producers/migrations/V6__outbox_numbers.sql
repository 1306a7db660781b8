-- A lane numbers its rows by itself, in a range of its own, so that they can be copied in.
alter table coordinator.outbox alter column seq drop identity;
create sequence coordinator.lane;
