"""sql/050, sql/220 to sql/225: who may change members, and what a change says to whom."""

import json
from typing import Any

import psycopg
import pytest

from tests.sql.test_workspaces import accept, invite, make_admin, new_user
from tests.support.calls import call, send
from tests.support.database import Db, add_channel, become, become_postgres, become_service, refused, rows, value
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, UNKNOWN_ID, WORKSPACE

PLACES = {
    "workspace": ("workspace_members", "workspace_id", WORKSPACE),
    "channel": ("channel_members", "channel_id", CHANNEL),
}
TOLD = "select kind, workspace_id::text, channel_id::text, details from public.user_events where user_id = %s"


def set_role(db: Db, place: str, role: str, who: str) -> int:
    table, column, id_ = PLACES[place]
    change = f"update public.{table} set role = %s where ({column}, user_id) = (%s, %s)"
    return db.execute(change, (role, id_, who)).rowcount


def remove(db: Db, place: str, who: str) -> int:
    table, column, id_ = PLACES[place]
    return db.execute(f"delete from public.{table} where ({column}, user_id) = (%s, %s)", (id_, who)).rowcount


def told(db: Db, who: str) -> list[Any]:
    """Return what a user was told since the last call."""
    become_postgres(db)
    found = rows(db, f"{TOLD} order by seq", who)
    db.execute("delete from public.user_events where user_id = %s", (who,))
    return found


@pytest.mark.parametrize("place", PLACES)
def test_service_role_changes_owners_but_leaves_one(db: Db, place: str) -> None:
    become_service(db)
    assert (set_role(db, place, "owner", BOB), set_role(db, place, "member", MATTY)) == (1, 1)
    for change in (set_role, remove):
        with pytest.raises(psycopg.Error) as caught, db.transaction():
            change(db, place, *(["admin"] if change is set_role else []), BOB)
        assert (caught.value.sqlstate, caught.value.diag.message_detail) == ("PT409", "last_owner")


@pytest.mark.parametrize("place", PLACES)
def test_only_owner_keeps_the_role_and_may_not_leave(db: Db, place: str) -> None:
    add_channel(db, "bobs", [BOB, MATTY])  # owners of other places do not count
    become(db, MATTY)
    assert set_role(db, place, "owner", MATTY) == 1
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        remove(db, place, MATTY)
    assert caught.value.diag.message_detail == "last_owner"


@pytest.mark.parametrize("place", PLACES)
def test_admin_who_owns_another_place_makes_no_owner(db: Db, place: str) -> None:
    add_channel(db, "bobs", [BOB, MATTY])
    become_postgres(db)
    set_role(db, place, "admin", BOB)
    become(db, BOB)
    for change in (("owner", BOB), ("owner", CAROL), ("member", MATTY)):
        with pytest.raises(psycopg.Error) as caught, db.transaction():
            set_role(db, place, *change)
        assert caught.value.diag.message_detail == "owner_required"
    assert set_role(db, place, "admin", CAROL) == 1
    assert remove(db, place, CAROL) == 1


def test_member_of_another_workspace_cannot_be_added(db: Db) -> None:
    add_channel(db, "mallorys", [MALLORY])
    become(db, MATTY)
    add = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
    assert refused(db, add, CHANNEL, MALLORY).message_detail == "workspace_member_required"


def test_error_of_a_plain_member_says_nothing_of_users(db: Db) -> None:
    become(db, CAROL)
    add = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
    errors = [refused(db, add, CHANNEL, who) for who in (BOB, MALLORY, UNKNOWN_ID)]
    assert {(error.message_primary, error.message_detail) for error in errors} == {
        ('new row violates row-level security policy for table "channel_members"', None)
    }


@pytest.mark.parametrize("place", PLACES)
def test_member_learns_of_each_change(db: Db, place: str) -> None:
    names = {"workspace": (WORKSPACE, None), "channel": (None, CHANNEL)}[place]
    for who in (BOB, MATTY):
        told(db, who)
    become(db, MATTY)
    set_role(db, place, "admin", BOB)
    assert told(db, BOB) == [(f"{place}.role_changed", *names, {"role": "admin"})]
    become(db, MATTY)
    remove(db, place, BOB)
    left = [(f"{place}.left", *names, {})]
    assert told(db, BOB) == ([("channel.left", None, CHANNEL, {}), *left] if place == "workspace" else left)
    assert told(db, MATTY) == []


