-- The language in which search finds other forms of a word: that of the channel, else of its workspace, else
-- settings.default_language. A change holds for new messages at once. private.index_languages indexes older ones again.

create table private.language_backlog (
    channel_id uuid primary key references public.channels (id) on delete cascade,
    before_seq bigint not null,
    messages bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    indexed_at timestamptz not null default clock_timestamp()
);
comment on table private.language_backlog is
'Channels with messages that search still knows in a former language of the channel.';
comment on column private.language_backlog.before_seq is 'Messages before this event of the channel wait.';
comment on column private.language_backlog.messages is 'About how many messages wait.';
comment on column private.language_backlog.created_at is 'When the language changed last.';
comment on column private.language_backlog.indexed_at is 'When the last batch was indexed; at first as created_at.';
alter table private.language_backlog enable row level security;

create view private.channel_languages
with (security_barrier = true) as
select
    channel.id as channel_id,
    coalesce(channel.language, workspace.language, settings.default_language) as tag
from public.channels as channel
inner join public.workspaces as workspace on channel.workspace_id = workspace.id
cross join private.settings;
comment on view private.channel_languages is 'The language of each channel, as a tag of BCP 47.';

create function private.search_language(p_tag text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The languages of Postgres 15.
    return '{
        "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch",
        "en": "english", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
        "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
        "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian",
        "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
        "yi": "yiddish"
    }'::jsonb ->> split_part(p_tag, '-', 1);
end
$$;
comment on function private.search_language(text) is
'The text search configuration of Postgres for a tag of BCP 47. Null if Postgres has none: search then finds words only
as they are written.';

create function private.set_search_languages(p_workspace_id uuid, p_channel_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_channel_ids uuid[] := array(
        select channel.id
        from public.channels as channel
        where (p_workspace_id is null or channel.workspace_id = p_workspace_id)
            and (p_channel_id is null or channel.id = p_channel_id)
    );
begin
    perform private.lock_channels(v_channel_ids);
    with changed as (
        update private.channel_counters as counter set language = private.search_language(spoken.tag)
        from private.channel_languages as spoken
        where spoken.channel_id = counter.channel_id
            and counter.channel_id = any(v_channel_ids)
            and counter.language is distinct from private.search_language(spoken.tag)
        returning counter.channel_id, counter.last_seq, counter.message_count
    )

    insert into private.language_backlog (channel_id, before_seq, messages)
    select changed.channel_id, changed.last_seq + 1, changed.message_count
    from changed
    where changed.message_count > 0
    on conflict (channel_id) do update set
        before_seq = excluded.before_seq, messages = excluded.messages,
        created_at = excluded.created_at, indexed_at = excluded.indexed_at;
end
$$;
comment on function private.set_search_languages(uuid, uuid) is
'Copies the language of channels into their counters: of one channel, of a workspace, or, with nulls, of all. Notes
which channels have messages in another language.';

-- Definer, because no client writes counters.
create function private.set_channel_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(null, new.id);
    return null;
end
$$;
comment on function private.set_channel_language_trigger() is
'Trigger: indexes messages of a channel in its language.';

-- Definer, because no client writes counters.
create function private.set_workspace_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(new.id, null);
    return null;
end
$$;
comment on function private.set_workspace_language_trigger() is
'Trigger: indexes messages of a workspace in its language.';

-- Definer, because no client writes counters.
create function private.set_default_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(null, null);
    return null;
end
$$;
comment on function private.set_default_language_trigger() is
'Trigger: indexes messages in the language of the project, if no other is set.';

-- Definer, because no client reads the counters. enable_seqscan, because a plan that was cached while there were few
-- channels reads the counters of all (decision 0003). jit, because up to Postgres 17 the cost of a plan that needs what
-- is off is ten billion, and Postgres compiles such a plan, which took a second.
create function private.list_stemmers(p_channel_id uuid) returns regdictionary[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
begin
    return (
        select coalesce(array_agg((spoken.language || '_stem')::regdictionary order by spoken.language), '{}')
        from (
            select named.language
            from (
                -- Always, because messages of a channel can wait to be indexed in its new language.
                select private.search_language(settings.default_language) as language, 9223372036854775807 as channels
                from private.settings
                union all
                -- A query for each case, because one for all of them reads the counters of all channels.
                select counter.language, 1
                from private.channel_counters as counter
                where counter.channel_id = p_channel_id and (
                    (select private.is_service())
                    or exists (select from private.my_channels as mine where mine.id = p_channel_id)
                )
                union all
                select counter.language, count(*)
                from private.my_channels as mine
                inner join private.channel_counters as counter on mine.id = counter.channel_id
                where p_channel_id is null and not (select private.is_service())
                group by counter.language
                union all
                select counter.language, count(*)
                from private.channel_counters as counter
                where p_channel_id is null and (select private.is_service())
                group by counter.language
            ) as named
            where named.language is not null
            group by named.language
            order by max(named.channels) desc, named.language
            limit 5
        ) as spoken
    );
end
$$;
comment on function private.list_stemmers(uuid) is
'The dictionaries that stem the words of a search in one channel or in all channels of the caller: at most five, those
of the languages that most channels have.';
