"""Three channels in which every kind of thing was said and done once or twice, and how each message must look."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from tests.support.calls import Reply, call
from tests.support.database import Db, become, become_postgres, lift_request_limit, rows, value
from tests.support.world import BOB, CAROL, MALLORY, MATTY, TWIN, WORKSPACE

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
    ("a10", "A", "matty", None, "deleted alpha root"),
    ("a11", "A", "carol", "a10", "reply to a deleted root"),
    ("b2", "B", "matty", "b1", "reply elsewhere"),
    ("a12", "A", "bob", "a2", "deleted reply"),
    ("a13", "A", "erin", "a2", "reply of a deleted user"),
    ("c1", "C", "mallory", None, "alpha of another workspace"),
    ("a14", "A", "twin", "a2", "reply of the twin"),
    ("a15", "A", "carol", None, f"to <@{BOB.upper()}>"),
    ("a16", "A", "carol", None, "alpha last https://a.example"),
    ("a17", "A", "matty", None, f"to <@{CAROL}> and <!channel>"),
    ("a18", "A", "matty", None, f"to <@{TWIN}>"),
    ("b3", "B", "matty", None, "to <!channel>"),
    ("b4", "B", "twin", None, "from the twin: " + "x" * 200),
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
FILES = {"a2": [{"name": "Report 7.pdf"}]}  # of the application, without a stored file
NAMES = {
    "bob": "Bob Okafor",
    "carol": "Carol Lindqvist",
    "matty": "Matty Squarzoni",
    "mallory": "Mallory Pike",
    "twin": "Matty's twin",
    "not bob": "Not Bob",
    "dora": "Dora",
}
TWINS = {"twin": "matty", "not bob": "carol"}  # and their owners


class Scene(NamedTuple):
    """All that was written: channels, ids of users and twins, and the rows of messages by name."""

    db: Db
    channels: dict[str, str]
    people: dict[str, str]
    said: dict[str, dict[str, Any]]

    def names(self, reply: Reply) -> list[str]:
        """Return the names of the messages of an answer, without those of the seed."""
        known = {row["id"]: name for name, row in self.said.items()}
        return [known[message["id"]] for message in reply.data if message["id"] in known]

    def newest_first(self, channel: str, thread: str | None = None, *, roots: bool = False) -> list[str]:
        """Return the messages of a view of a channel."""
        return sorted(
            (
                name
                for name, row in self.said.items()
                if row["channel"] == channel
                and name not in DELETED
                and thread in {None, row["root"]}
                and (not roots or row["root"] is None or row["root"] in DELETED)
            ),
            key=lambda name: -self.said[name]["seq"],
        )

    def author(self, author: str) -> dict[str, Any]:
        """Return an author as a page shows it. Erin was deleted."""
        return {
            "user_id": None if author in TWINS or author == "erin" else self.people[author],
            "ai_twin_id": self.people[author] if author in TWINS else None,
            "display_name": NAMES.get(author),
            "avatar_url": "https://x.example/not.png" if author == "not bob" else None,
        }

    def reactions(self, name: str, reader: str | None) -> list[dict[str, Any]]:
        """Return the reactions of a message, in the order of their first use."""
        made = sorted((minutes, emoji, self.people[user]) for said, user, emoji, minutes in REACTIONS if said == name)
        users = {emoji: [user for _, each, user in made if each == emoji] for _, emoji, _ in made}
        return [
            {"emoji": emoji, "count": len(those), "user_ids": those, "reacted": reader in those}
            for emoji, those in users.items()
        ]

    def render(self, name: str, reader: str | None) -> dict[str, Any]:
        """Return a message as a page shows it to a reader."""
        row = self.said[name]
        replies = [] if row["root"] else self.newest_first(row["channel"], name)
        authors = dict.fromkeys(self.said[reply]["author"] for reply in replies)
        pin = {}
        if name in PINS:
            pinned = "select private.format_time(pinned_at) from public.message_pins where message_id = %s"
            at = value(self.db, pinned, row["id"])
            pin = {"pinned": True, "pinned_by": self.people[PINS[name]], "pinned_at": at}
        return {
            "id": row["id"],
            "channel_id": self.channels[row["channel"]],
            "content": row["text"],
            "content_type": "text",
            **self.author(row["author"]),
            "parent_message_id": row["parent"] and self.said[row["parent"]]["id"],
            "thread_id": row["root"] and self.said[row["root"]]["id"],
            "conversation_id": None,
            "metadata": {"name": name, **pin},
            "attachments": FILES.get(name),
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
            "edited_at": row["updated_at"] if name in EDITS else None,
            "seq": row["seq"],
            "reactions": self.reactions(name, reader),
            "reply_count": len(replies),
            "last_reply_at": self.said[replies[0]]["created_at"] if replies else None,
            "participants": [self.author(author) for author in authors if author != "erin"][:5],
        }


def write(db: Db, channels: dict[str, str], people: dict[str, str]) -> dict[str, str]:
    """Write all messages, and what is done to them; return their ids."""
    ids: dict[str, str] = {}
    for name, channel, author, parent, text in SAID:
        owner = people[TWINS.get(author, author)]
        first, *later = [*EDITS.get(name, []), text]
        fields: dict[str, Any] = {"channel_id": channels[channel], "content": first, "metadata": {"name": name}}
        fields |= {"ai_twin_id": people[author]} if author in TWINS else {}
        fields |= {"parent_message_id": ids.get(parent or ""), "attachments": FILES.get(name)}
        ids[name] = call(db, "create_message", owner, **fields).data["id"]
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
    assert call(db, "pin_message", BOB, id=ids["a2"]).status == 200
    assert call(db, "unpin_message", CAROL, id=ids["a2"]).status == 200
    for name in DELETED:
        assert call(db, "delete_message", MATTY, id=ids[name], admin=True).status == 200
    return ids


def read(db: Db, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what was said with the numbers and times that it got."""
    stored = """
        select id::text, seq, private.format_time(created_at), private.format_time(updated_at)
        from public.messages where id = any(%s)
    """
    found = {row[0]: row for row in rows(db, stored, list(ids.values()))}
    parents = {name: parent for name, _, _, parent, _ in SAID}
    said = {}
    for name, channel, author, parent, text in SAID:
        root = parent
        while root and parents[root]:
            root = parents[root]
        said[name] = dict(
            zip(("id", "seq", "created_at", "updated_at"), found[ids[name]], strict=True),
            channel=channel,
            author=author,
            parent=parent,
            root=root,
            text=text,
        )
    return said


@contextmanager
def build(postgres_url: str) -> Iterator[Scene]:
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
        twin = "insert into public.ai_twins (id, user_id, display_name, avatar_url) values (%s, %s, 'Not Bob', %s)"
        db.execute(twin, (BOB, CAROL, "https://x.example/not.png"))
        assign = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
        for name, twin_id in (("A", TWIN), ("A", BOB), ("B", TWIN)):
            db.execute(assign, (channels[name], twin_id))
        ids = write(db, channels, people)
        become(db, BOB)
        state = "update public.member_states set is_pinned = %s, is_muted = %s where channel_id = %s and user_id = %s"
        db.execute(state, (False, True, channels["A"], BOB))
        db.execute(state, (True, False, channels["B"], BOB))
        become_postgres(db)
        leave = "delete from public.channel_members where channel_id = %s and user_id = %s"
        db.execute(leave, (channels["A"], people["dora"]))
        db.execute("delete from auth.users where id = %s", (people["erin"],))
        # As if no member had left: the topic has no turn.
        db.execute("update private.channel_counters set sealed_until = '-infinity'")
        yield Scene(db, channels, people, read(db, ids))
        db.rollback()
