-- The schemas, and what an installation knows about itself.
-- `public` holds what clients reach: tables under row-level security and the functions of the Data API.
-- `private` holds the rest; the Data API must never list it among its exposed schemas.

create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. The Data API does not expose it.';

create table private.created_objects (
    name text primary key
);
comment on table private.created_objects is
'Objects that projects share and that the first migration created here. `threadline remove` drops only these.';
alter table private.created_objects enable row level security;

insert into private.created_objects (name)
select 'extension ' || wanted.name
from unnest(array['btree_gin', 'pg_cron']) as wanted (name)
where not exists (select from pg_extension where extname = wanted.name)
union all
select 'bucket attachments'
where not exists (select from storage.buckets where id = 'attachments');

-- The newest file in supabase/migrations. `make migration` writes this value.
create function private.schema_version() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '20261122000001';
end
$$;
comment on function private.schema_version() is
'The newest migration of Threadline that this database has. Copies in other projects have other file names.';
