-- The search index: which words each message has, in every script.

-- For an index by channel and word together: by word alone, a search would go through what the whole project writes.
create extension if not exists btree_gin with schema extensions;

-- A table of its own, because the columns of public.messages go to whoever reads a message, and because row-level
-- security keeps such an index from being used: Postgres does not trust its operator with rows that are not the
-- caller's. Nobody reads this table but private.search_messages, and only the triggers below write it: no entry comes
-- but with its message, and none stays behind. So there is no foreign key, which would be a query for each message
-- (docs/decisions/0006).
create table private.message_words (
    message_id uuid primary key,
    number bigint generated always as identity,
    channel_id uuid not null,
    created_at timestamptz not null,
    words tsvector not null
);
comment on table private.message_words is 'What search goes through: the words of every message that is not deleted.';
comment on column private.message_words.number is 'Rises as messages come.';
comment on column private.message_words.channel_id is 'The message''s channel, repeated for the index.';
comment on column private.message_words.created_at is 'When the message was written, repeated for the index.';
create index message_words_number_idx on private.message_words (number);
-- Times rise with the pages, nearly: so a few bytes for many pages are enough, and writing costs nothing.
create index message_words_created_at_idx on private.message_words using brin (created_at) with (autosummarize = on);
-- Words wait in a list, which searches read too, and go into the index some hundred messages at a time: far cheaper
-- than one by one. The list is short (in kB), so that neither a search nor the writer whose turn it is feels it.
create index message_words_search_idx on private.message_words using gin (channel_id extensions.uuid_ops, words)
with (fastupdate = on, gin_pending_list_limit = 512);
alter table private.message_words enable row level security;

create function private.fold_text(p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
    v_text text;
begin
    if octet_length(p_text) = char_length(p_text) then
        return lower(p_text);
    end if;
    -- Removed are accents, vowel points and what only says how to show another character; not the marks of Thai and
    -- of Indic scripts, without which words are other words.
    v_text := lower(regexp_replace(
        normalize(replace(replace(p_text, e'\u2120', ' '), e'\u2122', ' '), nfkd),
        '[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u061c\u0640\u064b-\u065f'
        '\u0670\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff'
        '\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+',
        '', 'g'
    ));
    -- Most of what is written in Latin letters.
    if octet_length(v_text) = char_length(v_text) then
        return v_text;
    end if;
    -- Letters that Unicode does not take apart.
    if v_text ~ '[\u00df\u00e6\u00f8\u0111\u0127\u0131\u0142\u0153\u0167\u03c2]' then
        v_text := replace(replace(replace(
            translate(v_text, e'\u00f8\u0142\u0111\u0127\u0167\u0131\u03c2', e'oldhti\u03c3'),
            e'\u00df', 'ss'), e'\u00e6', 'ae'), e'\u0153', 'oe');
    end if;
    -- To ask takes half as long as to do it.
    return case when v_text is nfkc normalized then v_text else normalize(v_text, nfkc) end;
end
$$;
comment on function private.fold_text(text) is
'A text without what people leave out when they search: capitals, accents, full and half width.';

-- By code points and not by the parser of Postgres, which keeps report.pdf, /path and -19 whole, drops emoji, and takes
-- other characters for letters where the locale is another.
create function private.split_words(p_text text) returns text[]
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
    -- Cut, because a character may stand for eighteen, and Postgres refuses an index entry of more than a megabyte.
    v_folded text := left(private.fold_text(p_text), 100000);
    v_text text;
begin
    if octet_length(v_folded) = char_length(v_folded) then
        v_text := regexp_replace(v_folded, '[^a-z0-9 ]+', ' ', 'g');
    else
        -- Han, kana, Hangul, Thai, Lao, Tibetan, Burmese, Khmer and emoji: a word may begin and end with any of them.
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
            '[\u0002-\u001f!-/:-@[-`{-\u00bf\u00d7\u00f7\u02b9-\u02bf\u037e\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6'
            '\u05f3\u05f4\u060c\u061b\u061d-\u061f\u066a-\u066d\u06d4\u0964\u0965\u0970\u0e3f\u0e4f\u0e5a\u0e5b'
            '\u0f0b-\u0f12\u104a-\u104f\u1361-\u1368\u1680\u17d4-\u17db\u1800-\u180a\u2000-\u22ff\u2400-\u25ff'
            '\u27c0-\u2aff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u302a-\u3030\u3036-\u303a\u303d-\u303f\u30a0\u30fb'
            '\ufd3e\ufd3f\ufe10-\ufe6f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff]+',
            ' ', 'g'
        );
    end if;
    return nullif(array_remove(string_to_array(
        -- Cut, because Postgres refuses words of more than 2,046 bytes.
        case when char_length(v_folded) < 256 then v_text else regexp_replace(v_text, '([^ ]{255})[^ ]+', '\1', 'g') end,
        ' '
    ), ''), '{}');
end
$$;
comment on function private.split_words(text) is
'The words of a text in their order, folded; null when it has none. Of scripts that are written without spaces each
pair of neighbours is a word, with the first and the last character alone at the ends: ABC becomes A, AB, BC, C.';

create function private.word_index_template() returns text
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
begin
    return (
        select string_agg('''%s'':' || lpad(given.place::text, 3, '0'), ' ' order by given.place)
        from generate_series(1, 254) as given (place)
    );
end
$$;
comment on function private.word_index_template() is
'What format() makes an index of 254 words of, nine characters for each. Called when Postgres plans, not each time.';

create function private.index_words(p_content text, p_attachments jsonb) returns tsvector
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
    v_words text[] := private.split_words(p_content);
    v_index text;
    v_is_long boolean;
begin
    if cardinality(v_words) < 255 then
        -- For a short message, a query that numbers the words takes half as long again as all else that is done here.
        v_index := format(left(private.word_index_template(), 9 * cardinality(v_words)), variadic v_words);
    else
        v_index := (
            select string_agg('''' || given.word || ''':' || given.place, ' ')
            from unnest(v_words) with ordinality as given (word, place)
        );
        -- Places are counted to 16,383, and 255 of a word are kept: what is beyond is in no phrase. See parse_search_phrase.
        v_is_long := cardinality(v_words) >= 16383
            or exists (select from unnest(v_words) as given (word) group by given.word having count(*) >= 255);
    end if;
    -- No word has a colon.
    return (
        coalesce(v_index, '')
        || case when v_is_long then ' '':long''' else '' end
        || case when strpos(p_content, '://') > 0 and p_content ~* 'https?://' then ' '':link''' else '' end
        || case when jsonb_array_length(p_attachments) > 0 then ' '':file''' else '' end
    )::tsvector;
end
$$;
comment on function private.index_words(text, jsonb) is
'What is indexed of a message: its words with their places, and the marks :long, :link and :file.';

-- Definer, because no client writes the index.
create function private.index_message_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
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

-- Definer, because it also runs when Supabase Auth deletes a user. Planned at each call: a plan that was kept from when
-- there were few messages reads all of them (docs/decisions/0003).
create function private.delete_message_words_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.message_words as entry
    where entry.message_id = any(array(select removed.id from removed));
    return null;
end
$$;
comment on function private.delete_message_words_trigger() is 'Trigger: with messages goes what search knows of them.';
