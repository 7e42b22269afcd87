-- People: the entries of a workspace's address book. Ingest matches conversations to them by phone number
-- (125_person_matching).
-- Promise: only members of the workspace read or change them, and a text that is not a phone number never matches a
-- conversation.

create function private.phone_digits(p_phone text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The escapes are spaces, dashes and direction marks that phones put into copied numbers.
    return case
        when p_phone ~ '^[-+0-9 ().,/\u00a0\u200b\u200e\u200f\u2010-\u2015\u202a-\u202f\u2066-\u2069\ufeff]+$'
            then nullif(regexp_replace(p_phone, '[^0-9]', '', 'g'), '')
    end;
end
$$;
comment on function private.phone_digits(text) is
'The digits of a phone number as written; null for any other text, so that a username never counts as a number.';

create table public.people (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    full_name text not null,
    phone text,
    phone_digits text generated always as (private.phone_digits(phone)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    merged_into_id uuid,
    constraint people_id_unique unique (workspace_id, id),
    constraint people_merged_into_id_fkey foreign key (workspace_id, merged_into_id)
    references public.people (workspace_id, id) on delete set null (merged_into_id),
    constraint people_full_name_length check (char_length(full_name) between 1 and 500),
    constraint people_phone_length check (char_length(phone) <= 100)
);
comment on table public.people is
'A person in the address book of a workspace. Ingest matches conversations to people by their identifiers.';
comment on column public.people.workspace_id is 'Without a value, the personal workspace of user_id.';
comment on column public.people.user_id is
'The member who added the person, or the owner to whom that member''s people passed.';
comment on column public.people.phone is
'The phone number as the user wrote it, or several of them. More stand in person_identifiers.';
comment on column public.people.merged_into_id is
'The person that this entry is the same person as (merge_people); conversations match that one.';
comment on column public.people.phone_digits is 'The digits of phone; null if phone is not a phone number.';
create index people_user_id_idx on public.people (user_id);
create index people_merged_into_id_idx on public.people (workspace_id, merged_into_id)
where merged_into_id is not null;
alter table public.people enable row level security;

create policy people_select_member on public.people
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy people_insert_member on public.people
for insert to authenticated
with check (
    user_id = (select auth.uid())
    and exists (select from private.my_workspaces as mine where mine.id = people.workspace_id)
);
create policy people_update_member on public.people
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy people_delete_member on public.people
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
