-- Hits: the message, its files and author, and a snippet around the found words.

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
    -- In scripts without spaces a word is a pair of neighbours, so a character is marked only beside the other.
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
'What a snippet marks: the words of a query, a regular expression for its beginnings, and one for characters of scripts
without spaces.';

create function private.escape_html(p_text text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return replace(replace(replace(replace(p_text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');
end
$$;
comment on function private.escape_html(text) is 'A text as HTML that shows it unchanged.';

create function private.render_snippet(
    p_content text, p_words text[], p_beginnings text, p_neighbours text, p_stemmers regdictionary[]
) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_letter constant text := '[^\s!-/:-@\[-`{-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]';
    -- Cuts the text, which limits the cost; for a hit after the cut, the snippet is the beginning. The two characters
    -- become the marks.
    v_text text := translate(left(p_content, 4000), e'\u0002\u0003', '');
    v_heads text[] := array(select left(given.word, 2) from unnest(p_words) as given (word));
    v_pattern text;
    v_from integer := 1;
    v_shown text;
    v_is_cut boolean;
begin
    v_pattern := concat_ws('|', (
        select format('(?<!%1$s)(?:%2$s)(?!%1$s)', c_letter, string_agg(hit.text, '|'))
        from (
            select distinct piece.text
            from (
                select cut.part[1] as text, private.fold_text(cut.part[1]) as word
                from regexp_matches(v_text, c_letter || '+', 'g') as cut (part)
                -- Skips words with other first letters than the query and its stems, which are most words.
                where octet_length(cut.part[1]) > char_length(cut.part[1])
                    or left(lower(cut.part[1]), 2) = any(v_heads)
                    or lower(cut.part[1]) ~ p_beginnings
            ) as piece
            where piece.word = any(p_words)
                or piece.word ~ p_beginnings
                or exists (
                    select from unnest(p_stemmers) as stemmer (id)
                    where (ts_lexize(stemmer.id, piece.word))[1] = any(p_words)
                )
            limit 20
        ) as hit
        having count(*) > 0
    ), p_neighbours);
    if v_pattern <> '' then
        v_from := greatest(regexp_instr(v_text, v_pattern) - 60, 1);
    end if;
    if v_from > 1 then
        -- Begins with a word.
        v_from := v_from + strpos(substr(v_text, v_from, 30), ' ');
    end if;
    v_shown := substr(v_text, v_from, 240);
    v_is_cut := v_from + 240 <= char_length(p_content);
    if v_is_cut then
        -- Ends with a word.
        v_shown := left(v_shown, 240 - strpos(reverse(right(v_shown, 30)), ' '));
    end if;
    if v_pattern <> '' then
        v_shown := replace(
            regexp_replace(v_shown, v_pattern, e'\u0002\\&\u0003', 'g'), e'\u0003\u0002', ''
        );
    end if;
    return concat(
        case when v_from > 1 then e'\u2026' end,
        replace(replace(private.escape_html(v_shown), e'\u0002', '<mark>'), e'\u0003', '</mark>'),
        case when v_is_cut then e'\u2026' end
    );
end
$$;
comment on function private.render_snippet(text, text[], text, text, regdictionary[]) is
'Up to 240 characters of a message around the first word of the query, as HTML: the text is escaped, and the words stand
in <mark>.';

create function private.render_hits(p_ids uuid[], p_words tsquery, p_stemmers regdictionary[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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
                'attachments', message.attachments,
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
'Messages that a search found, in this order, each with its files, its author and a snippet.';
