"""What the service is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    database_url: str
    pool_size: int = 10
    transaction_pooler: bool = False
    ingest_max_bytes: int = 10_000_000
    jwks_url: str | None = None
    jwt_secret: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read DATABASE_URL and, where set, SUPABASE_URL, JWT_SECRET, THREADLINE_POOL_SIZE and so on.

        Raises:
            SettingsError: DATABASE_URL is missing, or a value is not a positive number.
        """
        database_url = environment.get("DATABASE_URL", "")
        if not database_url:
            raise SettingsError("Set DATABASE_URL to the connection string of your Postgres.")
        pooler = environment.get("THREADLINE_TRANSACTION_POOLER", "")
        supabase_url = environment.get("SUPABASE_URL", "").rstrip("/")
        return cls(
            database_url=database_url,
            pool_size=_positive(environment, "THREADLINE_POOL_SIZE", cls.pool_size),
            transaction_pooler=pooler.lower() in {"1", "true", "yes"}
            if pooler
            else urlsplit(database_url).port == TRANSACTION_POOLER_PORT,
            ingest_max_bytes=_positive(environment, "THREADLINE_INGEST_MAX_BYTES", cls.ingest_max_bytes),
            jwks_url=f"{supabase_url}/auth/v1/.well-known/jwks.json" if supabase_url else None,
            jwt_secret=environment.get("JWT_SECRET") or None,
        )


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} must be a positive whole number.")
    return int(text)
