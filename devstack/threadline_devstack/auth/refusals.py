"""Refusals in the words and forms of Auth."""

from typing import Any

VERSION = "2024-01-01"  # of the API, from which the code of an error is a word
VERSION_HEADER = "x-supabase-api-version"


class Refusal(Exception):  # noqa: N818
    """An answer that is not what was asked for.

    Args:
        status: of HTTP.
        code: for programs.
        message: for people.
        extra: further members of the body.

    """

    def __init__(self, status: int, code: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.extra = extra

    def body(self, version: str | None) -> dict[str, Any]:
        """Return the body for a client of this version of the API; None is the oldest."""
        if is_current(version):
            return {"code": self.code, "message": str(self), **self.extra}
        return {"code": self.status, "error_code": self.code, "msg": str(self), **self.extra}


class OAuthRefusal(Refusal):
    """A refusal in the form of OAuth 2, which has two members for all clients."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(400, error, description)

    def body(self, version: str | None) -> dict[str, Any]:  # noqa: ARG002
        """Return the body."""
        return {"error": self.code, "error_description": str(self)}


def is_current(version: str | None) -> bool:
    """Tell whether a version has words as error codes."""
    return version is not None and version >= VERSION


def invalid(message: str) -> Refusal:
    """Return the refusal of a wrong request."""
    return Refusal(400, "validation_failed", message)


def wrong_credentials() -> Refusal:
    """Return the one answer to a wrong password and to an unknown address."""
    return Refusal(400, "invalid_credentials", "Invalid login credentials")


def no_bearer() -> Refusal:
    """Return the refusal of a call without a token."""
    return Refusal(401, "no_authorization", "This endpoint requires a valid Bearer token")


def bad_token(message: str) -> Refusal:
    """Return the refusal of a token."""
    return Refusal(403, "bad_jwt", message)


def no_user() -> Refusal:
    """Return the answer about a missing user."""
    return Refusal(404, "user_not_found", "User not found")


def no_refresh_token() -> Refusal:
    """Return the refusal of a refresh token that is forged, or whose session ended."""
    return Refusal(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")


def spent_refresh_token() -> Refusal:
    """Return the refusal of a used refresh token; its session ended."""
    return Refusal(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


def weak_password(shortest: int) -> Refusal:
    """Return the refusal of a password that is too short."""
    message = f"Password should be at least {shortest} characters."
    return Refusal(422, "weak_password", message, weak_password={"reasons": ["length"]})


def email_exists() -> Refusal:
    """Return the refusal of an address that another user has."""
    return Refusal(422, "email_exists", "A user with this email address has already been registered")


def conflict() -> Refusal:
    """Return the refusal of an id or address that another user has."""
    return Refusal(422, "conflict", "Another user has this id or address")


def database_error(doing: str) -> Refusal:
    """Return the answer when the database refuses, for example because of a trigger on auth.users."""
    return Refusal(500, "unexpected_failure", f"Database error {doing}")
