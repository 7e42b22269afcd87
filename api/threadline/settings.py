"""What the service is told by its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

# Supabase's pooler in transaction mode; there each statement may reach another server process.
TRANSACTION_POOLER_PORT = 6543

# What `supabase start` and the compose file for self-hosting sign tokens with, unless they are told another.
PUBLISHED_JWT_SECRETS = (
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
)

PUBLIC_KEYS = ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY")
SECRET_KEYS = ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
# Variables that others name, too; the first that is set counts.
NAMES: dict[str, tuple[str, ...]] = {
    "database_url": ("DATABASE_URL",),
    "jwks_url": (),  # follows from supabase_url
    "jwt_secret": ("JWT_SECRET",),
    "supabase_url": ("SUPABASE_URL",),
    "supabase_key": PUBLIC_KEYS,
    "supabase_secret_key": SECRET_KEYS,
    "anthropic_api_key": ("ANTHROPIC_API_KEY",),
    "anthropic_base_url": ("ANTHROPIC_BASE_URL",),
}


class SettingsError(ValueError):
    """The environment lacks a setting or holds a wrong one; the text says which, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """Settings of one service process.

    Attributes:
        database_url: where Postgres is, with the login of a role that may become anon, authenticated and
            service_role (`authenticator`, or one of your own).
        pool_size: the most connections that this process opens.
        transaction_pooler: whether `database_url` leads through a pooler in transaction mode.
        ingest_max_bytes: the largest ingest body, counted after decompression.
        jwks_url: where Supabase Auth publishes the keys of its access tokens.
        jwt_secret: the legacy secret of access tokens, if the project still has one; with one that Supabase has
            published, `serve` listens on this machine only.
        supabase_url: the project's URL, under which its Storage is.
        supabase_key: a key that anybody may know; who calls, the tokens say.
        supabase_secret_key: the key that may do everything; with it, files that nothing leads to are removed.
        upload_max_files: how many files one upload may bring.
        upload_max_bytes: how large each of them may be.
        deliver: whether this process forwards messages to digital twins, beside what else it does.
        webhook_timeout: how many seconds the webhook of a twin has to answer.
        webhook_allow_private: whether webhooks may lead to private addresses, and be plain http.
        anthropic_api_key: a key of the Claude API; without one there are no summaries.
        anthropic_base_url: where that API is, if not at its usual address.
        summary_model: the model that writes summaries.
        summary_window: how many tokens it takes; what is longer is summarised in parts.
        summary_timeout: how many seconds a summary may take.
        summary_input_price: dollars for a million tokens that the model reads; without prices no cost is counted.
        summary_output_price: dollars for a million that it writes.
        metrics_token: what Prometheus has to show at /metrics; without one there is no such page.
    """

    database_url: str = field(repr=False)
    pool_size: int = 10
    transaction_pooler: bool = False
    ingest_max_bytes: int = 10_000_000
    jwks_url: str | None = None
    jwt_secret: str | None = field(default=None, repr=False)
    supabase_url: str | None = None
    supabase_key: str | None = None
    supabase_secret_key: str | None = field(default=None, repr=False)
    upload_max_files: int = 10
    upload_max_bytes: int = 52_428_800
    deliver: bool = True
    webhook_timeout: int = 10
    webhook_allow_private: bool = False
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    summary_model: str = "claude-haiku-5-5"
    summary_window: int = 200_000
    summary_timeout: int = 90
    summary_input_price: float = 0.0
    summary_output_price: float = 0.0
    metrics_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read each setting from its variable in NAMES or else from THREADLINE_POOL_SIZE and so on; empty is not set.

        Raises:
            SettingsError: DATABASE_URL is missing, or a value is not what it must be.
        """
        given: dict[str, Any] = {}
        for setting in fields(cls):
            for name in NAMES.get(setting.name, (f"THREADLINE_{setting.name.upper()}",)):
                if setting.name not in given and (text := environment.get(name)):
                    given[setting.name] = _READERS.get(str(setting.type), _text)(name, text)
        if "database_url" not in given:
            raise SettingsError("Set DATABASE_URL to the connection string of your Postgres.")
        port = _port(given["database_url"])
        given.setdefault("transaction_pooler", port == TRANSACTION_POOLER_PORT)
        if url := given.get("supabase_url", "").rstrip("/"):
            given |= {"supabase_url": url, "jwks_url": f"{url}/auth/v1/.well-known/jwks.json"}
        return cls(**given)

    @property
    def trusts_proxies(self) -> bool:
        """Whether proxies that the environment names lead to the project: they lead out of this machine."""
        return urlsplit(self.supabase_url or "").hostname not in {"127.0.0.1", "localhost"}


def _port(database_url: str) -> int | None:
    try:
        parts = urlsplit(database_url)
        if parts.scheme in {"postgresql", "postgres"}:
            # With several hosts, the last one's.
            return parts._replace(netloc=parts.netloc.rpartition(",")[2]).port
    except ValueError:
        pass
    # The reason is not quoted: it may hold a part of the password.
    raise SettingsError(
        "DATABASE_URL must be a URL like postgresql://user:password@host:5432/postgres; "
        "percent-encode what is special in the password."
    )


def _text(_: str, text: str) -> str:
    return text


def _positive(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} must be a positive whole number.")
    return int(text)


def _price(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}([.][0-9]{1,9})?", text):
        raise SettingsError(f"{name} must be a price in dollars, such as 0.80.")
    return float(text)


def _flag(_: str, text: str) -> bool:
    return text.lower() in {"1", "true", "yes"}


_READERS: dict[str, Callable[[str, str], Any]] = {"int": _positive, "float": _price, "bool": _flag}
