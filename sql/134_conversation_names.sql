-- Ingest: what a request brings under each name of a conversation that continues another one.
-- Promise: at any time, all that came under a name is known, for the undo in 141_separations.

create table private.conversation_aliases (
    scope_id uuid not null,
    platform text not null,
    external_id text collate "C" not null,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    continues text collate "C",
    participant_identifier text collate "C",
    identified_at timestamptz,
    participant_name text collate "C",
    named_at timestamptz,
    identifiers private.identifier[] not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (scope_id, platform, external_id, conversation_id)
);
comment on table private.conversation_aliases is
'The names of conversations that continue others, from the field continues of requests, and what requests said about the
participant under each name. A name is an external_conversation_id.';
comment on column private.conversation_aliases.continues is 'The former name; null for the first one.';
create index conversation_aliases_conversation_id_idx on private.conversation_aliases (conversation_id);
alter table private.conversation_aliases enable row level security;

create table private.continued_messages (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    name text collate "C" not null,
    primary key (conversation_id, external_id, sender)
);
comment on table private.continued_messages is
'The messages, and the messages that updates wait for, which came under a later name of their conversation.';
alter table private.continued_messages enable row level security;

create table private.conversation_separations (
    scope_id uuid not null,
    platform text not null,
    external_id text collate "C" not null,
    continues text collate "C" not null,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    primary key (scope_id, platform, external_id, continues, conversation_id)
);
comment on table private.conversation_separations is
'Names that a user parted: a repetition of the request does not join them again.';
create index conversation_separations_conversation_id_idx on private.conversation_separations (conversation_id);
alter table private.conversation_separations enable row level security;

