"""sql/225 and sql/227: an invitation in each state, and what a departure passes on, down to the neighbours."""

from typing import Any

import psycopg
import pytest

from tests.sql.test_workspaces import (
    accept,
    channel_roles,
    depart,
    invite,
    make_admin,
    members,
    new_channel,
    new_connection,
    new_user,
    push,
)
from tests.support.calls import call, ingest, send
from tests.support.database import Db, add_channel, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, TELEGRAM, WORKSPACE

ADDRESS = "mallory@example.com"


def change(db: Db, invitation: Any, columns: str) -> None:
    db.execute(f"update public.workspace_invitations set {columns} where id = %s", (invitation["id"],))


def listed(db: Db, who: str = MALLORY) -> list[str]:
    become(db, who)
    found = rows(db, "select id::text from public.list_my_invitations()")
    become_postgres(db)
    return found


def accepted(db: Db, who: str, **fields: str) -> str | None:
    """Accept an invitation, and return the code of the error."""
    become(db, who)
    names = ", ".join(f"{name} => %s" for name in fields)
    try:
        with db.transaction():
            value(db, f"select public.accept_invitation({names})", *fields.values())
    except psycopg.Error as error:
        return error.diag.message_detail
    finally:
        become_postgres(db)
    return None


ENDS = {
    "open": ("created_at = now()", None, True),
    "revoked": ("revoked_at = now()", "invitation_not_found", False),
    "expired": ("expires_at = now()", "invitation_not_found", False),
    "accepted by another": (
        f"accepted_at = now(), accepted_by = '{CAROL}'",
        "invitation_not_found",
        False,
    ),
    "accepted by the same": (f"accepted_at = now(), accepted_by = '{MALLORY}'", None, False),
    "of a former admin": (f"invited_by = '{CAROL}'", "invitation_not_found", False),
    "of a deleted user": ("invited_by = null", "invitation_not_found", False),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", ["workspace", "channel"])
def test_invitation_is_listed_and_accepted_by_its_state(db: Db, place: str, end: str) -> None:
    columns, error, is_listed = ENDS[end]
    add_channel(db, "carols", [CAROL])  # to manage another channel gives no right here
    where = {"workspace_id": None, "channel_id": CHANNEL} if place == "channel" else {}
    by_address, by_link = invite(db, email=ADDRESS, **where), invite(db, **where)
    before = members(db), channel_roles(db, CHANNEL)
    for each in (by_address, by_link):
        change(db, each, columns)
    assert listed(db) == ([by_address["id"]] if is_listed else [])
    for fields in ({"token": by_link["token"]}, {"invitation_id": by_address["id"]}, {"token": by_address["token"]}):
        with db.transaction(force_rollback=True):
            assert accepted(db, MALLORY, **fields) == error
            after = members(db), channel_roles(db, CHANNEL)
            gained = {"workspace": ({MALLORY: "member"}, {}), "channel": ({}, {MALLORY: "member"})}[place]
            joins = end == "open"
            assert after == tuple(known | (more if joins else {}) for known, more in zip(before, gained, strict=True))
    become(db, MATTY)
    for each in (by_address, by_link):
        if end.startswith("accepted"):
            refused(db, "select public.revoke_invitation(%s)", each["id"], by=psycopg.Error)
        else:
            db.execute("select public.revoke_invitation(%s)", (each["id"],))


def test_members_accept_without_a_change(db: Db) -> None:
    made = invite(db, role="admin")
    guest = invite(db, workspace_id=None, channel_id=CHANNEL)
    assert accept(db, BOB, made["token"])["role"] == "admin"
    assert accept(db, BOB, guest["token"])["role"] == "guest"
    assert (members(db)[BOB], channel_roles(db, CHANNEL)[BOB]) == ("member", "member")
    used = "select accepted_by::text, accepted_at = now() from public.workspace_invitations"
    assert rows(db, used) == [(BOB, True)] * 2


def test_each_channel_with_a_guest_moves_with_all_it_has(db: Db) -> None:
    heirs = {}
    for heir in (BOB, CAROL):
        channel_id = value(
            db,
            "insert into public.channels (workspace_id, name, created_by) values (%s, 'x', %s) returning id::text",
            MATTY,
            MATTY,
        )
        db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, heir))
        send(db, channel_id=channel_id)
        become_postgres(db)
        heirs[channel_id] = heir
    db.execute("delete from auth.users where id = %s", (MATTY,))
    for table, column in (
        ("public.channels", "id"),
        *((f"public.{each}", "channel_id") for each in ("messages", "message_events")),
        ("private.channel_counters", "channel_id"),
    ):
        found = f"select distinct {column}::text, workspace_id::text from {table} where {column} = any(%s::uuid[])"
        assert sorted(rows(db, found, list(heirs))) == sorted(heirs.items()), table


