"""sql/142_ingest_media.sql: files of ingested messages in our own bucket."""

import hashlib
import json
from typing import Any

import pytest

from tests.sql.test_costly_texts import break_function
from tests.support.calls import ask, ingest, post
from tests.support.database import Db, become, become_anon, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.people import read_conversation
from tests.support.world import BOB, MATTY

LINK = "/storage/v1/object/authenticated/attachments/"
SEE = "select name from storage.objects where bucket_id = 'attachments' and name like 'conversations/%%'"
UPLOAD = """
insert into storage.objects (bucket_id, name, metadata, version) values ('attachments', %s, %s, gen_random_uuid())
on conflict (bucket_id, name)
do update set metadata = excluded.metadata, version = excluded.version, updated_at = clock_timestamp()
"""


def image(name: str = "m1", **fields: Any) -> dict[str, Any]:
    return message(name, **{"type": "image", "content": "", **fields})


def offered(db: Db, *conversations: Any, wants: bool = True) -> list[dict[str, Any]]:
    """Ingest and return what the first result invites to upload."""
    body = request(*conversations, **({"media_uploads": True} if wants else {}))
    return post(db, json.dumps(body).encode()).body["results"][0].get("uploads")


def upload(db: Db, path: str, size: int = 5, kind: str = "image/png") -> None:
    """Do what Storage does with a signed upload URL."""
    db.execute(UPLOAD, [path, json.dumps({"size": size, "mimetype": kind})])


def shown(db: Db) -> Any:
    return read_conversation(db)["messages"][0].get("media_url")


def test_answer_names_a_path_for_each_file(db: Db) -> None:
    (first, second) = offered(db, conversation(message("m0"), image("m1"), image("m2", type="audio")))
    name = read_conversation(db)["id"]
    assert first == {
        "message_id": "m1",
        "path": f"conversations/{name}/{hashlib.sha256(b'm1' + bytes([31])).hexdigest()}",
        "url": f"sign:{first['path']}",
    }
    assert second["message_id"] == "m2"


def test_answer_without_the_wish_is_as_before(db: Db) -> None:
    assert list(ingest(db, conversation(image())).body["results"][0]) == ["conversation_id", "messages_added", "status"]
    for wrong in (False, None, 1, "true", {}):
        body = json.dumps(request(conversation(image()), media_uploads=wrong)).encode()
        assert "uploads" not in post(db, body).body["results"][0]


def test_connection_asks_for_all_of_its_requests(db: Db) -> None:
    become(db, MATTY)
    db.execute("update public.messaging_connections set stores_media = true")
    become_postgres(db)
    assert [one["message_id"] for one in offered(db, conversation(image()), wants=False)] == ["m1"]


def test_stored_file_is_shown_after_the_next_request(db: Db) -> None:
    given = conversation(image(media_url="https://cdn.example/expires"))
    (file,) = offered(db, given)
    assert offered(db, given) == [file]
    (other,) = offered(db, conversation(image(), external_id="other"))
    assert offered(db, given) == [file]
    for one in (file, other):
        upload(db, one["path"])
    assert offered(db, given) == []
    assert shown(db) == LINK + file["path"]
    waiting = "select path from private.conversation_media where stored_at is null"
    assert rows(db, waiting) == [other["path"]]
    # A URL of the platform, renewed or not, does not replace it.
    ingest(db, conversation(image(media_url="https://cdn.example/renewed")))
    assert shown(db) == LINK + file["path"]


