"""docs/reference/functions.md says what the database says."""

import psycopg
import pytest

from tests.support import reference
from tests.support.cluster import TestCluster
from tests.support.database import rows

# Calls that have only the form with one JSON object.
UNNAMED = """
select code.oid::regprocedure::text
from pg_proc as code
where code.pronamespace = 'public'::regnamespace
    and code.pronargs > 0 and code.proargnames is null and code.proargtypes[0] = 'jsonb'::regtype
    and not exists (
        select from pg_proc as named
        where named.pronamespace = code.pronamespace and named.proname = code.proname and named.oid <> code.oid
    )
"""


@pytest.fixture
def db(cluster: TestCluster, template: str) -> psycopg.Connection:
    """The database with the migrations and the seed."""
    with psycopg.connect(cluster.url(template, "postgres")) as db:
        yield db


def test_page_matches_the_database(db: psycopg.Connection) -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(db), "run `make reference`"


def test_every_call_has_named_arguments(db: psycopg.Connection) -> None:
    assert rows(db, UNNAMED) == []
