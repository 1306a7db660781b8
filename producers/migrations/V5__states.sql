-- What a row says of its order or stream has another form, which is simpler to read. It is folded anew from the log: every
-- partition from offset 0, and nothing is decided below the end that the log has when a partition is first seen.
truncate coordinator.orders, coordinator.streams, coordinator.live_from;
update engine.fence set next_offset = 0, epoch = epoch + 1, owner = null, lease_until = null where projection = 'coordinator';

-- Room for one more version of a row is enough: with half of each page empty, twice the pages are written.
alter table coordinator.orders set (fillfactor = 80);
alter table coordinator.streams set (fillfactor = 80);
