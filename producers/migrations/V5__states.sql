-- What a row says of its order or stream has another form, which is simpler to read. It is folded anew from the log: every
-- partition from offset 0, and nothing is decided below the end that the log has when a partition is first seen.
truncate coordinator.orders, coordinator.streams, coordinator.live_from;
update engine.fence set next_offset = 0, epoch = epoch + 1, owner = null, lease_until = null where projection = 'coordinator';
