"""sql/121, sql/133 and sql/134: what happened to messages after they were sent."""

from itertools import permutations
from typing import Any

import pytest

from tests.support.calls import ask, ingest
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import BOB, MATTY

AT = "2026-02-01T11:00:00.000Z"
LATER = "2026-02-01T12:00:00.000Z"


def update(type_: str, message_id: str = "m1", at: str = AT, **fields: Any) -> dict[str, Any]:
    return {"message_id": message_id, "type": type_, "at": at, **fields}


def changed(*updates: Any, messages: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return conversation(*messages, updates=list(updates))


def shown(db: Db, *updates: Any) -> dict[str, Any]:
    """Return the message m1 after updates, without the fields that it had before."""
    given = message(content="Hi")
    ingest(db, conversation(given))
    for one in updates:
        ingest(db, changed(one))
    (stored,) = read_conversation(db)["messages"]
    deleted = value(db, "select private.format_time(deleted_at) from public.conversation_messages")
    assert deleted == stored.get("deleted_at")
    return {name: field for name, field in stored.items() if name not in given or given[name] != field}


EXAMPLES = {
    "edited": ([update("edited", content="Ho")], {"content": "Ho", "edited_at": AT}),
    "edited file": (
        [update("edited", content="Ho", media_url="https://a.example/2")],
        {"content": "Ho", "edited_at": AT, "media_url": "https://a.example/2"},
    ),
    "older edit": (
        [update("edited", content="Ho", at=LATER), update("edited", content="Hu")],
        {"content": "Ho", "edited_at": LATER},
    ),
    "equal edits": (
        [update("edited", content="b", sequence=2), update("edited", content="c", sequence=1)],
        {"content": "b", "edited_at": AT},
    ),
    "deleted": ([update("deleted")], {"content": "", "deleted": True, "deleted_at": AT}),
    "reaction": (
        [update("reaction", emoji="\U0001f44d", by="@ann"), update("reaction", emoji=["a", "b"], at=LATER)],
        {
            "reactions": [
                {"emoji": "\U0001f44d", "by": "@ann", "at": AT},
                {"emoji": "a", "at": LATER},
                {"emoji": "b", "at": LATER},
            ]
        },
    ),
    "reaction changed": (
        [update("reaction", emoji="a", by="x"), update("reaction", emoji="b", by="x", at=LATER)],
        {"reactions": [{"emoji": "b", "by": "x", "at": LATER}]},
    ),
    "reaction removed": (
        [update("reaction", emoji="a"), update("reaction", emoji=None, at=LATER)],
        {"reactions": []},
    ),
    "reaction emptied": ([update("reaction", emoji="a"), update("reaction", emoji="", at=LATER)], {"reactions": []}),
    "reactions of one moment": (
        [
            update("reaction", emoji="a", sequence=2),
            update("reaction", emoji="z", sequence=1),
            update("reaction", emoji=["a", "c"], by="@bea"),
            update("reaction", emoji=["d", "b"], by="@ann"),
        ],
        {
            "reactions": [
                {"emoji": "a", "at": AT},
                {"emoji": "d", "by": "@ann", "at": AT},
                {"emoji": "b", "by": "@ann", "at": AT},
                {"emoji": "a", "by": "@bea", "at": AT},
                {"emoji": "c", "by": "@bea", "at": AT},
            ]
        },
    ),
    "equal reactions": (
        [update("reaction", emoji="a"), update("reaction", emoji="b")],
        {"reactions": [{"emoji": "b", "at": AT}]},
    ),
    "delivered": ([update("delivered")], {"status": "delivered", "status_at": AT}),
    "sender in a direct conversation": (
        [update("delivered", sender="@ann")],
        {"status": "delivered", "status_at": AT},
    ),
    "read before delivered": (
        [update("read"), update("delivered", at=LATER)],
        {"status": "read", "status_at": AT},
    ),
    "latest receipt": (
        [update("read", at=LATER), update("read", by="@ann"), update("read", by="@bea")],
        {"status": "read", "status_at": LATER},
    ),
    "played": ([update("played"), update("read", at=LATER)], {"status": "played", "status_at": AT}),
    "failed": (
        [update("failed", reason="131026: Undeliverable")],
        {"status": "failed", "status_at": AT, "failure": "131026: Undeliverable"},
    ),
    "failed without a reason": ([update("failed", reason=None)], {"status": "failed", "status_at": AT}),
    "failed twice in one moment": (
        [
            update("failed", reason="r", sequence=2, by="@ann"),
            update("failed", reason="s", sequence=1, by="@bea"),
        ],
        {"status": "failed", "status_at": AT, "failure": "r"},
    ),
    "failed then delivered": (
        [update("failed", at=LATER), update("delivered")],
        {"status": "delivered", "status_at": AT},
    ),
    "media": (
        [update("media", media_url="https://a.example/2", at=LATER), update("media", media_url="https://a.example/1")],
        {"media_url": "https://a.example/2"},
    ),
    "media of one moment": (
        [
            update("edited", content="Ho", media_url="https://a.example/1", sequence=2),
            update("media", media_url="https://a.example/2", sequence=1),
        ],
        {"content": "Ho", "edited_at": AT, "media_url": "https://a.example/1"},
    ),
    "deleted twice": (
        [update("deleted", by="@ann"), update("deleted", by="@bea", at=LATER)],
        {"content": "", "deleted": True, "deleted_at": LATER},
    ),
    "pinned": ([update("pinned")], {"pinned": True, "pinned_at": AT}),
    "pinned in one moment": (
        [update("pinned", by="@ann", sequence=1), update("unpinned", by="@bea", sequence=2)],
        {"pinned": False},
    ),
    "unpinned": ([update("pinned"), update("unpinned", at=LATER)], {"pinned": False}),
    "all by two in one moment": (
        [
            *(update("failed", by=name, reason=name) for name in ("a", "b")),
            *(update("media", by=name, media_url=f"https://{name}.example") for name in ("a", "b")),
            update("unpinned", by="a"),
            update("pinned", by="b"),
        ],
        {
            "status": "failed",
            "status_at": AT,
            "failure": "b",
            "media_url": "https://b.example",
            "pinned": True,
            "pinned_at": AT,
        },
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_update_changes_its_message(db: Db, name: str) -> None:
    updates, expected = EXAMPLES[name]
    assert shown(db, *updates) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_update_waits_for_its_message(db: Db, name: str) -> None:
    updates, expected = EXAMPLES[name]
    answer = ingest(db, changed(*updates))
    assert answer.body["results"][0]["updates_waiting"] == len(updates)
    assert shown(db) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_updates_come_with_their_message(db: Db, name: str) -> None:
    updates, expected = EXAMPLES[name]
    ingest(db, changed(*reversed(updates), messages=(message(content="Hi"),)))
    assert shown(db) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-02-01T10:59:59Z", {"edited_at": AT}),
        (AT, {"edited_at": AT}),
        (LATER, {"content": "Ho", "edited_at": LATER}),
    ],
)
def test_edit_counts_if_it_is_later_than_the_own_one(db: Db, at: str, expected: dict[str, Any]) -> None:
    given = message(edited_at="2026-02-01T12:00:00+01:00")
    ingest(db, changed(update("edited", at=at, content="Ho"), messages=(given,)))
    assert read_conversation(db)["messages"] == [given | expected]


def test_message_without_updates_is_stored_once(db: Db) -> None:
    ingest(db, changed(update("read"), messages=(message("m1"), message("m2"))))
    assert rows(db, "select original from public.conversation_messages where external_id = 'm2'") == [None]


def test_later_update_has_its_own_arrival(db: Db) -> None:
    ingest(db, changed(update("read")))
    db.execute("update public.conversation_updates set received_at = '2020-01-01'")
    ingest(db, changed(update("read", at=LATER)))
    assert rows(db, "select received_at = now() from public.conversation_updates") == [True]


def test_answer_counts_new_and_waiting_updates(db: Db) -> None:
    given = changed(update("read"), update("read"), update("pinned", "m2"), messages=(message("m1"),))
    results = [ingest(db, given).body["results"][0] for _ in range(2)]
    assert [list(result.values())[1:] for result in results] == [[1, "created", 2, 1], [0, "no_new_messages", 0, 1]]
    assert list(results[0])[3:] == ["updates_added", "updates_waiting"]
    assert ingest(db, changed(update("read", at=LATER))).statuses == ["updated"]


def test_edited_message_comes_again_without_news(db: Db) -> None:
    ingest(db, conversation(message()))
    ingest(db, conversation(updates=[update("edited", content="new")]))
    (edited,) = read_conversation(db)["messages"]
    assert ingest(db, conversation(edited, message("m2"))).statuses == ["updated"]
    assert value(db, "select count(*) from public.conversation_updates") == 1


def test_repeated_updates_write_no_message(db: Db) -> None:
    given = [changed(update("read"), update("edited", content="x"), messages=(message(),)), changed(update("pinned"))]
    places = "select ctid::text, xmin::text from public.{} order by 1"
    for one in given:
        ingest(db, one)
    before = [rows(db, places.format(table)) for table in ("conversations", "conversation_messages")]
    for one in (*given, conversation(message())):
        assert ingest(db, one).statuses == ["no_new_messages"]
    assert [rows(db, places.format(table)) for table in ("conversations", "conversation_messages")] == before


def test_statements_of_ingest_are_not_compiled(db: Db) -> None:
    become_postgres(db)
    db.execute(
        """
        create function public.refuse_jit() returns trigger language plpgsql as $$
        begin
            if current_setting('jit') = 'on' then
                raise exception 'JIT takes longer than these statements.';
            end if;
            return new;
        end $$
        """
    )
    db.execute(
        "create trigger refuse before insert on public.conversation_updates "
        "for each row execute function public.refuse_jit()"
    )
    db.execute("set local jit = on")
    assert shown(db, update("read")) == {"status": "read", "status_at": AT}


def test_preview_follows_updates(db: Db) -> None:
    previews = []
    for one in (
        conversation(message(content="Hi")),
        changed(update("edited", content="Ho")),
        changed(update("deleted")),
    ):
        ingest(db, one)
        previews.append(read_conversation(db)["last_message_preview"])
    assert previews == ["Hi", "Ho", "Deleted message"]
    assert read_conversation(db)["message_count"] == 1


TEXTS = """
select coalesce(string_agg(line, ' '), '') from (
    select c::text from public.conversations as c
    union all select m::text from public.conversation_messages as m
    union all select u::text from public.conversation_updates as u
    union all select payload::text from realtime.messages
) as found (line)
"""


@pytest.mark.parametrize("is_first", [False, True])
def test_deleted_text_is_gone_everywhere(db: Db, is_first: bool) -> None:
    texts = [
        conversation(message(content="secret one", media_url="https://secret.example", mine="secret two")),
        changed(
            update("edited", content="secret three"),
            update("media", media_url="https://secret.example/2"),
            update("failed", reason="secret five"),
            update("reaction", emoji="secret six"),
        ),
    ]
    if not is_first:
        for one in texts:
            ingest(db, one)
    ingest(db, changed(update("deleted")))
    for one in (*texts, conversation(message(content="secret four"))):
        assert "conflicting_message_ids" not in ingest(db, one).body["results"][0]
    assert "secret" not in value(db, TEXTS)
    exported = ask(db, MATTY, "export_conversation", conversation_id=str(read_conversation(db)["id"]))
    assert exported == read_conversation(db)["messages"]
    assert exported[0]["deleted"] is True


def test_earlier_texts_are_kept_for_the_owner(db: Db) -> None:
    ingest(db, conversation(message(content="one")))
    edits = [(LATER, "three"), (AT, "two"), (AT, "also two"), ("2026-02-01T13:00:00Z", "two")]
    ingest(db, changed(*(update("edited", content=text, at=at) for at, text in edits)))
    texts = "select value ->> 'content' from public.conversation_updates where type = 'edited' order by at, value"
    for user_id, expected in ((MATTY, ["also two", "two", "three", "two"]), (BOB, [])):
        become(db, user_id)
        assert rows(db, texts) == expected
        assert rows(db, "select original ->> 'content' from public.conversation_messages") == ["one"][: len(expected)]
    become_postgres(db)


@pytest.mark.parametrize("again", [{"edited_at": AT}, {"edit_date": 1769943600}])
def test_edited_message_sent_again_is_an_edit(db: Db, again: dict[str, Any]) -> None:
    first, second = message(content="Meet at 5"), message(content="Meet at 6", **again)
    for given in permutations([first, second, second]):
        with db.transaction(force_rollback=True):
            answers = [ingest(db, conversation(one)) for one in given]
            assert not any("conflicting_message_ids" in answer.body["results"][0] for answer in answers)
            assert read_conversation(db)["messages"] == [{**second, "edited_at": AT}]
            assert read_conversation(db)["last_message_preview"] == "Meet at 6"


def test_conflict_is_no_edit_after_an_edit_of_another_one(db: Db) -> None:
    ingest(db, conversation(message("a", content="Hi"), message("b", edited_at=AT)))
    result = ingest(db, conversation(message("a", content="Ho"))).body["results"][0]
    assert (result["status"], result["conflicting_message_ids"]) == ("no_new_messages", ["a"])
    assert [said["content"] for said in read_conversation(db)["messages"]] == ["Hi", message("b")["content"]]


@pytest.mark.parametrize("first", [{}, {"media_url": None}, {"media_url": "https://a.example/1"}])
def test_same_message_with_another_url_renews_it(db: Db, first: dict[str, Any]) -> None:
    second = "https://a.example/2"
    ingest(db, conversation(message(type="image", **first)))
    result = ingest(db, conversation(message(type="image", media_url=second))).body["results"][0]
    assert (result["status"], result["updates_added"], "conflicting_message_ids" in result) == ("updated", 1, False)
    for one in (message(type="image", media_url=second), message(type="image", **first)):
        assert ingest(db, conversation(one)).statuses == ["no_new_messages"]
        assert read_conversation(db)["messages"][0]["media_url"] == second


def test_known_url_of_a_read_message_is_not_new(db: Db) -> None:
    image = message(type="image", media_url="https://a.example/1")
    ingest(db, conversation(image), changed(update("read")))
    again = conversation({**image, "media_url": "https://a.example/2"})
    assert [ingest(db, again).statuses for _ in range(2)] == [["updated"], ["no_new_messages"]]


def test_missing_url_does_not_remove_a_url(db: Db) -> None:
    ingest(db, conversation(message(type="image", media_url="https://a.example/1")))
    result = ingest(db, conversation(message(type="image"))).body["results"][0]
    assert (result["status"], "conflicting_message_ids" in result) == ("no_new_messages", False)
    assert read_conversation(db)["messages"][0]["media_url"] == "https://a.example/1"


def test_updates_are_broadcast_with_their_messages(db: Db) -> None:
    ingest(db, conversation(message("m1"), message("m2")))
    db.execute("update public.conversations set created_at = '2026-01-01'")
    db.execute("delete from realtime.messages")
    ingest(db, changed(update("read", "m2")))
    ((event, payload),) = rows(db, "select event, payload from realtime.messages")
    assert (event, payload["messages_added"], [line["id"] for line in payload["messages"]]) == (
        "conversation.updated",
        0,
        ["m2"],
    )


BAD_UPDATES = {
    "updates must be an array": [{}, "x", 5],
    "updates[1] must be an object": [[None], [5], ["x"], [[]]],
    "updates[1].message_id must be a string of 1 to 500 characters": [
        [update("read", bad)]
        for bad in (None, "", "x" * 501, 5)  # type: ignore[arg-type]
    ],
    "updates[1].type must be edited, deleted, reaction, delivered, read, played, failed, media, pinned or unpinned": [
        [update(bad)]
        for bad in ("sent", "", None, 5)  # type: ignore[arg-type]
    ],
    "updates[1].at must be an ISO 8601 timestamp": [
        [update("read", at=bad)]
        for bad in (None, "", "now", 1769943600)  # type: ignore[arg-type]
    ],
    "updates[1].by must be a string of at most 500 characters": [[update("read", by=bad)] for bad in (5, "x" * 501)],
    "updates[1].content must be a string": [[update("edited", content=bad)] for bad in (None, 5, {})],
    "updates[1].media_url must be a string or null": [[update("edited", content="", media_url=5)]],
    "updates[1].media_url must be a string": [[update("media", media_url=bad)] for bad in (None, "", 5, ["x"])],
    "updates[1].emoji must be null, a string of at most 100 characters or an array of at most 20 of them": [
        [update("reaction", emoji=bad)] for bad in (5, "x" * 101, {}, [""], [5], ["a"] * 21)
    ],
    "updates[1].reason must be a string of at most 1000 characters": [
        [update("failed", reason=bad)] for bad in (5, {"code": 1}, "x" * 1001)
    ],
}


@pytest.mark.parametrize("error", BAD_UPDATES)
def test_bad_update_gets_an_error_with_its_place(db: Db, error: str) -> None:
    for bad in BAD_UPDATES[error]:
        given = [update("read"), *bad * 2] if isinstance(bad, list) else bad
        assert ingest(db, conversation(message(), updates=given)).statuses == [f"error: {error}"]
    assert rows(db, "select from public.conversations") == []


def test_update_without_a_field_gets_its_error(db: Db) -> None:
    for kind, name in [
        *(("read", each) for each in ("message_id", "type", "at")), ("edited", "content"), ("media", "media_url")
    ]:  # fmt: skip
        given = update(kind, content="new", media_url="https://a.example/1")
        del given[name]
        [status] = ingest(db, conversation(message(), updates=[given])).statuses
        assert status.startswith(f"error: updates[0].{name} must be ")


def test_error_of_the_conversation_comes_before_its_updates(db: Db) -> None:
    given = conversation(participant_name=5, updates=[{}])
    assert ingest(db, given).statuses == ["error: participant_name must be a string of at most 500 characters"]


def test_reaction_without_emoji_is_an_error(db: Db) -> None:
    assert ingest(db, changed(update("reaction"))).statuses[0].startswith("error: updates[0].emoji")


def test_updates_count_towards_the_limit(db: Db) -> None:
    db.execute("update private.settings set ingest_max_messages = 2")
    assert ingest(db, changed(update("read"), update("pinned"), messages=(message(),))).status == 413
    assert ingest(db, changed(update("read"), messages=(message(),))).status == 200


def test_edits_of_one_moment_differ_by_their_sequence(db: Db) -> None:
    edits = [update("edited", content="new", sequence=number) for number in (1, 2, 2)]
    result = ingest(db, changed(*edits, messages=(message(),))).body["results"][0]
    assert result["updates_added"] == 2


def test_edited_message_has_no_field_of_the_one_before(db: Db) -> None:
    edited = message(content="new", edited_at=AT)
    for one in (message(own=1), edited):
        ingest(db, conversation(one))
    assert read_conversation(db)["messages"] == [edited]


def test_file_of_an_edited_message_is_newer_than_an_update(db: Db) -> None:
    urls = [f"https://a.example/{number}" for number in range(3)]
    ingest(db, conversation(message(type="image", media_url=urls[0], edited_at="2026-02-01T10:50:00Z")))
    for at, url, expected in (("10:40", urls[1], urls[0]), ("11:10", urls[2], urls[2])):
        ingest(db, changed(update("media", at=f"2026-02-01T{at}:00Z", media_url=url)))
        assert read_conversation(db)["messages"][0]["media_url"] == expected


def test_null_updates_are_no_updates(db: Db) -> None:
    result = ingest(db, conversation(message(), updates=None)).body["results"][0]
    assert list(result) == ["conversation_id", "messages_added", "status"]


def test_updates_go_with_their_conversation(db: Db) -> None:
    ingest(db, changed(update("read"), update("read", "waits"), messages=(message(),)))
    db.execute("delete from public.conversations")
    assert rows(db, "select from public.conversation_updates") == []


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_no_client_writes_updates(db: Db, role: str) -> None:
    ingest(db, changed(update("read")))
    db.execute("select set_config('role', %s, true)", (role,))
    for statement in ("update public.conversation_updates set at = at", "delete from public.conversation_updates"):
        refused(db, statement)
