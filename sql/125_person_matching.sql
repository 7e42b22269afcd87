-- Matches conversations to people by any identifier: equal ones first, then a number that gets its country from the
-- other side, then the last ten digits of two numbers that are not both complete.
-- Promise: what fits two people equally well matches neither, and two complete numbers that differ never match.
-- Lock order: the workspace's matching lock first, then conversations by id, then people. Ingest holds the matching
-- lock shared and changes of people hold it exclusively, so that a new conversation and a new person cannot miss each
-- other. Ingest waits for it at most a second and then leaves matching to the clean-up (late_matches), because a slow
-- change of people must not stop ingest.
-- Statements that take few people of a key run with enable_bitmapscan and enable_seqscan off. A bitmap holds all who
-- have the key, and the planner prefers it when most of the table is dead rows. A session that begins among few people
-- keeps a plan that reads the whole table (decision 0003).

create type private.person_match as (person_id uuid, reason text);
comment on type private.person_match is
'The person that identifiers match, and why; both null if they match no person.';

-- Without foreign keys, which would lock the conversation's row.
create table private.late_matches (
    conversation_id uuid primary key,
    workspace_id uuid not null
);
comment on table private.late_matches is
'Conversations that ingest stored while a change of people held the matching lock. The clean-up matches them.';
alter table private.late_matches enable row level security;

create function private.find_match(p_workspace_id uuid, p_keys private.match_key[]) returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_bitmapscan = 'off'
set enable_seqscan = 'off'
set jit = 'off'
as $$
declare
    v_match private.person_match;
    v_last uuid;
begin
    -- A wrong match would show the data of the wrong person, so two people of the best rank match no person. Two rows a
    -- key suffice to see that, however many people have it.
    for v_rank in 1..3 loop
        select min(found.person_id::text)::uuid, max(found.person_id::text)::uuid, max(wanted.reason)
        into v_match.person_id, v_last, v_match.reason
        from unnest(p_keys) as wanted
        cross join lateral (
            select known.person_id
            from private.person_keys as known
            where known.workspace_id = p_workspace_id
                and known.key = wanted.key
                and coalesce(known.extension = wanted.extension, true)
            limit 2
        ) as found
        where wanted.rank = v_rank;
        exit when v_last is not null;
    end loop;
    if v_match.person_id <> v_last then
        v_match.person_id := null;
    end if;
    return v_match;
end
$$;
comment on function private.find_match(uuid, private.match_key[]) is
'The only person of a workspace with the keys of the best rank that any person has. The reason is null if no person has
a key, and only person_id is null if several have it.';

