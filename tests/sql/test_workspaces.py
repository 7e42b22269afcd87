"""sql/050_workspaces.sql to sql/227_departures.sql: teams, invitations, guests, departures, audit and retention."""

import json
from typing import Any

import psycopg
import pytest

from tests.support.calls import call, ingest, send
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, WHATSAPP, WORKSPACE

TEAM = "team_signal"
MIDNIGHT = "select ceil(extract(epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now()))::text"


def new_connection(db: Db, who: str = MATTY, workspace_id: str = WORKSPACE, **options: Any) -> Any:
    """Create a connection in a workspace and return it with its key."""
    become(db, who)
    names = "platform => 'signal', connection_id => %s, workspace_id => %s, is_apart => %s"
    arguments = (options.get("name", TEAM), workspace_id, options.get("is_apart", False))
    made = value(db, f"select public.create_messaging_connection({names})", *arguments)
    become_postgres(db)
    return made


def push(db: Db, connection: Any, *conversations: object) -> Any:
    """Ingest conversations and return their results."""
    reply = ingest(db, *conversations, connection=("signal", connection["connection_id"]), key=connection["api_secret"])
    return reply.body["results"]


def seen_by(db: Db, who: str, table: str = "conversations") -> int:
    become(db, who)
    count = value(db, f"select count(*) from public.{table}")
    become_postgres(db)
    return count


def invite(db: Db, who: str = MATTY, **fields: Any) -> Any:
    become(db, who)
    given = {"workspace_id": WORKSPACE} | fields
    names = ", ".join(f"{name} => %s" for name in given)
    made = value(db, f"select public.create_invitation({names})", *given.values())
    become_postgres(db)
    return made


def make_admin(db: Db, who: str) -> None:
    statement = "update public.workspace_members set role = 'admin' where (workspace_id, user_id) = (%s, %s)"
    db.execute(statement, (WORKSPACE, who))


def accept(db: Db, who: str, token: str) -> Any:
    become(db, who)
    answer = value(db, "select public.accept_invitation(%s)", token)
    become_postgres(db)
    return answer


def members(db: Db) -> dict[str, str]:
    return dict(rows(db, "select user_id::text, role from public.workspace_members where workspace_id = %s", WORKSPACE))


def actions(db: Db) -> list[str]:
    return rows(db, "select action from public.audit_log where workspace_id = %s order by at", WORKSPACE)


def test_each_user_has_a_personal_workspace(db: Db) -> None:
    become(db, MALLORY)
    assert rows(db, "select id::text, is_personal from public.workspaces") == [(MALLORY, True)]
    assert rows(db, "select role from public.workspace_members") == ["owner"]


def test_personal_workspace_has_no_audit_line_of_its_user(db: Db) -> None:
    new = value(db, "insert into auth.users (id, email) values (gen_random_uuid(), 'new@example.com') returning id")
    assert rows(db, "select action from public.audit_log where workspace_id = %s", new) == []


def test_creator_of_a_workspace_is_its_owner(db: Db) -> None:
    become(db, MALLORY)
    made = value(db, "select public.create_workspace('Acme', 'DE', 'de')")
    assert (made["is_personal"], made["home_country"]) == (False, "DE")
    assert rows(db, "select role from public.workspace_members where workspace_id = %s", made["id"]) == ["owner"]


def test_members_read_what_a_team_connection_ingests(db: Db) -> None:
    push(db, new_connection(db), conversation(message("a")))
    for who, count in ((MATTY, 1), (BOB, 1), (CAROL, 1), (MALLORY, 0)):
        assert (seen_by(db, who), seen_by(db, who, "conversation_messages")) == (count, count)


def test_personal_conversations_stay_personal(db: Db) -> None:
    ingest(db, conversation(message("a")))
    assert (seen_by(db, MATTY), seen_by(db, BOB)) == (1, 0)


def test_two_workspaces_of_one_owner_share_no_conversation(db: Db) -> None:
    team, own = new_connection(db), new_connection(db, workspace_id=MATTY, name="own_signal")
    assert push(db, team, conversation(message("a")))[0]["status"] == "created"
    assert push(db, own, conversation(message("a")))[0]["status"] == "created"
    assert (seen_by(db, MATTY), seen_by(db, BOB)) == (2, 1)


def test_connections_of_one_owner_share_conversations(db: Db) -> None:
    first, second = new_connection(db), new_connection(db, name="second")
    push(db, first, conversation(message("a")))
    assert push(db, second, conversation(message("a"), message("b")))[0]["status"] == "updated"
    came = dict(rows(db, "select external_id, connection_id::text from public.conversation_messages"))
    assert came == {"a": first["id"], "b": second["id"]}


def test_connection_that_is_apart_has_its_own_conversations(db: Db) -> None:
    first, second = new_connection(db), new_connection(db, name="second", is_apart=True)
    # The greatest scope first: a look-up without the scope would find it for the others.
    scopes = {WORKSPACE: first, second["id"]: second}
    for _, connection in sorted(scopes.items(), reverse=True):
        assert push(db, connection, conversation(message("a")))[0]["status"] == "created"
        assert push(db, connection, conversation(message("a")))[0]["status"] == "no_new_messages"
    assert push(db, second, conversation(message("b"), external_id="new", continues="chat"))[0]["status"] == "updated"
    assert seen_by(db, BOB) == 2


def test_team_hears_of_conversations_in_its_topic(db: Db) -> None:
    push(db, new_connection(db), conversation(message("a")))
    sent = rows(db, "select topic from realtime.messages where event = 'conversation.created' order by topic")
    assert sent == [f"inbox:{MATTY}", f"workspace:{WORKSPACE}"]
    ingest(db, conversation(message("b")))
    push(db, new_connection(db, MATTY, MATTY, name="apart", is_apart=True), conversation(message("c")))
    assert value(db, "select count(*) from realtime.messages where topic = %s", f"inbox:{MATTY}") == 3
    assert value(db, "select count(*) from realtime.messages where topic = %s", f"workspace:{MATTY}") == 0


