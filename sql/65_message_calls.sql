-- The calls of /api/v2/messages: a JSON object in, the documented answer out, the rules in the tables.

create function private.fail(p_status integer, p_code text, p_message text, p_field text default '') returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
    raise exception using errcode = 'PT' || p_status, message = p_message, detail = p_code, column = p_field;
end
$$;
comment on function private.fail(integer, text, text, text) is
'Raises an error that both doors turn into this HTTP status: a code for programs, a sentence for people, a field.';
revoke all on function private.fail(integer, text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.fail(integer, text, text, text) to authenticated, service_role;

create function private.read_text(p_body jsonb, p_field text, p_most integer, p_default text default null) returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        if p_default is null then
            perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
        end if;
        return p_default;
    elsif jsonb_typeof(p_body -> p_field) <> 'string' then
        perform private.fail(400, 'invalid_field', format('%s must be a string.', p_field), p_field);
    elsif char_length(p_body ->> p_field) not between 1 and p_most then
        perform private.fail(
            400, 'invalid_field', format('%s must have 1 to %s characters.', p_field, p_most), p_field
        );
    end if;
    return p_body ->> p_field;
end
$$;
comment on function private.read_text(jsonb, text, integer, text) is
'A string of a request. Without a default it is required; errors are PT400 with the field.';
revoke all on function private.read_text(jsonb, text, integer, text) from public, anon, authenticated, service_role;
grant execute on function private.read_text(jsonb, text, integer, text) to authenticated, service_role;

create function private.read_uuid(p_body jsonb, p_field text, p_is_required boolean default true) returns uuid
language plpgsql
immutable
set search_path = ''
as $$
begin
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        if p_is_required then
            perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
        end if;
        return null;
    elsif p_body ->> p_field !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
        perform private.fail(400, 'invalid_field', format('%s must be a UUID.', p_field), p_field);
    end if;
    return (p_body ->> p_field)::uuid;
end
$$;
comment on function private.read_uuid(jsonb, text, boolean) is 'A UUID of a request; errors are PT400 with the field.';
revoke all on function private.read_uuid(jsonb, text, boolean) from public, anon, authenticated, service_role;
grant execute on function private.read_uuid(jsonb, text, boolean) to authenticated, service_role;

create function private.read_integer(
    p_body jsonb, p_field text, p_least integer, p_most integer, p_default integer
) returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
    -- Query strings bring numbers as text.
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        return p_default;
    elsif p_body ->> p_field !~ '^[0-9]{1,9}$' or (p_body ->> p_field)::integer not between p_least and p_most then
        perform private.fail(
            400, 'invalid_field', format('%s must be a whole number from %s to %s.', p_field, p_least, p_most), p_field
        );
    end if;
    return (p_body ->> p_field)::integer;
end
$$;
comment on function private.read_integer(jsonb, text, integer, integer, integer) is
'A whole number of a request; errors are PT400 with the field.';
revoke all on function private.read_integer(jsonb, text, integer, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function private.read_integer(jsonb, text, integer, integer, integer) to authenticated, service_role;

create function private.read_user(p_body jsonb) returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
    v_user_id uuid := private.read_uuid(p_body, 'user_id', false);
begin
    if auth.role() = 'service_role' then
        if v_user_id is null then
            perform private.fail(400, 'missing_field', 'user_id is required for service_role.', 'user_id');
        end if;
    elsif v_user_id <> auth.uid() then
        -- The documents take the word of the caller for who it is; we take the token's.
        perform private.fail(403, 'user_id_mismatch', 'user_id is not the user of the token.', 'user_id');
    end if;
    return nullif(set_config('threadline.acting_id', coalesce(v_user_id, auth.uid())::text, true), '')::uuid;
end
$$;
comment on function private.read_user(jsonb) is
'For whom a call acts: the user of the token, or whom service_role names; triggers learn it from my_acting_id. PT403
when a user names somebody else.';
revoke all on function private.read_user(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_user(jsonb) to authenticated, service_role;

create function private.format_time(p_at timestamptz) returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
    return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
end
$$;
comment on function private.format_time(timestamptz) is 'A time as the documents write it: 2026-03-19T15:10:22.000Z.';
revoke all on function private.format_time(timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.format_time(timestamptz) to authenticated, service_role;

create function private.render_message(p_message public.messages, p_pin jsonb) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
    return jsonb_build_object(
        'id', p_message.id,
        'channel_id', p_message.channel_id,
        'content', p_message.content,
        'content_type', p_message.content_type,
        'user_id', p_message.user_id,
        'ai_twin_id', p_message.ai_twin_id,
        'parent_message_id', p_message.parent_message_id,
        'conversation_id', p_message.conversation_id,
        -- What says that it is pinned comes from the pin, never from who wrote the message.
        'metadata', (p_message.metadata - '{pinned,pinned_by,pinned_at}'::text[]) || coalesce(p_pin, '{}'),
        'attachments', p_message.attachments,
        'created_at', private.format_time(p_message.created_at),
        'updated_at', private.format_time(p_message.updated_at)
    );
end
$$;
comment on function private.render_message(public.messages, jsonb) is
'A message as every call shows it, with what private.render_pin says of its pin.';
revoke all on function private.render_message(public.messages, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.render_message(public.messages, jsonb) to authenticated, service_role;

create function private.render_pin(p_pinned_by uuid, p_pinned_at timestamptz) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_build_object(
        'pinned', true, 'pinned_by', p_pinned_by, 'pinned_at', private.format_time(p_pinned_at)
    )
$$;
comment on function private.render_pin(uuid, timestamptz) is 'What metadata says of a message that is pinned.';
revoke all on function private.render_pin(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.render_pin(uuid, timestamptz) to authenticated, service_role;

create function private.render_message(p_message public.messages) returns jsonb
language sql
stable
set search_path = ''
as $$
    select private.render_message(p_message, (
        select private.render_pin(pin.pinned_by, pin.pinned_at)
        from public.message_pins as pin
        where pin.message_id = p_message.id
    ))
$$;
comment on function private.render_message(public.messages) is 'A message as it is now.';
revoke all on function private.render_message(public.messages) from public, anon, authenticated, service_role;
grant execute on function private.render_message(public.messages) to authenticated, service_role;

create function private.succeed(p_data jsonb, p_meta jsonb default null, p_status integer default 200) returns json
language plpgsql
set search_path = ''
as $$
begin
    perform set_config('response.status', p_status::text, true);
    if p_meta is null then
        return json_build_object('success', true, 'data', p_data);
    end if;
    return json_build_object('success', true, 'data', p_data, 'meta', p_meta);
end
$$;
comment on function private.succeed(jsonb, jsonb, integer) is 'The envelope of an answer.';
revoke all on function private.succeed(jsonb, jsonb, integer) from public, anon, authenticated, service_role;
grant execute on function private.succeed(jsonb, jsonb, integer) to authenticated, service_role;

create function private.find_message(p_id uuid) returns public.messages
language plpgsql
stable
set search_path = ''
as $$
declare
    v_message public.messages;
begin
    select * into v_message from public.messages as message where message.id = p_id and message.deleted_at is null;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'There is no such message.');
    end if;
    return v_message;
end
$$;
comment on function private.find_message(uuid) is
'A message that the caller may see; PT404 otherwise, whether it exists or not.';
revoke all on function private.find_message(uuid) from public, anon, authenticated, service_role;
grant execute on function private.find_message(uuid) to authenticated, service_role;

create function private.require_channel(p_channel_id uuid) returns void
language plpgsql
stable
set search_path = ''
as $$
begin
    if not exists (select from public.channels as channel where channel.id = p_channel_id) then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    end if;
end
$$;
comment on function private.require_channel(uuid) is 'PT404 unless the caller may see the channel.';
revoke all on function private.require_channel(uuid) from public, anon, authenticated, service_role;
grant execute on function private.require_channel(uuid) to authenticated, service_role;

create function private.require_twin(p_twin_id uuid, p_channel_id uuid) returns void
language plpgsql
stable
set search_path = ''
as $$
begin
    if not exists (
        select from public.channel_twins as assigned
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where twin.id = p_twin_id
            and assigned.channel_id = p_channel_id
            and ((select auth.role()) = 'service_role' or twin.user_id = (select auth.uid()))
    ) then
        perform private.fail(
            403, 'twin_not_allowed', 'This twin is not yours, or does not take part in the channel.', 'ai_twin_id'
        );
    end if;
end
$$;
comment on function private.require_twin(uuid, uuid) is
'PT403 unless the caller may speak through the twin in the channel.';
revoke all on function private.require_twin(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.require_twin(uuid, uuid) to authenticated, service_role;

create function public.create_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_channel_id uuid := private.read_uuid($1, 'channel_id');
    v_content text := private.read_text($1, 'content', 40000);
    v_twin_id uuid := private.read_uuid($1, 'ai_twin_id', false);
    v_user_id uuid;
    v_message public.messages;
begin
    perform private.require_channel(v_channel_id);
    if v_twin_id is not null then
        perform private.require_twin(v_twin_id, v_channel_id);
    end if;
    if coalesce(jsonb_typeof($1 -> 'metadata'), 'null') not in ('object', 'null') then
        perform private.fail(400, 'invalid_field', 'metadata must be an object.', 'metadata');
    elsif octet_length(($1 -> 'metadata')::text) > 16384 then
        perform private.fail(413, 'metadata_too_large', 'metadata must have at most 16 kB.', 'metadata');
    elsif coalesce(jsonb_typeof($1 -> 'attachments'), 'null') not in ('array', 'null')
        or jsonb_path_exists($1, 'strict $.attachments[*] ? (@.type() <> "object")', '{}', true)
    then
        perform private.fail(400, 'invalid_field', 'attachments must be an array of objects.', 'attachments');
    elsif octet_length(($1 -> 'attachments')::text) > 65536 then
        perform private.fail(413, 'attachments_too_large', 'attachments must have at most 64 kB.', 'attachments');
    end if;
    -- The twin speaks, and not its owner; but nobody names somebody else.
    if v_twin_id is null or auth.role() <> 'service_role' then
        v_user_id := private.read_user($1);
    end if;
    insert into public.messages (
        channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
    )
    values (
        v_channel_id,
        case when v_twin_id is null then v_user_id end,
        v_twin_id,
        private.read_uuid($1, 'parent_message_id', false),
        private.read_uuid($1, 'conversation_id', false),
        v_content,
        private.read_text($1, 'content_type', 100, 'text'),
        coalesce(nullif($1 -> 'metadata', 'null'), '{}'),
        nullif($1 -> 'attachments', 'null')
    )
    returning * into v_message;
    return private.succeed(
        private.render_message(v_message, null),  -- what is new is not pinned
        jsonb_build_object('timestamp', private.format_time(v_message.created_at)),
        201
    );
end
$$;
comment on function public.create_message(jsonb) is
'POST /api/v2/messages: channel_id, content, and optionally content_type, parent_message_id, metadata, attachments,
conversation_id, user_id, ai_twin_id.';
revoke all on function public.create_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_message(jsonb) to authenticated, service_role;

create function public.reply_to_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_parent public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    return public.create_message(
        $1 || jsonb_build_object('channel_id', v_parent.channel_id, 'parent_message_id', v_parent.id)
    );
end
$$;
comment on function public.reply_to_message(jsonb) is
'POST /api/v2/messages/:id/thread: id, content, and what create_message takes.';
revoke all on function public.reply_to_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.reply_to_message(jsonb) to authenticated, service_role;

-- Definer, because authors who left the channel are still named there. It is asked only for authors of messages that
-- the caller has just read.
create function private.name_authors(p_user_ids uuid[], p_twin_ids uuid[])
returns table (author_id uuid, is_twin boolean, display_name text, avatar_url text)
language sql
stable
security definer
set search_path = ''
as $$
    select profile.user_id, false, profile.display_name, profile.avatar_url
    from public.user_profiles as profile
    where profile.user_id = any(p_user_ids)
    union all
    select twin.id, true, twin.display_name, twin.avatar_url
    from public.ai_twins as twin
    where twin.id = any(p_twin_ids)
$$;
comment on function private.name_authors(uuid[], uuid[]) is
'Names and pictures of users and twins. Owners choose the ids of twins, even a user''s: is_twin tells which it is.';
revoke all on function private.name_authors(uuid[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function private.name_authors(uuid[], uuid[]) to authenticated, service_role;

create function private.render_reactions(p_message_ids uuid[]) returns table (message_id uuid, reactions jsonb)
language sql
stable
set search_path = ''
as $$
    select
        counted.message_id,
        jsonb_agg(jsonb_build_object(
            'emoji', counted.emoji,
            'count', counted.count,
            'user_ids', counted.user_ids,
            'reacted', coalesce((select auth.uid()) = any(counted.user_ids), false)
        ) order by counted.first_at, counted.emoji) as reactions
    from (
        select
            reaction.message_id,
            reaction.emoji,
            count(*) as count,
            array_agg(reaction.user_id order by reaction.created_at, reaction.user_id) as user_ids,
            min(reaction.created_at) as first_at
        from unnest(p_message_ids) as given (id)
        -- Looked up for each message, whatever the planner believes of the table.
        cross join lateral (
            select made.* from public.message_reactions as made where made.message_id = given.id offset 0
        ) as reaction
        group by reaction.message_id, reaction.emoji
    ) as counted
    group by counted.message_id
$$;
comment on function private.render_reactions(uuid[]) is
'Of messages that have reactions, one entry per emoji: how many, who, and whether the caller is among them.';
revoke all on function private.render_reactions(uuid[]) from public, anon, authenticated, service_role;
grant execute on function private.render_reactions(uuid[]) to authenticated, service_role;

-- Definer, because no client reads the counters; it answers only those who may see the channel.
create function private.count_channel(p_channel_id uuid) returns bigint
language sql
stable
security definer
set search_path = ''
as $$
    select coalesce((
        select head.message_count
        from private.channel_heads as head
        where head.channel_id = p_channel_id
            and (
                (select auth.role()) = 'service_role'
                or head.channel_id in (select mine.id from private.my_channels as mine)
            )
    ), 0)
$$;
comment on function private.count_channel(uuid) is
'How many messages a channel has, at the same cost for ten and for a million.';
revoke all on function private.count_channel(uuid) from public, anon, authenticated, service_role;
grant execute on function private.count_channel(uuid) to authenticated, service_role;

-- Definer, because a cursor stays good when its message is deleted.
create function private.read_cursor(p_body jsonb, p_field text, p_channel_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_text text := p_body ->> p_field;
    v_seq bigint;
begin
    if v_text is null then
        return null;
    elsif v_text ~ '^seq_[0-9]{1,18}$' then
        return substr(v_text, 5)::bigint;
    end if;
    select message.seq into v_seq
    from public.messages as message
    where message.id = private.read_uuid(p_body, p_field) and message.channel_id = p_channel_id;
    if v_seq is null then
        perform private.fail(400, 'invalid_cursor', format('%s names no message of this channel.', p_field), p_field);
    end if;
    return v_seq;
end
$$;
comment on function private.read_cursor(jsonb, text, uuid) is
'The place in a channel that a message id or a returned cursor stands for.';
revoke all on function private.read_cursor(jsonb, text, uuid) from public, anon, authenticated, service_role;
grant execute on function private.read_cursor(jsonb, text, uuid) to authenticated, service_role;

create function private.find_page(
    p_channel_id uuid, p_thread_id uuid, p_before bigint, p_after bigint, p_limit integer, p_offset integer,
    out ids uuid[], out next_cursor text
)
language plpgsql
stable
set search_path = ''
-- A plan for any values suits neither a page at depth nor a thread (docs/decisions/0003).
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_seqs bigint[];
begin
    -- One row more than asked for tells whether there is a next page.
    if p_after is null then
        select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
        from (
            select message.id, message.seq
            from public.messages as message
            where message.channel_id = p_channel_id
                and message.deleted_at is null
                and message.seq < coalesce(p_before, 9223372036854775807)
                and (p_thread_id is null or message.parent_message_id = p_thread_id)
            order by message.seq desc
            limit p_limit + 1 offset p_offset
        ) as found;
    else
        select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
        from (
            select message.id, message.seq
            from public.messages as message
            where message.channel_id = p_channel_id
                and message.deleted_at is null
                and message.seq > p_after
                and (p_thread_id is null or message.parent_message_id = p_thread_id)
            order by message.seq
            limit p_limit + 1 offset p_offset
        ) as found;
    end if;
    if cardinality(ids) > p_limit then
        next_cursor := 'seq_' || v_seqs[p_limit];
    end if;
    ids := ids[1:p_limit];
end
$$;
comment on function private.find_page(uuid, uuid, bigint, bigint, integer, integer) is
'A page of a channel or thread: its message ids, and the cursor of the next page in the same direction, or null.';
revoke all on function private.find_page(uuid, uuid, bigint, bigint, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function private.find_page(uuid, uuid, bigint, bigint, integer, integer)
to authenticated, service_role;

create function private.render_page(p_ids uuid[]) returns jsonb
language sql
stable
set search_path = ''
as $$
    with page as (
        select message
        from public.messages as message
        where message.id = any(p_ids)
    )

    -- Each table is asked once for the whole page, and so is its policy.
    select coalesce(jsonb_agg(
        private.render_message(page.message, (
            select private.render_pin(pin.pinned_by, pin.pinned_at)
            from public.message_pins as pin
            where pin.message_id = (page.message).id
        )) || jsonb_build_object(
            'display_name', author.display_name,
            'avatar_url', author.avatar_url,
            'reactions', coalesce(reacted.reactions, '[]')
        )
        order by (page.message).seq desc
    ), '[]')
    from page
    left join private.name_authors(
        array(select (page.message).user_id from page), array(select (page.message).ai_twin_id from page)
    ) as author
        on author.author_id = coalesce((page.message).user_id, (page.message).ai_twin_id)
        and author.is_twin = ((page.message).user_id is null)
    left join private.render_reactions(p_ids) as reacted on (page.message).id = reacted.message_id
$$;
comment on function private.render_page(uuid[]) is 'Messages with their authors and reactions, newest first.';
revoke all on function private.render_page(uuid[]) from public, anon, authenticated, service_role;
grant execute on function private.render_page(uuid[]) to authenticated, service_role;

create function public.list_messages(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_channel_id uuid := private.read_uuid($1, 'channel_id');
    v_thread_id uuid := private.read_uuid($1, 'thread_id', false);
    v_limit integer := private.read_integer($1, 'limit', 1, 200, 50);
    v_offset integer := private.read_integer($1, 'offset', 0, 999999999, 0);
    v_before bigint;
    v_after bigint;
    v_page record;
begin
    perform private.require_channel(v_channel_id);
    v_before := private.read_cursor($1, 'before', v_channel_id);
    v_after := private.read_cursor($1, 'after', v_channel_id);
    if v_before is not null and v_after is not null then
        perform private.fail(400, 'invalid_cursor', 'before and after cannot be combined.', 'after');
    end if;
    select * into v_page
    from private.find_page(v_channel_id, v_thread_id, v_before, v_after, v_limit, v_offset);
    return private.succeed(
        private.render_page(v_page.ids),
        jsonb_build_object(
            'total', case
                when v_thread_id is null then private.count_channel(v_channel_id)
                else (
                    select count(*) from public.messages as reply
                    where reply.parent_message_id = v_thread_id
                        and reply.channel_id = v_channel_id and reply.deleted_at is null
                )
            end,
            'page', v_offset / v_limit + 1,
            'limit', v_limit,
            'offset', v_offset,
            'next_cursor', v_page.next_cursor
        )
    );
end
$$;
comment on function public.list_messages(jsonb) is
'GET /api/v2/messages/history: channel_id, and optionally thread_id, limit (1 to 200), offset, before, after. Newest
first, with authors and reactions.';
revoke all on function public.list_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.list_messages(jsonb) to authenticated, service_role;

create function public.get_message(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_message public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    return private.succeed(
        private.render_message(v_message) || jsonb_build_object(
            'reaction_count',
            (select count(*) from public.message_reactions as reaction where reaction.message_id = v_message.id)
        ),
        '{}'
    );
end
$$;
comment on function public.get_message(jsonb) is 'GET /api/v2/messages/:id.';
revoke all on function public.get_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.get_message(jsonb) to authenticated, service_role;

create function private.is_author(p_message public.messages, p_user_id uuid) returns boolean
language sql
stable
set search_path = ''
as $$
    select coalesce(p_message.user_id = p_user_id, false) or exists (
        select from public.ai_twins as twin where twin.id = p_message.ai_twin_id and twin.user_id = p_user_id
    )
$$;
comment on function private.is_author(public.messages, uuid) is
'Whether a user answers for a message: who said it, or who owns the twin that did.';
revoke all on function private.is_author(public.messages, uuid) from public, anon, authenticated, service_role;
grant execute on function private.is_author(public.messages, uuid) to authenticated, service_role;

create function public.edit_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_content text := private.read_text($1, 'content', 40000);
    v_user_id uuid := private.read_user($1);
    v_message public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    if not private.is_author(v_message, v_user_id) then
        perform private.fail(403, 'not_the_author', 'Only its author can edit a message.');
    end if;
    update public.messages as message set content = v_content
    where message.id = v_message.id
    returning * into v_message;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'There is no such message.');
    end if;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.edit_message(jsonb) is
'PUT /api/v2/messages/:id: content, user_id. One''s own, or one''s twin''s; what was there before is kept.';
revoke all on function public.edit_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.edit_message(jsonb) to authenticated, service_role;

create function public.list_message_edits(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_message public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'version', edit.version,
            'content', edit.content,
            'written_at', private.format_time(edit.written_at),
            'replaced_at', private.format_time(edit.replaced_at)
        ) order by edit.version), '[]')
        from public.message_edits as edit
        where edit.message_id = v_message.id
    ));
end
$$;
comment on function public.list_message_edits(jsonb) is
'GET /api/v2/messages/:id/edits: the earlier versions, the first one first.';
revoke all on function public.list_message_edits(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.list_message_edits(jsonb) to authenticated, service_role;

create function private.is_app_admin() returns boolean
language sql
stable
set search_path = ''
as $$
    -- app_metadata is written by the project alone; user_metadata by the user, and so proves nothing.
    select coalesce((select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin', false)
$$;
comment on function private.is_app_admin() is 'Whether the token is of an administrator of the whole application.';
revoke all on function private.is_app_admin() from public, anon, authenticated, service_role;
grant execute on function private.is_app_admin() to authenticated, service_role;

-- Definer, because a client may not write deleted_at: the row would vanish from its own sight. And because who
-- administers the application need not be a member. It asks itself who the caller is.
create function private.remove_message(p_message_id uuid, p_user_id uuid, p_as_admin boolean) returns timestamptz
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_is_service boolean := (select auth.role()) is not distinct from 'service_role';
    v_user_id uuid := case when v_is_service then p_user_id else (select auth.uid()) end;
    v_is_app_admin boolean := p_as_admin and private.is_app_admin();
    v_message public.messages;
    v_role text;
    v_deleted_at timestamptz;
begin
    select * into v_message from public.messages as message where message.id = p_message_id;
    select member.role into v_role
    from public.channel_members as member
    where member.channel_id = v_message.channel_id and member.user_id = v_user_id;
    if v_role is null and not v_is_service and not v_is_app_admin then
        v_message := null;
    end if;
    if v_message.id is not null
        and not (
            private.is_author(v_message, v_user_id)
            or v_is_app_admin
            or (p_as_admin and coalesce(v_role in ('owner', 'admin'), false))
        )
        and v_message.deleted_at is null
    then
        perform private.fail(
            403, 'not_the_author', 'Only its author, or an admin with admin=true, can delete a message.'
        );
    end if;
    update public.messages as message set deleted_at = now()
    where message.id = v_message.id and message.deleted_at is null
    returning message.deleted_at into v_deleted_at;
    if v_deleted_at is null then
        perform private.fail(404, 'message_not_found', 'There is no such message.');
    end if;
    return v_deleted_at;
end
$$;
comment on function private.remove_message(uuid, uuid, boolean) is
'Deletes a message softly for the caller, or for whom the service key names, and answers when. PT403 unless it is their
own or their twin''s, or they use that they are an admin; PT404 for who may not know of it.';
revoke all on function private.remove_message(uuid, uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function private.remove_message(uuid, uuid, boolean) to authenticated, service_role;

create function public.delete_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_user_id uuid := private.read_user($1);
    v_id uuid := private.read_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'deleted_at', private.format_time(
            private.remove_message(v_id, v_user_id, coalesce($1 ->> 'admin', 'false') in ('true', '1'))
        )
    ));
end
$$;
comment on function public.delete_message(jsonb) is
'DELETE /api/v2/messages/:id: user_id; admin=true for owners and admins of the channel, and of the application.';
revoke all on function public.delete_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.delete_message(jsonb) to authenticated, service_role;

create function public.pin_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_user_id uuid := private.read_user($1);
    v_message public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    -- Looked up again under the lock: it may have been deleted meanwhile.
    perform private.lock_channel(v_message.channel_id);
    v_message := private.find_message(v_message.id);
    insert into public.message_pins (message_id, pinned_by) values (v_message.id, v_user_id)
    on conflict on constraint message_pins_pkey do nothing;
    return private.succeed((
        select private.render_message(v_message) || jsonb_build_object('updated_at', private.format_time(pin.pinned_at))
        from public.message_pins as pin
        where pin.message_id = v_message.id
    ));
end
$$;
comment on function public.pin_message(jsonb) is
'POST /api/v2/messages/:id/pin: user_id. Pinned already, it stays as it was pinned first.';
revoke all on function public.pin_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.pin_message(jsonb) to authenticated, service_role;

create function public.unpin_message(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_message public.messages := private.find_message(private.read_uuid($1, 'id'));
begin
    perform private.read_user($1);
    -- The lock first, as pinning and deleting take it: in the other order they would wait for each other.
    perform private.lock_channel(v_message.channel_id);
    delete from public.message_pins as pin where pin.message_id = v_message.id;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.unpin_message(jsonb) is
'DELETE /api/v2/messages/:id/pin: user_id. Not pinned, nothing happens.';
revoke all on function public.unpin_message(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.unpin_message(jsonb) to authenticated, service_role;

create function private.render_reaction(
    p_id uuid, p_message_id uuid, p_user_id uuid, p_emoji text, p_created_at timestamptz
) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_build_object(
        'id', p_id,
        'message_id', p_message_id,
        'user_id', p_user_id,
        'emoji', p_emoji,
        'created_at', private.format_time(p_created_at)
    )
$$;
comment on function private.render_reaction(uuid, uuid, uuid, text, timestamptz) is
'A reaction as every call shows it, whether it is still there or not.';
revoke all on function private.render_reaction(uuid, uuid, uuid, text, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function private.render_reaction(uuid, uuid, uuid, text, timestamptz) to authenticated, service_role;

create function private.change_reaction(p_body jsonb, p_change text) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_emoji text := private.read_text(p_body, 'emoji', 64);
    v_user_id uuid := private.read_user(p_body);
    v_message public.messages := private.find_message(private.read_uuid(p_body, 'id'));
    v_reaction public.message_reactions;
    v_action text := 'unchanged';
begin
    -- One at a time: of two toggles at once, one adds and the other removes.
    perform private.lock_channel(v_message.channel_id);
    v_message := private.find_message(v_message.id);
    select * into v_reaction
    from public.message_reactions as reaction
    where reaction.message_id = v_message.id and reaction.user_id = v_user_id and reaction.emoji = v_emoji;
    if v_reaction.id is null and p_change <> 'remove' then
        insert into public.message_reactions (message_id, user_id, emoji)
        values (v_message.id, v_user_id, v_emoji)
        returning * into v_reaction;
        v_action := 'added';
    elsif v_reaction.id is not null and p_change <> 'add' then
        delete from public.message_reactions as reaction where reaction.id = v_reaction.id;
        v_action := 'removed';
    end if;
    return private.succeed(
        case when v_reaction.id is not null then private.render_reaction(
            v_reaction.id, v_reaction.message_id, v_reaction.user_id, v_reaction.emoji, v_reaction.created_at
        ) end,
        jsonb_build_object('action', v_action)
    );
end
$$;
comment on function private.change_reaction(jsonb, text) is
'Adds, removes or toggles the caller''s reaction and says in meta.action which it was: added, removed, unchanged.';
revoke all on function private.change_reaction(jsonb, text) from public, anon, authenticated, service_role;
grant execute on function private.change_reaction(jsonb, text) to authenticated, service_role;

create function public.toggle_reaction(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.change_reaction($1, 'toggle');
end
$$;
comment on function public.toggle_reaction(jsonb) is
'POST /api/v2/messages/:id/react: emoji, user_id. Adds the reaction, or removes it if it is there.';
revoke all on function public.toggle_reaction(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.toggle_reaction(jsonb) to authenticated, service_role;

create function public.add_reaction(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.change_reaction($1, 'add');
end
$$;
comment on function public.add_reaction(jsonb) is
'PUT /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, as toggling is not.';
revoke all on function public.add_reaction(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.add_reaction(jsonb) to authenticated, service_role;

create function public.remove_reaction(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.change_reaction($1, 'remove');
end
$$;
comment on function public.remove_reaction(jsonb) is
'DELETE /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, as toggling is not.';
revoke all on function public.remove_reaction(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.remove_reaction(jsonb) to authenticated, service_role;
