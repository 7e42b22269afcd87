-- The search index: the words of each message, in every script.
-- It holds exactly the messages that are not deleted, with their present text.

-- For one index on channel and word: an index on words alone would read the matches of all channels.
create extension if not exists btree_gin with schema extensions;

-- A table of its own for two reasons. Clients would read the words as a column of public.messages. Row-level security
-- would also keep Postgres from using the GIN index, because the operator @@ is not leakproof.
-- Only private.search_messages reads it, and only triggers of messages write it. So it has no foreign key, which would
-- cost one query for each message (decision 0006).
create table private.message_words (
    message_id uuid primary key,
    number bigint generated always as identity,
    channel_id uuid not null,
    created_at timestamptz not null,
    words tsvector not null
);
comment on table private.message_words is 'The words of every message that is not deleted. Only search reads it.';
comment on column private.message_words.number is 'Rises with each new message.';
comment on column private.message_words.channel_id is 'Channel of the message, copied for the index.';
comment on column private.message_words.created_at is 'Time of the message, copied for the index.';
create index message_words_number_idx on private.message_words (number);
-- BRIN, because times rise nearly with the pages: the index is tiny and costs nothing on insert.
create index message_words_created_at_idx on private.message_words using brin (created_at) with (autosummarize = on);
-- The pending list collects some hundred messages before GIN sorts them in: cheaper than one by one (decision 0007).
-- Each search reads the list and one writer must empty it, so its limit is small (in kB).
create index message_words_search_idx on private.message_words using gin (channel_id extensions.uuid_ops, words)
with (fastupdate = on, gin_pending_list_limit = 512);
alter table private.message_words enable row level security;

create function private.fold_text(p_text text) returns text
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
    -- Removes accents, vowel points and characters that only say how to show another one. Keeps the vowel signs of Thai
    -- and Indic scripts, because a word without them is another word.
    v_text := lower(regexp_replace(
        normalize(replace(replace(p_text, e'\u2120', ' '), e'\u2122', ' '), nfkd),
        '[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u061c\u0640\u064b-\u065f'
        '\u0670\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff'
        '\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+',
        '', 'g'
    ));
    -- Most Latin text is ASCII now and needs no more work.
    if octet_length(v_text) = char_length(v_text) then
        return v_text;
    end if;
    -- Unicode does not decompose these letters.
    if v_text ~ '[\u00df\u00e6\u00f8\u0111\u0127\u0131\u0142\u0153\u0167\u03c2]' then
        v_text := replace(replace(replace(
            translate(v_text, e'\u00f8\u0142\u0111\u0127\u0167\u0131\u03c2', e'oldhti\u03c3'),
            e'\u00df', 'ss'), e'\u00e6', 'ae'), e'\u0153', 'oe');
    end if;
    -- Checking costs half of normalizing.
    return case when v_text is nfkc normalized then v_text else normalize(v_text, nfkc) end;
end
$$;
comment on function private.fold_text(text) is
'A text without capitals, accents and width variants, so that a search finds every spelling.';

-- Does not use the parser of Postgres, which keeps report.pdf, /path and -19 whole, drops emoji, and depends on the
-- locale.
create function private.split_words(p_text text) returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Cut, because folding can turn one character into eighteen, and a tsvector has at most one megabyte.
    v_folded text := left(private.fold_text(p_text), 100000);
    v_text text;
begin
    if octet_length(v_folded) = char_length(v_folded) then
        v_text := regexp_replace(v_folded, '[^a-z0-9 ]+', ' ', 'g');
    else
        -- Han, kana, Hangul, Thai, Lao, Tibetan, Burmese, Khmer and emoji: a word may begin or end at any of them.
        v_text := regexp_replace(
            v_folded,
            '[\u0e01-\u0e3e\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0f0a\u0f13-\u1049\u1050-\u109f\u1100-\u11ff'
            '\u1780-\u17d3\u17dc-\u17e9\u1950-\u1a1b\u1a20-\u1aaf\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff'
            '\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u309f\u30a1-\u30fa'
            '\u30fc-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaadf'
            '\uac00-\ud7ff\uf900-\ufaff\U00016fe0-\U00018d8f\U0001aff0-\U0001b2ff\U0001f000-\U0001faff'
            '\U00020000-\U0003ffff]',
            e'\u0001\\& \\&\u0001', 'g'
        );
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
comment on function private.split_words(text) is
'The folded words of a text in order; null if it has none. In scripts without spaces each pair of neighbours is a
word, and so are the first and last character: ABC becomes A, AB, BC, C.';

create function private.word_index_template() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg('''%s'':' || lpad(given.place::text, 3, '0'), ' ' order by given.place)
        from generate_series(1, 254) as given (place)
    );
end
$$;
comment on function private.word_index_template() is
'The template from which format() builds a tsvector of up to 254 words, nine characters for each word. It is immutable,
so Postgres computes it once per plan. It stays, because numbering words with a query made index_words a quarter slower
(decision 0007).';

create function private.index_words(p_content text, p_attachments jsonb) returns tsvector
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text[] := private.split_words(p_content);
    v_index text;
    v_is_long boolean;
begin
    if cardinality(v_words) < 255 then
        -- The template avoids a query, which would cost half as much as all other work on a short message.
        v_index := format(left(private.word_index_template(), 9 * cardinality(v_words)), variadic v_words);
    else
        v_index := (
            select string_agg('''' || given.word || ''':' || given.place, ' ')
            from unnest(v_words) with ordinality as given (word, place)
        );
        -- A tsvector keeps places up to 16,383, and 255 for each word. Phrases beyond them would not match, so
        -- parse_search_phrase asks a message with this tag for the words alone.
        v_is_long := cardinality(v_words) >= 16383
            or exists (select from unnest(v_words) as given (word) group by given.word having count(*) >= 255);
    end if;
    -- A colon makes a tag: words never have one.
    return (
        coalesce(v_index, '')
        || case when v_is_long then ' '':long''' else '' end
        || case when strpos(p_content, '://') > 0 and p_content ~* 'https?://' then ' '':link''' else '' end
        || case when jsonb_array_length(p_attachments) > 0 then ' '':file''' else '' end
    )::tsvector;
end
$$;
comment on function private.index_words(text, jsonb) is
'The index entry of a message: its words with places, and the tags :long, :link and :file.';

-- Definer, because no client writes the index.
create function private.index_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.deleted_at is not null then
        delete from private.message_words as entry where entry.message_id = new.id;
    elsif tg_op = 'INSERT' then
        insert into private.message_words (message_id, channel_id, created_at, words)
        values (new.id, new.channel_id, new.created_at, private.index_words(new.content, new.attachments));
    else
        update private.message_words as entry set words = private.index_words(new.content, new.attachments)
        where entry.message_id = new.id;
    end if;
    return null;
end
$$;
comment on function private.index_message_trigger() is
'Keeps the search index equal to the text of a message; removes a deleted message from it.';

-- Definer, because it also runs when Supabase Auth deletes a user. Uses a custom plan: a cached plan from a small table
-- would scan a large one (decision 0003).
create function private.delete_message_words_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.message_words as entry
    where entry.message_id = any(array(select removed.id from removed));
    return null;
end
$$;
comment on function private.delete_message_words_trigger() is 'Removes deleted rows of messages from the search index.';