@pytest.mark.parametrize(("who", "listens"), [(BOB, True), (MALLORY, False)])
def test_only_members_listen_to_the_team_topic(db: Db, who: str, listens: bool) -> None:
    become(db, who)
    assert value(db, "select private.is_my_topic(%s)", f"workspace:{WORKSPACE}") is listens
    assert value(db, "select private.is_my_topic(%s)", f"WORKSPACE:{WORKSPACE}") is False
    assert value(db, "select private.is_my_topic(%s)", f"workspace:{WORKSPACE.upper()}") is False


def test_person_of_a_team_matches_its_conversations_only(db: Db) -> None:
    push(db, new_connection(db), conversation(message("a"), participant_identifier="+49 151 23456789"))
    become(db, CAROL)
    added = "insert into public.people (workspace_id, full_name, phone) values (%s, 'Ann', '+49 151 23456789')"
    db.execute(added, (CAROL,))
    assert rows(db, "select person_id from public.conversations") == [None]
    db.execute(added, (WORKSPACE,))
    assert rows(db, "select person_id is not null from public.conversations") == [True]


def test_member_cannot_manage_connections(db: Db) -> None:
    made = new_connection(db)
    # A member can own one, such as an admin who is a member now.
    db.execute("update public.messaging_connections set user_id = %s where id = %s", (BOB, made["id"]))
    become(db, BOB)
    assert rows(db, "select connection_id, connection.keys from public.messaging_connections as connection") == [
        (TEAM, [])
    ]
    assert refused(db, "select public.rotate_messaging_key(%s)", TEAM, by=psycopg.Error).sqlstate == "PT404"
    become_postgres(db)
    key_id = value(db, "select id from private.messaging_keys where connection_id = %s", made["id"])
    become(db, BOB)
    assert refused(db, "select public.revoke_messaging_key(%s)", key_id, by=psycopg.Error).sqlstate == "PT404"


def test_revoked_key_is_refused(db: Db) -> None:
    made = new_connection(db)
    become(db, MATTY)
    (key,) = value(
        db, "select connection.keys from public.messaging_connections as connection where id = %s", made["id"]
    )
    db.execute("select public.revoke_messaging_key(%s)", (key["id"],))
    become_postgres(db)
    reply = ingest(db, connection=("signal", TEAM), key=made["api_secret"])
    assert reply.status == 401
    assert actions(db)[-3:] == ["connection.created", "key.created", "key.revoked"]
    created = "select details from public.audit_log where action = 'key.created' and subject_id = %s"
    details = rows(db, created, key["id"])
    assert details == [{"connection_id": made["id"], "overlap": "00:00:00"}]


def test_departures_and_deletions_are_in_the_audit_log(db: Db) -> None:
    made = new_connection(db)
    become(db, MATTY)
    db.execute("select public.rotate_messaging_key(%s)", (TEAM,))
    become_postgres(db)
    assert actions(db)[-1] == "key.rotated"
    db.execute("delete from public.messaging_connections where id = %s", (made["id"],))
    db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    written = "select action, subject_id::text, details from public.audit_log where workspace_id = %s order by at"
    assert rows(db, written, WORKSPACE)[-2:] == [
        ("connection.deleted", made["id"], {"platform": "signal"}),
        ("member.left", BOB, {"old_role": "member"}),
    ]


def test_link_lets_a_user_join_once(db: Db) -> None:
    made = invite(db, role="admin")
    assert made["token"].startswith("threadline_")
    assert made["token"] not in value(db, "select string_agg(i::text, '') from public.workspace_invitations as i")
    assert accept(db, MALLORY, made["token"])["workspace_id"] == WORKSPACE
    assert accept(db, MALLORY, made["token"])["role"] == "admin"
    assert members(db)[MALLORY] == "admin"
    assert actions(db)[-3:] == ["invitation.created", "member.joined", "invitation.accepted"]
    db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    become(db, BOB)
    assert refused(db, "select public.accept_invitation(%s)", made["token"], by=psycopg.Error).sqlstate == "PT404"


def test_new_invitation_revokes_the_open_one_of_the_address(db: Db) -> None:
    become(db, MATTY)
    team = value(db, "select public.create_workspace('Team')")["id"]
    elsewhere = invite(db, workspace_id=team, email="mallory@example.com")
    other = invite(db, email="other@example.com")
    first = invite(db, email="mallory@example.com", role="admin")
    second = invite(db, email="Mallory@example.com")
    sent = [action for action in actions(db) if action.startswith("invitation")]
    assert sent == [*["invitation.created"] * 2, "invitation.revoked", "invitation.created"]
    guest = {"workspace_id": None, "channel_id": CHANNEL, "email": "mallory@example.com"}
    invite(db, **guest)
    third = invite(db, **guest)
    assert rows(db, "select from public.workspace_invitations where id = %s and revoked_at is null", other["id"]) == [
        ()
    ]
    become(db, MALLORY)
    listed = rows(db, "select id::text from public.list_my_invitations()")
    assert sorted(listed) == sorted([second["id"], third["id"], elsewhere["id"]])
    assert refused(db, "select public.accept_invitation(%s)", first["token"], by=psycopg.Error).sqlstate == "PT404"
    assert accept(db, MALLORY, second["token"])["role"] == "member"
    invite(db, email="mallory@example.com")
    assert rows(db, "select revoked_at from public.workspace_invitations where id = %s", second["id"]) == [None]
    assert actions(db).count("invitation.revoked") == 2


