"""A channel and its people, calls as the service makes them, and what must hold of an event log whatever happened."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import psycopg

from tests.sql.conftest import MATTY, Db, back, rows, value
from tests.support import contract
from tests.support.cluster import TestCluster
from tests.support.service import Service, serving

# The world of seed.sql: Matty owns the channel, Bob and Carol are members, Mallory is not, the twin is Matty's.
CAROL = "ca401ca4-0000-4000-8000-000000000003"
MALLORY = "3a110123-0000-4000-8000-000000000004"
CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
MESSAGE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TWIN = "b5b2c3d4-e5f6-7890-abcd-ef1234567890"
NOBODY = "00000000-0000-4000-8000-00000000dead"
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

BASE = "/api/v2/messages"
SECRET = "a-shared-secret-of-at-least-thirty-two-characters"

# Each row is a sentence that is untrue of a channel that somebody looked after.
INCONSISTENCIES = """
with channel as (select %(channel_id)s::uuid as id),
head as (
    select coalesce(max(last_seq), 0) as last_seq, coalesce(max(message_count), 0) as message_count
    from private.channel_counters where channel_id = (select id from channel)
),
event as (select * from public.message_events where channel_id = (select id from channel)),
message as (select * from public.messages where channel_id = (select id from channel)),
lived as (select * from message where deleted_at is null)
select 'the log has gaps' from event, head group by last_seq
having count(*) <> last_seq or min(seq) <> 1 or max(seq) <> last_seq
union all
select 'times do not run as the numbers do' from (
    select created_at <= lag(created_at) over (order by seq) as is_back from event
) as step where is_back
union all
select 'message_count is ' || message_count from head where message_count <> (select count(*) from lived)
union all
select 'no event made ' || id from message where not exists (
    select from event where (kind, message_id, seq) = ('message.created', message.id, message.seq)
)
union all
select 'deletions: ' || id from message
where (deleted_at is not null)::integer <> (
    select count(*) from event where kind = 'message.deleted' and message_id = message.id
)
union all
select 'edits: ' || id from message
where array(select version from public.message_edits where message_id = message.id order by 1) <> array(
    select (row_number() over (order by seq))::integer from event
    where kind = 'message.updated' and message_id = message.id
)
union all
select 'an edit is out of line: ' || id from message where exists (
    select from public.message_edits as edit
    inner join public.message_edits as next on (next.message_id, next.version) = (edit.message_id, edit.version + 1)
    where edit.message_id = message.id and edit.replaced_at <> next.written_at
)
union all
select 'reaction: ' || id from lived
where (select count(*) from public.message_reactions where message_id = lived.id) <> (
    select count(*) filter (where kind = 'reaction.added') - count(*) filter (where kind = 'reaction.removed')
    from event where message_id = lived.id
)
union all
select 'pin: ' || id from lived
where (select count(*) from public.message_pins where message_id = lived.id) <> (
    select count(*) filter (where kind = 'message.pinned') - count(*) filter (where kind = 'message.unpinned')
    from event where message_id = lived.id
)
union all
select 'a deleted message is pinned: ' || id from message
where deleted_at is not null and exists (select from public.message_pins where message_id = message.id)
union all
select 'something happened to a deleted message: ' || late.message_id
from event as late inner join event as deleted on late.message_id = deleted.message_id
where deleted.kind = 'message.deleted' and late.seq > deleted.seq
union all
select 'search does not know what it says: ' || id from lived
where private.index_words(content, attachments) is distinct from (
    select words from private.message_words where message_id = lived.id
)
union all
select 'search knows what is gone: ' || message_id from private.message_words as entry
where channel_id = (select id from channel) and not exists (select from lived where id = entry.message_id)
"""


class Reply(NamedTuple):
    """What HTTP would answer."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def data(self) -> Any:
        """What was asked for; KeyError with the error when there is none."""
        return self.body["data"] if self.body["success"] else {}[json.dumps(self.body["error"])]

    @property
    def meta(self) -> Any:
        """What is said about the answer."""
        return self.body["meta"]

    @property
    def error(self) -> tuple[int, str, str | None]:
        """The status, the code and the field of an error."""
        return self.status, self.body["error"]["code"], self.body["error"].get("field")


def call(
    db: Db,
    function: str,
    user_id: str | None = MATTY,
    /,
    *,
    key: str | None = None,
    parameters: dict[str, str] | None = None,
    claims: dict[str, Any] | None = None,
    body: bytes | None = None,
    **fields: Any,
) -> Reply:
    """Call through the gateway, as service_role without a user; before and afterwards, be the role that signed in."""
    back(db)
    known = {"role": "authenticated", "sub": user_id} if user_id else {"role": "service_role"}
    answer = db.execute(
        "select status, headers::json, body::json from private.call(%s, %s, %s, %s, %s, %s)",
        (
            function,
            known["role"],
            json.dumps(known | (claims or {})),
            json.dumps({} if key is None else {"idempotency-key": key}),
            json.dumps(parameters or {}),
            json.dumps(fields).encode() if body is None else body,
        ),
    ).fetchone()
    back(db)
    return Reply(*answer)


