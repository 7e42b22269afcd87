"""Settings from the environment, and errors for wrong ones."""

import dataclasses
import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import certifi
import pytest
from threadline.settings import NAMES, Settings, SettingsError


@pytest.fixture(scope="module", autouse=True)
def certificates() -> Iterator[None]:
    """Load certificates once, because that takes 25 ms and no test here looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


DIRECT = "postgresql://authenticator:secret@db.example.com:5432/postgres"
POOLER = "postgresql://authenticator.ref:secret@pooler.example.com:6543/postgres"


def test_database_url_alone_is_enough() -> None:
    assert Settings.from_environment({"DATABASE_URL": DIRECT}) == Settings(DIRECT)


def test_environment_overrides_the_defaults() -> None:
    environment = {
        "DATABASE_URL": DIRECT,
        "THREADLINE_POOL_SIZE": "3",
        "THREADLINE_TRANSACTION_POOLER": "true",
        "THREADLINE_INGEST_MAX_BYTES": "1000",
    }
    expected = Settings(DIRECT, pool_size=3, transaction_pooler=True, ingest_max_bytes=1000)
    assert Settings.from_environment(environment) == expected


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        pytest.param(
            {"SUPABASE_URL": "https://ref.supabase.co/", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"},
            {
                "supabase_url": "https://ref.supabase.co",
                "supabase_key": "sb_publishable_x",
                "jwks_url": "https://ref.supabase.co/auth/v1/.well-known/jwks.json",
            },
            id="a project of Supabase",
        ),
        ({"SUPABASE_ANON_KEY": "legacy"}, {"supabase_key": "legacy"}),
        ({"SUPABASE_PUBLISHABLE_KEY": "new", "SUPABASE_ANON_KEY": "legacy"}, {"supabase_key": "new"}),
        (
            {"SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_SERVICE_ROLE_KEY": "legacy"},
            {"supabase_secret_key": "sb_secret_x"},
        ),
        ({"SUPABASE_SECRET_KEY": "sb_secret_x"}, {"supabase_secret_key": "sb_secret_x"}),
        ({"SUPABASE_SERVICE_ROLE_KEY": "legacy"}, {"supabase_secret_key": "legacy"}),
        ({"JWT_SECRET": "a secret"}, {"jwt_secret": "a secret"}),
        ({"THREADLINE_BODY_TIMEOUT": "5"}, {"body_timeout": 5}),
        ({"THREADLINE_UPLOAD_MAX_FILES": "2"}, {"upload_max_files": 2}),
        ({"THREADLINE_UPLOAD_MAX_BYTES": "99"}, {"upload_max_bytes": 99}),
        ({"THREADLINE_DELIVER": "0"}, {"deliver": False}),
        ({"THREADLINE_DELIVER": "yes"}, {}),
        ({"THREADLINE_DELIVER": "on"}, {}),
        ({"THREADLINE_DELIVER": "off"}, {"deliver": False}),
        ({"THREADLINE_WEBHOOK_TIMEOUT": "3"}, {"webhook_timeout": 3}),
        ({"THREADLINE_WEBHOOK_ALLOW_PRIVATE": "1"}, {"webhook_allow_private": True}),
        ({"ANTHROPIC_API_KEY": "sk"}, {"anthropic_api_key": "sk"}),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, {"anthropic_base_url": "http://127.0.0.1:1"}),
        ({"THREADLINE_SUMMARY_MODEL": "another"}, {"summary_model": "another"}),
        ({"THREADLINE_SUMMARY_WINDOW": "9000"}, {"summary_window": 9000}),
        ({"THREADLINE_SUMMARY_TIMEOUT": "5"}, {"summary_timeout": 5}),
        ({"THREADLINE_SUMMARY_INPUT_PRICE": "0.8"}, {"summary_input_price": 0.8}),
        ({"THREADLINE_SUMMARY_OUTPUT_PRICE": "4"}, {"summary_output_price": 4.0}),
        ({"THREADLINE_SUMMARY_PRICE_STEP": "9"}, {"summary_price_step": 9}),
        ({"THREADLINE_SUMMARY_LONG_INPUT_PRICE": "2.5"}, {"summary_long_input_price": 2.5}),
        ({"THREADLINE_SUMMARY_LONG_OUTPUT_PRICE": "8"}, {"summary_long_output_price": 8.0}),
        ({"THREADLINE_METRICS_TOKEN": "t"}, {"metrics_token": "t"}),
        ({"THREADLINE_CONSOLE": "0"}, {"console": False}),
        ({"THREADLINE_DATABASE_CA": certifi.where()}, {"database_ca": certifi.where()}),
    ],
    ids=lambda given: next(iter(given), "").removeprefix("THREADLINE_"),
)
def test_variable_sets_its_setting(environment: dict[str, str], settings: dict[str, Any]) -> None:
    given = Settings.from_environment({"DATABASE_URL": DIRECT, **environment})
    assert given == dataclasses.replace(Settings(DIRECT), **settings)


def test_settings_are_all_tested_and_hide_secrets() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = [NAMES.get(each.name, (f"THREADLINE_{each.name.upper()}",)) for each in dataclasses.fields(Settings)]
    assert [name for some in names for name in some if f'"{name}"' not in text] == []
    hidden = ("anthropic_api_key", "supabase_secret_key", "jwt_secret", "metrics_token")
    assert "canary" not in repr(Settings("canary", **dict.fromkeys(hidden, "canary")))


@pytest.mark.parametrize(
    ("url", "setting", "is_pooler"),
    [
        (DIRECT, "", False),
        (POOLER, "", True),
        (POOLER, "false", False),
        (POOLER, "0", False),
        (DIRECT, "1", True),
        (DIRECT, "Yes", True),
        ("postgresql:///postgres?host=/run/postgresql", "", False),
        ("postgresql://one:5432,two:5432/postgres", "", False),
        ("postgresql://one:6543,two:5432/postgres", "", False),
        ("postgres://one:6543/postgres", "", True),
    ],
)
def test_port_6543_means_a_transaction_pooler_by_default(url: str, setting: str, is_pooler: bool) -> None:
    environment = {"DATABASE_URL": url, "THREADLINE_TRANSACTION_POOLER": setting}
    assert Settings.from_environment(environment).transaction_pooler is is_pooler


@pytest.mark.parametrize("environment", [{}, {"DATABASE_URL": ""}], ids=str)
def test_missing_database_url_raises_settings_error(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^Set DATABASE_URL to the connection string of your Postgres\.$"):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    "name",
    [
        "THREADLINE_POOL_SIZE",
        "THREADLINE_INGEST_MAX_BYTES",
        "THREADLINE_BODY_TIMEOUT",
        "THREADLINE_UPLOAD_MAX_FILES",
        "THREADLINE_UPLOAD_MAX_BYTES",
        "THREADLINE_WEBHOOK_TIMEOUT",
        "THREADLINE_SUMMARY_WINDOW",
        "THREADLINE_SUMMARY_TIMEOUT",
    ],
)
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", " ", "\u00b2"])
def test_number_must_be_positive_and_whole(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must be a positive whole number\.$"):
        Settings.from_environment({"DATABASE_URL": DIRECT, name: value})


@pytest.mark.parametrize("price", ["-1", "1,5", "1.", ".5", "1e3", "1" * 10, "0." + "1" * 10])
def test_price_must_be_in_dollars(price: str) -> None:
    with pytest.raises(SettingsError, match=r"^THREADLINE_SUMMARY_INPUT_PRICE must be a price in dollars"):
        Settings.from_environment({"DATABASE_URL": DIRECT, "THREADLINE_SUMMARY_INPUT_PRICE": price})


def test_wrong_certificate_is_named_by_its_setting(tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "missing"), __file__):
        for environment, name in (
            ({"DATABASE_URL": DIRECT, "THREADLINE_DATABASE_CA": path}, "THREADLINE_DATABASE_CA"),
            ({"DATABASE_URL": f"{DIRECT}?sslrootcert={path}"}, "sslrootcert or sslcert in DATABASE_URL"),
        ):
            with pytest.raises(SettingsError, match=f"^{name} must be a readable file"):
                Settings.from_environment(environment)


def test_proxies_serve_projects_elsewhere_only() -> None:
    urls = (None, "https://ref.supabase.co", "http://127.0.0.1:54321", "http://localhost:54321")
    assert [Settings(DIRECT, supabase_url=url).trusts_proxies for url in urls] == [True, True, False, False]


def test_price_keeps_nine_digits() -> None:
    environment = {"DATABASE_URL": DIRECT, "THREADLINE_SUMMARY_INPUT_PRICE": f"{'1' * 9}.{'1' * 9}"}
    assert Settings.from_environment(environment).summary_input_price == float(f"{'1' * 9}.{'1' * 9}")


def test_flag_must_be_on_or_off() -> None:
    with pytest.raises(SettingsError, match=r"^THREADLINE_DELIVER must be 1 or 0\.$"):
        Settings.from_environment({"DATABASE_URL": DIRECT, "THREADLINE_DELIVER": "maybe"})


def test_empty_variable_counts_as_unset() -> None:
    environment = {"THREADLINE_POOL_SIZE": "", "SUPABASE_PUBLISHABLE_KEY": "", "SUPABASE_ANON_KEY": "legacy"}
    settings = Settings.from_environment({"DATABASE_URL": DIRECT, **environment})
    assert settings == dataclasses.replace(Settings(DIRECT), supabase_key="legacy")


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
def test_wrong_connection_string_is_refused_without_quoting(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"DATABASE_URL": url})
    assert "DATABASE_URL" in str(caught.value)
    assert "canary" not in str(caught.value)
