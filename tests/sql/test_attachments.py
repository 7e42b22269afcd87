"""Files of channels: rights to store, read and remove them, and attaching them to messages."""

import json
import uuid
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests.support.calls import call as ask
from tests.support.cluster import TestCluster
from tests.support.database import (
    Db,
    add_channel,
    become,
    become_anon,
    become_postgres,
    become_service,
    refused,
    rows,
    value,
)
from tests.support.world import BOB, MATTY

CAROL = "ca401ca4-0000-4000-8000-000000000003"
MALLORY = "3a110123-0000-4000-8000-000000000004"
CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
STORE = "insert into storage.objects (bucket_id, name, owner_id, metadata) values ('attachments', %s, %s, %s)"
REMOVE = "delete from storage.objects where bucket_id = 'attachments' and name = %s returning name"
METADATA = json.dumps({"size": 5, "mimetype": "text/plain; charset=utf-8"})
MEMBERS_AND_MALLORY = [(MATTY, True), (BOB, True), (CAROL, True), (MALLORY, False)]


def call(db: Db, function: str, **request: Any) -> dict[str, Any]:
    return value(db, f"select public.{function}(%s::jsonb)", json.dumps(request))["data"]


def store(db: Db, user_id: str, name: str = "report.txt") -> dict[str, Any]:
    """Upload a file as a user and stay that user."""
    become(db, user_id)
    [file] = call(db, "begin_upload", conversation_id=CHANNEL, files=[{"name": name}])["files"]
    db.execute(STORE, (file["path"], user_id, METADATA))
    return file


def upload(db: Db, user_id: str, name: str = "report.txt") -> dict[str, Any]:
    """Upload a file, make it an attachment, and stay that user."""
    [file] = call(db, "finish_upload", conversation_id=CHANNEL, files=[store(db, user_id, name)])["files"]
    return file


def code(db: Db, statement: str, *parameters: object) -> tuple[str, str]:
    """Return the HTTP status and code of a rejection."""
    diag = refused(db, statement, *parameters, by=psycopg.Error)
    return diag.sqlstate, diag.message_detail


def test_bucket_is_private(db: Db) -> None:
    assert rows(db, "select public, file_size_limit from storage.buckets where id = 'attachments'") == [
        (False, 52_428_800)
    ]


def test_finish_upload_takes_file_facts_from_storage(db: Db) -> None:
    file = upload(db, BOB)
    assert file == {**file, "name": "report.txt", "size": 5, "type": "text/plain"}
    assert value(db, "select uploaded_by from public.attachments where id = %s", file["id"]) == uuid.UUID(BOB)


def test_file_name_is_text_not_a_path(db: Db) -> None:
    file = upload(db, BOB, "../../etc/pass\nwd\u202egnp" + "x" * 300)
    assert file["name"] == ("../../etc/pass_wd_gnp" + "x" * 300)[:255]
    assert file["path"] == f"{CHANNEL}/{file['id']}"


def test_user_without_a_channel_is_not_admitted(db: Db) -> None:
    assert [ask(db, "admit_upload", who).status for who in (BOB, None)] == [200, 200]
    assert ask(db, "admit_upload", MALLORY).error == (404, "channel_not_found", "conversation_id")


def test_second_finish_changes_nothing(db: Db) -> None:
    file = upload(db, BOB)
    again = call(db, "finish_upload", conversation_id=CHANNEL, files=[file])
    assert again["files"] == [file]


@pytest.mark.parametrize(("user_id", "is_member"), MEMBERS_AND_MALLORY)
def test_only_members_see_a_file(db: Db, user_id: str, is_member: bool) -> None:
    file = upload(db, BOB)
    become(db, user_id)
    assert len(rows(db, "select id from public.attachments where id = %s", file["id"])) == is_member
    assert len(rows(db, "select id from storage.objects where name = %s", file["path"])) == is_member


