"""Stand-in for Supabase Auth (GoTrue): e-mail and password sign-in, sessions, users, the admin API.

Paths, bodies, error codes and tables (bootstrap/auth.sql) are GoTrue's: the official clients cannot tell.
Left out is what needs another service: e-mail, SMS, OAuth and SSO providers, second factors.
"""

from .server import AuthServer
from .settings import AuthSettings

__all__ = ["AuthServer", "AuthSettings"]
