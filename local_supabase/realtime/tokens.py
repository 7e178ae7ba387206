"""Verification of access tokens with the server's own words for what is wrong with them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import jwt

_ALGORITHMS = ["HS256", "HS384", "HS512"]
_MALFORMED = "The token provided is not a valid JWT"


class TokenError(Exception):
    """A token that is refused. `code` and `message` make the reason of a refused join."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def on_handshake(self) -> str:
        """The handshake does not tell how long ago."""
        return "Token has expired" if self.message.startswith("Token has expired") else self.message

    @property
    def on_open_channel(self) -> str:
        """Text of the system message; a bad signature shows the server's internal name (sic)."""
        return ":signature_error" if self.code == "JwtSignatureError" else self.message


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature is good."""

    text: str
    claims: dict[str, Any]

    @property
    def role(self) -> str:
        return str(self.claims["role"])

    @property
    def expires_at(self) -> int:
        return int(self.claims["exp"])

    @property
    def claims_json(self) -> str:
        return json.dumps(self.claims)

    def check_expiry(self, now: float | None = None) -> None:
        """Raise TokenError from the second of exp on."""
        late_s = int(time.time() if now is None else now) - self.expires_at
        if late_s >= 0:
            raise TokenError("InvalidJWTToken", f"Token has expired {late_s} seconds ago")


def verify(text: str, secret: str, now: float | None = None) -> Token:
    """Return the token; raises TokenError. A signature is looked at before expiry, expiry before the claims."""
    try:
        claims = jwt.decode(
            text,
            secret,
            algorithms=_ALGORITHMS,
            options={
                "verify_exp": False,
                "verify_aud": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as exc:
        raise TokenError("JwtSignatureError", "Failed to validate JWT signature") from exc
    except (jwt.InvalidTokenError, ValueError) as exc:
        raise TokenError("MalformedJWT", _MALFORMED) from exc
    expiry = claims.get("exp")
    token = Token(text, claims)
    if isinstance(expiry, int | float) and not isinstance(expiry, bool):
        token.check_expiry(now)
        if claims.get("role"):
            return token
    raise TokenError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
