"""What each call answers to each kind of caller, and each row that a change touches, as transcript.txt keeps it.

A change of behaviour shows as a difference of that file. Read it, and accept it if it is meant:

    .venv/bin/python -m pytest -n 0 tests/transcript --accept
"""

import json
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.sql.test_neighbours import CHANGES, Garden, Plot, garden  # noqa: F401
from tests.support import transcript
from tests.support.calls import Reply, call, ingest
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, become_postgres
from tests.support.ingest import conversation, message
from tests.support.realtime import fire_deferred_triggers
from tests.support.transcript import Masks, State
from tests.support.world import BOB, CAROL, CHANNEL, JOHN_DOE, MALLORY, MATTY, MESSAGE, TWIN, WORKSPACE

FILE = Path(__file__).with_name("transcript.txt")
HEAD = "What test_transcript.py sees. It says how to accept a difference.\n"
CALLERS = {"matty": MATTY, "bob": BOB, "carol": CAROL, "mallory": MALLORY, "service": None}
LATER = "2026-02-05T10:00:00Z"

# Functions of the gateway with their arguments. Names of a plot's fields stand for its ids.
Calls = list[tuple[str, dict[str, Any]]]
CHANNELS = {"channel_id": CHANNEL}
READS: Calls = [
    *(
        ("list_messages", CHANNELS | more)
        for more in (
            {"limit": 3},
            {"limit": 2, "offset": 1},
            {"roots_only": True, "limit": 2},
            {"thread_id": "said"},
            {"before": MESSAGE, "limit": 2},
            {"after": MESSAGE, "limit": 2},
            {"around": "said", "limit": 4},
        )
    ),
    *(("get_message", {"id": each}) for each in ("said", "reply", MESSAGE)),
    ("list_message_edits", {"id": "said"}),
    *(
        ("search_messages", {"query": query, **more})
        for query, more in (
            ("deployment", {}),
            ("a edited", {}),
            ("b", {"limit": 1}),
            ("reply", {"channel_id": CHANNEL, "limit": 2}),
            ("edit", {"prefix": True, "offset": 1, "limit": 2}),
            ("nothing", {}),
        )
    ),
    ("list_channel_events", CHANNELS | {"since": 0, "limit": 5}),
    ("list_channel_events", CHANNELS | {"since": 6, "limit": 100}),
    ("list_user_events", {"since": 0}),
    ("list_my_channels", {}),
    ("list_my_channels", {"limit": 1}),
    ("list_workspaces", {}),
    ("get_workspace", {"workspace_id": WORKSPACE}),
    ("list_workspace_members", {"workspace_id": WORKSPACE}),
    ("list_workspace_members", {"workspace_id": WORKSPACE, "search": "car"}),
    ("list_invitations", {"workspace_id": WORKSPACE}),
    ("list_my_invitations", {}),
    ("list_conversations", {}),
    ("list_conversations", {"limit": 2}),
    ("list_inbox_changes", {"limit": 3}),
    ("list_inbox_changes", {"workspace_id": MATTY}),
    ("search_conversations", {"query": "hello"}),
    ("search_conversations", {"query": "hello", "conversation_id": "chat"}),
    ("export_conversation", {"conversation_id": "chat"}),
    ("export_channel", CHANNELS | {"limit": 4}),
    ("list_twin_deliveries", {"ai_twin_id": TWIN}),
    ("begin_summary", CHANNELS),
    ("begin_conversation_summary", {"conversation_id": "chat"}),
]
WRITES: Calls = [
    ("create_message", CHANNELS | {"content": f"Hi <@{BOB}>", "metadata": {"a": 1}}),
    ("create_message", CHANNELS | {"content": "From a twin", "ai_twin_id": TWIN}),
    ("create_message", CHANNELS | {"content": "A reply", "parent_message_id": "said"}),
    ("reply_to_message", {"id": "reply", "content": "Deeper"}),
    ("edit_message", {"id": "said", "content": "Other words"}),
    ("edit_message", {"id": MESSAGE, "content": "Other words"}),
    ("delete_message", {"id": "said"}),
    ("delete_message", {"id": "said", "admin": True}),
    ("pin_message", {"id": "reply"}),
    ("unpin_message", {"id": "said"}),
    ("toggle_reaction", {"id": "said", "emoji": "fire"}),
    ("add_reaction", {"id": "said", "emoji": "fire"}),
    ("remove_reaction", {"id": "said", "emoji": "fire"}),
    ("mark_read", CHANNELS | {"seq": 2}),
    ("begin_upload", {"conversation_id": CHANNEL, "files": [{"name": "new.txt"}]}),
    ("open_direct", {"user_ids": [CAROL]}),
    ("open_direct", {"user_ids": [BOB, CAROL], "workspace_id": WORKSPACE}),
    ("create_workspace", {"name": "New"}),
    ("update_workspace", {"workspace_id": WORKSPACE, "name": "Renamed", "channel_days": 30}),
    ("update_workspace", {"workspace_id": WORKSPACE, "language": "de", "home_country": "DE"}),
    ("set_member_role", {"workspace_id": WORKSPACE, "member_id": BOB, "role": "admin"}),
    ("set_member_role", {"workspace_id": WORKSPACE, "member_id": BOB, "role": "owner"}),
    ("remove_workspace_member", {"workspace_id": WORKSPACE, "member_id": BOB}),
    ("remove_workspace_member", {"workspace_id": WORKSPACE, "member_id": CAROL}),
    ("delete_workspace", {"workspace_id": WORKSPACE}),
    ("create_invitation", {"workspace_id": WORKSPACE, "email": "new@x.example", "role": "admin"}),
    ("revoke_invitation", {"invitation_id": "invitation"}),
    ("separate_conversation", {"conversation_id": "chat"}),
    ("merge_people", {"person_id": "person", "merged_person_id": "merged"}),
    ("change_number", {"person_id": "person", "phone": "+4915112349999"}),
    ("set_twin_webhook", {"ai_twin_id": TWIN, "url": "https://twin.example/hook"}),
    ("remove_twin_webhook", {"ai_twin_id": TWIN}),
    ("rotate_twin_secret", {"ai_twin_id": TWIN, "overlap_hours": 2}),
    ("replay_twin_deliveries", {"ai_twin_id": TWIN}),
    ("claim_deliveries", {"limit": 2, "lease_seconds": 60}),
    ("erase_person", {"person_id": "person"}),
    ("erase_user", {"user_id": BOB}),
    ("clean_up", {"limit": 10}),
    ("index_conversations", {"limit": 10}),
]
# Requests to ingest about the first conversation of the plot, or a new one.
INGESTS: dict[str, dict[str, Any]] = {
    "a new conversation of a known person": conversation(
        message("n1"), external_id="n", participant_identifier="5551234567"
    ),
    "a later name": conversation(message("4", sent_at=LATER), external_id="a", participant_name="Anna"),
    "an earlier message": conversation(
        message("0", sent_at="2025-01-01T10:00:00Z"), external_id="a", participant_name="Old"
    ),
    "a repeated and a new message": conversation(message("1"), message("7", sent_at=LATER), external_id="a"),
    "a message without text": conversation(message("8", content=None, type="image", sent_at=LATER), external_id="a"),
    "an own message": conversation(message("9", sender="self", sent_at=LATER), external_id="a"),
    "updates of all kinds": conversation(
        external_id="a",
        updates=[
            {"message_id": known, "type": kind, "at": LATER, **more}
            for known, kind, more in (
                ("1", "delivered", {}),
                ("1", "read", {}),
                ("2", "edited", {"content": "Edited"}),
                ("3", "deleted", {}),
                ("3", "reaction", {"emoji": "wave", "by": "@ann"}),
                ("1", "failed", {"reason": "blocked"}),
                ("x", "edited", {"content": "Waits"}),
            )
        ],
    ),
    "a group with participants": conversation(
        message("6", sender="@ann", sent_at=LATER),
        external_id="ag",
        kind="group",
        participants=[{"identifier": "@ann", "name": "Ann"}, {"identifier": "+4915112340006", "has_left": True}],
    ),
    "another identifier": conversation(
        external_id="a", identifiers=[{"kind": "whatsapp_lid", "value": "137180000000009@lid"}]
    ),
    "a continued conversation": conversation(message("5", sent_at=LATER), external_id="a3", continues="a"),
    "an error and a success": conversation(message("7", sent_at="never"), external_id="a"),
}
ROWS: dict[str, tuple[str, str]] = {
    "rename the channel": (MATTY, f"update public.channels set name = 'renamed' where id = '{CHANNEL}'"),
    "change the language of the channel": (MATTY, f"update public.channels set language = 'de' where id = '{CHANNEL}'"),
    "leave the channel": (
        BOB,
        f"delete from public.channel_members where channel_id = '{CHANNEL}' and user_id = '{BOB}'",
    ),
    "add a member": (
        MATTY,
        f"insert into public.channel_members (channel_id, user_id) select id, '{CAROL}' from public.channels "
        "where name = 'x'",
    ),
    "make an owner": (
        MATTY,
        f"update public.channel_members set role = 'owner' where channel_id = '{CHANNEL}' and user_id = '{BOB}'",
    ),
    "say the same role": (MATTY, f"update public.channel_members set role = role where channel_id = '{CHANNEL}'"),
    "insert a message": (
        BOB,
        f"insert into public.messages (id, channel_id, content) values ('{JOHN_DOE}', '{CHANNEL}', 'Direct')",
    ),
    "rename a person": (MATTY, f"update public.people set full_name = 'Jon' where id = '{JOHN_DOE}'"),
    "insert a person with a known number": (
        MATTY,
        f"insert into public.people (workspace_id, full_name, phone) values ('{MATTY}', 'Twin', '+4915112345011')",
    ),
    "delete a person": (MATTY, f"delete from public.people where id = '{JOHN_DOE}'"),
    "read a conversation to its end": (
        MATTY,
        "select public.mark_conversation_read(id) from public.conversations where external_conversation_id = 'a'",
    ),
    "rename a twin": (MATTY, f"update public.ai_twins set display_name = 'Other' where id = '{TWIN}'"),
}


