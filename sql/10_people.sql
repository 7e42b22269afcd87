-- The people a user knows, and how a phone number finds one of them.

create function private.phone_digits(p_phone text) returns text
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
begin
    -- Besides the usual punctuation, the spaces, dashes and direction marks that phones put into copied numbers.
    return case
        when p_phone ~ '^[-+0-9 ().,/\u00a0\u200b\u200e\u200f\u2010-\u2015\u202a-\u202f\u2066-\u2069\ufeff]+$'
            then nullif(regexp_replace(p_phone, '[^0-9]', '', 'g'), '')
    end;
end
$$;
comment on function private.phone_digits(text) is
'The digits of a phone number as written; null for anything else, so that a username never looks like a number.';
revoke all on function private.phone_digits(text) from public, anon, authenticated, service_role;
-- Generated columns compute it with the rights of whoever writes the row.
grant execute on function private.phone_digits(text) to authenticated, service_role;

create table public.people (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    full_name text not null,
    phone text,
    phone_digits text generated always as (private.phone_digits(phone)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint people_full_name_length check (char_length(full_name) between 1 and 500),
    constraint people_phone_length check (char_length(phone) <= 100)
);
comment on table public.people is 'A user''s contacts. Ingested conversations are matched to them by phone number.';
comment on column public.people.user_id is 'The user whose contact this is.';
comment on column public.people.phone is 'As the user wrote it.';
comment on column public.people.phone_digits is 'Only the digits of phone; null when it is not a phone number.';

-- Serves both rules of private.match_person, and the foreign key to users.
create index people_user_id_phone_tail_idx on public.people (user_id, right(phone_digits, 10));

alter table public.people enable row level security;
revoke all on public.people from public, anon, authenticated, service_role;
grant select, delete on public.people to authenticated;
grant insert (id, full_name, phone), update (full_name, phone) on public.people to authenticated;
grant select, insert, update, delete on public.people to service_role;

create policy people_select_owner on public.people
for select to authenticated using (user_id = (select auth.uid()));
create policy people_insert_owner on public.people
for insert to authenticated with check (user_id = (select auth.uid()));
create policy people_update_owner on public.people
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy people_delete_owner on public.people
for delete to authenticated using (user_id = (select auth.uid()));

create trigger people_before_update_stamp before update on public.people
for each row execute function private.set_updated_at();

create function private.match_person(p_user_id uuid, p_digits text) returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
    -- The last ten digits bridge country codes ('Contact Matching' of the ingest document). Two people who
    -- fit equally well match nobody: to show the wrong person's data is worse than to show none.
    return (
        select case count(*) filter (where person.phone_digits = p_digits)
            when 1 then (array_agg(person.id) filter (where person.phone_digits = p_digits))[1]
            when 0 then case when count(*) = 1 and length(p_digits) >= 10 then (array_agg(person.id))[1] end
        end
        from public.people as person
        where person.user_id = p_user_id and right(person.phone_digits, 10) = right(p_digits, 10)
    );
end
$$;
comment on function private.match_person(uuid, text) is
'The one contact of a user whose number has these digits, or else the same last ten; null when none or several do.';
revoke all on function private.match_person(uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.match_person(uuid, text) to service_role;

create function private.matching_lock(p_user_id uuid) returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return hashtextextended('threadline.matching.' || p_user_id, 0);
end
$$;
comment on function private.matching_lock(uuid) is
'The advisory lock of a user''s matching. A new thread and a new contact that belong together may be written at the
same moment, neither seeing the other: so whoever matches threads holds it shared, whoever changes contacts holds it
alone, and both take it before they lock any row.';
revoke all on function private.matching_lock(uuid) from public, anon, authenticated, service_role;
grant execute on function private.matching_lock(uuid) to service_role;