-- Definer, because no role writes the table.
create function private.record_name(p_conversation_id uuid, p_name text, p_continues text, p_is_known boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.conversation_aliases as alias (
        scope_id, platform, external_id, conversation_id, continues, participant_identifier, identified_at,
        participant_name, named_at, identifiers
    )
    select
        conversation.scope_id, conversation.platform, p_name, p_conversation_id, p_continues,
        case when p_is_known then conversation.participant_identifier end,
        case when p_is_known then conversation.participant_identified_at end,
        case when p_is_known then conversation.participant_name end,
        case when p_is_known then conversation.participant_named_at end,
        case
            when p_is_known then private.list_identifiers(p_conversation_id)
                || private.identify_any(conversation.platform, conversation.participant_identifier)
            else '{}'
        end
    from public.conversations as conversation
    where conversation.id = p_conversation_id
    on conflict (scope_id, platform, external_id, conversation_id) do update
    -- The first name of a conversation may continue another one later.
    set continues = excluded.continues
    where alias.continues is null and excluded.continues is not null;
end
$$;
comment on function private.record_name(uuid, text, text, boolean) is
'Stores a name of a conversation; if it is known, with what the conversation says about its participant now.';

-- Definer, because no role writes the table.
create function private.record_continued_messages(p_conversation_id uuid, p_into uuid, p_name text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select p_conversation_id, given.external_id, given.sender, p_name
    from (
        select stored.external_id, stored.sender from public.conversation_messages as stored
        where stored.conversation_id = p_conversation_id
        union
        select known.external_id, known.sender from public.conversation_updates as known
        where known.conversation_id = p_conversation_id
    ) as given
    -- The first of two messages with one id counts.
    where p_into = p_conversation_id or not exists (
        select from public.conversation_messages as stored
        where (stored.conversation_id, stored.external_id, stored.sender)
            = (p_into, given.external_id, given.sender)
    )
    on conflict do nothing;
end
$$;
comment on function private.record_continued_messages(uuid, uuid, text) is
'Gives a name to the messages of a conversation that have none, before it is joined with another one.';

-- Definer, because no role writes the tables.
create function private.record_names(
    p_source private.ingest_source, p_conversations jsonb, p_parsed private.ingest_conversation[],
    p_messages private.ingest_message[], p_updates private.ingest_update[], p_ids uuid[]
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_names text[] := array(
        select given.value ->> 'external_conversation_id'
        from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
        order by given.position
    );
begin
    if exists (
        select from unnest(p_parsed) as given
        where p_ids[given.position] is not null and v_names[given.position] <> given.external_id
            and not exists (
                select from private.conversation_aliases as alias
                where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
                    and alias.external_id = v_names[given.position] collate "C"
                    and alias.conversation_id = p_ids[given.position]
            )
    ) then
        raise serialization_failure using message = 'A conversation was separated during the request. Send it again.';
    end if;
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select distinct on (alias.conversation_id, given.external_id, given.sender)
        alias.conversation_id, given.external_id, given.sender, alias.external_id
    from (
        select line.parent, line.external_id, line.sender from unnest(p_messages) as line
        union all
        select line.parent, line.external_id, line.sender from unnest(p_updates) as line
    ) as given
    inner join private.conversation_aliases as alias on alias.conversation_id = p_ids[given.parent]
    where alias.external_id = v_names[given.parent] collate "C" and alias.continues is not null
        and not exists (
            select from public.conversation_messages as stored
            where stored.conversation_id = alias.conversation_id
                and stored.external_id = given.external_id collate "C"
                and private.is_same_sender(stored.sender, given.sender)
        )
    order by alias.conversation_id, given.external_id, given.sender, given.parent
    on conflict do nothing;
    perform private.record_named_participants(p_parsed, v_names, p_ids);
end
$$;
comment on function private.record_names(
    private.ingest_source, jsonb, private.ingest_conversation[], private.ingest_message[], private.ingest_update[],
    uuid[]
) is
'Keeps what a request brings under each name of a conversation with several. Raises 40001 if the names were separated
since it was read. The caller has locked the conversations and has not stored the messages.';

-- Definer, because no role writes the table.
create function private.record_named_participants(
    p_parsed private.ingest_conversation[], p_names text[], p_ids uuid[]
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_given private.ingest_conversation;
begin
    -- The rules of update_participants.
    foreach v_given in array p_parsed loop
        update private.conversation_aliases as alias
        set
            participant_identifier = case
                when merged.is_identified then v_given.identifier else alias.participant_identifier
            end,
            identified_at = case
                when merged.is_identified then nullif(v_given.newest_at, '-infinity') else alias.identified_at
            end,
            participant_name = case when merged.is_named then v_given.name else alias.participant_name end,
            named_at = case
                when v_given.name is null then alias.named_at
                else nullif(greatest(alias.named_at, v_given.newest_at), '-infinity')
            end,
            identifiers = merged.all_identifiers
        from (
            select
                known.*,
                known.participant_identifier is null
                or (
                    private.is_phone(known.platform, v_given.identifier), v_given.newest_at, v_given.identifier
                ) > (
                    private.is_phone(known.platform, known.participant_identifier),
                    coalesce(known.identified_at, '-infinity'), known.participant_identifier
                ) as is_identified,
                v_given.name is not null and (v_given.newest_at, v_given.name)
                > (coalesce(known.named_at, '-infinity'), coalesce(known.participant_name, '')) as is_named,
                array(
                    select distinct one::private.identifier
                    from unnest(known.identifiers || v_given.identifiers || private.identify_any(
                        known.platform, v_given.identifier
                    )) as one
                ) as all_identifiers
            from private.conversation_aliases as known
            where known.conversation_id = p_ids[v_given.position]
                and known.external_id = p_names[v_given.position] collate "C"
        ) as merged
        where (alias.scope_id, alias.platform, alias.external_id, alias.conversation_id)
            = (merged.scope_id, merged.platform, merged.external_id, merged.conversation_id);
    end loop;
end
$$;
comment on function private.record_named_participants(private.ingest_conversation[], text[], uuid[]) is
'Keeps what a request says about participants, under the names of their conversations.';

create function private.merge_named_participants(
    p_conversation_id uuid, p_names text[],
    out identifier text, out identified_at timestamptz, out name text, out named_at timestamptz,
    out identifiers private.identifier[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The rules of update_participants.
    select
        (array_agg(alias.participant_identifier order by
            private.is_phone(alias.platform, alias.participant_identifier) desc,
            coalesce(alias.identified_at, '-infinity') desc, alias.participant_identifier desc
        ) filter (where alias.participant_identifier is not null))[1],
        (array_agg(alias.identified_at order by
            private.is_phone(alias.platform, alias.participant_identifier) desc,
            coalesce(alias.identified_at, '-infinity') desc, alias.participant_identifier desc
        ) filter (where alias.participant_identifier is not null))[1],
        (array_agg(alias.participant_name order by
            coalesce(alias.named_at, '-infinity') desc, alias.participant_name desc
        ) filter (where alias.participant_name is not null))[1],
        max(alias.named_at)
    into identifier, identified_at, name, named_at
    from private.conversation_aliases as alias
    where alias.conversation_id = p_conversation_id and alias.external_id = any(p_names);
    identifiers := array(
        select distinct one::private.identifier
        from private.conversation_aliases as alias
        cross join unnest(alias.identifiers) as one
        where alias.conversation_id = p_conversation_id and alias.external_id = any(p_names)
    );
end
$$;
comment on function private.merge_named_participants(uuid, text[]) is
'What requests said about the participant of a conversation under some of its names.';

create function private.restore_participant(p_conversation_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participant record;
begin
    select * into v_participant from private.merge_named_participants(p_conversation_id, array(
        select alias.external_id from private.conversation_aliases as alias
        where alias.conversation_id = p_conversation_id
    ));
    update public.conversations as conversation
    set
        participant_identifier = v_participant.identifier,
        participant_identified_at = v_participant.identified_at,
        participant_name = v_participant.name,
        participant_named_at = v_participant.named_at
    where conversation.id = p_conversation_id and v_participant.identifier is not null;
    delete from public.conversation_identifiers as known
    where known.conversation_id = p_conversation_id
        and (known.kind, known.value, known.app)::private.identifier <> all(v_participant.identifiers);
    perform private.update_matches(array[p_conversation_id]);
end
$$;
comment on function private.restore_participant(uuid) is
'Gives a conversation the participant that its remaining names speak of, and matches it again.';

create function private.knows_names(p_source private.ingest_source, p_conversations jsonb) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return not exists (
        select from jsonb_array_elements(p_conversations) as given
        where jsonb_typeof(given.value -> 'continues') = 'string' and not exists (
            select from private.conversation_aliases as alias
            -- Connections of several owners may share a scope, and each owner has conversations of their own.
            inner join public.conversations as conversation
                on alias.conversation_id = conversation.id and conversation.user_id = p_source.user_id
            where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
                and alias.external_id = given.value ->> 'external_conversation_id' collate "C"
                and alias.continues = given.value ->> 'continues' collate "C"
        )
    );
end
$$;
comment on function private.knows_names(private.ingest_source, jsonb) is
'Whether a request only repeats which conversations continue others, as most do.';

create function private.has_names(p_source private.ingest_source, p_created jsonb) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The first for a request whose names were separated since it was read, the second for names that came since.
    if current_setting('threadline.has_names', true) is distinct from 'on' and not exists (
        select from private.conversation_aliases as alias
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
    ) then
        return false;
    elsif p_created <> '{}' and exists (
        select from private.conversation_aliases as alias
        inner join public.conversations as conversation
            on alias.conversation_id = conversation.id and conversation.user_id = p_source.user_id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = any(array(select jsonb_object_keys(p_created)) collate "C")
            and alias.continues is not null
    ) then
        raise serialization_failure using message = 'A conversation was continued during the request. Send it again.';
    end if;
    return true;
end
$$;
comment on function private.has_names(private.ingest_source, jsonb) is
'Whether conversations of a connection have several names. Raises 40001 if one that the request has created got another
one to continue since the request was read.';
