"""A database of any size: channels, conversations and people, with everything that triggers would write."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tests.bench.messages import contents

RARE = "zeppelinmuseum"  # in ten messages of the large channel
SECRET = "the secret of the connection"
DIFFERENT = 20_000  # distinct texts; messages repeat them
PORTION = 100_000


@dataclass(frozen=True)
class Crowd:
    """How much of everything a database has.

    Attributes:
        messages: of channels. A tenth of them is in the large channel, number 1.
    """

    messages: int

    @property
    def numbers(self) -> dict[str, int]:
        """The sizes as parameters of the statements below."""
        many = self.messages
        members = max(many // 1000, 3)
        return {
            "messages": many,
            "large": many // 10,
            "channels": max(many // 100, 12),
            "conversations": max(many // 10, 20),
            "people": max(many // 50, 10),
            "members": members,
            "few": 10,
            "many": max(many // 2000, 3),
            "users": max(many // 200, members + 10),
            "teams": max(many // 10_000, 1),
        }


# Ids are hashes of a kind and a number, so that no statement must look them up. User 1 is in 10 channels, user 2 in
# many. Both are in the large channel and in team 1, which has the conversations.
PEOPLE = """
insert into auth.users (id, email) select md5('user ' || n)::uuid, n || '@crowd.example'
from generate_series(1, %(users)s) as n;
insert into public.user_profiles (user_id, display_name) select md5('user ' || n)::uuid, 'User ' || n
from generate_series(1, %(users)s) as n;
insert into public.workspaces (id, name, personal_user_id, created_by)
select md5('user ' || n)::uuid, 'Personal', md5('user ' || n)::uuid, md5('user ' || n)::uuid
from generate_series(1, %(users)s) as n;
insert into public.workspaces (id, name, home_country, created_by)
select md5('team ' || n)::uuid, 'Team ' || n, 'DE', md5('user 1')::uuid from generate_series(1, %(teams)s) as n;
insert into public.workspace_members (workspace_id, user_id, role)
select md5('user ' || n)::uuid, md5('user ' || n)::uuid, 'owner' from generate_series(1, %(users)s) as n;
insert into public.workspace_members (workspace_id, user_id)
select md5('team ' || case when n < 3 then 1 else 1 + n %% %(teams)s end)::uuid, md5('user ' || n)::uuid
from generate_series(1, %(users)s) as n;
insert into public.people (id, workspace_id, user_id, full_name, phone)
select md5('person ' || n)::uuid, md5('team 1')::uuid, md5('user 1')::uuid, 'Person ' || n, '+49 151 ' || 10000000 + n
from generate_series(1, %(people)s) as n;
insert into public.messaging_connections (id, workspace_id, user_id, platform, connection_id)
values
(md5('connection 1')::uuid, md5('team 1')::uuid, md5('user 1')::uuid, 'whatsapp', 'crowd_1'),
(md5('connection 2')::uuid, md5('team 1')::uuid, md5('user 3')::uuid, 'whatsapp', 'crowd_2');
insert into private.messaging_keys (connection_id, secret_hash)
values (md5('connection 1')::uuid, private.hash_secret(%(secret)s))
"""
KEYS = """
insert into private.person_keys (workspace_id, key, person_id, extension)
select listed.* from private.list_person_keys(array(
    select md5('person ' || n)::uuid from generate_series(%(from)s, %(to)s) as n
)) as listed
"""
CHANNELS = """
insert into public.channels (id, workspace_id, name, created_by, created_at)
select md5('channel ' || n)::uuid, md5('team ' || 1 + n %% %(teams)s)::uuid, 'Channel ' || n,
    md5('user ' || 3 + n * 3 %% (%(users)s - 2))::uuid, timestamptz '2025-12-01' + n * interval '1 second'
from generate_series(1, %(channels)s) as n;
insert into public.channel_members (channel_id, user_id, role)
select md5('channel ' || n)::uuid, md5('user ' || 3 + (n * 3 + place) %% (%(users)s - 2))::uuid,
    case when place = 0 then 'owner' else 'member' end
from generate_series(2, %(channels)s) as n, generate_series(0, 2) as place
union all
select md5('channel 1')::uuid, md5('user ' || n)::uuid, case when n = 1 then 'owner' else 'member' end
from generate_series(1, %(members)s) as n
union all
select md5('channel ' || n)::uuid, md5('user 1')::uuid, 'member' from generate_series(2, %(few)s) as n
union all
select md5('channel ' || n)::uuid, md5('user 2')::uuid, 'member' from generate_series(2, %(many)s) as n;
insert into public.message_events (workspace_id, channel_id, seq, kind, actor_id, created_at)
select md5('team ' || 1 + n %% %(teams)s)::uuid, md5('channel ' || n)::uuid, 1, 'member.joined', md5('user 3')::uuid,
    '2025-12-31'
