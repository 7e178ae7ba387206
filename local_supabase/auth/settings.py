"""The part of supabase/config.toml that concerns sign-in."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AuthSettings:
    """Times in seconds. Defaults are those of the Supabase CLI."""

    jwt_expiry_s: int = 3600
    rotate_refresh_tokens: bool = True
    reuse_interval_s: int = 10  # how long an old refresh token still works: two tabs may refresh at once
    allow_sign_up: bool = True
    minimum_password_length: int = 6
    confirm_emails: bool = False

    @classmethod
    def read(cls, path: Path) -> AuthSettings:
        """From the [auth] tables of config.toml; defaults where it says nothing or does not exist."""
        auth: dict[str, Any] = tomllib.loads(path.read_text()).get("auth", {}) if path.exists() else {}
        email: dict[str, Any] = auth.get("email", {})
        return cls(
            jwt_expiry_s=auth.get("jwt_expiry", cls.jwt_expiry_s),
            rotate_refresh_tokens=auth.get("enable_refresh_token_rotation", cls.rotate_refresh_tokens),
            reuse_interval_s=auth.get("refresh_token_reuse_interval", cls.reuse_interval_s),
            allow_sign_up=auth.get("enable_signup", True) and email.get("enabled", True),
            minimum_password_length=auth.get("minimum_password_length", cls.minimum_password_length),
            confirm_emails=email.get("enable_confirmations", cls.confirm_emails),
        )
