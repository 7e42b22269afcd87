-- The publication that migrations add tables to, and the one through which Realtime reads its messages.

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

-- On the platform Realtime creates it at its first connection, with each day's partition.
create publication supabase_realtime_messages_publication for table realtime.messages;
