-- How a hit looks: the message, its author, and a snippet that shows why it was found.

create function private.list_marks(p_words tsquery, out words text[], out beginnings text, out neighbours text)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Without what the query excludes.
    v_terms text[] := array(
        select array[term.part[1], coalesce(term.part[2], '')]
        from regexp_matches(querytree(p_words), '''([^'':]+)''(:[*A-D]+)?', 'g') as term (part)
    );
begin
    select
        array_agg(marked.word) filter (where not marked.is_beginning),
        '^(' || string_agg(marked.word, '|') filter (where marked.is_beginning) || ')'
    into words, beginnings
    from (
        select split.word, v_terms[term][2] like ':*%' as is_beginning
        from generate_subscripts(v_terms, 1) as term
        -- The words of a sign, such as c of c++.
        cross join lateral unnest(private.split_words(v_terms[term][1])) as split (word)
        where cardinality(private.split_words(left(split.word, 1))) = 1
    ) as marked;
    -- In scripts without spaces a word is two neighbours: marks each beside the other.
    neighbours := (
        select string_agg(
            case
                when char_length(pair.word) = 1 then pair.word
                else format('%1$s(?=%2$s)|(?<=%1$s)%2$s', left(pair.word, 1), right(pair.word, 1))
            end,
            '|'
        )
        from unnest(array(select v_terms[term][1] from generate_subscripts(v_terms, 1) as term)) as pair (word)
        where char_length(pair.word) <= 2 and cardinality(private.split_words(left(pair.word, 1))) = 2
    );
end
$$;
comment on function private.list_marks(tsquery) is
'What a snippet marks: the words of a query, a regular expression of its beginnings, and one of the characters of
scripts without spaces.';

create function private.escape_html(p_text text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return replace(replace(replace(replace(p_text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');
end
$$;
comment on function private.escape_html(text) is 'A text that a page shows as it is.';

create function private.render_snippet(
    p_content text, p_words text[], p_beginnings text, p_neighbours text, p_stemmers regdictionary[]
) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    with piece as materialized (
        select
            cut.part[1] as text,
            cut.place,
            sum(char_length(cut.part[1])) over (order by cut.place) as until,
            case
                when octet_length(cut.part[1]) = char_length(cut.part[1]) then lower(cut.part[1])
                else private.fold_text(cut.part[1])
            end as word
        -- Bounds the cost: a hit further on shows the beginning of the message.
        from regexp_matches(
            left(p_content, 4000),
            '[^\s!-/:-@\[-`{-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]{1,40}'
            '|[\s!-/:-@\[-`{-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]{1,40}', 'g'
        ) with ordinality as cut (part, place)
    ),

    judged as (
        select
            piece.*,
            piece.word = any(p_words)
            or coalesce(piece.word ~ p_beginnings, false)
            or array[
                (ts_lexize(p_stemmers[1], piece.word))[1], (ts_lexize(p_stemmers[2], piece.word))[1],
                (ts_lexize(p_stemmers[3], piece.word))[1], (ts_lexize(p_stemmers[4], piece.word))[1],
                (ts_lexize(p_stemmers[5], piece.word))[1]
            ] && p_words as is_word,
            coalesce(piece.text ~ p_neighbours, false) as has_neighbours
        from piece
    ),

    beginning as (
        select coalesce(greatest(min(hit.until - char_length(hit.text)) - 60, 0), 0) as at
        from judged as hit
        where hit.is_word or hit.has_neighbours
    )

    select concat(
        case when min(shown.place) > 1 then e'\u2026' end,
        replace(string_agg(
            case
                when shown.is_word then '<mark>' || private.escape_html(shown.text) || '</mark>'
                when shown.has_neighbours
                    then regexp_replace(private.escape_html(shown.text), p_neighbours, '<mark>\&</mark>', 'g')
                else private.escape_html(shown.text)
            end, '' order by shown.place
        ), '</mark><mark>', ''),
        case when max(shown.until) < char_length(p_content) then e'\u2026' end
    )
    from judged as shown
    cross join beginning
    where shown.until > beginning.at and shown.until <= beginning.at + 240
$$;
comment on function private.render_snippet(text, text[], text, text, regdictionary[]) is
'Up to 240 characters of a message around the first word of the query, as HTML: the text is escaped, and the words stand
in <mark>.';

create function private.render_hits(p_ids uuid[], p_words tsquery, p_stemmers regdictionary[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_marks record := private.list_marks(p_words);
begin
    return (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'id', message.id,
                'channel_id', message.channel_id,
                'content', message.content,
                'snippet', private.render_snippet(
                    message.content, v_marks.words, v_marks.beginnings, v_marks.neighbours, p_stemmers
                ),
                'user_id', message.user_id,
                'ai_twin_id', message.ai_twin_id,
                'display_name', author.display_name,
                'avatar_url', author.avatar_url,
                'created_at', private.format_time(message.created_at)
            )
            order by given.place
        ), '[]')
        from unnest(p_ids) with ordinality as given (id, place)
        inner join public.messages as message on given.id = message.id
        left join private.list_author_names(p_ids) as author
            on author.author_id = coalesce(message.user_id, message.ai_twin_id)
            and author.is_twin = (message.user_id is null)
    );
end
$$;
comment on function private.render_hits(uuid[], tsquery, regdictionary[]) is
'Messages that a search found, in this order, each with its author and a snippet.';