def test_former_members_and_anon_see_no_files(db: Db) -> None:
    file = upload(db, BOB)
    become_postgres(db)
    db.execute("delete from public.channel_members where user_id = %s", [BOB])
    become(db, BOB)
    assert rows(db, "select id from storage.objects where name = %s", file["path"]) == []
    assert rows(db, "select id from public.attachments") == []
    assert refused(db, REMOVE, file["path"]).sqlstate == "42501"  # the platform's guard rejects even without rows
    db.execute("select set_config('storage.allow_delete_query', 'true', true)")
    # Without a condition, Postgres asks no policy for reading.
    assert [db.execute(f"delete from {table}").rowcount for table in ("public.attachments", "storage.objects")] == [
        0,
        0,
    ]
    become_anon(db)
    assert rows(db, "select id from storage.objects where name = %s", file["path"]) == []
    refused(db, "select id from public.attachments")


@pytest.mark.parametrize(
    "path",
    [
        f"{CHANNEL}/report.txt",
        f"{CHANNEL}/{uuid.UUID(int=1)}/more",
        f"{uuid.UUID(int=2)}/{uuid.UUID(int=1)}",
        str(uuid.UUID(int=1)),
    ],
)
def test_upload_outside_own_channels_is_rejected(db: Db, path: str) -> None:
    become(db, BOB)
    refused(db, STORE, path, BOB, METADATA)


def test_upload_by_non_member_or_for_another_is_rejected(db: Db) -> None:
    path = f"{CHANNEL}/{uuid.uuid4()}"
    become(db, MALLORY)
    refused(db, STORE, path, MALLORY, METADATA)
    become(db, BOB)
    refused(db, STORE, path, MATTY, METADATA)


def test_stored_file_cannot_be_changed(db: Db) -> None:
    file = upload(db, BOB)
    assert rows(db, "update storage.objects set version = 'x' where name = %s returning id", file["path"]) == []
    refused(db, "update public.attachments set file_name = 'x'")


@pytest.mark.parametrize(
    "change",
    ["version = 'other'", """metadata = metadata || '{"mimetype": "application/xhtml+xml"}'""", "metadata = '{}'"],
    ids=["version", "type", "no type"],
)
def test_file_that_storage_changed_is_not_shown(db: Db, change: str) -> None:
    other = add_channel(db, "other", [BOB, MALLORY])
    file = upload(db, BOB)
    post(db, other, {"id": file["id"]})
    see = "select name from storage.objects where name = %s"
    assert rows(db, see, file["path"]) == [file["path"]]
    become_service(db)
    assert rows(db, f"update storage.objects set {change} where name = %s returning name", file["path"])
    for user_id in (BOB, MATTY, MALLORY):
        become(db, user_id)
        assert rows(db, see, file["path"]) == []


def test_upload_that_may_replace_is_refused_without_a_type(db: Db) -> None:
    become(db, BOB)
    path = f"{CHANNEL}/{uuid.uuid4()}"
    # As Storage tries it before it signs a URL with x-upsert.
    replace = STORE + " on conflict (bucket_id, name) do update set version = excluded.version"
    refused(db, replace, path, BOB, "{}")
    db.execute(replace, (path, BOB, METADATA))


@pytest.mark.parametrize("is_known", [True, False], ids=["same path", "same id"])
@pytest.mark.parametrize("user_id", [BOB, MATTY, CAROL])
def test_stored_file_cannot_be_replaced(db: Db, user_id: str, is_known: bool) -> None:
    file = upload(db, BOB)
    db.execute("select set_config('storage.allow_delete_query', 'true', true)")
    assert rows(db, REMOVE, file["path"]) == [file["path"]]
    if not is_known:
        db.execute("delete from public.attachments where id = %s", (file["id"],))
    become(db, user_id)
    refused(db, STORE, file["path"], user_id, METADATA)
    become_service(db)
    if not is_known:
        db.execute(STORE, (file["path"], user_id, METADATA))
        again = json.dumps({"conversation_id": CHANNEL, "files": [file]})
        assert code(db, "select public.finish_upload(%s::jsonb)", again) == ("PT409", "id_retired")
    assert upload(db, BOB)["id"] != file["id"]


