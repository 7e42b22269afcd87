-- The ids of files that are deleted. Storage keeps the contents until the sweep, and no file takes such an id again.

create table private.retired_ids (
    id uuid primary key
);
comment on table private.retired_ids is
'Ids of deleted files. A client chooses the id of a file, and messages may still name a deleted one: a new file with
its id would take its place there.';
alter table private.retired_ids enable row level security;

-- Definer, because no client reads the retired ids.
create function private.is_retired_file(p_path text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from private.retired_ids as retired where retired.id = v_id::uuid
    );
end
$$;
comment on function private.is_retired_file(text) is
'Whether a path belongs to a deleted file, which Storage keeps until the sweep.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.retire_ids_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.retired_ids (id) select removed.id from removed
    on conflict do nothing;
    return null;
end
$$;
comment on function private.retire_ids_trigger() is
'Keeps the ids of deleted files, so that no new file can have them.';

-- Definer, because no client reads the retired ids.
create function private.reject_retired_id_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only for callers of an API: a superuser may restore or seed deleted files.
    if auth.role() is not null
        and exists (select from private.retired_ids as retired where retired.id = new.id)
    then
        perform private.fail(
            409, 'id_retired', 'This id belonged to a deleted file. Choose another id.', 'id'
        );
    end if;
    return null;
end
$$;
comment on function private.reject_retired_id_trigger() is
'Rejects ids of deleted files. Runs after the insert, so it waits for a concurrent delete.';
