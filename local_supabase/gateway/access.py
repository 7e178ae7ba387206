"""API keys at the gate, as Supabase's hosted gateway treats them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from ..keys import Keys

MISSING = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}
INVALID = {
    "message": "Invalid API key",
    "hint": "Double check your Supabase `anon` or `service_role` API key.",
}
BROWSER = {
    "message": "Forbidden use of secret API key in browser",
    "hint": "Secret API keys can only be used in a protected environment and should never be used in a browser.",
}


@dataclass(frozen=True)
class Gate:
    """Knows the four API keys of the project. A JWT of one's own is no API key: hosted gateways refuse it too."""

    keys: Keys

    def refusal(self, headers: Mapping[str, str], apikey: str | None) -> web.Response | None:
        """The 401 for a request without a valid key, None for one that may pass."""
        if not apikey:
            return web.json_response(MISSING, status=401)
        if apikey == self.keys.secret_key and headers.get("User-Agent", "").startswith("Mozilla/"):
            return web.json_response(BROWSER, status=401)
        if self.jwt_for(apikey) is None:
            return web.json_response(INVALID, status=401)
        return None

    def jwt_for(self, apikey: str) -> str | None:
        """The JWT behind an API key; legacy keys are JWTs themselves. None for a key that is not of this project."""
        if apikey in (self.keys.anon_key, self.keys.publishable_key):
            return self.keys.anon_key
        if apikey in (self.keys.service_role_key, self.keys.secret_key):
            return self.keys.service_role_key
        return None

    def authorization(self, header: str | None, apikey: str) -> str:
        """The Authorization header for the service behind: the caller's own token, else the one behind the API key."""
        if header and not header.startswith("Bearer sb_"):
            return header
        return f"Bearer {self.jwt_for(apikey)}"


def apikey_of(request: web.BaseRequest) -> str | None:
    """The key from the header or, as WebSockets in browsers need it, from the query."""
    return request.headers.get("apikey") or request.query.get("apikey")
