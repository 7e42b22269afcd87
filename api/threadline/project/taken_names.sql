-- The names in a database that could be in Threadline's way, and "Threadline" if it is there itself.
select 'the schema private' as name
from pg_catalog.pg_namespace
where nspname = 'private'
union all
select 'public.' || typname
from pg_catalog.pg_type
where typnamespace = 'public'::regnamespace
union all
select 'the Storage bucket attachments'
from storage.buckets
where id = 'attachments'
union all
select 'Threadline'
where to_regprocedure('private.schema_version()') is not null;
