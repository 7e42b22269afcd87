"""`threadline doctor`: checks a Supabase project from outside and says what to fix."""

from __future__ import annotations

import os
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import asyncpg
import httpx

from threadline.keys import find_kind
from threadline.project.shipped import CLI, FUNCTION, newest_version
from threadline.settings import PUBLIC_KEYS, SECRET_KEYS, Settings
from threadline.tls import find_mode, is_local
from threadline.tokens import LEEWAY

PUSH = f'run "threadline add" and "{CLI} db push --remote"'
INSUFFICIENT_PRIVILEGE = "42501"
_WEAK_MODES = {
    "disable": "in clear text (sslmode=disable): the network reads the password and all messages",
    "require": "encrypted but not verified (sslmode=require): another server can pose as the database",
    "verify-ca": "verified without its host name (sslmode=verify-ca)",
}
DEPLOY = f'run "{CLI} functions deploy {FUNCTION}"'


async def examine(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return one sentence per problem; none if all is well."""
    found = [finding async for finding in _examine_database(settings)]
    found += _examine_keys(environment)
    keys = {name: key for name in (*PUBLIC_KEYS, *SECRET_KEYS) if (key := environment.get(name)) and find_kind(key)}
    if not settings.supabase_url:
        return [*found, "SUPABASE_URL is not set; without it, access tokens and uploads do not work."]
    url = settings.supabase_url
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=settings.trusts_proxies) as client:
        try:
            found += [finding async for finding in _examine_project(client, settings, keys)]
        except httpx.HTTPError as error:
            found.append(f"The project at {url} cannot be reached ({type(error).__name__}); check SUPABASE_URL.")
    return found


async def _examine_database(settings: Settings) -> AsyncIterator[str]:
    where = urlsplit(settings.database_url).hostname or "DATABASE_URL"
    async with AsyncExitStack() as connections:
        if (weakness := _WEAK_MODES.get(find_mode(settings.database_url))) and not is_local(settings.database_url):
            yield f"The connection to the database at {where} is {weakness}; see docs/how-to/supabase.md."
        try:
            first, second = [await _connect(settings, connections) for _ in range(2)]
            for finding in await _diagnose(first):
                yield finding
            if await _is_shared(first, second) and not settings.transaction_pooler:
                yield (
                    "DATABASE_URL leads through a pooler in transaction mode, which the service does not expect; "
                    "set THREADLINE_TRANSACTION_POOLER=true."
                )
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            yield f"The database at {where} refuses the user or the password of DATABASE_URL; correct them."
        except ssl.SSLCertVerificationError as error:
            yield (
                f"The certificate of the database at {where} cannot be verified ({error.verify_message}), so nothing "
                "was sent; set THREADLINE_DATABASE_CA to the root certificate of the project."
            )
        except ConnectionError as error:
            if "rejected SSL upgrade" not in str(error):
                yield f"The database at {where} does not answer ({type(error).__name__}); check DATABASE_URL."
            else:
                yield f"The database at {where} refuses TLS, so nothing was sent; check the host in DATABASE_URL."
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            yield f"The database at {where} does not answer ({type(error).__name__}); check DATABASE_URL."


async def _connect(settings: Settings, connections: AsyncExitStack) -> asyncpg.Connection:
    connection = await asyncpg.connect(**settings.connection(), timeout=10, command_timeout=30, statement_cache_size=0)
    connections.callback(connection.terminate)
    return connection


async def _diagnose(connection: asyncpg.Connection) -> list[str]:
    try:
        async with connection.transaction():
            await connection.fetchval("select set_config('role', 'service_role', true)")
            rows = await connection.fetch("select private.diagnose($1, $2)", newest_version(), datetime.now(UTC))
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
        return [f"The migrations have not been applied, or not all of them; {PUSH}."]
    except asyncpg.InsufficientPrivilegeError:
        return ["The user of DATABASE_URL cannot become service_role, as the service must; grant it that role."]
    return [finding for (finding,) in rows]


async def _is_shared(first: asyncpg.Connection, second: asyncpg.Connection) -> bool:
    """Return whether connections share server processes, as behind a pooler in transaction mode."""
    process = "select pg_backend_pid()"
    before = [await connection.fetchval(process) for connection in (first, second)]
    if before[0] == before[1]:
        return True
    # A pooler hands out the process that was used last, or the one that was idle longest.
    async with second.transaction():
        held = await second.fetchval(process)
        return before != [await first.fetchval(process), held]


def _examine_keys(environment: Mapping[str, str]) -> Iterator[str]:
    for name in (*PUBLIC_KEYS, *SECRET_KEYS):
        if not (key := environment.get(name)):
            continue
        kind, wanted = find_kind(key), "public" if name in PUBLIC_KEYS else "secret"
        if kind is None:
            yield f"{name} is not an API key of Supabase; keys begin with sb_, and legacy keys with eyJ."
        elif kind != wanted:
            yield f"{name} holds a {kind} key and must hold a {wanted} one; replace it."
    if not any(environment.get(name) for name in PUBLIC_KEYS):
        yield "SUPABASE_PUBLISHABLE_KEY is not set; uploads need it, and so do the checks of Storage and Realtime."


async def _examine_project(
    client: httpx.AsyncClient, settings: Settings, keys: Mapping[str, str]
) -> AsyncIterator[str]:
    answer = await client.get("/auth/v1/.well-known/jwks.json")  # without a key, as the service asks
    for finding in (_clock(answer, time.time()), _signing(answer, settings), await _function(client)):
        if finding:
            yield finding
    accepted = []
    for name, key in keys.items():
        storage, data_api = await _try_key(client, key)
        if _is_refused(storage) or _is_refused(data_api):
            yield (
                f"The project refuses the key in {name}; copy a key from the project's settings, "
                "where legacy keys (eyJ...) can be disabled."
            )
        else:
            accepted.append((key, storage, data_api))
    if not accepted:
        return
    key, storage, data_api = accepted[0]
    if not storage.is_success:
        yield f"Storage does not work: it answers {storage.status_code}; see the project's logs."
    if data_api.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield f"The Data API does not work: it answers {data_api.status_code}; see the project's logs."
    elif data_api.status_code != HTTPStatus.NOT_ACCEPTABLE:
        yield "The Data API exposes the schema private; remove it from the exposed schemas."
    if (status := await _handshake(client, key)) != HTTPStatus.SWITCHING_PROTOCOLS:
        yield f"Realtime does not work: it answers {status} to a WebSocket; see the project's logs."


async def _try_key(client: httpx.AsyncClient, key: str) -> tuple[httpx.Response, httpx.Response]:
    """Use a key, and return the answers of Storage and of the Data API about the schema private."""
    headers = {"apikey": key, "authorization": f"Bearer {key}"}
    return (
        await client.get("/storage/v1/bucket", headers=headers),
        await client.get("/rest/v1/settings", headers={**headers, "accept-profile": "private"}),
    )


def _is_refused(answer: httpx.Response) -> bool:
    """Return whether the gateway or a server behind it refused the key. A missing right is no refusal."""
    try:
        told = answer.json()
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    if answer.status_code == HTTPStatus.BAD_REQUEST:  # Storage, when the gateway passes a bad key on
        return str(told.get("statusCode")) in {"401", "403"}
    return answer.status_code == HTTPStatus.UNAUTHORIZED and told.get("code") != INSUFFICIENT_PRIVILEGE


def _clock(answer: httpx.Response, now: float) -> str | None:
    if not (date := answer.headers.get("date")):
        return None
    apart = abs(parsedate_to_datetime(date).timestamp() - now)
    if apart <= LEEWAY:
        return None
    return f"The clocks of this machine and of the project are {apart:.0f} seconds apart; set the time."


def _signing(answer: httpx.Response, settings: Settings) -> str | None:
    try:
        known = answer.json()["keys"] if answer.is_success else None
    except (ValueError, KeyError, TypeError):
        known = None
    if known is None:
        where = "/auth/v1/.well-known/jwks.json"
        return f"Auth does not publish its signing keys: {where} answers {answer.status_code}; check SUPABASE_URL."
    if not known and not settings.jwt_secret:
        return "The project signs access tokens with its legacy secret only; set JWT_SECRET, or use signing keys."
    return None


async def _function(client: httpx.AsyncClient) -> str | None:
    """Call the Edge Function with a random key, which it must refuse itself. Return what is wrong, if anything."""
    answer = await client.post(
        "/functions/v1/messaging-ingest",
        json={"platform": "whatsapp", "connection_id": "threadline doctor", "conversations": []},
        headers={"x-api-key": secrets.token_urlsafe()},
    )
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return f"The Edge Function messaging-ingest is not deployed; {DEPLOY}."
    if answer.status_code != HTTPStatus.UNAUTHORIZED:
        return f"The Edge Function messaging-ingest does not work: it answers {answer.status_code}; see its logs."
    if "x-api-key" not in answer.headers.get("access-control-allow-headers", ""):
        return f"The platform demands a token for messaging-ingest: verify_jwt must be false; {DEPLOY}."
    return None


async def _handshake(client: httpx.AsyncClient, key: str) -> int:
    """Ask for a WebSocket and return the status of the answer."""
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",  # the example of RFC 6455
    }
    parameters = {"apikey": key, "vsn": "1.0.0"}
    async with client.stream("GET", "/realtime/v1/websocket", params=parameters, headers=headers) as answer:
        return answer.status_code
