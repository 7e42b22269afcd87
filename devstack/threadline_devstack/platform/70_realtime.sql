-- Broadcasts from the database, and the table of subscriptions.

set local role supabase_realtime_admin;

create table realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    updated_at timestamp not null default now(),
    inserted_at timestamp not null default now(),
    id uuid not null default gen_random_uuid(),
    binary_payload bytea,
    constraint messages_pkey primary key (id, inserted_at),
    constraint messages_payload_exclusive check (payload is null or binary_payload is null)
) partition by range (inserted_at);

create index messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
where extension = 'broadcast' and private is true;

-- The platform creates a partition for each day. The devstack does not, and a message without a
-- partition would be lost with only a warning.
create table realtime.messages_default partition of realtime.messages default;

alter table realtime.messages enable row level security;
grant all on realtime.messages, realtime.messages_default to postgres, dashboard_user;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;

create function realtime.topic() returns text
language sql stable
as $$
    select nullif(current_setting('realtime.topic', true), '');
$$;

-- Any error becomes a warning and the message is lost, as on the platform: a broadcast must not roll back
-- the write that it announces. Tests set `threadline.strict_realtime`, so that the error is raised.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void
language plpgsql
as $$
declare
    v_id uuid := gen_random_uuid();
begin
    perform set_config('realtime.topic', send.topic, true);
    insert into realtime.messages (id, topic, extension, event, payload, private)
    values (
        v_id,
        send.topic,
        'broadcast',
        send.event,
        case
            when send.payload ? 'id' then send.payload
            else jsonb_set(send.payload, '{id}', to_jsonb(v_id))
        end,
        send.private
    );
exception
    when others then
        if nullif(current_setting('threadline.strict_realtime', true), '')::boolean then
            raise;
        end if;
        raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

create function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
returns void
language plpgsql
as $$
begin
    perform set_config('realtime.topic', send_binary.topic, true);
    insert into realtime.messages (topic, extension, event, binary_payload, private)
    values (send_binary.topic, 'broadcast', send_binary.event, send_binary.payload, send_binary.private);
exception
    when others then
        if nullif(current_setting('threadline.strict_realtime', true), '')::boolean then
            raise;
        end if;
        raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

-- For a row trigger. Its own errors abort the statement; errors of realtime.send do not.
create function realtime.broadcast_changes(
    topic_name text,
    event_name text,
    operation text,
    table_name text,
    table_schema text,
    new record,
    old record,
    level text default 'ROW'
) returns void
language plpgsql
as $$
begin
    if level = 'STATEMENT' then
        raise exception 'function can only be triggered for each row, not for each statement';
    elsif operation in ('INSERT', 'UPDATE', 'DELETE') then
        perform realtime.send(
            jsonb_build_object(
                'operation', operation,
                'schema', table_schema,
                'table', table_name,
                'record', new,
                'old_record', old
            ),
            event_name,
            topic_name
        );
    else
        raise exception 'Unexpected operation type: %', operation;
    end if;
exception
    when others then
        raise exception 'Failed to process the row: %', sqlerrm;
end
$$;

grant execute on function
realtime.topic(),
realtime.send(jsonb, text, text, boolean),
realtime.send_binary(bytea, text, text, boolean),
realtime.broadcast_changes(text, text, text, text, text, record, record, text)
to postgres, dashboard_user;

create type realtime.action as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ERROR');
create type realtime.equality_op as enum (
    'eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in', 'like', 'ilike', 'is', 'match', 'imatch', 'isdistinct'
);
create type realtime.user_defined_filter as (
    column_name text,
    op realtime.equality_op,
    value text,
    negate boolean
);

-- Declared immutable although role names may change: a generated column requires it.
create function realtime.to_regrole(role_name text) returns regrole
language sql immutable
as $$
    select role_name::regrole;
$$;

create table realtime.subscription (
    id bigint not null generated always as identity,
    subscription_id uuid not null,
    entity regclass not null,
    filters realtime.user_defined_filter[] not null default '{}',
    claims jsonb not null,
    claims_role regrole not null generated always as (realtime.to_regrole(claims ->> 'role')) stored,
    created_at timestamp not null default timezone('utc', now()),
    action_filter text default '*',
    selected_columns text[],
    constraint pk_subscription primary key (id),
    constraint subscription_action_filter_check check (action_filter in ('*', 'INSERT', 'UPDATE', 'DELETE'))
);
create index ix_realtime_subscription_entity on realtime.subscription (entity);
create unique index subscription_subscription_id_entity_filters_action_filter_selec
on realtime.subscription (
    subscription_id, entity, filters, action_filter, coalesce(selected_columns, '{}'::text[])
);

grant all on realtime.subscription to postgres, dashboard_user;
grant select on realtime.subscription to anon, authenticated, service_role;

reset role;
