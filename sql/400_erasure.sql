-- Erasure, with a receipt: the right to be forgotten. This file erases people; 401_user_erasure erases users.
-- A receipt contains numbers and ids, never erased content.

create table public.erasures (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    subject_id uuid not null,
    requested_by uuid,
    request_id text,
    erased jsonb not null,
    created_at timestamptz not null default now(),
    constraint erasures_kind_known check (kind in ('person', 'user')),
    constraint erasures_erased_object check (jsonb_typeof(erased) = 'object')
);
comment on table public.erasures is
'Receipts of erasures: the erased id, the time, the requester and the number of rows. They contain no erased content.';
comment on column public.erasures.subject_id is 'The id of the erased person or user.';
comment on column public.erasures.requested_by is 'The user who requested the erasure; null for service_role.';
comment on column public.erasures.erased is 'The number of erased rows by kind.';
create index erasures_requested_by_idx on public.erasures (requested_by);
alter table public.erasures enable row level security;

create policy erasures_select_requester on public.erasures
for select to authenticated using (requested_by = (select auth.uid()));

create function private.create_receipt(p_kind text, p_subject_id uuid, p_erased jsonb) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_receipt public.erasures;
begin
    insert into public.erasures (kind, subject_id, requested_by, request_id, erased)
    values (p_kind, p_subject_id, (select auth.uid()), private.request_id(), p_erased)
    returning * into v_receipt;
    return jsonb_build_object(
        'id', v_receipt.id,
        'kind', v_receipt.kind,
        'subject_id', v_receipt.subject_id,
        'requested_by', v_receipt.requested_by,
        'erased', v_receipt.erased,
        'created_at', private.format_time(v_receipt.created_at)
    );
end
$$;
comment on function private.create_receipt(text, uuid, jsonb) is 'Stores a receipt and returns it as answers show it.';

