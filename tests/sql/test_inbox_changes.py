"""sql/124_inbox_changes.sql: catching up on conversations, and the version in their broadcasts."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.test_workspaces import new_connection, push
from tests.support.calls import call, ingest
from tests.support.cluster import TestCluster
from tests.support.database import Db, rows, value
from tests.support.ingest import NEW_SENDER, conversation, message
from tests.support.people import add_conversation
from tests.support.realtime import fire_deferred_triggers
from tests.support.world import BOB, MATTY, WORKSPACE

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def db(cluster: TestCluster, fresh_database: str) -> Iterator[Db]:
    """A connection that commits each statement, because only what is committed can be read."""
    with psycopg.connect(cluster.url(fresh_database, "postgres")) as connection:
        yield connection


def ask(db: Db, user_id: str = MATTY, **fields: Any) -> Any:
    reply = call(db, "list_inbox_changes", user_id, **fields)
    db.commit()
    return reply


@pytest.fixture
def read(db: Db) -> Read:
    """Return a function that returns what changed since its last call."""
    cursors: dict[str, str] = {}

    def read(user_id: str = MATTY, limit: int = 100) -> list[dict[str, Any]]:
        db.commit()
        found = []
        while True:
            since = {"since": cursors[user_id]} if user_id in cursors else {}
            reply = ask(db, user_id, limit=limit, **since)
            cursors[user_id] = reply.meta["next_cursor"]
            found += reply.data
            if not reply.meta["has_more"]:
                return found

    for user_id in (MATTY, BOB):
        read(user_id)
    return read


def index(db: Db) -> None:
    """Let search index what was ingested."""
    value(db, "select private.index_conversations(100)")
    db.commit()


def update(type_: str, message_id: str = "m1", **fields: Any) -> dict[str, Any]:
    return conversation(updates=[{"message_id": message_id, "type": type_, "at": "2026-02-01T11:00:00Z", **fields}])


def versions(db: Db) -> list[int]:
    """Return the versions in the broadcasts of the owner's inbox, and forget them."""
    db.commit()
    statement = "delete from realtime.messages where topic like 'inbox:%%' returning payload"
    return sorted(payload["conversation"]["version"] for payload in rows(db, statement))


STEPS: list[tuple[dict[str, Any], int]] = [
    (conversation(message("m1"), message("m2")), 1),
    (conversation(message("m3")), 2),
    (update("read"), 3),
    (update("edited", content="new"), 4),
    (conversation(participant_name="Ann", messages=[message("m1")]), 5),
    (update("deleted", "m2"), 6),
]


def test_each_broadcast_has_the_next_version(db: Db) -> None:
    for given, version in STEPS:
        ingest(db, given)
        assert versions(db) == [version]
        # A repetition changes nothing, and is not heard.
        ingest(db, given)
        assert versions(db) == []
    # An edit that is older than the last one changes no message, but the participant has a new name.
    older = update("edited", content="old") | {"participant_name": "Bea", "messages": [message("m1")]}
    older["updates"][0]["at"] = "2026-02-01T10:59:00Z"
    ingest(db, older)
    assert versions(db) == [7]
    both = update("pinned")
    ingest(db, {**both, "messages": [message("m4")]})
    assert versions(db) == [8, 9]
    db.execute("update public.people set phone = phone")
    assert versions(db) == []


def test_new_match_has_the_next_version(db: Db) -> None:
    ingest(db, conversation(message(), participant_identifier="+15550001111"))
    assert versions(db) == [1]
    db.execute("insert into public.people (user_id, full_name, phone) values (%s, 'Ann', '+15550001111')", [MATTY])
    assert versions(db) == [2]


def test_new_conversation_has_version_one(db: Db) -> None:
    add_conversation(db, "@ada", MATTY)
    fire_deferred_triggers(db)
    assert versions(db) == [1]


def test_noted_conversations_keep_their_versions_apart(db: Db) -> None:
    ids = sorted(add_conversation(db, name, MATTY) for name in ("@ada", "@bob"))
    db.execute("update public.conversations set version = 9 where id = %s", (ids[0],))
    value(db, "select private.note_conversations(%s::uuid[])", ids)
    noted = rows(db, "select conversation_ids, versions from private.inbox_changes order by id desc limit 1")
    known = rows(db, "select version from public.conversations where id = any(%s::uuid[]) order by id", ids)
    assert noted == [(ids, known)]
    assert known[0] > known[1]
    assert value(db, "select private.list_versions(%s::uuid[])", ids) == known


def test_first_call_answers_a_cursor_and_no_changes(db: Db) -> None:
    ingest(db, conversation(message()))
    db.commit()
    reply = ask(db)
    assert (reply.data, reply.meta["has_more"]) == ([], False)
    assert ask(db, since=reply.meta["next_cursor"]).data == []


