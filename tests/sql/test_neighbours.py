"""A change of one row leaves its neighbours as they are: the next message, conversation, person, channel, workspace."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.calls import ask, call, ingest, post
from tests.support.database import Db, become, become_postgres, lift_request_limit, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.realtime import fire_deferred_triggers
from tests.support.world import API_KEY, BOB, CHANNEL, MALLORY, MATTY, TWIN, WHATSAPP, WORKSPACE

STORE = "insert into storage.objects (bucket_id, name, owner_id, metadata) values ('attachments', %s, %s, %s)"
LATER = "2026-02-03T10:00:00Z"
OTHER = "07be4000-0000-4000-8000-000000000005"  # a user of a workspace of Mallory


class Plot(NamedTuple):
    """What grows in one place: a message, conversations, a person and an invitation."""

    ids: list[str]
    said: str
    reply: str
    chat: str
    person: str
    merged: str
    invitation: str


class Ground(NamedTuple):
    """Where it grows."""

    workspace_id: str
    inbox: str  # the workspace of the connection
    channel_id: str
    owner: str
    writer: str
    connection_id: str
    key: str


def plant(db: Db, ground: Ground, name: str, number: int) -> Plot:
    """Make a row of every kind."""
    place = {"conversation_id": ground.channel_id}
    [file] = call(db, "begin_upload", ground.writer, **place, files=[{"name": name}]).data["files"]
    db.execute(STORE, (file["path"], ground.writer, Jsonb({"size": 5, "mimetype": "text/plain"})))
    call(db, "finish_upload", ground.writer, **place, files=[file])
    content = f"{name} <@{ground.owner}>"
    fields = {"content": content, "attachments": [{"attachment_id": file["id"]}]}
    said = call(db, "create_message", ground.writer, key=name, channel_id=ground.channel_id, **fields).data["id"]
    reply = call(db, "reply_to_message", ground.owner, id=said, content=f"{name} reply").data["id"]
    for who, function, more in (
        (ground.writer, "edit_message", {"content": f"{content} edited"}),
        (ground.owner, "add_reaction", {"emoji": "fire"}),
        (ground.writer, "add_reaction", {"emoji": "wave"}),
        (ground.owner, "pin_message", {}),
    ):
        call(db, function, who, id=said, **more)
    messages = [message("1"), message("2", type="image"), message("3", sent_at=LATER)]
    updates = [
        {"message_id": known, "type": kind, "at": LATER, **more}
        for known, kind, more in (
            ("1", "read", {}),
            ("3", "reaction", {"emoji": "fire", "by": "@ann"}),
            ("9", "edited", {"content": "waits"}),
        )
    ]
    participants = [{"identifier": f"+4915112345{number:02}", "name": name}]
    chats = [
        conversation(*messages, external_id=name, updates=updates, participant_identifier=f"+4915112345{number:02}"),
        conversation(message("4"), external_id=f"{name}2", continues=name, participant_identifier=f"@{name}"),
        conversation(message("5", sender="@ann"), external_id=f"{name}g", kind="group", participants=participants),
    ]
    for each in chats:
        body = request(each, connection_id=ground.connection_id, media_uploads=True)
        answer = post(db, json.dumps(body).encode(), ground.key)
        assert not answer.statuses[0].startswith("error"), answer.statuses
    found = "select id::text from public.conversations where external_conversation_id = %s and workspace_id = %s"
    chat, group = (value(db, found, chat, ground.inbox) for chat in (name, f"{name}g"))
    become(db, ground.owner)
    insert = "insert into public.people (workspace_id, full_name, phone) values (%s, %s, %s) returning id::text"
    person, merged = (
        value(db, insert, ground.inbox, f"{name} {suffix}", f"+491511234{suffix}{number:02}") for suffix in (5, 6)
    )
    known = "insert into public.person_identifiers (person_id, kind, value) values (%s, 'email', %s)"
    db.execute(known, (person, f"{name}@x.example"))
    invited = value(db, "select public.create_invitation(%s, email => %s)", ground.workspace_id, f"{name}@y.example")
    db.execute("select public.mark_conversation_read(%s, '2026-02-01T10:30:00Z')", (chat,))
    become_postgres(db)
    ids = [said, reply, chat, group, person, merged, invited["id"], file["id"]]
    return Plot(ids, said, reply, chat, person, merged, invited["id"])


def finish(db: Db, ground: Ground) -> None:
    """Add what a channel has once."""
    db.execute(
        "insert into private.summaries (channel_id, last_seq, requested_count, model, prompt_version,"
        " lease_expires_at, answer, finished_at) values (%s, 1, 1, 'x', 1, now(), '{}', now())",
        (ground.channel_id,),
    )
    become(db, ground.writer)
    db.execute("select public.mark_read(%s, 1)", (ground.channel_id,))
    become_postgres(db)


def list_tables(db: Db) -> list[str]:
    query = """
        select oid::regclass::text from pg_class
        where relnamespace::regnamespace::text in ('public', 'private') and relkind in ('r', 'p')
            and not relispartition
    """
    return [*rows(db, query), "realtime.messages", "storage.objects"]


class Garden(NamedTuple):
    """All plots: the one to change, and its neighbours in the channel, in the workspace, and in another workspace."""

    db: Db
    mine: Plot
    neighbours: dict[str, list[str]]
    query: str
    before: dict[str, set[Any]]

    def state(self, ids: list[str]) -> set[Any]:
        """All rows that contain one of these ids."""
        become_postgres(self.db)
        return set(rows(self.db, self.query, "|".join(ids)))


@pytest.fixture(scope="module")
def garden(postgres_url: str) -> Iterator[Garden]:
    """Plant everything in a transaction that never commits."""
    with psycopg.connect(postgres_url) as db:
        lift_request_limit(db)
        user = "insert into auth.users (id, email, aud, role) values (%s, %s, 'authenticated', 'authenticated')"
        db.execute(user, (OTHER, "other@x.example"))
        become(db, MALLORY)
        apart = value(db, "select public.create_workspace('Apart') ->> 'id'")
        connect = "select public.create_messaging_connection('whatsapp', 'third', %s) ->> 'api_secret'"
        secret = value(db, connect, apart)
        become_postgres(db)
        db.execute("insert into public.workspace_members (workspace_id, user_id) values (%s, %s)", (apart, OTHER))
        second, third = (
            value(
                db,
                "insert into public.channels (workspace_id, name, created_by) values (%s, 'x', %s) returning id::text",
                *place,
            )
            for place in ((WORKSPACE, MATTY), (apart, MALLORY))
        )
        join = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
        for place in ((second, BOB), (third, OTHER)):
            db.execute(join, place)
        grounds = [
            Ground(WORKSPACE, MATTY, CHANNEL, MATTY, BOB, WHATSAPP[1], API_KEY),
            Ground(WORKSPACE, MATTY, second, MATTY, BOB, WHATSAPP[1], API_KEY),
            Ground(apart, apart, third, MALLORY, OTHER, "third", secret),
        ]
        mine, sibling = plant(db, grounds[0], "a", 11), plant(db, grounds[0], "b", 12)
        cousin, alien = plant(db, grounds[1], "c", 13), plant(db, grounds[2], "a", 11)
        for ground in grounds:
            finish(db, ground)
        while ask(db, None, "index_conversations")["indexed"]:
            pass
        # What this transaction made counts as new, and a new conversation has no next version.
        db.execute("update public.conversations set created_at = created_at - interval '1 day'")
        fire_deferred_triggers(db)
        far = [*alien.ids, third, apart, OTHER]
        neighbours = {
            "channel": [*sibling.ids, *cousin.ids, *far],
            "workspace": [*cousin.ids, second, *far],
            "all": far,
            "mine": [*mine.ids, CHANNEL, WORKSPACE, MATTY, TWIN],
        }
        query = " union all ".join(
            f"select '{table}' as name, t::text as line from {table} as t where t::text ~ given.pattern"
            for table in list_tables(db)
        )
        query = f"select found.* from (select %s::text as pattern) as given, lateral ({query}) as found"
        garden = Garden(db, mine, neighbours, query, {})
        garden.before.update({near: garden.state(ids) for near, ids in neighbours.items()})
        yield garden
        db.rollback()


Change = Callable[[Db, Plot], Any]


def calls(function: str, who: str | None = BOB, /, **fields: Any) -> Change:
    """Call a function about the message."""
    return lambda db, mine: call(db, function, who, id=mine.said, **fields).data


def asks(who: str | None, function: str, **fields: Any) -> Change:
    """Call a function; names of fields of the plot stand for their values."""
    return lambda db, mine: ask(
        db, who, function, **{name: getattr(mine, given, given) for name, given in fields.items()}
    )


def runs(statement: str, field: str | None = None) -> Change:
    """Run a statement about something of the plot as role postgres."""
    return lambda db, mine: db.execute(statement, [getattr(mine, field)] if field else [])


def ingests(*messages: Any, **fields: Any) -> Change:
    """Ingest something of the conversation again."""
    return lambda db, _: ingest(db, conversation(*messages, external_id="a", **fields)).statuses


def updates(known: str, kind: str, **fields: Any) -> Change:
    """Ingest an update of a message of the conversation."""
    return ingests(updates=[{"message_id": known, "type": kind, "at": "2026-02-04T10:00:00Z", **fields}])


CHANGES: dict[str, tuple[str, Change]] = {
    "edit a message": ("channel", calls("edit_message", content="again")),
    "delete a message": ("channel", calls("delete_message")),
    "delete the row of a message": ("channel", runs("delete from public.messages where id = %s", "said")),
    "delete a reply": ("channel", lambda db, mine: call(db, "delete_message", MATTY, id=mine.reply).data),
    "add a reaction": ("channel", calls("add_reaction", emoji="heart")),
    "remove a reaction": ("channel", calls("remove_reaction", emoji="wave")),
    "toggle a reaction": ("channel", calls("toggle_reaction", emoji="wave")),
    "unpin a message": ("channel", calls("unpin_message", MATTY)),
    "edit a received message": ("channel", updates("1", "edited", content="again")),
    "delete a received message": ("channel", updates("2", "deleted")),
    "react to a received message": ("channel", updates("1", "reaction", emoji="fire")),
    "read a received message": ("channel", updates("3", "read")),
    "receive a message that an update waits for": ("channel", ingests(message("9"))),
    "receive a message with another text": ("channel", ingests(message("1", content="other"))),
    "delete the row of a received message": (
        "channel",
        runs("delete from public.conversation_messages where conversation_id = %s and external_id = '2'", "chat"),
    ),
    "delete a conversation": ("channel", runs("delete from public.conversations where id = %s", "chat")),
    "separate a conversation": ("channel", asks(MATTY, "separate_conversation", conversation_id="chat")),
    "mark a conversation": (
        "channel",
        lambda db, mine: (become(db, MATTY), db.execute("select public.mark_conversation_read(%s)", (mine.chat,))),
    ),
    "delete a person": ("channel", runs("delete from public.people where id = %s", "person")),
    "erase a person": ("channel", asks(None, "erase_person", person_id="person")),
    "change the number of a person": (
        "channel",
        asks(MATTY, "change_number", person_id="person", phone="+4915112349999"),
    ),
    "merge two people": ("channel", asks(MATTY, "merge_people", person_id="person", merged_person_id="merged")),
    "remove the number of a person": (
        "channel",
        runs("update public.people set phone = null where id = %s", "person"),
    ),
    "remove an identifier of a person": (
        "channel",
        runs("delete from public.person_identifiers where person_id = %s", "person"),
    ),
    "revoke an invitation": (
        "channel",
        lambda db, mine: (become(db, MATTY), db.execute("select public.revoke_invitation(%s)", (mine.invitation,))),
    ),
    "remove a member of the channel": (
        "workspace",
        runs(f"delete from public.channel_members where channel_id = '{CHANNEL}' and user_id = '{BOB}'"),
    ),
    "remove a twin of the channel": (
        "workspace",
        runs(f"delete from public.channel_twins where channel_id = '{CHANNEL}' and ai_twin_id = '{TWIN}'"),
    ),
    "delete a channel": ("workspace", runs(f"delete from public.channels where id = '{CHANNEL}'")),
    "delete a connection": (
        "all",
        runs("delete from public.messaging_connections where connection_id = 'wa_business_123'"),
    ),
    "remove a member of the workspace": (
        "all",
        runs(f"delete from public.workspace_members where workspace_id = '{WORKSPACE}' and user_id = '{BOB}'"),
    ),
    "erase a user": ("all", lambda db, _: call(db, "erase_user", None, user_id=BOB).data),
    "delete an owner": ("all", runs(f"delete from auth.users where id = '{MATTY}'")),
    "delete a workspace": ("all", runs(f"delete from public.workspaces where id = '{WORKSPACE}'")),
    "delete a twin": ("all", runs(f"delete from public.ai_twins where id = '{TWIN}'")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_leaves_neighbours_as_they_are(garden: Garden, name: str) -> None:
    near, change = CHANGES[name]
    db = garden.db
    with db.transaction(force_rollback=True):
        change(db, garden.mine)
        become_postgres(db)
        fire_deferred_triggers(db)
        for each, is_changed in ((near, False), ("mine", True)):
            changed = garden.state(garden.neighbours[each]) ^ garden.before[each]
            assert bool(changed) == is_changed, changed
