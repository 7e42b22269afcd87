-- Ingest: the participants of groups and their people.
-- Promise: the result does not depend on the order in which requests arrive. A message proves that its sender was in
-- the group.

create function private.list_group_changes(
    p_conversations jsonb, p_messages private.ingest_message[], p_ids uuid[]
) returns table (
    conversation_id uuid, identifier text, name text, named_at timestamptz, identifiers jsonb, has_left boolean,
    at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with said as (
        select
            p_ids[parent.position] as conversation_id, one.value ->> 'identifier' as identifier,
            nullif(btrim(one.value ->> 'name'), '') as name,
            case jsonb_typeof(one.value -> 'identifiers') when 'array' then one.value -> 'identifiers' else '[]' end
                as identifiers,
            coalesce(one.value -> 'state' = '"left"', false) as has_left,
            coalesce(private.parse_timestamp(one.value ->> 'at'), '-infinity') as at
        from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
        cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'participants')
            when 'array' then parent.value -> 'participants' else '[]'
        end) as one (value)
        where p_ids[parent.position] is not null
        union all
        select p_ids[given.parent], given.sender, null, '[]', false, given.sent_at
        from unnest(p_messages) as given
        where p_ids[given.parent] is not null and given.sender <> '' and given.stated_at is null
            and given.message -> 'direction' = '"inbound"'
    )

    select
        said.conversation_id, said.identifier,
        (array_agg(said.name order by said.at desc, said.name desc) filter (where said.name is not null))[1],
        coalesce(max(said.at) filter (where said.name is not null), '-infinity'),
        coalesce((
            select jsonb_agg(distinct extra.value)
            from jsonb_array_elements(jsonb_path_query_array(jsonb_agg(said.identifiers), '$[*][*]')) as extra (value)
        ), '[]'),
        (array_agg(said.has_left order by said.at desc, said.has_left desc))[1],
        max(said.at)
    from said
    group by said.conversation_id, said.identifier
    order by said.conversation_id, said.identifier collate "C";
end
$$;
comment on function private.list_group_changes(jsonb, private.ingest_message[], uuid[]) is
'What a request says about participants of groups: its participants, and the senders of its inbound messages.';

create function private.list_group_keys(p_platform text, p_identifier text, p_identifiers jsonb) returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select distinct named.key
        from (
            select private.participant_key(p_platform, p_identifier) as key
            union all
            select private.identifier_key(extra.kind, extra.value, extra.app)
            from unnest(private.list_given_identifiers(p_identifiers)) as extra
        ) as named
        where named.key is not null
        order by named.key
    );
end
$$;
comment on function private.list_group_keys(text, text, jsonb) is
'The keys under which people are found for a participant of a group.';

create function private.join_identifiers(p_one jsonb, p_other jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(distinct extra.value), '[]')
        from jsonb_array_elements(p_one || p_other) as extra (value)
    );
end
$$;
comment on function private.join_identifiers(jsonb, jsonb) is
'The union of two arrays of identifiers, in a fixed order.';

create function private.merge_group_participants(p_given private.group_participants[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_changed uuid[];
begin
    with recorded as (
        insert into private.group_participants as known (
            conversation_id, workspace_id, identifier, name, named_at, identifiers, has_left, at, keys
        )
        select
            given.conversation_id, given.workspace_id, given.identifier, given.name, given.named_at,
            given.identifiers, given.has_left, given.at, given.keys
        from unnest(p_given) as given
        on conflict (conversation_id, identifier) do update
        set
            name = case
                when (excluded.named_at, excluded.name) > (known.named_at, coalesce(known.name, '')) then excluded.name
                else known.name
            end,
            named_at = greatest(known.named_at, excluded.named_at),
            identifiers = private.join_identifiers(known.identifiers, excluded.identifiers),
            keys = array(select distinct one.key from unnest(known.keys || excluded.keys) as one (key) order by 1),
            has_left = case
                when (excluded.at, excluded.has_left) > (known.at, known.has_left) then excluded.has_left
                else known.has_left
            end,
            at = greatest(known.at, excluded.at)
        where (excluded.named_at, coalesce(excluded.name, '')) > (known.named_at, coalesce(known.name, ''))
            or (excluded.at, excluded.has_left) > (known.at, known.has_left)
            or not excluded.identifiers <@ known.identifiers
        returning known.conversation_id
    )

    select array_agg(distinct recorded.conversation_id) into v_changed from recorded;
    if current_setting('threadline.matches_later', true) = 'on' then
        insert into private.late_matches (conversation_id, workspace_id)
        select distinct given.conversation_id, given.workspace_id
        from unnest(p_given) as given
        where given.conversation_id = any(v_changed)
        on conflict do nothing;
    end if;
    return coalesce(v_changed, '{}') || private.match_group_participants(v_changed, null);
end
$$;
comment on function private.merge_group_participants(private.group_participants[]) is
'Stores what is newer about participants of groups, and matches them to people. Returns the groups that changed.';

-- Definer, because no role writes the table.
create function private.record_group_participants(
    p_conversations jsonb, p_messages private.ingest_message[], p_ids uuid[]
) returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return private.merge_group_participants(array(
        select (
            given.conversation_id, conversation.workspace_id, given.identifier, given.name, given.named_at,
            given.identifiers, private.list_group_keys(conversation.platform, given.identifier, given.identifiers),
            given.has_left, given.at, null, null
        )::private.group_participants
        from private.list_group_changes(p_conversations, p_messages, p_ids) as given
        inner join public.conversations as conversation on given.conversation_id = conversation.id
    ));
end
$$;
comment on function private.record_group_participants(jsonb, private.ingest_message[], uuid[]) is
'Stores what a request says about participants of groups, and matches them to people. Returns the groups that changed.
The caller has locked the conversations.';

create function private.record_given_identifiers(
    p_platform text, p_conversations private.ingest_conversation[], p_ids uuid[]
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
    v_identifiers private.identifier[];
begin
    -- Most requests say nothing that the conversation does not say itself.
    select array_agg(given.id), array_agg(given.identifier)
    into v_ids, v_identifiers
    from (
        select existing.id, private.identify_any(p_platform, line.identifier) as identifier
        from unnest(p_conversations) as line
        inner join public.conversations as existing on p_ids[line.position] = existing.id
        -- Else a plan for few conversations reads the whole index.
        where existing.id = any(p_ids) and line.identifier <> existing.participant_identifier
        union all
        select p_ids[line.position], extra::private.identifier
        from unnest(p_conversations) as line
        cross join unnest(line.identifiers) as extra
        where p_ids[line.position] is not null
    ) as given;
    if v_ids is null then
        return '{}'::uuid[];
    end if;
    return private.record_identifiers(v_ids, v_identifiers);
end
$$;
comment on function private.record_given_identifiers(text, private.ingest_conversation[], uuid[]) is
'Keeps what a request says about participants and their conversations do not show. Returns the changed conversations.
The caller has locked the rows.';
