-- What a search query means: words, "phrases", -exclusions, OR, and operators such as from: and has:.
-- Every query is valid: an operator that does not apply is searched as words.

create type private.message_search as (
    words tsquery,
    tags tsquery,
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
'The conditions of a query; null means no condition. The fields other_ hold what the query excludes.';

create function private.list_word_forms(p_word text, p_text text, p_stemmers regdictionary[]) returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The short way for most words; the stems of list_stems are the same.
    if octet_length(p_text) = char_length(p_text) then
        return array(
            select p_word
            union
            select stemmed.word
            from unnest(p_stemmers) as stemmer (id)
            cross join lateral (select (ts_lexize(stemmer.id, p_word))[1] as word) as stemmed
            where char_length(p_word) > 2 and stemmed.word <> ''
            order by 1
        );
    end if;
    return array(
        select p_word
        union
        select found.stem
        from unnest(p_stemmers) as stemmer (id)
        -- Also without accents, because the author may have left them out.
        cross join lateral (
            select * from private.list_stems(array[p_word], private.split_words(p_text, true), stemmer.id, false)
            union all
            select * from private.list_stems(array[p_word], null, stemmer.id, false)
        ) as found
        where found.place = 1
        order by 1
    );
end
$$;
comment on function private.list_word_forms(text, text, regdictionary[]) is
'A word of a query and its stems: a message with one of them has the word in some form.';

create function private.parse_search_phrase(
    p_text text, p_stemmers regdictionary[] default null, p_labels text default '', p_is_beginning boolean default false
) returns tsquery
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text[] := private.split_words(p_text);
    v_last text := v_words[cardinality(v_words)];
    v_signed text[];
    v_joined text[];
    v_end text := nullif(':' || case when p_is_beginning then '*' else '' end || p_labels, ':');
    v_labels text := nullif(':' || p_labels, ':');
    v_all text;
begin
    if v_words is null then
        return null;
    end if;
    if p_text ~ private.compound_signs() then
        select found.signed, found.joined into v_signed, v_joined from private.list_compounds(p_text) as found;
    end if;
    -- In scripts without spaces, split_words adds the first and last character as words. In a message that character
    -- may have neighbours, so the phrase must not ask for it alone.
    if char_length(v_words[1]) = 1 and cardinality(private.split_words(v_words[1])) = 2 then
        v_words := v_words[2:];
    end if;
    if char_length(v_last) = 1 and cardinality(private.split_words(v_last)) = 2 then
        v_end := ':*' || p_labels;
        if cardinality(v_words) > 1 then
            v_words := trim_array(v_words, 1);
            v_end := v_labels;
        end if;
    end if;
    v_all := (
        select string_agg(
            concat('''', given.word, '''', case when given.place = cardinality(v_words) then v_end else v_labels end),
            ' <-> ' order by given.place
        )
        from unnest(v_words) with ordinality as given (word, place)
    );
    if cardinality(v_words) > 1 and private.has_long_messages() then
        -- A message with the tag :long has lost places, so its words are enough.
        v_all := format('(%s | '':long'' & %s)', v_all, replace(v_all, '<->', '&'));
    elsif cardinality(v_words) = 1 and p_stemmers is not null then
        v_all := format('(%s)', concat_ws(' | ', v_all, (
            select string_agg('''' || form.word || '''', ' | ')
            from unnest(private.list_word_forms(v_words[1], p_text, p_stemmers)) as form (word)
            where form.word <> v_words[1]
        )));
    end if;
    if p_stemmers is not null and v_joined = array[array_to_string(v_words, '')] then
        v_all := format('(%s | ''%s''%s)', v_all, v_joined[1], v_end);
    end if;
    if v_signed <> '{}' and p_labels <> 'B' then
        -- The signed form is enough for a number such as v2.0, and for a single word such as #123.
        return concat_ws(
            ' & ',
            case when cardinality(v_words) > 1 and p_text !~* '^v?[0-9.,]+$' then v_all end,
            (
                select string_agg('''' || given.word || '''' || case when p_is_beginning then ':*' else '' end, ' & ')
                from unnest(v_signed) as given (word)
            )
        )::tsquery;
    end if;
    return v_all::tsquery;
end
$$;
comment on function private.parse_search_phrase(text, regdictionary[], text, boolean) is
'The tsquery that finds words one after the other; null if the text has none. With p_stemmers, one word is found in its
other forms too. p_labels are those of the index (260_search_index), and p_is_beginning leaves the last word open.';

create function private.find_authors(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := private.fold_text(ltrim(p_name, '@'));
begin
    if v_name = 'me' then
        return nullif(array_remove(array[(select auth.uid())], null), '{}');
    elsif private.is_uuid(v_name) then
        return array[v_name::uuid];
    end if;
    return (
        -- Prefers exact names; else takes all names that contain the text.
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
'The users and twins that from: names: me, an id, a name or a part of one; null if the caller sees none.';

create function private.find_channels(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select array_agg(channel.id)
        from public.channels as channel
        where channel.id::text = lower(p_name)
            or private.fold_text(channel.name) = private.fold_text(ltrim(p_name, '#'))
    );
end
$$;
comment on function private.find_channels(text) is
'The channels of the caller that in: names, by id or name; null if there are none.';

create function private.find_mentions(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := private.find_authors(p_name);
begin
    if v_ids is null and lower(p_name) <> 'channel' then
        return null;
    end if;
    -- Postgres searches an array of 20,000 ids quickly (262_search_query).
    return array(
        select mention.message_id
        from public.message_mentions as mention
        where mention.user_id = any(v_ids)
            or mention.ai_twin_id = any(v_ids)
            or (lower(p_name) = 'channel' and mention.user_id is null and mention.ai_twin_id is null)
        limit 20000
    );
end
$$;
comment on function private.find_mentions(text) is
'The messages of the caller''s channels that mention me, a name, an id or channel; null if the caller sees no such
user.';

create function private.parse_search_time(p_value text) returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A date means its first moment, so each message matches either before: or after: of a date.
    return private.parse_timestamp(
        case when p_value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then p_value || 'T00:00Z' else p_value end
    );
end
$$;
comment on function private.parse_search_time(text) is
'The time that before: or after: gives, as a date or a timestamp; null for anything else.';

create function private.parse_search_operator(
    p_search private.message_search, p_operator text, p_value text, p_is_wanted boolean
) returns private.message_search
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := case p_operator
        when 'from' then private.find_authors(p_value)
        when 'in' then private.find_channels(p_value)
    end;
    v_at timestamptz := case when p_operator in ('before', 'after') then private.parse_search_time(p_value) end;
    v_kind text := case when p_operator = 'has' then replace(rtrim(lower(p_value), 's'), 'attachment', 'file') end;
    v_name tsquery := case
        when p_operator = 'file' then private.parse_search_phrase(p_value, p_labels => 'B', p_is_beginning => true)
    end;
    v_hits uuid[] := case
        when v_kind = 'pin' then array(select pin.message_id from public.message_pins as pin)
        when p_operator = 'mentions' then private.find_mentions(p_value)
    end;
    v_tags tsquery;
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
    elsif v_kind in ('link', 'file') or v_name is not null then
        v_tags := coalesce(v_name, (''':' || v_kind || '''')::tsquery);
        v_tags := case when p_is_wanted then v_tags else !!v_tags end;
        p_search.tags := coalesce(p_search.tags && v_tags, v_tags);
    elsif v_kind = 'reaction' then
        p_search.has_reaction := p_is_wanted;
    elsif v_hits is not null and p_is_wanted then
        -- Several operators must all fit.
        p_search.message_ids := case
            when p_search.message_ids is null then v_hits
            else array(select unnest(p_search.message_ids) intersect select unnest(v_hits))
        end;
    elsif v_hits is not null then
        p_search.other_message_ids := coalesce(p_search.other_message_ids, '{}') || v_hits;
    elsif v_kind = 'thread' then
        p_search.has_thread := p_is_wanted;
    else
        return null;
    end if;
    return case when num_nulls(v_ids, v_at, v_kind, v_hits, v_name) < 5 then p_search end;
end
$$;
comment on function private.parse_search_operator(private.message_search, text, text, boolean) is
'Adds an operator to a search, as wanted or excluded. Null if the value names nothing that the caller can see.';

create function private.list_search_terms(p_query text, p_is_typing boolean)
returns table (is_wanted boolean, operator text, value text, is_quoted boolean, is_or boolean, is_beginning boolean)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        part[1] is null,
        lower(part[2]),
        coalesce(part[3], part[4]),
        part[3] is not null,
        part[1] is null and part[2] is null and lower(part[4]) = 'or',
        -- stag*; with p_is_typing also the last word, unless a space follows it.
        coalesce(
            part[4] ~ '[^\s*][*]+$' or p_is_typing and p_query !~ '\s$' and part.place = count(*) over (), false
        )
    from regexp_matches(
        p_query,
        -- A dash excludes a word only after white space: --flag and wi-fi are words.
        '((?:^|\s)-(?=[^\s-]))?(?:(from|in|before|after|has|mentions|file):)?(?:"([^"]*)"?|([^\s"]+))', 'gi'
    ) with ordinality as part (part, place)
    order by part.place
    limit 64;
end
$$;
comment on function private.list_search_terms(text, boolean) is
'The terms of a query, at most 64: words, "phrases" and operators, which a dash excludes.';

create function private.parse_search(
    p_query text, p_stemmers regdictionary[] default '{pg_catalog.english_stem}', p_is_typing boolean default false
) returns private.message_search
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Accepts the quotation marks of phones and input methods. Cut, because NFKC can turn one character into many.
    v_query text := left(translate(
        normalize(private.shorten_marks(p_query), nfkc),
        e'\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e\u301f', '"""""""""'
    ), 1000);
    v_search private.message_search;
    v_next private.message_search;
    v_term record;
    v_words tsquery;
    v_group tsquery;
    v_is_or boolean := false;
    v_lookups integer := 0;
    v_prefixes integer := 0;
begin
    -- Ignores names after the tenth and prefixes after the eighth, to limit the cost of a search.
    for v_term in
        select * from private.list_search_terms(v_query, p_is_typing)
    loop
        v_next := null;
        if v_term.operator is not null then
            v_lookups := v_lookups + 1;
            continue when v_lookups > 10;
            v_next := private.parse_search_operator(v_search, v_term.operator, v_term.value, v_term.is_wanted);
        end if;
        if not (v_next is null) then
            v_search := v_next;
            continue;
        elsif v_term.is_or and v_group is not null and not v_is_or then
            v_is_or := true;
            continue;
        end if;
        v_words := private.parse_search_phrase(
            concat_ws(':', v_term.operator, v_term.value),
            case when not v_term.is_quoted then p_stemmers end,
            case when v_term.is_quoted then 'AB' else '' end,
            v_term.is_beginning
        );
        if strpos(v_words::text, ':*') > 0 then
            v_prefixes := v_prefixes + 1;
            continue when v_prefixes > 8;
        end if;
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
comment on function private.parse_search(text, regdictionary[], boolean) is
'Parses a query: words, beginnings*, "phrases", -exclusions, OR, and the operators from:, in:, before:, after:, has:,
file: and mentions:.
Never fails: text that is not an operator is words.';
