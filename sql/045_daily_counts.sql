-- What a user may create in a UTC day, so that a user who invites others or makes workspaces to fill their lists stops
-- early.
-- Promise: a workspace or an invitation counts once it is created, also if it is deleted or revoked later.

create table private.daily_counts (
    user_id uuid not null references auth.users (id) on delete cascade,
    kind text not null,
    day date not null,
    used integer not null,
    primary key (user_id, kind),
    constraint daily_counts_kind_known check (kind in ('invitation', 'workspace')),
    constraint daily_counts_used_positive check (used > 0)
);
comment on table private.daily_counts is
'How many workspaces and invitations each user created on the last day (UTC) on which they created one.';
alter table private.daily_counts enable row level security;

create function private.spend_daily(p_kind text) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used integer;
begin
    insert into private.daily_counts as counted (user_id, kind, day, used)
    values ((select auth.uid()), p_kind, (now() at time zone 'UTC')::date, 1)
    on conflict on constraint daily_counts_pkey do update
    set
        used = case when counted.day = excluded.day then counted.used + 1 else 1 end,
        day = excluded.day
    returning counted.used into v_used;
    return v_used;
end
$$;
comment on function private.spend_daily(text) is
'Counts one creation for the caller, and returns the number of this day. Creations of one user wait for each other
here.';

create function private.spend_workspace() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.spend_daily('workspace') > (select settings.workspaces_per_user_per_day from private.settings) then
        perform private.fail(
            429, 'too_many_workspaces', 'You have reached the daily limit of workspaces. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_workspace() is
'Counts one workspace for the caller. PT429 above the daily limit; the error also rolls back the count.';
