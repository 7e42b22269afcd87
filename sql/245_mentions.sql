-- Mentions: <@id> of a user or a twin, and <!channel> for all members. A trigger keeps them as rows, so that they are
-- counted and searched by index.

create table public.message_mentions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) on delete cascade,
    channel_id uuid not null,
    seq bigint not null,
    user_id uuid references auth.users (id) on delete cascade,
    ai_twin_id uuid references public.ai_twins (id) on delete cascade,
    constraint message_mentions_once unique nulls not distinct (message_id, user_id, ai_twin_id),
    constraint message_mentions_is_one check (user_id is null or ai_twin_id is null)
);
comment on table public.message_mentions is
'Whom a message mentions: a user, a twin, or, if both are null, all members of the channel.';
comment on column public.message_mentions.channel_id is 'Channel of the message, copied for row-level security.';
comment on column public.message_mentions.seq is 'Number of the message, copied for counting.';
create index message_mentions_user_id_idx on public.message_mentions (user_id, channel_id, seq)
where user_id is not null;
create index message_mentions_ai_twin_id_idx on public.message_mentions (ai_twin_id) where ai_twin_id is not null;
create index message_mentions_channel_idx on public.message_mentions (channel_id, seq)
where user_id is null and ai_twin_id is null;
alter table public.message_mentions enable row level security;

create policy message_mentions_select_member on public.message_mentions
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_mentions.channel_id offset 0));

create function private.parse_mentions(p_content text, out ids uuid[], out is_channel boolean)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    ids := array(
        select found.id[1]::uuid
        from regexp_matches(
            p_content, '<@([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>', 'gi'
        ) as found (id)
        -- Each is a look-up under the lock of the channel.
        limit 100
    );
    is_channel := strpos(p_content, '<!channel>') > 0;
end
$$;
comment on function private.parse_mentions(text) is
'The first 100 ids that a text mentions as <@id>, and whether it has <!channel>.';

create function private.store_mentions(
    p_message public.messages, out user_ids uuid[], out is_channel boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found record := private.parse_mentions(p_message.content);
begin
    with wanted as (
        select member.user_id, null::uuid as ai_twin_id
        from public.channel_members as member
        where member.channel_id = p_message.channel_id and member.user_id = any(v_found.ids)
        union all
        select null, assigned.ai_twin_id
        from public.channel_twins as assigned
        where assigned.channel_id = p_message.channel_id and assigned.ai_twin_id = any(v_found.ids)
        union all
        select null, null where v_found.is_channel
    ), removed as (
        -- An edit may drop mentions.
        delete from public.message_mentions as old
        where old.message_id = p_message.id and not exists (
            select from wanted
            where wanted.user_id is not distinct from old.user_id
                and wanted.ai_twin_id is not distinct from old.ai_twin_id
        )
    ), added as (
        insert into public.message_mentions (message_id, channel_id, seq, user_id, ai_twin_id)
        select p_message.id, p_message.channel_id, p_message.seq, wanted.user_id, wanted.ai_twin_id
        from wanted
        on conflict on constraint message_mentions_once do nothing
        returning message_mentions.user_id, message_mentions.ai_twin_id
    )

    select
        array_agg(added.user_id) filter (where added.user_id is not null),
        coalesce(bool_or(added.user_id is null and added.ai_twin_id is null), false)
    into user_ids, is_channel
    from added;
end
$$;
comment on function private.store_mentions(public.messages) is
'Makes the mentions of a message agree with its text. Ids of non-members are ignored. Returns the newly mentioned
users.';

-- Definer, because no client writes mentions or events of users.
create function private.record_mentions_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_added record;
begin
    if new.deleted_at is not null then
        delete from public.message_mentions as mention where mention.message_id = new.id;
        return null;
    end if;
    v_added := private.store_mentions(new);
    if v_added.is_channel then
        v_added.user_ids := v_added.user_ids || array(
            select listening.id
            from unnest(private.list_listening_members(new.channel_id)) as listening (id)
            inner join public.member_states as state
                on listening.id = state.user_id and state.channel_id = new.channel_id
            where not state.is_muted
        );
    end if;
    if array_remove(v_added.user_ids, new.user_id) <> '{}' then
        perform private.record_user_events(
            array_remove(v_added.user_ids, new.user_id), 'message.mentioned',
            jsonb_build_object('message_seq', new.seq, 'is_channel', v_added.is_channel),
            null, new.channel_id, new.id
        );
    end if;
    return null;
end
$$;
comment on function private.record_mentions_trigger() is
'Trigger: stores the mentions of a message and tells the mentioned users; for <!channel>, up to 1,000 members who did
not mute the channel. A deleted message mentions no user.';
