"""sql/243_message_reads.sql: the answer of each call, and each error with status, code and field."""

import json
import re
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation

from tests.support.calls import call, send
from tests.support.cases import named
from tests.support.database import Db, add_channel, become, become_postgres, lift_request_limit, refused, rows, value
from tests.support.event_log import events, inconsistencies, last_seq
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, TIME, TWIN, UNKNOWN_ID, WORKSPACE

SHOWN = {
    "id",
    "channel_id",
    "content",
    "content_type",
    "user_id",
    "ai_twin_id",
    "parent_message_id",
    "thread_id",
    "conversation_id",
    "metadata",
    "attachments",
    "created_at",
    "updated_at",
    "edited_at",
}
LISTED = {"seq", "display_name", "avatar_url", "reactions", "reply_count", "last_reply_at", "participants"}
ALL = [
    "create_message",
    "reply_to_message",
    "list_messages",
    "get_message",
    "edit_message",
    "list_message_edits",
    "delete_message",
    "pin_message",
    "unpin_message",
    "toggle_reaction",
    "add_reaction",
    "remove_reaction",
]
ABOUT_ONE = [name for name in ALL if name not in {"create_message", "list_messages"}]
NAMING_A_USER = [
    "create_message",
    "reply_to_message",
    "edit_message",
    "delete_message",
    "pin_message",
    "unpin_message",
    "toggle_reaction",
    "add_reaction",
    "remove_reaction",
]


def fields_of(function: str, **fields: Any) -> dict[str, Any]:
    """Return fields with which a call succeeds for Matty."""
    needed = {"channel_id": CHANNEL} if function in {"create_message", "list_messages"} else {"id": MESSAGE}
    if function in {"create_message", "reply_to_message", "edit_message"}:
        needed["content"] = "Hello **world**"
    if "reaction" in function:
        needed["emoji"] = "fire"
    return needed | fields


def test_create_returns_the_message_and_the_time(db: Db) -> None:
    given = {"content_type": "markdown", "metadata": {"a": [1, None]}, "attachments": [{"name": "x"}]}
    reply = call(db, "create_message", **fields_of("create_message", conversation_id=UNKNOWN_ID, **given))
    assert reply.status == 201
    assert reply.data.keys() == SHOWN
    assert {name: reply.data[name] for name in given} == given
    assert (reply.data["user_id"], reply.data["conversation_id"]) == (MATTY, UNKNOWN_ID)
    assert re.fullmatch(TIME, reply.data["created_at"])
    assert reply.data["created_at"] == reply.data["updated_at"] == reply.meta["timestamp"]
    assert reply.meta.keys() == {"timestamp"}


def test_omitted_fields_get_documented_defaults(db: Db) -> None:
    reply = call(db, "create_message", **fields_of("create_message", metadata=None, attachments=None, user_id=None))
    assert (reply.data["content_type"], reply.data["metadata"], reply.data["attachments"]) == ("text", {}, None)


