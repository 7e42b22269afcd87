"""Reads the bodies of requests, and refuses wrong ones in the words of Auth."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from litestar import Request

from threadline_devstack.auth import passwords, refusals
from threadline_devstack.auth.refusals import Refusal
from threadline_devstack.http import BodyTooLargeError, read_body

MAX_BODY = 1_000_000
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object, an empty one when there is no body; raise Refusal for another one."""
    try:
        body = await read_body(request, MAX_BODY)
    except BodyTooLargeError as error:
        message = f"Request body too large (max {MAX_BODY} bytes)"
        raise Refusal(413, "request_entity_too_large", message) from error
    try:
        content = json.loads(body or b"{}")
        can_be_stored = all(map(_can_be_stored, _texts(content)))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_json", "Could not parse request body as JSON") from error
    if not isinstance(content, dict):
        raise Refusal(400, "bad_json", "Could not parse request body as JSON: it is not an object")
    if not can_be_stored:
        raise refusals.invalid("Text must be Unicode without null characters")
    return content


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _can_be_stored(text: str) -> bool:
    # JSON can escape half a surrogate pair, which is not a character.
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def read_email(wanted: dict[str, Any]) -> str:
    """Return the address in lower case; raise Refusal if it is not valid."""
    email = wanted.get("email")
    if not isinstance(email, str) or not email:
        raise refusals.invalid("An email address is required")
    if len(email) > 255:
        raise refusals.invalid("An email address is too long")
    if not EMAIL.fullmatch(email):
        raise refusals.invalid("Unable to validate email address: invalid format")
    return email.lower()


def read_password(wanted: dict[str, Any]) -> str:
    """Return the password of a sign-up; raise Refusal if it is missing or weak."""
    password = wanted.get("password")
    if not isinstance(password, str) or not password:
        raise refusals.invalid("Signup requires a valid password")
    check_length(password)
    if len(password) < passwords.SHORTEST:
        raise refusals.weak_password(passwords.SHORTEST)
    return password


async def read_new_password(wanted: dict[str, Any], before: str | None) -> str | None:
    """Return the hash of the new password, None without one; raise Refusal if it is weak or the old one."""
    if wanted.get("password") is None:
        return None
    password = read_password(wanted)
    if await passwords.is_right(password, before):
        raise Refusal(422, "same_password", "New password should be different from the old password.")
    return await passwords.encrypt(password)


def check_length(password: str) -> None:
    """Raise Refusal for a password that bcrypt would cut."""
    if len(password.encode()) > passwords.LONGEST:
        raise refusals.invalid(f"Password cannot be longer than {passwords.LONGEST} characters")


def read_object(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a member that is an object, {} if it is missing; raise Refusal for another type."""
    value = wanted.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, "bad_json", f"Could not parse request body as JSON: {name} is not an object")
    return value


def read_id(text: Any, message: str, status: int = 403) -> uuid.UUID:
    """Return an id; raise Refusal with this message if it is not a uuid."""
    try:
        return uuid.UUID(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise Refusal(status, "bad_jwt" if status == 403 else "validation_failed", message) from error