def test_invitations_and_workspaces_have_limits(db: Db) -> None:
    """Replaced invitations are not open, and each one counts for the day; a deleted workspace counts too."""

    def answer(function: str, **fields: Any) -> str | int:
        reply = call(db, function, MATTY, **fields)
        if reply.status == 429:
            assert reply.headers["retry-after"] == value(db, MIDNIGHT)
        return reply.status if reply.status < 300 else f"{reply.status} {reply.body['error']['code']}"

    def sent(email: str, workspace_id: str = WORKSPACE) -> str | int:
        return answer("create_invitation", workspace_id=workspace_id, email=f"{email}@example.com")

    db.execute(
        "update private.settings set user_max_open_invitations = 2, invitations_per_user_per_day = 6, "
        "workspaces_per_user_per_day = 2"
    )
    make_admin(db, BOB)
    used, *_ = invite(db), invite(db, BOB), invite(db, BOB)
    db.execute("update public.workspace_invitations set accepted_at = now() where id = %s", (used["id"],))
    db.execute("delete from private.daily_counts")
    assert [sent(name) for name in ("a", "b", "b", "c")] == [201, 201, 201, "409 too_many_open_invitations"]
    assert answer("create_invitation", channel_id=CHANNEL) == "409 too_many_open_invitations"
    other = call(db, "create_workspace", MATTY, name="Other").data["id"]
    become(db, MATTY)
    db.execute("delete from public.workspaces where id = %s", (other,))
    become_postgres(db)
    other = call(db, "create_workspace", MATTY, name="Other").data["id"]
    assert answer("create_workspace", name="Third") == "429 too_many_workspaces"
    assert call(db, "create_workspace", BOB, name="Third").status == 201
    db.execute("update public.workspace_invitations set expires_at = now() where email = 'a@example.com'")
    assert [sent("c"), sent("d", other), sent("e", other)] == [201, 201, 201]
    assert sent("e", other) == "429 too_many_invitations"
    db.execute("update private.daily_counts set day = day - 1")
    assert (sent("e", other), answer("create_workspace", name="Third")) == (201, 201)
    # In one of these zones the date is another than in UTC.
    for zone, expected in (("Etc/GMT+12", 201), ("Etc/GMT-14", "429 too_many_workspaces")):
        db.execute(f"set local timezone = '{zone}'")
        assert answer("create_workspace", name="Next") == expected


def test_invitation_by_address_is_for_that_user(db: Db) -> None:
    made = invite(db, email="Mallory@Example.com")
    db.execute("update auth.users set email = 'MALLORY@example.com' where id = %s", (MALLORY,))
    become(db, MALLORY)
    (open_one,) = rows(db, "select id::text from public.list_my_invitations()")
    assert open_one == made["id"]
    become(db, CAROL)
    assert rows(db, "select id from public.list_my_invitations()") == []
    for arguments in ("%s", "invitation_id => %s"):
        name = made["token"] if arguments == "%s" else made["id"]
        refused(db, f"select public.accept_invitation({arguments})", name, by=psycopg.Error)
    become(db, MALLORY)
    db.execute("select public.accept_invitation(invitation_id => %s)", (made["id"],))
    become_postgres(db)
    assert members(db)[MALLORY] == "member"


def test_erasure_clears_the_former_address_of_the_user(db: Db) -> None:
    made = invite(db, email="mallory@example.com")
    accept(db, MALLORY, made["token"])
    db.execute("update auth.users set email = 'new@example.com' where id = %s", (MALLORY,))
    assert call(db, "erase_user", None, user_id=MALLORY).status == 200
    become_postgres(db)
    assert value(db, "select email from public.workspace_invitations where id = %s", made["id"]) is None


def test_unconfirmed_address_accepts_nothing(db: Db) -> None:
    made = invite(db, email="mallory@example.com")
    db.execute("update auth.users set email_confirmed_at = null where id = %s", (MALLORY,))
    become(db, MALLORY)
    refused(db, "select public.accept_invitation(%s)", made["token"], by=psycopg.Error)


def test_invitation_by_link_needs_its_token(db: Db) -> None:
    made = invite(db)
    become(db, MALLORY)
    refused(db, "select public.accept_invitation(invitation_id => %s)", made["id"], by=psycopg.Error)


def test_expired_invitation_is_not_listed(db: Db) -> None:
    made = invite(db)
    assert [each["id"] for each in call(db, "list_invitations", workspace_id=WORKSPACE).data] == [made["id"]]
    db.execute("update public.workspace_invitations set expires_at = now() where id = %s", (made["id"],))
    assert call(db, "list_invitations", workspace_id=WORKSPACE).data == []


def test_workspace_lists_invitations_to_its_channels_too(db: Db) -> None:
    made = {invite(db)["id"], invite(db, workspace_id=None, channel_id=CHANNEL)["id"]}
    assert {each["id"] for each in call(db, "list_invitations", workspace_id=WORKSPACE).data} == made


def test_guest_is_not_invited_to_a_direct_channel(db: Db) -> None:
    made = "insert into public.channels (kind, workspace_id, created_by) values ('dm', %s, %s) returning id"
    channel_id = value(db, made, WORKSPACE, MATTY)
    become(db, MATTY)
    error = refused(db, "select public.create_invitation(channel_id => %s)", channel_id, by=psycopg.Error)
    assert error.message_detail == "channel_not_found"


def test_departure_revokes_only_the_invitations_of_the_user(db: Db) -> None:
    make_admin(db, BOB)
    theirs, other = invite(db, BOB)["id"], invite(db)["id"]
    db.execute("delete from public.workspace_members where workspace_id = %s and user_id = %s", (WORKSPACE, BOB))
    revoked = "select id::text from public.workspace_invitations where id = any(%s::uuid[]) and revoked_at is not null"
    assert rows(db, revoked, [theirs, other]) == [theirs]


def test_change_of_a_name_keeps_retention(db: Db) -> None:
    call(db, "update_workspace", workspace_id=WORKSPACE, conversation_days=8, channel_days=9)
    changed = call(db, "update_workspace", workspace_id=WORKSPACE, name="x").data
    assert (changed["conversation_days"], changed["channel_days"]) == (8, 9)
    changed = call(db, "update_workspace", workspace_id=WORKSPACE, conversation_days=7).data
    assert (changed["conversation_days"], changed["channel_days"]) == (7, 9)
    assert value(db, "select count(*) from public.audit_log where action = 'workspace.retention_changed'") == 2
    for column in ("conversation_days", "channel_days"):
        for days, status in ((0, 400), (36500, 200), (36501, 400)):
            assert call(db, "update_workspace", workspace_id=WORKSPACE, **{column: days}).status == status