from generate_series(1, %(channels)s) as n
"""
TEXTS = """
create unlogged table private.crowd_texts as
select number - 1 as number, content, private.index_words(content, null, 'english') as words
from unnest(%(texts)s::text[]) with ordinality as given (content, number)
"""
# Message k of the database: every tenth is in the large channel, all others in the other channels in turn. A twentieth
# are replies to the first message of their channel.
MESSAGES = """
with line as materialized (
    select
        k, md5('message ' || k)::uuid as id, md5('channel ' || spot.channel)::uuid as channel_id,
        md5('team ' || 1 + spot.channel %% %(teams)s)::uuid as workspace_id, spot.seq,
        md5('user ' || 3 + case
            when spot.channel = 1 then k / 10 %% (%(members)s - 2)
            else (spot.channel * 3 + spot.seq %% 3) %% (%(users)s - 2)
        end)::uuid as user_id,
        case when spot.seq %% 20 = 5 then md5('message ' || spot.root)::uuid end as parent_id,
        timestamptz '2026-01-01' + k * interval '1 second' as at, texts.content, texts.words
    from generate_series(%(from)s::bigint, %(to)s::bigint) as k
    cross join lateral (
        select 1 as channel, k / 10 + 1 as seq, 10 as root where k %% 10 = 0
        union all
        select 2 + j %% (%(channels)s - 1), j / (%(channels)s - 1) + 2, 1 + j %% (%(channels)s - 1)
            + j %% (%(channels)s - 1) / 9
        from (select k - k / 10 - 1 as j) as other
        where k %% 10 > 0
    ) as spot
    inner join private.crowd_texts as texts
        on texts.number = case when k %% %(large)s = 0 then %(different)s else k * 7919 %% %(different)s end
    order by k
), message as (
    insert into public.messages
    (id, workspace_id, channel_id, seq, user_id, parent_message_id, thread_id, content, created_at, updated_at)
    select id, workspace_id, channel_id, seq, user_id, parent_id, parent_id, content, at, at from line
), event as (
    insert into public.message_events (workspace_id, channel_id, seq, kind, message_id, actor_id, created_at)
    select workspace_id, channel_id, seq, 'message.created', id, user_id, at from line
), reaction as (
    insert into public.message_reactions (message_id, channel_id, user_id, emoji)
    select id, channel_id, user_id, 'tada' from line where k %% 50 = 1
), mention as (
    insert into public.message_mentions (message_id, channel_id, seq, user_id)
    select id, channel_id, seq, user_id from line where k %% 100 = 3
)

insert into private.message_words (message_id, channel_id, created_at, words)
select id, channel_id, at, words from line
"""
COUNTERS = """
insert into private.channel_counters
(channel_id, workspace_id, last_seq, last_at, message_count, member_count, language)
select channel.id, channel.workspace_id, coalesce(said.last_seq, 1), coalesce(said.last_at, '2025-12-31'),
    coalesce(said.messages, 0), belonging.members, 'english'
from public.channels as channel
inner join (select channel_id, count(*) as members from public.channel_members group by channel_id) as belonging
    on channel.id = belonging.channel_id
left join (
    select channel_id, max(seq) as last_seq, max(created_at) as last_at, count(*) as messages
    from public.messages group by channel_id
) as said on channel.id = said.channel_id
where channel.name like 'Channel %%';
insert into public.member_states (channel_id, user_id, read_seq)
select member.channel_id, member.user_id, greatest(counter.last_seq - 5, 0)
from public.channel_members as member
inner join private.channel_counters as counter on member.channel_id = counter.channel_id
on conflict do nothing
"""
# Two messages each, and a line of the log for ten conversations. One in ten is of another user of the team.
CONVERSATIONS = """
with line as materialized (
    select n, md5('conversation ' || n)::uuid as id, '+49151' || 10000000 + n as number,
        md5('user ' || case when n %% 10 = 9 then 3 else 1 end)::uuid as user_id,
        timestamptz '2026-01-01' + n * interval '10 seconds' as at
    from generate_series(%(from)s::integer, %(to)s::integer) as n
), conversation as (
    insert into public.conversations
    (id, user_id, workspace_id, scope_id, platform, external_conversation_id, participant_identifier,
        participant_name, participant_key, person_id, matched_by, message_count, last_message_at,
        last_message_preview, created_at, updated_at)
    select id, user_id, md5('team 1')::uuid, md5('team 1')::uuid, 'whatsapp', number, number, 'Contact ' || n,
        private.participant_key('whatsapp', number),
        case when n <= %(people)s then md5('person ' || n)::uuid end, case when n <= %(people)s then 'phone' end,
        2, at + interval '1 minute', 'Hello', at, at
    from line
), message as materialized (
    select line.id, line.n, place, 'wamid.' || upper(md5(line.n || ' ' || place)) as external_id,
        line.at + place * interval '30 seconds' as sent_at, texts.content, texts.words, private.generate_id() as word_id
    from line
    cross join generate_series(1, 2) as place
    inner join private.crowd_texts as texts on texts.number = (line.n * 2 + place) * 7919::bigint %% %(different)s
    order by line.n, place
), stored as (
    insert into public.conversation_messages
    (conversation_id, external_id, workspace_id, connection_id, sent_at, received_at, message)
    select id, external_id, md5('team 1')::uuid, md5('connection 1')::uuid, sent_at, sent_at, jsonb_build_object(
        'id', external_id, 'direction', 'inbound', 'type', 'text', 'content', content, 'media_url', null,
        'sent_at', private.format_time(sent_at)
    )
    from message
), known as (
    insert into private.conversation_words (conversation_id, external_id, sender, word_id)
    select id, external_id, '', word_id from message
), log as (
    insert into private.inbox_changes (workspace_id, xid, conversation_ids, external_ids, senders, versions)
    select md5('team 1')::uuid, (3 + (n / 10) * (%(xid)s - 4) / %(conversations)s * 10)::text::xid8,
        array_agg(id order by n, place), array_agg(external_id order by n, place),
        array_agg(''::text), array_agg(1::bigint) filter (where place = 1)
    from message group by n / 10 order by n / 10
)

