"""Password hashes as Supabase Auth stores them: bcrypt, cost 10."""

from __future__ import annotations

import asyncio
import secrets

import bcrypt

from .errors import AuthError, invalid

COST = 10
MAX_BYTES = 72  # bcrypt ignores or refuses what follows


async def digest(password: str) -> str:
    """The hash to store. In a thread: it takes some 50 ms of CPU."""
    salt = bcrypt.gensalt(COST, prefix=b"2a")
    return (await asyncio.to_thread(bcrypt.hashpw, password.encode(), salt)).decode()


async def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password. An empty or foreign hash matches nothing."""
    if not stored or len(password.encode()) > MAX_BYTES:
        return False
    try:
        return await asyncio.to_thread(bcrypt.checkpw, password.encode(), stored.encode())
    except ValueError:
        return False


def check_strength(password: str, minimum: int) -> None:
    """Raises AuthError weak_password or validation_failed."""
    if len(password.encode()) > MAX_BYTES:
        raise invalid(f"Password cannot be longer than {MAX_BYTES} characters")
    if len(password) < minimum:
        message = f"Password should be at least {minimum} characters."
        raise AuthError(422, "weak_password", message, weak_password={"reasons": ["length"]})


def random_password() -> str:
    """For a user made without one: nobody knows it."""
    return secrets.token_urlsafe(48)
