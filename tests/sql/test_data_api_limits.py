"""private.spend_data_api_request as the pre-request function of the genuine PostgREST, set up as the docs say."""

import re
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from threadline_devstack import keys

from tests.bench import programs
from tests.support import tools
from tests.support.cluster import TestCluster
from tests.support.schema import ROOT
from tests.support.tokens import bearer, sign
from tests.support.world import BOB, MATTY

if tools.postgrest() is None:
    pytest.skip(tools.why_not("postgrest"), allow_module_level=True)

PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
LIMIT = 5
AT_ONCE = 2


@pytest.fixture(scope="module")
def database(cluster: TestCluster, template: str) -> str:
    """A database with the function of the docs and low limits."""
    name = cluster.create(template)
    (example,) = re.findall(r"```sql\n(create function public\.check_request.+?)\nalter role", PAGE, re.DOTALL)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        db.execute(example)
        db.execute(
            "update private.settings set requests_per_minute = %s, data_api_requests_at_once = %s", (LIMIT, AT_ONCE)
        )
        db.execute("create table public.own (id integer); grant select on public.own to anon")
    return name


@pytest.fixture(scope="module")
def base_url(cluster: TestCluster, database: str) -> Iterator[str]:
    url = cluster.url(database, "authenticator")
    with programs.postgrest(tools.postgrest(), url, "public", PGRST_DB_PRE_REQUEST="public.check_request") as base_url:
        yield base_url


def client(base_url: str, who: str | None) -> httpx.Client:
    claims = {"sub": who, "role": "authenticated", "exp": int(time.time()) + 3600}
    headers = bearer(sign(claims, keys.JWT_SECRET)) if who else {}
    return httpx.Client(base_url=base_url, headers=headers, timeout=30, verify=False)


def test_writes_above_the_limit_get_429(base_url: str, cluster: TestCluster, database: str) -> None:
    with client(base_url, MATTY) as matty:
        for _ in range(LIMIT * 3):
            matty.get("/people").raise_for_status()
        statuses = [matty.post("/people", json={"full_name": "x"}).status_code for _ in range(LIMIT * 3)]
        # The minute may change once meanwhile.
        assert 429 in statuses
        assert LIMIT <= statuses.count(201) <= 2 * LIMIT
        refused = matty.post("/rpc/list_my_channels", json={})
        assert (refused.status_code, refused.json()["details"]) == (429, "rate_limited")
        matty.get("/people").raise_for_status()
    with client(base_url, BOB) as bob:
        assert bob.post("/people", json={"full_name": "x"}).status_code == 201


def test_requests_at_once_above_the_limit_get_429(base_url: str, cluster: TestCluster, database: str) -> None:
    hold = "select pg_advisory_lock(hashtextextended(format('threadline.data_api.%%s.%%s', %s::uuid, %s), 0))"
    with psycopg.connect(cluster.url(database, "postgres")) as db, client(base_url, BOB) as bob:
        db.execute(hold, (BOB, 1))
        bob.get("/people").raise_for_status()
        db.execute(hold, (BOB, 2))
        refused = bob.get("/people")
        assert (refused.status_code, refused.json()["details"]) == (429, "too_many_at_once")
        with client(base_url, MATTY) as matty:
            matty.get("/people").raise_for_status()
        db.execute("select pg_advisory_unlock_all()")
        bob.get("/people").raise_for_status()


def test_caller_without_a_token_reaches_the_application(base_url: str) -> None:
    with client(base_url, None) as anyone:
        assert anyone.get("/own").status_code == 200