insert into private.message_words (message_id, channel_id, created_at, words)
select word_id, md5('team 1')::uuid, sent_at, words from message
"""
# Large tables: their indexes are built after the rows.
LARGE = [
    "public.messages",
    "public.message_events",
    "public.message_reactions",
    "public.message_mentions",
    "private.message_words",
    "public.conversations",
    "public.conversation_messages",
    "private.conversation_words",
    "private.inbox_changes",
]
SMALL = [
    "auth.users",
    "public.user_profiles",
    "public.workspaces",
    "public.workspace_members",
    "public.people",
    "private.person_keys",
    "public.channels",
    "public.channel_members",
    "public.member_states",
    "private.channel_counters",
]
# Inserts skip an index that is not ready, and REINDEX makes it ready.
WITHOUT_INDEXES = """
update pg_index set indisready = false, indisvalid = false where indrelid = any(%s::regclass[])
"""


# What speeds a session up, and may be lost if the machine stops.
SETTINGS = """
set session_replication_role = replica;
set synchronous_commit = off;
set maintenance_work_mem = '512MB';
set work_mem = '128MB'
"""
WORKERS = 3


def conninfo(connection: psycopg.Connection, **changes: str) -> str:
    """Return the connection string of a connection, with its password."""
    return make_conninfo(connection.info.dsn, password=connection.info.password, **changes)


def fill(admin: psycopg.Connection, crowd: Crowd) -> None:
    """Fill a database as a superuser, without triggers."""
    texts = contents(min(DIFFERENT, crowd.messages // 10))
    (xid,) = admin.execute("select pg_current_xact_id()::text::bigint").fetchone()
    sizes = {**crowd.numbers, "different": len(texts), "secret": SECRET, "xid": xid}
    dsn = conninfo(admin)
    admin.execute(WITHOUT_INDEXES, [LARGE])
    work_off(dsn, [(TEXTS, {"texts": [*texts, f"{RARE} {texts[0]}"]}), (PEOPLE, sizes), (CHANNELS, sizes)])
    # In turn, because search reads channels and conversations from one index.
    parts = zip_longest(
        portions(KEYS, sizes, "people", PORTION // 10),
        portions(MESSAGES, sizes, "messages", PORTION),
        portions(CONVERSATIONS, sizes, "conversations", PORTION // 10),
    )
    work_off(dsn, [job for several in parts for job in several if job])
    work_off(dsn, [(f"reindex table {table}", {}) for table in LARGE])
    work_off(dsn, [(COUNTERS, sizes), ("drop table private.crowd_texts", {})])
    admin.execute(f"vacuum (analyze) {', '.join([*LARGE, *SMALL])}")
    admin.execute("checkpoint")


Job = tuple[str, dict[str, Any]]


def portions(statement: str, sizes: dict[str, Any], of: str, size: int) -> Iterator[Job]:
    """Divide a statement into jobs of so many rows."""
    for start in range(1, sizes[of] + 1, size):
        yield statement, {**sizes, "from": start, "to": min(start + size - 1, sizes[of])}


def work_off(dsn: str, jobs: Iterable[Job]) -> None:
    """Run statements over several connections, each when one becomes free."""
    waiting = deque(jobs)

    def work() -> None:
        # Binds parameters here, because some jobs are several statements.
        with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute(SETTINGS)
            with suppress(IndexError):
                while True:
                    connection.execute(*waiting.popleft())

    with ThreadPoolExecutor(WORKERS) as workers:
        for done in [workers.submit(work) for _ in range(WORKERS)]:
            done.result()
