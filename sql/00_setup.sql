-- The schema that no client reaches, the few settings, and what every table shares.

-- `public` holds what clients may reach: tables under row-level security and the functions that are the API.
-- `private` holds the rest. It must never be listed among the exposed schemas of the Data API.
create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. Not reachable through the Data API.';
revoke all on schema private from public, anon, authenticated, service_role;
-- Functions of `public` run as their caller and call helpers here, each granted by itself.
grant usage on schema private to authenticated, service_role;

create table private.settings (
    is_only_row boolean primary key default true,
    ingest_max_messages integer not null default 5000,
    requests_per_minute integer not null default 60,
    constraint settings_has_one_row check (is_only_row),
    constraint settings_ingest_max_messages_positive check (ingest_max_messages > 0),
    constraint settings_requests_per_minute_positive check (requests_per_minute > 0)
);
comment on table private.settings is 'Limits that an operator may change with an UPDATE; one row, always.';
comment on column private.settings.ingest_max_messages is
'Messages, and conversations, that one ingest request may carry; above it the answer is 413.';
comment on column private.settings.requests_per_minute is 'Requests to /api/v2 that a user may make in a minute.';
alter table private.settings enable row level security;
revoke all on private.settings from public, anon, authenticated, service_role;
grant select on private.settings to service_role;
insert into private.settings default values;

create function private.set_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function private.set_updated_at() is 'Trigger: stamps updated_at on every change of a row.';
revoke all on function private.set_updated_at() from public, anon, authenticated, service_role;