def test_new_user_learns_nothing_of_the_own_workspace(db: Db) -> None:
    new = new_user(db)
    assert told(db, new) == []
    made = rows(db, "select name, created_by::text, is_personal from public.workspaces where id = %s", new)
    assert made == [("Personal", new, True)]
    assert rows(db, "select user_id::text, role from public.workspace_members where workspace_id = %s", new) == [
        (new, "owner")
    ]


def test_invited_user_learns_of_the_place(db: Db) -> None:
    address = {"email": "mallory@example.com"}
    made = invite(db, role="admin", **address)
    guest = invite(db, workspace_id=None, channel_id=CHANNEL, **address)
    assert told(db, MALLORY) == [
        ("invitation.created", WORKSPACE, None, {"invitation_id": made["id"], "role": "admin"}),
        ("invitation.created", WORKSPACE, CHANNEL, {"invitation_id": guest["id"], "role": "guest"}),
    ]


def test_marker_beyond_the_last_event_counts_as_the_last(db: Db) -> None:
    last = value(db, "select last_seq from private.channel_counters where channel_id = %s", CHANNEL)
    db.execute("update public.member_states set read_seq = 0")
    told(db, BOB)
    assert call(db, "mark_read", BOB, channel_id=CHANNEL, seq=last + 100).data["read_seq"] == last
    assert told(db, BOB) == [("channel.read", None, CHANNEL, {"read_seq": last})]


def test_only_the_user_hides_a_direct_channel(db: Db) -> None:
    become(db, MATTY)
    channel = value(db, "select public.open_direct(array[%s]::uuid[]) ->> 'id'", BOB)
    become(db, BOB)
    hide = "select private.hide_direct_channel(%s, %s)"
    error = refused(db, hide, channel, MATTY, by=psycopg.Error)
    assert (error.sqlstate, error.message_detail) == ("PT403", "direct_channel")
    db.execute(hide, (channel, BOB))
    become_postgres(db)
    hidden = "select user_id::text from public.member_states where channel_id = %s and hidden_seq is not null"
    assert rows(db, hidden, channel) == [BOB]


def test_direct_channel_is_one_for_each_workspace(db: Db) -> None:
    become(db, MATTY)
    newer = value(db, "select public.create_workspace('Newer') ->> 'id'")
    become_postgres(db)
    db.execute("insert into public.workspace_members (workspace_id, user_id) values (%s, %s)", (newer, BOB))
    become(db, MATTY)
    opened = "select public.open_direct(array[%s]::uuid[], %s) ->> 'id'"
    second = value(db, opened, BOB, newer)
    # The one that exists is found, although the other workspace is older.
    assert value(db, opened, BOB, None) == second
    first = value(db, opened, BOB, WORKSPACE)
    for _ in range(2):
        assert [value(db, opened, BOB, place) for place in (WORKSPACE, newer, None)] == [first, second, first]
    become_postgres(db)
    places = "select workspace_id::text from public.channels where id = %s"
    assert [value(db, places, one) for one in (first, second)] == [WORKSPACE, newer]


def test_member_sees_names_of_a_workspace_without_a_channel(db: Db) -> None:
    db.execute("delete from public.channel_members where user_id = %s", (CAROL,))
    become(db, CAROL)
    assert set(rows(db, "select user_id::text from public.user_profiles")) == {MATTY, BOB, CAROL}


def test_guest_who_manages_a_channel_invites_no_user(db: Db) -> None:
    db.execute(
        "insert into public.channel_members (channel_id, user_id, role) values (%s, %s, 'admin')", (CHANNEL, MALLORY)
    )
    become(db, MALLORY)
    error = refused(db, "select public.create_invitation(channel_id => %s)", CHANNEL, by=psycopg.Error)
    assert (error.sqlstate, error.message_detail, error.column_name) == ("PT404", "channel_not_found", "channel_id")


