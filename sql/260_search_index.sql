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
with (fastupdate = on, gin_pending_list_limit = 2048);
-- Nearly empty. With it, a phrase knows at once whether any message has lost places.
create index message_words_long_idx on private.message_words (number) where words @@ ''':long'''::tsquery;
alter table private.message_words enable row level security;

-- Definer, because no client reads the index.
create function private.has_long_messages() returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from private.message_words as entry where entry.words @@ ''':long'''::tsquery);
end
$$;
comment on function private.has_long_messages() is
'Whether the index of any message lacks places of words, which phrases need.';

create function private.word_index_template() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg('''%s'':' || lpad(given.place::text, 3, '0') || 'A', ' ' order by given.place)
        from generate_series(1, 254) as given (place)
    );
end
$$;
comment on function private.word_index_template() is
'The template from which format() builds a tsvector of up to 254 words, ten characters for each word. It is immutable,
so Postgres computes it once per plan. A query that numbers the words would make index_words a quarter slower (decision
0007).';

create function private.index_stems(p_content text, p_words text[], p_text text, p_language text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_accented text[];
    v_stems text;
begin
    if p_language = 'english' then
        -- The stop word a keeps the place of a word of another script.
        v_stems := ' ' || to_tsvector(
            'pg_catalog.english'::regconfig,
            case when p_text ~ '[a-z]' then regexp_replace(p_text, '[^ ]*[^\u0001-\u007f][^ ]*', 'a', 'g') else '' end
        )::text;
        if p_text !~ '[\u05d0-\u064a]' then
            return v_stems;
        end if;
    else
        v_accented := private.split_words(p_content, true);
    end if;
    return concat(v_stems, (
        select string_agg(' ''' || found.stem || ''':' || found.place, '')
        from private.list_stems(
            p_words, case when cardinality(v_accented) = cardinality(p_words) then v_accented end,
            case when p_language <> 'english' then (p_language || '_stem')::regdictionary end, true
        ) as found
    ));
end
$$;
comment on function private.index_stems(text, text[], text, text) is
'The stems of the words of a text that is not ASCII, as a part of a tsvector.';

create function private.render_words(p_content text, p_attachments jsonb, p_language text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text[] := private.split_words(p_content);
    v_text text := array_to_string(v_words, ' ');
    v_count integer := coalesce(cardinality(v_words), 0);
    v_compounds record;
    v_index text;
    v_is_long boolean;
begin
    if v_count < 255 then
        -- The template avoids a query, which would cost half as much as all other work on a short message.
        v_index := format(left(private.word_index_template(), 10 * v_count), variadic v_words);
    else
        v_index := (
            select string_agg('''' || given.word || ''':' || given.place || 'A', ' ')
            from unnest(v_words) with ordinality as given (word, place)
        );
        -- A tsvector keeps places up to 16,383, and 255 for each word. Phrases beyond them would not match, so
        -- parse_search_phrase asks a message with this tag for the words alone.
        v_is_long := v_count >= 16383
            or exists (select from unnest(v_words) as given (word) group by given.word having count(*) >= 255);
    end if;
    -- Most messages have no sign and stop here.
    if p_content ~ private.compound_signs() then
        v_compounds := private.list_compounds(p_content);
        v_index := concat(v_index, (
            -- Leaves a place between them, so that no phrase finds them as neighbours.
            select string_agg(' ''' || given.word || ''':' || v_count + 2 * given.place || given.label, '')
            from (
                select signed.word, signed.place, 'A' as label
                from unnest(v_compounds.signed) with ordinality as signed (word, place)
                union all
                select joined.word, joined.place, 'C' as label
                from unnest(v_compounds.joined) with ordinality as joined (word, place)
            ) as given
        ));
    end if;
    if jsonb_array_length(p_attachments) > 0 then
        v_index := concat(v_index, ' '':file''', (
            select string_agg(' ''' || given.word || ''':' || v_count + 2 + given.place || 'B', '')
            from unnest(private.split_words((
                select left(string_agg(item.value ->> 'name', ' | '), 10000)
                from jsonb_array_elements(p_attachments) as item (value)
            ))) with ordinality as given (word, place)
        ));
    end if;
    -- A colon makes a tag: words never have one.
    return concat(
        v_index,
        case
            -- For ASCII, the parser of Postgres gives the same words with the same places, and is faster.
            when octet_length(v_text) = char_length(v_text)
                and (p_language = 'english' or octet_length(p_content) = char_length(p_content))
                then ' ' || to_tsvector(p_language::regconfig, v_text)::text
            else private.index_stems(p_content, v_words, v_text, p_language)
        end,
        case when v_is_long then ' '':long''' end,
        case when strpos(p_content, '://') > 0 and p_content ~* 'https?://' then ' '':link''' end
    );
end
$$;
comment on function private.render_words(text, jsonb, text) is
'The index entry of a message as text: its words with places (label A), the names of its files (B), joined words (C),
stems (no label), and the tags :long, :link and :file. A query for exact words asks for labels A and B.';

create function private.index_words(
    p_content text, p_attachments jsonb, p_language text default 'english'
) returns tsvector
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.render_words(p_content, p_attachments, p_language)::tsvector;
end
$$;
comment on function private.index_words(text, jsonb, text) is 'The index entry of a message.';

create function private.index_words_safely(p_content text, p_attachments jsonb, p_language text) returns tsvector
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.index_words(p_content, p_attachments, p_language);
exception
    when others then
        if not private.is_about_data(sqlstate) then
            raise;
        end if;
        raise warning 'A message cannot be indexed (SQLSTATE %). Search does not find its words.', sqlstate;
        return ''::tsvector;
end
$$;
comment on function private.index_words_safely(text, jsonb, text) is
'The index entry of a message for a worker that indexes many; without words if the message cannot be indexed, so that
one message never stops the others.';

create function private.prepare_words(p_message public.messages, p_language text, out language text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Constraints and triggers check the text and the attachments later.
    if p_message.attachments is null and char_length(p_message.content) <= private.message_max_characters() then
        -- An assignment, because PERFORM would start an executor (decision 0007). The language takes its place.
        language := concat(
            set_config('threadline.words', private.render_words(p_message.content, null, p_language), true),
            set_config('threadline.words_of', concat_ws(' ', p_message.id, p_message.content), true)
        );
    end if;
    language := p_language;
end
$$;
comment on function private.prepare_words(public.messages, text) is
'Computes the index entry of a new message without attachments before its channel is locked, because that takes a fifth
of the time of a message. private.index_message_trigger stores it. Returns the language.';

-- Definer, because no client writes the index.
create function private.index_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.deleted_at is not null then
        delete from private.message_words as entry where entry.message_id = new.id;
    elsif tg_op = 'INSERT' and new.attachments is null
        and current_setting('threadline.words_of', true) = concat_ws(' ', new.id, new.content)
    then
        insert into private.message_words (message_id, channel_id, created_at, words)
        values (new.id, new.channel_id, new.created_at, current_setting('threadline.words')::tsvector);
    elsif tg_op = 'INSERT' then
        -- A trigger has changed the text, or the statement has more messages.
        insert into private.message_words (message_id, channel_id, created_at, words)
        select
            new.id,
            new.channel_id,
            new.created_at,
            private.index_words(new.content, new.attachments, counter.language)
        from private.channel_counters as counter
        where counter.channel_id = new.channel_id;
    else
        update private.message_words as entry
        set words = private.index_words(new.content, new.attachments, counter.language)
        from private.channel_counters as counter
        where entry.message_id = new.id and counter.channel_id = new.channel_id;
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

-- Definer, because no client writes the index.
create function private.index_languages(p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
-- A message that changes now is locked until its transaction ends. Then this gives up, and the next round continues.
set lock_timeout = '100ms'
as $$
declare
    v_backlog private.language_backlog;
    v_ids uuid[];
    v_seqs bigint[];
begin
    select * into v_backlog
    from private.language_backlog as waiting
    order by waiting.created_at
    limit 1
    for update skip locked;
    if not found then
        return 0;
    end if;
    select array_agg(batch.id), array_agg(batch.seq order by batch.seq) into v_ids, v_seqs
    from (
        select message.id, message.seq
        from public.messages as message
        where message.channel_id = v_backlog.channel_id
            and message.seq < v_backlog.before_seq
            and message.deleted_at is null
        order by message.seq desc
        limit p_limit
    ) as batch;
    -- Locks before it reads the texts, so that a change at the same time is either read or written after this.
    perform from private.message_words as entry
    where entry.message_id = any(v_ids)
    order by entry.message_id
    for no key update;
    update private.message_words as entry set words = fresh.words
    from public.messages as message
    inner join private.channel_counters as counter on message.channel_id = counter.channel_id
    cross join lateral (
        select private.index_words_safely(message.content, message.attachments, counter.language) as words
    ) as fresh
    where message.id = any(v_ids) and message.deleted_at is null
        and entry.message_id = message.id and entry.words <> fresh.words;
    if cardinality(v_ids) = p_limit then
        update private.language_backlog as waiting
        set before_seq = v_seqs[1], messages = greatest(waiting.messages - p_limit, 0), indexed_at = clock_timestamp()
        where waiting.channel_id = v_backlog.channel_id;
    else
        delete from private.language_backlog as waiting where waiting.channel_id = v_backlog.channel_id;
    end if;
    return coalesce(cardinality(v_ids), 0);
exception
    when lock_not_available then
        return 0;
end
$$;
comment on function private.index_languages(integer) is
'Indexes the newest p_limit messages of one channel again that search knows in a former language of the channel. Returns
their number, and 0 while another transaction changes one of them.';
