"""What the environment may say, and what is said of an environment that makes no sense."""

import pytest
from threadline.settings import Settings, SettingsError

DIRECT = "postgresql://authenticator:secret@db.example.com:5432/postgres"
POOLER = "postgresql://authenticator.ref:secret@pooler.example.com:6543/postgres"


def test_a_database_is_all_that_is_needed() -> None:
    assert Settings.from_environment({"DATABASE_URL": DIRECT}) == Settings(DIRECT, 10, False, 10_000_000)


def test_everything_else_may_be_set_as_well() -> None:
    environment = {
        "DATABASE_URL": DIRECT,
        "THREADLINE_POOL_SIZE": "3",
        "THREADLINE_TRANSACTION_POOLER": "true",
        "THREADLINE_INGEST_MAX_BYTES": "1000",
    }
    assert Settings.from_environment(environment) == Settings(DIRECT, 3, True, 1000)


@pytest.mark.parametrize(
    ("url", "said", "is_pooler"),
    [
        (DIRECT, "", False),
        (POOLER, "", True),
        (POOLER, "false", False),
        (POOLER, "0", False),
        (DIRECT, "1", True),
        (DIRECT, "Yes", True),
        ("postgresql:///postgres?host=/run/postgresql", "", False),
        ("postgresql://one:5432,two:5432/postgres", "", False),
    ],
)
def test_a_transaction_pooler_is_known_by_its_port_unless_it_is_said(url: str, said: str, is_pooler: bool) -> None:
    environment = {"DATABASE_URL": url, "THREADLINE_TRANSACTION_POOLER": said}
    assert Settings.from_environment(environment).transaction_pooler is is_pooler


@pytest.mark.parametrize("environment", [{}, {"DATABASE_URL": ""}], ids=str)
def test_without_a_database_there_is_nothing_to_serve(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^Set DATABASE_URL to the connection string of your Postgres\.$"):
        Settings.from_environment(environment)


@pytest.mark.parametrize("name", ["THREADLINE_POOL_SIZE", "THREADLINE_INGEST_MAX_BYTES"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", " "])
def test_a_number_must_be_positive_and_whole(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be a positive whole number\.$"):
        Settings.from_environment({"DATABASE_URL": DIRECT, name: value})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://authenticator:canary#1@db.example.com:5432/postgres",
        "postgresql://authenticator:canary/1@db.example.com:5432/postgres",
        "postgresql://authenticator:canary@db.example.com:99999/postgres",
        "https://authenticator:canary@db.example.com/postgres",
        "host=db.example.com password=canary",
        "db.example.com",
    ],
)
def test_a_connection_string_that_cannot_be_one_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"DATABASE_URL": url})
    assert "DATABASE_URL" in str(caught.value)
    assert "canary" not in str(caught.value)