def test_restored_file_may_be_deleted_again(db: Db) -> None:
    file = upload(db, BOB)
    become_postgres(db)
    restore = "insert into public.attachments (id, channel_id, file_name) values (%s, %s, 'x')"
    for _ in range(2):
        db.execute("delete from public.attachments where id = %s", (file["id"],))
        db.execute(restore, (file["id"], CHANNEL))


def test_file_in_another_folder_replaces_none(db: Db) -> None:
    file = upload(db, BOB)
    become_postgres(db)
    path = f"{add_channel(db, 'other', [BOB])}/{file['id']}"
    db.execute(STORE, (path, BOB, METADATA))
    db.execute("update storage.objects set version = 'x' where name = %s", (path,))
    become(db, BOB)
    assert rows(db, "select name from storage.objects where name = %s", path) == [path]
    place = path.partition("/")[0]
    assert not call(db, "finish_upload", conversation_id=place, files=[file])["files"]


def test_open_policies_affect_other_buckets_only(db: Db) -> None:
    file = upload(db, BOB)
    become_postgres(db)
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    db.execute("insert into storage.objects (bucket_id, name) values ('other', 'a'), ('other', 'b')")
    become(db, BOB)
    assert rows(db, "select from storage.objects where bucket_id = 'other'") == []
    become_postgres(db)
    db.execute("create policy read_all on storage.objects for select to public using (true)")
    db.execute("create policy write_all on storage.objects for insert to public with check (true)")
    db.execute("create policy change_all on storage.objects for update to public using (true) with check (true)")
    db.execute("create policy remove_all on storage.objects for delete to public using (true)")
    db.execute("select set_config('storage.allow_delete_query', 'true', true)")
    db.execute("create policy all_buckets on storage.buckets to public using (true) with check (true)")
    for be in (lambda: become(db, MALLORY), lambda: become_anon(db)):
        be()
        refused(db, "insert into storage.buckets (id, name) values ('attachments', 'x')")
        refused(db, "update storage.buckets set id = 'attachments' where id = 'other'")
        assert "attachments" not in rows(db, "select distinct bucket_id from storage.objects")
        refused(db, STORE, f"{CHANNEL}/{uuid.uuid4()}", MALLORY, METADATA)
        assert rows(db, "update storage.objects set version = 'x' where name = %s returning id", file["path"]) == []
        refused(db, "update storage.objects set bucket_id = 'attachments' where name = 'a'")
        assert rows(db, REMOVE, file["path"]) == []
        assert rows(db, "delete from storage.objects where name = 'b' returning name") == ["b"]
        db.execute("insert into storage.objects (bucket_id, name) values ('other', 'b')")
    become(db, BOB)
    assert rows(db, "update storage.objects set version = 'x' where name = %s returning id", file["path"]) == []
    become(db, CAROL)
    assert rows(db, REMOVE, file["path"]) == []
    become(db, BOB)
    assert rows(db, REMOVE, file["path"]) == [file["path"]]


@pytest.mark.parametrize(("user_id", "may"), [(BOB, True), (MATTY, True), (CAROL, False), (MALLORY, False)])
def test_uploader_and_channel_managers_may_remove_a_file(db: Db, user_id: str, may: bool) -> None:
    file = upload(db, BOB)
    become_postgres(db)
    add_channel(db, "of Carol", [CAROL])
    db.execute("select set_config('storage.allow_delete_query', 'true', true)")
    become(db, user_id)
    assert len(rows(db, REMOVE, file["path"])) == may
    assert len(rows(db, "delete from public.attachments where id = %s returning id", file["id"])) == may