def test_unconfirmed_address_lists_nothing(db: Db) -> None:
    invite(db, email=ADDRESS)
    db.execute("update auth.users set email_confirmed_at = null where id = %s", (MALLORY,))
    assert listed(db) == []


def test_own_invitations_are_whole_and_newest_first(db: Db) -> None:
    first, second = (
        invite(db, email=ADDRESS, role="admin"),
        invite(db, workspace_id=None, channel_id=CHANNEL, email=ADDRESS),
    )
    change(db, first, "created_at = now() - interval '1 hour'")
    found = call(db, "list_my_invitations", MALLORY).data
    names = {
        "workspace_id": WORKSPACE,
        "workspace_name": value(db, "select name from public.workspaces where id = %s", WORKSPACE),
        "invited_by": MATTY,
        "invited_by_name": "Matty Squarzoni",
        "expires_at": "",
    }
    channel = value(db, "select name from public.channels where id = %s", CHANNEL)
    assert [{**each, "expires_at": ""} for each in found] == [
        {"id": second["id"], "channel_id": CHANNEL, "channel_name": channel, "role": "guest", **names},
        {"id": first["id"], "channel_id": None, "channel_name": None, "role": "admin", **names},
    ]
    pages = [call(db, "list_my_invitations", MALLORY, limit=1, offset=offset) for offset in (0, 1, 2)]
    assert [[each["id"] for each in page.data] for page in pages] == [[second["id"]], [first["id"]], []]
    assert [page.meta["has_more"] for page in pages] == [True, False, False]
    change(db, second, "created_at = now() - interval '1 hour'")
    assert sorted([first["id"], second["id"]]) == listed(db)


@pytest.mark.parametrize(
    ("who", "right", "error"),
    [
        (MATTY, None, None),
        (BOB, None, "invitation_not_found"),
        (BOB, "workspace", None),
        (CAROL, "channel", None),
        (MALLORY, None, "invitation_not_found"),
    ],
)
def test_managers_revoke_an_invitation(db: Db, who: str, right: str | None, error: str | None) -> None:
    guest, other = invite(db, workspace_id=None, channel_id=CHANNEL), invite(db)
    if right == "workspace":
        make_admin(db, who)
    elif right:
        db.execute(
            "update public.channel_members set role = 'admin' where (channel_id, user_id) = (%s, %s)", (CHANNEL, who)
        )
    revoke = "select public.revoke_invitation(%s)"
    become(db, who)
    if error:
        assert refused(db, revoke, guest["id"], by=psycopg.Error).message_detail == error
        return
    db.execute(revoke, (guest["id"],))
    if right == "channel":
        assert refused(db, revoke, other["id"], by=psycopg.Error).message_detail == "invitation_not_found"
    become_postgres(db)
    revoked = "select id::text, revoked_at = now() from public.workspace_invitations where revoked_at is not null"
    assert rows(db, revoked) == [(guest["id"], True)]
    change(db, guest, "revoked_at = '2026-01-01'")
    become(db, who)
    db.execute(revoke, (guest["id"],))
    become_postgres(db)
    assert rows(
        db, "select revoked_at = '2026-01-01' from public.workspace_invitations where id = %s", guest["id"]
    ) == [True]


OWNERS = """
select 'connection', workspace_id::text, user_id::text, connection_id from public.messaging_connections
union all select 'conversation', workspace_id::text, user_id::text, external_conversation_id from public.conversations
union all select 'person', workspace_id::text, user_id::text, full_name from public.people
"""


