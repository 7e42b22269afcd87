-- What the model reads of a channel or a conversation: the newest messages that fit, and the scope that they cover.

create type private.transcript_line as (id text, parent_id text, author text, at timestamptz, content text);
comment on type private.transcript_line is
'A message as the model reads it.';

create function private.cut_text(p_text text, p_max_bytes integer) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_bytes bytea;
    v_end integer := p_max_bytes;
begin
    if octet_length(p_text) <= p_max_bytes then
        return p_text;
    end if;
    v_bytes := convert_to(p_text, 'UTF8');
    -- Back to the first byte of a character.
    while v_end > 0 and (get_byte(v_bytes, v_end) & 192) = 128 loop
        v_end := v_end - 1;
    end loop;
    return convert_from(substring(v_bytes from 1 for v_end), 'UTF8');
end
$$;
comment on function private.cut_text(text, integer) is
'A text without the characters that end after p_max_bytes of UTF-8.';

create function private.render_transcript(
    p_lines private.transcript_line[], p_count integer, p_max_bytes integer, p_recent_days integer
) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with newest as (
            select line.*, sum(octet_length(line.content)) over (order by line.age) as bytes_so_far
            from unnest(p_lines) with ordinality as line (id, parent_id, author, at, content, age)
            where p_count > 0 or line.age <= 50 or line.at > now() - make_interval(days => p_recent_days)
        ), sent as (
            select * from newest where newest.bytes_so_far <= p_max_bytes or newest.age = 1
        )

        select jsonb_build_object(
            'messages', coalesce(jsonb_agg(jsonb_build_object(
                'id', sent.id,
                'parent_id', sent.parent_id,
                'author', sent.author,
                'at', private.format_time(sent.at),
                'content', private.cut_text(sent.content, p_max_bytes)
            ) order by sent.age desc), '[]'),
            'scope', jsonb_build_object(
                'messageCount', count(*),
                'timeRange', jsonb_build_object(
                    'from', private.format_time(min(sent.at)), 'to', private.format_time(max(sent.at))
                ),
                'truncated', count(*) < (select count(*) from newest)
                or coalesce(bool_or(octet_length(sent.content) > p_max_bytes), false),
                'omittedCount', (select count(*) from newest) - count(*)
            )
        )
        from sent
    );
end
$$;
comment on function private.render_transcript(private.transcript_line[], integer, integer, integer) is
'Renders the messages that fit in p_max_bytes, oldest first, and the scope that they cover. p_lines has the newest
p_count messages, newest first. If p_count is 0, those of p_recent_days count, and at least 50. The newest message is
always included, and cut if it is longer.';

create function private.list_channel_lines(p_channel_id uuid, p_last_seq bigint, p_count integer)
returns private.transcript_line[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with newest as (
            select message.*
            from public.messages as message
            where message.channel_id = p_channel_id and message.deleted_at is null and message.seq <= p_last_seq
            order by message.seq desc
            limit case p_count when 0 then 10000 else p_count end
        )

        select array_agg(
            (
                newest.id, newest.parent_message_id, coalesce(author.display_name, 'former member'), newest.created_at,
                newest.content
            )::private.transcript_line
            order by newest.seq desc
        )
        from newest
        left join private.list_author_names(array(select newest.id from newest)) as author
            on author.author_id = coalesce(newest.user_id, newest.ai_twin_id)
            and author.is_twin = (newest.user_id is null)
    );
end
$$;
comment on function private.list_channel_lines(uuid, bigint, integer) is
'The newest messages of a channel up to a number, newest first: p_count, or 10,000 if that is 0.';

create function private.list_conversation_lines(p_conversation_id uuid, p_count integer)
returns private.transcript_line[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select (
            stored.external_id,
            stored.message ->> 'reply_to',
            case
                when stored.message -> 'direction' = '"outbound"' then 'us'
                else coalesce(
                    nullif(stored.sender, ''), conversation.participant_name, conversation.participant_identifier
                )
            end,
            stored.sent_at,
            coalesce(nullif(stored.message ->> 'content', ''), private.message_preview(stored.message))
        )::private.transcript_line
        from public.conversation_messages as stored
        inner join public.conversations as conversation on stored.conversation_id = conversation.id
        where stored.conversation_id = p_conversation_id and stored.deleted_at is null
        order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
        limit case p_count when 0 then 10000 else p_count end
    );
end
$$;
comment on function private.list_conversation_lines(uuid, integer) is
'The newest messages of a conversation, newest first: p_count, or 10,000 if that is 0.';