def test_finish_upload_needs_an_existing_file_of_the_caller(db: Db) -> None:
    become(db, BOB)
    request = json.dumps({"conversation_id": CHANNEL, "files": [{"id": str(uuid.uuid4()), "name": "x"}]})
    assert code(db, "select public.finish_upload(%s::jsonb)", request) == ("PT404", "file_not_found")
    file = store(db, CAROL)
    become(db, BOB)
    with pytest.raises(InsufficientPrivilege), db.transaction():
        call(db, "finish_upload", conversation_id=CHANNEL, files=[file])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"files": [{"name": "x"}]}, ("PT400", "missing_field")),
        ({"conversation_id": CHANNEL}, ("PT400", "missing_field")),
        ({"conversation_id": CHANNEL, "files": []}, ("PT400", "missing_field")),
        ({"conversation_id": CHANNEL, "files": ["x"]}, ("PT400", "invalid_field")),
        ({"conversation_id": CHANNEL, "files": [{}]}, ("PT400", "missing_field")),
        ({"conversation_id": CHANNEL, "files": [{"name": "x"}] * 101}, ("PT413", "too_many_files")),
        ({"conversation_id": str(uuid.UUID(int=1)), "files": [{"name": "x"}]}, ("PT404", "channel_not_found")),
        (
            {"conversation_id": CHANNEL, "conversation_type": "dm", "files": [{"name": "x"}]},
            ("PT400", "conversation_type_mismatch"),
        ),
        ({"conversation_id": CHANNEL, "workspace_id": "x", "files": [{"name": "x"}]}, ("PT400", "invalid_field")),
    ],
)
def test_malformed_request_is_rejected(db: Db, request_: object, expected: tuple[str, str]) -> None:
    become(db, BOB)
    assert code(db, "select public.begin_upload(%s::jsonb)", json.dumps(request_)) == expected


def test_answer_contains_the_conversation_type(db: Db) -> None:
    become(db, BOB)
    begun = call(db, "begin_upload", conversation_id=CHANNEL, conversation_type="channel", files=[{"name": "x"}])
    assert (begun["conversation_id"], begun["conversation_type"]) == (CHANNEL, "channel")
    direct = value(db, "select (public.open_direct(array[%s::uuid], null)) ->> 'id'", CAROL)
    begun = call(db, "begin_upload", conversation_id=direct, files=[{"name": "x"}] * 100)
    assert (begun["conversation_id"], begun["conversation_type"]) == (direct, "dm")
    assert len(begun["files"]) == 100


POST = "insert into public.messages (channel_id, content, attachments) values (%s, 'See this', %s)"


@pytest.mark.parametrize("key", ["id", "attachment_id"])
def test_message_attaches_files_that_its_author_may_read(db: Db, key: str) -> None:
    file = upload(db, BOB)
    become(db, CAROL)
    db.execute(POST, (CHANNEL, json.dumps([{key: file["id"].upper()}, {"id": "the application's own"}, {"url": "x"}])))
    unknown = json.dumps([{key: file["id"]}, {key: str(uuid.uuid4())}])
    assert code(db, POST, CHANNEL, unknown) == ("PT404", "attachment_not_found")


def post(db: Db, channel_id: object, *attachments: dict[str, Any]) -> Any:
    """Post files as the present user and return the attachments of the message."""
    db.execute(POST, (channel_id, json.dumps(attachments)))
    return value(
        db, "select attachments from public.messages where channel_id = %s order by seq desc limit 1", channel_id
    )


def test_message_states_the_facts_of_its_files(db: Db) -> None:
    file = upload(db, BOB)
    lie = {"id": file["id"], "name": "LIES.exe", "type": "text/html", "size": 1, "url": "https://evil.example/", "a": 1}
    expected = {**file, "url": f"/api/v2/messages/attachments/{file['id']}"}
    assert (file["name"], file["type"], file["size"], file["width"]) == ("report.txt", "text/plain", 5, None)
    assert post(db, CHANNEL, lie, {"attachment_id": file["id"]}, {"id": "mine", "name": "x"}) == [
        {**expected, "a": 1},
        {**expected, "attachment_id": file["id"]},
        {"id": "mine", "name": "x"},
    ]
    other = upload(db, BOB)
    both = json.dumps([{"id": file["id"], "attachment_id": other["id"]}])
    assert code(db, POST, CHANNEL, both) == ("PT404", "attachment_not_found")


