-- Search: an index of what messages say, what a query means, and the call of /api/v2/messages/search.

-- For an index by channel and word together: by word alone, a search would go through what the whole project writes.
create extension if not exists btree_gin with schema extensions;

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
revoke all on function private.fold_text(text) from public, anon, authenticated, service_role;
grant execute on function private.fold_text(text) to authenticated, service_role;

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
revoke all on function private.split_words(text) from public, anon, authenticated, service_role;
grant execute on function private.split_words(text) to authenticated, service_role;

create function private.index_template() returns text
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
comment on function private.index_template() is
'What format() makes an index of 254 words of, nine characters for each. Called when Postgres plans, not each time.';
revoke all on function private.index_template() from public, anon, authenticated, service_role;

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
        v_index := format(left(private.index_template(), 9 * cardinality(v_words)), variadic v_words);
    else
        v_index := (
            select string_agg('''' || given.word || ''':' || given.place, ' ')
            from unnest(v_words) with ordinality as given (word, place)
        );
        -- Places are counted to 16,383, and 255 of a word are kept: what is beyond is in no phrase. See read_phrase.
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
revoke all on function private.index_words(text, jsonb) from public, anon, authenticated, service_role;

create function private.read_phrase(p_text text) returns tsquery
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
comment on function private.read_phrase(text) is
'What finds these words one after the other, wherever running text has them; null when there are none.';
revoke all on function private.read_phrase(text) from public, anon, authenticated, service_role;
grant execute on function private.read_phrase(text) to authenticated, service_role;

-- A table of its own, because the columns of public.messages go to whoever reads a message, and because row-level
-- security keeps such an index from being used: Postgres does not trust its operator with rows that are not the
-- caller's. Nobody reads this table but private.match_messages, and only the triggers below write it: no entry comes
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
revoke all on private.message_words from public, anon, authenticated, service_role;

-- Definer, because no client writes the index.
create function private.index_message() returns trigger
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
comment on function private.index_message() is 'Trigger: search finds what messages say now, and no deleted ones.';
revoke all on function private.index_message() from public, anon, authenticated, service_role;

-- Definer, because it also runs when Supabase Auth deletes a user. Planned at each call: a plan that was kept from when
-- there were few messages reads all of them (docs/decisions/0003).
create function private.delete_words() returns trigger
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
comment on function private.delete_words() is 'Trigger: with messages goes what search knows of them.';
revoke all on function private.delete_words() from public, anon, authenticated, service_role;

-- For has:thread.
create index messages_replies_idx on public.messages (channel_id, parent_message_id)
where parent_message_id is not null;

create trigger messages_after_insert_index after insert on public.messages
for each row execute function private.index_message();
create trigger messages_after_delete_delete_words after delete on public.messages
referencing old table as removed
for each statement execute function private.delete_words();
create trigger messages_after_update_index after update of content, attachments, deleted_at on public.messages
for each row execute function private.index_message();

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
revoke all on function private.find_authors(text) from public, anon, authenticated, service_role;
grant execute on function private.find_authors(text) to authenticated, service_role;

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
revoke all on function private.find_channels(text) from public, anon, authenticated, service_role;
grant execute on function private.find_channels(text) to authenticated, service_role;

create function private.read_moment(p_value text) returns timestamptz
language sql
stable
set search_path = ''
as $$
    -- A date is its first moment, so that before: and after: share out all messages between them.
    select private.parse_timestamp(
        case when p_value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then p_value || 'T00:00Z' else p_value end
    )
$$;
comment on function private.read_moment(text) is
'What before: and after: mean: a date or a timestamp; null for neither.';
revoke all on function private.read_moment(text) from public, anon, authenticated, service_role;
grant execute on function private.read_moment(text) to authenticated, service_role;
grant execute on function private.parse_timestamp(text) to authenticated;

create function private.read_operator(
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
    v_at timestamptz := case when p_operator in ('before', 'after') then private.read_moment(p_value) end;
    v_mark text := case when p_operator = 'has' then replace(rtrim(lower(p_value), 's'), 'attachment', 'file') end;
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
    elsif v_mark in ('link', 'file') then
        v_marks := (''':' || v_mark || '''')::tsquery;
        v_marks := case when p_is_wanted then v_marks else !!v_marks end;
        p_search.marks := coalesce(p_search.marks && v_marks, v_marks);
    elsif v_mark = 'reaction' then
        p_search.has_reaction := p_is_wanted;
    elsif v_mark = 'pin' and p_is_wanted then
        p_search.message_ids := array(select pin.message_id from public.message_pins as pin);
    elsif v_mark = 'pin' then
        p_search.other_message_ids := array(select pin.message_id from public.message_pins as pin);
    elsif v_mark = 'thread' then
        p_search.has_thread := p_is_wanted;
    else
        return null;
    end if;
    return case when num_nulls(v_ids, v_at, v_mark) < 3 then p_search end;
end
$$;
comment on function private.read_operator(private.message_search, text, text, boolean) is
'A search with one more operator, wanted or excluded; null when its value means nothing to the caller.';
revoke all on function private.read_operator(private.message_search, text, text, boolean)
from public, anon, authenticated, service_role;
grant execute on function private.read_operator(private.message_search, text, text, boolean)
to authenticated, service_role;

create function private.read_search(p_query text) returns private.message_search
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
        v_next := private.read_operator(v_search, v_term.operator, v_term.text, v_term.is_wanted);
        if not (v_next is null) then
            v_search := v_next;
            continue;
        elsif v_term.is_or and v_group is not null and not v_is_or then
            v_is_or := true;
            continue;
        end if;
        v_words := private.read_phrase(concat_ws(':', v_term.operator, v_term.text));
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
        v_group := v_group && private.read_phrase('or');
    end if;
    v_search.words := coalesce(v_search.words || v_group, v_group, v_search.words);
    return v_search;
end
$$;
comment on function private.read_search(text) is
'What a query asks for. Words, "phrases", -exclusions and OR as web searches have them, and the operators from:, in:,
before:, after: and has:. There is no wrong query: what is no operator is words.';
revoke all on function private.read_search(text) from public, anon, authenticated, service_role;
grant execute on function private.read_search(text) to authenticated, service_role;

create function private.match_span(
    p_search private.message_search, p_from bigint, p_to bigint, p_most integer, p_by_words boolean,
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
        limit p_most
    ) as matched;
end
$$;
comment on function private.match_span(private.message_search, bigint, bigint, integer, boolean) is
'The newest messages that fit a search among those between two numbers, and how well they fit. By words: it is sure that
few have them, so that no plan goes through the messages one by one.';
revoke all on function private.match_span(private.message_search, bigint, bigint, integer, boolean)
from public, anon, authenticated, service_role;

create function private.name_messages(p_search private.message_search) returns private.message_search
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
comment on function private.name_messages(private.message_search) is
'A search that names the messages that can fit, when it asks for a reaction or a thread and not too many have one: more
than 20,000 are found soon enough on the way.';
revoke all on function private.name_messages(private.message_search) from public, anon, authenticated, service_role;

-- Definer, because no client reads the index. It asks itself which channels are the caller's, and answers with ids
-- alone: the messages are read by the caller.
create function private.match_messages(p_search private.message_search, out ids uuid[], out ranks real[])
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
    if (select auth.role()) is distinct from 'service_role' then
        p_search.channel_ids := array(
            select mine.id from private.my_channels as mine
            where p_search.channel_ids is null or mine.id = any(p_search.channel_ids)
        );
    end if;
    p_search := private.name_messages(p_search);
    -- From the newest back, in longer and longer steps: what is common is found often enough in the first. A plan
    -- cannot know that something is rare, but the first step tells: where going on would read more messages than have
    -- these words, the index of the words is asked for all that is left. What is named is looked up at once.
    while v_to > 0 and cardinality(ids) < 1000 loop
        v_by_words := v_has_words and v_to < v_newest
            and power(cardinality(ids), 2) * v_newest < 1000 * power(v_newest - v_to, 2);
        v_step := case when v_by_words or p_search.message_ids is not null then v_newest else v_step end;
        select * into v_span
        from private.match_span(p_search, v_to - v_step, v_to, 1000 - cardinality(ids), v_by_words);
        ids := ids || v_span.ids;
        ranks := ranks || v_span.ranks;
        v_to := v_to - v_step;
        v_step := v_step * 8;
    end loop;
end
$$;
comment on function private.match_messages(private.message_search) is
'The newest 1,000 messages in channels of the caller that fit a search, and how well they fit.';
revoke all on function private.match_messages(private.message_search) from public, anon, authenticated, service_role;
grant execute on function private.match_messages(private.message_search) to authenticated, service_role;

create function public.search_messages(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_query text := private.read_text(case when $1 ->> 'query' = '' then $1 - 'query' else $1 end, 'query', 1000);
    v_channel_id uuid := private.read_uuid($1, 'channel_id', false);
    v_limit integer := private.read_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.read_integer($1, 'offset', 0, 999999999, 0);
    v_search private.message_search := private.read_search(v_query);
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
        from private.match_messages(v_search) as matched
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
revoke all on function public.search_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.search_messages(jsonb) to authenticated, service_role;
