-- What the coordinator knows of a stream is no longer a loan contract alone. Its state is folded anew from the log: every
-- partition from offset 0, and nothing is decided below the end that the log has when a partition is first seen.
alter table coordinator.contracts rename to streams;
truncate coordinator.orders, coordinator.streams, coordinator.live_from;
update engine.fence set next_offset = 0, epoch = epoch + 1, owner = null, lease_until = null where projection = 'coordinator';