def send(db: Db, content: str = "Hello", who: str = MATTY, channel_id: str = CHANNEL, **fields: Any) -> Any:
    """The id of a new message."""
    return call(db, "create_message", who, channel_id=channel_id, content=content, **fields).data["id"]


def unlimited(db: Db) -> None:
    """Let this test make as many requests as it likes."""
    db.execute("update private.settings set requests_per_minute = 1000000")


def events(db: Db, channel_id: str = CHANNEL, after: int = 0) -> list[tuple[str, str | None, str | None, str | None]]:
    """Kind, message, actor and emoji of the events of a channel."""
    return rows(
        db,
        """
        select kind, message_id::text, actor_id::text, emoji from public.message_events
        where channel_id = %s and seq > %s order by seq
        """,
        channel_id,
        after,
    )


def last_seq(db: Db, channel_id: str = CHANNEL) -> int:
    """The number of the newest event of a channel."""
    return value(db, "select last_seq from private.channel_counters where channel_id = %s", channel_id)


def inconsistencies(db: Db, channel_id: str = CHANNEL) -> list[str]:
    """What is wrong with a channel: its log, its counters; its messages' edits, reactions, pins and words."""
    return [row[0] for row in db.execute(INCONSISTENCIES, {"channel_id": channel_id}).fetchall()]


def sign(claims: dict[str, Any], secret: str = SECRET) -> str:
    """A token of the legacy kind, with exactly these claims."""
    return jwt.encode(claims, secret, algorithm="HS256")


def token(user_id: str, **claims: Any) -> str:
    """An access token of a user, for an hour."""
    given = {"sub": user_id, "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 3600}
    return sign(given | claims)


def bearer(token: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Team:
    """Users of one channel who speak HTTP; the first owns it, the others are members."""

    client: httpx.Client
    database_url: str  # of role postgres
    channel_id: str
    user_ids: list[str]

    @classmethod
    def create(cls, client: httpx.Client, database_url: str, size: int = 2) -> "Team":
        """Make the users and the channel."""
        with psycopg.connect(database_url) as db:
            user_ids = rows(
                db,
                """
                insert into auth.users (id, email, aud, role)
                select gen_random_uuid(), %s || n || '@example.com', 'authenticated', 'authenticated'
                from generate_series(1, %s) as n returning id::text
                """,
                f"team_{secrets.token_hex(8)}_",
                size,
            )
            statement = "insert into public.channels (name, created_by) values ('team', %s) returning id::text"
            channel_id = value(db, statement, user_ids[0])
            db.execute(
                "insert into public.channel_members (channel_id, user_id) select %s, unnest(%s::uuid[])",
                (channel_id, user_ids[1:]),
            )
        return cls(client, database_url, channel_id, user_ids)

    def request(self, method: str, path: str = "", who: int = 0, **options: Any) -> httpx.Response:
        """Send a request as one of the team."""
        headers = bearer(token(self.user_ids[who])) | options.pop("headers", {})
        return self.client.request(method, BASE + path, headers=headers, **options)

    def send(self, content: str = "Hello", who: int = 0, **fields: Any) -> httpx.Response:
        """Create a message."""
        return self.request("POST", who=who, json={"channel_id": self.channel_id, "content": content, **fields})

    def said(self, content: str = "Hello", who: int = 0, **fields: Any) -> str:
        """The id of a message that has just been created."""
        reply = self.send(content, who, **fields)
        assert reply.status_code == 201, reply.text
        return reply.json()["data"]["id"]

    def history(self, who: int = 0, **parameters: Any) -> Any:
        """The whole answer of a page of history."""
        reply = self.request("GET", "/history", who, params={"channel_id": self.channel_id, **parameters})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def query(self, statement: str, *parameters: object) -> list[Any]:
        """What the database says, asked as role postgres and committed."""
        with psycopg.connect(self.database_url) as db:
            return rows(db, statement, *parameters)

    def inconsistencies(self) -> list[str]:
        """What is wrong with the channel."""
        with psycopg.connect(self.database_url) as db:
            return inconsistencies(db, self.channel_id)


@contextmanager
def speaking(database_url: str, log: Path, **environment: str) -> Iterator[tuple[Service, httpx.Client]]:
    """A service that takes tokens of `sign`, and a client that speaks with it."""
    with ExitStack() as opened:
        service = opened.enter_context(serving(database_url, log, **{"JWT_SECRET": SECRET, **environment}))
        # Certificates are not loaded: that takes longer than most tests.
        url = f"http://127.0.0.1:{service.port}"
        hooks = {"response": [contract.check]}
        yield service, opened.enter_context(httpx.Client(base_url=url, timeout=60, verify=False, event_hooks=hooks))


def generous(cluster: TestCluster, template: str) -> str:
    """The name of a new database that limits nobody's requests."""
    name = cluster.create(template)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        unlimited(db)
    return name