@pytest.mark.parametrize(
    "content", ["x", "x" * 40_000, "\u6f22" * 40_000, " x", "**b** <i>&amp;</i> \\ \"'\n\t", "'; --"]
)
def test_content_is_stored_as_written(db: Db, content: str) -> None:
    message_id = send(db, content)
    assert call(db, "get_message", id=message_id).data["content"] == content


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"channel_id": None}, (400, "missing_field", "channel_id")),
        ({"channel_id": "general"}, (400, "invalid_field", "channel_id")),
        ({"channel_id": 5}, (400, "invalid_field", "channel_id")),
        ({"channel_id": [CHANNEL]}, (400, "invalid_field", "channel_id")),
        ({"channel_id": UNKNOWN_ID}, (404, "channel_not_found", "channel_id")),
        ({"content": None}, (400, "missing_field", "content")),
        ({"content": ""}, (400, "invalid_field", "content")),
        ({"content": "x" * 40_001}, (400, "invalid_field", "content")),
        ({"content": 5}, (400, "invalid_field", "content")),
        ({"content": {"a": 1}}, (400, "invalid_field", "content")),
        ({"content_type": ""}, (400, "invalid_field", "content_type")),
        ({"content_type": "x" * 101}, (400, "invalid_field", "content_type")),
        ({"metadata": []}, (400, "invalid_field", "metadata")),
        ({"metadata": "x"}, (400, "invalid_field", "metadata")),
        ({"metadata": {"x": "y" * 16_384}}, (413, "metadata_too_large", "metadata")),
        pytest.param(
            {"metadata": {"x": "\u00e9" * 8_190}},
            (413, "metadata_too_large", "metadata"),
            id="metadata of two bytes each",
        ),
        ({"attachments": {}}, (400, "invalid_field", "attachments")),
        ({"attachments": ["x"]}, (400, "invalid_field", "attachments")),
        ({"attachments": [{}, None]}, (400, "invalid_field", "attachments")),
        ({"attachments": [[]]}, (400, "invalid_field", "attachments")),
        ({"attachments": [[{"name": "x"}]]}, (400, "invalid_field", "attachments")),
        ({"parent_message_id": "x"}, (400, "invalid_field", "parent_message_id")),
        ({"parent_message_id": UNKNOWN_ID}, (404, "parent_not_found", "parent_message_id")),
        ({"conversation_id": "x"}, (400, "invalid_field", "conversation_id")),
        ({"user_id": "x"}, (400, "invalid_field", "user_id")),
        ({"user_id": BOB}, (403, "user_id_mismatch", "user_id")),
        ({"ai_twin_id": "x"}, (400, "invalid_field", "ai_twin_id")),
        ({"ai_twin_id": UNKNOWN_ID}, (403, "twin_not_allowed", "ai_twin_id")),
        ({"ai_twin_id": TWIN, "user_id": BOB}, (403, "user_id_mismatch", "user_id")),
    ],
    ids=lambda given: named(str(given[1] if isinstance(given, tuple) else given))[:25],
)
def test_invalid_create_names_the_field(db: Db, fields: dict[str, Any], error: tuple[int, str, str]) -> None:
    reply = call(db, "create_message", **fields_of("create_message", **fields))
    assert reply.error == error
    assert reply.body["success"] is False
    assert re.fullmatch(TIME, reply.meta["timestamp"])
    assert inconsistencies(db) == []


def test_metadata_of_exactly_16_kb_is_accepted(db: Db) -> None:
    metadata = {"x": "y" * (16_384 - len('{"x": ""}'))}
    assert call(db, "create_message", **fields_of("create_message", metadata=metadata)).status == 201


@pytest.mark.parametrize("user_id", [BOB, MALLORY])
def test_only_the_owner_writes_as_a_twin(db: Db, user_id: str) -> None:
    reply = call(db, "create_message", user_id, **fields_of("create_message", ai_twin_id=TWIN))
    not_allowed, not_found = (403, "twin_not_allowed", "ai_twin_id"), (404, "channel_not_found", "channel_id")
    assert reply.error == (not_allowed if user_id == BOB else not_found)


def test_twin_writes_only_in_its_channels(db: Db) -> None:
    statement = "insert into public.channels (name, created_by) values ('other', %s) returning id"
    db.execute("update public.channel_twins set channel_id = %s", (value(db, statement, MATTY),))
    for who in (MATTY, None):
        error = call(db, "create_message", who, **fields_of("create_message", ai_twin_id=TWIN)).error
        assert error == (403, "twin_not_allowed", "ai_twin_id")


def test_twin_message_has_the_twin_as_author(db: Db) -> None:
    reply = call(db, "reply_to_message", **fields_of("reply_to_message", ai_twin_id=TWIN))
    assert (reply.status, reply.data["user_id"], reply.data["ai_twin_id"]) == (201, None, TWIN)
    assert reply.data["parent_message_id"] == MESSAGE


def test_reply_is_stored_in_the_channel_of_its_parent(db: Db) -> None:
    fields = fields_of("reply_to_message", channel_id=UNKNOWN_ID, parent_message_id=UNKNOWN_ID)
    reply = call(db, "reply_to_message", **fields)
    assert (reply.data["channel_id"], reply.data["parent_message_id"]) == (CHANNEL, MESSAGE)


@pytest.mark.parametrize("function", ALL)
def test_non_members_get_404(db: Db, function: str) -> None:
    reply = call(db, function, MALLORY, **fields_of(function))
    expected = (404, "message_not_found", None) if function in ABOUT_ONE else (404, "channel_not_found", "channel_id")
    assert reply.error == expected
    where = {"id": UNKNOWN_ID} if function in ABOUT_ONE else {"channel_id": UNKNOWN_ID}
    assert reply.body["error"] == call(db, function, MALLORY, **fields_of(function, **where)).body["error"]


