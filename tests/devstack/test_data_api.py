"""/rest/v1: callers, forwarding, and the PostgREST behind it."""

import html
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase.lib.client_options import SyncClientOptions
from threadline_devstack import postgrest

from supabase import Client, create_client
from tests.support import tools
from tests.support.stack import RunningStack, survivors

if tools.postgrest() is None:
    pytest.skip(tools.why_not("postgrest"), allow_module_level=True)

SEEDED = ["Alice Smith", "Chen Wei", "Ines Duarte", "John Doe"]


@pytest.fixture(scope="module")
def only_stack() -> Iterator[RunningStack]:
    with RunningStack(environment={"THREADLINE_POSTGREST": str(tools.postgrest())}) as running:
        yield running


@pytest.fixture
def stack(only_stack: RunningStack) -> RunningStack:
    """A stack with a Data API. A test may end it; the next test starts it again."""
    if only_stack.process.poll() is not None:
        only_stack.start()
    return only_stack


@pytest.fixture(scope="module")
def keys(only_stack: RunningStack) -> dict[str, str]:
    """What `threadline status` says."""
    return only_stack.keys


@pytest.fixture(scope="module")
def owner(only_stack: RunningStack) -> str:
    """A token of the user who owns the people of the seed."""
    return only_stack.token("matty@example.com")


@pytest.fixture(scope="module")
def stranger(only_stack: RunningStack) -> str:
    """A token of a user who owns nothing."""
    return only_stack.token("mallory@example.com")


@pytest.fixture
def rest(stack: RunningStack) -> Iterator[httpx.Client]:
    """An HTTP client for the Data API, without a key."""
    with httpx.Client(base_url=f"{stack.api_url}/rest/v1", timeout=60) as client:
        yield client


# `threadline` on a machine that could not fetch PostgREST.
WITHOUT_FETCHED = """
from pathlib import Path
from threadline_devstack import postgrest
postgrest.FETCHED = Path("/nowhere")
from threadline.__main__ import main
main()
"""


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return sorted(person["full_name"] for person in answer.json())


def postgrest_of(stack: RunningStack) -> psutil.Process:
    found = []
    for child in stack.children():
        with suppress(psutil.NoSuchProcess):  # Postgres starts and ends processes all the time
            found += [child] if child.name() == "postgrest" else []
    [process] = found
    return process


def test_token_selects_its_user(keys: dict[str, str], owner: str, stranger: str, rest: httpx.Client) -> None:
    for token, people in ((owner, SEEDED), (stranger, [])):
        headers = {"apikey": keys["PUBLISHABLE_KEY"], "authorization": f"Bearer {token}"}
        assert names(rest.get("/people", headers=headers)) == people


@pytest.mark.parametrize("key", ["PUBLISHABLE_KEY", "ANON_KEY"])
def test_public_key_alone_reads_nothing(keys: dict[str, str], key: str, rest: httpx.Client) -> None:
    apikey = keys[key]
    for headers in ({"apikey": apikey}, {"apikey": apikey, "authorization": f"Bearer {apikey}"}):
        answer = rest.get("/people", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "42501")


@pytest.mark.parametrize("key", ["SECRET_KEY", "SERVICE_ROLE_KEY"])
def test_secret_key_acts_as_service_role(keys: dict[str, str], key: str, rest: httpx.Client) -> None:
    apikey = keys[key]
    for headers in ({"apikey": apikey}, {"apikey": apikey, "authorization": f"Bearer {apikey}"}):
        answer = rest.get("/people?select=full_name&user_id=not.is.null", headers=headers)
        assert set(names(answer)) >= set(SEEDED)


def test_user_token_wins_over_the_secret_key(stranger: str, keys: dict[str, str], rest: httpx.Client) -> None:
    headers = {"apikey": keys["SECRET_KEY"], "authorization": f"Bearer {stranger}"}
    assert names(rest.get("/people", headers=headers)) == []


def test_key_in_the_url_works(keys: dict[str, str], rest: httpx.Client) -> None:
    parameters = {"apikey": keys["SECRET_KEY"], "full_name": "eq.John Doe", "select": "full_name"}
    assert names(rest.get("/people", params=parameters)) == ["John Doe"]


