-- How many new summaries a user and the project may start in a UTC day.
-- Promise: a summary counts once Claude has returned anything, also if it failed.

create table private.summary_counts (
    user_id uuid primary key references auth.users (id) on delete cascade,
    day date not null,
    used integer not null,
    constraint summary_counts_used_not_negative check (used >= 0)
);
comment on table private.summary_counts is
'The number of new summaries that each user started on the last day (UTC) on which they started one.';
alter table private.summary_counts enable row level security;

create table private.summary_totals (
    day date primary key,
    used integer not null,
    constraint summary_totals_used_not_negative check (used >= 0)
);
comment on table private.summary_totals is
'The number of new summaries that all users, and service_role, started today (UTC). It is apart from summary_counts,
because users who are erased and come again must not get more.';
alter table private.summary_totals enable row level security;

-- Definer, because clients may not write their own count. It counts for the caller only.
create function private.spend_summary() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used integer;
begin
    insert into private.summary_counts as counted (user_id, day, used)
    values ((select auth.uid()), (now() at time zone 'UTC')::date, 1)
    on conflict on constraint summary_counts_pkey do update
    set
        used = case when counted.day = excluded.day then counted.used + 1 else 1 end,
        day = excluded.day
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_user_per_day from private.settings) then
        perform private.fail(
            429, 'summary_budget_exhausted', 'You have reached the daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_summary() is
'Counts one summary for the caller. PT429 above the daily limit; the error also rolls back the count.';

-- Definer, because clients may not write the count. A lease counts once, so a client that calls this itself cannot use
-- up the limit of the others.
create function private.spend_project_summary(p_id uuid, p_lease uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_today date := (now() at time zone 'UTC')::date;
    v_used integer;
begin
    update private.summaries as known set is_counted = true
    where known.id = p_id and known.lease = p_lease and not known.is_counted;
    if not found then
        return;
    end if;
    delete from private.summary_totals as old where old.day < v_today;
    insert into private.summary_totals as counted (day, used)
    values (v_today, 1)
    on conflict on constraint summary_totals_pkey do update set used = counted.used + 1
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_project_per_day from private.settings) then
        perform private.fail(
            429, 'project_summary_budget_exhausted',
            'This project has reached its daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_project_summary(uuid, uuid) is
'Counts a lease for the project, once. PT429 above the daily limit; the error also rolls back the count.';
