"""Gone is gone: no table and no call shows what was deleted, edited away or erased."""

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.support.calls import ask, call, ingest, send
from tests.support.database import Db, add_channel, become, become_postgres, lift_request_limit, rows, value
from tests.support.ingest import conversation, message
from tests.support.realtime import fire_deferred_triggers
from tests.support.world import BOB, CAROL, CHANNEL, JOHN_DOE, MALLORY, MATTY, TWIN, WORKSPACE

CANARY = "canary7"
EARLIER = "2026-02-01T09:00:00Z"
STORE = "insert into storage.objects (bucket_id, name, owner_id, metadata) values ('attachments', %s, %s, %s)"


def places(db: Db) -> set[str]:
    """Every column of every table of ours and of Realtime that contains the canary, asked from the catalog."""
    become_postgres(db)
    fire_deferred_triggers(db)
    tables = rows(
        db,
        """
        select relation.oid::regclass::text, array_agg(part.attname::text)
        from pg_class as relation inner join pg_attribute as part on part.attrelid = relation.oid
        where part.attnum > 0 and not part.attisdropped and (
            relation.relnamespace::regnamespace::text in ('public', 'private') and relation.relkind in ('r', 'p')
            or relation.oid = 'realtime.messages'::regclass
        )
        group by relation.oid
        """,
    )
    found = set()
    for table, columns in tables:
        is_there = ", ".join(f"bool_or({column}::text ~* '{CANARY}')" for column in columns)
        answers = db.execute(f"select {is_there} from {table}").fetchone()
        name = table.removeprefix("public.")
        found |= {f"{name}.{column}" for column, answer in zip(columns, answers, strict=True) if answer}
    return found


def said_to(db: Db, user_id: str, message_id: str) -> str:
    """All that the calls tell a member about a message."""
    answers = [
        call(db, "list_messages", user_id, channel_id=CHANNEL, limit=200),
        call(db, "list_channel_events", user_id, channel_id=CHANNEL, limit=1000),
        call(db, "search_messages", user_id, query=CANARY),
        call(db, "export_channel", user_id, channel_id=CHANNEL),
        call(db, "get_message", user_id, id=message_id),
        call(db, "list_message_edits", user_id, id=message_id),
        call(db, "list_twin_deliveries", MATTY, ai_twin_id=TWIN, state="pending"),
    ]
    become(db, user_id)
    tables = ("messages", "message_edits", "message_events", "message_reactions", "attachments", "twin_deliveries")
    seen = [rows(db, f"select to_jsonb(t)::text from public.{table} as t") for table in tables]
    become_postgres(db)
    return json.dumps([[answer.body for answer in answers], seen])


@pytest.fixture
def planted(db: Db) -> str:
    """Plant the canary at every place that a message of Bob reaches, and return the id of the message."""
    lift_request_limit(db)
    call(db, "set_twin_webhook", MATTY, ai_twin_id=TWIN, url="https://twin.example/")
    become(db, BOB)
    begun = value(
        db, "select public.begin_upload(%s::jsonb)", json.dumps({"conversation_id": CHANNEL, "files": [{"name": "x"}]})
    )
    [file] = begun["data"]["files"]
    db.execute(STORE, (file["path"], BOB, Jsonb({"size": 5, "mimetype": "text/plain"})))
    file["name"] = f"{CANARY}.txt"
    call(db, "finish_upload", BOB, conversation_id=CHANNEL, files=[file])
    said = call(
        db,
        "create_message",
        BOB,
        key="key 1",
        channel_id=CHANNEL,
        content=CANARY,
        metadata={"note": CANARY},
        attachments=[{"attachment_id": file["id"], "name": CANARY}],
    ).data["id"]
    fire_deferred_triggers(db)
    for function, who, fields in (
        ("pin_message", MATTY, {}),
        ("toggle_reaction", CAROL, {"emoji": f"{CANARY}_a"}),
        ("add_reaction", BOB, {"emoji": f"{CANARY}_b"}),
        ("add_reaction", BOB, {"emoji": f"{CANARY}_c"}),
        ("remove_reaction", BOB, {"emoji": f"{CANARY}_c"}),
        ("unpin_message", MATTY, {}),
    ):
        key = "key 2" if function == "toggle_reaction" else None
        assert call(db, function, who, key=key, id=said, **fields).status == 200
        fire_deferred_triggers(db)
    add_summary(db)
    return said


def add_summary(db: Db, **subject: str) -> None:
    """Store a summary that quotes the canary."""
    [(column, subject_id)] = (subject or {"channel_id": CHANNEL}).items()
    db.execute(
        f"insert into private.summaries ({column}, last_seq, requested_count, model, prompt_version,"
        " lease_expires_at, answer, finished_at) values (%s, 1, 1, 'x', 1, now(), %s, now())",
        (subject_id, Jsonb({"summary": CANARY})),
    )


