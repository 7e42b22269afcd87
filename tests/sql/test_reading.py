"""What the calls that read channels answer, compared whole with what was written: every page, reader and cursor."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.calls import call
from tests.support.database import value
from tests.support.scene import DELETED, EDITS, NAMES, REACTIONS, Scene, build
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, UNKNOWN_ID, WORKSPACE


@pytest.fixture(scope="module")
def scene(postgres_url: str) -> Iterator[Scene]:
    """Write everything once."""
    with build(postgres_url) as scene:
        yield scene


# Channel, thread, and whether replies are left out.
VIEWS: dict[str, tuple[str, str | None, bool]] = {
    "a channel": ("A", None, False),
    "another channel": ("B", None, False),
    "its messages that are not replies": ("A", None, True),
    "a thread": ("A", "a1", False),
    "a thread with a deleted reply": ("A", "a2", False),
    "a thread whose root is deleted": ("A", "a10", False),
    "a thread of another channel": ("B", "b1", False),
    "a message without replies": ("A", "a16", False),
}


def fields_of(scene: Scene, view: str) -> dict[str, Any]:
    channel, thread, roots = VIEWS[view]
    fields: dict[str, Any] = {"channel_id": scene.channels[channel], "roots_only": roots or None}
    return fields | ({"thread_id": scene.said[thread]["id"]} if thread else {})


def last_seq(scene: Scene, channel: str) -> int:
    counter = "select last_seq from private.channel_counters where channel_id = %s"
    return int(value(scene.db, counter, scene.channels[channel]))


@pytest.mark.parametrize("reader", [MATTY, BOB, CAROL, None], ids=["owner", "member", "other member", "service"])
def test_page_shows_all_that_was_written(scene: Scene, reader: str | None) -> None:
    for view, (channel, thread, roots) in VIEWS.items():
        if reader == CAROL and channel == "B":
            continue
        page = call(scene.db, "list_messages", reader, **fields_of(scene, view))
        wanted = scene.newest_first(channel, thread, roots=roots)
        assert page.data == [scene.render(name, reader) for name in wanted], view
        assert page.meta == {
            "total": len(wanted if thread else scene.newest_first(channel)),
            "page": 1,
            "limit": 50,
            "offset": 0,
            "next_cursor": None,
            "last_seq": last_seq(scene, channel),
            "topic": f"channel:{scene.channels[channel]}",
        }, view


@pytest.mark.parametrize("view", VIEWS)
def test_pages_follow_each_cursor_in_both_directions(scene: Scene, view: str) -> None:
    channel, thread, roots = VIEWS[view]
    every = scene.newest_first(channel, thread, roots=roots)
    total = len(every if thread else scene.newest_first(channel))
    starts = [None, *[name for name, row in scene.said.items() if row["channel"] == channel][::4]]
    cases = ((at, limit, offset, way) for at in starts for limit, offset in ((1, 0), (3, 1)) for way in (-1, 1))
    for at, limit, offset, way in cases:
        seq = scene.said[at]["seq"] if at else 0 if way > 0 else 10**6
        cursor = scene.said[at]["id"] if at and limit == 1 else f"seq_{seq}"
        fields = {**fields_of(scene, view), "limit": limit, "offset": offset, "after" if way > 0 else "before": cursor}
        page = call(scene.db, "list_messages", BOB, **fields)
        rest = [name for name in every[::-way] if (scene.said[name]["seq"] - seq) * way > 0]
        found = rest[offset : offset + limit]
        assert scene.names(page) == found[::-way], (at, limit, way)
        has_more = len(rest) > offset + limit
        assert page.meta == {
            "total": total,
            "page": offset // limit + 1,
            "limit": limit,
            "offset": offset,
            "next_cursor": f"seq_{scene.said[found[-1]]['seq']}" if has_more else None,
        }, (at, limit, way)


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
            assert read.data == scene.render(name, reader) | {"reaction_count": count}, (reader, name)
            texts = EDITS.get(name, [])
            assert [(edit["version"], edit["content"]) for edit in edits.data] == list(enumerate(texts, 1))
            times = [edit["written_at"] for edit in edits.data] + [row["updated_at"]]
            assert times[0] == row["created_at"], name
            assert [edit["replaced_at"] for edit in edits.data] == times[1:], name
        assert call(scene.db, "get_message", reader, id=UNKNOWN_ID).error == missing


@pytest.mark.parametrize("channel", ["A", "B"])
def test_export_has_all_that_pages_show(scene: Scene, channel: str) -> None:
    fields = {"channel_id": scene.channels[channel]}
    wanted = []
    for name in scene.newest_first(channel)[::-1]:
        line = scene.render(name, BOB)
        for field in ("display_name", "avatar_url", "reply_count", "last_reply_at", "participants"):
            del line[field]
        line["reactions"] = [
            {"emoji": emoji, "user_id": scene.people[user], "created_at": f"2026-01-01T10:{minutes:02}:00.000Z"}
            for said, user, emoji, minutes in sorted(REACTIONS, key=lambda made: made[3])
            if said == name
        ]
        line["edits"] = call(scene.db, "list_message_edits", BOB, id=line["id"]).data
        wanted.append(line)
    sizes = dict(
        scene.db.execute("select id::text, bytes from private.measure_messages(%s, 0, 99)", [*fields.values()])
    )
    texts = "select octet_length(content) + octet_length(metadata::text) from public.messages where id = %s"
    for line in wanted:
        if not line["attachments"]:
            earlier = sum(len(edit["content"].encode()) for edit in line["edits"])
            assert sizes[line["id"]] == value(scene.db, texts, line["id"]) + earlier
    for reader in (BOB, None):
        assert call(scene.db, "export_channel", reader, **fields).data == wanted
    pages: list[Any] = []
    cursor = "seq_0"
    while cursor:
        page = call(scene.db, "export_channel", BOB, **fields, limit=3, after=cursor)
        pages, cursor = pages + page.data, page.meta["next_cursor"]
        assert cursor in {None, f"seq_{page.data[-1]['seq']}"}
    assert pages == wanted


@pytest.mark.parametrize("channel", ["A", "B"])
def test_pages_of_events_follow_each_number(scene: Scene, channel: str) -> None:
    fields = {"channel_id": scene.channels[channel]}
    every = call(scene.db, "list_channel_events", BOB, **fields).data
    last = last_seq(scene, channel)
    assert [event["payload"]["seq"] for event in every] == list(range(1, last + 1))
    for reader, limit, since in (
        (BOB, 1, 0),
        (BOB, 4, 3),
        (None, 2, last - 2),
        (BOB, 5, last - 1),
        (MATTY, 1, last + 5),
    ):
        page = call(scene.db, "list_channel_events", reader, **fields, since=since, limit=limit)
        assert page.data == every[since : since + limit]
        assert page.meta == {
            "last_seq": min(since + limit, last),
            "has_more": since + limit < last,
            "is_incomplete": False,
        }


def test_list_of_channels_shows_each_state(scene: Scene) -> None:
    numbers = {name: row["seq"] for name, row in scene.said.items()}
    # Own messages move the marker; a message that mentions a user and the channel counts once.
    states: dict[str, dict[str, tuple[int, int, int]]] = {
        BOB: {"B": (numbers["b1"], 3, 1), "A": (numbers["a12"], 6, 2)},
        MATTY: {"A": (numbers["a18"], 0, 0), "B": (numbers["b3"], 1, 0)},
        CAROL: {"A": (numbers["a16"], 2, 1)},
    }
    members = {"A": [MATTY, BOB, CAROL], "B": [MATTY, BOB]}
    known = {MATTY: NAMES["matty"], BOB: NAMES["bob"], CAROL: NAMES["carol"]}
    for reader, channels in states.items():
        listed = call(scene.db, "list_my_channels", reader).data
        assert [each["id"] for each in listed if each["id"] != CHANNEL] == [scene.channels[name] for name in channels]
        found = {each["id"]: each for each in listed}
        for name, (read_seq, unread, mentions) in channels.items():
            last = scene.said[newest := scene.newest_first(name)[0]]
            author = scene.author(last["author"])
            made = "select private.format_time(created_at) from public.channels where id = %s"
            assert found[scene.channels[name]] == {
                "id": scene.channels[name],
                "workspace_id": WORKSPACE,
                "kind": "channel",
                "name": name,
                "created_at": value(scene.db, made, scene.channels[name]),
                "role": "owner" if reader == MATTY else "member",
                "last_seq": last_seq(scene, name),
                "read_seq": read_seq,
                "unread_count": unread,
                "mention_count": mentions,
                "last_message": {
                    "id": last["id"],
                    "seq": last["seq"],
                    "preview": last["text"][:200],
                    "created_at": last["created_at"],
                    **{field: author[field] for field in ("user_id", "ai_twin_id", "display_name")},
                },
                "member_count": len(members[name]),
                "members": [{"user_id": user, "display_name": known[user]} for user in sorted(members[name])],
                "is_muted": (reader, name) == (BOB, "A"),
                "is_pinned": (reader, name) == (BOB, "B"),
                "topic": f"channel:{scene.channels[name]}",
            }, (reader, name, newest)


def test_transcript_has_all_that_a_page_shows(scene: Scene) -> None:
    service = {"model": "m", "prompt_version": "1", "lease_seconds": "60", "is_configured": "true"}
    for channel, count in (("A", None), ("A", 4), ("B", 2)):
        fields = {"channel_id": scene.channels[channel], "messageCount": count}
        task = call(scene.db, "begin_summary", BOB, parameters=service, **fields).data
        told = scene.newest_first(channel)[: count or None][::-1]
        said = [scene.said[name] for name in told]
        assert task["messages"] == [
            {
                "id": row["id"],
                "parent_id": row["parent"] and scene.said[row["parent"]]["id"],
                "author": NAMES.get(row["author"], "former member"),
                "at": row["created_at"],
                "content": row["text"],
            }
            for row in said
        ]
        assert task["scope"] == {
            "messageCount": len(told),
            "timeRange": {"from": said[0]["created_at"], "to": said[-1]["created_at"]},
            "truncated": False,
            "omittedCount": 0,
        }
        assert task["user_id"] == BOB
