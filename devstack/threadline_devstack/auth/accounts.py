"""Users and sessions as rows. Auth's own role reads and writes them, so triggers run as on the platform."""

import json
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from threadline_devstack.auth import refusals

logger = logging.getLogger(__name__)

REUSE_INTERVAL = 10  # seconds in which an older token still works: two tabs may refresh at once

FIND = """
select u.*, coalesce(i.identities, '[]') as identities
from auth.users as u
left join lateral (
    select
        jsonb_agg(
            jsonb_build_object(
                'identity_id', i.id, 'id', i.provider_id, 'user_id', i.user_id, 'identity_data', i.identity_data,
                'provider', i.provider, 'last_sign_in_at', i.last_sign_in_at, 'created_at', i.created_at,
                'updated_at', i.updated_at, 'email', i.email
            )
            order by i.created_at, i.id
        ) as identities
    from auth.identities as i
    where i.user_id = u.id
) as i on true
"""
CREATE = """
with made as (
    insert into auth.users (
        instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data,
        raw_user_meta_data, created_at, updated_at, confirmation_token, recovery_token, email_change_token_new,
        email_change, is_anonymous
    )
    values (
        '00000000-0000-0000-0000-000000000000', $1, 'authenticated', $2, $3, $4, case when $5 then now() end,
        $6, $7, now(), now(), '', '', '', '', $8::jsonb is null
    )
    returning id, is_anonymous
)
insert into auth.identities (
    provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at
)
select id, id, $8, 'email', now(), now(), now() from made where not is_anonymous
"""
NAME = """
with named as (
    update auth.users
    set
        email = $2, email_confirmed_at = now(), is_anonymous = false, updated_at = now(),
        raw_app_meta_data = coalesce(raw_app_meta_data, '{}') || $3::jsonb
    where id = $1 and is_anonymous
    returning id
)
insert into auth.identities (
    provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at
)
select id, id, $4, 'email', now(), now(), now() from named
"""
PROVIDER = {"provider": "email", "providers": ["email"]}
# A null in an object removes that member.
UPDATE = """
update auth.users
set
    encrypted_password = coalesce($2, encrypted_password),
    raw_user_meta_data = (coalesce(raw_user_meta_data, '{}') || $3::jsonb) - $4::text[],
    raw_app_meta_data = (coalesce(raw_app_meta_data, '{}') || $5::jsonb) - $6::text[],
    email_confirmed_at = coalesce(email_confirmed_at, case when $7 then now() end),
    updated_at = now()
where id = $1
"""
OPEN = """
with signed_in as (update auth.users set last_sign_in_at = now(), updated_at = now() where id = $2)
insert into auth.sessions (id, user_id, created_at, updated_at, user_agent, refresh_token_counter)
values ($1, $2, now(), now(), $3, 0)
returning *
"""
# Check and step are one statement, so that only one of two clients steps.
REFRESH = """
update auth.sessions
set refresh_token_counter = refresh_token_counter + 1, refreshed_at = now() at time zone 'utc', updated_at = now()
where id = $1 and refresh_token_counter = $2
returning *
"""
RECALL = """
select *, refreshed_at > now() at time zone 'utc' - $2 * interval '1 second' as is_recent
from auth.sessions
where id = $1
"""
CLOSE = {
    "global": "delete from auth.sessions where user_id = $1",
    "local": "delete from auth.sessions where user_id = $1 and id = $2",
    "others": "delete from auth.sessions where user_id = $1 and id <> $2",
}
SCOPES = tuple(CLOSE)