def test_cursor_hides_its_position(db: Db) -> None:
    cursors = {ask(db, BOB).meta["next_cursor"] for _ in range(3)}
    position = value(db, "select private.parse_inbox_cursor(%s)::text", cursors.copy().pop())
    xid = int(position.strip("()").split(",")[0])
    assert len(cursors) == 3
    again = "select count(distinct private.render_inbox_cursor('(5,0,0)')) from generate_series(1, 3)"
    assert value(db, again) == 3
    assert not [each for each in cursors if str(xid) in each.split(".")[1:] or f"{xid:016x}" in each]
    # Each number has its own part of the mask.
    mask = bytes(range(24))
    assert value(db, "select private.mask_position(%s, %s)", bytes(24), mask) == mask


def test_changes_come_in_order_with_their_messages(db: Db, read: Read) -> None:
    for given, _ in STEPS:
        ingest(db, given)
        db.commit()
    changes = read()
    assert [[line["id"] for line in one["messages"]] for one in changes] == [
        ["m1", "m2"], ["m3"], ["m1"], ["m1"], [], ["m2"]
    ]  # fmt: skip
    assert [one["version"] for one in changes] == [1, 2, 3, 4, 5, 6]
    assert {one["conversation"]["version"] for one in changes} == {6}
    assert changes[-1]["messages"][0]["deleted"] is True
    assert read() == []


def test_page_without_a_limit_has_100_conversations(db: Db) -> None:
    since = ask(db).meta["next_cursor"]
    ingest(db, *(conversation(message(), external_id=f"c{place}") for place in range(101)))
    db.commit()
    reply = ask(db, since=since)
    assert (len(reply.data), reply.meta["has_more"]) == (100, True)


def test_pages_of_one_are_the_same_as_one_page(db: Db, read: Read) -> None:
    since = ask(db).meta["next_cursor"]
    ingest(db, *(conversation(message(), external_id=f"c{place}") for place in range(5)))
    db.commit()
    whole = ask(db, since=since).data
    assert len(whole) == 5
    pages = [ask(db, since=since, limit=limit).meta for limit in (4, 5, 6)]
    assert [page["has_more"] for page in pages] == [True, True, False]
    assert [ask(db, since=page["next_cursor"]).data for page in pages] == [whole[4:], [], []]
    assert read(limit=1) == whole


def test_only_members_read_the_changes(db: Db, read: Read) -> None:
    ingest(db, conversation(message()))
    assert (len(read()), read(BOB)) == (1, [])
    assert ask(db, BOB, workspace_id=MATTY).error == (404, "workspace_not_found", "workspace_id")


def test_deleted_conversation_is_a_change(db: Db, read: Read) -> None:
    ingest(db, conversation(message()))
    name = read()[0]["conversation_id"]
    db.execute("delete from public.conversations")
    assert read()[0] == {"conversation_id": name, "deleted": True}


def test_deleted_conversation_without_messages_is_a_change(db: Db, read: Read) -> None:
    name = str(add_conversation(db, "@ada", MATTY))
    read()
    db.execute("delete from public.conversations where id = %s", (name,))
    assert read() == [{"conversation_id": name, "deleted": True}]


def test_deleted_messages_are_a_change(db: Db, read: Read) -> None:
    since = ask(db).meta["next_cursor"]
    ingest(db, conversation(message("m1"), message("m2")))
    read()
    db.execute("delete from public.conversation_messages where external_id = 'm1'")
    (change,) = read()
    assert (change["removed"], change["messages"], change["conversation"]["message_count"]) == (True, [], 1)
    assert ("version" in change, change["conversation"]["version"]) == (False, 1)
    # A change of two messages names the one that is left.
    (*_, both, _) = ask(db, since=since).data
    assert (both["removed"], [line["id"] for line in both["messages"]]) == (True, ["m2"])


def test_changes_of_many_conversations_have_their_versions(db: Db, read: Read) -> None:
    ingest(db, conversation(message("m1"), external_id="old"))
    db.commit()
    both = [conversation(message("m2"), external_id=name) for name in ("new", "old")]
    ingest(db, *both)
    found = [(one["conversation"]["external_conversation_id"], one["version"]) for one in read(limit=1)]
    assert sorted(found) == [("new", 1), ("old", 1), ("old", 2)]
    known = "select private.list_versions(array_agg(id) || array_agg(id)) from public.conversations"
    assert sorted(value(db, known)) == [1, 2]


def test_many_messages_are_a_pointer(db: Db, read: Read) -> None:
    ingest(db, *(conversation(*(message(f"m{place}") for place in range(n)), external_id=f"{n}") for n in (100, 101)))
    found = {
        one["conversation"]["message_count"]: ([line["id"] for line in one["messages"]], one.get("truncated"))
        for one in read()
    }
    assert found == {100: ([f"m{place}" for place in range(100)], None), 101: ([], True)}


def test_changes_of_senders_and_workspaces_are_apart(db: Db, read: Read) -> None:
    since = ask(db).meta["next_cursor"]
    made = new_connection(db)
    push(db, made, conversation(message("team"), external_id="team"))
    said = [("1", "@bea", 1), ("1", "@ann", 2), ("2", "@ann", 3)]
    ingest(db, conversation(*(message(name, sender=one, sequence=place) for name, one, place in said), kind="group"))
    ingest(db, {**update("read", "1", sender="@bea"), "kind": "group"})
    db.commit()
    shown = [[line.get("sender", line["id"]) for line in one["messages"]] for one in read()]
    assert shown == [["team"], ["@bea", "@ann", "@ann"], ["@bea"]]
    for place, count in ((WORKSPACE, 1), (MATTY, 2), (None, 3)):
        assert len(ask(db, since=since, workspace_id=place).data) == count


