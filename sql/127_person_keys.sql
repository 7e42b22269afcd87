-- Keeps the keys of people up to date, and matches conversations again.
-- Promise: person_keys always agrees with people and person_identifiers.

create function private.refresh_person_keys(p_people uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_roots uuid[] := array(select distinct private.find_merged_person(given.id) from unnest(p_people) as given (id));
    v_keys private.person_key[];
begin
    -- Most changes of people change no key.
    if p_people = '{}' then
        return;
    end if;
    v_roots := v_roots || p_people;
    with removed as (
        delete from private.person_keys as old where old.person_id = any(v_roots)
        returning old.workspace_id, old.key
    )

    select array_agg(row(removed.workspace_id, removed.key)::private.person_key) into v_keys from removed;
    with added as (
        insert into private.person_keys (workspace_id, key, person_id, extension)
        select wanted.workspace_id, wanted.key, wanted.person_id, wanted.extension
        from private.list_person_keys(v_roots) as wanted
        returning person_keys.workspace_id, person_keys.key
    )

    select v_keys || array_agg(row(added.workspace_id, added.key)::private.person_key) into v_keys from added;
    perform private.rematch_conversations(v_keys);
end
$$;
comment on function private.refresh_person_keys(uuid[]) is
'Writes the keys of people anew, and matches the conversations again that have one of the old or new keys.';

-- Definer, because clients may change people but not their keys. Ingest holds the matching lock shared.
create function private.refresh_people_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform private.lock_matching(array(select changed.workspace_id from changed));
    end if;
    perform private.refresh_person_keys(array(
        select person.id
        from changed
        cross join unnest(array[changed.id, changed.merged_into_id]) as person (id)
        where person.id is not null
    ));
    return null;
end
$$;
comment on function private.refresh_people_trigger() is
'Trigger: finds conversations of people that were added, changed or deleted.';

-- Definer, because clients may change people but not their keys. Ingest holds the matching lock shared.
create function private.refresh_changed_people_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select person.id
        from changed as later
        inner join removed as earlier on later.id = earlier.id
        cross join unnest(array[later.id, later.merged_into_id, earlier.merged_into_id]) as person (id)
        where (later.workspace_id, later.phone, later.merged_into_id)
            is distinct from (earlier.workspace_id, earlier.phone, earlier.merged_into_id)
            and person.id is not null
    );
begin
    perform private.lock_matching(array(select changed.workspace_id from changed));
    perform private.refresh_person_keys(v_ids);
    return null;
end
$$;
comment on function private.refresh_changed_people_trigger() is
'Trigger: the same for people with another number, another workspace, or another person into which they were merged.';

-- Definer, for the same reason.
create function private.refresh_identifiers_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'DELETE' then
        perform private.lock_matching(array(select changed.workspace_id from changed));
    end if;
    perform private.refresh_person_keys(array(select distinct changed.person_id from changed));
    return null;
end
$$;
comment on function private.refresh_identifiers_trigger() is
'Trigger: finds conversations of people who got or lost an identifier.';

-- Definer, because who changes a setting or a workspace may not change keys.
create function private.reread_numbers_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- The one row of settings has no id.
    v_workspace_id uuid := (to_jsonb(new) ->> 'id')::uuid;
begin
    if v_workspace_id is not null then
        perform pg_advisory_xact_lock(private.matching_lock(v_workspace_id));
    end if;
    perform private.refresh_person_keys(array(
        select person.id
        from public.people as person
        where v_workspace_id is null or person.workspace_id = v_workspace_id
        order by person.id
    ));
    return null;
end
$$;
comment on function private.reread_numbers_trigger() is
'Trigger: reads the numbers of people again after the default country or the home country of their workspace has
changed.';