create function private.list_all_keys(
    p_workspace_id uuid, p_platform text, p_identifiers private.identifier[], p_is_exact boolean
) returns private.match_key[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier;
    v_keys private.match_key[] := '{}'::private.match_key[];
begin
    foreach v_identifier in array p_identifiers loop
        v_keys := v_keys || private.list_match_keys(
            p_platform, v_identifier,
            -- Not for a number that names its country.
            case when v_identifier.value not like '+%' then private.home_country(p_workspace_id) end,
            p_is_exact
        );
    end loop;
    return v_keys;
end
$$;
comment on function private.list_all_keys(uuid, text, private.identifier[], boolean) is
'The keys of several identifiers of one participant (list_match_keys).';

create function private.match_identifiers(p_workspace_id uuid, p_platform text, p_identifiers private.identifier[])
returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_bitmapscan = 'off'
set enable_seqscan = 'off'
set jit = 'off'
as $$
declare
    v_identifier private.identifier;
    v_shared private.identifier[] := '{}'::private.identifier[];
    v_match private.person_match;
begin
    foreach v_identifier in array p_identifiers loop
        if exists (
            select from private.person_keys as known
            where known.workspace_id = p_workspace_id
                and known.key = private.identifier_key(v_identifier.kind, v_identifier.value, v_identifier.app)
        ) then
            v_shared := v_shared || v_identifier;
        end if;
    end loop;
    if v_shared = '{}' then
        return null;
    end if;
    -- Most people have the same number, and the other keys cost twice as much.
    v_match := private.find_match(p_workspace_id, private.list_all_keys(p_workspace_id, p_platform, v_shared, true));
    if v_match.reason is null then
        v_match := private.find_match(
            p_workspace_id, private.list_all_keys(p_workspace_id, p_platform, v_shared, false)
        );
    end if;
    return case when v_match.person_id is not null then v_match end;
end
$$;
comment on function private.match_identifiers(uuid, text, private.identifier[]) is
'The person of a workspace whom these identifiers of a participant match best.';

create function private.match_conversation(p_conversation public.conversations) returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_conversation.kind when 'direct' then private.match_identifiers(
        p_conversation.workspace_id,
        p_conversation.platform,
        private.identify(p_conversation.platform, p_conversation.participant_identifier)
        || private.list_identifiers(p_conversation.id)
    ) end;
end
$$;
comment on function private.match_conversation(public.conversations) is
'The person of a conversation, and why. A group matches no person.';

create function private.matching_lock(p_workspace_id uuid) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('threadline.matching.' || p_workspace_id, 0);
end
$$;
comment on function private.matching_lock(uuid) is
'The key of the advisory lock of a workspace''s matching. Ingest holds it shared, changes of people hold it exclusively,
and both take it before they lock a row.';

create function private.lock_matching(p_workspace_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(private.matching_lock(workspace.id))
    from (select distinct given.id from unnest(p_workspace_ids) as given (id) order by given.id) as workspace;
end
$$;
comment on function private.lock_matching(uuid[]) is
'Takes the matching locks of workspaces for a change of people, in the order of ids.';

create function private.wait_to_match(p_workspace_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
begin
    perform pg_advisory_xact_lock_shared(private.matching_lock(p_workspace_id));
    return true;
exception
    when lock_not_available then
        return false;
end
$$;
comment on function private.wait_to_match(uuid) is
'Takes the shared matching lock of a workspace, if it gets it within a second.';

create function private.can_match(p_workspace_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return pg_try_advisory_xact_lock_shared(private.matching_lock(p_workspace_id))
        or private.wait_to_match(p_workspace_id);
end
$$;
comment on function private.can_match(uuid) is
'Takes the shared matching lock of a workspace. False if a change of people holds it for more than a second.';

create function private.lock_person(p_match private.person_match) returns private.person_match
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_match.person_id is not null then
        -- Waits for a concurrent delete of the person, which then counts as deleted.
        perform from public.people as person where person.id = p_match.person_id for key share;
        if not found then
            return null;
        end if;
    end if;
    return p_match;
end
$$;
comment on function private.lock_person(private.person_match) is
'The same match, whose person stays until the transaction ends; null if the person is deleted.';

create function private.match_participant(p_workspace_id uuid, p_platform text, p_identifier text, p_key text)
returns private.person_match
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_bitmapscan = 'off'
set enable_seqscan = 'off'
set jit = 'off'
as $$
declare
    v_people uuid[];
    v_match private.person_match;
begin
    -- Most participants share no key with a person, or only with one person of the same number. This check costs a
    -- tenth of matching.
    v_people := array(
        select known.person_id from private.person_keys as known
        where known.workspace_id = p_workspace_id and known.key = p_key
        limit 2
    );
    if v_people = '{}' then
        return null;
    elsif cardinality(v_people) = 1 and exists (
        select from private.person_keys as known
        where known.workspace_id = p_workspace_id
            and known.key = 'd:' || private.plain_digits(p_platform, p_identifier)
            and known.person_id = v_people[1]
    ) then
        v_match := (v_people[1], 'phone');
    else
        v_match := private.match_identifiers(
            p_workspace_id, p_platform, array[private.identify(p_platform, p_identifier)]
        );
    end if;
    return private.lock_person(v_match);
end
$$;
comment on function private.match_participant(uuid, text, text, text) is
'The person whom a participant matches by its identifier, which has the key p_key.';

-- Definer, because ingest may not read the keys of people.
create function private.match_participants(
    p_workspace_id uuid, p_platform text, p_identifiers text[], p_keys text[]
) returns private.person_match[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
begin
    return array(
        select case
            when known.is_shared then private.match_participant(p_workspace_id, p_platform, given.identifier, given.key)
        end
        from unnest(p_identifiers, p_keys) with ordinality as given (identifier, key, position)
        left join lateral (
            -- LIMIT 1 makes this one look-up for each key. EXISTS could become a hash of all keys of the workspace.
            select true as is_shared
            from private.person_keys as person
            where person.workspace_id = p_workspace_id and person.key = given.key
            limit 1
        ) as known on true
        order by given.position
    );
end
$$;
comment on function private.match_participants(uuid, text, text[], text[]) is
'The people whom participants match, by position: null for most, who share no key with a person.';

-- Definer, because ingest may not read the keys of people.
create function private.match_participant_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_match private.person_match;
begin
    new.participant_key := case
        when new.kind = 'direct' then private.participant_key(new.platform, new.participant_identifier)
    end;
    -- Ingest took the lock for all of its conversations (lock_source), or left them to the clean-up.
    if current_setting('threadline.matches_later', true) = 'on' or (
        current_setting('threadline.is_ingesting', true) is distinct from 'on'
        and not private.can_match(new.workspace_id)
    ) then
        insert into private.late_matches (conversation_id, workspace_id) values (new.id, new.workspace_id)
        on conflict do nothing;
        return new;
    end if;
    if tg_op = 'UPDATE' and new.kind = 'direct' then
        -- The earlier identifier stays one of the participant (record_earlier_identifier_trigger).
        v_match := private.lock_person(private.match_identifiers(
            new.workspace_id, new.platform,
            private.list_identifiers(new.id)
            || private.identify(new.platform, new.participant_identifier)
            || private.identify(old.platform, old.participant_identifier)
        ));
    else
        v_match := private.match_participant(
            new.workspace_id, new.platform, new.participant_identifier, new.participant_key
        );
    end if;
    new.person_id := v_match.person_id;
    new.matched_by := v_match.reason;
    return new;
end
$$;
comment on function private.match_participant_trigger() is
'Trigger: matches a conversation to a person. A group matches no person.';

-- Definer, because users who change people may not take this lock.
create function private.lock_matching_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Runs before any row is locked, so the workspace is not known yet. A user changes people of their workspaces only.
    perform private.lock_matching(array(select mine.id from private.my_workspaces as mine));
    return null;
end
$$;
comment on function private.lock_matching_trigger() is
'Trigger: takes the matching locks of the signed-in user''s workspaces before people change.';
