"""sql/228 and sql/229: whole answers of the calls about workspaces, invitations and direct channels."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.sql.test_workspaces import invite, make_admin, members
from tests.support.calls import call
from tests.support.database import Db, become, become_postgres, rows, value
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, TIME, WORKSPACE


def create(db: Db, name: str, who: str = MATTY, **fields: Any) -> Any:
    return call(db, "create_workspace", who, name=name, **fields).data


def join(db: Db, workspace_id: str, who: str, role: str = "member") -> None:
    become_postgres(db)
    statement = "insert into public.workspace_members (workspace_id, user_id, role) values (%s, %s, %s)"
    db.execute(statement, (workspace_id, who, role))


def roles(db: Db, workspace_id: str) -> dict[str, str]:
    become_postgres(db)
    return dict(
        rows(db, "select user_id::text, role from public.workspace_members where workspace_id = %s", workspace_id)
    )


def test_workspaces_are_whole_and_listed_by_name(db: Db) -> None:
    made = [create(db, name, MALLORY, home_country="DE", language="de") for name in ("b", "A", "Q")]
    assert re.fullmatch(TIME, made[0]["created_at"])
    whole = {
        "name": "b",
        "is_personal": False,
        "home_country": "DE",
        "language": "de",
        "conversation_days": None,
        "channel_days": None,
        "role": "owner",
    }
    assert made[0] == {**whole, "id": made[0]["id"], "created_at": made[0]["created_at"]}
    ordered = value(db, "select array_agg(n order by n) from unnest(%s::text[]) as n", ["b", "A", "Q"])
    pages = [call(db, "list_workspaces", MALLORY, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [each["name"] for page in pages for each in page.data] == ["Personal", *ordered]
    assert [page.meta["has_more"] for page in pages] == [True, False, False]
    assert call(db, "get_workspace", MALLORY, workspace_id=MALLORY).data["is_personal"] is True


def test_update_changes_the_given_fields_only(db: Db) -> None:
    made = create(db, "x", home_country="DE", language="de")
    names = {"workspace_id": made["id"]}
    for change in (
        {"home_country": "FR"},
        {"language": "fr"},
        {"name": "y"},
        {"conversation_days": 7},
        {"channel_days": 9},
    ):
        made |= change
        assert call(db, "update_workspace", **names, **change).data == made
    for change in ({"home_country": None}, {"language": None}, {"conversation_days": None}, {"channel_days": None}):
        made |= change
        assert call(db, "update_workspace", **names, **change).data == made
    for name in (None, ""):
        assert call(db, "update_workspace", **names, name=name).error[2] == "name"
    assert call(db, "update_workspace", **names, home_country="").error[:2] == (400, "invalid_field")


def test_role_and_removal_are_of_one_workspace(db: Db) -> None:
    other = create(db, "Other")["id"]
    join(db, other, BOB)
    before = roles(db, BOB)
    names = {"workspace_id": WORKSPACE, "member_id": BOB}
    changed = call(db, "set_member_role", **names, role="admin").data
    assert changed == {"workspace_id": WORKSPACE, "user_id": BOB, "role": "admin"}
    assert (members(db)[BOB], roles(db, other)[BOB]) == ("admin", "member")
    assert call(db, "set_member_role", **names, role="guest").error == (400, "invalid_field", "role")
    lines = "select count(*) from public.audit_log where action = 'member.role_changed'"
    written = value(db, lines)
    assert call(db, "set_member_role", **names, role="admin").data == changed
    told = value(db, "select count(*) from public.user_events")
    db.execute("update public.workspace_members set role = role where workspace_id = %s", (WORKSPACE,))
    assert (value(db, lines), value(db, "select count(*) from public.user_events")) == (written, told)
    assert call(db, "remove_workspace_member", **names).data == {"workspace_id": WORKSPACE, "user_id": BOB}
    assert (BOB in members(db), roles(db, other), roles(db, BOB)) == (False, {MATTY: "owner", BOB: "member"}, before)
    assert call(db, "remove_workspace_member", **names).error == (404, "member_not_found", "member_id")
    assert call(db, "remove_workspace_member", BOB, **names).error == (404, "workspace_not_found", "workspace_id")


def test_members_are_paged_by_name(db: Db) -> None:
    pages = [call(db, "list_workspace_members", CAROL, workspace_id=WORKSPACE, limit=1, offset=n) for n in range(4)]
    assert [[each["display_name"] for each in page.data] for page in pages] == [
        ["Bob Okafor"], ["Carol Lindqvist"], ["Matty Squarzoni"], []
    ]  # fmt: skip
    assert [page.meta["has_more"] for page in pages] == [True, True, False, False]
    for search, found in (("OKAFOR", 1), ("carol l", 1), ("o", 3), ("x", 0)):
        assert len(call(db, "list_workspace_members", CAROL, workspace_id=WORKSPACE, search=search).data) == found
    for length, status in ((200, 200), (201, 400)):
        search = "x" * length
        assert call(db, "list_workspace_members", CAROL, workspace_id=WORKSPACE, search=search).status == status


def test_directory_shows_equal_names_by_id(db: Db) -> None:
    db.execute("update public.user_profiles set display_name = 'Ann', avatar_url = 'https://x.example/' || user_id")
    for day, who in enumerate((CAROL, BOB, MATTY), 1):
        joined = "update public.workspace_members set created_at = make_date(2026, 2, %s) where user_id = %s"
        db.execute(joined, (day, who))
    expected = [
        {
            "user_id": who,
            "role": role,
            "display_name": "Ann",
            "avatar_url": f"https://x.example/{who}",
            "joined_at": f"2026-02-0{day}T00:00:00.000Z",
        }
        for who, role, day in ((MATTY, "owner", 3), (BOB, "member", 2), (CAROL, "member", 1))
    ]
    assert call(db, "list_workspace_members", BOB, workspace_id=WORKSPACE).data == expected


def test_invitation_has_its_defaults_and_no_more_fields(db: Db) -> None:
    long = call(db, "create_invitation", workspace_id=WORKSPACE, email=f"{'@x.example':a>321}")
    assert long.error == (400, "invalid_field", "email")
    made = call(db, "create_invitation", workspace_id=WORKSPACE, email="Ann@X.example")
    assert made.status == 201
    times = [datetime.fromisoformat(made.data[name]) for name in ("created_at", "expires_at")]
    assert times[1] - times[0] == timedelta(days=7)
    assert {**made.data, "id": "", "token": "", "created_at": "", "expires_at": ""} == {
        "id": "",
        "token": "",
        "created_at": "",
        "expires_at": "",
        "workspace_id": WORKSPACE,
        "channel_id": None,
        "email": "ann@x.example",
        "role": "member",
        "invited_by": MATTY,
    }
    assert re.fullmatch(TIME, made.data["created_at"])
    kept = "select email, role, invited_by::text from public.workspace_invitations where id = %s"
    assert rows(db, kept, made.data["id"]) == [("ann@x.example", "member", MATTY)]
    short = call(db, "create_invitation", channel_id=CHANNEL, valid_for="1 day", role="admin").data
    assert (short["role"], short["channel_id"], short["workspace_id"]) == ("guest", CHANNEL, WORKSPACE)


def test_open_invitations_are_paged_newest_first(db: Db) -> None:
    made = [invite(db)["id"] for _ in range(4)]
    assert [each["id"] for each in call(db, "list_invitations", workspace_id=WORKSPACE).data] == sorted(made)
    for age, each in enumerate(made):
        db.execute(
            "update public.workspace_invitations set created_at = now() - %s * interval '1 h' where id = %s",
            (age, each),
        )
    db.execute("update public.workspace_invitations set revoked_at = now() where id = %s", (made[1],))
    pages = [call(db, "list_invitations", workspace_id=WORKSPACE, limit=1, offset=n) for n in range(4)]
    assert [[each["id"] for each in page.data] for page in pages] == [[made[0]], [made[2]], [made[3]], []]
    assert [page.meta["has_more"] for page in pages] == [True, True, False, False]
    db.execute("update public.workspace_invitations set accepted_at = now() where id = %s", (made[0],))
    assert [each["id"] for each in call(db, "list_invitations", workspace_id=WORKSPACE).data] == made[2:]


@pytest.mark.parametrize(("length", "status"), [(1000, 404), (1001, 400)])
def test_token_has_at_most_1000_characters(db: Db, length: int, status: int) -> None:
    assert call(db, "accept_invitation", MALLORY, token="x" * length).status == status


def test_plain_member_invites_no_user(db: Db) -> None:
    for function in ("create_invitation", "list_invitations"):
        assert call(db, function, BOB, workspace_id=WORKSPACE).error[:2] == (403, "forbidden")
        assert call(db, function, MALLORY, workspace_id=WORKSPACE).error == (404, "workspace_not_found", "workspace_id")


@pytest.mark.parametrize("who", [MATTY, BOB])
def test_only_owners_delete_a_workspace(db: Db, who: str) -> None:
    make_admin(db, BOB)
    other = create(db, "Other")["id"]
    reply = call(db, "delete_workspace", who, workspace_id=WORKSPACE)
    if who == BOB:
        assert reply.error[:2] == (403, "owner_required")
    else:
        assert reply.data == {"id": WORKSPACE}
    assert call(db, "delete_workspace", who, workspace_id=who).error[:2] == (409, "personal_workspace")
    become_postgres(db)
    left = rows(db, "select id::text from public.workspaces where id = any(%s)", [WORKSPACE, other, MATTY])
    assert set(left) == ({other, MATTY} if who == MATTY else {WORKSPACE, other, MATTY})


def test_direct_channel_of_ten_is_whole(db: Db) -> None:
    others = rows(
        db,
        "insert into auth.users (id, email) select gen_random_uuid(), n || '@x.example' from generate_series(1, 9) as n"
        " returning id::text",
    )
    newer = create(db, "Newer")["id"]
    for who in others:
        join(db, WORKSPACE, who)
        join(db, newer, who)
    opened = call(db, "open_direct", user_ids=others, workspace_id=newer).data
    assert re.fullmatch(TIME, opened["created_at"])
    assert opened == {"id": opened["id"], "workspace_id": newer, "kind": "dm", "created_at": opened["created_at"]}
    assert call(db, "open_direct", user_ids=[*others, BOB]).error == (400, "invalid_field", "user_ids")


def test_number_of_an_event_has_at_most_18_digits(db: Db) -> None:
    for function, field, names in (("list_user_events", "since", {}), ("mark_read", "seq", {"channel_id": CHANNEL})):
        assert call(db, function, **names, **{field: "9" * 18}).status == 200
        assert call(db, function, **names, **{field: "9" * 19}).error == (400, "invalid_field", field)


def test_call_lists_200_events_by_default(db: Db) -> None:
    db.execute(
        "insert into public.user_events (user_id, seq, kind)"
        " select %s, 1000 + n, 'channel.read' from generate_series(1, 201) as n",
        (BOB,),
    )
    page = call(db, "list_user_events", BOB, since=1000)
    assert (len(page.data), page.meta) == (200, {"last_seq": 1200, "has_more": True, "is_incomplete": False})
    become(db, BOB)
    assert value(db, "select public.list_user_events(1000, 201)")["meta"]["has_more"] is False


def test_field_at_its_limit_is_taken(db: Db) -> None:
    assert len(create(db, "x" * 200)["name"]) == 200
    for limit in ("1000", 1000, "1"):
        assert call(db, "list_workspaces", limit=limit).status == 200
    for limit in ("0", 0, "1001", "9999999999", "1.0", "-1", [1]):
        assert call(db, "list_workspaces", limit=limit).error == (400, "invalid_field", "limit")


def test_named_actor_counts_with_the_service_key_only(db: Db) -> None:
    db.execute("select set_config('threadline.acting_id', %s, true)", (BOB,))
    callers = [{}, {"role": "anon"}, {"role": "service_role"}, {"role": "authenticated", "sub": CAROL}]
    acting = "select private.acting_user_id()::text from set_config('request.jwt.claims', %s, true)"
    assert [value(db, acting, json.dumps(claims)) for claims in callers] == [None, None, BOB, CAROL]