def test_clean_up_shows_a_stored_file(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    db.execute("delete from realtime.messages")
    db.execute("select private.clean_up()")
    assert shown(db) == LINK + file["path"]
    (payload,) = rows(db, "select payload from realtime.messages")
    assert payload["messages"][0]["media_url"] == LINK + file["path"]


def test_each_message_shows_its_own_file(db: Db) -> None:
    paths = {}
    for chat in ("a", "b"):
        for file in offered(db, conversation(image("m1"), image("m2"), external_id=chat)):
            upload(db, file["path"])
            paths[chat, file["message_id"]] = LINK + file["path"]
    value(db, "select private.settle_media(null, 10)")
    lines = {(chat, line["id"]): line for chat in ("a", "b") for line in read_conversation(db, chat)["messages"]}
    assert {place: line.get("media_url") for place, line in lines.items()} == paths


def test_joined_conversation_keeps_its_stored_file(db: Db) -> None:
    (file,) = offered(db, conversation(image(media_url="https://cdn.example/1"), external_id="new"))
    upload(db, file["path"])
    ingest(db, conversation(external_id="chat"))
    ingest(db, conversation(external_id="new", continues="chat"))
    for number in (1, 2):
        again = image(media_url=f"https://cdn.example/{number}")
        assert offered(db, conversation(again, external_id="new")) == []
        assert shown(db) == LINK + file["path"]


def test_edit_with_another_file_is_offered_again(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    assert offered(db, conversation(image())) == []
    edit = {"message_id": "m1", "type": "edited", "at": "2099-01-01T00:00:00Z", "content": "", "media_url": "https://b"}
    ingest(db, conversation(updates=[edit]))
    assert shown(db) == "https://b"
    assert offered(db, conversation(image())) == [file]
    become(db, MATTY)
    assert rows(db, SEE) == []


def test_second_upload_after_an_edit_is_shown(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    stored = "insert into storage.objects (bucket_id, name, updated_at, metadata) values ('attachments', %s, %s, %s)"
    db.execute(stored, [file["path"], "2020-01-01", '{"mimetype": "image/png"}'])
    assert offered(db, conversation(image())) == []
    edit = {"message_id": "m1", "type": "edited", "at": "2020-01-02T00:00:00Z", "content": "", "media_url": "https://b"}
    ingest(db, conversation(updates=[edit]))
    assert offered(db, conversation(image())) == [file]
    upload(db, file["path"])
    assert offered(db, conversation(image())) == []
    assert shown(db) == LINK + file["path"]


@pytest.mark.parametrize("kind", ["image/png", "text/html"])
def test_replaced_file_is_hidden_until_the_next_request(db: Db, kind: str) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    offered(db, conversation(image()))
    upload(db, file["path"], 7, kind)
    db.execute("select private.clean_up()")
    become(db, MATTY)
    assert rows(db, SEE) == []
    become_postgres(db)
    offered(db, conversation(image()))
    assert value(db, "select size from private.conversation_media") == (7 if kind == "image/png" else 5)
    become(db, MATTY)
    assert rows(db, SEE) == ([file["path"]] if kind == "image/png" else [])


@pytest.mark.parametrize(
    "kind", ["text/html", "TEXT/HTML", "image/svg+xml", "application/xml", "image", "*/*", "Multipart/x"]
)
def test_file_that_may_run_scripts_is_never_shown(db: Db, kind: str) -> None:
    (file,) = offered(db, conversation(image(media_url="https://a")))
    upload(db, file["path"], kind=kind)
    assert offered(db, conversation(image(media_url="https://a"))) == [file]
    assert shown(db) == "https://a"
    become(db, MATTY)
    assert rows(db, SEE) == []


def test_members_read_the_file_and_no_one_else(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    become(db, MATTY)
    assert rows(db, SEE) == []
    become_postgres(db)
    offered(db, conversation(image()))
    for user_id, expected in ((MATTY, [file["path"]]), (BOB, [])):
        become(db, user_id)
        assert rows(db, SEE) == expected
    become_anon(db)
    assert rows(db, SEE) == []


def test_clients_write_no_such_files(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    become(db, MATTY)
    insert = "insert into storage.objects (bucket_id, name, owner_id) values ('attachments', %s, %s)"
    refused(db, insert, file["path"], MATTY)
    become_postgres(db)
    upload(db, file["path"])
    offered(db, conversation(image()))
    become(db, MATTY)
    assert db.execute("update storage.objects set metadata = '{}' where name = %s", [file["path"]]).rowcount == 0


@pytest.mark.parametrize("is_first", [False, True])
def test_deleted_message_loses_its_file(db: Db, is_first: bool) -> None:
    deletion = conversation(updates=[{"message_id": "m1", "type": "deleted", "at": "2026-02-01T11:00:00Z"}])
    if is_first:
        ingest(db, deletion)
        assert offered(db, conversation(image())) == []
        return
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    offered(db, conversation(image()))
    ingest(db, deletion)
    become(db, MATTY)
    assert rows(db, SEE) == []
    become_postgres(db)
    db.execute("update storage.objects set created_at = now() - interval '2 days' where name = %s", [file["path"]])
    assert file["path"] in ask(db, None, "sweep_attachments")["paths"]


def test_sweep_leaves_stored_files_and_forgets_invitations(db: Db) -> None:
    (first, second) = offered(db, conversation(image("m1"), image("m2")))
    upload(db, first["path"])
    assert [value(db, "select private.settle_media(null, 10)") for _ in range(2)] == [1, 0]
    db.execute("update storage.objects set created_at = now() - interval '2 days'")
    db.execute("update private.conversation_media set created_at = now() - interval '2 days'")
    assert first["path"] not in ask(db, None, "sweep_attachments")["paths"]
    assert rows(db, "select path from private.conversation_media") == [first["path"]]
    assert second["path"] != first["path"]


def test_full_workspace_gets_no_invitation(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"], size=100)
    offered(db, conversation(image(), image("m8"), image("m9")))
    db.execute("update private.settings set workspace_media_megabytes = 0")
    given = [conversation(message("m0"), image("m2"), image("m3")), conversation(image("m1"))]
    full, stored = (post(db, json.dumps(request(one, media_uploads=True)).encode()).body["results"][0] for one in given)
    assert (full["uploads"], full["uploads_refused"]) == ([], 2)
    assert (stored["uploads"], "uploads_refused" in stored) == ([], False)
    measured = {one["name"]: one["value"] for one in ask(db, None, "read_metrics")}
    names = [f"threadline_media_{name}" for name in ("files", "bytes", "waiting")]
    assert [measured[name] for name in names] == [1, 100, 2]


def test_request_is_invited_to_a_hundred_files(db: Db) -> None:
    given = conversation(*(image(f"m{place}") for place in range(101)))
    assert [one["message_id"] for one in offered(db, given)] == [f"m{place}" for place in range(100)]


def test_group_files_are_apart_by_sender(db: Db) -> None:
    given = conversation(image("1", sender="@ann"), image("1", sender="@bea"), kind="group")
    first, second = offered(db, given)
    assert (first["sender"], second["sender"], first["path"] == second["path"]) == ("@ann", "@bea", False)


def test_text_of_a_caller_is_no_mark_for_the_doors(db: Db) -> None:
    name = '","url":"sign:conversations/x"'
    uploads = json.dumps([{"message_id": name, "path": "p"}])
    assert value(db, "select private.render_uploads(%s)::text", uploads).count('"url":"sign:') == 1


def test_person_erased_with_conversation_loses_files(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"])
    db.execute("delete from public.conversations where id = %s", [read_conversation(db)["id"]])
    assert value(db, "select count(*) from private.conversation_media") == 0


def test_files_of_a_conversation_that_fails_wait_alone(db: Db) -> None:
    (bad,), (good,) = (offered(db, conversation(image(), external_id=name)) for name in ("one", "two"))
    for file in (bad, good):
        upload(db, file["path"])
    failing = value(db, "select conversation_id from private.conversation_media where path = %s", bad["path"])
    when = f"p_ids is null or '{failing}' = any(p_ids)"
    break_function(db, "private.settle_media(uuid[],integer)", when, "division_by_zero")
    value(db, "select private.settle_all_media(100)")
    assert rows(db, "select path from private.conversation_media where stored_at is null") == [bad["path"]]


def test_file_follows_its_message_into_another_conversation(db: Db) -> None:
    names = ({"external_id": "972987654321"}, {"external_id": "972912345678"})
    ingest(db, conversation(message("m0"), **names[0]))
    (file,) = offered(db, conversation(image("m1"), **names[1]))
    ingest(db, conversation(**names[1], continues="972987654321"))
    upload(db, file["path"])
    offered(db, conversation(message("m0"), **names[0]))
    lines = read_conversation(db, "972987654321")["messages"]
    assert [line.get("media_url") for line in lines if line["id"] == "m1"] == [LINK + file["path"]]


def test_types_of_files_are_offered_in_the_order_of_the_request(db: Db) -> None:
    kinds = ["text", "sticker", "file", "video", "audio", "image", "location", "contact", "poll", "call", "system"]
    given = [message(kind, type=kind, content="") for kind in kinds]
    assert [one["message_id"] for one in offered(db, conversation(*given))] == kinds[1:6]
    (result,) = post(
        db, json.dumps(request(conversation(image("image", content="other")), media_uploads=True)).encode()
    ).body["results"]
    names = ["conversation_id", "messages_added", "status", "conflicting_message_ids", "uploads"]
    assert (list(result), result["conflicting_message_ids"]) == (names, ["image"])


def test_file_of_another_bucket_is_not_shown(db: Db) -> None:
    (file,) = offered(db, conversation(image()))
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    upload(db, file["path"])
    db.execute("update storage.objects set bucket_id = 'other' where name = %s", (file["path"],))
    assert value(db, "select private.settle_media(null, 10)") == 0


def test_clean_up_shows_the_file_that_waits_longest(db: Db) -> None:
    files = offered(db, conversation(image("b"), image("a")))
    for age, file in enumerate(files):
        upload(db, file["path"], size=age + 1)
        waits = "update private.conversation_media set created_at = now() - interval '1 day' * %s where path = %s"
        db.execute(waits, (9 - age, file["path"]))
    db.execute("update storage.objects set metadata = metadata - 'size' where name = %s", [files[1]["path"]])
    sizes = "select size from private.conversation_media order by created_at"
    for _ in files:
        assert value(db, "select private.settle_media(null, 1)") == 1
        assert rows(db, sizes) == [1, None]
    assert rows(db, "select from private.conversation_media where stored_at is null") == []


def test_limit_of_files_is_of_each_workspace(db: Db) -> None:
    db.execute("update public.messaging_connections set is_apart = true")  # then its scope is not the workspace
    (file,) = offered(db, conversation(image()))
    upload(db, file["path"], size=1_000_000)
    value(db, "select private.settle_media(null, 10)")
    db.execute("update private.settings set workspace_media_megabytes = 1")
    room = "select private.has_media_room(%s)"
    assert [value(db, room, place) for place in (MATTY, BOB)] == [False, True]
    assert offered(db, conversation(image("m2"))) == []
    db.execute("update private.conversation_media set size = 999999")
    assert value(db, room, MATTY) is True


def test_clean_up_forgets_the_oldest_invitations_first(db: Db) -> None:
    files = offered(db, conversation(*(image(str(number)) for number in range(4))))
    for age, file in enumerate(files):
        waits = "update private.conversation_media set created_at = now() - interval '1 day' * %s where path = %s"
        db.execute(waits, (age, file["path"]))
    known = "select external_id from private.conversation_media order by 1"
    for expected in (["0", "1", "2"], ["0", "1"], ["0", "1"]):
        db.execute("select private.delete_media(1, interval '36 hours')")
        assert rows(db, known) == expected
