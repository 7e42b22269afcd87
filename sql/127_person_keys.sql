-- Keeps the keys of people up to date, and matches conversations again after people or identifiers change.
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
        cross join unnest(array[later.id, earlier.merged_into_id]) as person (id)
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

-- Definer, because ingest may not read the keys of people.
create function private.rematch_identified_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('threadline.matches_later', true) = 'on' then
        insert into private.late_matches (conversation_id, workspace_id)
        select distinct changed.conversation_id, changed.workspace_id from changed where changed.key is not null
        on conflict do nothing;
    else
        perform private.update_matches(array(
            select distinct changed.conversation_id from changed where changed.key is not null
        ));
    end if;
    return null;
end
$$;
comment on function private.rematch_identified_trigger() is
'Trigger: matches conversations again whose participant got an identifier.';

create function private.update_matches(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.conversations as conversation
    where conversation.id = any(p_ids)
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set person_id = matched.person_id, matched_by = matched.reason
    from (
        select known.id, (private.match_conversation(known)).*
        from public.conversations as known
        where known.id = any(p_ids)
        -- OFFSET 0 calls the function once for each row.
        offset 0
    ) as matched
    where conversation.id = matched.id
        and (conversation.person_id, conversation.matched_by) is distinct from (matched.person_id, matched.reason);
end
$$;
comment on function private.update_matches(uuid[]) is 'Locks conversations in the order of ids and matches them again.';

-- Definer, because ingest may not read the keys of people.
create function private.match_group_participants(p_ids uuid[], p_keys text[]) returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_changed uuid[];
begin
    with found as (
        select
            known.conversation_id, known.identifier, private.match_identifiers(
                known.workspace_id, conversation.platform,
                private.identify(conversation.platform, known.identifier)
                || private.list_given_identifiers(known.identifiers)
            ) as match
        from private.group_participants as known
        inner join public.conversations as conversation on known.conversation_id = conversation.id
        where (p_ids is null or known.conversation_id = any(p_ids)) and (p_keys is null or known.keys && p_keys)
        -- OFFSET 0 calls the function once for each row.
        offset 0
    ), matched as (
        update private.group_participants as known
        set person_id = (found.match).person_id, matched_by = (found.match).reason
        from found
        where known.conversation_id = found.conversation_id and known.identifier = found.identifier
            and (known.person_id, known.matched_by)
            is distinct from ((found.match).person_id, (found.match).reason)
        returning known.conversation_id
    )

    select array_agg(distinct matched.conversation_id) into v_changed from matched;
    return coalesce(v_changed, '{}');
end
$$;
comment on function private.match_group_participants(uuid[], text[]) is
'Matches participants of these groups, or those with one of these keys, to people. Returns the groups in which one
changed.';

create function private.rematch_conversations(p_keys private.person_key[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.update_matches(array(
        select found.id
        from (select distinct given.workspace_id, given.key from unnest(p_keys) as given) as changed
        cross join lateral (
            -- OFFSET 0 makes one look-up in the index for each key, even if the statistics are old.
            select conversation.id from public.conversations as conversation
            where conversation.workspace_id = changed.workspace_id and conversation.participant_key = changed.key
            offset 0
        ) as found
        union
        select found.conversation_id
        from (select distinct given.workspace_id, given.key from unnest(p_keys) as given) as changed
        cross join lateral (
            select known.conversation_id from public.conversation_identifiers as known
            where known.workspace_id = changed.workspace_id and known.key = changed.key
            offset 0
        ) as found
    ));
    perform private.match_group_participants(null, array(
        select distinct given.key from unnest(p_keys) as given where given.key is not null
    ));
end
$$;
comment on function private.rematch_conversations(private.person_key[]) is
'Matches conversations again whose participants have one of these keys.';

create function private.match_late_workspace(p_workspace_id uuid, p_limit bigint) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Does not wait: a later round does the workspaces whose people are changing now.
    if not pg_try_advisory_xact_lock_shared(private.matching_lock(p_workspace_id)) then
        return 0;
    end if;
    v_ids := array(
        select conversation.id
        from private.late_matches as late
        inner join public.conversations as conversation on late.conversation_id = conversation.id
        where late.workspace_id = p_workspace_id
        order by conversation.id
        limit p_limit
        for no key update of conversation skip locked
    );
    perform private.update_matches(v_ids), private.match_group_participants(v_ids, null);
    delete from private.late_matches as late
    where late.workspace_id = p_workspace_id and (
        late.conversation_id = any(v_ids)
        or not exists (
            select from public.conversations as conversation where conversation.id = late.conversation_id
        )
    );
    return cardinality(v_ids);
exception
    when others then
        -- An error of one workspace must not end the round of all.
        raise warning 'Late matches of workspace % failed with SQLSTATE %. A later round tries again.',
            p_workspace_id, sqlstate;
        return 0;
end
$$;
comment on function private.match_late_workspace(uuid, bigint) is
'Matches conversations of one workspace that ingest stored without matching, at most p_limit, and returns their number.
An error becomes a warning, and nothing of this workspace is matched.';

create function private.match_late_conversations(p_limit integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
    v_count bigint := 0;
begin
    for v_workspace_id in
        select distinct late.workspace_id from private.late_matches as late order by late.workspace_id limit p_limit
    loop
        v_count := v_count + private.match_late_workspace(v_workspace_id, p_limit - v_count);
        exit when v_count >= p_limit;
    end loop;
    return v_count;
end
$$;
comment on function private.match_late_conversations(integer) is
'Matches conversations that ingest stored without matching, at most p_limit, and returns their number.';