@pytest.mark.parametrize("function", ALL)
def test_former_members_get_404(db: Db, function: str) -> None:
    db.execute("delete from public.channel_members where user_id = %s", (MATTY,))
    assert call(db, function, **fields_of(function)).status == 404


@pytest.mark.parametrize("function", ABOUT_ONE)
@pytest.mark.parametrize(
    ("id_", "error"),
    [
        (None, (400, "missing_field", "id")),
        ("x", (400, "invalid_field", "id")),
        (f"{MESSAGE}\n", (400, "invalid_field", "id")),
        ("' or true --", (400, "invalid_field", "id")),
        (UNKNOWN_ID, (404, "message_not_found", None)),
    ],
    ids=["no id", "a word", "an id and a newline", "SQL", "unknown id"],
)
def test_missing_message_returns_404(
    db: Db, function: str, id_: str | None, error: tuple[int, str, str | None]
) -> None:
    assert call(db, function, **fields_of(function, id=id_)).error == error


@pytest.mark.parametrize("function", ABOUT_ONE)
def test_deleted_message_returns_404(db: Db, function: str) -> None:
    call(db, "delete_message", id=MESSAGE)
    assert call(db, function, **fields_of(function)).error == (404, "message_not_found", None)


@pytest.mark.parametrize("function", NAMING_A_USER)
def test_users_cannot_act_for_other_users(db: Db, function: str) -> None:
    reply = call(db, function, BOB, **fields_of(function, user_id=MATTY))
    assert reply.error == (403, "user_id_mismatch", "user_id")
    assert call(db, function, **fields_of(function, user_id=MATTY)).status in {200, 201}


@pytest.mark.parametrize("function", NAMING_A_USER)
def test_service_acts_for_the_named_user(db: Db, function: str) -> None:
    assert call(db, function, None, **fields_of(function)).error == (400, "missing_field", "user_id")
    reply = call(db, function, None, **fields_of(function, user_id=MATTY))
    assert reply.status in {200, 201}
    assert reply.headers == {}
    assert (reply.data or {}).get("user_id", MATTY) == MATTY


@pytest.mark.parametrize("function", ["list_messages", "get_message", "list_message_edits"])
def test_service_reads_every_channel(db: Db, function: str) -> None:
    assert call(db, function, None, **fields_of(function)).status == 200


def test_pin_of_another_message_is_not_shown(db: Db) -> None:
    call(db, "pin_message", id=send(db))
    edited = call(db, "edit_message", id=MESSAGE, content="again").data
    assert edited["metadata"] == call(db, "get_message", id=MESSAGE).data["metadata"] == {}


def test_service_writes_as_any_twin_in_the_channel(db: Db) -> None:
    reply = call(db, "create_message", None, **fields_of("create_message", ai_twin_id=TWIN))
    assert (reply.status, reply.data["ai_twin_id"], reply.data["user_id"]) == (201, TWIN, None)


def test_history_page_has_authors_and_reactions(db: Db) -> None:
    page = call(db, "list_messages", BOB, channel_id=CHANNEL)
    follow = {"last_seq": last_seq(db), "topic": f"channel:{CHANNEL}"}
    assert page.meta == {"total": 4, "page": 1, "limit": 50, "offset": 0, "next_cursor": None, **follow}
    assert all(message.keys() == SHOWN | LISTED for message in page.data)
    assert [message["display_name"] for message in page.data] == [
        "Bob Okafor",
        "Matty Squarzoni",
        "Carol Lindqvist",
        "Bob Okafor",
    ]
    assert page.data[2]["reactions"] == [{"emoji": "thumbsup", "count": 1, "user_ids": [BOB], "reacted": True}]
    assert page.data[3]["reactions"] == [{"emoji": "fire", "count": 1, "user_ids": [CAROL], "reacted": False}]
    of_service = call(db, "list_messages", None, channel_id=CHANNEL).data[3]["reactions"]
    assert of_service == page.data[3]["reactions"]


def test_history_names_twins_and_former_members(db: Db) -> None:
    call(db, "create_message", **fields_of("create_message", ai_twin_id=TWIN))
    db.execute("delete from public.channel_members where user_id in (%s, %s)", (BOB, CAROL))
    names = [message["display_name"] for message in call(db, "list_messages", channel_id=CHANNEL).data]
    assert names == ["Matty's twin", "Bob Okafor", "Matty Squarzoni", "Carol Lindqvist", "Bob Okafor"]