def join_later(db: Db) -> None:
    """Add Mallory as a member."""
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))


def test_canary_reaches_every_place_for_text(db: Db, planted: str) -> None:
    assert places(db) == {
        "attachments.file_name",
        "message_events.emoji",
        "message_reactions.emoji",
        "messages.attachments",
        "messages.content",
        "messages.metadata",
        "private.idempotency_keys.body",
        "private.message_words.words",
        "private.summaries.answer",
        "realtime.messages.payload",
    }
    assert CANARY in said_to(db, BOB, planted)
    topics = rows(
        db, "select distinct split_part(topic, ':', 1) from realtime.messages where payload::text ~ %s", CANARY
    )
    assert sorted(topics) == ["channel", "twin"]


@pytest.mark.parametrize("way", ["author", "admin", "service", "row"])
def test_deleted_message_leaves_no_text(db: Db, planted: str, way: str) -> None:
    call(db, "edit_message", BOB, id=planted, content=f"{CANARY}, edited")
    call(db, "pin_message", MATTY, id=planted)
    add_summary(db)
    # As broadcasts to the members of a sealed channel.
    db.execute(
        "insert into realtime.messages (id, topic, extension, event, payload, private)"
        " select private.broadcast_id(channel_id, seq, channel_id), 'sealed', 'broadcast', kind, %s, true"
        " from public.message_events where message_id = %s",
        (Jsonb({"content": CANARY}), planted),
    )
    if way == "row":
        db.execute("delete from public.messages where id = %s", (planted,))
        db.execute("delete from public.attachments where file_name ~ %s", (CANARY,))
    else:
        who = {"author": BOB, "admin": MATTY, "service": None}[way]
        fields = {"author": {}, "admin": {"admin": True}, "service": {"user_id": BOB}}[way]
        assert call(db, "delete_message", who, id=planted, **fields).status == 200
    join_later(db)
    assert places(db) == set()
    for who in (BOB, MATTY, MALLORY):
        assert CANARY not in said_to(db, who, planted)
    for table in ("twin_deliveries", "message_pins", "message_reactions", "message_edits"):
        assert rows(db, f"select from public.{table} where message_id = %s", planted) == []


def test_repeated_request_for_a_deleted_message_gets_404(db: Db) -> None:
    fields = {"channel_id": CHANNEL, "content": CANARY}
    said = call(db, "create_message", BOB, key="key 1", **fields).data["id"]
    reaction = {"id": said, "emoji": "fire"}
    call(db, "toggle_reaction", BOB, key="key 2", **reaction)
    call(db, "delete_message", MATTY, id=said, admin=True)
    for again in (
        call(db, "create_message", BOB, key="key 1", **fields),
        call(db, "toggle_reaction", BOB, key="key 2", **reaction),
    ):
        assert again.error == (404, "message_not_found", None)


def test_edited_text_stays_only_among_the_edits(db: Db) -> None:
    fields = {"channel_id": CHANNEL, "content": CANARY}
    said = call(db, "create_message", BOB, key="key 1", **fields).data["id"]
    add_summary(db)
    fire_deferred_triggers(db)
    call(db, "pin_message", MATTY, id=said)
    fire_deferred_triggers(db)
    call(db, "edit_message", BOB, id=said, content="second")
    assert places(db) == {"message_edits.content"}
    again = call(db, "create_message", BOB, key="key 1", **fields)
    assert (again.status, again.data["content"]) == (201, "second")


def test_edit_changes_no_stored_answer_without_a_text(db: Db) -> None:
    said = send(db, "first")
    first = call(db, "toggle_reaction", BOB, key="key 1", id=said, emoji="fire").body
    call(db, "edit_message", MATTY, id=said, content="second")
    assert call(db, "toggle_reaction", BOB, key="key 1", id=said, emoji="fire").body == first


@pytest.mark.parametrize("is_sealed", [False, True])
def test_erased_user_leaves_no_text(db: Db, planted: str, is_sealed: bool) -> None:
    if is_sealed:
        db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (CHANNEL, CAROL))
    become(db, BOB)
    db.execute("update public.user_profiles set display_name = %s, avatar_url = %s", (CANARY, f"https://{CANARY}"))
    db.execute("insert into public.people (full_name, phone) values (%s, '1')", (CANARY,))
    db.execute("insert into public.ai_twins (display_name) values (%s)", (CANARY,))
    db.execute("insert into public.channels (name) values (%s)", (CANARY,))
    become_postgres(db)
    fire_deferred_triggers(db)
    call(
        db,
        "toggle_reaction",
        BOB,
        id=call(db, "create_message", MATTY, channel_id=CHANNEL, content="x").data["id"],
        emoji=CANARY,
    )
    fire_deferred_triggers(db)
    assert call(db, "erase_user", None, user_id=BOB).status == 200
    # What other users wrote to his message is gone with it.
    assert places(db) == set()
    join_later(db)
    assert CANARY not in said_to(db, MALLORY, planted)


