"""Secrets of one local stack: minted at its first start, kept readable by the owner only."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jwt

TEN_YEARS_S = 10 * 365 * 24 * 3600  # how long API keys are good for, as on a hosted project
HOUR_S = 3600


@dataclass(frozen=True)
class Keys:
    """The JWT secret, the API keys signed with it, their opaque successors (sb_...), and the database passwords."""

    jwt_secret: str
    anon_key: str
    service_role_key: str
    publishable_key: str
    secret_key: str
    postgres_password: str
    service_password: str

    def mint(self, role: str, sub: str | None = None, expires_in_s: int = HOUR_S, **claims: Any) -> str:
        """A signed access token for the role and user."""
        return mint(self.jwt_secret, role, sub, expires_in_s=expires_in_s, **claims)


def mint(secret: str, role: str, sub: str | None = None, *, expires_in_s: int = HOUR_S, **claims: Any) -> str:
    """A token as Supabase Auth issues it: HS256, aud authenticated, and whatever claims are given on top."""
    now = int(time.time())
    payload: dict[str, Any] = {"role": role, "aud": "authenticated", "iat": now, "exp": now + expires_in_s}
    if sub is not None:
        payload["sub"] = str(sub)
    return jwt.encode(payload | claims, secret, algorithm="HS256")


def _api_key(secret: str, role: str) -> str:
    now = int(time.time())
    return jwt.encode(
        {"iss": "supabase", "ref": "local", "role": role, "iat": now, "exp": now + TEN_YEARS_S},
        secret,
        algorithm="HS256",
    )


def load_or_mint(path: Path) -> Keys:
    """The keys in the file; new ones, written there, when there is no file."""
    if path.exists():
        return Keys(**json.loads(path.read_text()))
    secret = secrets.token_urlsafe(48)
    keys = Keys(
        jwt_secret=secret,
        anon_key=_api_key(secret, "anon"),
        service_role_key=_api_key(secret, "service_role"),
        publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
        postgres_password=secrets.token_urlsafe(18),
        service_password=secrets.token_urlsafe(18),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(keys), file, indent=2)
    return keys