class Scene(NamedTuple):
    """The planted rows, what is known of them, and how to write about them."""

    db: Db
    plot: Plot
    masks: Masks
    tables: dict[str, list[str]]
    before: State

    def fill(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with the ids of the plot."""
        return {
            name: getattr(self.plot, given, given) if isinstance(given, str) else given
            for name, given in fields.items()
        }

    def changes(self) -> list[str]:
        """Return what has changed."""
        become_postgres(self.db)
        fire_deferred_triggers(self.db)
        return transcript.list_changes(self.before, transcript.read_state(self.db, self.tables), self.masks)

    def reply(self, reply: Reply) -> str:
        """Return an answer as a line."""
        return f"{reply.status} {self.masks.line(reply.body)}"


@pytest.fixture(scope="module")
def postgres_url(cluster: TestCluster, template: str) -> str:
    """Role postgres in a database of its own, where no other test has left anything."""
    return cluster.url(cluster.create(template), "postgres")


@pytest.fixture(scope="module")
def scene(garden: Garden) -> Scene:  # noqa: F811
    """The planted rows."""
    db = garden.db
    become_postgres(db)
    named = {MATTY: "matty", BOB: "bob", CAROL: "carol", MALLORY: "mallory", CHANNEL: "channel", TWIN: "twin"}
    named |= {WORKSPACE: "workspace", MESSAGE: "message", JOHN_DOE: "john"}
    near = {
        each: f"{place} {number}"
        for place in ("all", "workspace", "channel")
        for number, each in enumerate(garden.neighbours[place])
    }
    plot = {each: name for name, each in garden.mine._asdict().items() if isinstance(each, str)}
    # One transaction has made them all at one moment.
    db.execute("update public.workspace_invitations set created_at = created_at + ascii(email) * interval '1 second'")
    tables = transcript.list_tables(db)
    return Scene(db, garden.mine, Masks(near | plot | named), tables, transcript.read_state(db, tables))


def run(scene: Scene, function: str, fields: dict[str, Any]) -> Iterator[str]:
    """Yield what a call answers to each caller, and what it changes for the first who may."""
    seen: dict[str, str] = {}
    has_changed = False
    for name, user_id in CALLERS.items():
        with scene.db.transaction(force_rollback=True):
            line = scene.reply(call(scene.db, function, user_id, **scene.fill(fields)))
            yield f"{name}: {f'as {seen[line]}' if line in seen else line}"
            seen.setdefault(line, name)
            if line.startswith("2") and not has_changed:
                has_changed = True
                yield from scene.changes()


SECTIONS: dict[str, Any] = {
    **{
        f"{function} {json.dumps(fields, sort_keys=True)}": lambda scene, f=function, g=fields: run(scene, f, g)
        for function, fields in READS + WRITES
    },
    **{
        f"ingest {name}": lambda scene, given=given: [
            scene.masks.line(ingest(scene.db, given, conversation(message("z"), external_id="z")).body),
            *scene.changes(),
        ]
        for name, given in INGESTS.items()
    },
    **{
        f"change {name}": lambda scene, change=change: [str(change(scene.db, scene.plot) and ""), *scene.changes()]
        for name, (_, change) in CHANGES.items()
    },
    **{
        f"rows {name}": lambda scene, who=who, text=text: [
            str(become(scene.db, who) or scene.db.execute(text).rowcount),
            *scene.changes(),
        ]
        for name, (who, text) in ROWS.items()
    },
}


# They change rows in the order of random ids.
UNORDERED = (
    "erase_user",
    "delete_workspace",
    "remove_workspace_member",
    "change erase a user",
    "change delete an owner",
    "change delete a workspace",
    "change delete a channel",
    "change remove a member",
)


@pytest.fixture(scope="module")
def known(pytestconfig: pytest.Config) -> Iterator[dict[str, list[str]]]:
    """The sections of the file. `--accept` drops those that no test makes, and writes the others at the end."""
    sections = transcript.parse(FILE.read_text(encoding="utf-8"))
    if not pytestconfig.getoption("accept"):
        yield sections
        return
    kept = {name: lines for name, lines in sections.items() if name in SECTIONS}
    yield kept
    FILE.write_text(transcript.render(HEAD, kept), encoding="utf-8")


@pytest.mark.parametrize("name", SECTIONS, ids=[f"{n} {name[:40]}" for n, name in enumerate(SECTIONS)])
def test_behaviour_is_that_of_the_transcript(
    scene: Scene, known: dict[str, list[str]], name: str, pytestconfig: pytest.Config
) -> None:
    if name.startswith(UNORDERED):
        scene = scene._replace(masks=scene.masks.hide("seq", "prev_seq"))
    with scene.db.transaction(force_rollback=True):
        seen = list(SECTIONS[name](scene))
    if pytestconfig.getoption("accept"):
        known[name] = seen
    differences = "\n".join(unified_diff(known.get(name, []), seen, "transcript.txt", "seen", n=0, lineterm=""))
    assert not differences, differences


def test_transcript_has_no_other_section(known: dict[str, list[str]]) -> None:
    assert set(known) == set(SECTIONS)