def test_erased_person_leaves_no_text(db: Db) -> None:
    phone = value(db, "select phone from public.people where id = %s", JOHN_DOE)
    edit = {"message_id": "m", "type": "edited", "content": f"{CANARY}, edited", "at": "2026-02-01T10:31:00Z"}
    of_person = {"participant_identifier": phone, "participant_name": CANARY}
    db.execute("update public.people set full_name = %s where id = %s", (CANARY, JOHN_DOE))
    known = "insert into public.person_identifiers (person_id, kind, value) values (%s, 'email', %s)"
    db.execute(known, (JOHN_DOE, f"{CANARY}@example.com"))
    ingest(db, conversation(message("m", content=CANARY), updates=[edit], external_id=CANARY, **of_person))
    moved = conversation(message("n"), external_id=f"{CANARY} 2", continues=CANARY, **of_person)
    [result] = ingest(db, moved).body["results"]
    ask(db, None, "index_conversations")
    add_summary(db, conversation_id=result["conversation_id"])
    assert {"realtime.messages.payload", "private.conversation_aliases.continues"} <= places(db)
    assert call(db, "erase_person", MATTY, person_id=JOHN_DOE).status == 200
    assert places(db) == set()


def test_erased_reader_leaves_no_summary_of_the_group(db: Db) -> None:
    john = {"identifier": "+1 234 567 890"}
    read = {"message_id": "m1", "sender": "@bea", "type": "read", "by": john["identifier"], "at": EARLIER}
    group = {"kind": "group", "participant_identifier": "1@g.us", "participants": [john]}
    given = conversation(message(sender="@bea"), updates=[read], **group)
    [result] = ingest(db, given).body["results"]
    add_summary(db, conversation_id=result["conversation_id"])
    assert call(db, "erase_person", MATTY, person_id=JOHN_DOE).data["erased"]["group_updates"] == 1
    assert places(db) == set()


@pytest.fixture
def received(db: Db) -> str:
    """Plant the canary at every place that a received message reaches, and return the id of its conversation."""
    lift_request_limit(db)
    changes = [
        {"message_id": "m", "type": "edited", "content": f"{CANARY}, edited", "at": "2026-02-01T10:31:00Z"},
        {"message_id": "m", "type": "reaction", "emoji": CANARY, "at": "2026-02-01T10:32:00Z"},
        {"message_id": "m", "type": "failed", "reason": CANARY, "at": "2026-02-01T10:33:00Z"},
    ]
    said = message("m", content=CANARY, media_url=f"https://{CANARY}.example/", note=CANARY)
    [result] = ingest(db, conversation(message("n", sent_at=EARLIER), said, updates=changes)).body["results"]
    ask(db, None, "index_conversations")
    add_summary(db, conversation_id=result["conversation_id"])
    assert places(db) == {
        "conversation_messages.message",
        "conversation_messages.original",
        "conversation_updates.value",
        "conversations.last_message_preview",
        "private.message_words.words",
        "private.summaries.answer",
        "realtime.messages.payload",
    }
    return result["conversation_id"]


@pytest.mark.parametrize(
    "way",
    [
        "update",
        "delete from public.conversation_messages where conversation_id = %s",
        "delete from public.conversations where id = %s",
        "select private.delete_old_conversations(workspace_id, now(), 9) from public.conversations where id = %s",
    ],
    ids=["update", "messages", "conversations", "retention"],
)
def test_deleted_rows_of_an_inbox_leave_no_text(db: Db, received: str, way: str) -> None:
    if way == "update":
        deleted = {"message_id": "m", "type": "deleted", "at": "2026-02-01T11:00:00Z"}
        assert ingest(db, conversation(updates=[deleted])).statuses == ["updated"]
    else:
        db.execute(way, (received,))
    assert places(db) == set()


