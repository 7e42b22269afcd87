-- GET /api/v2/messages/search: finds the newest 1,000 messages that fit and answers the best of them.
-- A caller finds only messages of their own channels. A search reads from the newest message back and stops early, so
-- its time grows less than the table: a thousand times the messages make a common word 25 to 40 times as slow.

create function private.ranking_steps(p_words tsvector, p_query tsquery, p_lexemes text[]) returns double precision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_others tsvector := coalesce(ts_delete(p_words, p_lexemes), '');
begin
    -- The places of the words of the query are what is missing without them: two bytes each, beside four for a word.
    -- Measures a copy of p_words, because the stored words can be compressed.
    return numnode(p_query) * power(
        (pg_column_size(ts_delete(p_words, '{}'::text[])) - pg_column_size(v_others)) / 2.0
        - 4 * (length(p_words) - length(v_others)),
        2
    );
end
$$;
comment on function private.ranking_steps(tsvector, tsquery, text[]) is
'The steps that ts_rank_cd may take for a message: for each term, each place of the words of the query, which are
p_lexemes, against each other place. A query with a beginning has no p_lexemes: then all words count. Null without a
query.';

create function private.few_channels() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 100;
end
$$;
comment on function private.few_channels() is
'Up to so many channels, a search looks up each of them in the index of words.';

