"""Reads the settings of the service from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

import click

from threadline.tls import MODES, choose_tls

TRANSACTION_POOLER_PORT = 6543  # of Supabase's pooler in transaction mode

# `supabase start` and the compose file for self-hosting sign tokens with these unless another secret is set.
PUBLISHED_JWT_SECRETS = (
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
)

PUBLIC_KEYS = ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
SECRET_KEYS = ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
# Variables that other tools use too. The first one that is set counts.
NAMES: dict[str, tuple[str, ...]] = {
    "database_url": ("DATABASE_URL",),
    "jwks_url": (),  # derived from supabase_url
    "jwt_secret": ("JWT_SECRET",),
    "supabase_url": ("SUPABASE_URL",),
    "supabase_key": PUBLIC_KEYS,
    "supabase_secret_key": SECRET_KEYS,
    "anthropic_api_key": ("ANTHROPIC_API_KEY",),
    "anthropic_base_url": ("ANTHROPIC_BASE_URL",),
}


class SettingsError(click.ClickException):
    """A setting is missing or wrong. Commands print the text, which says how to set it."""


@dataclass(frozen=True)
class Settings:
    """The settings of one process. The variables are those in NAMES, or THREADLINE_ and the name in capitals."""

    # Postgres, with a login that may become anon, authenticated and service_role: `authenticator` or your own.
    database_url: str = field(repr=False)
    database_ca: str | None = None  # file of the root certificate of Postgres, if no public authority signs it
    pool_size: int = 10  # connections for requests at most
    transaction_pooler: bool = False  # whether database_url leads through a pooler in transaction mode
    ingest_max_bytes: int = 10_000_000  # of an ingest body, after decompression
    jwks_url: str | None = None  # where Supabase Auth publishes the keys of its access tokens
    jwt_secret: str | None = field(default=None, repr=False)  # the legacy secret of access tokens, if still in use
    supabase_url: str | None = None  # of the project
    supabase_key: str | None = None  # the public key
    supabase_secret_key: str | None = field(default=None, repr=False)  # needed to sweep unused files
    body_timeout: int = 20  # seconds for the head of a request, and for a pause in its body or in reading the answer
    upload_max_files: int = 10  # per upload
    upload_max_bytes: int = 52_428_800  # per file
    deliver: bool = True  # whether this process posts to webhooks of twins and cleans up
    webhook_timeout: int = 10  # seconds in which a webhook must answer
    webhook_allow_private: bool = False  # whether webhooks may use private addresses and plain http
    anthropic_api_key: str | None = field(default=None, repr=False)  # without it there are no summaries
    anthropic_base_url: str | None = None  # of the Claude API, if not the usual one
    summary_model: str = "claude-haiku-5-5"
    summary_window: int = 100_000  # tokens that the model reads at once; longer transcripts are split
    summary_timeout: int = 90  # seconds
    summary_input_price: float = 0.0  # dollars per million tokens read; 0 counts no cost
    summary_output_price: float = 0.0  # dollars per million tokens written
    summary_price_step: int = 100_000  # tokens of a prompt above which the long prices apply; no prompt is longer
    summary_long_input_price: float = 0.0  # dollars per million tokens read above the step; 0 for both: the same
    summary_long_output_price: float = 0.0  # dollars per million tokens written above the step
    metrics_token: str | None = field(default=None, repr=False)  # for GET /metrics; without it, 404
    console: bool = True  # whether /console is served

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings or raise SettingsError. An empty variable counts as not set."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            for name in NAMES.get(setting.name, (f"THREADLINE_{setting.name.upper()}",)):
                if setting.name not in given and (text := environment.get(name)):
                    given[setting.name] = _READERS.get(str(setting.type), lambda _, text: text)(name, text)
        if "database_url" not in given:
            raise SettingsError("Set DATABASE_URL to the connection string of your Postgres.")
        port = _port(given["database_url"])
        given.setdefault("transaction_pooler", port == TRANSACTION_POOLER_PORT)
        if url := given.get("supabase_url", "").rstrip("/"):
            given |= {"supabase_url": url, "jwks_url": f"{url}/auth/v1/.well-known/jwks.json"}
        _check_tls(given["database_url"], given.get("database_ca"))
        return cls(**given)

    def connection(self) -> dict[str, Any]:
        """Return the arguments that every connection to Postgres needs: its URL, and the TLS settings."""
        return {"dsn": self.database_url, "ssl": choose_tls(self.database_url, self.database_ca)}

    @property
    def trusts_proxies(self) -> bool:
        """Whether to use the proxies of the environment: they cannot reach a project on this machine."""
        return urlsplit(self.supabase_url or "").hostname not in {"127.0.0.1", "localhost"}


def _port(database_url: str) -> int | None:
    try:
        parts = urlsplit(database_url)
        if parts.scheme in {"postgresql", "postgres"}:
            # Of several hosts, take the port of the last one.
            return parts._replace(netloc=parts.netloc.rpartition(",")[2]).port
    except ValueError:
        pass
    # Without the cause, which may quote a part of the password.
    raise SettingsError(
        "DATABASE_URL must be a URL like postgresql://user:password@host:5432/postgres; "
        "percent-encode special characters in the password."
    )


def _check_tls(database_url: str, authority: str | None) -> None:
    try:
        choose_tls(database_url, authority)
    except OSError:
        name = "THREADLINE_DATABASE_CA" if authority else "sslrootcert or sslcert in DATABASE_URL"
        raise SettingsError(f"{name} must be a readable file with a certificate in PEM format.") from None
    except ValueError:
        modes = ", ".join(MODES)
        raise SettingsError(f"sslmode in DATABASE_URL must be one of {modes}. Leave it out for verify-full.") from None


def _positive(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} must be a positive whole number.")
    return int(text)


def _price(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}([.][0-9]{1,9})?", text):
        raise SettingsError(f"{name} must be a price in dollars, such as 0.80.")
    return float(text)


def read_flag(name: str, text: str) -> bool:
    """Return whether a flag is on, or raise SettingsError if it is neither on nor off."""
    if (value := text.lower()) in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingsError(f"{name} must be 1 or 0.")


_READERS: dict[str, Callable[[str, str], Any]] = {"int": _positive, "float": _price, "bool": read_flag}
