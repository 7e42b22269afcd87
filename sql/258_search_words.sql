-- The words of a text: folded, split in every script, stemmed, and joined with the signs that carry meaning.
-- The index and the query use the same functions, so that they agree.

create function private.mark_characters() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return
        '[\u00ad\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u061c'
        '\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a'
        '\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0897-\u089f'
        '\u08ca-\u08ff\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c'
        '\u0c4d-\u0c56\u0cbc\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ece'
        '\u0f18\u0f19\u0f35\u0f37\u0f39\u0f71-\u0f7d\u0f80-\u0f84\u0f86\u0f87\u0fc6\u1037\u1039\u103a\u108d'
        '\u135d-\u135f\u1714\u1715\u1734\u17d2\u17dd\u180b-\u180f\u18a9\u1939-\u193b\u1a17\u1a18\u1a60'
        '\u1a75-\u1a7f\u1ab0-\u1aff\u1b34\u1b44\u1b6b-\u1b73\u1baa\u1bab\u1be6\u1bf2\u1bf3\u1c37\u1cd0-\u1ce8'
        '\u1ced\u1cf4\u1cf8\u1cf9\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u2cef-\u2cf1'
        '\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099\u309a\ua66f\ua674-\ua67d\ua69e\ua69f\ua6f0\ua6f1\ua806\ua82c'
        '\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3\ua9c0\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1'
        '\uaaf6\uabed\ufb1e\ufcf2-\ufcf4\ufe00-\ufe0f\ufe20-\ufe2f\ufe71\ufe77\ufe79\ufe7b\ufe7d\ufe7f\ufeff'
        '\uff9e\uff9f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d-\U00010a0f\U00010a38-\U00010a3f'
        '\U00010ae5\U00010ae6\U00010d24-\U00010d27\U00010d69-\U00010d6d\U00010eab\U00010eac\U00010efa-\U00010eff'
        '\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9\U000110ba'
        '\U00011100-\U00011102\U00011133\U00011134\U00011173\U000111c0\U000111ca\U00011235\U00011236'
        '\U000112e9\U000112ea\U0001133b\U0001133c\U0001134d\U00011366-\U00011374\U000113ce-\U000113e2\U00011442'
        '\U00011446\U0001145e\U000114c2\U000114c3\U000115bf\U000115c0\U0001163f\U000116b6\U000116b7\U0001172b'
        '\U00011839\U0001183a\U0001193d\U0001193e\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f'
        '\U00011d42-\U00011d45\U00011d97\U00011f41\U00011f42\U0001612f\U00016af0-\U00016af4\U00016b30-\U00016b36'
        '\U00016ff0\U00016ff1\U0001bc9e\U0001d165-\U0001d169\U0001d16d-\U0001d182\U0001d185-\U0001d18b'
        '\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244\U0001e000-\U0001e02a\U0001e08f\U0001e130-\U0001e136\U0001e2ae'
        '\U0001e2ec-\U0001e2ef\U0001e4ec-\U0001e4ef\U0001e5ee\U0001e5ef\U0001e6e3-\U0001e6f5\U0001e8d0-\U0001e8d6'
        '\U0001e944-\U0001e94a\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]';
end
$$;
comment on function private.mark_characters() is
'A regular expression for one character that combines with the one before it, and for one that fold_text removes.
Immutable, so Postgres computes it once per plan.';