def channel_of(db: Db, *user_ids: str) -> Any:
    """Create a channel of these users, as the first of them."""
    become(db, user_ids[0])
    channel_id = value(db, "insert into public.channels (name) values ('Other') returning id")
    become_postgres(db)
    for user_id in user_ids[1:]:
        db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, user_id))
    become(db, user_ids[0])
    return channel_id


def visible(db: Db, user_id: str, file: dict[str, Any]) -> tuple[int, int]:
    """Count the rows of a file that a user sees, in our table and in Storage."""
    become(db, user_id)
    return (
        len(rows(db, "select id from public.attachments where id = %s", file["id"])),
        len(rows(db, "select id from storage.objects where name = %s", file["path"])),
    )


def test_owner_posts_a_file_in_any_channel(db: Db) -> None:
    file = upload(db, BOB)
    other = channel_of(db, BOB, MALLORY)
    assert visible(db, MALLORY, file) == (0, 0)
    become(db, BOB)
    assert post(db, other, {"id": file["id"]})[0]["name"] == "report.txt"
    assert visible(db, MALLORY, file) == (1, 1)
    shown = call(db, "get_attachment", id=file["id"])
    assert (shown["name"], shown["conversation_id"]) == ("report.txt", CHANNEL)
    # Who may read a message may post its file in the same channel, and in no other.
    assert post(db, other, {"id": file["id"]})[0]["name"] == "report.txt"
    third = channel_of(db, MALLORY)
    assert code(db, POST, third, json.dumps([{"id": file["id"]}])) == ("PT404", "attachment_not_found")
    become(db, CAROL)
    carols = channel_of(db, CAROL)
    assert code(db, POST, carols, json.dumps([{"id": file["id"]}])) == ("PT404", "attachment_not_found")


def test_posted_file_is_hidden_with_its_message(db: Db) -> None:
    file = upload(db, BOB)
    other = channel_of(db, BOB, MALLORY)
    db.execute(POST, (other, json.dumps([{"id": file["id"]}])))
    db.execute(POST, (CHANNEL, json.dumps([{"id": file["id"]}])))
    become_postgres(db)
    db.execute("update public.messages set deleted_at = now() where channel_id = %s", (other,))
    assert visible(db, MALLORY, file) == (0, 0)
    assert visible(db, BOB, file) == (1, 1)


def test_only_the_service_states_the_size_of_an_image(db: Db) -> None:
    become(db, BOB)
    file = store(db, BOB, "chart.png")
    request = json.dumps({"conversation_id": CHANNEL, "files": [{**file, "width": 640, "height": 480}]})
    finished = value(db, "select private.finish_upload(%s)", request)["data"]["files"][0]
    assert (finished["width"], finished["height"]) == (640, 480)
    other = store(db, BOB, "chart.png")
    [finished] = call(db, "finish_upload", conversation_id=CHANNEL, files=[{**other, "width": 1, "height": 1}])["files"]
    assert finished["width"] is None
    refused(db, "update public.attachments set width = 1")
    become(db, CAROL)
    db.execute("select private.set_image_size(%s, 1, 1)", (other["id"],))
    become(db, BOB)
    third = store(db, BOB, "chart.png")
    for width in (10, 20):  # the first one stays
        request = json.dumps({"conversation_id": CHANNEL, "files": [{**third, "width": width, "height": 5}]})
        finished = value(db, "select private.finish_upload(%s)", request)["data"]["files"][0]
        assert (finished["width"], finished["height"]) == (10, 5)
    assert value(db, "select width from public.attachments where id = %s", other["id"]) is None
    become_service(db)
    db.execute("select private.set_image_size(%s, 7, 8)", (other["id"],))
    assert rows(db, "select width, height from public.attachments where id = %s", other["id"]) == [(7, 8)]