@pytest.mark.parametrize(
    "function",
    [
        *("accept_invitation", "create_invitation", "create_workspace", "delete_workspace", "get_workspace"),
        *(
            "list_conversations",
            "list_invitations",
            "list_my_invitations",
            "list_user_events",
            "list_workspace_members",
        ),
        *("list_workspaces", "mark_read", "open_direct", "remove_workspace_member", "revoke_invitation"),
        *("set_member_role", "update_workspace"),
    ],
)
def test_call_about_oneself_needs_a_user(db: Db, function: str) -> None:
    known = dict.fromkeys(("workspace_id", "channel_id", "member_id", "invitation_id"), WORKSPACE)
    known |= {"name": "x", "role": "admin"}
    assert call(db, function, None, **known).error[:2] == (403, "user_token_required")


@pytest.mark.parametrize(("limit", "has_more"), [(1, True), (2, False)])
def test_full_page_of_workspaces_is_the_last(db: Db, limit: int, has_more: bool) -> None:
    assert call(db, "list_workspaces", limit=limit).meta == {"has_more": has_more}


def test_audit_line_has_both_roles_in_a_channel(db: Db) -> None:
    statement = "update public.channel_members set role = 'admin' where channel_id = %s and user_id = %s"
    for _ in range(2):  # the second one changes nothing
        db.execute(statement, (CHANNEL, BOB))
    details = "select details from public.audit_log where action = 'channel_member.role_changed'"
    assert rows(db, details) == [{"channel_id": CHANNEL, "role": "admin", "old_role": "member"}]


def test_admin_of_a_channel_invites_a_guest(db: Db) -> None:
    db.execute(
        "update public.channel_members set role = 'admin' where (channel_id, user_id) = (%s, %s)", (CHANNEL, BOB)
    )
    accept(db, MALLORY, invite(db, BOB, workspace_id=None, channel_id=CHANNEL)["token"])
    assert channel_roles(db, CHANNEL)[MALLORY] == "member"


def test_each_revocation_has_one_audit_line(db: Db) -> None:
    revoked = invite(db)
    db.execute("update public.workspace_members set role = 'admin' where user_id = %s and role = 'member'", (BOB,))
    ended = invite(db, BOB)
    become(db, MATTY)
    for _ in range(2):
        db.execute("select public.revoke_invitation(%s)", (revoked["id"],))
    become_postgres(db)
    leave = "delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)"
    db.execute(leave, (WORKSPACE, BOB))
    lines = "select subject_id::text, actor_id::text from public.audit_log where action = 'invitation.revoked'"
    assert rows(db, f"{lines} order by at") == [(revoked["id"], MATTY), (ended["id"], None)]


@pytest.mark.parametrize("end", ["revoked", "expired", "inviter left"])
def test_ended_invitation_is_not_found(db: Db, end: str) -> None:
    db.execute(
        "update public.workspace_members set role = 'admin' where user_id = %s and workspace_id <> user_id", (BOB,)
    )
    made = invite(db, BOB)
    if end == "revoked":
        become(db, MATTY)
        db.execute("select public.revoke_invitation(%s)", (made["id"],))
    elif end == "expired":
        db.execute("update public.workspace_invitations set expires_at = now()")
    else:
        db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    become(db, MALLORY)
    assert refused(db, "select public.accept_invitation(%s)", made["token"], by=psycopg.Error).sqlstate == "PT404"