def test_manager_of_a_channel_reads_its_invitations_only(db: Db) -> None:
    guest, _ = invite(db, workspace_id=None, channel_id=CHANNEL), invite(db)
    set_role(db, "channel", "admin", BOB)
    become(db, BOB)
    assert rows(db, "select id::text from public.workspace_invitations") == [guest["id"]]
    become(db, CAROL)
    assert rows(db, "select id::text from public.workspace_invitations") == []
    assert call(db, "list_invitations", CAROL, channel_id=CHANNEL).error == (404, "channel_not_found", "channel_id")
    (listed,) = call(db, "list_invitations", BOB, channel_id=CHANNEL).data
    assert (listed["created_at"], listed["expires_at"]) == (
        db.execute(
            "select private.format_time(created_at), private.format_time(expires_at)"
            " from public.workspace_invitations where id = %s",
            (guest["id"],),
        ).fetchone()
    )
    assert {**listed, "created_at": "", "expires_at": ""} == {
        "id": guest["id"],
        "workspace_id": WORKSPACE,
        "channel_id": CHANNEL,
        "email": None,
        "role": "guest",
        "invited_by": MATTY,
        "created_at": "",
        "expires_at": "",
    }


def test_invitation_that_ended_with_its_right_is_not_listed(db: Db) -> None:
    db.execute(
        "insert into public.channel_members (channel_id, user_id, role) values (%s, %s, 'admin')", (CHANNEL, MALLORY)
    )
    set_role(db, "workspace", "admin", BOB)
    set_role(db, "channel", "admin", BOB)
    become(db, BOB)
    to_workspace = value(db, "select public.create_invitation(%s) ->> 'id'", WORKSPACE)
    to_channel = value(db, "select public.create_invitation(channel_id => %s) ->> 'id'", CHANNEL)
    become_postgres(db)

    def listed() -> list[list[str]]:
        of_channel = [call(db, "list_invitations", who, channel_id=CHANNEL).data for who in (MATTY, MALLORY)]
        of_workspace = call(db, "list_invitations", workspace_id=WORKSPACE).data
        return [sorted(each["id"] for each in answer) for answer in (of_workspace, *of_channel)]

    # A guest who manages the channel lists its invitations too.
    assert listed() == [sorted([to_workspace, to_channel]), [to_channel], [to_channel]]
    set_role(db, "workspace", "member", BOB)
    assert listed() == [[to_channel], [to_channel], [to_channel]]
    set_role(db, "channel", "member", BOB)
    assert listed() == [[], [], []]


def test_workspace_needs_a_user(db: Db) -> None:
    become(db, MATTY)
    made = value(db, "select public.create_workspace('Acme', 'DE', 'de')")
    assert (made["name"], made["home_country"], made["language"]) == ("Acme", "DE", "de")
    db.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps({"role": "authenticated"}),))
    error = refused(db, "select public.create_workspace('Acme')")
    assert error.message_primary == "Sign in first: a workspace needs an owner."


def test_non_member_locks_no_channel(db: Db) -> None:
    locked = "select xmax::text from private.channel_counters where channel_id = %s"
    before = value(db, locked, CHANNEL)
    twin = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'x') returning id", MALLORY)
    become(db, MALLORY)
    refused(db, "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", CHANNEL, twin)
    become_postgres(db)
    for who, is_same in ((MALLORY, True), (BOB, False)):
        become(db, who)
        db.execute("select private.lock_my_channel(%s)", (CHANNEL,))
        become_postgres(db)
        assert (value(db, locked, CHANNEL) == before) is is_same


def test_channel_is_sealed_as_long_as_tokens_live(db: Db) -> None:
    db.execute("update private.settings set token_seconds = 600")
    remove(db, "channel", BOB)
    ends = "select sealed_until - clock_timestamp() from private.channel_counters where channel_id = %s"
    assert 590 < value(db, ends, CHANNEL).total_seconds() <= 600


