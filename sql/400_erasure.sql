-- The right to be forgotten: erasure of a person or a user, with a receipt.

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
'Receipts: who was erased, when, at whose wish, and how much that was. Nothing in them says what it was.';
comment on column public.erasures.subject_id is 'The id that the contact (kind person) or the user had.';
comment on column public.erasures.requested_by is 'The user who asked for it; null for service_role.';
comment on column public.erasures.erased is 'How many rows of what.';
create index erasures_requested_by_idx on public.erasures (requested_by);
alter table public.erasures enable row level security;

create table private.former_twin_messages (
    message_id uuid primary key references public.messages (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade
);
comment on table private.former_twin_messages is
'Whose twin said what, when the twin is gone: the message names nobody any more, and goes with that user all the same.';
create index former_twin_messages_user_id_idx on private.former_twin_messages (user_id);
alter table private.former_twin_messages enable row level security;

create policy erasures_select_requester on public.erasures
for select to authenticated using (requested_by = (select auth.uid()));

create function private.create_receipt(p_kind text, p_subject_id uuid, p_erased jsonb) returns jsonb
language plpgsql
volatile
set search_path = ''
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
comment on function private.create_receipt(text, uuid, jsonb) is 'Keeps a receipt and answers it as calls show it.';

-- Definer, because owners may not delete what ingest writes. It asks itself whose person that is.
create function private.erase_person(p_person_id uuid, p_conversation_ids uuid[]) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_person public.people;
    v_threads uuid[];
    v_messages bigint;
    v_similar uuid[];
begin
    select * into v_person
    from public.people as person
    where person.id = p_person_id
        and (person.user_id = (select auth.uid()) or (select private.is_service()));
    if v_person.id is null then
        perform private.fail(404, 'person_not_found', 'You have no such contact.', 'person_id');
    end if;
    -- From here on no thread of this user is matched or added to: what is counted is what goes.
    perform pg_advisory_xact_lock(private.matching_lock(v_person.user_id));
    if exists (
        select from unnest(p_conversation_ids) as named (id)
        where not exists (
            select from public.conversations as own where own.id = named.id and own.user_id = v_person.user_id
        )
    ) then
        perform private.fail(404, 'conversation_not_found', 'You have no such thread.', 'conversation_ids');
    end if;
    v_threads := array(
        select thread.id
        from public.conversations as thread
        where thread.user_id = v_person.user_id
            and (thread.person_id = p_person_id or thread.id = any(p_conversation_ids))
        order by thread.id
        for update
    );
    select count(*) into v_messages
    from public.conversation_messages as stored
    where stored.conversation_id = any(v_threads);
    delete from public.conversations as thread where thread.id = any(v_threads);
    delete from public.people as person where person.id = p_person_id;
    v_similar := array(
        select thread.id
        from public.conversations as thread
        where thread.user_id = v_person.user_id
            and right(thread.participant_digits, 10) = right(v_person.phone_digits, 10)
        order by thread.id
    );
    return private.create_receipt('person', p_person_id, jsonb_build_object(
        'people', 1, 'conversations', cardinality(v_threads), 'conversation_messages', v_messages
    )) || jsonb_build_object('similar_conversation_ids', v_similar);
end
$$;
comment on function private.erase_person(uuid, uuid[]) is
'Deletes a contact of the caller with the threads that are matched to it, and those named beside; PT404 for anyone
else''s. The receipt is followed by the threads that have the same last ten digits and stay.';

create function public.erase_person(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.succeed(private.erase_person(
        private.parse_uuid($1, 'person_id'), private.parse_uuids($1, 'conversation_ids', 1000)
    ));
end
$$;
comment on function public.erase_person(jsonb) is
'Erases a contact of the caller, the threads that are matched to it and their messages, and answers the receipt:
person_id; conversation_ids for threads under usernames, which match nobody. What its source sends again comes back.';

-- Definer, because no client writes here, and because it also runs when Supabase Auth deletes a user.
create function private.remember_twin_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Unless the twin goes because Supabase Auth has deleted its owner: what they said stays, as it does of users.
    insert into private.former_twin_messages (message_id, user_id)
    select said.id, owner.id
    from public.messages as said
    inner join auth.users as owner on owner.id = old.user_id
    where said.ai_twin_id = old.id;
    return old;
end
$$;
comment on function private.remember_twin_owner_trigger() is
'Trigger: what a twin has said remains its owner''s, for the day on which the owner is erased.';

create function private.count_belongings(p_user_id uuid) returns jsonb
language sql
stable
set search_path = ''
as $$
    select jsonb_build_object(
        'connections', (
            select count(*) from public.messaging_connections as connection where connection.user_id = p_user_id
        ),
        'people', (select count(*) from public.people as person where person.user_id = p_user_id),
        'conversations', (select count(*) from public.conversations as thread where thread.user_id = p_user_id),
        'conversation_messages', (
            select coalesce(sum(thread.message_count), 0)
            from public.conversations as thread
            where thread.user_id = p_user_id
        ),
        'twins', (select count(*) from public.ai_twins as twin where twin.user_id = p_user_id),
        'memberships', (select count(*) from public.channel_members as member where member.user_id = p_user_id),
        'reactions', (select count(*) from public.message_reactions as mark where mark.user_id = p_user_id)
    )
$$;
comment on function private.count_belongings(uuid) is 'How many rows go with a user because they are nobody else''s.';

create function private.hand_over_channels(p_user_id uuid) returns bigint
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_count bigint;
begin
    update public.channel_members as heir set role = 'owner'
    where (heir.channel_id, heir.user_id) in (
        select distinct on (other.channel_id) other.channel_id, other.user_id
        from public.channel_members as mine
        inner join public.channel_members as other
            on mine.channel_id = other.channel_id and other.user_id <> p_user_id
        where mine.user_id = p_user_id and mine.role = 'owner'
            and not exists (
                select from public.channel_members as owner
                where owner.channel_id = mine.channel_id and owner.user_id <> p_user_id and owner.role = 'owner'
            )
        order by other.channel_id, other.role <> 'admin', other.created_at, other.user_id
    );
    delete from public.channels as lonely
    where lonely.id in (select mine.channel_id from public.channel_members as mine where mine.user_id = p_user_id)
        and not exists (
            select from public.channel_members as other
            where other.channel_id = lonely.id and other.user_id <> p_user_id
        );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.hand_over_channels(uuid) is
'Where a user is the only owner, the admin, or else the member, of the longest standing becomes owner. Channels that
nobody else belongs to are deleted, and how many they were is answered.';

create function private.list_user_messages(p_user_id uuid) returns setof uuid
language sql
stable
set search_path = ''
as $$
    select said.id from public.messages as said where said.user_id = p_user_id
    union all
    select said.id
    from public.messages as said
    inner join public.ai_twins as twin on said.ai_twin_id = twin.id
    where twin.user_id = p_user_id
    union all
    select former.message_id from private.former_twin_messages as former where former.user_id = p_user_id
$$;
comment on function private.list_user_messages(uuid) is
'What a user and their twins said, those that are gone among them.';

-- Definer, because what belongs to a user lies in tables that no role may write. Its caller is service_role.
create function private.erase_user(p_user_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_erased jsonb := private.count_belongings(p_user_id);
    v_channels uuid[] := array(
        select said.channel_id
        from public.messages as said
        where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id))
        union
        select member.channel_id from public.channel_members as member where member.user_id = p_user_id
        union
        select file.channel_id from public.attachments as file where file.uploaded_by = p_user_id
    );
    v_count bigint;
begin
    if not exists (select from auth.users as known where known.id = p_user_id) then
        perform private.fail(404, 'user_not_found', 'There is no such user.', 'user_id');
    end if;
    -- As whoever changes a channel does: the channel first. In one order, and before anything else is locked.
    perform from private.channel_counters as head
    where head.channel_id = any(v_channels)
    order by head.channel_id
    for no key update;
    v_erased := v_erased || jsonb_build_object('channels', private.hand_over_channels(p_user_id));
    delete from public.messages as said
    where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id));
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('messages', v_count);
    delete from public.attachments as file where file.uploaded_by = p_user_id;
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('files', v_count);
    -- A summary may tell what they said.
    delete from private.summaries as known where known.channel_id = any(v_channels);
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('summaries', v_count);
    delete from private.idempotency_keys as known
    where known.principal = p_user_id::text
        or (
            -- Answers to the service tell what it wrote for them.
            known.principal = 'service_role'
            and exists (
                select from (
                    select p_user_id
                    union all
                    select twin.id from public.ai_twins as twin where twin.user_id = p_user_id
                ) as author (id)
                where strpos(known.body, author.id::text) > 0
            )
        );
    delete from private.request_counts as counted where counted.user_id = p_user_id;
    delete from public.channel_members as member where member.user_id = p_user_id;
    delete from auth.users as known where known.id = p_user_id;
    -- The log keeps its numbers, without a gap, but not who it was.
    update public.message_events as event set actor_id = null where event.actor_id = p_user_id;
    return private.create_receipt('user', p_user_id, v_erased);
end
$$;
comment on function private.erase_user(uuid) is
'Deletes a user, what is theirs and what they and their twins said, with the summaries of all channels that they were
heard in. Each deleted message is an event, as always. Storage''s files are removed by the sweeper.';

create function public.erase_user(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.succeed(private.erase_user(private.parse_uuid($1, 'user_id')));
end
$$;
comment on function public.erase_user(jsonb) is
'For operators: erases a user with all that they have and said, their files and the summaries of their channels, and
answers the receipt: user_id.';
