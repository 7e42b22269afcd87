"""What each operator of a search finds in three channels, for members, non-members and the service."""

from collections.abc import Iterator

import pytest

from tests.support.calls import call
from tests.support.scene import FILES, Scene, build
from tests.support.world import BOB, CAROL, MALLORY, MATTY

DAYS = {"a1": "2026-02-01T00:00Z", "b1": "2026-02-03T00:00Z", "a2": "2026-02-04T12:00Z"}


@pytest.fixture(scope="module")
def scene(postgres_url: str) -> Iterator[Scene]:
    """Write everything once. Three messages are of earlier days."""
    with build(postgres_url) as scene:
        for name, day in DAYS.items():
            statement = "update private.message_words set created_at = %s where message_id = %s"
            scene.db.execute(statement, (day, scene.said[name]["id"]))
        yield scene


# What Bob finds. Not Bob is a twin with his id, so from:bob finds both.
FOUND = {
    "alpha": "a1 a2 a16 b1",
    "ALPHA -one": "a2 a16 b1",
    "one OR last": "a1 a16 a9",
    "alpha one OR two": "a1 a2",
    '"reply of"': "a5 a6 a7 a8 a13 a14",
    '"of reply"': "",
    "alpha from:me": "a1 b1",
    "reply from:bob": "a6 a8",
    "reply from:@Carol": "a7 a11",
    "reply from:matty": "a3 a4 a14 b2 a9",
    'reply from:"matty squarzoni"': "a3 b2 a9",
    'reply from:"Matty\'s twin"': "a4 a14",
    f"reply from:{MATTY}": "a3 b2 a9",
    "reply from:carol from:dora": "a5 a7 a11",
    "reply -from:matty": "a5 a6 a7 a8 a11 a13",
    "reply -from:matty -from:bob": "a5 a7 a11 a13",
    'reply from:matty -from:"matty squarzoni"': "a4 a14",
    "from:unknown": "",
    "alpha in:A": "a1 a2 a16",
    "alpha in:#a": "a1 a2 a16",
    "alpha in:B": "b1",
    "alpha in:A in:B": "a1 a2 a16 b1",
    "alpha -in:A": "b1",
    "alpha -in:A -in:B": "",
    "alpha in:C": "",
    "alpha has:reaction": "a1 b1",
    "reply has:Reactions": "a3",
    "alpha -has:reaction": "a2 a16",
    "alpha has:thread": "a1 a2 b1",
    "alpha -has:thread": "a16",
    "reply has:thread": "a3",
    "alpha has:thread -has:reaction": "a2",
    "has:thread has:reaction": "a1 a3 b1",
    "alpha has:pin": "a1 b1",
    "alpha -has:pin": "a2 a16",
    "has:pin has:reaction in:A": "a1 a3",
    "has:pin has:thread": "a1 a3 b1",
    "alpha has:link": "a16",
    "alpha -has:link": "a1 a2 b1",
    "alpha has:file": "a2",
    "alpha HAS:attachments": "a2",
    "alpha -has:file": "a1 a16 b1",
    "has:file has:link": "",
    "-has:file has:link": "a16",
    "file:report": "a2",
    "file:rep": "a2",
    "alpha -file:report": "a1 a16 b1",
    "report": "a2",
    '"report 7"': "a2",
    "mentions:me": "a15",
    "mentions:carol": "a17",
    "mentions:channel": "a17 b3",
    "Mentions:Channel mentions:carol": "a17",
    'mentions:"matty\'s twin"': "a18",
    "to -mentions:channel -mentions:me in:A": "a4 a11 a18",
    "alpha before:2026-02-03": "a1",
    "alpha before:2026-02-05": "a1 a2 b1",
    "alpha before:2026-02-05 before:2026-02-02": "a1",
    "alpha before:2026-02-02 before:2026-02-05": "a1",
    "alpha after:2026-02-03": "a2 a16 b1",
    "alpha after:2026-02-03 after:2026-02-04": "a2 a16",
    "alpha -after:2026-02-03": "a1",
    "alpha -before:2026-02-03": "a2 a16 b1",
    "alpha -before:2026-02-03 before:2026-02-04": "b1",
    "alpha after:2026-02-04T12:00:00Z": "a2 a16",
    "alpha -after:2026-02-05 -after:2026-02-02": "a1",
}


@pytest.mark.parametrize("query", FOUND)
def test_operators_find_the_right_messages(scene: Scene, query: str) -> None:
    found = call(scene.db, "search_messages", BOB, query=query)
    assert sorted(scene.names(found)) == sorted(FOUND[query].split())
    assert found.meta["total"] == len(found.data)
    # A search in one channel finds the part that is in it.
    for channel in "AB":
        part = call(scene.db, "search_messages", BOB, query=query, channel_id=scene.channels[channel])
        names = [name for name in FOUND[query].split() if scene.said[name]["channel"] == channel]
        assert sorted(scene.names(part)) == sorted(names)


READERS = {MATTY: "a1 a2 a16 b1", CAROL: "a1 a2 a16", MALLORY: "c1", None: "a1 a2 a16 b1 c1"}


@pytest.mark.parametrize("reader", READERS, ids=["owner", "member of one", "other workspace", "service"])
def test_reader_finds_only_own_channels(scene: Scene, reader: str | None) -> None:
    assert set(scene.names(call(scene.db, "search_messages", reader, query="alpha"))) == set(READERS[reader].split())
    for query in ("alpha in:C", f"alpha in:{scene.channels['C'].upper()}"):
        found = call(scene.db, "search_messages", reader, query=query)
        assert scene.names(found) == (["c1"] if "c1" in READERS[reader] else [])
    other = call(scene.db, "search_messages", reader, query="alpha", channel_id=scene.channels["C"])
    if "c1" in READERS[reader]:
        assert scene.names(other) == ["c1"]
    else:
        assert other.error == (404, "channel_not_found", "channel_id")


def test_pages_of_hits_follow_each_other(scene: Scene) -> None:
    every = call(scene.db, "search_messages", BOB, query="reply")
    for limit, offset in ((1, 0), (3, 0), (3, 3), (4, 8), (5, 20)):
        page = call(scene.db, "search_messages", BOB, query="reply", limit=limit, offset=offset)
        assert page.data == every.data[offset : offset + limit]
        assert page.meta == every.meta == {"total": len(every.data)}


def test_hit_has_all_fields_of_its_message(scene: Scene) -> None:
    reply = call(scene.db, "search_messages", BOB, query="reply OR alpha in:A")
    fields = ("id", "channel_id", "content", "user_id", "ai_twin_id", "created_at", "display_name", "avatar_url")
    for hit, name in zip(reply.data, scene.names(reply), strict=True):
        snippet = hit.pop("snippet")
        assert snippet.replace("<mark>", "").replace("</mark>", "") == hit["content"]
        message = scene.render(name, BOB)
        assert hit == {field: message[field] for field in fields} | {"attachments": FILES.get(name)}
    assert len(reply.data) >= 10
