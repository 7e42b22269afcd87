-- Written from sql/ by `make migration`; change it there.

set lock_timeout = '5s';

-- The schema that no client reaches, the few settings, and what every table shares.

-- `public` holds what clients may reach: tables under row-level security and the functions that are the API.
-- `private` holds the rest. It must never be listed among the exposed schemas of the Data API.
create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. Not reachable through the Data API.';
revoke all on schema private from public, anon, authenticated, service_role;
-- Functions of `public` run as their caller and call helpers here, each granted by itself.
grant usage on schema private to authenticated, service_role;

create table private.settings (
    is_only_row boolean primary key default true,
    ingest_max_messages integer not null default 5000,
    constraint settings_has_one_row check (is_only_row),
    constraint settings_ingest_max_messages_positive check (ingest_max_messages > 0)
);
comment on table private.settings is 'Limits that an operator may change with an UPDATE; one row, always.';
comment on column private.settings.ingest_max_messages is
'Messages, and conversations, that one ingest request may carry; above it the answer is 413.';
alter table private.settings enable row level security;
revoke all on private.settings from public, anon, authenticated, service_role;
grant select on private.settings to service_role;
insert into private.settings default values;

create function private.set_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function private.set_updated_at() is 'Trigger: stamps updated_at on every change of a row.';
revoke all on function private.set_updated_at() from public, anon, authenticated, service_role;

-- The people a user knows, and how a phone number finds one of them.

create function private.phone_digits(p_phone text) returns text
language sql
immutable
parallel safe
set search_path = ''
as $$
    -- Besides the usual punctuation, the spaces, dashes and direction marks that phones put into copied numbers.
    select case
        when p_phone ~ '^[-+0-9 ().,/\u00a0\u200b\u200e\u200f\u2010-\u2015\u202a-\u202f\u2066-\u2069\ufeff]+$'
            then nullif(regexp_replace(p_phone, '[^0-9]', '', 'g'), '')
    end
$$;
comment on function private.phone_digits(text) is
'The digits of a phone number as written; null for anything else, so that a username never looks like a number.';
revoke all on function private.phone_digits(text) from public, anon, authenticated, service_role;
-- Generated columns compute it with the rights of whoever writes the row.
grant execute on function private.phone_digits(text) to authenticated, service_role;