def test_twin_with_a_users_id_is_not_shown_as_the_user(db: Db) -> None:
    db.execute("insert into public.ai_twins (id, user_id, display_name) values (%s, %s, 'Not Matty')", (MATTY, BOB))
    become(db, BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, MATTY))
    become_postgres(db)
    call(db, "create_message", BOB, **fields_of("create_message", ai_twin_id=MATTY))
    names = [message["display_name"] for message in call(db, "list_messages", channel_id=CHANNEL).data]
    assert names == ["Not Matty", "Bob Okafor", "Matty Squarzoni", "Carol Lindqvist", "Bob Okafor"]
    for who, fields in ((MATTY, {}), (BOB, {"ai_twin_id": MATTY})):
        call(db, "create_message", who, channel_id=CHANNEL, content="zebra", **fields)
    hits = call(db, "search_messages", query="zebra").data
    assert sorted(hit["display_name"] for hit in hits) == ["Matty Squarzoni", "Not Matty"]


@pytest.fixture
def ten(db: Db) -> list[str]:
    """Create a channel with ten messages, two deleted; return the contents of the rest, newest first."""
    lift_request_limit(db)
    ids = [send(db, str(number)) for number in range(10)]
    db.execute("delete from public.messages where channel_id = %s and content !~ '^[0-9]$'", (CHANNEL,))
    db.execute("update private.channel_counters set message_count = 10 where channel_id = %s", (CHANNEL,))
    for number in (3, 7):
        call(db, "delete_message", id=ids[number])
    # The clock may go back; the number orders the messages.
    db.execute("update public.messages set created_at = now() - seq * interval '1 hour' where deleted_at is null")
    return ["9", "8", "6", "5", "4", "2", "1", "0"]


def page(db: Db, **parameters: Any) -> tuple[list[str], dict[str, Any]]:
    """Read a page with query-string parameters; return its contents and meta."""
    texts = {name: str(given) for name, given in parameters.items()}
    reply = call(db, "list_messages", parameters={"channel_id": CHANNEL, **texts})
    return [message["content"] for message in reply.data], reply.meta


@pytest.mark.parametrize(
    ("limit", "offset", "number"), [(3, 0, 1), (3, 3, 2), (3, 6, 3), (3, 9, 4), (3, 4, 2), (200, 0, 1), (1, 7, 8)]
)
def test_offset_returns_the_right_page(db: Db, ten: list[str], limit: int, offset: int, number: int) -> None:
    contents, meta = page(db, limit=limit, offset=offset)
    assert contents == ten[offset : offset + limit]
    follow = {"last_seq", "topic"}  # of the first page
    assert {name: given for name, given in {**meta, "next_cursor": ""}.items() if name not in follow} == {
        "total": 8,
        "page": number,
        "limit": limit,
        "offset": offset,
        "next_cursor": "",
    }
    assert (meta["next_cursor"] is None) == (offset + limit >= len(ten))
    assert ("last_seq" in meta) == (offset == 0)


@pytest.mark.parametrize("limit", [1, 3, 8, 9])
def test_cursors_return_every_message_once(db: Db, ten: list[str], limit: int) -> None:
    found, cursor = page(db, limit=limit)[0], page(db, limit=limit)[1]["next_cursor"]
    while cursor:
        contents, meta = page(db, limit=limit, before=cursor)
        found, cursor = found + contents, meta["next_cursor"]
    assert found == ten
    found, cursor = [], "seq_0"
    while cursor:
        contents, meta = page(db, limit=limit, after=cursor)
        found, cursor = contents + found, meta["next_cursor"]
    assert found == ten


def test_service_reads_no_deleted_messages(db: Db, ten: list[str]) -> None:
    reply = call(
        db,
        "reply_to_message",
        id=(first := call(db, "list_messages", channel_id=CHANNEL).data[0]["id"]),
        content="reply",
    )
    call(db, "delete_message", id=reply.data["id"])
    for cursor in ({"before": "seq_999"}, {"after": "seq_0"}):
        page = call(db, "list_messages", None, channel_id=CHANNEL, **cursor)
        assert [message["content"] for message in page.data] == ten
    thread = call(db, "list_messages", None, channel_id=CHANNEL, thread_id=first)
    assert (thread.data, thread.meta["total"]) == ([], 0)


