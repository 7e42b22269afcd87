"""sql/200_channels.sql and 230_twins.sql: profiles, channels, their managers, and twins."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests.support.calls import call, send
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, become_postgres, become_service, refused, rows, value
from tests.support.event_log import events, inconsistencies, last_seq
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, TWIN, WORKSPACE

NEW_USER = """
insert into auth.users (id, email, aud, role, raw_user_meta_data)
values (gen_random_uuid(), %s, 'authenticated', 'authenticated', %s) returning id
"""


def make_channel(db: Db, user_id: str = MATTY) -> str:
    become(db, user_id)
    channel_id = value(db, "insert into public.channels (name) values ('new') returning id::text")
    become_postgres(db)
    return channel_id


def grant(db: Db, role: str, user_id: str) -> None:
    """Give a member of the seeded channel another role."""
    db.execute("update public.channel_members set role = %s where user_id = %s", (role, user_id))


@pytest.mark.parametrize(
    ("email", "known", "name", "picture"),
    [
        ("ada@example.com", {"full_name": "Ada L.", "name": "ada"}, "Ada L.", None),
        ("ada@example.com", {"name": "ada", "avatar_url": "https://x.example/a.png"}, "ada", "https://x.example/a.png"),
        ("ada@example.com", {"full_name": "  "}, "ada", None),
        ("ada@example.com", {"full_name": " ", "name": "Ada"}, "Ada", None),
        ("ada@example.com", {"name": "\u200ba\u202eb"}, "_a_b", None),
        (
            "ada@example.com",
            {"picture": "https://x.example/p", "avatar_url": "https://x.example/a"},
            "ada",
            "https://x.example/a",
        ),
        (
            "ada@example.com",
            {"picture": "https://x.example/p", "avatar_url": "ftp://x.example/a"},
            "ada",
            "https://x.example/p",
        ),
        ("ada@example.com", {}, "ada", None),
        ("ada@example.com", None, "ada", None),
        (None, [], "User", None),
        ("", {}, "User", None),
        (
            "a@b.example",
            {"full_name": "x" * 500, "avatar_url": "https://" + "y" * 5000},
            "x" * 200,
            None,
        ),
        ("a@b.example", {"full_name": "' ; drop table users; --"}, "' ; drop table users; --", None),
    ],
    ids=[
        "full name",
        "name and picture",
        "blank full name",
        "blank full name and a name",
        "hidden characters",
        "two pictures",
        "picture that may not be shown",
        "no name",
        "no metadata",
        "no email",
        "empty email",
        "too long",
        "SQL as a name",
    ],
)
def test_sign_up_creates_a_profile(db: Db, email: str | None, known: Any, name: str, picture: str | None) -> None:
    user_id = value(db, NEW_USER, email, json.dumps(known))
    query = "select display_name, avatar_url from public.user_profiles where user_id = %s"
    assert rows(db, query, user_id) == [(name, picture)]


def test_creator_owns_the_channel_and_gets_its_row(db: Db) -> None:
    channel_id = make_channel(db)
    query = "select user_id::text, role from public.channel_members where channel_id = %s"
    assert rows(db, query, channel_id) == [(MATTY, "owner")]
    assert events(db, channel_id) == [("member.joined", None, MATTY, None)]


def test_channel_without_creator_has_no_members(db: Db) -> None:
    become_service(db)
    statement = "insert into public.channels (workspace_id, name) values (%s, 'new') returning id::text"
    channel_id = value(db, statement, WORKSPACE)
    assert rows(db, "select from public.channel_members where channel_id = %s", channel_id) == []


def test_service_makes_a_channel_of_a_guest(db: Db) -> None:
    become_service(db)
    statement = "insert into public.channels (workspace_id, name, created_by) values (%s, 'new', %s) returning id::text"
    channel_id = value(db, statement, WORKSPACE, MALLORY)
    members = "select user_id::text, role from public.channel_members where channel_id = %s"
    assert rows(db, members, channel_id) == [(MALLORY, "owner")]


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ("(name) values ('')", "channels_name_length"),
        ("(name) values (repeat('x', 201))", "channels_name_length"),
        ("(name) values (null)", "channels_name_unless_dm"),
        ("(kind, name) values ('room', 'x')", "channels_kind_known"),
    ],
    ids=["empty name", "long name", "no name", "unknown kind"],
)
def test_invalid_channel_raises_the_named_constraint(db: Db, columns: str, constraint: str) -> None:
    become(db, MATTY)
    assert refused(db, f"insert into public.channels {columns}", by=CheckViolation).constraint_name == constraint


def test_unknown_role_is_rejected(db: Db) -> None:
    become(db, MATTY)
    statement = "update public.channel_members set role = 'king' where user_id = %s"
    assert refused(db, statement, BOB, by=CheckViolation).constraint_name == "channel_members_role_known"


def test_new_owner_may_remove_the_first_owner(db: Db) -> None:
    become(db, MATTY)
    grant(db, "owner", BOB)
    become(db, BOB)
    db.execute("delete from public.channel_members where user_id = %s", (MATTY,))
    become_postgres(db)
    assert rows(db, "select user_id::text from public.channel_members where role = 'owner'") == [BOB]


@pytest.mark.parametrize(
    "statement", ["update public.channel_members set role = 'member'", "delete from public.channel_members"]
)
def test_admin_cannot_demote_or_remove_an_owner(db: Db, statement: str) -> None:
    grant(db, "admin", BOB)
    become(db, BOB)
    diagnostics = refused(db, f"{statement} where user_id = %s", MATTY)
    assert diagnostics.message_detail == "owner_required"


def test_only_an_owner_restores_the_creator_as_owner(db: Db) -> None:
    grant(db, "owner", BOB)
    grant(db, "admin", CAROL)
    back_as_owner = "insert into public.channel_members (channel_id, user_id, role) values (%s, %s, 'owner')"
    db.execute("delete from public.channel_members where user_id = %s", (MATTY,))
    become(db, CAROL)
    assert refused(db, back_as_owner, CHANNEL, MATTY).message_detail == "owner_required"
    become(db, BOB)
    db.execute(back_as_owner, (CHANNEL, MATTY))


def test_creator_cannot_take_ownership_back(db: Db) -> None:
    grant(db, "owner", BOB)
    grant(db, "admin", MATTY)
    become(db, MATTY)
    statement = "update public.channel_members set role = 'owner' where user_id = %s"
    assert refused(db, statement, MATTY).message_detail == "owner_required"


@pytest.mark.parametrize(
    ("who", "statement", "code"),
    [
        (BOB, "update public.channel_members set role = 'owner' where role = 'member'", "owner_required"),
        (MATTY, "delete from public.channel_members where role = 'owner'", "last_owner"),
    ],
    ids=["a member makes owners", "the last owner leaves"],
)
def test_custom_role_has_no_extra_rights(admin_url: str, who: str, statement: str, code: str) -> None:
    with psycopg.connect(admin_url) as db:
        grant(db, "admin", BOB)
        db.execute("create role manager in role authenticated")
        become(db, who)
        db.execute("select set_config('role', 'none', true), set_config('role', 'manager', true)")
        assert refused(db, statement, by=psycopg.Error).message_detail == code
        db.rollback()


def test_plain_member_manages_nothing(db: Db) -> None:
    become(db, BOB)
    refused(db, "insert into public.channel_members (channel_id, user_id) values (%s, %s)", CHANNEL, MALLORY)
    for statement in (
        "update public.channels set name = 'x'",
        "delete from public.channels",
        "update public.channel_members set role = 'admin'",
        "delete from public.channel_members where user_id <> auth.uid()",
        "delete from public.channel_twins",
    ):
        assert db.execute(statement).rowcount == 0, statement


def test_creator_who_left_sees_nothing(db: Db) -> None:
    grant(db, "owner", BOB)
    become(db, MATTY)
    db.execute("delete from public.channel_members where user_id = %s", (MATTY,))
    assert rows(db, "select from public.channels where id = %s", CHANNEL) == []


def test_former_member_loses_all_access(db: Db) -> None:
    become(db, BOB)
    assert rows(db, "select from public.channels") != []
    db.execute("delete from public.channel_members where user_id = %s", (BOB,))
    tables = ["channels", "channel_members", "channel_twins", "messages", "message_events", "message_reactions"]
    assert [rows(db, f"select from public.{table}") for table in tables] == [[]] * len(tables)
    db.execute("delete from public.workspace_members where user_id = %s and workspace_id <> user_id", (BOB,))
    assert rows(db, "select user_id::text from public.user_profiles") == [BOB]
    # Without a condition, Postgres asks no policy for reading.
    assert db.execute("update public.messages set content = 'x'").rowcount == 0


@pytest.mark.parametrize("owners", [[MATTY], [MATTY, BOB], [BOB, MATTY, CAROL]], ids=len)
def test_owner_deletes_a_channel_with_its_contents(db: Db, owners: list[str]) -> None:
    for user_id in owners:
        grant(db, "owner", user_id)
    gone = send(db)
    call(db, "edit_message", id=MESSAGE, content="edited")
    call(db, "pin_message", id=MESSAGE)
    call(db, "delete_message", id=gone)
    for user_id in owners:
        with db.transaction(force_rollback=True):
            become(db, user_id)
            assert db.execute("delete from public.channels where id = %s", (CHANNEL,)).rowcount == 1
            become_postgres(db)
            tables = ["channel_members", "channel_twins", "messages", "message_events", "message_pins"]
            assert [rows(db, f"select from public.{table}") for table in tables] == [[]] * len(tables)
            assert rows(db, "select from private.channel_counters") == []


@pytest.mark.parametrize(
    "statement",
    [
        "delete from public.channel_members where user_id = %s",
        "update public.channel_members set role = 'admin' where user_id = %s",
        "delete from public.channel_members where channel_id is not null or user_id = %s",
    ],
    ids=["leave", "become an admin", "remove all members"],
)
@pytest.mark.parametrize("who", [MATTY, None])
def test_last_owner_cannot_leave(db: Db, statement: str, who: str | None) -> None:
    become(db, who) if who else become_service(db)
    diagnostics = refused(db, statement, MATTY, by=psycopg.Error)
    assert (diagnostics.sqlstate, diagnostics.message_detail) == ("PT409", "last_owner")


def test_last_owner_cannot_move_to_another_channel(db: Db) -> None:
    elsewhere = make_channel(db, BOB)
    become_service(db)
    statement = "update public.channel_members set channel_id = %s where (channel_id, user_id) = (%s, %s)"
    assert refused(db, statement, elsewhere, CHANNEL, MATTY, by=psycopg.Error).message_detail == "last_owner"


def test_owner_may_leave_if_another_owner_remains(db: Db) -> None:
    grant(db, "owner", BOB)
    become(db, MATTY)
    grant(db, "admin", MATTY)
    db.execute("delete from public.channel_members where user_id = %s", (MATTY,))
    become(db, BOB)
    refused(db, "delete from public.channel_members where user_id = %s", BOB, by=psycopg.Error)


def test_last_owner_may_delete_their_account(db: Db) -> None:
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert rows(db, "select user_id::text from public.channel_members where role = 'owner'") == [BOB]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.channels (id, name) values (%s, 'mine')",
        "insert into public.channels (id, name) values (%s, 'mine') on conflict do nothing",
        "insert into public.ai_twins (id, display_name) values (%s, 'mine')",
        "insert into public.ai_twins (id, display_name) values (%s, 'mine') on conflict do nothing",
    ],
)
def test_users_choose_no_id_of_a_channel_or_twin(db: Db, statement: str) -> None:
    become(db, MALLORY)
    refused(db, statement, str(uuid.uuid4()))


def test_admin_cannot_delete_a_channel(db: Db) -> None:
    grant(db, "admin", BOB)
    become(db, BOB)
    assert db.execute("delete from public.channels where id = %s", (CHANNEL,)).rowcount == 0


def test_user_with_deleted_messages_can_be_deleted(db: Db) -> None:
    kept, deleted = send(db, who=BOB), send(db, who=BOB)
    reply = call(db, "reply_to_message", BOB, id=kept, content="mine too").data["id"]
    call(db, "delete_message", BOB, id=deleted)
    call(db, "pin_message", BOB, id=MESSAGE)
    call(db, "add_reaction", BOB, id=MESSAGE, emoji="fire")
    db.execute("delete from auth.users where id = %s", (BOB,))
    query = "select user_id from public.messages where id = any(%s::uuid[])"
    assert rows(db, query, [kept, deleted, reply]) == [None] * 3
    assert rows(db, "select pinned_by from public.message_pins") == [None]
    gone = {("member.left", None, BOB, None), ("reaction.removed", MESSAGE, BOB, "fire")}
    assert gone <= set(events(db)[-3:])
    assert inconsistencies(db) == []
    assert call(db, "get_message", id=kept).data["user_id"] is None


def test_twin_with_deleted_messages_can_be_deleted(db: Db) -> None:
    kept, deleted = send(db, ai_twin_id=TWIN), send(db, ai_twin_id=TWIN)
    call(db, "delete_message", id=deleted, admin=True)
    become(db, MATTY)
    assert db.execute("delete from public.ai_twins where id = %s", (TWIN,)).rowcount == 1
    become_postgres(db)
    assert call(db, "get_message", id=kept).data["ai_twin_id"] is None
    assert inconsistencies(db) == []


def test_membership_changes_are_events(db: Db) -> None:
    before = last_seq(db)
    db.execute("insert into public.workspace_members (workspace_id, user_id) values (%s, %s)", (WORKSPACE, MALLORY))
    become(db, MATTY)
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))
    db.execute("delete from public.channel_members where user_id = %s", (BOB,))
    become_postgres(db)
    assert events(db, after=before) == [("member.joined", None, MALLORY, None), ("member.left", None, BOB, None)]


@pytest.mark.parametrize("is_gone_before", [True, False])
def test_owner_of_an_active_twin_can_delete_their_account(db: Db, is_gone_before: bool) -> None:
    kept = send(db, ai_twin_id=TWIN)
    become(db, MATTY)
    if is_gone_before:
        db.execute("delete from public.ai_twins where id = %s", (TWIN,))
    become_postgres(db)
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert call(db, "get_message", BOB, id=kept).data["ai_twin_id"] is None
    assert rows(db, "select from private.former_twin_messages") == []


@pytest.mark.parametrize("column", ["user_id", "channel_id"])
def test_rewritten_membership_is_a_removal_and_an_addition(db: Db, column: str) -> None:
    elsewhere = make_channel(db, BOB)
    grant(db, "owner", BOB)
    before = last_seq(db)
    become_service(db)
    rewritten = {"user_id": MALLORY, "channel_id": elsewhere}[column]
    statement = f"update public.channel_members set {column} = %s where (channel_id, user_id) = (%s, %s)"
    db.execute(statement, (rewritten, CHANNEL, MATTY))
    become_postgres(db)
    expected = [("member.left", None, MATTY, None), ("member.joined", None, MALLORY, None)]
    assert events(db, after=before) == expected[: 2 if column == "user_id" else 1]
    assert rows(db, "select from public.channel_twins where channel_id = %s", CHANNEL) == []
    assert events(db, elsewhere)[1:] == ([] if column == "user_id" else [("member.joined", None, MATTY, None)])


def test_profile_is_visible_to_peers_only(db: Db) -> None:
    query = "select user_id::text from public.user_profiles"
    become(db, CAROL)
    assert set(rows(db, query)) == {MATTY, BOB, CAROL}
    become(db, MALLORY)
    assert rows(db, query) == [MALLORY]
    # Also of those who share a channel only.
    become_postgres(db)
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))
    db.execute("delete from public.workspace_members where workspace_id <> user_id")
    become(db, MALLORY)
    assert set(rows(db, query)) == {MATTY, BOB, CAROL, MALLORY}


def test_only_the_owner_creates_and_adds_a_twin(db: Db) -> None:
    become(db, BOB)
    twin_id = value(db, "insert into public.ai_twins (display_name) values ('Bob II') returning id::text")
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, twin_id))
    become_postgres(db)
    reply = call(db, "create_message", BOB, channel_id=CHANNEL, content="I am a machine", ai_twin_id=twin_id)
    assert (reply.data["user_id"], reply.data["ai_twin_id"]) == (None, twin_id)


def test_service_adds_only_twins_of_members(db: Db) -> None:
    make = "insert into public.ai_twins (user_id, display_name) values (%s, 'x') returning id"
    bring = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
    become_service(db)
    said = refused(db, bring, CHANNEL, value(db, make, MALLORY), by=psycopg.Error)
    assert (said.sqlstate, said.message_detail) == ("PT403", "not_a_member")
    db.execute(bring, (CHANNEL, value(db, make, BOB)))


def test_setting_limits_twins_per_channel(db: Db) -> None:
    bring = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
    elsewhere = value(db, "insert into public.channels (name, created_by) values ('x', %s) returning id", MATTY)
    db.execute(bring, (elsewhere, TWIN))
    db.execute("update private.settings set channel_max_twins = 2")
    become(db, BOB)
    first, second = (value(db, "insert into ai_twins (display_name) values ('x') returning id") for _ in range(2))
    db.execute(bring, (CHANNEL, first))
    assert refused(db, bring, CHANNEL, second, by=psycopg.Error).message_detail == "too_many_twins"
    become_postgres(db)
    with pytest.raises(CheckViolation):
        db.execute("update private.settings set channel_max_twins = -1")


def test_member_being_removed_cannot_leave_a_twin_behind(cluster: TestCluster, fresh_database: str) -> None:
    url = cluster.url(fresh_database, "postgres")
    with (
        psycopg.connect(url) as matty,
        psycopg.connect(url) as bob,
        psycopg.connect(url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as pool,
    ):
        become(bob, BOB)
        twin_id = value(bob, "insert into public.ai_twins (display_name) values ('x') returning id")
        become(matty, MATTY)
        matty.execute("delete from public.channel_members where user_id = %s", (BOB,))
        bring = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
        coming = pool.submit(bob.execute, bring, (CHANNEL, twin_id))
        waiting = "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        while not coming.done() and not rows(observer, waiting, bob.info.backend_pid):
            pass
        matty.commit()
        with pytest.raises(InsufficientPrivilege):
            coming.result()


def test_owner_who_leaves_takes_twins_of_that_channel_only(db: Db) -> None:
    grant(db, "owner", BOB)
    elsewhere = make_channel(db)
    become(db, MATTY)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (elsewhere, TWIN))
    db.execute("delete from public.channel_members where (channel_id, user_id) = (%s, %s)", (CHANNEL, MATTY))
    assert rows(db, "select channel_id::text from public.channel_twins where ai_twin_id = %s", TWIN) == [elsewhere]


def test_members_see_names_of_twins_in_the_channel(db: Db) -> None:
    become(db, CAROL)
    assert rows(db, "select display_name from public.ai_twins") == ["Matty's twin"]
    become(db, MALLORY)
    assert rows(db, "select display_name from public.ai_twins") == []


@pytest.mark.parametrize(
    "view", ["my_channels", "my_managed_channels", "my_owned_channels", "my_peers", "my_twins", "my_peer_twins"]
)
@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_self_queries_need_a_signed_in_user(db: Db, view: str, role: str) -> None:
    db.execute(f"set local role {role}")
    refused(db, f"select * from private.{view}", by=InsufficientPrivilege)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("ai_twins", "display_name"),
        ("channels", "name"),
        ("messaging_connections", "connection_id"),
        ("people", "full_name"),
        ("user_profiles", "display_name"),
        ("workspaces", "name"),
    ],
)
def test_change_of_a_row_sets_its_time(db: Db, table: str, column: str) -> None:
    db.execute(f"alter table public.{table} disable trigger user")
    db.execute(f"update public.{table} set updated_at = '2026-01-01'")
    db.execute(f"alter table public.{table} enable trigger user")
    db.execute(f"update public.{table} set {column} = {column} || 'x'")
    assert rows(db, f"select distinct updated_at = now() from public.{table}") == [True]