def test_changes_wait_for_an_older_transaction(db: Db, read: Read, cluster: TestCluster, fresh_database: str) -> None:
    with psycopg.connect(cluster.url(fresh_database, "postgres")) as slow:
        ingest(slow, conversation(message(), external_id="slow"))
        ingest(db, conversation(message(), external_id="quick"))
        # What came later is not shown first: else the cursor would pass the slow one.
        assert read() == []
        since = ask(db).meta["next_cursor"]
        slow.commit()
    for changes in (read(), ask(db, since=since).data):
        assert [one["conversation"]["external_conversation_id"] for one in changes] == ["slow", "quick"]


def test_bad_cursor_is_an_error(db: Db) -> None:
    good = ask(db).meta["next_cursor"]
    changed = good[:-1] + "01"[good.endswith("0")]
    for bad in ("", "x", "0", good + ".1", good.replace(".", ".-", 1), good[:-1]):
        assert ask(db, since=bad).error == (400, "invalid_cursor", "since")
    restored = value(db, "select private.render_inbox_cursor('(9000000000000000000,0,0)')")
    for old in ("00000000" + good[8:], restored, changed):
        assert ask(db, since=old).error == (409, "cursor_expired", "since")


def test_cursor_before_deleted_changes_is_an_error(db: Db, read: Read) -> None:
    def cursor_after(name: str) -> str:
        ingest(db, conversation(message(), external_id=name), conversation(message(), external_id=f"{name} 2"))
        db.commit()
        return str(ask(db, since=cursors[-1]).meta["next_cursor"])

    cursors = [ask(db).meta["next_cursor"]]
    cursors.append(cursor_after("first"))
    cursors.append(cursor_after("second"))
    cursors.append(cursor_after("third"))
    in_second = ask(db, since=cursors[1], limit=1).meta["next_cursor"]
    other = value(db, "select private.render_inbox_cursor('(3,0,0)')")
    index(db)
    db.execute("update private.settings set inbox_change_days = 7")
    db.execute("update private.inbox_changes set created_at = now() - interval '8 days' where id <= 2")
    assert value(db, "select private.clean_up()")["inbox_changes"] == 2
    db.commit()
    for missed in (cursors[0], cursors[1], in_second):
        assert ask(db, since=missed).error == (409, "cursor_expired", "since")
    assert [len(ask(db, since=kept).data) for kept in cursors[2:]] == [2, 0]
    assert ask(db, BOB, since=other).status == 200


def test_clean_up_keeps_changes_that_search_has_not_indexed(db: Db, read: Read) -> None:
    ingest(db, conversation(message()))
    db.execute("update private.settings set inbox_change_days = 7")
    db.execute("update private.inbox_changes set created_at = now() - interval '8 days'")
    assert value(db, "select private.clean_up()")["inbox_changes"] == 0
    index(db)
    assert value(db, "select private.clean_up()")["inbox_changes"] == 1


def test_erased_person_leaves_only_ids_in_the_log(db: Db, read: Read) -> None:
    ingest(db, conversation(message("m1", content="secret")))
    db.commit()
    assert "secret" not in value(db, "select string_agg(log::text, ' ') from private.inbox_changes as log")


def test_deleted_workspace_takes_its_log_along(db: Db) -> None:
    gone = []
    for name in ("gone", "gone-too"):
        key = f"key of {name}".ljust(32)
        names = {"platform": "signal", "connection_id": name, "secret": key}
        gone.append(db.execute(NEW_SENDER, names).fetchone()[0])  # type: ignore[index]
        ingest(db, conversation(message()), connection=("signal", name), key=key)
    count = "select count(*) from private.inbox_changes where workspace_id = %s"
    ingest(db, conversation(message()))
    assert [value(db, count, one) for one in (*gone, MATTY)] == [1, 1, 1]
    db.execute("delete from public.workspaces where id = any(%s::uuid[])", [gone])
    assert [value(db, count, one) for one in (*gone, MATTY)] == [0, 0, 1]


def test_start_of_a_log_is_its_last_deleted_transaction(db: Db) -> None:
    # The transaction that began last may have got the smaller id.
    db.execute(
        """
        insert into private.inbox_changes (workspace_id, xid, id, conversation_ids, created_at)
        overriding system value
        select %s, given.xid::xid8, given.id, array[%s, %s]::uuid[], now() - interval '8 days'
        from (values ('100', 2), ('101', 1), ('99', 3)) as given (xid, id)
        """,
        (MATTY, MATTY, MATTY),
    )
    for limit in (2, 1):
        assert value(db, "select private.delete_old_changes(now() - interval '7 days', %s)", limit) == limit
        assert rows(db, "select xid::text, id, place from private.inbox_log_starts") == [("101", 1, 1)]
