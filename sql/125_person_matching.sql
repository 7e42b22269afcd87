-- Matches conversations to people by phone number: the exact number first, then the last ten digits.
-- Promise: an ambiguous number matches no person.
-- Lock order: the workspace's matching lock first, then conversations by id, then people. Ingest holds the matching
-- lock shared and changes of people hold it exclusively, so that a new conversation and a new person cannot miss each
-- other.

create function private.match_person(p_workspace_id uuid, p_digits text) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Each query stops at two hits: a workspace may have thousands of people with one number.
    v_ids := array(
        select person.id
        from public.people as person
        where person.workspace_id = p_workspace_id
            and right(person.phone_digits, 10) = right(p_digits, 10) and person.phone_digits = p_digits
        limit 2
    );
    -- The last ten digits match numbers with and without a country code. A wrong match would show the data of the
    -- wrong person, so two equal candidates match no person. A number of fewer digits matches only if it is equal.
    if v_ids = '{}' then
        v_ids := array(
            select person.id
            from public.people as person
            where person.workspace_id = p_workspace_id and right(person.phone_digits, 10) = right(p_digits, 10)
            limit 2
        );
    end if;
    return case when cardinality(v_ids) = 1 then v_ids[1] end;
end
$$;
comment on function private.match_person(uuid, text) is
'The person of a workspace with this number, or with the same last ten digits; null if no person or several match.';

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

create function private.match_participant_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock_shared(private.matching_lock(new.workspace_id));
    new.person_id := private.match_person(
        new.workspace_id,
        case new.kind when 'direct' then private.phone_digits(new.participant_identifier collate "default") end
    );
    if new.person_id is not null then
        -- Waits for a concurrent delete of the person, which then counts as deleted.
        perform from public.people as person where person.id = new.person_id for key share;
        if not found then
            new.person_id := null;
        end if;
    end if;
    return new;
end
$$;
comment on function private.match_participant_trigger() is 'Trigger: matches a conversation to a person.';

-- Definer, because users who change people may not take this lock.
create function private.lock_matching_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Runs before any row is locked, so the workspace is not known yet. A user changes people of their workspaces only.
    perform pg_advisory_xact_lock(private.matching_lock(mine.id))
    from (select my_workspaces.id from private.my_workspaces order by my_workspaces.id) as mine;
    return null;
end
$$;
comment on function private.lock_matching_trigger() is
'Trigger: takes the matching locks of the signed-in user''s workspaces before people change.';

-- Definer, because users may change people but not conversations.
create function private.rematch_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'DELETE' then
        perform pg_advisory_xact_lock(private.matching_lock(workspace.workspace_id))
        from (select distinct changed.workspace_id from changed order by changed.workspace_id) as workspace;
    end if;

    perform from public.conversations as conversation
    where (conversation.workspace_id, right(conversation.participant_digits, 10)) in (
        select changed.workspace_id, right(changed.phone_digits, 10) from changed
    )
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set person_id = private.match_person(conversation.workspace_id, conversation.participant_digits)
    where (conversation.workspace_id, right(conversation.participant_digits, 10)) in (
        select changed.workspace_id, right(changed.phone_digits, 10) from changed
    )
    and conversation.person_id
    is distinct from private.match_person(conversation.workspace_id, conversation.participant_digits);
    return null;
end
$$;
comment on function private.rematch_conversations_trigger() is
'Trigger: matches conversations again after a person with their number was added, changed or deleted.';