@pytest.mark.parametrize(
    ("who", "fields", "sqlstate"),
    [
        (BOB, {}, "PT404"),
        (MALLORY, {}, "PT404"),
        (MATTY, {"workspace_id": MATTY}, "PT409"),
        (MATTY, {"role": "guest"}, "23514"),
        (MATTY, {"email": "no address"}, "23514"),
        (BOB, {"workspace_id": None, "channel_id": CHANNEL}, "PT404"),
    ],
)
def test_invalid_invitation_is_rejected(db: Db, who: str, fields: dict[str, Any], sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        invite(db, who, **fields)
    assert caught.value.sqlstate == sqlstate


def test_admin_cannot_invite_an_owner(db: Db) -> None:
    db.execute(
        "update public.workspace_members set role = 'admin' where user_id = %s and workspace_id <> user_id", (BOB,)
    )
    with pytest.raises(psycopg.Error) as caught:
        invite(db, BOB, role="owner")
    assert caught.value.sqlstate == "42501"


def test_guest_sees_one_channel_and_nothing_else(db: Db) -> None:
    push(db, new_connection(db), conversation(message("a")))
    become(db, MATTY)
    db.execute("insert into public.channels (workspace_id, name) values (%s, 'secret')", (WORKSPACE,))
    token = invite(db, workspace_id=None, channel_id=CHANNEL)["token"]
    assert accept(db, MALLORY, token) == {"workspace_id": WORKSPACE, "channel_id": CHANNEL, "role": "guest"}
    become(db, MALLORY)
    assert rows(db, "select id::text from public.channels") == [CHANNEL]
    assert rows(db, "select id::text from public.workspaces") == [MALLORY]
    assert rows(db, "select from public.conversations") == []
    assert send(db, who=MALLORY)


def test_user_outside_the_workspace_cannot_be_added(db: Db) -> None:
    become(db, MATTY)
    add = "insert into public.channel_members (channel_id, user_id) values (%s, %s)"
    known, unknown = (refused(db, add, CHANNEL, id_) for id_ in (MALLORY, "00000000-0000-4000-8000-00000000dead"))
    assert known.message_detail == unknown.message_detail == "workspace_member_required"


def test_directory_shows_members_to_members(db: Db) -> None:
    become(db, CAROL)
    find = "select display_name from public.list_workspace_members(%s, %s)"
    assert rows(db, find, WORKSPACE, None) == ["Bob Okafor", "Carol Lindqvist", "Matty Squarzoni"]
    assert rows(db, find, WORKSPACE, "oKa") == ["Bob Okafor"]
    become(db, MALLORY)
    assert rows(db, find, WORKSPACE, None) == []


@pytest.mark.parametrize("way", ["leave", "expulsion", "deletion", "erasure"])
def test_belongings_of_a_departed_member_stay(db: Db, way: str) -> None:
    db.execute(
        "update public.workspace_members set role = 'admin' where user_id = %s and workspace_id <> user_id", (BOB,)
    )
    made = new_connection(db, BOB)
    push(db, made, conversation(message("a")))
    become(db, BOB)
    db.execute("insert into public.people (workspace_id, full_name) values (%s, 'Ann')", (WORKSPACE,))
    own = value(db, "insert into public.channels (workspace_id, name) values (%s, 'bobs') returning id", WORKSPACE)
    leave = "delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)"
    if way in {"leave", "expulsion"}:
        become(db, BOB if way == "leave" else MATTY)
        assert db.execute(leave, (WORKSPACE, BOB)).rowcount == 1
        become_postgres(db)
        assert (seen_by(db, BOB), seen_by(db, BOB, "channel_members")) == (0, 0)
    elif way == "deletion":
        become_postgres(db)
        db.execute("delete from auth.users where id = %s", (BOB,))
    else:
        assert call(db, "erase_user", None, user_id=BOB).status == 200
    become_postgres(db)
    for table in ("messaging_connections", "conversations", "people"):
        owners = rows(db, f"select user_id::text from public.{table} where workspace_id = %s", WORKSPACE)
        assert owners == [MATTY], table
    if way != "erasure":
        assert rows(db, "select user_id::text, role from public.channel_members where channel_id = %s", own) == [
            (MATTY, "owner")
        ]
    assert push(db, made, conversation(message("a"), message("b")))[0]["status"] == "updated"
    assert BOB not in members(db)


def test_heir_with_the_same_conversation_keeps_both(db: Db) -> None:
    db.execute(
        "update public.workspace_members set role = 'admin' where user_id = %s and workspace_id <> user_id", (BOB,)
    )
    for who, name in ((BOB, "bobs"), (MATTY, "mattys")):
        push(db, new_connection(db, who, name=name), conversation(message(name)))
    db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    assert rows(db, "select user_id::text, message_count from public.conversations") == [(MATTY, 1)] * 2


def test_team_outlives_its_only_owner(db: Db) -> None:
    push(db, new_connection(db), conversation(message("a")))
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert set(members(db).values()) == {"owner", "member"}
    assert (seen_by(db, BOB), seen_by(db, MALLORY)) == (1, 0)
    assert rows(db, "select from public.workspaces where id = %s", MATTY) == []


def test_admin_inherits_a_team_before_a_member(db: Db) -> None:
    make_admin(db, CAROL)
    db.execute("delete from auth.users where id = %s", (MATTY,))
    assert members(db) == {BOB: "member", CAROL: "owner"}


def test_team_without_other_members_goes_with_its_user(db: Db) -> None:
    become(db, MALLORY)
    made = value(db, "select public.create_workspace('Acme')")
    become_postgres(db)
    db.execute("delete from auth.users where id = %s", (MALLORY,))
    assert rows(db, "select from public.workspaces where id = %s", made["id"]) == []


def test_channel_with_guests_outlives_a_personal_workspace(db: Db) -> None:
    become(db, MALLORY)
    own = value(db, "insert into public.channels (name) values ('mine') returning id::text")
    accept(db, BOB, invite(db, MALLORY, workspace_id=None, channel_id=own)["token"])
    said = send(db, "stays", who=BOB, channel_id=own)
    db.execute("delete from auth.users where id = %s", (MALLORY,))
    assert call(db, "get_message", BOB, id=said).data["content"] == "stays"
    assert rows(db, "select workspace_id::text from public.channels where id = %s", own) == [BOB]
    assert set(
        rows(db, "select distinct workspace_id::text from public.message_events where channel_id = %s", own)
    ) == {BOB}


def guest_channel(db: Db, *guests: str) -> str:
    """Make a channel of the team with these guests; its maker Matty then leaves it to the first of them."""
    become(db, MATTY)
    channel = value(
        db, "insert into public.channels (workspace_id, name) values (%s, 'open') returning id::text", WORKSPACE
    )
    become_postgres(db)
    for guest in guests:
        accept(db, guest, invite(db, workspace_id=None, channel_id=channel)["token"])
    become(db, MATTY)
    promote = "update public.channel_members set role = 'owner' where (channel_id, user_id) = (%s, %s)"
    db.execute(promote, (channel, guests[0]))
    db.execute("delete from public.channel_members where (channel_id, user_id) = (%s, %s)", (channel, MATTY))
    become_postgres(db)
    return channel


def owners(db: Db, channel: str) -> list[str]:
    return rows(
        db, "select user_id::text from public.channel_members where channel_id = %s and role = 'owner'", channel
    )


def new_user(db: Db) -> str:
    return value(
        db,
        "insert into auth.users (id, email, aud, role) values (gen_random_uuid(), gen_random_uuid() || '@x.example',"
        " 'authenticated', 'authenticated') returning id::text",
    )


def test_channel_of_a_deleted_guest_gets_an_owner(db: Db) -> None:
    guest, other = new_user(db), new_user(db)
    channel = guest_channel(db, guest, other)
    db.execute("delete from auth.users where id = %s", (guest,))
    assert owners(db, channel) == [MATTY]


def test_users_deleted_together_leave_no_channel_ownerless(db: Db) -> None:
    guest, other = new_user(db), new_user(db)
    channel = guest_channel(db, guest, other)
    # Postgres checks these foreign keys again only because the rows are of this transaction.
    db.execute("update public.channels set created_by = null where id = %s", (channel,))
    db.execute("update public.workspace_invitations set invited_by = null, accepted_by = null")
    db.execute("delete from auth.users where id = any(%s)", ([MATTY, BOB, CAROL, guest],))
    assert owners(db, channel) == [other]


def test_owners_read_exports_and_erasures_in_the_audit_log(db: Db) -> None:
    (result,) = push(db, new_connection(db), conversation(message("a")))
    call(db, "export_conversation", BOB, conversation_id=result["conversation_id"])
    call(db, "export_channel", CAROL, channel_id=CHANNEL)
    become(db, MATTY)
    lines = rows(db, "select action, actor_id::text from public.audit_log order by at desc limit 2")
    assert lines == [("channel.exported", CAROL), ("conversation.exported", BOB)]


def exports(db: Db) -> int:
    return value(db, "select count(*) from public.audit_log where action like '%%.exported'")


@pytest.mark.parametrize("distance", [-1, 0, 1])
def test_export_from_any_cursor_leaves_an_audit_line(db: Db, distance: int) -> None:
    (result,) = push(db, new_connection(db), conversation(message("a"), message("b")))
    first = value(db, "select min(seq) from public.messages where channel_id = %s", CHANNEL)
    before = exports(db)
    call(db, "export_channel", CAROL, channel_id=CHANNEL, after=f"seq_{first + distance}")
    assert exports(db) == before + 1
    call(db, "export_conversation", BOB, conversation_id=result["conversation_id"], after="a")
    assert exports(db) == before + 2


def test_pages_of_one_export_share_an_audit_line(db: Db) -> None:
    (result,) = push(db, new_connection(db), conversation(*(message(str(n)) for n in range(4))))
    before, after = exports(db), {}
    for _ in range(3):
        page = call(db, "export_conversation", BOB, conversation_id=result["conversation_id"], limit=1, **after)
        after = {"after": page.body["meta"]["next_cursor"]}
    assert exports(db) == before + 1
    call(db, "export_conversation", BOB, conversation_id=result["conversation_id"])
    assert exports(db) == before + 2  # a second export
    call(db, "export_conversation", MATTY, conversation_id=result["conversation_id"], **after)
    assert exports(db) == before + 3  # another user
    (other,) = push(db, new_connection(db, name="other"), conversation(message("0"), external_id="other"))
    call(db, "export_conversation", BOB, conversation_id=other["conversation_id"], after="0")
    assert exports(db) == before + 4  # another conversation
    db.execute("update public.audit_log set at = at - interval '61 minutes'")
    call(db, "export_conversation", BOB, conversation_id=result["conversation_id"], **after)
    assert exports(db) == before + 5  # another hour
    pages = [call(db, "export_conversation", conversation_id=result["conversation_id"], limit=most) for most in (4, 5)]
    assert [page.meta["next_cursor"] for page in pages] == ["3", None]


def test_stranger_records_no_export(db: Db) -> None:
    (result,) = push(db, new_connection(db), conversation(message("a")))
    before = exports(db)
    for who, lines in ((MALLORY, 0), (BOB, 2)):
        become(db, who)
        db.execute("select private.record_export(%s, %s, false)", (result["conversation_id"], CHANNEL))
        become_postgres(db)
        assert exports(db) == before + lines


def test_admin_who_expels_over_http_hands_over(db: Db) -> None:
    make_admin(db, CAROL)
    become(db, BOB)
    channel = value(
        db, "insert into public.channels (workspace_id, name) values (%s, 'own') returning id::text", WORKSPACE
    )
    become_postgres(db)
    assert call(db, "remove_workspace_member", CAROL, workspace_id=WORKSPACE, member_id=BOB).status == 200
    become_postgres(db)
    assert owners(db, channel) == [MATTY]


def test_member_cannot_erase_a_person(db: Db) -> None:
    become(db, MATTY)
    person = value(
        db, "insert into public.people (workspace_id, full_name) values (%s, 'Ann') returning id::text", WORKSPACE
    )
    assert call(db, "erase_person", BOB, person_id=person).error[0] == 404
    assert call(db, "erase_person", MATTY, person_id=person).status == 200
    assert actions(db)[-1] == "person.erased"


def test_topic_of_a_workspace_carries_no_text_after_a_departure(db: Db) -> None:
    made = new_connection(db)
    topic = f"workspace:{WORKSPACE}"
    payloads = "select payload from realtime.messages where topic = %s order by inserted_at, id"
    push(db, made, conversation(message("m1")))
    assert len(rows(db, payloads, topic)[-1]["messages"]) == 1
    db.execute("delete from public.workspace_members where workspace_id = %s and user_id = %s", (WORKSPACE, CAROL))
    db.execute("delete from realtime.messages")
    edit = {"message_id": "m1", "type": "edited", "at": "2099-01-01T00:00:00Z", "content": "x"}
    push(db, made, conversation(message("m2"), updates=[edit]), conversation(external_id="empty"))
    pointers = rows(db, payloads, topic)
    assert len(pointers) >= 3
    assert all(set(each) == {"truncated", "conversation_id"} for each in pointers)
    db.execute("update private.workspace_seals set sealed_until = now()")
    push(db, made, conversation(message("m3")))
    assert any(each.get("messages") for each in rows(db, payloads, topic))


def test_each_departure_seals_its_workspace_for_a_token(db: Db) -> None:
    other = call(db, "create_workspace", name="Other").data["id"]
    made = new_connection(db, workspace_id=other)
    db.execute("update private.settings set token_seconds = 600")
    for who in (BOB, CAROL):
        db.execute("delete from public.workspace_members where workspace_id = %s and user_id = %s", (WORKSPACE, who))
        ((place, ends),) = rows(
            db, "select workspace_id::text, sealed_until - clock_timestamp() from private.workspace_seals"
        )
        assert (place, 590 < ends.total_seconds() <= 600) == (WORKSPACE, True)
        db.execute("update private.workspace_seals set sealed_until = now() + interval '1 minute'")
    push(db, made, conversation(message("m1")))
    (sent,) = rows(db, "select payload from realtime.messages where topic = %s", f"workspace:{other}")
    assert len(sent["messages"]) == 1


def test_retention_keeps_a_new_message_with_the_id_of_an_old_one(db: Db) -> None:
    made = new_connection(db)
    now = value(db, 'select to_char(now(), \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')')
    said = (message("1", sender="+1", sent_at="2020-01-01T00:00:00Z"), message("1", sender="+2", sent_at=now))
    push(db, made, conversation(*said, participant_identifier="120363@g.us", kind="group"))
    named = "conversation_id, workspace_id, external_id, sender"
    db.execute(
        f"insert into private.conversation_media (path, {named})"
        f" select sender, {named} from public.conversation_messages"
    )
    db.execute("update public.workspaces set conversation_days = 30 where id = %s", (WORKSPACE,))
    db.execute("select private.clean_up()")
    assert rows(db, "select sender from public.conversation_messages") == ["+2"]
    assert rows(db, "select path from private.conversation_media") == ["+2"]


def test_retention_deletes_old_messages_only(db: Db) -> None:
    old = message("old", sent_at="2020-01-01T00:00:00Z")
    new = message("new", sent_at=value(db, 'select to_char(now(), \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')'))
    made = new_connection(db)
    push(db, made, conversation(old, new), conversation(old, external_id="over"))
    ingest(db, conversation(old), connection=WHATSAPP)
    db.execute("update public.conversations set created_at = now() - interval '1 year'")
    said = send(db)
    become(db, MATTY)
    db.execute("update public.workspaces set conversation_days = 30, channel_days = 30 where id = %s", (WORKSPACE,))
    become_postgres(db)
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = now() - interval '31 days' where id <> %s", (said,))
    db.execute("alter table public.messages enable trigger user")
    before = value(db, "select count(*) from public.messages")
    removed = value(db, "select private.clean_up()")
    assert (removed["conversation_messages"], removed["messages"]) == (2, before - 1)
    kept = rows(db, "select workspace_id::text, external_id from public.conversation_messages order by 2")
    assert kept == [(WORKSPACE, "new"), (MATTY, "old")]
    assert value(db, "select count(*) from public.conversations where workspace_id = %s", WORKSPACE) == 1
    assert rows(db, "select id::text from public.messages") == [said]
    assert actions(db)[-1] == "workspace.retention_changed"
    assert json.dumps(value(db, "select private.clean_up()")).count('"messages": 0') == 1


@pytest.mark.parametrize("days", [0, 36501, 2147483647])
@pytest.mark.parametrize("column", ["conversation_days", "channel_days"])
def test_retention_out_of_range_is_rejected(db: Db, column: str, days: int) -> None:
    become(db, MATTY)
    keep = f"update public.workspaces set {column} = %s where id = %s"
    assert refused(db, keep, days, WORKSPACE, by=psycopg.Error).sqlstate == "23514"
    db.execute(keep, (36500, WORKSPACE))
    become_postgres(db)
    assert value(db, "select private.clean_up()")["messages"] == 0


def age_messages(db: Db, who: str, count: int) -> None:
    """Give the personal workspace of a user a retention, and a channel with messages that it no longer keeps."""
    become(db, who)
    own = value(db, "insert into public.channels (name) values ('own') returning id::text")
    for number in range(count):
        db.execute("insert into public.messages (channel_id, content) values (%s, %s)", (own, str(number)))
    db.execute("update public.workspaces set channel_days = 30 where id = %s", (who,))
    become_postgres(db)
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = now() - interval '31 days' where channel_id = %s", (own,))
    db.execute("alter table public.messages enable trigger user")


def kept_messages(db: Db) -> list[int]:
    count = "select count(*) from public.messages where workspace_id = %s"
    return [value(db, count, who) for who in (MATTY, BOB)]


def test_retention_that_fails_does_not_stop_others(db: Db) -> None:
    for who in (MATTY, BOB):
        age_messages(db, who, 2)
    db.execute(
        "create function public.fail() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        "create trigger a before delete on public.messages for each row"
        f" when (old.workspace_id = '{MATTY}') execute function public.fail()"
    )
    assert value(db, "select private.clean_up()")["messages"] == 2
    assert kept_messages(db) == [2, 0]
    db.execute("drop trigger a on public.messages")
    assert value(db, "select private.clean_up()")["messages"] == 2


def test_each_workspace_gets_its_share_of_a_round(db: Db) -> None:
    for who in (MATTY, BOB):
        age_messages(db, who, 6)
    assert value(db, "select private.clean_up(40)")["messages"] == 4
    assert kept_messages(db) == [4, 4]
    value(db, "select private.clean_up(10)")
    assert kept_messages(db) == [3, 4]
    visited = "update private.retention_rounds set visited_at = now() + interval '1 second' where workspace_id = %s"
    db.execute(visited, (MATTY,))
    value(db, "select private.clean_up(10)")
    assert kept_messages(db) == [3, 3]
    waited = "update private.retention_rounds set visited_at = now() - %s * interval '1 day' where workspace_id = %s"
    for days, who in ((1, MATTY), (2, BOB)):
        db.execute(waited, (days, who))
    for left in ([3, 2], [2, 2]):
        value(db, "select private.clean_up(10)")
        assert kept_messages(db) == left


def test_workspace_that_was_never_visited_is_the_first(db: Db) -> None:
    visited = "insert into private.retention_rounds (workspace_id, visited_at) values (%s, now() - interval '9 days')"
    db.execute(visited, (MATTY,))
    for who in (MATTY, BOB):
        age_messages(db, who, 2)
    value(db, "select private.clean_up(10)")
    assert kept_messages(db) == [2, 1]


def test_new_conversation_outlives_its_old_messages(db: Db) -> None:
    push(db, new_connection(db), conversation(message("old", sent_at="2020-01-01T00:00:00Z")))
    db.execute("update public.workspaces set conversation_days = 30 where id = %s", (WORKSPACE,))
    assert value(db, "select private.clean_up()")["conversation_messages"] == 1
    assert seen_by(db, BOB) == 1


def test_held_channel_does_not_stop_clean_up(db: Db, admin_url: str) -> None:
    age_messages(db, BOB, 1)
    become(db, MATTY)
    db.execute("update public.workspaces set channel_days = 30 where id = %s", (WORKSPACE,))
    become_postgres(db)
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = now() - interval '31 days'")
    db.execute("alter table public.messages enable trigger user")
    db.execute("set local lock_timeout = '5s'")
    with psycopg.connect(admin_url) as other:
        other.execute("select from private.channel_counters where channel_id = %s for update", (CHANNEL,))
        assert value(db, "select private.clean_up()")["messages"] == 1
        other.rollback()


@pytest.mark.parametrize("right", ["manage the workspace", "make owners", "manage the channel"])
def test_invitation_ends_with_the_right_to_make_it(db: Db, right: str) -> None:
    set_role = "update public.workspace_members set role = %s where (workspace_id, user_id) = (%s, %s)"
    set_channel_role = "update public.channel_members set role = %s where (channel_id, user_id) = (%s, %s)"
    address = {"email": "mallory@example.com"}
    if right == "manage the channel":
        db.execute(set_channel_role, ("admin", CHANNEL, BOB))
        made = invite(db, BOB, workspace_id=None, channel_id=CHANNEL, **address)
        db.execute(set_channel_role, ("member", CHANNEL, BOB))
    else:
        role, left = ("owner", "admin") if right == "make owners" else ("admin", "member")
        db.execute(set_role, (role, WORKSPACE, BOB))
        made = invite(db, BOB, role=role, **address)
        db.execute(set_role, (left, WORKSPACE, BOB))
    become(db, MALLORY)
    assert rows(db, "select from public.list_my_invitations()") == []
    assert refused(db, "select public.accept_invitation(%s)", made["token"], by=psycopg.Error).sqlstate == "PT404"


@pytest.mark.parametrize(
    "valid_for", ["59 seconds", "30 days 1 second", "1200000 mons -35999999 days", "12 mons -334 days", None]
)
def test_validity_out_of_range_is_rejected(db: Db, valid_for: str | None) -> None:
    with pytest.raises(psycopg.Error) as caught:
        invite(db, valid_for=valid_for)
    assert (caught.value.sqlstate, caught.value.diag.message_detail) == ("PT400", "invalid_field")


def depart(db: Db, way: str, who: str) -> None:
    """Let a user leave the team in one of four ways."""
    if way == "erasure":
        assert call(db, "erase_user", None, user_id=who).status == 200
    elif way == "deletion":
        db.execute("delete from auth.users where id = %s", (who,))
    else:
        become(db, who if way == "leave" else MATTY)
        db.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, who))
    become_postgres(db)


