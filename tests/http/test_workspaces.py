"""Workspaces, members, invitations and a user's own side of channels over HTTP, as each kind of user."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.cluster import TestCluster
from tests.support.database import rows
from tests.support.sessions import session
from tests.support.team import Running, running_service
from tests.support.tokens import bearer, sign, token
from tests.support.world import UNKNOWN_ID

API = "/api/v2"
SERVICE = sign({"role": "service_role", "exp": 4_000_000_000})
CALLERS = ["owner", "admin", "member", "guest", "former", "rival", "anon", "service"]

# "guest" is a member of one channel only, "former" has left, "rival" owns another workspace.
MATRIX = """
                                                owner admin member guest former rival anon service
GET /workspaces                                 200   200   200    200   200    200   401  403
POST /workspaces name=Acme                      201   201   201    201   201    201   401  403
GET /workspaces/{team}                          200   200   200    404   404    404   401  403
PATCH /workspaces/{team} name=x                 200   200   403    404   404    404   401  403
PATCH /workspaces/{team} channel_days=9         200   403   403    404   404    404   401  403
DELETE /workspaces/{team}                       200   403   403    404   404    404   401  403
DELETE /workspaces/{me}                         409   409   409    409   409    409   401  403
GET /workspaces/{team}/members                  200   200   200    404   404    404   401  403
PUT /workspaces/{team}/members/{member} role=admin 200 200  403    404   404    404   401  403
PUT /workspaces/{team}/members/{member} role=owner 200 403  403    404   404    404   401  403
PUT /workspaces/{team}/members/{owner} role=member 409 403  403    404   404    404   401  403
PUT /workspaces/{team}/members/{rival} role=member 404 404  403    404   404    404   401  403
DELETE /workspaces/{team}/members/{member}      200   200   200    404   404    404   401  403
DELETE /workspaces/{team}/members/{owner}       409   403   403    404   404    404   401  403
DELETE /workspaces/{team}/members/{me}          409   200   200    404   404    404   401  403
GET /workspaces/{team}/invitations              200   200   403    404   404    404   401  403
POST /workspaces/{team}/invitations role=member 201   201   403    404   404    404   401  403
POST /workspaces/{team}/invitations role=owner  201   403   403    404   404    404   401  403
POST /workspaces/{me}/invitations               409   409   409    409   409    409   401  403
GET /channels/{channel}/invitations             200   404   404    404   404    404   401  403
POST /channels/{channel}/invitations            201   404   404    404   404    404   401  403
DELETE /invitations/{invitation}                200   200   404    404   404    404   401  403
GET /invitations                                200   200   200    200   200    200   401  403
POST /invitations/accept token={token}          200   200   200    200   200    200   401  403
POST /invitations/accept invitation_id={addressed} 404 404  404    404   404    200   401  403
POST /invitations/accept token=wrong            404   404   404    404   404    404   401  403
PUT /channels/{channel}/read seq=1              200   404   404    200   404    404   401  403
POST /channels/direct user_ids={member}         200   200   200    403   403    403   401  403
GET /conversations                              200   200   200    200   200    200   401  403
GET /events                                     200   200   200    200   200    200   401  403
"""
WORLD = """
with made as (insert into public.workspaces (name) values ('team') returning id)
insert into public.workspace_members (workspace_id, user_id, role)
select made.id, user_id::uuid, role from made
cross join (values (%(owner)s, 'owner'), (%(admin)s, 'admin'), (%(member)s, 'member'), (%(former)s, 'member'))
    as people (user_id, role)
