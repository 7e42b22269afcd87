-- All identifiers that were ever seen of the participant of a conversation.
-- Promise: nothing is removed from here while the conversation lives, unless a user separates it from another one.

create table public.conversation_identifiers (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    kind text not null,
    value text not null,
    app text not null default '',
    key text collate "C",
    created_at timestamptz not null default now(),
    primary key (conversation_id, kind, app, value)
);
comment on table public.conversation_identifiers is
'Identifiers of the participant of a conversation besides participant_identifier: earlier ones, and those that ingest
requests name in identifiers.';
comment on column public.conversation_identifiers.workspace_id is
'The conversation''s workspace, repeated so that row-level security needs no second table.';
comment on column public.conversation_identifiers.kind is
'As in person_identifiers; other for a text that identifies no person, such as a username on WhatsApp.';
comment on column public.conversation_identifiers.key is 'What equal identifiers have in common; null for other.';
create index conversation_identifiers_workspace_id_key_idx on public.conversation_identifiers (workspace_id, key);
alter table public.conversation_identifiers enable row level security;

-- Participants who write in a group, or whom a request names. A computed field shows them, so clients need no privilege
-- here.
create table private.group_participants (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    identifier text collate "C" not null,
    name text collate "C",
    named_at timestamptz not null default '-infinity',
    identifiers jsonb not null default '[]',
    keys text[] collate "C" not null default '{}',
    has_left boolean not null default false,
    at timestamptz not null default '-infinity',
    person_id uuid,
    matched_by text,
    primary key (conversation_id, identifier),
    constraint group_participants_person_id_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on delete set null (person_id)
);
comment on table private.group_participants is 'Who is or was in a group, and the person of each.';
comment on column private.group_participants.identifier is
'The sender of the messages; identifier in the participants of a request.';
comment on column private.group_participants.named_at is
'The time of name, so that a later request with an earlier time does not replace it.';
comment on column private.group_participants.identifiers is 'Further identifiers from requests.';
comment on column private.group_participants.keys is
'The keys of all identifiers; equal identifiers have equal keys (private.identifier_key).';
comment on column private.group_participants.at is 'When the participant last joined, wrote or left.';
create index group_participants_keys_idx on private.group_participants using gin (keys);
create index group_participants_person_id_idx on private.group_participants (workspace_id, person_id)
where person_id is not null;
alter table private.group_participants enable row level security;

