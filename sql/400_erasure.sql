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
    v_conversations := array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = v_person.workspace_id
            and (conversation.person_id = p_person_id or conversation.id = any(p_conversation_ids))
        order by conversation.id
        for update
    );
    select count(*) into v_messages
    from public.conversation_messages as stored
    where stored.conversation_id = any(v_conversations);
    delete from public.conversations as conversation where conversation.id = any(v_conversations);
    delete from private.group_participants as known where known.person_id = p_person_id;
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
    )) || jsonb_build_object('similar_conversation_ids', v_similar);
end
$$;
comment on function private.erase_person(uuid, uuid[]) is
'Deletes a person of the caller, the conversations matched to it and the named ones. Returns the receipt with
similar_conversation_ids: conversations that stay and share the last ten digits of the phone number. PT404 if the person
or a conversation is not the caller''s.';

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
'Erases a person of the caller, the matched conversations and their messages, and returns the receipt. Takes person_id
and conversation_ids, for conversations under usernames, which match no person. Data that the platform sends again is
stored again.';