def test_cursor_of_another_channel_is_rejected(db: Db) -> None:
    become(db, MATTY)
    other = value(db, "insert into public.channels (name) values ('other') returning id::text")
    sent = send(db, channel_id=other)
    for name in ("before", "after"):
        reply = call(db, "list_messages", channel_id=CHANNEL, **{name: sent})
        assert reply.error == (400, "invalid_cursor", name)


def test_reactions_are_in_the_order_of_their_first_use(db: Db) -> None:
    sent = send(db)
    for emoji in ("z", "a"):
        call(db, "add_reaction", id=sent, emoji=emoji)
    db.execute("update public.message_reactions set created_at = now() - interval '1 hour' where emoji = 'z'")
    newest = call(db, "list_messages", channel_id=CHANNEL, limit=1).data[0]
    assert [reaction["emoji"] for reaction in newest["reactions"]] == ["z", "a"]


def test_deleted_message_id_works_as_a_cursor(db: Db, ten: list[str]) -> None:
    # A deleted message keeps its place and not its content.
    query = "select id::text from public.messages where channel_id = %s order by seq"
    ids = dict(zip("0123456789", rows(db, query, CHANNEL), strict=True))
    assert page(db, before=ids["5"])[0] == ["4", "2", "1", "0"]
    assert page(db, before=ids["7"])[0] == ["6", "5", "4", "2", "1", "0"]
    assert page(db, after=ids["7"])[0] == ["9", "8"]
    assert page(db, after=ids["9"])[0] == []


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"limit": "0"}, (400, "invalid_field", "limit")),
        ({"limit": "201"}, (400, "invalid_field", "limit")),
        ({"limit": "-1"}, (400, "invalid_field", "limit")),
        ({"limit": "ten"}, (400, "invalid_field", "limit")),
        ({"limit": ""}, (400, "invalid_field", "limit")),
        ({"limit": "1e2"}, (400, "invalid_field", "limit")),
        ({"offset": "-1"}, (400, "invalid_field", "offset")),
        ({"offset": "99999999999999999999"}, (400, "invalid_field", "offset")),
        ({"thread_id": "x"}, (400, "invalid_field", "thread_id")),
        ({"before": "x"}, (400, "invalid_field", "before")),
        ({"before": "seq_"}, (400, "invalid_field", "before")),
        ({"before": "seq_99999999999999999999"}, (400, "invalid_field", "before")),
        ({"after": UNKNOWN_ID}, (400, "invalid_cursor", "after")),
        ({"before": "seq_1", "after": "seq_1"}, (400, "invalid_cursor", "after")),
        ({"before": "seq_3", "after": "seq_1"}, (400, "invalid_cursor", "after")),
    ],
)
def test_invalid_history_request_names_the_field(
    db: Db, parameters: dict[str, str], error: tuple[int, str, str]
) -> None:
    assert call(db, "list_messages", parameters={"channel_id": CHANNEL, **parameters}).error == error


@pytest.mark.parametrize("cursor", [MESSAGE, UNKNOWN_ID, "seq_1"])
def test_cursor_reveals_nothing_to_non_members(db: Db, cursor: str) -> None:
    reply = call(db, "list_messages", MALLORY, channel_id=CHANNEL, before=cursor)
    assert reply.error == (404, "channel_not_found", "channel_id")


def test_thread_lists_its_replies(db: Db) -> None:
    call(db, "reply_to_message", id=MESSAGE, content="new")
    contents, meta = page(db, thread_id=MESSAGE, limit=1)
    assert (contents, meta["total"], meta["page"]) == (["new"], 2, 1)
    assert len(page(db, thread_id=MESSAGE, limit=1, before=meta["next_cursor"])[0]) == 1
    assert page(db, thread_id=UNKNOWN_ID)[0] == []


def test_thread_of_another_channel_is_hidden(db: Db) -> None:
    become(db, MATTY)
    other = value(db, "insert into public.channels (name) values ('other') returning id::text")
    reply = call(db, "list_messages", channel_id=other, thread_id=MESSAGE)
    assert (reply.data, reply.meta["total"]) == ([], 0)


def test_total_is_read_and_not_counted(db: Db) -> None:
    db.execute("update private.channel_counters set message_count = 123456 where channel_id = %s", (CHANNEL,))
    assert page(db)[1]["total"] == 123456


def rows_read(db: Db) -> int:
    """Return how many message rows this transaction has read so far."""
    query = """
        select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = 'public.messages'::regclass
    """
    return value(db, query)