create function private.delete_person(p_person_id uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted bigint;
begin
    with recursive entry as (
        select p_person_id as id
        union
        select person.id from entry inner join public.people as person on person.merged_into_id = entry.id
    ), removed as (
        delete from public.people as person where person.id in (select entry.id from entry) returning person.id
    )

    select count(*) into v_deleted from removed;
    return v_deleted;
end
$$;
comment on function private.delete_person(uuid) is
'Deletes a person and the entries that were merged into it. Returns how many there were.';

create function private.erase_from_groups(p_person_id uuid) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_groups uuid[] := array(
        select distinct own.conversation_id from private.group_participants as own where own.person_id = p_person_id
    );
    v_messages bigint;
    v_updates private.ingest_update[];
    v_ids uuid[];
begin
    -- A trigger removes their edits, which may name no sender.
    delete from public.conversation_messages as stored
    using private.group_participants as own
    where own.person_id = p_person_id
        and (stored.conversation_id, stored.sender) = (own.conversation_id, own.identifier);
    get diagnostics v_messages = row_count;
    delete from private.conversation_media as known
    using private.group_participants as own
    where own.person_id = p_person_id
        and (known.conversation_id, known.sender) = (own.conversation_id, own.identifier);
    delete from private.continued_messages as known
    using private.group_participants as own
    where own.person_id = p_person_id
        and (known.conversation_id, known.sender) = (own.conversation_id, own.identifier);
    delete from private.summaries as known where known.conversation_id = any(v_groups);
    with removed as (
        delete from public.conversation_updates as given
        using private.group_participants as own
        where own.person_id = p_person_id and given.conversation_id = own.conversation_id
            and own.identifier in (given.sender, given.actor)
        returning given.conversation_id, given.external_id, given.sender
    ), numbered as (
        select removed.*, row_number() over () as parent from removed
    )

    select
        coalesce(array_agg((
            numbered.parent, 0, numbered.external_id, numbered.sender, null, null, null, 0, null, null
        )::private.ingest_update order by numbered.parent), '{}'),
        coalesce(array_agg(numbered.conversation_id order by numbered.parent), '{}')
    into v_updates, v_ids
    from numbered;
    perform private.refresh_messages(v_updates, v_ids), private.forget_senders(p_person_id, v_groups);
    delete from private.group_participants as own where own.person_id = p_person_id;
    return jsonb_build_object('group_messages', v_messages, 'group_updates', cardinality(v_ids));
end
$$;
comment on function private.erase_from_groups(uuid) is
'Deletes what a person wrote in groups, the reactions and receipts, and the entries in their lists. Returns how many
messages and updates those were.';

create function private.forget_senders(p_person_id uuid, p_groups uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    update private.inbox_changes as log
    set senders = array(
        select case when own.identifier is null then given.sender else '' end
        from unnest(log.conversation_ids, log.senders) with ordinality as given (conversation_id, sender, position)
        left join private.group_participants as own
            on own.person_id = p_person_id
            and (own.conversation_id, own.identifier) = (given.conversation_id, given.sender)
        order by given.position
    )
    where log.workspace_id in (
        select conversation.workspace_id from public.conversations as conversation
        where conversation.id = any(p_groups)
    ) and log.conversation_ids && p_groups and log.senders is not null;
    perform private.redact_conversations(p_groups::text[]);
end
$$;
comment on function private.forget_senders(uuid, uuid[]) is
'Removes a person from the log and the broadcasts of these groups. The log keeps that a message changed.';

create function private.lock_erased_conversations(p_workspace_id uuid, p_person_id uuid, p_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_late uuid[] := array(
        select late.conversation_id from private.late_matches as late where late.workspace_id = p_workspace_id
    );
begin
    -- With the groups, in the order of ingest.
    perform from public.conversations as conversation
    where conversation.workspace_id = p_workspace_id and (
        conversation.person_id = p_person_id or conversation.id = any(p_ids || v_late) or conversation.id in (
            select own.conversation_id from private.group_participants as own where own.person_id = p_person_id
        )
    )
    order by conversation.id
    for update;
    -- Ingest left these to the clean-up.
    perform private.update_matches(v_late), private.match_group_participants(v_late, null);
    return array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = p_workspace_id
            and (conversation.person_id = p_person_id or conversation.id = any(p_ids))
    );
end
$$;
comment on function private.lock_erased_conversations(uuid, uuid, uuid[]) is
'Locks the conversations and groups of a person and the named ones, and matches those that still wait for it. Returns
those to delete, which are not the groups.';

-- Definer, because users may not delete what ingest writes. The function checks who manages the workspace.
create function private.erase_person(p_person_id uuid, p_conversation_ids uuid[]) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people;
    v_conversations uuid[];
    v_messages bigint;
    v_people bigint;
    v_similar uuid[];
    v_from_groups jsonb;
begin
    select * into v_person
    from public.people as person
    where person.id = p_person_id
        and (
            (select private.is_service())
            or exists (select from private.my_managed_workspaces as mine where mine.id = person.workspace_id)
        );
    if v_person.id is null then
        perform private.fail(
            404, 'person_not_found', 'This person does not exist or is not yours. Check person_id.', 'person_id'
        );
    end if;
    -- The lock stops matching and ingest for this workspace, so the receipt counts exactly what is deleted.
    perform pg_advisory_xact_lock(private.matching_lock(v_person.workspace_id));
    if exists (
        select from unnest(p_conversation_ids) as named (id)
        where not exists (
            select from public.conversations as own where own.id = named.id and own.workspace_id = v_person.workspace_id
        )
    ) then
        perform private.fail(
            404, 'conversation_not_found',
            'A conversation does not exist or is not yours. Check conversation_ids.', 'conversation_ids'
        );
    end if;
    v_conversations := private.lock_erased_conversations(v_person.workspace_id, p_person_id, p_conversation_ids);
    select count(*) into v_messages
    from public.conversation_messages as stored
    where stored.conversation_id = any(v_conversations);
    delete from public.conversations as conversation where conversation.id = any(v_conversations);
    v_from_groups := private.erase_from_groups(p_person_id);
    v_people := private.delete_person(p_person_id);
    v_similar := array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = v_person.workspace_id
            and conversation.participant_key = 'phone:' || right(v_person.phone_digits, 6)
            and right(conversation.participant_digits, 10) = right(v_person.phone_digits, 10)
        order by conversation.id
    );
    perform private.record_audit(v_person.workspace_id, 'person.erased', p_person_id, '{}');
    return private.create_receipt('person', p_person_id, jsonb_build_object(
        'people', v_people, 'conversations', cardinality(v_conversations), 'conversation_messages', v_messages
    ) || v_from_groups) || jsonb_build_object('similar_conversation_ids', v_similar);
end
$$;
comment on function private.erase_person(uuid, uuid[]) is
'Deletes a person of the caller, the conversations matched to it and the named ones, and what it wrote in groups.
Returns the receipt with similar_conversation_ids: conversations that stay and share the last ten digits of the phone
number. PT404 if the person or a conversation is not the caller''s.';

create function public.erase_person(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.erase_person(
        private.parse_uuid($1, 'person_id'), private.parse_uuids($1, 'conversation_ids', 1000)
    ));
end
$$;
comment on function public.erase_person(jsonb) is
'Erases a person of the caller, the matched conversations and their messages, and what it wrote in groups, and returns
the receipt. Takes person_id
and conversation_ids, for conversations under usernames, which match no person. Data that the platform sends again is
stored again.';