create policy conversation_identifiers_select_member on public.conversation_identifiers
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create function private.diagnose_identifiers(p_identifiers jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_app constant text := '^[A-Za-z0-9_-]{1,100}$';
begin
    if coalesce(jsonb_typeof(p_identifiers), 'null') = 'null' then
        return null;
    elsif jsonb_typeof(p_identifiers) <> 'array' or jsonb_array_length(p_identifiers) > 20 then
        return 'identifiers must be an array of at most 20 objects';
    end if;
    return (
        select (array_agg(format('identifiers[%s]', given.position - 1) || given.error order by given.position)
            filter (where given.error is not null))[1]
        from (
            select
                one.position,
                case
                    when jsonb_typeof(one.value) <> 'object' then ' must be an object'
                    when coalesce(one.value ->> 'kind', '') <> all(private.identifier_kinds())
                        then '.kind must be ' || array_to_string(private.identifier_kinds(), ', ')
                    when jsonb_typeof(one.value -> 'value') is distinct from 'string'
                        or char_length(one.value ->> 'value') > 500
                        or private.identifier_value(one.value ->> 'kind', btrim(one.value ->> 'value')) is null
                        then format('.value must be a valid %s', one.value ->> 'kind')
                    when (one.value ->> 'kind' = 'wechat_openid') <> (one.value ? 'app')
                        or coalesce(one.value ->> 'app', 'x') !~ c_app
                        then '.app must be the WeChat app of an openid, and is for openids only'
                end as error
            from jsonb_array_elements(p_identifiers) with ordinality as one (value, position)
        ) as given
    );
end
$$;
comment on function private.diagnose_identifiers(jsonb) is
'The first error of the field identifiers of a conversation; null without an error.';

create function private.list_given_identifiers(p_identifiers jsonb) returns private.identifier[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_identifiers is null or private.diagnose_identifiers(p_identifiers) is not null
        or jsonb_typeof(p_identifiers) = 'null'
    then
        return '{}'::private.identifier[];
    end if;
    return array(
        select row(
            one.value ->> 'kind',
            private.identifier_value(
                one.value ->> 'kind',
                case one.value ->> 'kind'
                    when 'phone' then private.phone_text(one.value ->> 'value') else btrim(one.value ->> 'value')
                end
            ),
            coalesce(one.value ->> 'app', '')
        )::private.identifier
        from jsonb_array_elements(p_identifiers) as one
    );
end
$$;
comment on function private.list_given_identifiers(jsonb) is
'The identifiers in the field identifiers of a conversation, each in its one form; empty if the field has an error.';

create function private.diagnose_group_participants(p_conversation jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participants jsonb := p_conversation -> 'participants';
begin
    if coalesce(jsonb_typeof(v_participants), 'null') = 'null' then
        return null;
    elsif p_conversation -> 'kind' is distinct from '"group"' then
        return 'participants is for groups only';
    elsif jsonb_typeof(v_participants) <> 'array' or jsonb_array_length(v_participants) > 1000 then
        return 'participants must be an array of at most 1000 objects';
    end if;
    return (
        select (array_agg(format('participants[%s].', given.position - 1) || given.error order by given.position)
            filter (where given.error is not null))[1]
        from (
            select
                one.position,
                case
                    when jsonb_typeof(one.value) <> 'object'
                        or coalesce(jsonb_typeof(one.value -> 'identifier'), '') <> 'string'
                        or char_length(one.value ->> 'identifier') not between 1 and 500
                        then 'identifier must be a string of 1 to 500 characters'
                    when coalesce(jsonb_typeof(one.value -> 'name'), 'null') not in ('string', 'null')
                        or char_length(one.value ->> 'name') > 500
                        then 'name must be a string of at most 500 characters'
                    when coalesce(one.value -> 'state', '"joined"') not in ('"joined"', '"left"')
                        then 'state must be joined or left'
                    when one.value ? 'at' and (
                        jsonb_typeof(one.value -> 'at') <> 'string'
                        or private.parse_timestamp(one.value ->> 'at') is null
                    ) then 'at must be an ISO 8601 timestamp'
                    else private.diagnose_identifiers(one.value -> 'identifiers')
                end as error
            from jsonb_array_elements(v_participants) with ordinality as one (value, position)
        ) as given
    );
end
$$;
comment on function private.diagnose_group_participants(jsonb) is
'The first error of the field participants of a conversation; null without an error.';

create function private.diagnose_people(p_conversation jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(
        private.diagnose_identifiers(p_conversation -> 'identifiers'),
        private.diagnose_group_participants(p_conversation)
    );
end
$$;
comment on function private.diagnose_people(jsonb) is
'The first error of the fields identifiers and participants of a conversation; null without an error.';

-- Definer, because clients may not read the table. The caller sees the conversation, which is the argument.
create function private.list_group_participants(p_conversation_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'identifier', known.identifier,
            'name', known.name,
            'identifiers', known.identifiers,
            'has_left', known.has_left,
            'at', case when isfinite(known.at) then private.format_time(known.at) end,
            'person_id', known.person_id,
            'matched_by', known.matched_by
        ) order by known.identifier), '[]')
        from private.group_participants as known
        where known.conversation_id = p_conversation_id
            and exists (
                select from private.my_workspaces as mine where mine.id = known.workspace_id
                union all
                select where private.is_service()
            )
    );
end
$$;
comment on function private.list_group_participants(uuid) is
'The participants of a group of the caller''s workspaces, with the person of each.';

create function public.participants(public.conversations) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_group_participants($1.id);
end
$$;
comment on function public.participants(public.conversations) is
'Computed field: who is or was in a group, as an array of identifier, name, identifiers, has_left, at, person_id and
matched_by. identifier is the sender of the messages.';

create function private.list_identifiers(p_conversation_id uuid) returns private.identifier[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select row(known.kind, known.value, known.app)::private.identifier
        from public.conversation_identifiers as known
        where known.conversation_id = p_conversation_id
    );
end
$$;
comment on function private.list_identifiers(uuid) is
'What was seen of the participant of a conversation besides participant_identifier.';

create function private.record_earlier_identifier_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_identifiers(
        array[new.id], array[private.identify_any(old.platform, old.participant_identifier)]
    );
    return null;
end
$$;
comment on function private.record_earlier_identifier_trigger() is
'Trigger: keeps the identifier that a conversation had before.';

create function private.identify_any(p_platform text, p_text text) returns private.identifier
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier := private.identify(p_platform, p_text);
begin
    return case
        when v_identifier.value is null then row('other', p_text, '')::private.identifier
        when v_identifier.kind = 'phone'
            then row('phone', private.phone_text(v_identifier.value), '')::private.identifier
        else v_identifier
    end;
end
$$;
comment on function private.identify_any(text, text) is
'As identify, with the kind other for a text that identifies no person.';

create function private.record_identifiers(p_ids uuid[], p_identifiers private.identifier[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_changed uuid[];
begin
    with added as (
        insert into public.conversation_identifiers (conversation_id, workspace_id, kind, value, app, key)
        select
            conversation.id, conversation.workspace_id, given.kind, given.value, given.app,
            private.identifier_key(nullif(given.kind, 'other'), given.value, given.app)
        from unnest(p_ids, p_identifiers) as given (conversation_id, kind, value, app)
        inner join public.conversations as conversation on given.conversation_id = conversation.id
        where (given.kind, given.value, given.app)::private.identifier
            <> private.identify_any(conversation.platform, conversation.participant_identifier)
        order by conversation.id, given.kind, given.app, given.value
        on conflict do nothing
        returning conversation_id
    )

    select array_agg(distinct added.conversation_id) into v_changed from added;
    return coalesce(v_changed, '{}');
end
$$;
comment on function private.record_identifiers(uuid[], private.identifier[]) is
'Keeps identifiers of participants, each with its conversation. Returns the conversations for which one was new.';
