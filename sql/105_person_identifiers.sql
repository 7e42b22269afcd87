-- More identifiers of people than their one phone field, and the keys by which conversations find people.
-- Promise: an identifier has the one form of its kind.

create type private.person_key as (workspace_id uuid, key text);
comment on type private.person_key is 'A key of a person, with the workspace of the person.';

create table public.person_identifiers (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null default auth.uid(),
    person_id uuid not null,
    kind text not null,
    value text not null,
    app text not null default '',
    created_at timestamptz not null default now(),
    constraint person_identifiers_unique unique (person_id, kind, app, value),
    constraint person_identifiers_person_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on update cascade on delete cascade,
    constraint person_identifiers_value_length check (char_length(value) between 1 and 500),
    constraint person_identifiers_app_length check (char_length(app) <= 100),
    constraint person_identifiers_value_form check (private.identifier_value(kind, value) is not null)
);
comment on table public.person_identifiers is
'Phone numbers and identifiers on platforms of a person, as many as there are. Conversations match any of them.';
comment on column public.person_identifiers.workspace_id is 'The workspace of the person; a trigger sets it.';
comment on column public.person_identifiers.kind is
'phone, whatsapp_lid, whatsapp_bsuid, signal_uuid, telegram_id, telegram_username, wechat_openid, wechat_unionid or
email.';
comment on column public.person_identifiers.value is
'The identifier in the one form of its kind (private.identifier_value). A phone number stays as it was written.';
comment on column public.person_identifiers.app is 'The WeChat app of an openid; empty for all other kinds.';
create index person_identifiers_workspace_id_person_id_idx on public.person_identifiers (workspace_id, person_id);
alter table public.person_identifiers enable row level security;

-- Without foreign keys: triggers of people write it.
create table private.person_keys (
    workspace_id uuid not null,
    key text collate "C" not null,
    person_id uuid not null,
    extension text,
    primary key (workspace_id, key, person_id)
);
comment on table private.person_keys is
'The keys of all people. person_id is the person that others are merged into. extension: only numbers with this
extension, or with none, have the key.';
create index person_keys_person_id_idx on private.person_keys (person_id);
alter table private.person_keys enable row level security;

create policy person_identifiers_select_member on public.person_identifiers
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy person_identifiers_insert_member on public.person_identifiers
for insert to authenticated
with check (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy person_identifiers_delete_member on public.person_identifiers
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create function private.home_country(p_workspace_id uuid) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(workspace.home_country, settings.default_country)
        from private.settings
        left join public.workspaces as workspace on workspace.id = p_workspace_id
    );
end
$$;
comment on function private.home_country(uuid) is
'The country of the phone numbers of a workspace that do not name theirs: its home_country, or else the setting
default_country; null if neither is set.';

create function private.find_merged_person(p_person_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := p_person_id;
    v_next uuid;
begin
    loop
        select person.merged_into_id into v_next from public.people as person where person.id = v_id;
        exit when v_next is null;
        v_id := v_next;
    end loop;
    return v_id;
end
$$;
comment on function private.find_merged_person(uuid) is
'The person that this one was merged into, over all merges; the same one if it was not merged.';

create function private.normalize_identifier_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Null if the caller may not see the person: the policy refuses that.
    new.workspace_id := (select person.workspace_id from public.people as person where person.id = new.person_id);
    new.value := coalesce(private.identifier_value(new.kind, btrim(new.value)), new.value);
    return new;
end
$$;
comment on function private.normalize_identifier_trigger() is
'Trigger: gives an identifier the workspace of its person and the one form of its kind. A check constraint refuses what
has no such form.';

create function private.list_person_keys(p_people uuid[])
returns table (workspace_id uuid, key text, person_id uuid, extension text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with recursive member as (
        select person.id as root, person.* from public.people as person
        where person.id = any(p_people) and person.merged_into_id is null
        union all
        select member.root, person.*
        from member
        inner join public.people as person on person.merged_into_id = member.id
    ), found as (
        select member.root, member.workspace_id, number.key, number.extension
        from member
        cross join lateral private.list_phone_keys(member.phone, private.home_country(member.workspace_id)) as number
        union all
        select member.root, member.workspace_id, number.key, number.extension
        from member
        inner join public.person_identifiers as own on member.id = own.person_id and own.kind = 'phone'
        cross join lateral private.list_phone_keys(own.value, private.home_country(member.workspace_id)) as number
        union all
        select member.root, member.workspace_id, private.identifier_key(own.kind, own.value, own.app), null
        from member
        inner join public.person_identifiers as own on member.id = own.person_id and own.kind <> 'phone'
    )

    select found.workspace_id, found.key, found.root,
        case when count(*) = count(found.extension) and count(distinct found.extension) = 1
            then min(found.extension)
        end
    from found
    group by found.workspace_id, found.key, found.root;
end
$$;
comment on function private.list_person_keys(uuid[]) is
'The keys of these people and of all that are merged into them; none for people that are merged into others.';