def audited(db: Db, action: str) -> list[Any]:
    become_postgres(db)
    known = "select actor_id::text, subject_id::text, details, request_id from public.audit_log where action = %s"
    return rows(db, f"{known} order by at", action)


def test_audit_line_is_whole(db: Db) -> None:
    db.execute("delete from public.audit_log")
    db.execute("select set_config('request.headers', '{\"x-request-id\": \"r1\"}', true)")
    become(db, MATTY)
    made = value(db, "select public.create_messaging_connection('signal', 'audited', %s)", WORKSPACE)
    db.execute("select public.rotate_messaging_key('audited', '2 hours')")
    keys = value(db, "select c.keys from public.messaging_connections as c where connection_id = 'audited'")
    (first, second) = sorted(keys, key=lambda key: key["expires_at"] is None)
    db.execute("select public.revoke_messaging_key(%s)", (first["id"],))
    for change in ("conversation_days = 7, channel_days = 9", "name = 'x'", "channel_days = 9, conversation_days = 7"):
        db.execute(f"update public.workspaces set {change} where id = %s", (WORKSPACE,))
    set_role(db, "workspace", "admin", BOB)
    connection = {"connection_id": made["id"]}
    assert audited(db, "connection.created") == [(MATTY, made["id"], {"platform": "signal"}, "r1")]
    assert audited(db, "key.created") == [(MATTY, first["id"], {**connection, "overlap": "00:00:00"}, "r1")]
    assert audited(db, "key.rotated") == [(MATTY, second["id"], {**connection, "overlap": "02:00:00"}, "r1")]
    assert audited(db, "key.revoked") == [(MATTY, first["id"], connection, "r1")]
    days = {"conversation_days": 7, "channel_days": 9}
    assert audited(db, "workspace.retention_changed") == [(MATTY, WORKSPACE, days, "r1")]
    assert audited(db, "member.role_changed") == [(MATTY, BOB, {"role": "admin", "old_role": "member"}, "r1")]


def test_audit_line_names_the_user_that_service_role_names(db: Db) -> None:
    assert call(db, "delete_message", None, user_id=BOB, id=send(db, who=BOB)).status == 200
    become_service(db)
    db.execute("select private.require_actor(%s)", (json.dumps({"user_id": BOB}),))
    set_role(db, "workspace", "admin", CAROL)
    db.execute("update public.workspaces set channel_days = 30 where id = %s", (WORKSPACE,))
    assert audited(db, "workspace.retention_changed")[-1][0] == BOB
    assert audited(db, "member.role_changed")[-1][0] == BOB


def test_joined_member_is_in_the_audit_log_without_an_old_role(db: Db) -> None:
    db.execute("delete from public.audit_log")
    accept(db, MALLORY, invite(db)["token"])
    assert audited(db, "member.joined") == [(MALLORY, MALLORY, {"role": "member"}, None)]
    ((who, _, details, _),) = audited(db, "invitation.accepted")
    assert (who, details) == (MALLORY, {"role": "member"})
    invite(db, workspace_id=None, channel_id=CHANNEL)
    assert [details for _, _, details, _ in audited(db, "invitation.created")] == [
        {"role": "member"},
        {"role": "guest"},
    ]


def test_data_api_lists_user_events_from_the_first(db: Db) -> None:
    make_admin(db, BOB)
    become(db, BOB)
    page = value(db, "select public.list_user_events(0, 1)")
    assert page["data"][0]["payload"]["seq"] == 1
    last = value(db, "select max(seq) from public.user_events")
    for since, expected in ((last, last), (last + 5, last), (last - 1, last)):
        assert value(db, "select public.list_user_events(%s)", since)["meta"]["last_seq"] == expected
    become_postgres(db)
    db.execute(
        "insert into public.user_events (user_id, seq, kind)"
        " select %s, %s + n, 'channel.read' from generate_series(1, 210) as n",
        (BOB, last),
    )
    become(db, BOB)
    page = value(db, "select public.list_user_events()")
    assert (len(page["data"]), page["meta"]["has_more"]) == (200, True)
