"""Errors as Supabase Auth words them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

VERSION_HEADER = "X-Supabase-Api-Version"
VERSION = "2024-01-01"


class AuthError(Exception):
    """An answer other than success; code is one of Supabase Auth's error codes."""

    def __init__(self, status: int, code: str, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    def response(self, request: web.BaseRequest) -> web.Response:
        """The body has the shape that the caller's API version asks for."""
        headers = {"X-Sb-Error-Code": self.code}
        if request.headers.get(VERSION_HEADER, "") >= VERSION:
            headers[VERSION_HEADER] = VERSION
            body: dict[str, Any] = {"code": self.code, "message": self.message}
        else:
            body = {"code": self.status, "error_code": self.code, "msg": self.message}
        return web.json_response(body | self.extra, status=self.status, headers=headers)


def invalid(message: str) -> AuthError:
    """The request itself is wrong."""
    return AuthError(400, "validation_failed", message)


def broken(message: str) -> AuthError:
    """Something behind the API failed."""
    return AuthError(500, "unexpected_failure", message)


def email_exists() -> AuthError:
    return AuthError(422, "email_exists", "A user with this email address has already been registered")