def test_get_returns_reaction_counts(db: Db) -> None:
    for user_id, emoji in ((BOB, "fire"), (CAROL, "fire"), (BOB, "tada")):
        call(db, "add_reaction", user_id, id=MESSAGE, emoji=emoji)
    reply = call(db, "get_message", id=MESSAGE)
    assert reply.data.keys() == SHOWN | LISTED | {"reaction_count"}
    assert (reply.data["reaction_count"], reply.meta) == (3, {})


def test_only_the_author_may_edit(db: Db) -> None:
    reply = call(db, "edit_message", id=MESSAGE, content="second", user_id=MATTY)
    assert (reply.status, reply.body.keys(), reply.data.keys()) == (200, {"success", "data"}, SHOWN)
    assert reply.data["updated_at"] >= reply.data["created_at"]
    assert call(db, "edit_message", BOB, id=MESSAGE, content="x").error == (403, "not_the_author", None)
    db.execute("update public.channel_members set role = 'admin' where user_id = %s", (BOB,))
    assert call(db, "edit_message", BOB, id=MESSAGE, content="x").error == (403, "not_the_author", None)


@pytest.mark.parametrize("content", [None, "", "x" * 40_001, 5])
def test_edit_without_content_is_rejected(db: Db, content: Any) -> None:
    code = "missing_field" if content is None else "invalid_field"
    assert call(db, "edit_message", id=MESSAGE, content=content).error == (400, code, "content")


def test_edits_are_listed_oldest_first(db: Db) -> None:
    assert call(db, "list_message_edits", BOB, id=MESSAGE).body == {"success": True, "data": []}
    other = send(db)
    for content in ("second", "second", "third"):
        call(db, "edit_message", id=MESSAGE, content=content)
        call(db, "edit_message", id=other, content=content)
    versions = call(db, "list_message_edits", BOB, id=MESSAGE).data
    first = "Can you analyze the Q1 marketing data?"
    assert [(one["version"], one["content"]) for one in versions] == [(1, first), (2, "second")]
    assert all(re.fullmatch(TIME, one[name]) for one in versions for name in ("written_at", "replaced_at"))


def test_author_may_delete(db: Db) -> None:
    reply = call(db, "delete_message", id=MESSAGE, user_id=MATTY)
    assert reply.body.keys() == {"success", "data"}
    assert reply.data.keys() == {"id", "deleted_at"}
    assert re.fullmatch(TIME, reply.data["deleted_at"])


@pytest.mark.parametrize("admin", ["true", "1", True])
@pytest.mark.parametrize("role", ["owner", "admin"])
def test_channel_managers_delete_messages_of_others(db: Db, role: str, admin: Any) -> None:
    db.execute("update public.channel_members set role = %s where user_id = %s", (role, CAROL))
    add_channel(db, "own", [MALLORY])  # of an owner elsewhere
    assert call(db, "delete_message", MALLORY, id=MESSAGE, admin=admin).error == (404, "message_not_found", None)
    for who, fields in ((CAROL, {}), (BOB, {"admin": admin})):
        assert call(db, "delete_message", who, id=MESSAGE, **fields).error == (403, "not_the_author", None)
    assert call(db, "delete_message", CAROL, id=MESSAGE, admin=admin).status == 200
    assert call(db, "delete_message", BOB, id=MESSAGE).error == (404, "message_not_found", None)


def test_application_admin_deletes_messages_of_others(db: Db) -> None:
    claims = {"app_metadata": {"role": "admin"}}
    assert call(db, "delete_message", CAROL, id=MESSAGE, claims=claims).status == 403
    assert call(db, "delete_message", CAROL, id=MESSAGE, claims=claims, admin=True).status == 200


def test_application_admin_needs_no_membership(db: Db) -> None:
    claims = {"app_metadata": {"role": "admin"}}
    assert call(db, "delete_message", MALLORY, id=MESSAGE, claims=claims).error == (404, "message_not_found", None)
    assert call(db, "delete_message", MALLORY, id=UNKNOWN_ID, claims=claims, admin=True).status == 404
    assert call(db, "delete_message", MALLORY, id=MESSAGE, admin=True).error == (404, "message_not_found", None)
    assert call(db, "delete_message", MALLORY, id=MESSAGE, claims=claims, admin=True).status == 200
    assert events(db)[-1] == ("message.deleted", MESSAGE, MALLORY, None)
    assert call(db, "delete_message", MALLORY, id=MESSAGE, claims=claims, admin=True).status == 404