@pytest.mark.parametrize("way", ["leave", "expulsion", "deletion"])
def test_departure_passes_only_what_the_user_had_there(db: Db, way: str) -> None:
    for who in (BOB, CAROL):
        make_admin(db, who)
    become(db, MATTY)
    other = value(db, "select public.create_workspace('Other') ->> 'id'")
    become_postgres(db)
    join = "insert into public.workspace_members (workspace_id, user_id, role) values (%s, %s, 'admin')"
    db.execute(join, (other, BOB))
    for who in (BOB, CAROL):
        for place, name in ((WORKSPACE, "team"), (who, "own"), (other, "other")):
            if (who, place) == (CAROL, other):
                continue
            push(db, new_connection(db, who, place, name=f"{name}.{who}"), conversation(external_id=f"{name}.{who}"))
            become(db, who)
            db.execute("insert into public.people (workspace_id, full_name) values (%s, %s)", (place, f"{name}.{who}"))
            become_postgres(db)
    before = {(kind, name): (place, owner) for kind, place, owner, name in rows(db, OWNERS)}
    depart(db, way, BOB)
    after = {(kind, name): (place, owner) for kind, place, owner, name in rows(db, OWNERS)}
    heirs = {WORKSPACE: MATTY, other: BOB if way != "deletion" else MATTY}
    expected = {
        key: (place, heirs.get(place, owner) if owner == BOB else owner)
        for key, (place, owner) in before.items()
        if not (way == "deletion" and place == BOB)
    }
    assert after == expected


def test_departure_changes_no_key_but_that_of_a_second_one(db: Db) -> None:
    for who in (BOB, CAROL):
        make_admin(db, who)
    bobs, carols, mattys = (new_connection(db, who, name=f"team.{who}") for who in (BOB, CAROL, MATTY))
    push(
        db,
        bobs,
        *(conversation(message(name), external_id=name) for name in ("both", "carols", "elsewhere", "platform")),
    )
    push(db, mattys, conversation(external_id="both"))
    push(db, carols, conversation(external_id="carols"))
    push(db, new_connection(db, MATTY, MATTY, name="own"), conversation(external_id="elsewhere"))
    db.execute(
        "update public.messaging_connections set workspace_id = %s where connection_id = %s", (WORKSPACE, TELEGRAM[1])
    )
    ingest(db, conversation(external_id="platform"), connection=TELEGRAM)
    depart(db, "leave", BOB)
    kept = (
        "select external_conversation_id from public.conversations where message_count = 1 and scope_id = %s order by 1"
    )
    assert rows(db, kept, WORKSPACE) == ["carols", "elsewhere", "platform"]
    assert rows(db, "select external_conversation_id from public.conversations where scope_id = id") == ["both"]
    again = push(
        db,
        bobs,
        *(conversation(message(name), external_id=name) for name in ("both", "carols", "elsewhere", "platform")),
    )
    assert [each["messages_added"] for each in again] == [1, 0, 0, 0]


def test_later_name_of_a_second_conversation_becomes_free(db: Db) -> None:
    make_admin(db, BOB)
    bobs, mattys = (new_connection(db, who, name=f"team.{who}") for who in (BOB, MATTY))
    push(db, bobs, conversation(message("old"), external_id="both"))
    push(db, bobs, conversation(external_id="later", continues="both"))
    push(db, bobs, conversation(message("kept"), external_id="former"))
    push(db, bobs, conversation(external_id="latest", continues="former"))
    push(db, mattys, conversation(external_id="both"))
    depart(db, "leave", BOB)
    again = push(db, bobs, *(conversation(message("new"), external_id=name) for name in ("later", "latest")))
    assert [each["status"] for each in again] == ["created", "updated"]


