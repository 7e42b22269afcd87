-- The publication that migrations add their tables to. Realtime's own one, for its messages, is not made.

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
