"""Tells the API keys of Supabase apart: browsers may know a public key, and must not know a secret one."""

from __future__ import annotations

from typing import Literal

import jwt


def find_kind(key: str) -> Literal["public", "secret"] | None:
    """Return the kind of a key by its form; None if it is neither."""
    if key.startswith("sb_"):
        return {"publishable": "public", "secret": "secret"}.get(key.split("_")[1])
    try:
        role = jwt.decode(key, options={"verify_signature": False}).get("role")
    except jwt.PyJWTError:
        return None
    return {"anon": "public", "service_role": "secret"}.get(role)