def new_channel(db: Db, *others: str, kind: str = "channel") -> str:
    """Create a channel of Bob in the workspace and add others to it."""
    make = "insert into public.channels (workspace_id, name, kind, created_by) values (%s, 'bobs', %s, %s) returning id"
    made = value(db, make, WORKSPACE, kind, BOB)
    for who in others:
        db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (made, who))
    return made


def channel_roles(db: Db, channel_id: str) -> dict[str, str]:
    return dict(rows(db, "select user_id::text, role from public.channel_members where channel_id = %s", channel_id))


WAYS = ["leave", "expulsion", "deletion", "erasure"]


@pytest.mark.parametrize("way", WAYS)
def test_guest_does_not_inherit_the_channel_of_a_team(db: Db, way: str) -> None:
    made = new_channel(db, MALLORY)
    depart(db, way, BOB)
    assert channel_roles(db, made) == {MALLORY: "member", MATTY: "owner"}


@pytest.mark.parametrize("way", WAYS)
def test_member_inherits_before_a_guest_and_the_heir(db: Db, way: str) -> None:
    made = new_channel(db, MALLORY, CAROL)
    db.execute(
        "update public.channel_members set role = 'admin' where (channel_id, user_id) = (%s, %s)", (made, MALLORY)
    )
    depart(db, way, BOB)
    assert channel_roles(db, made) == {MALLORY: "admin", CAROL: "owner"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("member", "admin"), [(MATTY, CAROL), (CAROL, MATTY)])