create function private.search_span(
    p_search private.message_search, p_from bigint, p_to bigint, p_max integer, p_by_words boolean,
    out ids uuid[], out ranks real[]
)
language plpgsql
stable
-- A custom plan removes the conditions that are null, and a rare word needs another plan than a common one.
set plan_cache_mode = 'force_custom_plan'
-- Off, because Postgres overestimates how many messages a tsquery matches and would scan the table instead of an index.
-- JIT takes longer than the search.
-- For each channel, Postgres would scan the index of words once, which takes a millisecond. IS TRUE makes many channels
-- a filter behind one scan.
set enable_seqscan = 'off'
set jit = 'off'
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words tsquery := coalesce(p_search.words && p_search.tags, p_search.words, p_search.tags);
    v_lexemes text[] := (
        select array_agg(part[1]) from regexp_matches(p_search.words::text, '''([^'']+)''(:[*])?', 'g') as part
        having count(part[2]) = 0
    );
    v_is_wide boolean := coalesce(cardinality(p_search.channel_ids) > private.few_channels(), false);
begin
    select
        array_agg(matched.message_id),
        array_agg(case
            when matched.steps <= 5000000 then coalesce(ts_rank_cd(matched.words, p_search.words), 0) else 0
        end)
    into ids, ranks
    from (
        select
            hit.message_id,
            hit.words,
            -- The newest messages get ranks until the steps are used up, at most half a second.
            sum(private.ranking_steps(hit.words, p_search.words, v_lexemes)) over (order by hit.number desc) as steps
        from (
            select entry.message_id, entry.number, entry.words
            from private.message_words as entry
            left join public.messages as message on entry.message_id = message.id
            -- Exactly one of the next two lines remains in the plan. `+ 0` keeps the planner from walking the index
            -- on number, newest first, for a rare word: that would read the whole table.
            where (p_by_words or (entry.number > p_from and entry.number <= p_to))
                and (not p_by_words or (entry.number + 0 > p_from and entry.number + 0 <= p_to))
                and (v_words is null or entry.words @@ v_words)
                and (p_search.channel_ids is null or v_is_wide or entry.channel_id = any(p_search.channel_ids))
                and (not v_is_wide or (entry.channel_id = any(p_search.channel_ids)) is true)
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
                and (p_search.has_reaction is null or p_search.has_reaction = exists (
                    select from public.message_reactions as reaction where reaction.message_id = entry.message_id
                ))
                and (
                    p_search.has_thread is null
                    or p_search.has_thread = exists (
                        select from public.messages as reply
                        where reply.parent_message_id = entry.message_id and reply.deleted_at is null
                    )
                )
            order by case when p_by_words then entry.number + 0 else entry.number end desc
            limit p_max
        ) as hit
    ) as matched;
end
$$;
comment on function private.search_span(private.message_search, bigint, bigint, integer, boolean) is
'The newest messages between two numbers that fit a search, with their ranks. p_by_words forces the index of words, for
words that few messages have.';

create function private.resolve_search_filters(p_search private.message_search) returns private.message_search
language plpgsql
stable
set plan_cache_mode = 'force_custom_plan'
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Reading 100,000 rows takes about as long as the first steps of a search. Postgres still searches an array of
    -- 20,000 ids quickly. With more matches, the first steps find enough anyway.
    if p_search.has_reaction and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct candidate.id) <= 20000 then
            coalesce(array_agg(distinct candidate.id), '{}')
        end into p_search.message_ids
        from (
            select reaction.message_id as id
            from public.message_reactions as reaction
            where p_search.channel_ids is null or reaction.channel_id = any(p_search.channel_ids)
            limit 100001
        ) as candidate;
    end if;
    if p_search.has_thread and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct candidate.id) <= 20000 then
            coalesce(array_agg(distinct candidate.id), '{}')
        end into p_search.message_ids
        from (
            select reply.parent_message_id as id
            from public.messages as reply
            where reply.parent_message_id is not null
                and (p_search.channel_ids is null or reply.channel_id = any(p_search.channel_ids))
            limit 100001
        ) as candidate;
    end if;
    return p_search;
end
$$;
comment on function private.resolve_search_filters(private.message_search) is
'Replaces has:reaction or has:thread by the ids of the messages that have one, if they are at most 20,000.';

create function private.search_index(p_search private.message_search, out ids uuid[], out ranks real[])
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_newest bigint := (select max(entry.number) from private.message_words as entry);
    v_to bigint := v_newest;
    -- Small enough to answer a common word at once, large enough to estimate how rare a word is.
    v_step bigint := 5000;
    -- querytree is empty or T if no word is required: then the index of words cannot narrow the search.
    v_has_words boolean := coalesce(
        nullif(querytree(coalesce(p_search.words && p_search.tags, p_search.words, p_search.tags)), 'T') <> '', false
    );
    v_by_words boolean := false;
    -- With many channels the index of words reads the matches of all channels, and a page of the table for each. So
    -- only a word that is rarer, and in a larger sample, goes through it.
    v_is_wide boolean := coalesce(cardinality(p_search.channel_ids) > private.few_channels(), false);
    -- What an entry of the index of words costs, in reads by number.
    v_rarity integer := case when v_is_wide then 80 else 3 end;
    v_sample bigint := case when v_is_wide then 90000 else 1 end;
    v_span record;
begin
    ids := '{}';
    ranks := '{}';
    -- Reads from the newest message back, in steps that grow eightfold. A common word fills the page in the first
    -- step. The planner cannot know that a word is rare, but the hits so far show it: with h hits in r read
    -- messages, the page of 1,000 needs 1000 * r / h reads, and the index of words has h * newest / r entries. Such
    -- an entry costs as much as v_rarity reads. If the reads cost more, the rest goes through that index. A search
    -- by message ids reads everything in one step.
    while v_to > 0 and cardinality(ids) < 1000 loop
        v_by_words := v_has_words and v_newest - v_to >= v_sample
            and v_rarity * power(cardinality(ids), 2) * v_newest < 1000 * power(v_newest - v_to, 2);
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
comment on function private.search_index(private.message_search) is
'The newest 1,000 entries of the index that fit a search, with their ranks. The caller limits it to channels.';

-- Definer, because no client reads the index. It restricts the search to the caller's channels and returns ids only;
-- the caller reads the messages under row-level security.
create function private.search_messages(p_search private.message_search, out ids uuid[], out ranks real[])
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_search private.message_search := p_search;
    v_found record;
begin
    if not private.is_service() then
        v_search.channel_ids := array(
            select mine.id from private.my_channels as mine
            where p_search.channel_ids is null or mine.id = any(p_search.channel_ids)
        );
    elsif p_search.channel_ids is null then
        -- All channels, and no conversations, which stand in the same index under the ids of workspaces.
        v_search.channel_ids := array(select channel.id from public.channels as channel);
    end if;
    if v_search.has_reaction or v_search.has_thread then
        v_search := private.resolve_search_filters(v_search);
    end if;
    select * into v_found from private.search_index(v_search);
    ids := v_found.ids;
    ranks := v_found.ranks;
end
$$;
comment on function private.search_messages(private.message_search) is
'The newest 1,000 messages of the caller''s channels that fit a search, with their ranks.';

create function public.search_messages(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_query text := private.parse_text(case when $1 -> 'query' = '""' then $1 - 'query' else $1 end, 'query', 1000);
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_stemmers regdictionary[] := private.list_stemmers(v_channel_id);
    v_search private.message_search := private.parse_search(v_query, v_stemmers, private.parse_boolean($1, 'prefix'));
    v_is_empty boolean := v_search is null;
    v_found record;
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
            row_number() over (order by hit.rank desc, message.created_at desc, message.id) as place
        from private.search_messages(v_search) as matched
        cross join lateral unnest(matched.ids, matched.ranks) as hit (id, rank)
        inner join public.messages as message on hit.id = message.id
        where message.deleted_at is null
    )

    select
        count(*) as total,
        jsonb_agg(
            jsonb_build_object(
                'id', found.id,
                'channel_id', found.channel_id,
                'content', found.content,
                'attachments', found.attachments,
                'user_id', found.user_id,
                'ai_twin_id', found.ai_twin_id,
                'created_at', private.format_time(found.created_at)
            )
            order by found.place
        ) filter (where found.place > v_offset and found.place <= v_offset + v_limit) as hits
    into v_found
    from found;
    return private.succeed(
        case
            when v_found.hits is null then '[]'
            else private.render_hits(v_found.hits, v_search.words, v_stemmers)
        end,
        jsonb_build_object('total', v_found.total)
    );
end
$$;
comment on function public.search_messages(jsonb) is
'GET /api/v2/messages/search: query, and optionally channel_id, limit (1 to 100), offset, prefix (true leaves the last
word open). Best rank first, then newest. Considers and counts the newest 1,000 messages that fit.';
