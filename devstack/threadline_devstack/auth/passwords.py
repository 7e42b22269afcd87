"""Passwords as Supabase Auth keeps them: bcrypt, in auth.users.encrypted_password."""

import asyncio

import bcrypt

SHORTEST, LONGEST = 6, 72  # characters that the CLI's configuration asks for; bytes that bcrypt looks at
COST = 10


async def encrypt(password: str) -> str:
    """Return the hash of a password of at most `LONGEST` bytes."""
    salt = bcrypt.gensalt(COST, prefix=b"2a")
    return (await asyncio.to_thread(bcrypt.hashpw, password.encode(), salt)).decode()


async def is_right(password: str, encrypted: str | None) -> bool:
    """Tell whether a password is the one whose hash this is. A hash of another kind, or none, fits no password."""
    if not encrypted or len(password.encode()) > LONGEST:
        return False
    try:
        return await asyncio.to_thread(bcrypt.checkpw, password.encode(), encrypted.encode())
    except ValueError:
        return False