def test_departure_leaves_ended_invitations_as_they_are(db: Db) -> None:
    make_admin(db, BOB)
    used, ended, still = (invite(db, BOB) for _ in range(3))
    change(db, used, f"accepted_at = '2026-01-01', accepted_by = '{CAROL}'")
    change(db, ended, "revoked_at = '2026-01-01'")
    become(db, MATTY)
    other = value(db, "select public.create_workspace('Other') ->> 'id'")
    become_postgres(db)
    join = "insert into public.workspace_members (workspace_id, user_id, role) values (%s, %s, 'admin')"
    db.execute(join, (other, BOB))
    elsewhere = invite(db, BOB, workspace_id=other)
    depart(db, "leave", BOB)
    known = (
        "select id::text, revoked_at from public.workspace_invitations where revoked_at is not null order by revoked_at"
    )
    assert [id_ for id_, _ in rows(db, known)] == [ended["id"], still["id"]]
    assert value(db, "select revoked_at = '2026-01-01' from public.workspace_invitations where id = %s", ended["id"])
    assert elsewhere["id"] not in dict(rows(db, known))


def test_departure_leaves_channels_elsewhere(db: Db) -> None:
    own, guest = add_channel(db, "bobs", [BOB]), add_channel(db, "mallorys", [MALLORY])
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (guest, BOB))
    depart(db, "leave", BOB)
    assert [channel_roles(db, each) for each in (own, guest)] == [{BOB: "owner"}, {MALLORY: "owner", BOB: "member"}]
    assert channel_roles(db, CHANNEL) == {MATTY: "owner", CAROL: "member"}


def test_departure_keeps_the_claims_of_the_caller(db: Db) -> None:
    become(db, BOB)
    db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    assert value(db, "select auth.uid()::text || auth.role()") == f"{BOB}authenticated"
    become_postgres(db)
    become(db, MATTY)
    become_postgres(db)
    db.execute("select set_config('request.jwt.claims', %s, true)", (f'{{"role": "authenticated", "sub": "{MATTY}"}}',))
    db.execute("delete from auth.users where id = %s", (CAROL,))
    assert value(db, "select auth.uid()::text || auth.role()") == f"{MATTY}authenticated"


def test_member_of_the_longest_standing_inherits(db: Db) -> None:
    joined = "update public.workspace_members set created_at = %s where (workspace_id, user_id) = (%s, %s)"
    for who, at in ((BOB, "2026-01-02"), (CAROL, "2026-01-01")):
        db.execute(joined, (at, WORKSPACE, who))
        db.execute(
            "update public.channel_members set created_at = %s where (channel_id, user_id) = (%s, %s)",
            (at, CHANNEL, who),
        )
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert members(db) == channel_roles(db, CHANNEL) == {BOB: "member", CAROL: "owner"}


def test_channel_with_an_owner_gets_no_other(db: Db) -> None:
    made = new_channel(db, CAROL, MATTY)
    db.execute("update public.channel_members set role = 'owner' where (channel_id, user_id) = (%s, %s)", (made, CAROL))
    alone = new_channel(db)
    depart(db, "leave", BOB)
    assert (channel_roles(db, made), channel_roles(db, alone)) == ({CAROL: "owner", MATTY: "member"}, {MATTY: "owner"})


@pytest.mark.parametrize("roles", [["member", "admin", "owner"], ["member", "admin"], ["member", "member"]])
def test_first_guest_of_the_highest_role_gets_the_channel(db: Db, roles: list[str]) -> None:
    leaver = new_user(db)
    become(db, leaver)
    own = value(db, "insert into public.channels (name) values ('own') returning id::text")
    become_postgres(db)
    guests = [CAROL, BOB, MATTY][: len(roles)]
    for place, (who, role) in enumerate(zip(guests, roles, strict=True)):
        db.execute(
            "insert into public.channel_members (channel_id, user_id, role, created_at)"
            " values (%s, %s, %s, now() + %s * interval '1 s')",
            (own, who, role, place),
        )
    said = send(db, "stays", who=BOB, channel_id=own)
    db.execute("delete from auth.users where id = %s", (leaver,))
    heir = guests[-1] if roles[-1] != "member" else guests[0]
    assert channel_roles(db, own) == dict(zip(guests, roles, strict=True)) | {heir: "owner"}
    for table in ("public.messages", "public.message_events", "private.channel_counters"):
        assert set(rows(db, f"select workspace_id::text from {table} where channel_id = %s", own)) == {heir}
    assert call(db, "get_message", BOB, id=said).data["content"] == "stays"
