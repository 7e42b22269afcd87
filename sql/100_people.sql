-- The people a user knows. Conversations are matched to them by phone number (125_person_matching).

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
create index people_user_id_phone_tail_idx on public.people (user_id, right(phone_digits, 10), phone_digits);
alter table public.people enable row level security;

create policy people_select_owner on public.people
for select to authenticated using (user_id = (select auth.uid()));
create policy people_insert_owner on public.people
for insert to authenticated with check (user_id = (select auth.uid()));
create policy people_update_owner on public.people
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy people_delete_owner on public.people
for delete to authenticated using (user_id = (select auth.uid()));
