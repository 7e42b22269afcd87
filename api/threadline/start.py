"""What `serve` checks before it starts: a wrong setting stops it with one sentence that names the variable."""

from __future__ import annotations

import asyncio
import logging
import socket

import asyncpg
import jwt
from click import ClickException

from threadline.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 3  # seconds, as the pool has it


def check_tokens(settings: Settings) -> None:
    """Raise SettingsError if no access token can be verified, or if the legacy secret is that of another project."""
    if settings.jwt_secret is None and settings.jwks_url is None:
        raise SettingsError("Set SUPABASE_URL to the URL of your project: its keys verify the access tokens of users.")
    keys = {"SUPABASE_ANON_KEY": settings.supabase_key, "SUPABASE_SERVICE_ROLE_KEY": settings.supabase_secret_key}
    for name, key in keys.items():
        if settings.jwt_secret and key and key.startswith("eyJ"):  # a legacy key, signed with the secret
            try:
                jwt.decode(key, settings.jwt_secret, algorithms=["HS256"], options={"verify_exp": False})
            except jwt.InvalidSignatureError:
                raise SettingsError(
                    f"JWT_SECRET has not signed {name}: set the legacy JWT secret of the same project."
                ) from None
            except jwt.PyJWTError:
                continue


def check_port(host: str, port: int) -> None:
    """Raise ClickException if the service cannot listen there."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ClickException(
            f"Port {port} of {host} cannot be used ({reason}); choose others with --port and --host."
        ) from error


def check_database(settings: Settings) -> None:
    """Raise SettingsError if Postgres refuses DATABASE_URL; if it cannot be reached, only log that."""
    asyncio.run(_connect(settings.database_url))


async def _connect(url: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT)
    except asyncpg.InvalidAuthorizationSpecificationError:  # a wrong password is one too
        raise SettingsError("Postgres refuses the user or the password of DATABASE_URL.") from None
    except asyncpg.InvalidCatalogNameError:
        raise SettingsError("Postgres has no database with the name in DATABASE_URL.") from None
    except asyncpg.InternalServerError as error:
        if "enant" not in str(error):
            raise
        raise SettingsError(
            "The pooler of DATABASE_URL does not know the user in it: it ends with the project's id."
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        # Postgres may come later, and the service then serves. The text may quote the URL, so only its name is logged.
        logger.warning(
            "Postgres at DATABASE_URL is out of reach (%s); calls get 503 until it answers", type(error).__name__
        )
    else:
        connection.terminate()
