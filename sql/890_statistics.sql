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
    v_headers text := coalesce(current_setting('request.headers', true), '');
    v_callers text;
begin
    if v_headers = '' then
        return true;
    elsif strpos(v_headers, 'count=') > 0 and v_headers::json ->> 'prefer' ~ 'count=(planned|estimated)' then
        perform private.fail(
            403, 'plan_refused', 'Estimates could show data of other users. Send Prefer: count=exact instead.'
        );
    elsif current_query() !~* '^\s*explain\M' then
        return true;
    end if;
    -- Also reads the text of the query, because the setting has only one of several Prefer headers.
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
'Whether the query that is being planned will also run. PT403 for a request of the Data API that asks for an estimate or
a plan; false for an estimate that hides among several headers.';

-- Restrictive, so that a policy of the application does not open the estimates.
create policy ai_twins_select_executed on public.ai_twins
as restrictive for select to authenticated using (private.is_executed());
create policy attachments_select_executed on public.attachments
as restrictive for select to authenticated using (private.is_executed());
create policy audit_log_select_executed on public.audit_log
as restrictive for select to authenticated using (private.is_executed());
create policy channel_members_select_executed on public.channel_members
as restrictive for select to authenticated using (private.is_executed());
create policy channel_twins_select_executed on public.channel_twins
as restrictive for select to authenticated using (private.is_executed());
create policy channels_select_executed on public.channels
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_identifiers_select_executed on public.conversation_identifiers
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_messages_select_executed on public.conversation_messages
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_reads_select_executed on public.conversation_reads
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_updates_select_executed on public.conversation_updates
as restrictive for select to authenticated using (private.is_executed());
create policy conversations_select_executed on public.conversations
as restrictive for select to authenticated using (private.is_executed());
create policy erasures_select_executed on public.erasures
as restrictive for select to authenticated using (private.is_executed());
create policy ingest_log_select_executed on public.ingest_log
as restrictive for select to authenticated using (private.is_executed());
create policy member_states_select_executed on public.member_states
as restrictive for select to authenticated using (private.is_executed());
create policy message_edits_select_executed on public.message_edits
as restrictive for select to authenticated using (private.is_executed());
create policy message_events_select_executed on public.message_events
as restrictive for select to authenticated using (private.is_executed());
create policy message_mentions_select_executed on public.message_mentions
as restrictive for select to authenticated using (private.is_executed());
create policy message_pins_select_executed on public.message_pins
as restrictive for select to authenticated using (private.is_executed());
create policy message_reactions_select_executed on public.message_reactions
as restrictive for select to authenticated using (private.is_executed());
create policy messages_select_executed on public.messages
as restrictive for select to authenticated using (private.is_executed());
create policy messaging_connections_select_executed on public.messaging_connections
as restrictive for select to authenticated using (private.is_executed());
create policy people_select_executed on public.people
as restrictive for select to authenticated using (private.is_executed());
create policy person_identifiers_select_executed on public.person_identifiers
as restrictive for select to authenticated using (private.is_executed());
create policy twin_deliveries_select_executed on public.twin_deliveries
as restrictive for select to authenticated using (private.is_executed());
create policy twin_webhooks_select_executed on public.twin_webhooks
as restrictive for select to authenticated using (private.is_executed());
create policy user_events_select_executed on public.user_events
as restrictive for select to authenticated using (private.is_executed());
create policy user_profiles_select_executed on public.user_profiles
as restrictive for select to authenticated using (private.is_executed());
create policy workspace_invitations_select_executed on public.workspace_invitations
as restrictive for select to authenticated using (private.is_executed());
create policy workspace_members_select_executed on public.workspace_members
as restrictive for select to authenticated using (private.is_executed());
create policy workspaces_select_executed on public.workspaces
as restrictive for select to authenticated using (private.is_executed());

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
        'public.conversation_identifiers',
        'public.conversation_messages',
        'public.conversation_reads',
        'public.conversation_updates',
        'public.conversations',
        'public.erasures',
        'public.ingest_log',
        'public.member_states',
        'public.message_edits',
        'public.message_events',
        'public.message_mentions',
        'public.message_pins',
        'public.message_reactions',
        'public.messages',
        'public.messaging_connections',
        'public.people',
        'public.person_identifiers',
        'public.twin_deliveries',
        'public.twin_webhooks',
        'public.user_events',
        'public.user_profiles',
        'public.workspace_invitations',
        'public.workspace_members',
        'public.workspaces'
    ]::regclass[] loop
        -- No statistics of names, numbers, addresses and contents, for SQL that reaches Postgres in other ways.
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
