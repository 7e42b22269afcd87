"""What the calls that read channels answer, compared whole with what was written: every page, reader and cursor."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.calls import Reply, call
from tests.support.database import Db, become_postgres, lift_request_limit, rows, value
from tests.support.world import BOB, CAROL, MALLORY, MATTY, TWIN, UNKNOWN_ID, WORKSPACE

# (name, channel, author, parent, text). Not Bob is a twin with the id of Bob.
SAID = [
    ("a1", "A", "bob", None, "alpha one"),
    ("a2", "A", "carol", None, "alpha two"),
    ("a3", "A", "matty", "a1", "reply three"),
    ("a4", "A", "twin", "a3", "reply to a reply"),
    ("a5", "A", "dora", "a1", "reply of a former member"),
    ("a6", "A", "not bob", "a1", "reply of the other twin"),
    ("a7", "A", "carol", "a1", "reply of carol"),
    ("b1", "B", "bob", None, "alpha elsewhere"),
    ("a8", "A", "bob", "a1", "reply of bob"),
    ("a9", "A", "matty", "a1", "the last reply, edited"),
    ("a10", "A", "matty", None, "deleted root"),
    ("a11", "A", "carol", "a10", "reply to a deleted root"),
    ("b2", "B", "matty", "b1", "reply elsewhere"),
    ("a12", "A", "bob", "a2", "deleted reply"),
    ("a13", "A", "erin", "a2", "reply of a deleted user"),
    ("c1", "C", "mallory", None, "alpha of another workspace"),
    ("a14", "A", "twin", "a2", "reply of the twin"),
    ("a15", "A", "carol", None, "alpha last"),
]
DELETED = ("a10", "a12")
# (message, user, emoji, minutes after the first)
REACTIONS = [
    ("a1", "carol", "fire", 1),
    ("a1", "bob", "fire", 2),
    ("a1", "matty", "zap", 0),
    ("a1", "matty", "ant", 3),
    ("a3", "bob", "fire", 4),
    ("b1", "matty", "fire", 5),
]
PINS = {"a1": "carol", "a3": "bob", "b1": "matty"}
EDITS = {"a2": ["first text", "second text"], "a9": ["the last reply"]}


class Scene(NamedTuple):
    """All that was written: channels, ids of users and twins, and the rows of messages by name."""

    db: Db
    channels: dict[str, str]
    people: dict[str, str]
    said: dict[str, dict[str, Any]]

    def name_of(self, message_id: str) -> str:
        return next(name for name, row in self.said.items() if row["id"] == message_id)


def write(db: Db, channels: dict[str, str], people: dict[str, str]) -> dict[str, str]:
    """Write all messages, and what is done to them; return their ids."""
    ids: dict[str, str] = {}
    for name, channel, author, parent, text in SAID:
        fields = {"ai_twin_id": people[author]} if author in {"twin", "not bob"} else {}
        owner = people[{"twin": "matty", "not bob": "carol"}.get(author, author)]
        first, *later = [*EDITS.get(name, []), text]
        ids[name] = call(
            db,
            "create_message",
            owner,
            channel_id=channels[channel],
            content=first,
            parent_message_id=ids.get(parent or ""),
            metadata={"name": name},
            **fields,
        ).data["id"]
        for content in later:
            assert call(db, "edit_message", owner, id=ids[name], content=content).status == 200
    for name, user, emoji, minutes in REACTIONS:
        assert call(db, "add_reaction", people[user], id=ids[name], emoji=emoji).status == 200
        db.execute(
            "update public.message_reactions set created_at = '2026-01-01T10:00Z'::timestamptz + %s * interval '1 min'"
            " where message_id = %s and user_id = %s and emoji = %s",
            (minutes, ids[name], people[user], emoji),
        )
    for name, user in PINS.items():
        assert call(db, "pin_message", people[user], id=ids[name]).status == 200
    assert call(db, "pin_message", people["bob"], id=ids["a2"]).status == 200
    assert call(db, "unpin_message", people["carol"], id=ids["a2"]).status == 200
    for name in DELETED:
        assert call(db, "delete_message", MATTY, id=ids[name], admin=True).status == 200
    return ids


@pytest.fixture(scope="module")
def scene(postgres_url: str) -> Iterator[Scene]:
    """Write everything in a transaction that never commits."""
    with psycopg.connect(postgres_url) as db:
        lift_request_limit(db)
        people = {"matty": MATTY, "bob": BOB, "carol": CAROL, "mallory": MALLORY, "twin": TWIN, "not bob": BOB}
        for name in ("dora", "erin"):
            user = "insert into auth.users (id, email, aud, role, raw_user_meta_data) values (gen_random_uuid(), %s,"
            user += " 'authenticated', 'authenticated', jsonb_build_object('full_name', %s::text)) returning id::text"
            people[name] = value(db, user, f"{name}@x.example", name.title())
            member = "insert into public.workspace_members (workspace_id, user_id) values (%s, %s)"
            db.execute(member, (WORKSPACE, people[name]))
        make = "insert into public.channels (workspace_id, name, created_by) values (%s, %s, %s) returning id::text"
        channels = {name: value(db, make, WORKSPACE, name, MATTY) for name in "AB"}
        channels["C"] = value(db, make, MALLORY, "C", MALLORY)
        join = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
        for name, user in (("A", "bob"), ("A", "carol"), ("A", "dora"), ("A", "erin"), ("B", "bob")):
            db.execute(join, (channels[name], people[user]))
        db.execute(
            "insert into public.ai_twins (id, user_id, display_name, avatar_url)"
            " values (%s, %s, 'Not Bob', 'https://x.example/not.png')",
            (BOB, CAROL),
        )
        assign = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
        for twin in (TWIN, BOB):
            db.execute(assign, (channels["A"], twin))
        ids = write(db, channels, people)
        db.execute(
            "delete from public.channel_members where channel_id = %s and user_id = %s", (channels["A"], people["dora"])
        )
        db.execute("delete from auth.users where id = %s", (people["erin"],))
        # Former members make no turn here: the topic is that of a channel that nobody left.
        db.execute("update private.channel_counters set sealed_until = '-infinity'")
        stored = """
            select id::text, seq, private.format_time(created_at) as created_at,
                private.format_time(updated_at) as updated_at, updated_at > created_at as is_edited
            from public.messages where id = any(%s)
        """
        found = {row[0]: row for row in rows(db, stored, list(ids.values()))}
        said = {}
        for name, channel, author, parent, text in SAID:
            id_, seq, created_at, updated_at, _ = found[ids[name]]
            root = said[parent]["root"] or parent if parent else None
            said[name] = {
                "id": id_,
                "seq": seq,
                "created_at": created_at,
                "updated_at": updated_at,
                "channel": channel,
                "author": author,
                "parent": parent,
                "root": root,
                "text": text,
            }
        yield Scene(db, channels, people, said)
        db.rollback()


def author_of(scene: Scene, author: str) -> dict[str, Any]:
    """Return the author as a page shows it."""
    names = {
        "bob": "Bob Okafor",
        "carol": "Carol Lindqvist",
        "matty": "Matty Squarzoni",
        "mallory": "Mallory Pike",
        "twin": "Matty's twin",
        "not bob": "Not Bob",
        "dora": "Dora",
    }
    is_twin = author in {"twin", "not bob"}
    return {
        "user_id": None if is_twin or author == "erin" else scene.people[author],
        "ai_twin_id": scene.people[author] if is_twin else None,
        "display_name": names.get(author),
        "avatar_url": "https://x.example/not.png" if author == "not bob" else None,
    }


def thread_of(scene: Scene, name: str) -> list[str]:
    """Return the replies of a thread that are left, newest first."""
    replies = [reply for reply, row in scene.said.items() if row["root"] == name and reply not in DELETED]
    return sorted(replies, key=lambda reply: -scene.said[reply]["seq"])


def reactions_of(scene: Scene, name: str, reader: str | None) -> list[dict[str, Any]]:
    """Return the reactions of a message, in the order of their first use."""
    made = sorted((minutes, emoji, scene.people[user]) for said, user, emoji, minutes in REACTIONS if said == name)
    return [
        {
            "emoji": emoji,
            "count": len(users := [user for _, each, user in made if each == emoji]),
            "user_ids": users,
            "reacted": reader in users,
        }
        for emoji in dict.fromkeys(emoji for _, emoji, _ in made)
    ]


def rendered(scene: Scene, name: str, reader: str | None) -> dict[str, Any]:
    """Return a message as a page shows it to a reader."""
    row = scene.said[name]
    replies = thread_of(scene, name)
    authors = list(dict.fromkeys(scene.said[reply]["author"] for reply in replies))
    pin = {}
    if name in PINS:
        at = value(
            scene.db, "select private.format_time(pinned_at) from public.message_pins where message_id = %s", row["id"]
        )
        pin = {"pinned": True, "pinned_by": scene.people[PINS[name]], "pinned_at": at}
    return {
        "id": row["id"],
        "channel_id": scene.channels[row["channel"]],
        "content": row["text"],
        "content_type": "text",
        **author_of(scene, row["author"]),
        "parent_message_id": row["parent"] and scene.said[row["parent"]]["id"],
        "thread_id": row["root"] and scene.said[row["root"]]["id"],
        "conversation_id": None,
        "metadata": {"name": name, **pin},
        "attachments": None,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "edited_at": row["updated_at"] if name in EDITS else None,
        "seq": row["seq"],
        "reactions": reactions_of(scene, name, reader),
        "reply_count": len(replies),
        "last_reply_at": scene.said[replies[0]]["created_at"] if replies else None,
        "participants": [author_of(scene, author) for author in authors if author != "erin"][:5],
    }


def names(scene: Scene, reply: Reply) -> list[str]:
    return [scene.name_of(message["id"]) for message in reply.data]


def shown_in(scene: Scene, channel: str, thread: str | None = None, *, roots: bool = False) -> list[str]:
    """Return the messages of a view, newest first."""
    return sorted(
        (
            name
            for name, row in scene.said.items()
            if row["channel"] == channel
            and name not in DELETED
            and thread in {None, row["root"]}
            and (not roots or row["root"] is None or row["root"] in DELETED)
        ),
        key=lambda name: -scene.said[name]["seq"],
    )


VIEWS: dict[str, tuple[str, str | None, bool]] = {
    "a channel": ("A", None, False),
    "another channel": ("B", None, False),
    "its messages that are not replies": ("A", None, True),
    "a thread": ("A", "a1", False),
    "a thread with a deleted reply": ("A", "a2", False),
    "a thread whose root is deleted": ("A", "a10", False),
    "a thread of another channel": ("B", "b1", False),
    "a message without replies": ("A", "a15", False),
}


@pytest.mark.parametrize("reader", [MATTY, BOB, CAROL, None], ids=["owner", "member", "other member", "service"])
def test_page_shows_all_that_was_written(scene: Scene, reader: str | None) -> None:
    for view, (channel, thread, roots) in VIEWS.items():
        if reader == CAROL and channel == "B":
            continue
        fields = {"channel_id": scene.channels[channel], "roots_only": roots or None}
        fields |= {"thread_id": scene.said[thread]["id"]} if thread else {}
        page = call(scene.db, "list_messages", reader, **fields)
        wanted = shown_in(scene, channel, thread, roots=roots)
        assert page.data == [rendered(scene, name, reader) for name in wanted], view
        last = value(
            scene.db, "select last_seq from private.channel_counters where channel_id = %s", scene.channels[channel]
        )
        assert page.meta == {
            "total": len(wanted if thread else shown_in(scene, channel)),
            "page": 1,
            "limit": 50,
            "offset": 0,
            "next_cursor": None,
            "last_seq": last,
            "topic": f"channel:{scene.channels[channel]}",
        }, view


@pytest.mark.parametrize("view", VIEWS)
def test_pages_follow_each_cursor_in_both_directions(scene: Scene, view: str) -> None:
    channel, thread, roots = VIEWS[view]
    fields: dict[str, Any] = {"channel_id": scene.channels[channel], "roots_only": roots or None}
    fields |= {"thread_id": scene.said[thread]["id"]} if thread else {}
    every = shown_in(scene, channel, thread, roots=roots)
    cursors = [name for name, row in scene.said.items() if row["channel"] == channel]
    for at, limit in ((at, limit) for at in (None, *cursors[::3]) for limit in (1, 3)):
        for direction in ("before", "after"):
            for offset in (0, 1):
                seq = scene.said[at]["seq"] if at else 0 if direction == "after" else 10**6
                sign = 1 if direction == "after" else -1
                rest = [name for name in every if (scene.said[name]["seq"] - seq) * sign > 0]
                rest = rest[::-1] if sign > 0 else rest
                cursor = scene.said[at]["id"] if at and limit == 1 else f"seq_{seq}"
                page = call(
                    scene.db,
                    "list_messages",
                    BOB,
                    **fields,
                    limit=limit,
                    offset=offset,
                    **{direction: cursor},
                )
                found = rest[offset : offset + limit]
                case = (at, limit, direction, offset)
                assert names(scene, page) == (found[::-1] if sign > 0 else found), case
                more = len(rest) > offset + limit
                assert page.meta == {
                    "total": len(every if thread else shown_in(scene, channel)),
                    "page": offset // limit + 1,
                    "limit": limit,
                    "offset": offset,
                    "next_cursor": f"seq_{scene.said[found[-1]]['seq']}" if more else None,
                }, case


def test_each_message_is_read_alone_by_members_only(scene: Scene) -> None:
    readers = {MATTY: "AB", BOB: "AB", CAROL: "A", MALLORY: "C", scene.people["dora"]: "", None: "ABC"}
    missing = (404, "message_not_found", None)
    for reader, channels in readers.items():
        for name, row in scene.said.items():
            read = call(scene.db, "get_message", reader, id=row["id"])
            edits = call(scene.db, "list_message_edits", reader, id=row["id"])
            if row["channel"] not in channels or name in DELETED:
                assert (read.error, edits.error) == (missing, missing), (reader, name)
                continue
            count = sum(said == name for said, *_ in REACTIONS)
            assert read.data == rendered(scene, name, reader) | {"reaction_count": count}, (reader, name)
            texts = EDITS.get(name, [])
            assert [(edit["version"], edit["content"]) for edit in edits.data] == list(enumerate(texts, 1))
            times = [edit["written_at"] for edit in edits.data] + [row["updated_at"]]
            assert times[0] == row["created_at"], name
            assert [edit["replaced_at"] for edit in edits.data] == times[1:], name
        assert call(scene.db, "get_message", reader, id=UNKNOWN_ID).error == missing
    become_postgres(scene.db)


def test_export_has_all_that_pages_show(scene: Scene) -> None:
    for channel in "AB":
        fields = {"channel_id": scene.channels[channel]}
        wanted = []
        for name in shown_in(scene, channel)[::-1]:
            line = rendered(scene, name, BOB)
            for field in ("display_name", "avatar_url", "reply_count", "last_reply_at", "participants"):
                del line[field]
            line["reactions"] = [
                {"emoji": emoji, "user_id": scene.people[user], "created_at": f"2026-01-01T10:{minutes:02}:00.000Z"}
                for said, user, emoji, minutes in sorted(REACTIONS, key=lambda made: made[3])
                if said == name
            ]
            line["edits"] = call(scene.db, "list_message_edits", BOB, id=line["id"]).data
            wanted.append(line)
        for reader in (BOB, None):
            assert call(scene.db, "export_channel", reader, **fields).data == wanted
        pages, cursor = [], None
        while True:
            page = call(scene.db, "export_channel", BOB, **fields, limit=3, **({"after": cursor} if cursor else {}))
            pages += page.data
            if not (cursor := page.meta["next_cursor"]):
                break
            assert cursor == f"seq_{page.data[-1]['seq']}"
        assert pages == wanted