def test_admin_of_a_channel_inherits_before_a_member(db: Db, way: str, member: str, admin: str) -> None:
    made = new_channel(db, CAROL, MATTY)
    statement = (
        "update public.channel_members set role = %s, created_at = now() + %s * interval '1 s' where user_id = %s"
    )
    for place, (role, user_id) in enumerate((("member", member), ("admin", admin))):
        db.execute(f"{statement} and channel_id = %s", (role, place, user_id, made))
    depart(db, way, BOB)
    assert channel_roles(db, made) == {member: "member", admin: "owner"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("others", [[], [CAROL], [MALLORY]], ids=["alone", "member", "guest"])
def test_heir_does_not_inherit_a_direct_channel(db: Db, way: str, others: list[str]) -> None:
    made = new_channel(db, *others, kind="dm")
    depart(db, way, BOB)
    assert set(channel_roles(db, made)) == set(others)


@pytest.mark.parametrize("way", ["deletion", "erasure"])
def test_guest_inherits_the_channel_of_the_last_member(db: Db, way: str) -> None:
    become(db, MALLORY)
    team = value(db, "select public.create_workspace('Acme')")["id"]
    own = value(db, "insert into public.channels (workspace_id, name) values (%s, 'own') returning id::text", team)
    accept(db, BOB, invite(db, MALLORY, workspace_id=None, channel_id=own)["token"])
    depart(db, way, MALLORY)
    assert rows(db, "select workspace_id::text from public.channels where id = %s", own) == [BOB]
    assert owners(db, own) == [BOB]
    assert rows(db, "select from public.workspaces where id = %s", team) == []