def test_owner_edits_and_deletes_messages_of_a_twin(db: Db) -> None:
    said = send(db, ai_twin_id=TWIN)
    db.execute("update public.channel_members set role = 'admin' where user_id = %s", (BOB,))
    assert call(db, "edit_message", BOB, id=said, content="x").error == (403, "not_the_author", None)
    reply = call(db, "edit_message", id=said, content="better")
    assert (reply.data["content"], reply.data["ai_twin_id"], reply.data["user_id"]) == ("better", TWIN, None)
    assert events(db)[-1] == ("message.updated", said, MATTY, None)
    assert call(db, "delete_message", CAROL, id=said, admin=True).error == (403, "not_the_author", None)
    assert call(db, "delete_message", id=said).status == 200
    other = send(db, ai_twin_id=TWIN)
    assert call(db, "delete_message", BOB, id=other, admin=True).status == 200
    assert inconsistencies(db) == []


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("edit_message", "message.updated"),
        ("pin_message", "message.pinned"),
        ("unpin_message", "message.unpinned"),
        ("delete_message", "message.deleted"),
    ],
)
def test_service_action_is_recorded_for_the_named_user(db: Db, function: str, kind: str) -> None:
    if function == "unpin_message":
        call(db, "pin_message", id=MESSAGE)
    assert call(db, function, None, **fields_of(function, user_id=MATTY)).status == 200
    assert events(db)[-1] == (kind, MESSAGE, MATTY, None)


def test_session_setting_cannot_change_the_actor(db: Db) -> None:
    become(db, MATTY)
    db.execute("select set_config('threadline.acting_id', %s, true)", (BOB,))
    db.execute("update public.messages set content = 'x' where id = %s", (MESSAGE,))
    become_postgres(db)
    assert events(db)[-1] == ("message.updated", MESSAGE, MATTY, None)


def test_clients_cannot_delete_messages_directly(db: Db) -> None:
    become(db, BOB)
    diagnostics = refused(db, "select private.delete_message(%s, %s, true)", MESSAGE, MATTY, by=psycopg.Error)
    assert (diagnostics.sqlstate, diagnostics.message_detail) == ("PT403", "not_the_author")


def test_attachments_over_64_kb_are_rejected(db: Db) -> None:
    attachments = [{"url": "x" * (65536 - len('[{"url": ""}]'))}]
    send(db, attachments=attachments)
    reply = call(db, "create_message", **fields_of("create_message", attachments=[{"url": "x" * 65536}]))
    assert reply.error == (413, "attachments_too_large", "attachments")
    become(db, MATTY)
    statement = "insert into public.messages (channel_id, content, attachments) values (%s, 'x', %s)"
    diagnostics = refused(db, statement, CHANNEL, json.dumps([{"url": "x" * 65536}]), by=CheckViolation)
    assert diagnostics.constraint_name == "messages_attachments_size"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"user_metadata": {"role": "admin"}},
        {"app_metadata": {"role": "administrator"}},
        {"app_metadata": "admin"},
        {"app_metadata": {"role": ["admin"]}},
        {"app_role": "admin", "is_admin": True},
    ],
    ids=str,
)
def test_users_cannot_make_themselves_admin(db: Db, claims: dict[str, Any]) -> None:
    reply = call(db, "delete_message", CAROL, id=MESSAGE, claims=claims, admin=True)
    assert reply.error == (403, "not_the_author", None)


def test_pinning_is_idempotent_and_shows_in_metadata(db: Db) -> None:
    first = call(db, "pin_message", BOB, id=MESSAGE)
    pin = first.data["metadata"]
    assert (pin["pinned"], pin["pinned_by"]) == (True, BOB)
    assert re.fullmatch(TIME, pin["pinned_at"])
    assert first.data["updated_at"] == pin["pinned_at"]
    assert call(db, "pin_message", CAROL, id=MESSAGE).data == first.data
    assert call(db, "get_message", id=MESSAGE).data["metadata"] == pin
    for _ in range(2):
        assert call(db, "unpin_message", CAROL, id=MESSAGE).data["metadata"] == {}
    assert inconsistencies(db) == []