returning workspace_id::text
"""


@dataclass(frozen=True)
class World:
    """A team, with the id of everything in it."""

    client: httpx.Client
    ids: dict[str, str]

    def send(self, caller: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request as one of the callers."""
        headers = {} if caller == "anon" else bearer(SERVICE if caller == "service" else token(self.ids[caller]))
        options = {} if body is None else {"json": body}
        return self.client.request(method, API + path, headers=headers, **options)


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without a limit of requests; afterwards its log must hold no failure."""
    with running_service(cluster, template, tmp_path_factory.mktemp("workspaces") / "log") as running:
        yield running
        assert running.service.failures == []


@pytest.fixture
def world(running: Running) -> World:
    """A new team, whose owner has invited the rival by address."""
    return create_world(running)


def create_world(running: Running) -> World:
    """Make the team."""
    with session(running.database_url) as db:
        statement = (
            "insert into auth.users (id, email, aud, role, email_confirmed_at) values (gen_random_uuid(), %s,"
            " 'authenticated', 'authenticated', now()) returning id::text"
        )
        tag = secrets.token_hex(6)
        ids = {name: rows(db, statement, f"{name}_{tag}@example.com")[0] for name in CALLERS[:6]}
        ids["team"] = db.execute(WORLD, ids).fetchall()[0][0]
        db.execute(
            "delete from public.workspace_members where user_id = %s and workspace_id = %s",
            (ids["former"], ids["team"]),
        )
        channel = "insert into public.channels (workspace_id, name, created_by) values (%s, 'c', %s) returning id::text"
        [ids["channel"]] = rows(db, channel, ids["team"], ids["owner"])
        db.execute(
            "insert into public.channel_members (channel_id, user_id) values (%s, %s)", (ids["channel"], ids["guest"])
        )
    world = World(running.client, ids)
    path = f"/workspaces/{ids['team']}/invitations"
    link = world.send("owner", "POST", path, {}).json()["data"]
    addressed = world.send("owner", "POST", path, {"email": f"rival_{tag}@example.com"}).json()["data"]
    ids |= {"invitation": link["id"], "token": link["token"], "addressed": addressed["id"]}
    return world


def matrix() -> Iterator[Any]:
    """Yield each line: the request and the statuses."""
    for line in MATRIX.strip().splitlines()[1:]:
        *request, statuses = *line.split()[:-8], [int(each) for each in line.split()[-8:]]
        yield pytest.param(request, statuses, id=" ".join(request).replace("workspaces", "ws")[:60])


@pytest.mark.parametrize(("request_", "statuses"), list(matrix()))
def test_each_caller_gets_the_status_of_the_matrix(running: Running, request_: list[str], statuses: list[int]) -> None:
    method, path, *fields = request_
    got: list[int] = []
    world = create_world(running)
    for caller in CALLERS:
        if got and got[-1] < 300 and method != "GET":
            world = create_world(running)
        names = world.ids | {"me": world.ids.get(caller, UNKNOWN_ID)}
        body: dict[str, Any] = dict(field.format(**names).split("=") for field in fields)
        if "user_ids" in body:
            body["user_ids"] = [body["user_ids"]]
        got.append(world.send(caller, method, path.format(**names), body if method != "GET" else None).status_code)
    assert got == statuses


def error(reply: httpx.Response) -> tuple[int, str, str | None]:
    return reply.status_code, reply.json()["error"]["code"], reply.json()["error"].get("field")


def test_workspace_is_made_changed_and_deleted(world: World) -> None:
    made = world.send("rival", "POST", "/workspaces", {"name": "Acme", "home_country": "DE", "language": "de"}).json()
    path = f"/workspaces/{made['data']['id']}"
    assert made["data"] == world.send("rival", "GET", path).json()["data"]
    assert (made["data"]["role"], made["data"]["is_personal"]) == ("owner", False)
    change = {"name": "Acme 2", "language": None, "conversation_days": 30}
    changed = world.send("rival", "PATCH", path, change).json()["data"]
    assert changed == made["data"] | change
    assert world.send("rival", "PATCH", path, {"conversation_days": None}).json()["data"]["conversation_days"] is None
    names = [each["name"] for each in world.send("rival", "GET", "/workspaces").json()["data"]]
    assert names == ["Personal", "Acme 2"]
    assert world.send("rival", "DELETE", path).json()["data"] == {"id": made["data"]["id"]}
    assert error(world.send("rival", "GET", path)) == (404, "workspace_not_found", "workspace_id")


def test_pages_of_workspaces_and_members_meet(world: World) -> None:
    for number in range(3):
        world.send("owner", "POST", "/workspaces", {"name": f"w{number}"})
    for path in ("/workspaces", f"/workspaces/{world.ids['team']}/members"):
        whole = world.send("owner", "GET", path).json()
        pages = [world.send("owner", "GET", f"{path}?limit=2&offset={skip}").json() for skip in (0, 2, 4)]
        assert [each for page in pages for each in page["data"]] == whole["data"]
        assert pages[0]["meta"] == {"has_more": True}
        assert pages[2]["meta"] == {"has_more": False}


def test_member_is_found_by_name(world: World) -> None:
    path = f"/workspaces/{world.ids['team']}/members?search=ADMIN_"
    assert [each["role"] for each in world.send("member", "GET", path).json()["data"]] == ["admin"]


def test_invitation_is_listed_accepted_and_used_once(world: World) -> None:
    path = f"/workspaces/{world.ids['team']}/invitations"
    listed = world.send("admin", "GET", path).json()["data"]
    assert {each["id"] for each in listed} == {world.ids["invitation"], world.ids["addressed"]}
    assert all("token" not in each for each in listed)
    [mine] = world.send("rival", "GET", "/invitations").json()["data"]
    assert (mine["id"], mine["workspace_name"]) == (world.ids["addressed"], "team")
    joined = world.send("rival", "POST", "/invitations/accept", {"invitation_id": mine["id"]}).json()["data"]
    assert joined == {"workspace_id": world.ids["team"], "channel_id": None, "role": "member"}
    assert world.send("rival", "GET", "/invitations").json()["data"] == []
    revoked = world.send("owner", "DELETE", f"/invitations/{world.ids['addressed']}")
    assert error(revoked) == (404, "invitation_not_found", "invitation_id")


def test_guest_joins_one_channel(world: World) -> None:
    made = world.send("owner", "POST", f"/channels/{world.ids['channel']}/invitations", {"valid_for": "1 day"})
    assert made.json()["data"]["role"] == "guest"
    listed = world.send("owner", "GET", f"/channels/{world.ids['channel']}/invitations").json()["data"]
    assert [each["id"] for each in listed] == [made.json()["data"]["id"]]
    world.send("former", "POST", "/invitations/accept", {"token": made.json()["data"]["token"]})
    channels = world.send("former", "GET", "/channels").json()["data"]
    assert [each["id"] for each in channels] == [world.ids["channel"]]


def test_marker_and_direct_channel_are_events(world: World) -> None:
    path = f"/channels/{world.ids['channel']}/read"
    sent = world.send("owner", "POST", "/messages", {"channel_id": world.ids["channel"], "content": "x"})
    assert sent.status_code == 201
    read = world.send("guest", "PUT", path, {"seq": 99}).json()["data"]
    assert read == {"channel_id": world.ids["channel"], "read_seq": 3}
    opened = [
        world.send(one, "POST", "/channels/direct", {"user_ids": [world.ids[other]]}).json()["data"]
        for one, other in (("owner", "member"), ("member", "owner"))
    ]
    assert opened[0] == opened[1]
    assert opened[0]["kind"] == "dm"
    events = world.send("guest", "GET", "/events?since=0&limit=1").json()
    assert [each["event"] for each in events["data"]] == ["channel.joined"]
    assert events["meta"] == {"last_seq": 1, "has_more": True, "is_incomplete": False}
    later = world.send("guest", "GET", f"/events?since={events['meta']['last_seq']}").json()["data"]
    assert later[0]["event"] == "channel.read"


TEAM = "/workspaces/{team}"
INVITE = f"{TEAM}/invitations"
WRONG = {
    "no name": ("POST", "/workspaces", {}, (400, "missing_field", "name")),
    "long name": ("POST", "/workspaces", {"name": "x" * 201}, (400, "invalid_field", "name")),
    "hidden name": ("POST", "/workspaces", {"name": "a\u202eb"}, (400, "workspaces_name_printable", None)),
    "country": ("POST", "/workspaces", {"name": "x", "home_country": "de"},
                (400, "workspaces_home_country_form", None)),
    "days": ("PATCH", TEAM, {"channel_days": 0}, (400, "invalid_field", "channel_days")),
    "id": ("GET", "/workspaces/x", None, (400, "invalid_field", "workspace_id")),
    "role": ("PUT", TEAM + "/members/{member}", {"role": "king"}, (400, "invalid_field", "role")),
    "no such member": ("PUT", TEAM + "/members/{rival}", {"role": "admin"}, (404, "member_not_found", "member_id")),
    "last owner": ("DELETE", TEAM + "/members/{owner}", None, (409, "last_owner", None)),
    "address": ("POST", INVITE, {"email": "x"}, (400, "workspace_invitations_email_form", None)),
    "short time": ("POST", INVITE, {"valid_for": "1 s"}, (400, "invalid_field", "valid_for")),
    "no time": ("POST", INVITE, {"valid_for": "x"}, (400, "invalid_value", None)),
    "guest role": ("POST", INVITE, {"role": "guest"}, (400, "invalid_field", "role")),
    "no token": ("POST", "/invitations/accept", {}, (400, "missing_field", "token")),
    "no seq": ("PUT", "/channels/{channel}/read", {}, (400, "missing_field", "seq")),
    "negative seq": ("PUT", "/channels/{channel}/read", {"seq": -1}, (400, "invalid_field", "seq")),
    "ten people": ("POST", "/channels/direct", {"user_ids": [UNKNOWN_ID] * 10}, (400, "invalid_field", "user_ids")),
    "non-member": ("POST", "/channels/direct", {"user_ids": ["{rival}"]}, (403, "workspace_member_required", None)),
    "since": ("GET", "/events?since=x", None, (400, "invalid_field", "since")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_names_its_error(world: World, name: str) -> None:
    method, path, body, expected = WRONG[name]
    if body and "user_ids" in body:
        body = {"user_ids": [each.format(**world.ids) for each in body["user_ids"]]}
    assert error(world.send("owner", method, path.format(**world.ids), body)) == expected


def test_admin_gets_the_code_of_an_owners_right(world: World) -> None:
    path = f"/workspaces/{world.ids['team']}"
    assert error(world.send("admin", "PATCH", path, {"channel_days": 9}))[:2] == (403, "owner_required")
    assert error(world.send("admin", "POST", f"{path}/invitations", {"role": "owner"}))[:2] == (403, "owner_required")
