"""Passwords as Supabase Auth stores them: bcrypt, in auth.users.encrypted_password."""

import asyncio

import bcrypt

SHORTEST, LONGEST = 6, 72  # characters, by the CLI's configuration; bytes that bcrypt reads
COST = 10


async def encrypt(password: str) -> str:
    """Return the hash of a password of at most `LONGEST` bytes."""
    salt = bcrypt.gensalt(COST, prefix=b"2a")
    return (await asyncio.to_thread(bcrypt.hashpw, password.encode(), salt)).decode()


async def is_right(password: str, encrypted: str | None) -> bool:
    """Tell whether a password has this hash. A missing or other hash fits no password."""
    if not encrypted or len(password.encode()) > LONGEST:
        return False
    try:
        return await asyncio.to_thread(bcrypt.checkpw, password.encode(), encrypted.encode())
    except ValueError:
        return False