create function private.shorten_marks(p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A short text costs little in any order of its marks.
    if octet_length(p_text) <= 1000 then
        return p_text;
    end if;
    return regexp_replace(
        p_text, '(' || private.mark_characters() || '{8})' || private.mark_characters() || '+', '\1', 'g'
    );
end
$$;
comment on function private.shorten_marks(text) is
'A text with at most eight combining marks in a row, if it has more than 1000 bytes. Call it before normalize, which
sorts the marks of a row in a time that grows with the square of their number, and which no timeout ends.';

create function private.fold_text(p_text text, p_keeps_accents boolean default false) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
begin
    if octet_length(p_text) = char_length(p_text) then
        return lower(p_text);
    end if;
    -- Removes accents, vowel points and characters that only change how another one is shown. Keeps the vowel signs of
    -- Thai and Indic scripts, because a word without them is another word.
    v_text := lower(regexp_replace(
        normalize(replace(replace(private.shorten_marks(p_text), e'\u2120', ' '), e'\u2122', ' '), nfkd),
        '[' || case when p_keeps_accents then '' else '\u0300-\u036f' end
        || '\u00ad\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u061c\u0640\u064b-\u065f'
        '\u0670\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff'
        '\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+',
        '', 'g'
    ));
    -- Most Latin text is ASCII now and needs no more work.
    if octet_length(v_text) = char_length(v_text) then
        return v_text;
    end if;
    -- Unicode does not decompose these letters.
    if not p_keeps_accents and v_text ~ '[\u00df\u00e6\u00f8\u0111\u0127\u0131\u0142\u0153\u0167\u03c2]' then
        v_text := replace(replace(replace(
            translate(v_text, e'\u00f8\u0142\u0111\u0127\u0167\u0131\u03c2', e'oldhti\u03c3'),
            e'\u00df', 'ss'), e'\u00e6', 'ae'), e'\u0153', 'oe');
    end if;
    -- Checking costs half of normalizing.
    return case when v_text is nfkc normalized then v_text else normalize(v_text, nfkc) end;
end
$$;
comment on function private.fold_text(text, boolean) is
'A text without capitals, accents and width variants, so that a search finds every spelling. Optionally keeps accents,
which stemmers need.';

create function private.fold_for_index(p_text text, p_keeps_accents boolean default false) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Cut, because folding can turn one character into eighteen, and a tsvector has at most one megabyte.
    v_folded text := left(private.fold_text(left(p_text, 200000), p_keeps_accents), 100000);
begin
    -- Pairs of characters take up to four times as many bytes as the text.
    return case when octet_length(v_folded) > 200000 then left(v_folded, 50000) else v_folded end;
end
$$;
comment on function private.fold_for_index(text, boolean) is
'The part of a text that search indexes, folded as fold_text does.';

-- Does not use the parser of Postgres, which keeps report.pdf, /path and -19 whole, drops emoji, and depends on the
-- locale.
create function private.split_words(p_text text, p_keeps_accents boolean default false) returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_folded text := private.fold_for_index(p_text, p_keeps_accents);
    v_text text;
    v_runs text[];
begin
    if octet_length(v_folded) = char_length(v_folded) then
        v_text := regexp_replace(v_folded, '[^a-z0-9 ]+', ' ', 'g');
    else
        -- Han, kana, Hangul, Thai, Lao, Tibetan, Burmese, Khmer and emoji: a word may begin or end at any of them.
        -- Splits by runs, because matching this long class costs four times as much as matching any character.
        v_runs := string_to_array(regexp_replace(
            translate(v_folded, e'\u0001', ' '),
            '[\u0e01-\u0e3e\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0f0a\u0f13-\u1049\u1050-\u109f\u1100-\u11ff'
            '\u1780-\u17d3\u17dc-\u17e9\u1950-\u1a1b\u1a20-\u1aaf\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff'
            '\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u309f\u30a1-\u30fa'
            '\u30fc-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaadf'
            '\uac00-\ud7ff\uf900-\ufaff\U00016fe0-\U00018d8f\U0001aff0-\U0001b2ff\U0001f000-\U0001faff'
            '\U00020000-\U0003ffff]+',
            e'\u0001\\&\u0001', 'g'
        ), e'\u0001');
        for v_run in 1 .. coalesce(cardinality(v_runs), 0) / 2 loop
            v_runs[2 * v_run] := regexp_replace(v_runs[2 * v_run], '.', e'\u0001\\& \\&\u0001', 'g');
        end loop;
        v_text := array_to_string(v_runs, '');
        v_text := regexp_replace(
            replace(replace(v_text, e'\u0001\u0001', ''), e'\u0001', ' '),
            '[\u0002-\u001f!-/:-@[-`{-\u00bf\u00d7\u00f7\u02b9-\u02bf\u037e\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3'
            '\u05c6\u05f3\u05f4\u060c\u061b\u061d-\u061f\u066a-\u066d\u06d4\u0964\u0965\u0970\u0e3f\u0e4f\u0e5a\u0e5b'
            '\u0f0b-\u0f12\u104a-\u104f\u1361-\u1368\u1680\u17d4-\u17db\u1800-\u180a\u2000-\u22ff\u2400-\u25ff'
            '\u27c0-\u2aff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u302a-\u3030\u3036-\u303a\u303d-\u303f\u30a0\u30fb'
            '\ufd3e\ufd3f\ufe10-\ufe6f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff]+',
            ' ', 'g'
        );
    end if;
    return nullif(array_remove(string_to_array(
        -- Cut, because a tsvector takes no word over 2,046 bytes.
        case
            when char_length(v_folded) < 256 then v_text
            else regexp_replace(v_text, '([^ ]{255})[^ ]+', '\1', 'g')
        end,
        ' '
    ), ''), '{}');
end
$$;
comment on function private.split_words(text, boolean) is
'The folded words of a text in order; null if it has none. In scripts without spaces each pair of neighbours is a
word, and so are the first and last character: ABC becomes A, AB, BC, C.';

create function private.compound_signs() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return '[#@+_]|[0-9][.,][0-9]|(^|[^A-Za-z0-9])[-.][A-Za-z0-9\u00c0-\u064a]'
        '|[^\s][-\u2010][^\s]|[^\s][''\u2019](?!([stdm]|re|ve|ll)(?![A-Za-z]))[^\s]';
end
$$;
comment on function private.compound_signs() is
'A regular expression for the signs that list_compounds reads. Immutable, so Postgres computes it once per plan.';

create function private.list_compounds(p_text text, out signed text[], out joined text[])
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Not \w, which depends on the locale.
    c_word constant text := '[a-z0-9\u00df-\u02af\u0370-\u0587\u05d0-\u05ea\u0620-\u064a]+';
    v_text text := private.fold_for_index(p_text);
begin
    -- Runs few regular expressions, because they make messages with signs expensive. Keeps duplicates, because removing
    -- them costs more.
    if translate(v_text, e'-'',\u2010\u2019', '') <> v_text then
        joined := array(
            select left(translate(found.words[1], e'-'',\u2010\u2019', ''), 100)
            from regexp_matches(
                v_text, c_word || '(?:[-''\u2010\u2019]' || c_word || ')+|[0-9]{1,3}(?:,[0-9]{3})+', 'g'
            ) as found (words)
            -- Not it's, don't and we'll.
            where rtrim(translate(right(found.words[1], 3), e'\u2019', ''''), 'stdmrevl') not like '%'''
        );
    end if;
    if strpos(v_text, ',') > 0 then
        -- 1,234.56 is 1234.56.
        v_text := regexp_replace(v_text, '([0-9]),(?=[0-9]{3}(?![0-9]))', '\1', 'g');
    end if;
    -- #123, @name, .net, --flag, c++, c#
    signed := array(
        select left(found.words[1], 100)
        from regexp_matches(
            v_text,
            '(?<![a-z0-9\u00df-\u064a_#@.+<-])(?:--?' || c_word || '(?:[-_]' || c_word || ')*|[#@.]' || c_word
            || '(?:_' || c_word || ')*)|' || c_word || '(?:[+][+]|#(?![a-z0-9\u00df-\u064a]))', 'g'
        ) as found (words)
    );
    if translate(v_text, '_.', '') <> v_text then
        -- Each pair of neighbours: a_b_c has a_b and b_c, 1.2.3 has 1.2 and 2.3.
        signed := signed || array(
            select left(found.words[1], 100)
            from regexp_matches(
                regexp_replace(v_text, '([_.])(' || c_word || ')(?=[_.][a-z0-9\u00df-\u064a])', '\1\2 \2', 'g'),
                c_word || '_' || c_word || '|[0-9]+[.][0-9]+', 'g'
            ) as found (words)
        );
    end if;
end
$$;
comment on function private.list_compounds(text) is
'The words of a text with the signs that carry meaning (C++, #123, @name, --flag, a_b, 2.0), and joined forms of words
with a hyphen, an apostrophe or a comma (wi-fi is wifi, 1,234 is 1234).';

create function private.list_stems(
    p_words text[], p_accented text[], p_stemmer regdictionary, p_strips_prefixes boolean
)
returns table (place bigint, stem text)
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select given.place, private.fold_text(stemmed.word)
    from unnest(p_words, p_accented) with ordinality as given (word, accented, place)
    cross join lateral unnest(array[
        -- Skips later scripts, because no stemmer knows them and a message in Chinese has many words.
        case
            when ascii(given.word) < 3584 then (ts_lexize(p_stemmer, coalesce(given.accented, given.word)))[1]
        end,
        -- The Arabic article, after and, so, with and like.
        case
            when ascii(given.word) between 1568 and 1610
                then regexp_replace(
                    given.word,
                    '^(?:[\u0641\u0648]?[\u0628\u0643]?\u0627\u0644|[\u0641\u0648]?\u0644\u0644)(?=.{2})', ''
                )
            -- The Hebrew and, that, from, in, like, to and the. A word keeps three letters.
            when p_strips_prefixes and ascii(given.word) between 1488 and 1514
                then regexp_replace(
                    given.word,
                    '^(?:\u05d5?(?:\u05db\u05e9|\u05e9)?[\u05d1\u05db\u05dc\u05de]?\u05d4?(?=.{3})|\u05d4(?=.{2}$))',
                    ''
                )
        end
    ]) as stemmed (word)
    where char_length(given.word) > 2 and stemmed.word <> given.word;
end
$$;
comment on function private.list_stems(text[], text[], regdictionary, boolean) is
'The stems that differ from their words, with the places of the words. p_accented has the same words with accents, which
stemmers need. Removes Hebrew prefixes only from messages: a query word without a prefix then finds all.';