def test_call_without_a_key_is_refused(owner: str, rest: httpx.Client) -> None:
    answer = rest.get("/people", headers={"authorization": f"Bearer {owner}"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {
        "message": "No API key found in request",
        "hint": "No `apikey` request header or url param was found.",
    }


@pytest.mark.parametrize("apikey", ["nonsense", "sb_secret_of_another_project"])
def test_unknown_key_is_refused(apikey: str, rest: httpx.Client) -> None:
    assert rest.get("/people", headers={"apikey": apikey}).status_code == 401


def test_changed_token_is_refused(owner: str, keys: dict[str, str], rest: httpx.Client) -> None:
    header, claims, signature = owner.split(".")
    token = f"{header}.{claims[:-4]}AAAA.{signature}"
    headers = {"apikey": keys["PUBLISHABLE_KEY"], "authorization": f"Bearer {token}"}
    assert rest.get("/people", headers=headers).status_code == 401


def test_preflight_needs_no_key(rest: httpx.Client) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "apikey,x-client-info"}
    answer = rest.options("/people", headers={"origin": "http://localhost:3000", **asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert {"apikey", "x-client-info"} <= set(answer.headers["access-control-allow-headers"].split(","))


@pytest.mark.filterwarnings("ignore:The '(timeout|verify)' parameter is deprecated:DeprecationWarning")  # by itself
def test_official_client_reads_writes_and_calls(owner: str, keys: dict[str, str], stack: RunningStack) -> None:
    headers = {"Authorization": f"Bearer {owner}"}
    name = f"Zoë {uuid.uuid4()}"
    with httpx.Client() as transport:
        options = SyncClientOptions(headers=headers, httpx_client=transport)
        client = create_client(stack.api_url, keys["PUBLISHABLE_KEY"], options)
        people = client.table("people")
        [person] = people.insert({"full_name": name}).execute().data
        assert people.select("id").eq("full_name", name).execute().data == [{"id": person["id"]}]
        assert people.delete().eq("id", person["id"]).execute().data[0]["full_name"] == name
        created = client.rpc("create_messaging_connection", {"platform": "signal"}).execute().data
    assert created["api_secret"].startswith("threadline_")


def test_answer_has_at_most_1000_rows(stranger: str, keys: dict[str, str], rest: httpx.Client) -> None:
    headers = {"apikey": keys["PUBLISHABLE_KEY"], "authorization": f"Bearer {stranger}"}
    people = [{"full_name": f"Person {number}"} for number in range(1001)]
    assert rest.post("/people", headers=headers, json=people).status_code == 201
    assert len(rest.get("/people", headers=headers).json()) == 1000
    deleted = rest.delete("/people?full_name=like.Person*", headers=headers)
    assert (deleted.status_code, deleted.content) == (204, b"")


def test_root_describes_the_api(keys: dict[str, str], rest: httpx.Client) -> None:
    headers = {"apikey": keys["SERVICE_ROLE_KEY"]}
    assert "/people" in rest.get("/", headers=headers).json()["paths"]
    assert rest.head("/people", headers=headers).status_code == 200


def test_incomplete_body_is_not_forwarded(keys: dict[str, str], stack: RunningStack, rest: httpx.Client) -> None:
    name = f"Half {uuid.uuid4()}"
    headers = {"apikey": keys["SECRET_KEY"], "content-type": "text/csv"}
    body = f"user_id,full_name\r\na0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,{name}\r\n"
    lines = ["POST /rest/v1/people HTTP/1.1", "host: x", "transfer-encoding: chunked"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    with socket.create_connection(("127.0.0.1", stack.port)) as client:
        client.sendall("\r\n".join([*lines, "", f"{len(body):x}", body, ""]).encode())
        time.sleep(0.2)
    time.sleep(0.5)
    assert names(rest.get(f"/people?full_name=eq.{name}", headers=headers)) == []
    assert rest.post("/people", headers=headers, content=body).status_code == 201  # it would have been good
    rest.delete(f"/people?full_name=eq.{name}", headers=headers)


def test_postgrest_reconnects_after_a_reset(keys: dict[str, str], stack: RunningStack, rest: httpx.Client) -> None:
    stack.run("db", "reset")
    deadline = time.monotonic() + 30
    headers = {"apikey": keys["SECRET_KEY"]}
    while (answer := rest.get("/people?select=full_name", headers=headers)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert names(answer) == SEEDED


def test_postgrest_sees_a_new_function_at_once(keys: dict[str, str], stack: RunningStack, rest: httpx.Client) -> None:
    headers = {"apikey": keys["SECRET_KEY"]}
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("create function public.new_here() returns integer language sql return 7")
        deadline = time.monotonic() + 10
        while (answer := rest.post("/rpc/new_here", headers=headers)).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        connection.execute("drop function public.new_here()")
    assert answer.json() == 7


def test_postgrest_writes_to_its_own_log(keys: dict[str, str], stack: RunningStack, rest: httpx.Client) -> None:
    rest.get("/people?full_name=eq.hunter2", headers={"apikey": keys["SECRET_KEY"]})
    assert "hunter2" not in stack.output
    assert "Listening on port" in (stack.home / "postgrest.log").read_text()


def test_ctrl_c_ends_postgrest(stack: RunningStack) -> None:
    process = postgrest_of(stack)
    assert stack.stop() == 0
    assert survivors([process], seconds=0) == []


def test_stack_ends_when_postgrest_ends(stack: RunningStack) -> None:
    postgrest_of(stack).kill()
    assert stack.process.wait(10) == 1
    assert "Error: PostgREST ended by itself" in stack.output


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux signals a child at its parent's death")
def test_postgrest_ends_with_a_killed_stack(stack: RunningStack) -> None:
    processes = stack.children()
    stack.kill()
    assert survivors(processes) == []


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("/nonexistent/postgrest", "THREADLINE_POSTGREST must name a program, and /nonexistent/postgrest is not one."),
        (shutil.which("false"), "PostgREST did not start; see"),
    ],
    ids=["no file", "a program that fails"],
)
def test_wrong_postgrest_program_stops_the_start(program: str, sentence: str, stack: RunningStack) -> None:
    stack.stop()
    result = stack.run("up", check=False, THREADLINE_POSTGREST=program)
    assert result.returncode == 1
    assert f"Error: {sentence}" in result.stderr


def test_missing_postgrest_answers_503(tmp_path: Path) -> None:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    path = os.pathsep.join(folder for folder in os.get_exec_path() if not (Path(folder) / "postgrest").exists())
    environment = {"PATH": path, "THREADLINE_POSTGREST": ""}
    with RunningStack(tmp_path, environment=environment, command=[sys.executable, "-c", WITHOUT_FETCHED]) as stack:
        assert f"Data API: not here. {postgrest.advice()}\n" in stack.output
        answer = httpx.get(f"{stack.api_url}/rest/v1/people", headers={"apikey": "x"})
        assert answer.status_code == 503
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json() == {"message": postgrest.advice()}
        root = html.unescape(httpx.get(stack.api_url).text)
        assert f"<td><code>/rest/v1</code></td><td>Not here. {postgrest.advice()}</td>" in root


@pytest.fixture
def client(keys: dict[str, str], owner: str, stack: RunningStack) -> Iterator[Client]:
    """The official client, signed in as the owner."""
    with httpx.Client() as transport:
        options = SyncClientOptions(headers={"Authorization": f"Bearer {owner}"}, httpx_client=transport)
        yield create_client(stack.api_url, keys["PUBLISHABLE_KEY"], options)


def test_clients_call_by_name_and_embed_authors(client: Client) -> None:
    channel_id = client.table("channels").select("id").eq("name", "general").single().execute().data["id"]
    named = {"channel_id": channel_id, "content": "By name"}
    said = client.rpc("create_message", named).execute().data["data"]
    # A field that is no argument leads to the form that takes the body as it is.
    unknown = client.rpc("create_message", {**named, "anything": 1}).execute().data["data"]
    assert (said["content"], unknown["content"]) == ("By name", "By name")
    since = client.rpc("list_messages", {"channel_id": channel_id, "limit": 1}).execute().data["meta"]["last_seq"]
    reply = client.rpc("reply_to_message", {"id": said["id"], "content": "Reply"}).execute().data["data"]
    events = client.rpc("list_channel_events", {"channel_id": channel_id, "since": since}).execute().data
    assert [(event["payload"]["id"], event["payload"]["thread_id"]) for event in events["data"]] == [
        (reply["id"], said["id"])
    ]
    client.rpc("toggle_reaction", {"id": said["id"], "emoji": "fire"}).execute()
    query = "id, user_profiles(display_name, avatar_url), message_reactions(emoji, user_profiles(display_name))"
    (row,) = client.table("messages").select(query).eq("id", said["id"]).execute().data
    assert row["user_profiles"]["display_name"] == "Matty Squarzoni"
    assert row["message_reactions"] == [{"emoji": "fire", "user_profiles": {"display_name": "Matty Squarzoni"}}]
    members = client.table("channel_members").select("user_profiles(display_name)").eq("channel_id", channel_id)
    assert {each["user_profiles"]["display_name"] for each in members.execute().data} >= {"Matty Squarzoni"}


def test_client_upserts_its_message_and_reads_hints(client: Client) -> None:
    channel_id = client.table("channels").select("id").eq("name", "general").single().execute().data["id"]
    row = {"id": str(uuid.uuid4()), "channel_id": channel_id, "content": "first"}
    for content in ("first", "second"):
        (stored,) = client.table("messages").upsert({**row, "content": content}).execute().data
        assert stored["content"] == content
    with pytest.raises(APIError) as caught:
        client.table("messages").delete().eq("id", row["id"]).execute()
    assert (caught.value.code, caught.value.hint) == ("42501", "Call the function delete_message.")
    assert client.rpc("delete_message", {"id": row["id"]}).execute().data["success"]
