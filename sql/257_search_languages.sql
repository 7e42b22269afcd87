-- The language of a channel: search finds the forms of a word in it. A channel has its own, or that of its workspace,
-- or settings.default_language.

create function private.stemmer(p_language text) returns regdictionary
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Those of Postgres 15.
    return ('pg_catalog.' || (jsonb_build_object(
        'ar', 'arabic', 'hy', 'armenian', 'eu', 'basque', 'ca', 'catalan', 'da', 'danish', 'nl', 'dutch',
        'en', 'english', 'fi', 'finnish', 'fr', 'french',
        'de', 'german', 'el', 'greek', 'hi', 'hindi', 'hu', 'hungarian',
        'id', 'indonesian', 'ga', 'irish', 'it', 'italian', 'lt', 'lithuanian', 'ne', 'nepali', 'no', 'norwegian',
        'nb', 'norwegian', 'nn', 'norwegian', 'pt', 'portuguese', 'ro', 'romanian', 'ru', 'russian', 'sr', 'serbian',
        'es', 'spanish', 'sv', 'swedish', 'ta', 'tamil', 'tr', 'turkish', 'yi', 'yiddish'
    ) ->> split_part(p_language, '-', 1)) || '_stem')::regdictionary;
end
$$;
comment on function private.stemmer(text) is
'The dictionary of Postgres that stems words of a language (a tag of BCP 47); null if it has none.';

create function private.find_stemmer(p_channel_id uuid) returns regdictionary
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.stemmer((
        select coalesce(channel.language, workspace.language, settings.default_language)
        from public.channels as channel
        inner join public.workspaces as workspace on channel.workspace_id = workspace.id
        cross join private.settings
        where channel.id = p_channel_id
    ));
end
$$;
comment on function private.find_stemmer(uuid) is 'The dictionary that stems the messages of a channel; null for none.';

-- Definer, because a guest does not see the workspace of a channel.
create function private.list_stemmers(p_channel_id uuid) returns regdictionary[]
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
    select coalesce(array_agg(distinct spoken.stemmer) filter (where spoken.stemmer is not null), '{}')
    from (
        select private.stemmer(named.language) as stemmer
        from (
            -- Always, because older messages of a channel keep the stems of its former language.
            select settings.default_language as language, 9223372036854775807 as channels
            from private.settings
            union all
            select coalesce(channel.language, workspace.language) as language, count(*) as channels
            from public.channels as channel
            inner join public.workspaces as workspace on channel.workspace_id = workspace.id
            where (channel.language is not null or workspace.language is not null)
                and (p_channel_id is null or channel.id = p_channel_id)
                and (
                    (select private.is_service())
                    or channel.id = any(array(select mine.id from private.my_channels as mine))
                )
            group by 1
        ) as named
        order by named.channels desc, named.language
        limit 4
    ) as spoken
$$;
comment on function private.list_stemmers(uuid) is
'The dictionaries that stem the words of a search in one channel or all channels of the caller: at most four, for the
languages of most channels.';