def test_metadata_cannot_fake_a_pin(db: Db) -> None:
    forged = {"pinned": True, "pinned_by": BOB, "pinned_at": "2026-01-01T00:00:00.000Z", "kept": 1}
    message_id = send(db, metadata=forged)
    assert call(db, "get_message", id=message_id).data["metadata"] == {"kept": 1}


def test_react_toggles_and_reports_the_result(db: Db) -> None:
    first = call(db, "toggle_reaction", id=MESSAGE, emoji="fire", user_id=MATTY)
    assert first.data.keys() == {"id", "message_id", "user_id", "emoji", "created_at"}
    assert (first.data["message_id"], first.data["user_id"], first.data["emoji"]) == (MESSAGE, MATTY, "fire")
    assert first.meta == {"action": "added"}
    second = call(db, "toggle_reaction", id=MESSAGE, emoji="fire")
    assert (second.data, second.meta) == (first.data, {"action": "removed"})
    assert call(db, "toggle_reaction", id=MESSAGE, emoji="fire").meta == {"action": "added"}


def test_adding_and_removing_a_reaction_are_idempotent(db: Db) -> None:
    replies = [
        call(db, function, id=MESSAGE, emoji="fire")
        for function in ("add_reaction", "add_reaction", "remove_reaction", "remove_reaction")
    ]
    assert [reply.meta["action"] for reply in replies] == ["added", "unchanged", "removed", "unchanged"]
    assert replies[0].data == replies[1].data == replies[2].data
    assert call(db, "remove_reaction", id=MESSAGE, emoji="fire").data is None


@pytest.mark.parametrize("emoji", ["x", "\U0001f44d\U0001f3fd", "x" * 64])
def test_emoji_may_have_64_characters(db: Db, emoji: str) -> None:
    assert call(db, "toggle_reaction", id=MESSAGE, emoji=emoji).data["emoji"] == emoji
    listed = call(db, "list_messages", channel_id=CHANNEL).data[1]["reactions"]
    assert listed == [{"emoji": emoji, "count": 1, "user_ids": [MATTY], "reacted": True}]


@pytest.mark.parametrize("function", ["toggle_reaction", "add_reaction", "remove_reaction"])
@pytest.mark.parametrize(
    ("emoji", "code"),
    [(None, "missing_field"), ("", "invalid_field"), ("x" * 65, "invalid_field"), (5, "invalid_field")],
    ids=["no emoji", "empty", "long", "a number"],
)
def test_invalid_emoji_is_rejected(db: Db, function: str, emoji: Any, code: str) -> None:
    assert call(db, function, id=MESSAGE, emoji=emoji).error == (400, code, "emoji")


LARGE = 20_000


@pytest.fixture
def large(db: Db) -> Db:
    """Add 20,000 messages to the channel, with few and old threads."""
    lift_request_limit(db)
    db.execute("alter table public.messages disable trigger user")
    db.execute(
        """
        insert into public.messages (workspace_id, channel_id, user_id, seq, content, parent_message_id, thread_id)
        select %s, %s, %s, n + 1000, 'x', answered.id, answered.id
        from generate_series(1, %s) as n
        cross join lateral (select case when n %% 1000 = 7 then %s::uuid end as id) as answered
        """,
        (WORKSPACE, CHANNEL, MATTY, LARGE, MESSAGE),
    )
    db.execute("alter table public.messages enable trigger user")
    db.execute("analyze public.messages")
    return db


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan"])
def test_large_channel_page_reads_little_under_any_plan(large: Db, mode: str) -> None:
    large.execute("select set_config('plan_cache_mode', %s, true)", (mode,))
    for where in ({}, {"before": "seq_20000"}, {"before": "seq_1100"}, {"after": "seq_1100"}, {"after": "seq_20000"}):
        before = rows_read(large)
        assert len(page(large, limit=50, **where)[0]) == 50
        assert rows_read(large) - before <= 3 * 51
        before = rows_read(large)
        # The thread has 21 replies, which are counted.
        assert len(page(large, limit=5, thread_id=MESSAGE, **where)[0]) >= 1
        assert rows_read(large) - before <= 50


@pytest.mark.parametrize("form", ["{{{}}}", "{} ", "urn:uuid:{}"])
def test_another_form_of_a_channel_id_is_refused(db: Db, form: str) -> None:
    reply = call(db, "create_message", channel_id=form.format(CHANNEL), content="x")
    assert reply.error == (400, "invalid_field", "channel_id")