create table public.people (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    full_name text not null,
    phone text,
    phone_digits text generated always as (private.phone_digits(phone)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint people_full_name_length check (char_length(full_name) between 1 and 500),
    constraint people_phone_length check (char_length(phone) <= 100)
);
comment on table public.people is 'A user''s contacts. Ingested conversations are matched to them by phone number.';
comment on column public.people.user_id is 'The user whose contact this is.';
comment on column public.people.phone is 'As the user wrote it.';
comment on column public.people.phone_digits is 'Only the digits of phone; null when it is not a phone number.';

-- Serves both rules of private.match_person, and the foreign key to users.
create index people_user_id_phone_tail_idx on public.people (user_id, right(phone_digits, 10));

alter table public.people enable row level security;
revoke all on public.people from public, anon, authenticated, service_role;
grant select, delete on public.people to authenticated;
grant insert (id, full_name, phone), update (full_name, phone) on public.people to authenticated;
grant select, insert, update, delete on public.people to service_role;

create trigger people_before_update_stamp before update on public.people
for each row execute function private.set_updated_at();

create function private.match_person(p_user_id uuid, p_digits text) returns uuid
language sql
stable
set search_path = ''
as $$
    -- The last ten digits bridge country codes ('Contact Matching' of the ingest document). Two people who
    -- fit equally well match nobody: to show the wrong person's data is worse than to show none.
    select case count(*) filter (where person.phone_digits = p_digits)
        when 1 then (array_agg(person.id) filter (where person.phone_digits = p_digits))[1]
        when 0 then case when count(*) = 1 and length(p_digits) >= 10 then (array_agg(person.id))[1] end
    end
    from public.people as person
    where person.user_id = p_user_id and right(person.phone_digits, 10) = right(p_digits, 10)
$$;
comment on function private.match_person(uuid, text) is
'The one contact of a user whose number has these digits, or else the same last ten; null when none or several do.';
revoke all on function private.match_person(uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.match_person(uuid, text) to service_role;

create function private.matching_lock(p_user_id uuid) returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return hashtextextended('threadline.matching.' || p_user_id, 0);
end
$$;
comment on function private.matching_lock(uuid) is
'The advisory lock of a user''s matching. A new thread and a new contact that belong together may be written at the
same moment, neither seeing the other: so whoever matches threads holds it shared, whoever changes contacts holds it
alone, and both take it before they lock any row.';
revoke all on function private.matching_lock(uuid) from public, anon, authenticated, service_role;
grant execute on function private.matching_lock(uuid) to service_role;

-- Connections of outside services, and the keys that open them.

create table public.messaging_connections (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    platform text not null,
    connection_id text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint messaging_connections_connection_id_unique unique (connection_id),
    constraint messaging_connections_connection_id_form check (connection_id ~ '^[A-Za-z0-9_.-]{1,100}$'),
    constraint messaging_connections_platform_known check (
        platform in ('whatsapp', 'signal', 'telegram', 'wechat')
    )
);
comment on table public.messaging_connections is
'A user''s link to one account on an outside platform; its key lets a service ingest conversations for the user.';
comment on column public.messaging_connections.connection_id is 'The public name that ingest requests carry.';
comment on column public.messaging_connections.is_active is 'While false, ingest requests are answered 403.';

create index messaging_connections_user_id_idx on public.messaging_connections (user_id);

alter table public.messaging_connections enable row level security;
revoke all on public.messaging_connections from public, anon, authenticated, service_role;
grant select, delete on public.messaging_connections to authenticated;
grant insert (platform, connection_id), update (is_active) on public.messaging_connections to authenticated;
grant select, insert, update, delete on public.messaging_connections to service_role;

create trigger messaging_connections_before_update_stamp before update on public.messaging_connections
for each row execute function private.set_updated_at();

create table private.messaging_keys (
    id uuid primary key default gen_random_uuid(),
    connection_id uuid not null references public.messaging_connections (id) on delete cascade,
    secret_hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint messaging_keys_secret_hash_unique unique (connection_id, secret_hash),
    constraint messaging_keys_secret_hash_is_sha256 check (octet_length(secret_hash) = 32)
);
comment on table private.messaging_keys is
'Keys of connections, only as hashes. Several may live at once, so that a key can be exchanged without a gap.';
comment on column private.messaging_keys.secret_hash is
'SHA-256 of the secret. A slow hash would add nothing: generated secrets have 256 random bits.';
comment on column private.messaging_keys.expires_at is 'The key is refused from this moment on; null means never.';
comment on column private.messaging_keys.last_used_at is 'To the minute, so that not every request writes.';
create index messaging_keys_secret_hash_idx on private.messaging_keys (secret_hash);
alter table private.messaging_keys enable row level security;
revoke all on private.messaging_keys from public, anon, authenticated, service_role;

create function private.hash_secret(p_secret text) returns bytea
language sql
immutable
parallel safe
set search_path = ''
as $$
    select sha256(convert_to(p_secret, 'UTF8'))
$$;
comment on function private.hash_secret(text) is 'How a secret is kept.';
revoke all on function private.hash_secret(text) from public, anon, authenticated, service_role;

create function private.generate_secret() returns text
language sql
volatile
set search_path = ''
as $$
    -- Each uuid brings 122 bits of the server's strong random source; the hash condenses three of them to 256.
    -- pgcrypto's gen_random_bytes would do, but not every Postgres is built with it.
    select 'threadline_' || translate(rtrim(encode(sha256(
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    ), 'base64'), '='), '+/', '-_')
$$;
comment on function private.generate_secret() is
'A new secret: 256 random bits behind a prefix that secret scanners can recognise.';
revoke all on function private.generate_secret() from public, anon, authenticated, service_role;

-- Definer, because no client role may touch the keys: it asks itself whose connection it is.
create function private.issue_messaging_key(p_connection_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_secret text := private.generate_secret();
begin
    perform from public.messaging_connections as connection
    where connection.id = p_connection_id and connection.user_id = (select auth.uid())
    for no key update;
    if not found then
        raise sqlstate 'PT404' using
            message = 'There is no such connection.', detail = 'connection_not_found';
    end if;
    update private.messaging_keys as key
    set expires_at = least(key.expires_at, now() + p_overlap)
    where key.connection_id = p_connection_id;
    insert into private.messaging_keys (connection_id, secret_hash)
    values (p_connection_id, private.hash_secret(v_secret));
    return v_secret;
end
$$;
comment on function private.issue_messaging_key(uuid, interval) is
'A new secret for a connection of the caller; the earlier ones live on for the overlap. PT404 for anyone else.';
revoke all on function private.issue_messaging_key(uuid, interval) from public, anon, authenticated, service_role;
grant execute on function private.issue_messaging_key(uuid, interval) to authenticated;

create function public.create_messaging_connection(platform text, connection_id text default null) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_connection public.messaging_connections;
begin
    insert into public.messaging_connections (platform, connection_id)
    values (
        create_messaging_connection.platform,
        coalesce(
            create_messaging_connection.connection_id,
            create_messaging_connection.platform || '_' || replace(gen_random_uuid()::text, '-', '')
        )
    )
    returning * into v_connection;
    return json_build_object(
        'id', v_connection.id,
        'platform', v_connection.platform,
        'connection_id', v_connection.connection_id,
        'is_active', v_connection.is_active,
        'api_secret', private.issue_messaging_key(v_connection.id, interval '0')
    );
end
$$;
comment on function public.create_messaging_connection(text, text) is
'Makes a connection of the signed-in user. The answer holds its api_secret, which is shown this once.
A connection_id that is taken is a unique violation (23505), an unknown platform a check violation (23514).';
revoke all on function public.create_messaging_connection(text, text)
from public, anon, authenticated, service_role;
grant execute on function public.create_messaging_connection(text, text) to authenticated;

create function public.rotate_messaging_key(connection_id text, overlap interval default '24 hours') returns json
language plpgsql
set search_path = ''
as $$
declare
    v_id uuid;
begin
    if rotate_messaging_key.overlap is null
        or rotate_messaging_key.overlap not between interval '0' and interval '30 days'
    then
        raise sqlstate 'PT400' using
            message = 'The overlap must lie between zero and 30 days.', detail = 'overlap_out_of_range';
    end if;
    select connection.id into v_id
    from public.messaging_connections as connection
    where connection.connection_id = rotate_messaging_key.connection_id;
    return json_build_object(
        'connection_id', rotate_messaging_key.connection_id,
        'api_secret', private.issue_messaging_key(v_id, rotate_messaging_key.overlap),
        'previous_keys_expire_at', now() + rotate_messaging_key.overlap
    );
end
$$;
comment on function public.rotate_messaging_key(text, interval) is
'A new api_secret for a connection of the signed-in user, shown this once. Earlier secrets work until the overlap
(24 hours, at most 30 days) is over; with an overlap of zero they end now. PT404 when the caller owns no such connection.';
revoke all on function public.rotate_messaging_key(text, interval) from public, anon, authenticated, service_role;
grant execute on function public.rotate_messaging_key(text, interval) to authenticated;

-- Definer, because no client role may read the keys: it tells of the caller's own connection, and never a hash.
create function private.describe_messaging_keys(p_connection_id uuid) returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    select coalesce(jsonb_agg(
        jsonb_build_object(
            'id', key.id, 'created_at', key.created_at,
            'expires_at', key.expires_at, 'last_used_at', key.last_used_at
        )
        order by key.created_at, key.id
    ), '[]')
    from private.messaging_keys as key
    inner join public.messaging_connections as connection on key.connection_id = connection.id
    where connection.id = p_connection_id and connection.user_id = (select auth.uid())
$$;
comment on function private.describe_messaging_keys(uuid) is
'Age, end and last use of each key of the caller''s connection.';
revoke all on function private.describe_messaging_keys(uuid) from public, anon, authenticated, service_role;
grant execute on function private.describe_messaging_keys(uuid) to authenticated;

create function public.keys(public.messaging_connections) returns jsonb
language sql
stable
set search_path = ''
as $$
    select private.describe_messaging_keys($1.id)
$$;
comment on function public.keys(public.messaging_connections) is
'Computed field: the keys of a connection as an array of id, created_at, expires_at, last_used_at; never a secret.';
revoke all on function public.keys(public.messaging_connections) from public, anon, authenticated, service_role;
grant execute on function public.keys(public.messaging_connections) to authenticated;

-- Definer, because the hashes are for no other eyes.
create function private.authenticate_connection(
    p_platform text, p_connection_id text, p_secret text,
    out user_id uuid, out is_active boolean, out is_key_valid boolean
)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_key_id uuid;
    v_last_used_at timestamptz;
begin
    select connection.user_id, connection.is_active, key.id is not null, key.id, key.last_used_at
    into user_id, is_active, is_key_valid, v_key_id, v_last_used_at
    from public.messaging_connections as connection
    left join private.messaging_keys as key
        on connection.id = key.connection_id
        and key.secret_hash = private.hash_secret(p_secret)
        and (key.expires_at is null or key.expires_at > now())
    where connection.connection_id = p_connection_id and connection.platform = p_platform;
    if is_key_valid and (v_last_used_at is null or v_last_used_at < now() - interval '1 minute') then
        -- Parallel requests need not queue here: one of them writing is enough.
        update private.messaging_keys as key set last_used_at = now()
        where key.id = (
            select free.id from private.messaging_keys as free
            where free.id = v_key_id
            for no key update skip locked
        );
    end if;
end
$$;
comment on function private.authenticate_connection(text, text, text) is
'Whose connection this is, whether it is active, and whether the secret opens it; user_id is null when there is none.';
revoke all on function private.authenticate_connection(text, text, text)
from public, anon, authenticated, service_role;
grant execute on function private.authenticate_connection(text, text, text) to service_role;

-- Definer, because the hashes are for no other eyes.
create function private.is_live_key(p_secret text) returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select exists (
        select from private.messaging_keys as key
        where key.secret_hash = private.hash_secret(p_secret)
            and (key.expires_at is null or key.expires_at > now())
    )
$$;
comment on function private.is_live_key(text) is 'Whether a secret opens any connection at all.';
revoke all on function private.is_live_key(text) from public, anon, authenticated, service_role;
grant execute on function private.is_live_key(text) to service_role;

-- Conversations from outside platforms: one record per thread, its messages, and the person it is with.

create table public.conversations (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users (id) on delete cascade,
    platform text not null,
    external_conversation_id text collate "C" not null,
    participant_identifier text not null,
    participant_name text,
    participant_digits text generated always as (private.phone_digits(participant_identifier)) stored,
    participant_identified_at timestamptz not null default '-infinity',
    participant_named_at timestamptz not null default '-infinity',
    person_id uuid references public.people (id) on delete set null,
    message_count integer not null default 0,
    last_message_at timestamptz,
    last_message_preview text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint conversations_external_id_unique unique (user_id, platform, external_conversation_id),
    constraint conversations_platform_known check (platform in ('whatsapp', 'signal', 'telegram', 'wechat')),
    constraint conversations_external_id_length check (char_length(external_conversation_id) between 1 and 500),
    constraint conversations_participant_identifier_length check (
        char_length(participant_identifier) between 1 and 500
    ),
    constraint conversations_participant_name_length check (char_length(participant_name) between 1 and 500),
    constraint conversations_message_count_not_negative check (message_count >= 0)
);
comment on table public.conversations is
'A thread on an outside platform, one record each. Its messages: select=*,messages, or conversation_messages.';
comment on column public.conversations.user_id is
'Whose thread it is: the owner of the connection that brought it.';
comment on column public.conversations.external_conversation_id is 'The identifier of the thread on its platform.';
comment on column public.conversations.participant_identifier is
'Phone number or username, as the newest batch had it.';
comment on column public.conversations.participant_name is
'As the newest batch that had a name; never emptied again.';
comment on column public.conversations.participant_digits is
'The digits of participant_identifier when it is a phone number.';
comment on column public.conversations.participant_identified_at is
'Newest message of the batch that set participant_identifier: an older batch that arrives later does not undo it.';
comment on column public.conversations.participant_named_at is
'Newest message of the batch that set participant_name, for the same reason.';
comment on column public.conversations.person_id is
'The matched contact, kept up to date by triggers; null when none fits.';
comment on column public.conversations.last_message_at is 'The greatest sent_at of its messages, however late it came.';
comment on column public.conversations.last_message_preview is
'At most 100 characters of that message, or what it is when it has no text.';

create index conversations_user_id_last_message_at_idx on public.conversations (user_id, last_message_at desc);
create index conversations_user_id_participant_tail_idx
on public.conversations (user_id, right(participant_digits, 10));
create index conversations_person_id_idx on public.conversations (person_id);

alter table public.conversations enable row level security;
revoke all on public.conversations from public, anon, authenticated, service_role;
grant select on public.conversations to authenticated;
grant select, insert, delete on public.conversations to service_role;
grant update (participant_identifier, participant_name, participant_identified_at, participant_named_at)
on public.conversations to service_role;

create table public.conversation_messages (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    external_id text collate "C" not null,
    user_id uuid not null,
    sent_at timestamptz not null,
    received_at timestamptz not null default now(),
    message jsonb not null,
    primary key (conversation_id, external_id),
    constraint conversation_messages_external_id_length check (char_length(external_id) between 1 and 500)
);
comment on table public.conversation_messages is
'The messages of conversations, a row each. (conversation_id, external_id) is what makes a retry harmless.';
comment on column public.conversation_messages.external_id is 'The message''s identifier on its platform.';
comment on column public.conversation_messages.user_id is
'The conversation''s user_id, repeated so that row-level security needs no second table.';
comment on column public.conversation_messages.sent_at is
'When it was sent, as its platform says; the order of a thread.';
comment on column public.conversation_messages.received_at is 'When it was stored here.';
comment on column public.conversation_messages.message is 'The message as it was ingested, fields of its own included.';

-- Messages of one moment are ordered by their id, so that the order never depends on which arrived first.
create index conversation_messages_order_idx
on public.conversation_messages (conversation_id, sent_at, external_id);

alter table public.conversation_messages enable row level security;
revoke all on public.conversation_messages from public, anon, authenticated, service_role;
grant select on public.conversation_messages to authenticated;
-- No update: a message stays what its platform said it was.
grant select, insert, delete on public.conversation_messages to service_role;

create function public.messages(public.conversations) returns jsonb
language sql
stable
set search_path = ''
as $$
    select coalesce(jsonb_agg(line.message), '[]')
    from (
        select stored.message
        from public.conversation_messages as stored
        where stored.conversation_id = $1.id
        order by stored.sent_at, stored.external_id
    ) as line
$$;
comment on function public.messages(public.conversations) is
'Computed field: the messages of a conversation as one JSONB array in the order of sent_at, each as it was ingested.';
revoke all on function public.messages(public.conversations) from public, anon, authenticated, service_role;
grant execute on function public.messages(public.conversations) to authenticated, service_role;

create function private.message_preview(p_message jsonb) returns text
language sql
immutable
strict
parallel safe
set search_path = ''
as $$
    select coalesce(
        nullif(btrim(left(regexp_replace(left(p_message ->> 'content', 1000), '\s+', ' ', 'g'), 100)), ''),
        case p_message ->> 'type'
            when 'image' then 'Photo'
            when 'audio' then 'Voice message'
            when 'video' then 'Video'
            when 'file' then 'File'
            when 'location' then 'Location'
            else 'Message'
        end
    )
$$;
comment on function private.message_preview(jsonb) is
'At most 100 characters on one line that show what an ingested message says, or what it is.';
revoke all on function private.message_preview(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.message_preview(jsonb) to service_role;

-- Definer, because it also runs when Supabase Auth deletes a user, whose role may not read these tables.
create function private.summarize_conversations() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Lock first, in one order for everybody; the next statement then sees all that earlier holders wrote.
    perform from public.conversations as conversation
    where conversation.id = any(array(select distinct changed.conversation_id from changed))
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set
        message_count = conversation.message_count + counted.change,
        last_message_at = newest.sent_at,
        last_message_preview = private.message_preview(newest.message)
    from (
        select changed.conversation_id, count(*) * case tg_op when 'INSERT' then 1 else -1 end as change
        from changed
        group by changed.conversation_id
    ) as counted
    left join lateral (
        select stored.sent_at, stored.message
        from public.conversation_messages as stored
        where stored.conversation_id = counted.conversation_id
        order by stored.sent_at desc, stored.external_id desc
        limit 1
    ) as newest on true
    where conversation.id = counted.conversation_id
        and conversation.id = any(array(select distinct changed.conversation_id from changed));
    return null;
end
$$;
comment on function private.summarize_conversations() is
'Trigger: keeps message_count, last_message_at and last_message_preview right for whoever adds or removes messages.';
revoke all on function private.summarize_conversations() from public, anon, authenticated, service_role;

create trigger conversation_messages_after_insert_summarize after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.summarize_conversations();

create trigger conversation_messages_after_delete_summarize after delete on public.conversation_messages
referencing old table as changed
for each statement execute function private.summarize_conversations();

create function private.check_message_owner() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if exists (
        select from changed
        inner join public.conversations as conversation on changed.conversation_id = conversation.id
        where conversation.user_id <> changed.user_id
    ) then
        raise integrity_constraint_violation using
            message = 'A message belongs to the user of its conversation.',
            constraint = 'conversation_messages_user_id_is_the_conversations';
    end if;
    return null;
end
$$;
comment on function private.check_message_owner() is
'Trigger: the repeated user_id is that of the conversation, since row-level security rests on it.';
revoke all on function private.check_message_owner() from public, anon, authenticated, service_role;

create trigger conversation_messages_after_insert_check_owner after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.check_message_owner();

create function private.match_participant() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock_shared(private.matching_lock(new.user_id));
    new.person_id := private.match_person(new.user_id, private.phone_digits(new.participant_identifier));
    if new.person_id is not null then
        -- A contact that is being deleted at this moment counts as gone.
        perform from public.people as person where person.id = new.person_id for key share;
        if not found then
            new.person_id := null;
        end if;
    end if;
    return new;
end
$$;
comment on function private.match_participant() is 'Trigger: finds the contact that a conversation is with.';
revoke all on function private.match_participant() from public, anon, authenticated, service_role;

create trigger conversations_before_insert_match before insert on public.conversations
for each row execute function private.match_participant();

create trigger conversations_before_update_match before update of participant_identifier on public.conversations
for each row when (old.participant_identifier is distinct from new.participant_identifier)
execute function private.match_participant();

create trigger conversations_before_update_stamp before update on public.conversations
for each row execute function private.set_updated_at();

-- Definer, because the lock is no business of those who change people.
create function private.hold_matching() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Before any row is locked, and so before it is known whose rows these are: a signed-in user has only their own.
    if (select auth.uid()) is not null then
        perform pg_advisory_xact_lock(private.matching_lock((select auth.uid())));
    end if;
    return null;
end
$$;
comment on function private.hold_matching() is
'Trigger: a user''s contacts change while none of their threads is being matched, so that neither waits for the other.';
revoke all on function private.hold_matching() from public, anon, authenticated, service_role;

create trigger people_before_update_hold_matching before update on public.people
for each statement execute function private.hold_matching();

create trigger people_before_delete_hold_matching before delete on public.people
for each statement execute function private.hold_matching();

-- Definer, because people are changed by their owners, who may not write conversations.
create function private.match_conversations_again() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'DELETE' then
        perform pg_advisory_xact_lock(private.matching_lock(owner.user_id))
        from (select distinct changed.user_id from changed order by changed.user_id) as owner;
    end if;

    perform from public.conversations as conversation
    where (conversation.user_id, right(conversation.participant_digits, 10)) in (
        select changed.user_id, right(changed.phone_digits, 10) from changed
    )
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set person_id = private.match_person(conversation.user_id, conversation.participant_digits)
    where (conversation.user_id, right(conversation.participant_digits, 10)) in (
        select changed.user_id, right(changed.phone_digits, 10) from changed
    )
    and conversation.person_id
    is distinct from private.match_person(conversation.user_id, conversation.participant_digits);
    return null;
end
$$;
comment on function private.match_conversations_again() is
'Trigger: after a contact came, went or changed number, the threads with that number are matched anew.';
revoke all on function private.match_conversations_again() from public, anon, authenticated, service_role;

create trigger people_after_insert_match after insert on public.people
referencing new table as changed
for each statement execute function private.match_conversations_again();

create trigger people_after_delete_match after delete on public.people
referencing old table as changed
for each statement execute function private.match_conversations_again();

-- A changed number frees the threads of the old one and finds those of the new one.
create trigger people_after_update_match_old after update on public.people
referencing old table as changed
for each statement execute function private.match_conversations_again();

create trigger people_after_update_match_new after update on public.people
referencing new table as changed
for each statement execute function private.match_conversations_again();

-- POST /functions/v1/messaging-ingest: what an outside service sends becomes conversations and messages.

create function private.parse_json(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_text text := ltrim(convert_from(p_body, 'UTF8'), U&'\FEFF');
    c_huge constant text := '[:,[\s]-?[0-9.]+[eE][-+]?0*[1-9][0-9]{3}';
begin
    -- Seven bytes such as 1e99999 would be written out as a hundred thousand digits whenever they are read.
    if v_text ~ c_huge and regexp_replace(v_text, '"(?:[^"\\]|\\.)*"', '', 'g') ~ c_huge then
        raise numeric_value_out_of_range using message = 'A number is too large.';
    end if;
    return v_text::jsonb;
exception
    when untranslatable_character or invalid_text_representation then
        -- jsonb can hold neither NUL nor half a surrogate pair. Each becomes U+FFFD, so that the rest of the
        -- message survives. Control characters, which JSON forbids, stand in for what must not be touched.
        if v_text !~ '\\u(0000|[dD][89a-fA-F])' or v_text ~ '[\u0001\u0002]' then
            raise;
        end if;
        v_text := replace(v_text, '\\', U&'\0001');
        v_text := regexp_replace(
            v_text, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})', U&'\0002\\1\0002\\2', 'g'
        );
        v_text := regexp_replace(v_text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
        return replace(replace(v_text, U&'\0002', '\u'), U&'\0001', '\\')::jsonb;
end
$$;
comment on function private.parse_json(bytea) is
'A request body as jsonb. Raises a data exception (class 22) or 54001 for what is not UTF-8, not JSON or too deep.
It mends what jsonb cannot hold, which may take seconds for megabytes: for callers who are known.';
revoke all on function private.parse_json(bytea) from public, anon, authenticated, service_role;
grant execute on function private.parse_json(bytea) to service_role;

create function private.parse_timestamp(p_text text) returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
    v_at timestamptz;
begin
    if p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,12})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$'
    then
        return null;
    end if;
    begin
        -- Without an offset it is UTC, whatever the session's time zone is.
        v_at := (p_text || case when p_text ~ '([Zz]|[0-9][+-][0-9]{2}(:?[0-9]{2})?)$' then '' else 'Z' end)::timestamptz;
    exception
        when data_exception then
            return null;
    end;
    -- An offset can move a time out of the years that ISO 8601 writes with four digits.
    return case when v_at >= '0001-01-01T00:00:00Z' and v_at < '9999-12-31T23:59:59.9999995Z' then v_at end;
end
$$;
comment on function private.parse_timestamp(text) is
'An ISO 8601 date and time, as UTC when it has no offset; null for anything else, never an error.';
revoke all on function private.parse_timestamp(text) from public, anon, authenticated, service_role;
grant execute on function private.parse_timestamp(text) to service_role;

create type private.ingest_conversation as (
    position integer,
    external_id text,
    participant_identifier text,
    participant_name text,
    newest_at timestamptz,
    error text
);
comment on type private.ingest_conversation is
'A conversation of a request: its position, what it says of its participant, its newest sent_at, and what is wrong.';

create type private.ingest_message as (
    position integer,
    index integer,
    external_id text,
    sent_at timestamptz,
    message jsonb,
    error text
);
comment on type private.ingest_message is
'A message of a request: the position of its conversation, its index there, what is stored of it, and what is wrong.';

create type private.ingest_participant as (
    external_id text,
    identifier text,
    identified_at timestamptz,
    name text,
    named_at timestamptz
);
comment on type private.ingest_participant is
'What a request says of the participant of one of its threads, and how new that is.';

create function private.read_messages(p_conversations jsonb) returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
as $$
begin
    return array(
        with given as materialized (
            select
                parent.position::integer as position,
                line.position::integer - 1 as index,
                line.value as message,
                line.value ->> 'sent_at' as sent_at
            from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
            cross join lateral jsonb_array_elements(
                case jsonb_typeof(parent.value -> 'messages') when 'array' then parent.value -> 'messages' else '[]' end
            ) with ordinality as line (value, position)
        ),

        timed as materialized (
            select
                given.position,
                given.index,
                given.message,
                -- Nearly all look like this. They cannot fail to be cast; a call for each would take far longer.
                case
                    when translate(given.sent_at, '123456789', '000000000')
                        in ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000Z')
                        and substr(given.sent_at, 1, 4) collate "C" >= '0001'
                        and substr(given.sent_at, 6, 2) collate "C" between '01' and '12'
                        and substr(given.sent_at, 9, 2) collate "C" between '01' and '28'
                        and substr(given.sent_at, 12, 2) collate "C" < '24'
                        and substr(given.sent_at, 15, 2) collate "C" < '60'
                        and substr(given.sent_at, 18, 2) collate "C" < '60'
                        then given.sent_at::timestamptz
                    else private.parse_timestamp(given.sent_at)
                end as sent_at
            from given
        )

        select (
            timed.position, timed.index, timed.message ->> 'id', timed.sent_at, timed.message,
            case
                when jsonb_typeof(timed.message) <> 'object' then ' must be an object'
                when jsonb_typeof(timed.message -> 'id') is distinct from 'string'
                    or char_length(timed.message ->> 'id') not between 1 and 500
                    then '.id must be a string of 1 to 500 characters'
                when coalesce(timed.message ->> 'direction', '') not in ('inbound', 'outbound')
                    then '.direction must be inbound or outbound'
                when coalesce(timed.message ->> 'type', '')
                    not in ('text', 'image', 'audio', 'video', 'file', 'location')
                    then '.type must be text, image, audio, video, file or location'
                when jsonb_typeof(timed.message -> 'content') is distinct from 'string'
                    then '.content must be a string'
                when coalesce(jsonb_typeof(timed.message -> 'media_url'), 'null') not in ('string', 'null')
                    then '.media_url must be a string or null'
                when jsonb_typeof(timed.message -> 'sent_at') is distinct from 'string' or timed.sent_at is null
                    then '.sent_at must be an ISO 8601 timestamp'
            end
        )::private.ingest_message
        from timed
        order by timed.position, timed.index
    );
end
$$;
comment on function private.read_messages(jsonb) is 'The messages of a request in its order, each judged.';
revoke all on function private.read_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_messages(jsonb) to service_role;

create function private.read_conversations(
    p_conversations jsonb,
    out conversations private.ingest_conversation[], out messages private.ingest_message[]
)
language plpgsql
stable
set search_path = ''
as $$
begin
    messages := private.read_messages(p_conversations);
    conversations := array(
        select (
            given.position,
            given.value ->> 'external_conversation_id',
            given.value ->> 'participant_identifier',
            nullif(btrim(given.value ->> 'participant_name'), ''),
            coalesce(summed.newest_at, '-infinity'),
            case
                when jsonb_typeof(given.value) <> 'object' then 'conversation must be an object'
                when jsonb_typeof(given.value -> 'external_conversation_id') is distinct from 'string'
                    or char_length(given.value ->> 'external_conversation_id') not between 1 and 500
                    then 'external_conversation_id must be a string of 1 to 500 characters'
                when jsonb_typeof(given.value -> 'participant_identifier') is distinct from 'string'
                    or char_length(given.value ->> 'participant_identifier') not between 1 and 500
                    then 'participant_identifier must be a string of 1 to 500 characters'
                when coalesce(jsonb_typeof(given.value -> 'participant_name'), 'null') not in ('string', 'null')
                    or char_length(given.value ->> 'participant_name') > 500
                    then 'participant_name must be a string of at most 500 characters'
                when jsonb_typeof(given.value -> 'messages') is distinct from 'array'
                    then 'messages must be an array'
                else summed.error
            end
        )::private.ingest_conversation
        from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
        left join (
            select
                line.position,
                max(line.sent_at) as newest_at,
                (array_agg('messages[' || line.index || ']' || line.error order by line.index)
                    filter (where line.error is not null))[1] as error
            from unnest(messages) as line
            group by line.position
        ) as summed on given.position = summed.position
        order by given.position
    );
    if exists (select from unnest(conversations) as given where given.error is not null) then
        messages := array(
            select line
            from unnest(messages) as line
            inner join unnest(conversations) as given on line.position = given.position
            where given.error is null
            order by line.position, line.index
        );
    end if;
end
$$;
comment on function private.read_conversations(jsonb) is
'The conversations of a request in its order, each judged, and all messages of those without an error.';
revoke all on function private.read_conversations(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_conversations(jsonb) to service_role;

create function private.newest_participants(p_conversations private.ingest_conversation[])
returns private.ingest_participant[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    -- The batch with the newest message knows best. Ties go to the greater text, so that the order of arrival
    -- does not matter.
    return array(
        select (
            given.external_id,
            (array_agg(
                given.participant_identifier order by given.newest_at desc, given.participant_identifier desc
            ))[1],
            max(given.newest_at),
            (array_agg(given.participant_name order by given.newest_at desc, given.participant_name desc)
                filter (where given.participant_name is not null))[1],
            coalesce(max(given.newest_at) filter (where given.participant_name is not null), '-infinity')
        )::private.ingest_participant
        from unnest(p_conversations) as given
        where given.error is null
        group by given.external_id
    );
end
$$;
comment on function private.newest_participants(private.ingest_conversation[]) is
'One entry for each thread of a request.';
revoke all on function private.newest_participants(private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.newest_participants(private.ingest_conversation[]) to service_role;

-- Planned at each call, as private.look_up_messages is: a plan that was kept from when the table was nearly empty may
-- walk through all of a user's conversations for each of them.
create function private.find_conversations(
    p_user_id uuid, p_platform text, p_conversations private.ingest_conversation[]
) returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select (
            select existing.id
            from public.conversations as existing
            where existing.user_id = p_user_id
                and existing.platform = p_platform
                and existing.external_conversation_id = given.external_id
                and given.error is null
        )
        from unnest(p_conversations) as given
        order by given.position
    );
end
$$;
comment on function private.find_conversations(uuid, text, private.ingest_conversation[]) is
'The ids of the conversations of a request, by position; null for those that do not exist, or have an error.';
revoke all on function private.find_conversations(uuid, text, private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.find_conversations(uuid, text, private.ingest_conversation[]) to service_role;

create function private.create_conversations(
    p_user_id uuid, p_platform text, p_participants private.ingest_participant[]
) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    v_created jsonb;
begin
    -- In one order for everybody: two requests that create the same conversations then cannot wait for each other.
    with created as (
        insert into public.conversations (
            user_id, platform, external_conversation_id,
            participant_identifier, participant_identified_at, participant_name, participant_named_at
        )
        select
            p_user_id, p_platform, given.external_id,
            given.identifier, given.identified_at, given.name, given.named_at
        from unnest(p_participants) as given
        order by given.external_id collate "C"
        on conflict on constraint conversations_external_id_unique do nothing
        returning id
    )

    select jsonb_object_agg(created.id, true) into v_created from created;
    return coalesce(v_created, '{}');
end
$$;
comment on function private.create_conversations(uuid, text, private.ingest_participant[]) is
'Makes those conversations that nobody made before; their ids are the keys of the answer.';
revoke all on function private.create_conversations(uuid, text, private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.create_conversations(uuid, text, private.ingest_participant[]) to service_role;

create function private.look_up_messages(
    p_messages private.ingest_message[], p_ids uuid[],
    out is_unknown boolean[], out is_conflict boolean[], out are_distinct boolean
)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    select
        array_agg(looked_up.stored_message is null order by looked_up.line),
        array_agg(coalesce(looked_up.stored_message <> looked_up.message, false) order by looked_up.line),
        count(distinct looked_up.key) = count(*)
    into is_unknown, is_conflict, are_distinct
    from (
        select
            (p_ids[given.position], given.external_id) as key,
            given.line,
            given.message,
            (
                select stored.message
                from public.conversation_messages as stored
                where stored.conversation_id = p_ids[given.position] and stored.external_id = given.external_id
            ) as stored_message
        from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        -- Not to be merged into the outer query, which would look up twice.
        offset 0
    ) as looked_up;
end
$$;
comment on function private.look_up_messages(private.ingest_message[], uuid[]) is
'For each message whether it is not stored yet, and whether it is with other content; and whether all ids differ.';
revoke all on function private.look_up_messages(private.ingest_message[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.look_up_messages(private.ingest_message[], uuid[]) to service_role;

create function private.compare_messages(
    p_messages private.ingest_message[], p_ids uuid[],
    out is_unknown boolean[], out unknown_counts jsonb, out conflicts jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_known record;
begin
    select * into v_known from private.look_up_messages(p_messages, p_ids);
    if not v_known.are_distinct then
        -- Of the same id twice in one request the first counts, whichever conversation object it stands in.
        select
            array_agg(v_known.is_unknown[twin.line] and twin.number = 1 order by twin.line),
            array_agg(
                v_known.is_conflict[twin.line]
                or v_known.is_unknown[twin.line] and twin.message <> twin.first_message
                order by twin.line
            )
        into v_known.is_unknown, v_known.is_conflict
        from (
            select
                given.line,
                given.message,
                row_number() over twins as number,
                first_value(given.message) over twins as first_message
            from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
            window twins as (partition by p_ids[given.position], given.external_id order by given.line)
        ) as twin;
    end if;

    is_unknown := v_known.is_unknown;
    select jsonb_object_agg(counted.position, counted.count) into unknown_counts
    from (
        select given.position, count(*) as count
        from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        where v_known.is_unknown[given.line]
        group by given.position
    ) as counted;
    if true = any(v_known.is_conflict) then
        select jsonb_object_agg(conflicting.position, conflicting.external_ids) into conflicts
        from (
            select given.position, jsonb_agg(distinct given.external_id) as external_ids
            from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
            where v_known.is_conflict[given.line]
            group by given.position
        ) as conflicting;
    end if;
end
$$;
comment on function private.compare_messages(private.ingest_message[], uuid[]) is
'For each message whether it is yet to be stored; by position how many are, and the ids of those that are known with
other content.';
revoke all on function private.compare_messages(private.ingest_message[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.compare_messages(private.ingest_message[], uuid[]) to service_role;

create function private.lock_conversations(
    p_ids uuid[], p_participants private.ingest_participant[], p_growing uuid[]
) returns uuid[]
language plpgsql
set search_path = ''
as $$
begin
    -- Whoever changes a conversation that others can see holds its row first, taken in one order by everybody.
    return array(
        select existing.id
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
            and (
                existing.id = any(p_growing)
                or (given.identified_at, given.identifier)
                > (existing.participant_identified_at, existing.participant_identifier)
                or (given.named_at, given.name)
                > (existing.participant_named_at, coalesce(existing.participant_name, ''))
            )
        order by existing.id
        for no key update of existing
    );
end
$$;
comment on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[]) is
'Locks and returns those of the conversations that a request changes: p_growing, and any with news of its participant.';
revoke all on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[]) to service_role;

create function private.update_participants(p_ids uuid[], p_participants private.ingest_participant[]) returns void
language plpgsql
set search_path = ''
as $$
begin
    update public.conversations as target
    set
        participant_identifier = case
            when merged.is_identified then merged.identifier else target.participant_identifier
        end,
        participant_identified_at = greatest(target.participant_identified_at, merged.identified_at),
        participant_name = case when merged.is_named then merged.name else target.participant_name end,
        participant_named_at = greatest(target.participant_named_at, merged.named_at)
    from (
        select
            existing.id,
            given.*,
            (given.identified_at, given.identifier)
            > (existing.participant_identified_at, existing.participant_identifier) as is_identified,
            given.name is not null and (given.named_at, given.name)
            > (existing.participant_named_at, coalesce(existing.participant_name, '')) as is_named
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
    ) as merged
    where target.id = merged.id and (merged.is_identified or merged.is_named);
end
$$;
comment on function private.update_participants(uuid[], private.ingest_participant[]) is
'Takes over identifier and name of participants where a request knows them as of later. The rows are locked already.';
revoke all on function private.update_participants(uuid[], private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.update_participants(uuid[], private.ingest_participant[]) to service_role;

create function private.describe_results(
    p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb, p_added jsonb, p_conflicts jsonb
) returns json
language plpgsql
stable
set search_path = ''
as $$
begin
    return (
        select json_build_object(
            'success', true,
            'processed', count(*) filter (where result.error is null),
            'results', coalesce(json_agg(case
                when result.error is not null then json_build_object(
                    'conversation_id', null, 'external_conversation_id', result.external_id,
                    'messages_added', 0, 'status', 'error: ' || result.error
                )
                when result.conflicts is not null then json_build_object(
                    'conversation_id', result.id, 'messages_added', result.added, 'status', result.status,
                    'conflicting_message_ids', result.conflicts
                )
                else json_build_object(
                    'conversation_id', result.id, 'messages_added', result.added, 'status', result.status
                )
            end order by result.position), '[]')
        )
        from (
            select
                given.position,
                given.external_id,
                given.error,
                p_ids[given.position] as id,
                counted.added,
                p_conflicts -> given.position::text as conflicts,
                case
                    when p_created ? p_ids[given.position]::text
                        and row_number() over (partition by p_ids[given.position] order by given.position) = 1
                        then 'created'
                    when counted.added > 0 then 'updated'
                    else 'no_new_messages'
                end as status
            from unnest(p_conversations) as given
            cross join lateral (
                select coalesce((p_added ->> given.position::text)::integer, 0) as added
            ) as counted
        ) as result
    );
end
$$;
comment on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb) is
'The answer to a request: one result per conversation, in the order of the request.';
revoke all on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb)
from public, anon, authenticated, service_role;
grant execute on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb)
to service_role;

create function private.store_conversations(p_user_id uuid, p_platform text, p_conversations jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_conversations private.ingest_conversation[];
    v_messages private.ingest_message[];
    v_participants private.ingest_participant[];
    v_ids uuid[];
    v_created jsonb := jsonb_build_object();
    v_compared record;
    v_locked uuid[];
begin
    select given.conversations, given.messages into v_conversations, v_messages
    from private.read_conversations(p_conversations) as given;
    v_participants := private.newest_participants(v_conversations);

    perform pg_advisory_xact_lock_shared(private.matching_lock(p_user_id));
    v_ids := private.find_conversations(p_user_id, p_platform, v_conversations);
    if exists (select from unnest(v_conversations) as given where given.error is null and v_ids[given.position] is null)
    then
        v_created := private.create_conversations(p_user_id, p_platform, v_participants);
        v_ids := private.find_conversations(p_user_id, p_platform, v_conversations);
        if exists (
            select from unnest(v_conversations) as given where given.error is null and v_ids[given.position] is null
        ) then
            -- Deleted in the instant since. Trying again here, with rows locked already, could deadlock.
            raise serialization_failure using message = 'A conversation was deleted while it was written to.';
        end if;
    end if;

    select * into v_compared from private.compare_messages(v_messages, v_ids);
    -- Nobody else sees a conversation that was created just now; a pure replay changes none and takes no lock.
    v_locked := private.lock_conversations(v_ids, v_participants, array(
        select distinct v_ids[growing.position::integer]
        from jsonb_object_keys(v_compared.unknown_counts) as growing (position)
        where not v_created ? v_ids[growing.position::integer]::text
    ));
    if v_locked <> '{}' then
        perform private.update_participants(v_locked, v_participants);
        select * into v_compared from private.compare_messages(v_messages, v_ids);
    end if;

    if v_compared.unknown_counts is not null then
        insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
        select v_ids[given.position], given.external_id, p_user_id, given.sent_at, given.message
        from unnest(v_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        where v_compared.is_unknown[given.line];
    end if;
    return private.describe_results(
        v_conversations, v_ids, v_created, v_compared.unknown_counts, v_compared.conflicts
    );
end
$$;
comment on function private.store_conversations(uuid, text, jsonb) is
'Stores the conversations of a request for a user and answers it. Conversations with an error are left out
whole, all others go in, whatever else is being written at the same time.';
revoke all on function private.store_conversations(uuid, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function private.store_conversations(uuid, text, jsonb) to service_role;

create function private.count_messages(p_conversations jsonb) returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        select sum(greatest(1, case
            when jsonb_typeof(given.value -> 'messages') = 'array' then jsonb_array_length(given.value -> 'messages')
        end))
        from jsonb_array_elements(p_conversations) as given
    );
end
$$;
comment on function private.count_messages(jsonb) is
'How many messages a request carries; a conversation without any counts as one, since it costs as much.';
revoke all on function private.count_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.count_messages(jsonb) to service_role;

create function private.refuse(p_status integer, p_error text) returns json
language plpgsql
volatile
set search_path = ''
as $$
begin
    perform set_config('response.status', p_status::text, true);
    return json_build_object('error', p_error);
end
$$;
comment on function private.refuse(integer, text) is
'An error in the shape of the ingest document. The status reaches HTTP as PostgREST and the gateway define it.';
revoke all on function private.refuse(integer, text) from public, anon, authenticated, service_role;
grant execute on function private.refuse(integer, text) to service_role;

create function public.messaging_ingest(bytea) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-api-key';
    v_request jsonb;
    v_owner record;
    v_limit integer := (select settings.ingest_max_messages from private.settings);
begin
    if coalesce(v_secret, '') = '' then
        return private.refuse(401, 'Missing x-api-key header');
    end if;
    begin
        -- Strangers are refused anyway; what their bodies cost is kept small.
        v_request := case
            when private.is_live_key(v_secret) then private.parse_json($1)
            else ltrim(convert_from($1, 'UTF8'), U&'\FEFF')::jsonb
        end;
    exception
        when data_exception or statement_too_complex or program_limit_exceeded then
            return private.refuse(400, 'Request body is not valid JSON');
    end;
    if coalesce(v_request ->> 'platform', '') = ''
        or coalesce(v_request ->> 'connection_id', '') = ''
        or coalesce(jsonb_typeof(v_request -> 'conversations'), 'null') = 'null'
    then
        return private.refuse(400, 'Missing required fields: platform, connection_id, conversations');
    end if;
    if jsonb_typeof(v_request -> 'conversations') <> 'array' then
        return private.refuse(400, 'conversations must be an array');
    end if;

    select * into v_owner
    from private.authenticate_connection(
        v_request ->> 'platform', v_request ->> 'connection_id', v_secret
    );
    if v_owner.user_id is null then
        return private.refuse(401, 'Invalid connection_id or platform');
    elsif not v_owner.is_key_valid then
        return private.refuse(401, 'Invalid API key');
    elsif not v_owner.is_active then
        return private.refuse(403, 'Connection is inactive');
    end if;

    if private.count_messages(v_request -> 'conversations') > v_limit then
        return private.refuse(413, format('Too many messages: at most %s in one request', v_limit));
    end if;
    return private.store_conversations(
        v_owner.user_id, v_request ->> 'platform', v_request -> 'conversations'
    );
end
$$;
comment on function public.messaging_ingest(bytea) is
'The ingest endpoint: the raw body as its one argument, x-api-key among request.headers; answers as the document says,
errors included, with response.status set. Only the two doors, the service and the Edge Function, may call it.';
revoke all on function public.messaging_ingest(bytea) from public, anon, authenticated, service_role;
grant execute on function public.messaging_ingest(bytea) to service_role;

-- One statement per request: how the service reaches the functions of `public` as its caller.

-- Invoker on purpose: Postgres allows no change of role inside a definer function. The settings are those that
-- PostgREST makes, so that a function cannot tell which of the two doors it was called through.
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_body bytea,
    out status integer, out body text
)
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(p_role, '') not in ('anon', 'authenticated', 'service_role') then
        raise insufficient_privilege using message = 'The gateway does not act for this role.';
    end if;
    perform
        set_config('request.jwt.claims', p_claims, true),
        set_config('request.headers', p_headers, true),
        set_config('response.status', '', true),
        set_config('role', p_role, true);
    -- Dynamic, so that each call is planned and its rights are checked under the role set above.
    case p_function
        when 'messaging_ingest' then execute 'select public.messaging_ingest($1)' into body using p_body;
        else raise undefined_function using message = 'The gateway knows no such function.';
    end case;
    status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
end
$$;
comment on function private.call(text, text, text, text, bytea) is
'Calls one of the functions listed in it as p_role with these claims and headers (JSON objects); answers HTTP status
and body. For the login role of the service alone: it may become only what that role was granted.';
revoke all on function private.call(text, text, text, text, bytea) from public, anon, authenticated, service_role;
grant usage on schema private to authenticator;
grant execute on function private.call(text, text, text, text, bytea) to authenticator;
