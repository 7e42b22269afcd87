-- Like 810_named_messages, for conversations.

create function public.list_inbox_changes(
    workspace_id uuid default null, since text default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_inbox_changes(jsonb_build_object(
        'workspace_id', list_inbox_changes.workspace_id, 'since', list_inbox_changes.since,
        'limit', list_inbox_changes."limit"
    ));
end
$$;
comment on function public.list_inbox_changes(uuid, text, integer) is
'Lists every change of the caller''s conversations after the cursor since, oldest first, in all workspaces or in
workspace_id. limit is 1 to 100 conversations, default 100. Without since, it returns the cursor of now and no
changes.';

create function public.search_conversations(
    query text, conversation_id uuid default null, "limit" integer default null, "offset" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.search_conversations(jsonb_build_object(
        'query', search_conversations.query, 'conversation_id', search_conversations.conversation_id,
        'limit', search_conversations."limit", 'offset', search_conversations."offset"
    ));
end
$$;
comment on function public.search_conversations(text, uuid, integer, integer) is
'Finds messages of the caller''s conversations, the best first. Considers the newest 1,000 that fit. limit is 1 to 100,
default 20.';

create function public.separate_conversation(conversation_id uuid, external_conversation_id text default null)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.separate_conversation(jsonb_build_object(
        'conversation_id', separate_conversation.conversation_id,
        'external_conversation_id', separate_conversation.external_conversation_id
    ));
end
$$;
comment on function public.separate_conversation(uuid, text) is
'Undoes continues: the conversation that was joined last with conversation_id, or the one named
external_conversation_id, is its own again.';

create function public.index_conversations("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.index_conversations(jsonb_build_object('limit', index_conversations."limit"));
end
$$;
comment on function public.index_conversations(integer) is
'For the service: indexes messages of conversations for search. limit is 1 to 1000 rows of the backlog, default 100.
Returns how many it took (indexed), and how many messages of channels it indexed in a new language (reindexed)';
