"""Users and settings as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

TIMES = ("invited_at", "confirmation_sent_at", "recovery_sent_at", "last_sign_in_at", "banned_until", "deleted_at")

HEALTH = {
    "version": "local",
    "name": "GoTrue",
    "description": "GoTrue is a user registration and authentication API",
}


def settings(*, allows_anonymous: bool) -> dict[str, Any]:
    """Return how users can sign in."""
    return {
        "external": {"anonymous_users": allows_anonymous, "email": True, "phone": False},
        "disable_signup": False,
        "mailer_autoconfirm": True,
        "phone_autoconfirm": False,
        "sms_provider": "",
        "saml_enabled": False,
        "passkeys_enabled": False,
    }


def user(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user for clients, without unknown times."""
    confirmed = {name: time(row[name]) for name in ("email_confirmed_at", "phone_confirmed_at", "confirmed_at")}
    times = {name: time(row[name]) for name in TIMES}
    return {
        "id": str(row["id"]),
        "aud": row["aud"] or "",
        "role": row["role"] or "",
        "email": row["email"] or "",
        "phone": row["phone"] or "",
        **{name: value for name, value in {**confirmed, **times}.items() if value},
        "app_metadata": row["raw_app_meta_data"] or {},
        "user_metadata": row["raw_user_meta_data"] or {},
        "identities": row["identities"],
        "created_at": time(row["created_at"]),
        "updated_at": time(row["updated_at"]),
        "is_anonymous": row["is_anonymous"],
    }


def time(at: datetime | None) -> str | None:
    """Return a time in the form of Auth."""
    return at and at.astimezone(UTC).isoformat().replace("+00:00", "Z")
