-- Digital twins: who speaks for a user, and in which channels.

create table public.ai_twins (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint ai_twins_display_name_length check (char_length(display_name) between 1 and 200),
    constraint ai_twins_avatar_url_length check (char_length(avatar_url) <= 2000)
);
comment on table public.ai_twins is 'A digital twin: an agent that writes under its own name, on behalf of its owner.';
comment on column public.ai_twins.user_id is 'The owner, who alone may let it speak.';
create index ai_twins_user_id_idx on public.ai_twins (user_id);

create table public.channel_twins (
    channel_id uuid not null references public.channels (id) on delete cascade,
    ai_twin_id uuid not null references public.ai_twins (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (channel_id, ai_twin_id)
);
comment on table public.channel_twins is
'The channels that a twin takes part in: it hears what is said there and may answer.';
create index channel_twins_ai_twin_id_idx on public.channel_twins (ai_twin_id);

-- A policy on channel_twins that read ai_twins itself would be asked by the policy there, for ever.
create view private.my_twins
with (security_barrier = true) as
select twin.id from public.ai_twins as twin where twin.user_id = (select auth.uid());
comment on view private.my_twins is 'The twins that the caller owns.';
revoke all on private.my_twins from public, anon, authenticated, service_role;
grant select on private.my_twins to authenticated;

create view private.my_fellow_twins
with (security_barrier = true) as
select assigned.ai_twin_id as id
from public.channel_twins as assigned
where assigned.channel_id in (select mine.id from private.my_channels as mine);
comment on view private.my_fellow_twins is 'The twins that take part in a channel of the caller, once for each.';
revoke all on private.my_fellow_twins from public, anon, authenticated, service_role;
grant select on private.my_fellow_twins to authenticated;

alter table public.ai_twins enable row level security;
revoke all on public.ai_twins from public, anon, authenticated, service_role;
grant select, delete on public.ai_twins to authenticated;
grant insert (id, display_name, avatar_url), update (display_name, avatar_url) on public.ai_twins to authenticated;
grant select, insert, update, delete on public.ai_twins to service_role;

create policy ai_twins_select_owner_or_fellow on public.ai_twins
for select to authenticated
using (user_id = (select auth.uid()) or id in (select mine.id from private.my_fellow_twins as mine));
create policy ai_twins_insert_owner on public.ai_twins
for insert to authenticated with check (user_id = (select auth.uid()));
create policy ai_twins_update_owner on public.ai_twins
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy ai_twins_delete_owner on public.ai_twins
for delete to authenticated using (user_id = (select auth.uid()));

alter table public.channel_twins enable row level security;
revoke all on public.channel_twins from public, anon, authenticated, service_role;
grant select, delete on public.channel_twins to authenticated;
grant insert (channel_id, ai_twin_id) on public.channel_twins to authenticated;
grant select, insert, update, delete on public.channel_twins to service_role;

create policy channel_twins_select_member_or_owner on public.channel_twins
for select to authenticated
using (
    channel_id in (select mine.id from private.my_channels as mine)
    or ai_twin_id in (select mine.id from private.my_twins as mine)
);
create policy channel_twins_insert_owner on public.channel_twins
for insert to authenticated
with check (
    ai_twin_id in (select mine.id from private.my_twins as mine)
    and channel_id in (select mine.id from private.my_channels as mine)
);
create policy channel_twins_delete_owner_or_governor on public.channel_twins
for delete to authenticated
using (
    ai_twin_id in (select mine.id from private.my_twins as mine)
    or channel_id in (select mine.id from private.my_governed_channels as mine)
);

create trigger ai_twins_before_update_stamp before update on public.ai_twins
for each row execute function private.set_updated_at();
create trigger ai_twins_after_insert_refuse_retired after insert on public.ai_twins
for each row execute function private.refuse_retired_id();
create trigger ai_twins_after_delete_retire after delete on public.ai_twins
referencing old table as removed
for each statement execute function private.retire_ids();
