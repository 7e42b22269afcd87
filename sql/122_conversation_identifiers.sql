-- All identifiers that were ever seen of the participant of a conversation.
-- Promise: nothing is removed from here while the conversation lives.

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
