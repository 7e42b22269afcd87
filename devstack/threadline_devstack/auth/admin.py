"""/auth/v1/admin/users: the secret key manages users."""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from litestar import Request

from threadline_devstack.auth import answers, passwords, refusals
from threadline_devstack.auth.accounts import Accounts
from threadline_devstack.auth.bodies import check_length, read_email, read_id, read_json, read_new_password, read_object
from threadline_devstack.auth.refusals import Refusal
from threadline_devstack.http import Answer, document

ROLES = frozenset({"service_role", "supabase_admin"})
PAGE, LARGEST_PAGE = 50, 1000


def check(claims: Mapping[str, Any]) -> None:
    """Raise Refusal unless these are the claims of an administrator."""
    if claims.get("role") not in ROLES:
        raise Refusal(403, "not_admin", "User not allowed")


async def answer(accounts: Accounts, method: str, path: list[str], request: Request) -> Answer:
    """Answer a call of an administrator."""
    match method, path:
        case "POST", []:
            return await _create(accounts, await read_json(request))
        case "GET", []:
            return await _list(accounts, request.query_params)
        case (("GET" | "PUT" | "DELETE"), [user]):
            return await _manage(accounts, method, user, request)
    raise Refusal(405, "method_not_allowed", "Method not allowed here")


async def _create(accounts: Accounts, wanted: dict[str, Any]) -> Answer:
    if not wanted.get("email"):
        raise refusals.invalid("Cannot create a user without either an email or phone")
    email = read_email(wanted)
    if await accounts.find_by_email(email):
        raise refusals.email_exists()
    password = wanted.get("password") or secrets.token_urlsafe(32)
    if not isinstance(password, str):
        raise Refusal(400, "bad_json", "Could not parse request body as JSON: password is not a text")
    check_length(password)
    user = wanted.get("id")
    row = await accounts.create(
        email,
        await passwords.encrypt(password),
        is_confirmed=wanted.get("email_confirm") is True,
        user=read_id(user, "ID must conform to the uuid v4 format", 400) if user else None,
        role=str(wanted.get("role") or "authenticated"),
        user_metadata=read_object(wanted, "user_metadata"),
        app_metadata=read_object(wanted, "app_metadata"),
    )
    return document(answers.user(row))


async def _list(accounts: Accounts, query: Mapping[str, str]) -> Answer:
    size = min(_count(query, "per_page", PAGE), LARGEST_PAGE)
    rows, total = await accounts.list(size, (_count(query, "page", 1) - 1) * size)
    users = [answers.user(row) for row in rows]
    return document({"users": users, "aud": "authenticated"}, x_total_count=str(total))


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name) or str(default)
    if not re.fullmatch("[1-9][0-9]{0,5}", value):
        raise refusals.invalid(f"Bad Pagination Parameters: {name} is not a whole number from 1")
    return int(value)


async def _manage(accounts: Accounts, method: str, user: str, request: Request) -> Answer:
    row = await accounts.find(read_id(user, "user_id must be an UUID", 404))
    if row is None:
        raise refusals.no_user()
    if method == "GET":
        return document(answers.user(row))
    wanted = await read_json(request)
    if method == "PUT":
        return await _update(accounts, row, wanted)
    if wanted.get("should_soft_delete"):
        raise refusals.invalid("The devstack does not support soft deletion")
    await accounts.delete(row["id"])
    return document({})


async def _update(accounts: Accounts, row: Mapping[str, Any], wanted: dict[str, Any]) -> Answer:
    if (wanted.get("email") or row["email"]) != row["email"]:
        raise refusals.invalid("The address cannot be changed here: the devstack sends no mail")
    password = await read_new_password(wanted, None)
    changed = await accounts.update(
        row["id"],
        password_hash=password,
        user_metadata=read_object(wanted, "user_metadata"),
        app_metadata=read_object(wanted, "app_metadata"),
        is_confirmed=wanted.get("email_confirm") is True,
    )
    if changed is None:
        raise refusals.no_user()
    if password:
        await accounts.close_sessions(row["id"], None, "global")
    return document(answers.user(changed))
