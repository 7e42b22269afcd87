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


# What the form with one JSON object reads, and the form with named arguments does not take.
FORGOTTEN = """
select body.proname || '.' || field.name[1]
from pg_proc as body
inner join pg_proc as named
    on body.pronamespace = named.pronamespace and body.proname = named.proname and body.oid <> named.oid
cross join lateral regexp_matches(
    replace(body.prosrc, 'require_actor($1)', 'parse_uuid($1, ''user_id'''),
    '(?:parse_[a-z]+|scalar_text)[(][$]1, ''([a-z_]+)''', 'g'
) as field (name)
where body.pronamespace = 'public'::regnamespace
    and body.proargnames is null and body.proargtypes[0] = 'jsonb'::regtype
    and field.name[1] <> all(named.proargnames)
"""


@pytest.fixture
def db(cluster: TestCluster, template: str) -> psycopg.Connection:
    """The database with the migrations and the seed."""
    with psycopg.connect(cluster.url(template, "postgres")) as db:
        yield db


def test_page_matches_the_database(db: psycopg.Connection) -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.render(db), "run `make reference`"


def test_named_arguments_are_all_fields_of_the_call(db: psycopg.Connection) -> None:
    assert rows(db, FORGOTTEN) == []


def test_every_call_has_named_arguments(db: psycopg.Connection) -> None:
    assert rows(db, UNNAMED) == []
