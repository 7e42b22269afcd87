"""/auth/v1: the calls by which supabase-js and supabase-py sign in, stay signed in, sign out and manage users."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import asyncpg
from litestar import Request

from threadline_devstack.auth import admin, answers, passwords, refusals, tokens
from threadline_devstack.auth.accounts import SCOPES, Accounts
from threadline_devstack.auth.bodies import (
    read_email,
    read_id,
    read_json,
    read_new_password,
    read_object,
    read_password,
)
from threadline_devstack.auth.refusals import Refusal
from threadline_devstack.gateway import Call
from threadline_devstack.home import Home
from threadline_devstack.http import Answer, document
from threadline_devstack.jwt import Problem, TokenError
from threadline_devstack.keys import TOKEN_LIFETIME, SigningKey, user_claims
from threadline_devstack.postgres import SUPERUSER
from threadline_devstack.project import Project

PREFIX = "/auth/v1"
JWKS_PATH = f"{PREFIX}/.well-known/jwks.json"


class AuthApi:
    """Auth of one project's stack."""

    name = "Auth"
    prefix = PREFIX
    needs_key = False

    def __init__(self, project: Project) -> None:
        """Take the project; nothing is open yet."""
        home = Home(project.home)
        self._api_url = project.ports.api_url
        self._allows_anonymous = project.allows_anonymous()
        self._key = SigningKey.of(home.signing_key)
        self._refresh_tokens = tokens.RefreshTokens(self._key)
        self._accounts = Accounts(project.ports.database_url(SUPERUSER, home.superuser_password()))

    async def close(self) -> None:
        """Close the connections to the database."""
        await self._accounts.close()

    async def answer(self, call: Call) -> Answer:
        """Answer a call below /auth/v1."""
        version = call.request.headers.get(refusals.VERSION_HEADER)
        try:
            answer = await self._answer(call)
        except Refusal as refusal:
            answer = document(refusal.body(version), refusal.status, x_sb_error_code=refusal.code)
        if refusals.is_current(version):
            answer.headers[refusals.VERSION_HEADER] = refusals.VERSION
        answer.headers["access-control-expose-headers"] = f"{refusals.VERSION_HEADER}, x-total-count, link"
        return answer

    def failure(self, call: Call) -> Answer:
        """Return the answer to a call that raised an unexpected error."""
        version = call.request.headers.get(refusals.VERSION_HEADER)
        return document(Refusal(500, "unexpected_failure", "Unexpected failure").body(version), 500)

    async def _answer(self, call: Call) -> Answer:
        request = call.request
        match request.method, *unquote(call.path).strip("/").split("/"):
            case "GET", ".well-known", "jwks.json":
                return document({"keys": [self._key.public_jwk]})
            case "GET", "health":
                return document(answers.HEALTH)
            case "GET", "settings":
                return document(answers.settings(allows_anonymous=self._allows_anonymous))
            case "POST", "signup":
                return await self._sign_up(await read_json(request), request)
            case "POST", "token":
                return await self._grant(await read_json(request), request)
            case "GET", "user":
                user, _ = await self._caller(call)
                return document(answers.user(user))
            case "PUT", "user":
                return await self._update(call)
            case "POST", "logout":
                return await self._sign_out(call)
            case method, "admin", "users", *path:
                admin.check(claims_of(call))
                return await admin.answer(self._accounts, method, path, request)
        return document(Refusal(404, "not_found", "404 page not found").body(None), 404)

    async def _sign_up(self, wanted: dict[str, Any], request: Request) -> Answer:
        if not wanted.get("email") and not wanted.get("phone"):
            return await self._sign_up_anonymously(wanted, request)
        password = read_password(wanted)
        email = read_email(wanted)
        if await self._accounts.find_by_email(email):
            raise Refusal(422, "user_already_exists", "User already registered")
        user = await self._accounts.create(
            email,
            await passwords.encrypt(password),
            is_confirmed=True,
            user_metadata=read_object(wanted, "data"),
            app_metadata={},
        )
        return await self._sign_in(user, request)

    async def _sign_up_anonymously(self, wanted: dict[str, Any], request: Request) -> Answer:
        if not self._allows_anonymous:
            raise Refusal(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
        return await self._sign_in(await self._accounts.create_anonymous(read_object(wanted, "data")), request)

    async def _grant(self, wanted: dict[str, Any], request: Request) -> Answer:
        match request.query_params.get("grant_type"):
            case "password":
                return await self._sign_in(await self._authenticate(wanted), request)
            case "refresh_token":
                return await self._refresh(wanted)
        raise Refusal(400, "invalid_credentials", "unsupported_grant_type")

    async def _authenticate(self, wanted: dict[str, Any]) -> asyncpg.Record:
        email, password = wanted.get("email"), wanted.get("password")
        if not isinstance(email, str) or not email:
            raise refusals.invalid("missing email or phone")
        user = await self._accounts.find_by_email(email)
        if user is None or not isinstance(password, str):
            raise refusals.wrong_credentials()
        refuse_if_banned(user, 400, "User is banned")
        if not await passwords.is_right(password, user["encrypted_password"]):
            raise refusals.wrong_credentials()
        if user["email_confirmed_at"] is None:
            raise Refusal(400, "email_not_confirmed", "Email not confirmed")
        return user

    async def _sign_in(self, user: asyncpg.Record, request: Request) -> Answer:
        session = await self._accounts.open_session(user["id"], request.headers.get("user-agent"))
        return await self._session(session)

    async def _refresh(self, wanted: dict[str, Any]) -> Answer:
        token = wanted.get("refresh_token")
        if not isinstance(token, str) or not token:
            raise refusals.OAuthRefusal("invalid_request", "refresh_token required")
        return await self._session(await self._accounts.refresh_session(*self._refresh_tokens.read(token)))

    async def _session(self, session: asyncpg.Record) -> Answer:
        user = await self._accounts.find(session["user_id"])
        if user is None:
            raise refusals.no_refresh_token()
        refuse_if_banned(user, 400, "Invalid Refresh Token: User Banned")
        signed_in_at = int(session["created_at"].timestamp())
        claims = user_claims(user, api_url=self._api_url, session=session["id"], signed_in_at=signed_in_at)
        return document(
            {
                "access_token": self._key.sign(claims),
                "token_type": "bearer",
                "expires_in": TOKEN_LIFETIME,
                "expires_at": claims["exp"],
                "refresh_token": self._refresh_tokens.make(session["id"], session["refresh_token_counter"]),
                "user": answers.user(user),
            },
            cache_control="no-store",
        )

    async def _update(self, call: Call) -> Answer:
        user, session = await self._caller(call)
        wanted = await read_json(call.request)
        email = await self._new_email(user, wanted)
        password = await read_new_password(wanted, user["encrypted_password"])
        if email:
            await self._accounts.name(user["id"], email)
        changed = await self._accounts.update(
            user["id"], password_hash=password, user_metadata=read_object(wanted, "data"), app_metadata={}
        )
        if changed is None:
            raise refusals.no_user()
        if password:
            await self._accounts.close_sessions(user["id"], session, "others")
        return document(answers.user(changed))

    async def _new_email(self, user: asyncpg.Record, wanted: dict[str, Any]) -> str | None:
        if not user["is_anonymous"]:
            if (wanted.get("email") or user["email"]) != user["email"]:
                raise refusals.invalid("The address cannot be changed here: the devstack sends no mail")
            return None
        if not wanted.get("email"):
            if wanted.get("password"):
                message = "Updating password of an anonymous user without an email or phone is not allowed"
                raise Refusal(422, "validation_failed", message)
            return None
        email = read_email(wanted)
        if await self._accounts.find_by_email(email):
            raise refusals.email_exists()
        return email

    async def _sign_out(self, call: Call) -> Answer:
        scope = call.request.query_params.get("scope") or "global"
        if scope not in SCOPES:
            raise refusals.invalid(f'Unsupported logout scope "{scope}"')
        user, session = await self._caller(call)
        await self._accounts.close_sessions(user["id"], session, scope)
        return Answer(204)

    async def _caller(self, call: Call) -> tuple[asyncpg.Record, uuid.UUID | None]:
        claims = claims_of(call)
        if not claims.get("sub"):
            raise refusals.bad_token("invalid claim: missing sub claim")
        user = await self._accounts.find(read_id(claims["sub"], "invalid claim: sub claim must be a UUID"))
        if user is None:
            raise Refusal(403, "user_not_found", "User from sub claim in JWT does not exist")
        session = None
        if claims.get("session_id"):
            session = read_id(claims["session_id"], "invalid claim: session_id claim must be a UUID")
            if not await self._accounts.has_session(session):
                raise Refusal(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        refuse_if_banned(user, 403, "User is banned")
        return user, session


def claims_of(call: Call) -> Mapping[str, Any]:
    """Return the claims of the caller's token; raise Refusal if it is missing or not valid."""
    if call.token is None:
        raise refusals.no_bearer()
    try:
        return call.claims()
    except TokenError as error:
        reason = "token is malformed"
        if error.problem is Problem.EXPIRED:
            reason = "token has invalid claims: token is expired"
        raise refusals.bad_token(f"invalid JWT: unable to parse or verify signature, {reason}") from error


def refuse_if_banned(user: Mapping[str, Any], status: int, message: str) -> None:
    """Raise Refusal if the user is banned at the moment."""
    if user["banned_until"] and user["banned_until"] > datetime.now(UTC):
        raise Refusal(status, "user_banned", message)
