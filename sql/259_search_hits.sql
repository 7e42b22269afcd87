-- Hits: the message, its files and author, and a snippet around the found words.

create function private.list_marks(
    p_words tsquery, out words text[], out beginnings text, out heads text, out neighbours text
)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        array_agg(marked.word) filter (where not marked.is_pair and not marked.is_beginning),
        '^(' || string_agg(marked.word, '|') filter (where not marked.is_pair and marked.is_beginning) || ')',
        string_agg(distinct left(marked.word, 2), '|') filter (where not marked.is_pair),
        -- In scripts without spaces a word is a pair of neighbours, so a character is marked only beside the other.
        string_agg(
            case
                when char_length(marked.word) = 1 then marked.word
                else format('%1$s(?=%2$s)|(?<=%1$s)%2$s', left(marked.word, 1), right(marked.word, 1))
            end,
            '|'
        -- The cost of the expression grows with the square of their number.
        ) filter (where marked.is_pair and marked.place <= 64)
    into words, beginnings, heads, neighbours
    from (
        select
            split.word,
            term.is_beginning,
            -- Earlier scripts have spaces.
            ascii(split.word) >= 3584 and cardinality(private.split_words(left(split.word, 1))) = 2 as is_pair,
            row_number() over (order by term.place) as place
        from (
            select
                found.part[1] as word, coalesce(found.part[2] like ':*%', false) as is_beginning,
                min(found.place) as place
            -- Without what the query excludes, and without tags.
            from regexp_matches(querytree(p_words), '''([^'']+)''(:[*A-D]+)?', 'g') with ordinality
                as found (part, place)
            where found.part[1] not like ':%'
            group by 1, 2
        ) as term
        -- The words of a sign, such as c of c++.
        cross join lateral unnest(
            case
                when term.word ~ '[#@+_.-]' then private.split_words(term.word)
                else array[term.word]
            end
        ) as split (word)
    ) as marked;
end
$$;
comment on function private.list_marks(tsquery) is
'What a snippet marks: the words of a query, and regular expressions for its beginnings, for the first letters of both,
and for characters of scripts without spaces.';

create function private.mark_pattern(p_contents text[], p_words tsquery, p_stemmers regdictionary[]) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_gap constant text := '\s!-/:-@\[-`{-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f';
    v_marks record := private.list_marks(p_words);
    -- Without the character that separates words below.
    v_text text := (
        select translate(string_agg(left(given.content, 4000), e'\n'), e'\u0001', '')
        from unnest(p_contents) as given (content)
    );
    v_pieces text[];
    v_hits text;
begin
    if v_marks.heads is null then
        return v_marks.neighbours;
    end if;
    -- Skips words with other first letters than the query and its stems, which are most words. Letters that folding
    -- changes are not ASCII.
    v_pieces := array(
        select distinct found.parts[1] collate "C"
        from regexp_matches(
            v_text,
            '(?<![^' || c_gap || '])(?:' || v_marks.heads || '|[a-z0-9]?[^\u0001-\u007f])[^' || c_gap || ']*', 'gi'
        ) as found (parts)
    );
    -- The cost of the expression grows with the square of its length, so the shortest words come first.
    select string_agg(hit.piece, '|') filter (where hit.size <= 4000) into v_hits
    from (
        select cut.piece, sum(char_length(cut.piece)) over (order by char_length(cut.piece), cut.piece) as size
        -- Folds all words at once, because a call for each would cost more than all the rest.
        from unnest(
            v_pieces, string_to_array(private.fold_text(array_to_string(v_pieces, e'\u0001')), e'\u0001')
        ) as cut (piece, word)
        where char_length(cut.piece) <= 255 and (
            cut.word = any(v_marks.words)
            or cut.word ~ v_marks.beginnings
            or exists (
                select from unnest(p_stemmers) as stemmer (id)
                where (ts_lexize(stemmer.id, cut.word))[1] = any(v_marks.words)
            )
        )
        order by size
        limit 200
    ) as hit;
    return nullif(concat_ws(
        '|', '(?<![^' || c_gap || '])(?:' || v_hits || ')(?![^' || c_gap || '])', v_marks.neighbours
    ), '');
end
$$;
comment on function private.mark_pattern(text[], tsquery, regdictionary[]) is
'A regular expression for what the snippets of these texts mark; null for nothing. One for all, because Postgres
compiles each expression.';

create function private.render_snippet(p_content text, p_pattern text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Cut, which limits the cost; for a hit after the cut, the snippet is the beginning. The two characters become the
    -- marks.
    v_text text := translate(left(p_content, 4000), e'\u0002\u0003', '');
    v_from integer := greatest(coalesce(regexp_instr(v_text, p_pattern), 0) - 60, 1);
    v_shown text;
    v_is_cut boolean;
begin
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
    if p_pattern is not null then
        v_shown := replace(
            regexp_replace(v_shown, p_pattern, e'\u0002\\&\u0003', 'g'), e'\u0003\u0002', ''
        );
    end if;
    v_shown := replace(replace(replace(replace(v_shown, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');
    return concat(
        case when v_from > 1 then e'\u2026' end,
        replace(replace(v_shown, e'\u0002', '<mark>'), e'\u0003', '</mark>'),
        case when v_is_cut then e'\u2026' end
    );
end
$$;
comment on function private.render_snippet(text, text) is
'Up to 240 characters of a message around the first place that fits the expression, as HTML: the text is escaped, and
<mark> surrounds these places.';

-- force_generic_plan, because Postgres prefers a custom plan for a short array, and making it takes longer than the
-- look-ups.
create function private.render_hits(p_hits jsonb, p_words tsquery, p_stemmers regdictionary[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_hits jsonb[] := array(select jsonb_array_elements(p_hits));
    v_contents text[] := array(
        select hit.message ->> 'content'
        from unnest(v_hits) with ordinality as hit (message, place)
        order by hit.place
    );
    v_pattern text := private.mark_pattern(v_contents, p_words, p_stemmers);
begin
    return (
        select jsonb_agg(
            hit.message || jsonb_build_object(
                'snippet', private.render_snippet(v_contents[hit.place], v_pattern),
                'display_name', author.display_name,
                'avatar_url', author.avatar_url
            )
            order by hit.place
        )
        from unnest(v_hits) with ordinality as hit (message, place)
        left join private.list_author_names(array(
            -- One message of each author is enough.
            select (array_agg(found.message ->> 'id'))[1]::uuid
            from unnest(v_hits) as found (message)
            group by found.message ->> 'user_id', found.message ->> 'ai_twin_id'
        )) as author
            on author.author_id = coalesce(hit.message ->> 'user_id', hit.message ->> 'ai_twin_id')::uuid
            and author.is_twin = (hit.message ->> 'user_id' is null)
    );
end
$$;
comment on function private.render_hits(jsonb, tsquery, regdictionary[]) is
'Messages that a search found, in this order, each with its author and a snippet.';
