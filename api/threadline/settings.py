"""What the service is told by its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# Supabase's pooler in transaction mode; there each statement may reach another server process.
TRANSACTION_POOLER_PORT = 6543


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
        jwt_secret: the legacy secret of access tokens, if the project still has one.
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
        """Read DATABASE_URL and, where set, SUPABASE_URL, JWT_SECRET, THREADLINE_POOL_SIZE and so on.

        Raises:
            SettingsError: DATABASE_URL is missing, or a value is not a positive number.
        """
        database_url = environment.get("DATABASE_URL", "")
        if not database_url:
            raise SettingsError("Set DATABASE_URL to the connection string of your Postgres.")
        port = _port(database_url)
        pooler = environment.get("THREADLINE_TRANSACTION_POOLER", "")
        supabase_url = environment.get("SUPABASE_URL", "").rstrip("/")
        return cls(
            database_url=database_url,
            pool_size=_positive(environment, "THREADLINE_POOL_SIZE", cls.pool_size),
            transaction_pooler=pooler.lower() in {"1", "true", "yes"} if pooler else port == TRANSACTION_POOLER_PORT,
            ingest_max_bytes=_positive(environment, "THREADLINE_INGEST_MAX_BYTES", cls.ingest_max_bytes),
            jwks_url=f"{supabase_url}/auth/v1/.well-known/jwks.json" if supabase_url else None,
            jwt_secret=environment.get("JWT_SECRET") or None,
            supabase_url=supabase_url or None,
            supabase_key=environment.get("SUPABASE_PUBLISHABLE_KEY") or environment.get("SUPABASE_ANON_KEY") or None,
            supabase_secret_key=(
                environment.get("SUPABASE_SECRET_KEY") or environment.get("SUPABASE_SERVICE_ROLE_KEY") or None
            ),
            upload_max_files=_positive(environment, "THREADLINE_UPLOAD_MAX_FILES", cls.upload_max_files),
            upload_max_bytes=_positive(environment, "THREADLINE_UPLOAD_MAX_BYTES", cls.upload_max_bytes),
            deliver=_flag(environment, "THREADLINE_DELIVER", cls.deliver),
            webhook_timeout=_positive(environment, "THREADLINE_WEBHOOK_TIMEOUT", cls.webhook_timeout),
            webhook_allow_private=_flag(environment, "THREADLINE_WEBHOOK_ALLOW_PRIVATE", cls.webhook_allow_private),
            anthropic_api_key=environment.get("ANTHROPIC_API_KEY") or None,
            anthropic_base_url=environment.get("ANTHROPIC_BASE_URL") or None,
            summary_model=environment.get("THREADLINE_SUMMARY_MODEL") or cls.summary_model,
            summary_window=_positive(environment, "THREADLINE_SUMMARY_WINDOW", cls.summary_window),
            summary_timeout=_positive(environment, "THREADLINE_SUMMARY_TIMEOUT", cls.summary_timeout),
            summary_input_price=_price(environment, "THREADLINE_SUMMARY_INPUT_PRICE"),
            summary_output_price=_price(environment, "THREADLINE_SUMMARY_OUTPUT_PRICE"),
            metrics_token=environment.get("THREADLINE_METRICS_TOKEN") or None,
        )


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


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} must be a positive whole number.")
    return int(text)


def _price(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    if not re.fullmatch(r"[0-9]{1,9}([.][0-9]{1,9})?", text):
        raise SettingsError(f"{name} must be a price in dollars, such as 0.80.")
    return float(text)


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    text = environment.get(name, "")
    return text.lower() in {"1", "true", "yes"} if text else default