def test_search_finds_files_by_name(db: Db) -> None:
    file = upload(db, BOB, "Quarterly-Report_v2.pdf")
    post(db, CHANNEL, {"id": file["id"], "name": "holiday.png"})
    db.execute(POST, (CHANNEL, None))
    for query, count in {
        "file:report": 1,
        "file:rep": 1,
        "file:quarterly-report": 1,
        "file:holiday": 0,
        "has:file": 1,
        "file:see": 0,
        "quarterly": 1,
        '"quarterly report"': 1,
        "see -file:report": 1,
        "file:": 0,
    }.items():
        become(db, BOB)
        found = value(db, "select public.search_messages(query => %s, channel_id => %s)", query, CHANNEL)
        assert (query, found["meta"]["total"]) == (query, count)


def test_hits_carry_the_facts_of_their_files(db: Db) -> None:
    file = upload(db, BOB)
    db.execute("select private.set_image_size(%s, 640, 480)", (file["id"],))
    posted = post(db, CHANNEL, {"id": file["id"]}, {"id": "mine"})
    db.execute(POST, (CHANNEL, None))
    shown = value(db, "select public.search_messages(query => 'see this')")["data"]
    assert [hit["attachments"] for hit in shown] == [None, posted]
    assert (posted[0]["name"], posted[0]["width"], posted[0]["url"][-36:]) == ("report.txt", 640, file["id"])


def test_message_cannot_attach_a_file_of_a_hidden_channel(db: Db) -> None:
    file = upload(db, BOB)
    become(db, MALLORY)
    own = value(db, "insert into public.channels (name) values ('Mine') returning id")
    assert code(db, POST, own, json.dumps([{"id": file["id"]}])) == ("PT404", "attachment_not_found")
    request = json.dumps({"channel_id": str(own), "content": "x", "attachments": [{"attachment_id": file["id"]}]})
    assert code(db, "select public.create_message(%s::jsonb)", request) == ("PT404", "attachment_not_found")
    assert code(db, "select public.get_attachment(%s::jsonb)", json.dumps({"id": file["id"]}))[0] == "PT404"


READ = "select name from storage.objects where bucket_id = 'attachments' and name = %s"


def test_file_of_a_deleted_message_is_hidden_at_once(db: Db) -> None:
    file, kept = upload(db, BOB), upload(db, BOB)
    said = say(db, {"id": file["id"]}, {"id": kept["id"]})
    say(db, {"id": kept["id"]})
    become(db, BOB)
    assert call(db, "delete_message", id=str(said))
    assert (rows(db, READ, file["path"]), rows(db, READ, kept["path"])) == ([], [kept["path"]])
    become(db, MATTY)
    assert (rows(db, READ, file["path"]), rows(db, READ, kept["path"])) == ([], [kept["path"]])


@pytest.mark.parametrize(
    "statement",
    [
        "select private.erase_user(%(who)s)",
        "delete from public.messages where id = %(message)s",
        "delete from public.attachments where id = %(file)s",
    ],
    ids=["erased user", "message row", "file row"],
)
def test_file_that_is_gone_is_hidden_at_once(db: Db, statement: str) -> None:
    file = upload(db, BOB)
    said = say(db, {"id": file["id"]})
    become_postgres(db)
    db.execute(statement, {"who": BOB, "message": said, "file": file["id"]})
    become(db, MATTY)
    assert rows(db, READ, file["path"]) == []


def test_malformed_attachment_id_is_rejected(db: Db) -> None:
    become(db, BOB)
    assert code(db, POST, CHANNEL, '[{"attachment_id": "x"}]') == ("PT404", "attachment_not_found")