@pytest.mark.parametrize("table", ["conversation_messages", "conversations", "updates"])
@pytest.mark.parametrize("workspace", [MATTY, WORKSPACE], ids=["own", "team"])
def test_deleted_rows_take_no_other_broadcast(db: Db, table: str, workspace: str) -> None:
    become(db, MATTY)
    made = value(db, "select public.create_messaging_connection('signal', 'new', %s)", workspace)
    become_postgres(db)
    new = {"connection": ("signal", "new"), "key": made["api_secret"]}
    for name, content in (("chat", CANARY), ("other", "kept7")):
        chat = conversation(message(content=content), external_id=name)
        assert ingest(db, chat, **new).statuses == ["created"]
    assert "realtime.messages.payload" in places(db)
    told = "select id from realtime.messages where payload::text ~ 'kept7'"
    kept = rows(db, told)
    if table == "updates":
        deleted = [{"message_id": "m1", "type": "deleted", "at": "2026-02-01T11:00:00Z"}]
        read = [{**deleted[0], "type": "read"}]  # of a message with the same id
        chats = [conversation(updates=each, external_id=name) for name, each in (("chat", deleted), ("other", read))]
        ingest(db, *chats, **new)
    else:
        key = "id" if table == "conversations" else "conversation_id"
        chat = "select id from public.conversations where external_conversation_id = 'chat'"
        db.execute(f"delete from public.{table} where {key} in ({chat})")
    assert places(db) == set()
    assert kept
    assert set(kept) <= set(rows(db, told))


def test_deleted_conversation_redacts_only_our_broadcasts(db: Db, received: str) -> None:
    add = "insert into realtime.messages (topic, extension, event, payload, private) values (%s, %s, 'x', %s, %s)"
    payload = Jsonb({"conversation": {"id": received}, "note": "kept7"})
    for topic, extension, private in (
        ("inbox:1", "broadcast", False),
        ("app", "broadcast", True),
        ("inbox:1", "x", True),
    ):
        db.execute(add, (topic, extension, payload, private))
    db.execute("delete from public.conversations where id = %s", (received,))
    assert value(db, "select count(*) from realtime.messages where payload ->> 'note' = 'kept7'") == 3


def test_receipt_of_a_message_redacts_no_broadcast(db: Db) -> None:
    ingest(db, conversation(message(content=CANARY)))
    fire_deferred_triggers(db)
    told = "select id from realtime.messages where payload::text ~ %s"
    before = rows(db, told, CANARY)
    ingest(db, conversation(updates=[{"message_id": "m1", "type": "read", "at": "2026-02-01T11:00:00Z"}]))
    assert set(before) <= set(rows(db, told, CANARY))
    assert before


@pytest.mark.parametrize("is_sealed", [False, True])
def test_deleted_channel_leaves_no_text(db: Db, planted: str, is_sealed: bool) -> None:
    if is_sealed:
        rename = "update public.user_profiles set display_name = %s where user_id = %s"
        db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (CHANNEL, CAROL))
        db.execute(rename, (CANARY, MALLORY))
        join_later(db)
        fire_deferred_triggers(db)
        db.execute(rename, ("Mallory", MALLORY))
        told = "select from realtime.messages where topic = %s and payload::text ~ %s"
        assert rows(db, told, f"channel:{CHANNEL}:1", CANARY) != []
    db.execute("delete from public.channels where id = %s", (CHANNEL,))
    assert places(db) == set()


def test_rows_of_two_channels_leave_no_text(db: Db) -> None:
    other = add_channel(db, "other", [MATTY])
    said = [send(db, CANARY, channel_id=channel_id) for channel_id in (other, CHANNEL)]
    assert "realtime.messages.payload" in places(db)
    db.execute("delete from public.messages where id = any(%s)", (said,))
    assert places(db) == set()


def test_twin_that_leaves_loses_its_broadcasts(db: Db) -> None:
    staying = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'x') returning id::text", BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, staying))
    send(db, CANARY, BOB)
    fire_deferred_triggers(db)
    become(db, MATTY)
    db.execute("delete from public.channel_twins where ai_twin_id = %s", (TWIN,))
    become_postgres(db)
    sent = "select from realtime.messages where topic = %s and payload::text ~ %s"
    assert rows(db, sent, f"twin:{TWIN}", CANARY) == []
    for topic in (f"channel:{CHANNEL}", f"twin:{staying}"):
        assert rows(db, sent, topic, CANARY) != []


def test_summary_of_deleted_text_is_not_kept(db: Db) -> None:
    said = call(db, "create_message", BOB, channel_id=CHANNEL, content=CANARY).data["id"]
    service: dict[str, Any] = {"model": "x", "prompt_version": "1", "lease_seconds": "60", "is_configured": "true"}
    task = call(db, "begin_summary", MATTY, parameters=service, channel_id=CHANNEL).data
    call(db, "delete_message", BOB, id=said)
    call(db, "finish_summary", None, id=task["id"], lease=task["lease"], user_id=MATTY, answer={"summary": CANARY})
    assert places(db) == set()
    waiting = call(db, "poll_summary", None, id=task["id"])
    assert waiting.error[:2] == (409, "summary_outdated")
