-- Calls of the Data API with named arguments, which clients and their types need; each has a JSON form too. This file
-- has the calls for messages and events.
-- PostgREST calls the function whose arguments fit the keys of the request, and otherwise the one with a single JSON
-- argument.

create function public.create_message(
    channel_id uuid, content text, content_type text default null, parent_message_id uuid default null,
    metadata jsonb default null, attachments jsonb default null, conversation_id uuid default null,
    user_id uuid default null, ai_twin_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.create_message(jsonb_build_object(
        'channel_id', create_message.channel_id, 'content', create_message.content,
        'content_type', create_message.content_type, 'parent_message_id', create_message.parent_message_id,
        'metadata', create_message.metadata, 'attachments', create_message.attachments,
        'conversation_id', create_message.conversation_id, 'user_id', create_message.user_id,
        'ai_twin_id', create_message.ai_twin_id
    ));
end
$$;
comment on function public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid) is
'Creates a message in a channel, as the caller or as a twin of the caller. Returns the message.';

create function public.reply_to_message(
    id uuid, content text, content_type text default null, metadata jsonb default null,
    attachments jsonb default null, conversation_id uuid default null, user_id uuid default null,
    ai_twin_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.reply_to_message(jsonb_build_object(
        'id', reply_to_message.id, 'content', reply_to_message.content,
        'content_type', reply_to_message.content_type, 'metadata', reply_to_message.metadata,
        'attachments', reply_to_message.attachments, 'conversation_id', reply_to_message.conversation_id,
        'user_id', reply_to_message.user_id, 'ai_twin_id', reply_to_message.ai_twin_id
    ));
end
$$;
comment on function public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid) is
'Replies to the message id, in its thread. Returns the reply.';

create function public.list_messages(
    channel_id uuid, thread_id uuid default null, roots_only boolean default null, "limit" integer default null,
    "offset" integer default null, before text default null, after text default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_messages(jsonb_build_object(
        'channel_id', list_messages.channel_id, 'thread_id', list_messages.thread_id,
        'roots_only', list_messages.roots_only, 'limit', list_messages."limit", 'offset', list_messages."offset",
        'before', list_messages.before, 'after', list_messages.after
    ));
end
$$;
comment on function public.list_messages(uuid, uuid, boolean, integer, integer, text, text) is
'Lists messages of a channel, newest first, with authors, reactions and threads: all messages, only those that are not
replies (roots_only), or those of one thread. limit is 1 to 200, default 50; before and after take a message id or
meta.next_cursor. The first page has last_seq and topic in meta, to follow the channel from there.';

create function public.search_messages(
    query text, channel_id uuid default null, "limit" integer default null, "offset" integer default null,
    prefix boolean default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.search_messages(jsonb_build_object(
        'query', search_messages.query, 'channel_id', search_messages.channel_id, 'limit', search_messages."limit",
        'offset', search_messages."offset", 'prefix', search_messages.prefix
    ));
end
$$;
comment on function public.search_messages(text, uuid, integer, integer, boolean) is
'Finds messages of the caller''s channels, the best first. Considers the newest 1,000 that fit. limit is 1 to 100,
default 20. With prefix, the last word may be unfinished, for a search while the user types.';

create function public.get_message(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.get_message(jsonb_build_object('id', get_message.id));
end
$$;
comment on function public.get_message(uuid) is
'Returns a message as list_messages shows it, with reaction_count.';

create function public.list_message_edits(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_message_edits(jsonb_build_object('id', list_message_edits.id));
end
$$;
comment on function public.list_message_edits(uuid) is
'Lists the earlier versions of a message, the first one first.';

create function public.edit_message(id uuid, content text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.edit_message(jsonb_build_object(
        'id', edit_message.id, 'content', edit_message.content, 'user_id', edit_message.user_id
    ));
end
$$;
comment on function public.edit_message(uuid, text, uuid) is
'Changes the text of a message of the caller or of a twin of the caller, and keeps the old text. Returns the message.';

create function public.delete_message(id uuid, admin boolean default null, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.delete_message(jsonb_build_object(
        'id', delete_message.id, 'admin', delete_message.admin, 'user_id', delete_message.user_id
    ));
end
$$;
comment on function public.delete_message(uuid, boolean, uuid) is
'Deletes a message of the caller or of a twin of the caller; with admin, owners and admins of the channel and admins of
the application delete any message. Returns id and deleted_at.';

create function public.pin_message(id uuid, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.pin_message(jsonb_build_object('id', pin_message.id, 'user_id', pin_message.user_id));
end
$$;
comment on function public.pin_message(uuid, uuid) is
'Pins a message; a second pin changes nothing. Returns the message with its pin in metadata.';

create function public.unpin_message(id uuid, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.unpin_message(jsonb_build_object('id', unpin_message.id, 'user_id', unpin_message.user_id));
end
$$;
comment on function public.unpin_message(uuid, uuid) is
'Removes the pin of a message, if it has one. Returns the message.';

create function public.toggle_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.toggle_reaction(jsonb_build_object(
        'id', toggle_reaction.id, 'emoji', toggle_reaction.emoji, 'user_id', toggle_reaction.user_id
    ));
end
$$;
comment on function public.toggle_reaction(uuid, text, uuid) is
'Adds a reaction of the caller, or removes it if it exists. emoji is one emoji or a name. meta.action says what
happened.';

create function public.add_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.add_reaction(jsonb_build_object(
        'id', add_reaction.id, 'emoji', add_reaction.emoji, 'user_id', add_reaction.user_id
    ));
end
$$;
comment on function public.add_reaction(uuid, text, uuid) is
'Adds a reaction of the caller. Safe to repeat.';

create function public.remove_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.remove_reaction(jsonb_build_object(
        'id', remove_reaction.id, 'emoji', remove_reaction.emoji, 'user_id', remove_reaction.user_id
    ));
end
$$;
comment on function public.remove_reaction(uuid, text, uuid) is
'Removes a reaction of the caller. Safe to repeat.';

create function public.list_channel_events(
    channel_id uuid, since bigint default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_channel_events(jsonb_build_object(
        'channel_id', list_channel_events.channel_id, 'since', list_channel_events.since,
        'limit', list_channel_events."limit"
    ));
end
$$;
comment on function public.list_channel_events(uuid, bigint, integer) is
'Lists the events of a channel after the number since (default 0), in order, as event and payload like a broadcast.
limit is 1 to 1000, default 200. meta.last_seq is the since of the next page; meta.has_more says whether it has
events. meta.is_incomplete says that events after since were deleted: then read the channel again.';