class Accounts:
    """The tables of Auth in a stack's database.

    Args:
        database_url: with the login of the superuser, who becomes Auth's role at once.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._pool: asyncpg.Pool | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._pool:
            self._pool.terminate()

    @asynccontextmanager
    async def _acting(self, doing: str) -> AsyncIterator[asyncpg.Connection]:
        if self._pool is None:  # the pool belongs to the loop that uses it
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=4,
                init=_read_json,
                command_timeout=30,
                server_settings={"role": "supabase_auth_admin", "search_path": "auth"},
            )
        await self._pool
        try:
            async with self._pool.acquire(timeout=10) as connection:
                yield connection
        except asyncpg.UniqueViolationError as error:
            raise refusals.conflict() from error
        except asyncpg.PostgresError as error:
            # Not its details: they may quote whole rows.
            logger.error("Auth: the database refuses %s: %s", doing, error.message)
            raise refusals.database_error(doing) from error

    async def find(self, user: uuid.UUID) -> asyncpg.Record | None:
        """Return a user with their identities."""
        async with self._acting("loading user") as connection:
            return await connection.fetchrow(f"{FIND} where u.id = $1", user)

    async def find_by_email(self, email: str) -> asyncpg.Record | None:
        """Return the user with an address, in any case."""
        async with self._acting("finding user") as connection:
            return await connection.fetchrow(
                f"{FIND} where lower(u.email) = lower($1) and not u.is_sso_user and u.deleted_at is null", email
            )

    async def list(self, limit: int, offset: int) -> tuple[list[asyncpg.Record], int]:
        """Return a page of all users, the newest first, and how many there are."""
        async with self._acting("finding users") as connection:
            rows = await connection.fetch(f"{FIND} order by u.created_at desc, u.id limit $1 offset $2", limit, offset)
            return rows, await connection.fetchval("select count(*) from auth.users")

    async def create(
        self,
        email: str,
        password_hash: str,
        *,
        is_confirmed: bool,
        user: uuid.UUID | None = None,
        role: str = "authenticated",
        user_metadata: Mapping[str, Any],
        app_metadata: Mapping[str, Any],
    ) -> asyncpg.Record:
        """Store a user and return the row; raise Refusal if the database refuses."""
        user = user or uuid.uuid4()
        metadata = {**user_metadata, **({"email_verified": True} if is_confirmed else {})}
        provided = {**PROVIDER, **app_metadata}
        async with self._acting("creating new user") as connection:
            await connection.execute(
                CREATE, user, role, email, password_hash, is_confirmed, provided, metadata, _identity(user, email)
            )
        return await self.find(user)

    async def create_anonymous(self, user_metadata: Mapping[str, Any]) -> asyncpg.Record:
        """Store a user without an address and return the row; raise Refusal if the database refuses."""
        user = uuid.uuid4()
        async with self._acting("creating anonymous user") as connection:
            await connection.execute(CREATE, user, "authenticated", None, None, False, {}, user_metadata, None)
        return await self.find(user)

    async def name(self, user: uuid.UUID, email: str) -> None:
        """Give an anonymous user an address: the user is permanent then."""
        async with self._acting("updating user") as connection:
            await connection.execute(NAME, user, email, PROVIDER, _identity(user, email))

    async def update(
        self,
        user: uuid.UUID,
        *,
        password_hash: str | None,
        user_metadata: Mapping[str, Any],
        app_metadata: Mapping[str, Any],
        is_confirmed: bool = False,
    ) -> asyncpg.Record | None:
        """Change what is given and return the user; None if the user is gone."""
        changes = [
            value
            for patch in (user_metadata, app_metadata)
            for value in (patch, [n for n in patch if patch[n] is None])
        ]
        async with self._acting("updating user") as connection:
            await connection.execute(UPDATE, user, password_hash, *changes, is_confirmed)
        return await self.find(user)

    async def delete(self, user: uuid.UUID) -> None:
        """Delete a user and every row that refers to the user."""
        async with self._acting("deleting user") as connection:
            await connection.execute("delete from auth.users where id = $1", user)

    async def open_session(self, user: uuid.UUID, user_agent: str | None) -> asyncpg.Record:
        """Sign a user in and return the session."""
        async with self._acting("granting user") as connection:
            return await connection.fetchrow(OPEN, uuid.uuid4(), user, user_agent)

    async def refresh_session(self, session: uuid.UUID, number: int) -> asyncpg.Record:
        """Step to the next token of a session; raise Refusal if this token is too old.

        The token before the last works like the last: its answer may have been lost. So does an older
        one for some seconds. After that the token counts as stolen, and the session ends.
        """
        async with self._acting("granting user") as connection:
            if row := await connection.fetchrow(REFRESH, session, number):
                return row
            row = await connection.fetchrow(RECALL, session, REUSE_INTERVAL)
            if row is None:
                raise refusals.no_refresh_token()
            if row["refresh_token_counter"] == number + 1 or row["is_recent"]:
                return row
            await connection.execute(CLOSE["local"], row["user_id"], session)
            raise refusals.spent_refresh_token()

    async def has_session(self, session: uuid.UUID) -> bool:
        """Tell whether a session is open."""
        async with self._acting("finding session") as connection:
            return await connection.fetchval("select exists (select from auth.sessions where id = $1)", session)

    async def close_sessions(self, user: uuid.UUID, session: uuid.UUID | None, scope: str) -> None:
        """Sign a user out: of this session ("local"), of all others ("others"), of all ("global")."""
        async with self._acting("logging out user") as connection:
            if session is None or scope == "global":
                await connection.execute(CLOSE["global"], user)
            else:
                await connection.execute(CLOSE[scope], user, session)


def _identity(user: uuid.UUID, email: str) -> dict[str, Any]:
    return {"sub": str(user), "email": email, "email_verified": False, "phone_verified": False}


async def _read_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
