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
    """

    database_url: str
    pool_size: int = 10
    transaction_pooler: bool = False
    ingest_max_bytes: int = 10_000_000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read DATABASE_URL and, where set, THREADLINE_POOL_SIZE, _TRANSACTION_POOLER, _INGEST_MAX_BYTES.

        Raises:
            SettingsError: DATABASE_URL is missing, or a value is not a positive number.
        """
        database_url = environment.get("DATABASE_URL", "")
        if not database_url:
            raise SettingsError("Set DATABASE_URL to the connection string of your Postgres.")
        port = _port(database_url)
        pooler = environment.get("THREADLINE_TRANSACTION_POOLER", "")
        return cls(
            database_url=database_url,
            pool_size=_positive(environment, "THREADLINE_POOL_SIZE", cls.pool_size),
            transaction_pooler=pooler.lower() in {"1", "true", "yes"} if pooler else port == TRANSACTION_POOLER_PORT,
            ingest_max_bytes=_positive(environment, "THREADLINE_INGEST_MAX_BYTES", cls.ingest_max_bytes),
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
