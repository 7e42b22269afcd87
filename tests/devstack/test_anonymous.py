"""/auth/v1/signup without an address: anonymous users, where config.toml allows them."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase.lib.client_options import SyncClientOptions
from supabase_auth.errors import AuthApiError
from threadline_devstack import keys
from threadline_devstack.errors import StackError
from threadline_devstack.project import Ports, Project

from supabase import Client, create_client
from tests.support import tools
from tests.support.schema import ROOT
from tests.support.stack import RunningStack
from tests.support.world import MATTY

CONFIG = "[auth]\nenable_anonymous_sign_ins = true\n"


@pytest.fixture(scope="module")
def open_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Run a project that allows anonymous users."""
    project = tmp_path_factory.mktemp("anonymous")
    (project / "supabase").mkdir()
    (project / "supabase" / "config.toml").write_text(CONFIG)
    (project / "supabase" / "migrations").symlink_to(ROOT / "supabase" / "migrations")
    (project / "seed.sql").symlink_to(ROOT / "seed.sql")
    with RunningStack(project) as running:
        yield running


@pytest.fixture
def clients() -> Iterator[Callable[[RunningStack], Client]]:
    """Makes the official client of a stack."""
    with httpx.Client(timeout=60) as transport:
        options = SyncClientOptions(httpx_client=transport, auto_refresh_token=False)
        yield lambda stack: create_client(stack.api_url, keys.PUBLISHABLE_KEY, options)


@pytest.fixture
def visitor(open_stack: RunningStack, clients: Callable[[RunningStack], Client]) -> Client:
    """The official client of an anonymous user."""
    client = clients(open_stack)
    client.auth.sign_in_anonymously({"options": {"data": {"name": "Visitor 7"}}})
    return client


def claims_of(client: Client) -> dict[str, Any]:
    return jwt.decode(client.auth.get_session().access_token, options={"verify_signature": False})


def test_python_client_signs_in_anonymously(visitor: Client) -> None:
    user = visitor.auth.get_user().user
    assert (user.is_anonymous, user.email, user.app_metadata, user.identities) == (True, "", {}, [])
    assert user.user_metadata == {"name": "Visitor 7"}
    claims = claims_of(visitor)
    assert (claims["is_anonymous"], claims["role"], claims["amr"][0]["method"]) == (True, "authenticated", "anonymous")
    visitor.auth.refresh_session()
    assert claims_of(visitor)["is_anonymous"] is True


@pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
def test_javascript_client_signs_in_anonymously(open_stack: RunningStack) -> None:
    rights = ["--no-lock", "--node-modules-dir=manual", "--allow-net=127.0.0.1", "--allow-env", "--allow-read"]
    script = Path(__file__).with_name("anonymous.ts")
    arguments = [open_stack.api_url, keys.PUBLISHABLE_KEY, f"{uuid.uuid4()}@example.com"]
    command = [tools.deno(), "run", "--quiet", *rights, script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"is_anonymous": True, "alone": "validation_failed", "named": False, "same": True}


def test_anonymous_user_becomes_permanent_with_an_address(
    open_stack: RunningStack, clients: Callable[[RunningStack], Client], visitor: Client
) -> None:
    user_id = claims_of(visitor)["sub"]
    with pytest.raises(AuthApiError) as caught:
        visitor.auth.update_user({"email": "matty@example.com", "password": "secret!"})
    assert (caught.value.status, caught.value.code) == (422, "email_exists")
    email = f"{uuid.uuid4()}@example.com"
    user = visitor.auth.update_user({"email": email, "password": "secret!"}).user
    assert (user.is_anonymous, user.app_metadata["providers"], len(user.identities)) == (False, ["email"], 1)
    visitor.auth.refresh_session()
    assert claims_of(visitor)["is_anonymous"] is False
    again = clients(open_stack).auth.sign_in_with_password({"email": email, "password": "secret!"})
    assert again.user.id == user_id


def test_anonymous_sign_in_is_off_by_default(stack: RunningStack, clients: Callable[[RunningStack], Client]) -> None:
    with pytest.raises(AuthApiError) as caught:
        clients(stack).auth.sign_in_anonymously()
    assert (caught.value.status, caught.value.code) == (422, "anonymous_provider_disabled")


def test_configuration_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path, Ports(1, 2))
    assert project.allows_anonymous() is False
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text("[auth")
    with pytest.raises(StackError, match=r"config\.toml is not valid TOML"):
        project.allows_anonymous()


def test_anonymous_user_has_the_rights_of_a_user(open_stack: RunningStack, visitor: Client) -> None:
    channel = visitor.table("channels").insert({"name": "Help"}).execute().data[0]
    visitor.rpc("create_message", {"channel_id": channel["id"], "content": "Hello"}).execute()
    shown = visitor.table("messages").select("content, user_profiles(display_name)").execute().data
    assert shown == [{"content": "Hello", "user_profiles": {"display_name": "Visitor 7"}}]
    with psycopg.connect(open_stack.database_url()) as db:
        db.execute("insert into public.channels (name, created_by) values ('Hidden', %s)", [MATTY])
    assert {row["name"] for row in visitor.table("channels").select("name").execute().data} == {"Help"}


def test_documented_policy_keeps_anonymous_users_out(open_stack: RunningStack, visitor: Client) -> None:
    page = (ROOT / "docs" / "explanation" / "security.md").read_text()
    section = page.partition("## Anonymous users")[2]
    statement = re.search(r"```sql\n(.*?)```", section, re.DOTALL)[1]
    with psycopg.connect(open_stack.database_url(), autocommit=True) as db:
        db.execute(statement)
        try:
            with pytest.raises(APIError, match="row-level security"):
                visitor.table("channels").insert({"name": "Help"}).execute()
            named = {"email": f"{uuid.uuid4()}@example.com", "password": "secret!"}
            visitor.auth.update_user(named)
            visitor.auth.refresh_session()
            assert visitor.table("channels").insert({"name": "Help"}).execute().data
        finally:
            db.execute("drop policy channels_insert_no_anonymous on public.channels")