def test_service_may_attach_files(db: Db) -> None:
    become_service(db)
    [file] = call(db, "begin_upload", conversation_id=CHANNEL, files=[{"name": "x"}])["files"]
    db.execute(STORE, (file["path"], None, METADATA))
    [file] = call(db, "finish_upload", conversation_id=CHANNEL, files=[file])["files"]
    assert value(db, "select uploaded_by from public.attachments where id = %s", file["id"]) is None
    other = add_channel(db, "other", [CAROL])
    insert = "insert into public.messages (channel_id, user_id, content, attachments) values (%s, %s, 'x', %s)"
    assert db.execute(insert, (other, CAROL, json.dumps([{"id": file["id"]}]))).rowcount == 1


def test_file_counts_in_its_own_place_only(db: Db) -> None:
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    file = upload(db, BOB)
    db.execute(POST, (CHANNEL, json.dumps([{"id": file["id"]}])))
    become_postgres(db)
    hidden = add_channel(db, "hidden", [CAROL])
    mine = str(uuid.uuid4())
    copies = [f"{hidden}/{file['id']}", f"{CHANNEL.upper()}/{file['id']}"]
    become_service(db)
    db.execute(STORE.replace("'attachments'", "'other'"), (f"{CHANNEL}/{mine}", BOB, METADATA))
    for path in copies:
        db.execute(STORE, (path, BOB, METADATA))
    request = json.dumps({"conversation_id": CHANNEL, "files": [{"id": mine, "name": "x"}]})
    assert code(db, "select public.finish_upload(%s::jsonb)", request) == ("PT404", "file_not_found")
    assert [visible(db, BOB, {**file, "path": path})[1] for path in (*copies, file["path"])] == [0, 0, 1]


def test_storage_policies_evaluate_the_caller_once_per_query(db: Db) -> None:
    become(db, BOB)
    plan = "\n".join(rows(db, "explain select * from public.attachments"))
    assert "InitPlan" in plan
    assert "auth.uid" not in "\n".join(rows(db, "explain select * from storage.objects"))


def age(db: Db, *paths: str) -> None:
    """Let files have been uploaded two days ago."""
    become_postgres(db)
    db.execute(
        "update public.attachments set created_at = now() - interval '2 days' where path = any(%s)", (list(paths),)
    )
    become_service(db)
    db.execute("update storage.objects set created_at = now() - interval '2 days' where name = any(%s)", (list(paths),))


def swept(db: Db) -> set[str]:
    """Return the paths that the sweeper should remove."""
    become_service(db)
    return set(call(db, "sweep_attachments")["paths"])


def say(db: Db, *attachments: dict[str, str]) -> Any:
    become(db, BOB)
    statement = "insert into public.messages (channel_id, content, attachments) values (%s, 'x', %s) returning id"
    return value(db, statement, CHANNEL, json.dumps(attachments))


def test_unattached_file_is_swept_after_a_day(db: Db) -> None:
    failed, unsent, young = store(db, BOB)["path"], upload(db, BOB)["path"], upload(db, BOB)["path"]
    store(db, BOB)  # an upload under way
    age(db, failed, unsent)
    assert swept(db) == {failed, unsent}
    assert rows(db, "select path from public.attachments") == [young]
    assert swept(db) == {failed, unsent}  # until Storage has removed them


def test_sweep_takes_the_oldest_files_of_its_bucket(db: Db) -> None:
    failed, unsent = ([make(db, BOB)["path"] for _ in range(3)] for make in (store, upload))
    become_postgres(db)
    db.execute("insert into storage.buckets (id, name) values ('other', 'other')")
    db.execute("insert into storage.objects (bucket_id, name) values ('other', 'x')")
    for days, path in enumerate([*failed, *unsent], 2):
        moved = "set created_at = now() - %s * interval '1 day' where"
        db.execute(f"update storage.objects {moved} name = %s or bucket_id = 'other'", (days, path))
        db.execute(f"update public.attachments {moved} path = %s", (days, path))
    become_service(db)
    assert call(db, "sweep_attachments", limit=1)["paths"] == [unsent[2]]
    assert call(db, "sweep_attachments", limit=2)["paths"] == [unsent[2], unsent[1]]
    assert call(db, "sweep_attachments")["paths"] == [*unsent[::-1], *failed[::-1]]


