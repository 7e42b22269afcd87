"""`threadline doctor`: looks at a Supabase project from outside and says what is missing or wrong."""

from __future__ import annotations

import json
import os
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import asyncpg
import httpx
import jwt

from threadline.settings import PUBLIC_KEYS, SECRET_KEYS, Settings
from threadline.tokens import LEEWAY

# What this version of the service rests on: the versions in `supabase/migrations`.
MIGRATIONS = ["20261122000000", "20261122000001"]

_BECOME = "select set_config('role', 'service_role', true)"
_DIAGNOSE = "select private.diagnose($1, $2)"
_PROCESS = "select pg_backend_pid()"

PUSH = 'run "supabase db push"'
DEPLOY = 'run "supabase functions deploy messaging-ingest"'


async def examine(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return what is wrong, a sentence each; nothing when all is well.

    Args:
        settings: as `serve` has them.
        environment: where the keys are looked for.
    """
    found = [finding async for finding in _examine_database(settings)]
    found += _examine_keys(environment)
    if not settings.supabase_url:
        return [*found, "SUPABASE_URL is not set, so access tokens cannot be verified and nothing can be uploaded."]
    url, trusts_proxies = settings.supabase_url, settings.trusts_proxies
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=trusts_proxies) as client:
        try:
            found += [finding async for finding in _examine_project(client, settings)]
        except httpx.HTTPError as error:
            found.append(f"The project at {settings.supabase_url} cannot be reached ({type(error).__name__}).")
    return found


async def _examine_database(settings: Settings) -> AsyncIterator[str]:
    where = urlsplit(settings.database_url).hostname
    async with AsyncExitStack() as connections:
        try:
            first, second = [await _connect(settings, connections) for _ in range(2)]
            for finding in await _diagnose(first):
                yield finding
            if await _is_shared(first, second) and not settings.transaction_pooler:
                yield (
                    "DATABASE_URL leads through a pooler in transaction mode, and the service is not told; "
                    "set THREADLINE_TRANSACTION_POOLER=true."
                )
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            yield f"The database at {where} refuses the user or the password of DATABASE_URL."
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            yield f"The database at {where} does not answer ({type(error).__name__})."


async def _connect(settings: Settings, connections: AsyncExitStack) -> asyncpg.Connection:
    connection = await asyncpg.connect(settings.database_url, timeout=10, command_timeout=30, statement_cache_size=0)
    connections.callback(connection.terminate)
    return connection


async def _diagnose(connection: asyncpg.Connection) -> list[str]:
    try:
        async with connection.transaction():
            await connection.fetchval(_BECOME)
            rows = await connection.fetch(_DIAGNOSE, MIGRATIONS, datetime.now(UTC))
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
        return [f"The migrations have not been applied, or not all of them; {PUSH}."]
    except asyncpg.InsufficientPrivilegeError:
        return ["The user of DATABASE_URL cannot become service_role, without which it is of no use to the service."]
    return [finding for (finding,) in rows]


async def _is_shared(first: asyncpg.Connection, second: asyncpg.Connection) -> bool:
    """Whether connections do not keep a server process of their own: a pooler in transaction mode."""
    before = [await connection.fetchval(_PROCESS) for connection in (first, second)]
    if before[0] == before[1]:
        return True
    # A pooler gives out either the process that was used last or the one that has waited longest.
    async with second.transaction():
        held = await second.fetchval(_PROCESS)
        return before != [await first.fetchval(_PROCESS), held]


def _examine_keys(environment: Mapping[str, str]) -> list[str]:
    found = []
    for name in (*PUBLIC_KEYS, *SECRET_KEYS):
        if not (key := environment.get(name)):
            continue
        kind, wanted = _kind(key), "public" if name in PUBLIC_KEYS else "secret"
        if kind is None:
            found.append(f"{name} is no API key of Supabase; it begins with sb_, or with eyJ if it is a legacy key.")
        elif kind != wanted:
            found.append(f"{name} holds a {kind} key and must hold a {wanted} one.")
    if not any(environment.get(name) for name in PUBLIC_KEYS):
        found.append(
            "SUPABASE_PUBLISHABLE_KEY is not set, so nothing can be uploaded, and Storage and Realtime are not tried."
        )
    return found


def _kind(key: str) -> str | None:
    if key.startswith("sb_"):
        return {"publishable": "public", "secret": "secret"}.get(key.split("_")[1])
    try:
        role = jwt.decode(key, options={"verify_signature": False}).get("role")
    except jwt.PyJWTError:
        return None
    return {"anon": "public", "service_role": "secret"}.get(role)


async def _examine_project(client: httpx.AsyncClient, settings: Settings) -> AsyncIterator[str]:
    key = settings.supabase_key or ""
    headers = {"apikey": key}
    answer = await client.get("/auth/v1/.well-known/jwks.json", headers=headers)
    if finding := _clock(answer, time.time()):
        yield finding
    if finding := _signing(answer, settings):
        yield finding
    if finding := await _function(client):
        yield finding
    if not key:
        return
    answer = await client.get("/storage/v1/bucket", headers={**headers, "authorization": f"Bearer {key}"})
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        yield (
            "The project refuses the key in SUPABASE_PUBLISHABLE_KEY; take one from the project's settings. "
            "Legacy keys, which begin with eyJ, can be disabled there."
        )
        return
    if not answer.is_success:
        yield f"Storage does not work: it answers {answer.status_code}."
    answer = await client.get("/rest/v1/settings", headers={**headers, "accept-profile": "private"})
    if answer.status_code != HTTPStatus.NOT_ACCEPTABLE:
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            yield f"The Data API does not work: it answers {answer.status_code}."
        else:
            yield "The Data API exposes the schema private; take it out of the exposed schemas."
    if (status := await _handshake(client, key)) != HTTPStatus.SWITCHING_PROTOCOLS:
        yield f"Realtime does not work: it answers {status} to a WebSocket."


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
    except (json.JSONDecodeError, KeyError, TypeError):
        known = None
    if known is None:
        return f"Auth does not say by which keys it signs: /auth/v1/.well-known/jwks.json answers {answer.status_code}."
    if not known and not settings.jwt_secret:
        return "The project signs access tokens with its legacy secret only; set JWT_SECRET, or move to signing keys."
    return None


async def _function(client: httpx.AsyncClient) -> str | None:
    """What is wrong with the Edge Function: it refuses a key that nobody has, in its own words."""
    answer = await client.post(
        "/functions/v1/messaging-ingest",
        json={"platform": "whatsapp", "connection_id": "threadline doctor", "conversations": []},
        headers={"x-api-key": secrets.token_urlsafe()},
    )
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return f"The Edge Function messaging-ingest is not deployed; {DEPLOY}."
    if answer.status_code != HTTPStatus.UNAUTHORIZED:
        return f"The Edge Function messaging-ingest does not work: it answers {answer.status_code}."
    if "x-api-key" not in answer.headers.get("access-control-allow-headers", ""):
        return f"The platform wants a token before messaging-ingest runs: verify_jwt must be false; {DEPLOY}."
    return None


async def _handshake(client: httpx.AsyncClient, key: str) -> int:
    """Ask for a WebSocket and return the status of the answer."""
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": b64encode(secrets.token_bytes(16)).decode(),
    }
    parameters = {"apikey": key, "vsn": "1.0.0"}
    async with client.stream("GET", "/realtime/v1/websocket", params=parameters, headers=headers) as answer:
        return answer.status_code
