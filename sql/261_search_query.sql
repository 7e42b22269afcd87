-- GET /api/v2/messages/search: what a query means, and the messages that fit.

create type private.message_search as (
    words tsquery,
    marks tsquery,
    channel_ids uuid array,
    other_channel_ids uuid array,
    author_ids uuid array,
    other_author_ids uuid array,
    since timestamptz,
    until timestamptz,
    message_ids uuid array,
    other_message_ids uuid array,
    has_reaction boolean,
    has_thread boolean
);
comment on type private.message_search is
'What a query asks for; null where it asks for nothing. The others are those that it excludes.';

create function private.parse_search_phrase(p_text text) returns tsquery
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_words text[] := private.split_words(p_text);
    v_first text := v_words[1];
    v_last text := v_words[cardinality(v_words)];
    v_all text;
begin
    -- A character that stands for itself at an end, since it splits in two, may have others beside it in a message.
    if char_length(v_first) = 1 and cardinality(private.split_words(v_first)) = 2 then
        v_words := v_words[2:];
    end if;
    if char_length(v_last) = 1 and cardinality(private.split_words(v_last)) = 2 then
        if cardinality(v_words) = 1 then
            return ('''' || v_last || ''':*')::tsquery;
        end if;
        v_words := trim_array(v_words, 1);
    end if;
    v_all := (select string_agg('''' || given.word || '''', ' <-> ') from unnest(v_words) as given (word));
    if v_words is null or cardinality(v_words) = 1 then
        return v_all::tsquery;
    end if;
    -- In a message with more places than are kept, the words are enough.
    return format('%s | '':long'' & %s', v_all, replace(v_all, '<->', '&'))::tsquery;
end
$$;
comment on function private.parse_search_phrase(text) is
'What finds these words one after the other, wherever running text has them; null when there are none.';

create function private.find_authors(p_name text) returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
declare
    v_name text := private.fold_text(ltrim(p_name, '@'));
begin
    if v_name = 'me' then
        return nullif(array_remove(array[(select auth.uid())], null), '{}');
    elsif v_name ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
        return array[v_name::uuid];
    end if;
    return (
        -- Whoever has just this name is meant, or else everybody whose name it is a part of.
        select coalesce(
            array_agg(author.id) filter (where author.name = v_name),
            array_agg(author.id) filter (where v_name <> '' and strpos(author.name, v_name) > 0)
        )
        from (
            select profile.user_id as id, private.fold_text(profile.display_name) as name
            from public.user_profiles as profile
            union all
            select twin.id, private.fold_text(twin.display_name) as name
            from public.ai_twins as twin
        ) as author
    );
end
$$;
comment on function private.find_authors(text) is
'The users and twins that from: means: me, an id, a name or a part of one; null when the caller knows none.';

create function private.find_channels(p_name text) returns uuid[]
language sql
stable
set search_path = ''
as $$
    select array_agg(channel.id)
    from public.channels as channel
    where channel.id::text = lower(p_name)
        or private.fold_text(channel.name) = private.fold_text(ltrim(p_name, '#'))
$$;
comment on function private.find_channels(text) is
'The channels of the caller that in: means: an id or a name; null when there are none.';

create function private.parse_search_time(p_value text) returns timestamptz
language sql
stable
set search_path = ''
as $$
    -- A date is its first moment, so that before: and after: share out all messages between them.
    select private.parse_timestamp(
        case when p_value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then p_value || 'T00:00Z' else p_value end
    )
$$;
comment on function private.parse_search_time(text) is
'What before: and after: mean: a date or a timestamp; null for neither.';

create function private.parse_search_operator(
    p_search private.message_search, p_operator text, p_value text, p_is_wanted boolean
) returns private.message_search
language plpgsql
stable
set search_path = ''
as $$
declare
    v_ids uuid[] := case p_operator
        when 'from' then private.find_authors(p_value)
        when 'in' then private.find_channels(p_value)
    end;
    v_at timestamptz := case when p_operator in ('before', 'after') then private.parse_search_time(p_value) end;
    v_row text := case when p_operator = 'has' then replace(rtrim(lower(p_value), 's'), 'attachment', 'file') end;
    v_marks tsquery;
begin
    if p_operator = 'from' and p_is_wanted then
        p_search.author_ids := p_search.author_ids || v_ids;
    elsif p_operator = 'from' then
        p_search.other_author_ids := p_search.other_author_ids || v_ids;
    elsif p_operator = 'in' and p_is_wanted then
        p_search.channel_ids := p_search.channel_ids || v_ids;
    elsif p_operator = 'in' then
        p_search.other_channel_ids := p_search.other_channel_ids || v_ids;
    elsif (p_operator = 'before') = p_is_wanted and v_at is not null then
        p_search.until := least(p_search.until, v_at);
    elsif v_at is not null then
        p_search.since := greatest(p_search.since, v_at);
    elsif v_row in ('link', 'file') then
        v_marks := (''':' || v_row || '''')::tsquery;
        v_marks := case when p_is_wanted then v_marks else !!v_marks end;
        p_search.marks := coalesce(p_search.marks && v_marks, v_marks);
    elsif v_row = 'reaction' then
        p_search.has_reaction := p_is_wanted;
    elsif v_row = 'pin' and p_is_wanted then
        p_search.message_ids := array(select pin.message_id from public.message_pins as pin);
    elsif v_row = 'pin' then
        p_search.other_message_ids := array(select pin.message_id from public.message_pins as pin);
    elsif v_row = 'thread' then
        p_search.has_thread := p_is_wanted;
    else
        return null;
    end if;
    return case when num_nulls(v_ids, v_at, v_row) < 3 then p_search end;
end
$$;
comment on function private.parse_search_operator(private.message_search, text, text, boolean) is
'A search with one more operator, wanted or excluded; null when its value means nothing to the caller.';

create function private.parse_search(p_query text) returns private.message_search
language plpgsql
stable
set search_path = ''
as $$
declare
    -- Quotation marks as phones and input methods write them. Cut, because a character may stand for many others.
    v_query text := left(translate(
        normalize(p_query, nfkc), e'\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e\u301f', '"""""""""'
    ), 1000);
    v_search private.message_search;
    v_next private.message_search;
    v_term record;
    v_words tsquery;
    v_group tsquery;
    v_is_or boolean := false;
begin
    for v_term in
        select
            part[1] = '' as is_wanted,
            lower(part[2]) as operator,
            coalesce(part[3], part[4]) as text,
            part[1] = '' and part[2] is null and lower(part[4]) = 'or' as is_or
        from regexp_matches(
            v_query, '(-*)(?:(from|in|before|after|has):)?(?:"([^"]*)"?|([^\s"]+))', 'gi'
        ) as part
    loop
        v_next := private.parse_search_operator(v_search, v_term.operator, v_term.text, v_term.is_wanted);
        if not (v_next is null) then
            v_search := v_next;
            continue;
        elsif v_term.is_or and v_group is not null and not v_is_or then
            v_is_or := true;
            continue;
        end if;
        v_words := private.parse_search_phrase(concat_ws(':', v_term.operator, v_term.text));
        if not v_term.is_wanted then
            v_words := !!v_words;
        end if;
        if v_is_or and v_words is not null then
            v_search.words := coalesce(v_search.words || v_group, v_group);
            v_group := v_words;
            v_is_or := false;
        else
            v_group := coalesce(v_group && v_words, v_words, v_group);
        end if;
    end loop;
    if v_is_or then
        v_group := v_group && private.parse_search_phrase('or');
    end if;
    v_search.words := coalesce(v_search.words || v_group, v_group, v_search.words);
    return v_search;
end
$$;
comment on function private.parse_search(text) is
'What a query asks for. Words, "phrases", -exclusions and OR as web searches have them, and the operators from:, in:,
before:, after: and has:. There is no wrong query: what is no operator is words.';

create function private.search_span(
    p_search private.message_search, p_from bigint, p_to bigint, p_max integer, p_by_words boolean,
    out ids uuid[], out ranks real[]
)
language plpgsql
stable
-- Planned for each query: what is rare and what is common cannot share a plan, and conditions on nothing vanish.
set plan_cache_mode = 'force_custom_plan'
-- Sought by words, there is no way but the index of the words, and compiling takes longer than searching.
set enable_seqscan = 'off'
set jit = 'off'
set search_path = ''
as $$
declare
    v_words tsquery := coalesce(p_search.words && p_search.marks, p_search.words, p_search.marks);
begin
    select
        array_agg(matched.message_id), array_agg(coalesce(ts_rank_cd(matched.words, p_search.words), 0))
    into ids, ranks
    from (
        select entry.message_id, entry.words
        from private.message_words as entry
        left join public.messages as message on entry.message_id = message.id
        where (p_by_words or (entry.number > p_from and entry.number <= p_to))
            and (not p_by_words or (entry.number + 0 > p_from and entry.number + 0 <= p_to))
            and (v_words is null or entry.words @@ v_words)
            and (p_search.channel_ids is null or entry.channel_id = any(p_search.channel_ids))
            and (p_search.other_channel_ids is null or entry.channel_id <> all(p_search.other_channel_ids))
            and (
                p_search.author_ids is null
                or message.user_id = any(p_search.author_ids) or message.ai_twin_id = any(p_search.author_ids)
            )
            and (
                p_search.other_author_ids is null
                or coalesce(message.user_id, message.ai_twin_id, message.id) <> all(p_search.other_author_ids)
            )
            and (p_search.since is null or entry.created_at >= p_search.since)
            and (p_search.until is null or entry.created_at < p_search.until)
            and (p_search.message_ids is null or entry.message_id = any(p_search.message_ids))
            and (p_search.other_message_ids is null or entry.message_id <> all(p_search.other_message_ids))
            and (
                p_search.has_reaction is null
                or p_search.has_reaction = exists (
                    select from public.message_reactions as reaction where reaction.message_id = entry.message_id
                )
            )
            and (
                p_search.has_thread is null
                or p_search.has_thread = exists (
                    select from public.messages as reply
                    where reply.parent_message_id = entry.message_id and reply.deleted_at is null
                )
            )
        order by case when p_by_words then entry.number + 0 else entry.number end desc
        limit p_max
    ) as matched;
end
$$;
comment on function private.search_span(private.message_search, bigint, bigint, integer, boolean) is
'The newest messages that fit a search among those between two numbers, and how well they fit. By words: it is sure that
few have them, so that no plan goes through the messages one by one.';

create function private.resolve_search_filters(p_search private.message_search) returns private.message_search
language plpgsql
stable
set plan_cache_mode = 'force_custom_plan'
set search_path = ''
as $$
begin
    if p_search.has_reaction and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct marked.id) <= 20000 then
            coalesce(array_agg(distinct marked.id), '{}')
        end into p_search.message_ids
        from (
            select reaction.message_id as id
            from public.message_reactions as reaction
            where p_search.channel_ids is null or reaction.channel_id = any(p_search.channel_ids)
            limit 100001
        ) as marked;
    end if;
    if p_search.has_thread and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct head.id) <= 20000 then
            coalesce(array_agg(distinct head.id), '{}')
        end into p_search.message_ids
        from (
            select reply.parent_message_id as id
            from public.messages as reply
            where reply.parent_message_id is not null
                and (p_search.channel_ids is null or reply.channel_id = any(p_search.channel_ids))
            limit 100001
        ) as head;
    end if;
    return p_search;
end
$$;
comment on function private.resolve_search_filters(private.message_search) is
'A search that names the messages that can fit, when it asks for a reaction or a thread and not too many have one: more
than 20,000 are found soon enough on the way.';

-- Definer, because no client reads the index. It asks itself which channels are the caller's, and answers with ids
-- alone: the messages are read by the caller.
create function private.search_messages(p_search private.message_search, out ids uuid[], out ranks real[])
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_newest bigint := (select max(entry.number) from private.message_words as entry);
    v_to bigint := v_newest;
    v_step bigint := 20000;
    -- Whether every message that fits has one of certain words.
    v_has_words boolean := coalesce(
        nullif(querytree(coalesce(p_search.words && p_search.marks, p_search.words, p_search.marks)), 'T') <> '', false
    );
    v_by_words boolean := false;
    v_span record;
begin
    ids := '{}';
    ranks := '{}';
    if not private.is_service() then
        p_search.channel_ids := array(
            select mine.id from private.my_channels as mine
            where p_search.channel_ids is null or mine.id = any(p_search.channel_ids)
        );
    end if;
    p_search := private.resolve_search_filters(p_search);
    -- From the newest back, in longer and longer steps: what is common is found often enough in the first. A plan
    -- cannot know that something is rare, but the first step tells: where going on would read more messages than have
    -- these words, the index of the words is asked for all that is left. What is named is looked up at once.
    while v_to > 0 and cardinality(ids) < 1000 loop
        v_by_words := v_has_words and v_to < v_newest
            and power(cardinality(ids), 2) * v_newest < 1000 * power(v_newest - v_to, 2);
        v_step := case when v_by_words or p_search.message_ids is not null then v_newest else v_step end;
        select * into v_span
        from private.search_span(p_search, v_to - v_step, v_to, 1000 - cardinality(ids), v_by_words);
        ids := ids || v_span.ids;
        ranks := ranks || v_span.ranks;
        v_to := v_to - v_step;
        v_step := v_step * 8;
    end loop;
end
$$;
comment on function private.search_messages(private.message_search) is
'The newest 1,000 messages in channels of the caller that fit a search, and how well they fit.';

create function public.search_messages(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_query text := private.parse_text(case when $1 ->> 'query' = '' then $1 - 'query' else $1 end, 'query', 1000);
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_search private.message_search := private.parse_search(v_query);
    v_is_empty boolean := v_search is null;
    v_answer record;
begin
    if v_channel_id is not null then
        perform private.require_channel(v_channel_id);
        v_search.channel_ids := case
            when v_search.channel_ids is null or v_channel_id = any(v_search.channel_ids) then array[v_channel_id]
            else '{}'
        end;
    end if;
    if v_is_empty then
        return private.succeed('[]', '{"total": 0}');
    end if;
    with found as (
        select
            message.*,
            row_number() over (order by fitting.rank desc, message.created_at desc, message.id) as place
        from private.search_messages(v_search) as matched
        cross join lateral unnest(matched.ids, matched.ranks) as fitting (id, rank)
        inner join public.messages as message on fitting.id = message.id
        where message.deleted_at is null
    )

    select
        count(*) as total,
        coalesce(jsonb_agg(
            jsonb_build_object(
                'id', found.id,
                'channel_id', found.channel_id,
                'content', found.content,
                'user_id', found.user_id,
                'created_at', private.format_time(found.created_at)
            )
            order by found.place
        ) filter (where found.place > v_offset and found.place <= v_offset + v_limit), '[]') as data
    into v_answer
    from found;
    return private.succeed(v_answer.data, jsonb_build_object('total', v_answer.total));
end
$$;
comment on function public.search_messages(jsonb) is
'GET /api/v2/messages/search: query, and optionally channel_id, limit (1 to 100), offset. The best first, of equally
good ones the newest. Among the newest 1,000 that fit, which is as far as total counts.';