def test_files_keep_the_order_of_the_request(db: Db) -> None:
    names = list("dbacefhg")
    become(db, BOB)
    begun = call(db, "begin_upload", conversation_id=CHANNEL, files=[{"name": name} for name in names])["files"]
    assert [file["name"] for file in begun] == names
    for file in begun:
        db.execute(STORE, (file["path"], BOB, METADATA))
    files = call(db, "finish_upload", conversation_id=CHANNEL, files=begun)["files"]
    assert [(file["name"], file["id"]) for file in files] == [(file["name"], file["id"]) for file in begun]
    said = say(db, *[{"id": file["id"]} for file in files])
    stored = value(db, "select attachments from public.messages where id = %s", said)
    assert [file["name"] for file in stored] == names


def test_setting_controls_how_long_a_file_may_wait(db: Db) -> None:
    path = upload(db, BOB)["path"]
    age(db, path)
    become_postgres(db)
    db.execute("update private.settings set unsent_file_hours = 49")
    assert swept(db) == set()
    become_postgres(db)
    refused(db, "update private.settings set unsent_file_hours = 0", by=CheckViolation)


def test_attached_file_stays_until_its_message_is_deleted(db: Db) -> None:
    one, two, upper = upload(db, BOB), upload(db, BOB), upload(db, BOB)
    said = say(db, {"id": one["id"]}, {"attachment_id": two["id"]}, {"id": upper["id"].upper()})
    again = say(db, {"id": one["id"], "attachment_id": one["id"]})
    unsent = upload(db, BOB)
    become_postgres(db)
    age(db, one["path"], two["path"], upper["path"])
    assert swept(db) == set()
    db.execute("update public.messages set deleted_at = now() where id = %s", (said,))
    assert rows(db, "select path from public.attachments where id = %s", unsent["id"]) == [unsent["path"]]
    assert swept(db) == {two["path"], upper["path"]}
    db.execute("delete from public.messages where id = %s", (again,))
    assert swept(db) == {one["path"], two["path"], upper["path"]}


def test_file_goes_with_its_last_message_only(db: Db) -> None:
    one, two, three = upload(db, BOB), upload(db, BOB), upload(db, BOB)
    first, _ = say(db, {"id": one["id"]}, {"id": three["id"]}), say(db, {"id": two["id"]})
    deleted = say(db, {"id": three["id"]})
    become_postgres(db)
    db.execute("update public.messages set deleted_at = now() where id = %s", (deleted,))
    db.execute("delete from public.messages where id = %s", (first,))
    ids = [file["id"] for file in (one, two, three)]
    assert rows(db, "select id::text from public.attachments where id = any(%s)", ids) == [two["id"]]


def test_files_are_swept_with_their_channel(db: Db) -> None:
    file = upload(db, BOB)
    say(db, {"id": file["id"]})
    age(db, file["path"])
    become(db, MATTY)
    db.execute("delete from public.channels where id = %s", (CHANNEL,))
    assert swept(db) == {file["path"]}


def test_file_being_attached_is_not_swept(cluster: TestCluster, fresh_database: str) -> None:
    url = cluster.url(fresh_database, "postgres")
    with psycopg.connect(url) as sender, psycopg.connect(url) as sweeper:
        file = upload(sender, BOB)
        age(sender, file["path"])
        sender.commit()
        say(sender, {"id": file["id"]})
        assert swept(sweeper) == set()
        sender.commit()
        assert swept(sweeper) == set()


def test_clients_cannot_sweep(db: Db) -> None:
    become(db, MATTY)
    refused(db, "select public.sweep_attachments('{}'::jsonb)")
    refused(db, "select private.sweep_attachments(1, interval '0')")
