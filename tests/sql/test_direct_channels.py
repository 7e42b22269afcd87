"""Direct channels: one for each set of people, which no member changes."""

import json
from typing import Any

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from tests.support.calls import call, send
from tests.support.database import Db, become, become_postgres, become_service, refused, rows, value
from tests.support.world import BOB, CAROL, MALLORY, MATTY, UNKNOWN_ID, WORKSPACE


def open_direct(db: Db, user_id: str, *others: str, workspace_id: str | None = None) -> Any:
    become(db, user_id)
    channel = value(db, "select public.open_direct(%s::uuid[], %s)", list(others), workspace_id)
    become_postgres(db)
    return channel


def listed(db: Db, user_id: str) -> list[str]:
    return [channel["id"] for channel in call(db, "list_my_channels", user_id).data]


def test_each_side_opens_the_same_channel(db: Db) -> None:
    first = open_direct(db, MATTY, BOB)
    assert (first["kind"], first["name"], first["workspace_id"]) == ("dm", None, WORKSPACE)
    assert open_direct(db, BOB, MATTY)["id"] == first["id"]
    assert open_direct(db, BOB, BOB, MATTY, MATTY)["id"] == first["id"]
    assert open_direct(db, MATTY, BOB, CAROL)["id"] != first["id"]
    members = "select user_id::text, role from public.channel_members where channel_id = %s order by user_id"
    assert rows(db, members, first["id"]) == [(MATTY, "member"), (BOB, "member")]


def test_user_opens_a_channel_with_themselves(db: Db) -> None:
    mine = open_direct(db, MATTY)
    assert open_direct(db, MATTY, MATTY)["id"] == mine["id"]
    assert mine["workspace_id"] == MATTY


def test_oldest_shared_workspace_gets_the_channel(db: Db) -> None:
    become(db, MATTY)
    newer = value(db, "select public.create_workspace('Newer') ->> 'id'")
    become_postgres(db)
    db.execute("insert into public.workspace_members (workspace_id, user_id) values (%s, %s)", (newer, BOB))
    assert open_direct(db, MATTY, BOB)["workspace_id"] == WORKSPACE


@pytest.mark.parametrize("other", [MALLORY, UNKNOWN_ID])
def test_direct_channel_needs_a_shared_workspace(db: Db, other: str) -> None:
    become(db, MATTY)
    for workspace_id in (None, WORKSPACE):
        error = refused(db, "select public.open_direct(%s::uuid[], %s)", [other, BOB] * 4 + [other], workspace_id)
        assert error.message_detail == "workspace_member_required"
    assert call(db, "open_direct", MATTY, user_ids=[other, BOB] * 4 + [other]).error[1] == "workspace_member_required"
    become(db, MALLORY)
    refused(db, "select public.open_direct(%s::uuid[], %s)", [MATTY, BOB], WORKSPACE)


@pytest.mark.parametrize("user_ids", [None, [UNKNOWN_ID] * 10])
def test_wrong_number_of_users_is_400(db: Db, user_ids: list[str] | None) -> None:
    become(db, MATTY)
    assert refused(db, "select public.open_direct(%s::uuid[])", user_ids, by=psycopg.Error).sqlstate == "PT400"


def test_database_keeps_one_channel_per_set(db: Db) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    copy = (
        "insert into public.channels (workspace_id, kind, direct_key) select workspace_id, kind, direct_key from {} {}"
    )
    refused(db, copy.format("public.channels", "where id = %s"), channel_id, by=UniqueViolation)


def test_client_cannot_insert_a_direct_channel(db: Db) -> None:
    become(db, MATTY)
    error = refused(db, "insert into public.channels (kind) values ('dm')", by=psycopg.Error)
    assert (error.sqlstate, error.message_detail) == ("PT403", "direct_channel")
    assert str(error.message_primary).startswith("A direct channel is opened")
    become_service(db)
    db.execute("insert into public.channels (kind, created_by, workspace_id) values ('dm', %s, %s)", (MATTY, MATTY))


@pytest.mark.parametrize("user_id", [MATTY, BOB])
def test_no_side_adds_or_removes_people(db: Db, user_id: str) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    become(db, user_id)
    add = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
    assert refused(db, add, channel_id, CAROL, by=psycopg.Error).message_detail == "direct_channel"
    for change in (
        "delete from public.channel_members where channel_id = %s and user_id <> auth.uid()",
        "update public.channel_members set role = 'owner' where channel_id = %s",
        "update public.channels set name = 'mine' where id = %s",
        "delete from public.channels where id = %s",
    ):
        assert db.execute(change, (channel_id,)).rowcount == 0
    invite = "select public.create_invitation(channel_id => %s, email => 'x@example.com')"
    assert refused(db, invite, channel_id, by=psycopg.Error).sqlstate == "PT404"
    become_postgres(db)
    assert rows(db, "select role from public.channel_members where channel_id = %s", channel_id) == ["member"] * 2


def test_no_side_deletes_messages_of_the_other(db: Db) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    message = send(db, "hello", BOB, channel_id)
    reply = call(db, "delete_message", MATTY, id=message, admin=True)
    assert reply.error[:2] == (403, "not_the_author")


def test_leaving_hides_it_until_a_new_message(db: Db) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    send(db, "hello", BOB, channel_id)
    become(db, MATTY)
    db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, MATTY))
    become_postgres(db)
    assert channel_id not in listed(db, MATTY)
    assert channel_id in listed(db, BOB)
    call(db, "add_reaction", BOB, id=send(db, "still there?", BOB, channel_id), emoji="wave")
    assert channel_id in listed(db, MATTY)


def test_opening_it_again_shows_it(db: Db) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    become(db, MATTY)
    db.execute("delete from public.channel_members where channel_id = %s", (channel_id,))
    become_postgres(db)
    assert channel_id not in listed(db, MATTY)
    assert open_direct(db, MATTY, BOB)["id"] == channel_id
    assert channel_id in listed(db, MATTY)


def test_opening_it_again_shows_it_to_one_side_only(db: Db) -> None:
    channel_id = open_direct(db, MATTY, BOB)["id"]
    for user_id in (MATTY, BOB):
        become(db, user_id)
        db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, user_id))
        become_postgres(db)
    open_direct(db, MATTY, BOB)
    assert channel_id in listed(db, MATTY)
    assert channel_id not in listed(db, BOB)


def test_departure_from_the_workspace_leaves_no_heir(db: Db) -> None:
    channel_id = open_direct(db, BOB, CAROL)["id"]
    become(db, CAROL)
    db.execute("delete from public.workspace_members where workspace_id = %s and user_id = %s", (WORKSPACE, CAROL))
    become_postgres(db)
    members = rows(db, "select user_id::text, role from public.channel_members where channel_id = %s", channel_id)
    assert members == [(BOB, "member")]
    assert call(db, "list_messages", CAROL, channel_id=channel_id).status == 404
    become(db, BOB)
    assert refused(db, "select public.open_direct(%s::uuid[])", [CAROL])


def test_returning_member_finds_the_old_channel(db: Db) -> None:
    channel_id = open_direct(db, BOB, CAROL)["id"]
    db.execute("delete from public.workspace_members where workspace_id = %s and user_id = %s", (WORKSPACE, CAROL))
    db.execute("insert into public.workspace_members (workspace_id, user_id) values (%s, %s)", (WORKSPACE, CAROL))
    assert open_direct(db, CAROL, BOB)["id"] == channel_id
    assert json.dumps(listed(db, CAROL)).count(channel_id) == 1
