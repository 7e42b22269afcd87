-- What planner statistics tell clients: nothing. Docs: docs/explanation/security.md.
-- Postgres estimates rows from all rows of a table, also from those that a policy hides, and the Data API shows the
-- estimates (Prefer: count=planned or estimated, and the plan media type).

create function private.is_executed() returns boolean
language plpgsql
-- Not really immutable: only then does Postgres ask while it plans, and estimate no rows for the answer false.
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_callers text;
begin
    if coalesce(current_setting('request.headers', true), '') = '' or current_query() !~* '^\s*explain\M' then
        return true;
    end if;
    -- A function that Postgres calls while it plans keeps its plans, so they must return rows.
    get diagnostics v_callers = pg_context;
    if strpos(v_callers, e'\n') > 0 then
        return true;
    elsif current_query() !~ '^EXPLAIN \(FORMAT JSON\) SELECT 1 ' then
        -- The plan media type also shows costs, which depend on statistics even if no row is expected.
        perform private.fail(403, 'plan_refused', 'Plans could show data of other users. Read them as postgres.');
    end if;
    return false;
end
$$;
comment on function private.is_executed() is
'Whether the query that is being planned will also run. False for a count=planned of the Data API, PT403 for any other
EXPLAIN of the Data API.';

do $$
declare
    v_table regclass;
    v_part record;
begin
    foreach v_table in array array[
        'public.ai_twins',
        'public.attachments',
        'public.audit_log',
        'public.channel_members',
        'public.channel_twins',
        'public.channels',
        'public.conversation_messages',
        'public.conversations',
        'public.erasures',
        'public.ingest_log',
        'public.message_edits',
        'public.message_events',
        'public.message_pins',
        'public.message_reactions',
        'public.messages',
        'public.messaging_connections',
        'public.people',
        'public.twin_deliveries',
        'public.twin_webhooks',
        'public.user_profiles',
        'public.workspace_invitations',
        'public.workspace_members',
        'public.workspaces'
    ]::regclass[] loop
        -- Restrictive, so that a policy of the application does not open the estimates.
        execute format(
            'create policy %I on %s as restrictive for select to authenticated using (private.is_executed())',
            (select relation.relname from pg_class as relation where relation.oid = v_table) || '_select_executed',
            v_table
        );
        -- Also no statistics of names, numbers, addresses and contents, for SQL that reaches Postgres in other ways.
        -- The few words of a list stay, because plans use how many rows have each. An index on an expression has
        -- statistics of its own, and numbers for names.
        for v_part in
            select
                case relation.relkind when 'i' then 'index' else 'table' end as kind,
                relation.oid::regclass as name,
                case relation.relkind when 'i' then part.attnum::text else quote_ident(part.attname) end as part
            from pg_attribute as part
            inner join pg_class as relation on part.attrelid = relation.oid
            left join pg_index as indexed on relation.oid = indexed.indexrelid
            where coalesce(indexed.indrelid, relation.oid) = v_table
                and relation.relkind in ('r', 'i')
                and part.attnum > 0
                and part.atttypid <> all('{uuid, timestamptz, bigint, integer, boolean}'::regtype[])
                and part.attname not in ('kind', 'platform', 'role', 'state')
                and coalesce(indexed.indkey[part.attnum - 1] = 0, true)
        loop
            execute format('alter %s %s alter column %s set statistics 0', v_part.kind, v_part.name, v_part.part);
        end loop;
    end loop;
end
$$;
