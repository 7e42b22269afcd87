-- The publication that migrations add their tables to, and the one through which Realtime hears of its messages.

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

-- On the platform Realtime makes it when it first connects, and names each day's partition in it.
create publication supabase_realtime_messages_publication for table realtime.messages;
