-- One index is enough: whoever asks names the partitions.
alter table coordinator.outbox drop constraint outbox_pkey, add primary key (partition, seq);
drop index coordinator.outbox_partition;
