"""Requests to PostgREST as everybody, with tokens as Supabase Auth issues them."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import quote

from local_supabase import LocalSupabase
from local_supabase.ports import HOST
from tests.rls.rows import ACTORS
from tests.sql.world import World


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Message

    @property
    def code(self) -> str:
        return str(self.body["code"])


class Http:
    """The API under test and the world behind it. http.client, for the tests send thousands of requests."""

    def __init__(self, stack: LocalSupabase, world: World) -> None:
        self.world = world
        self._connection = http.client.HTTPConnection(HOST, stack.ports.postgrest, timeout=60)
        self._tokens = {
            actor: {"anon": stack.anon_key, "service_role": stack.service_role_key}.get(actor)
            or stack.keys.mint("authenticated", str(who))
            for actor, who in ACTORS.items()
        }

    def close(self) -> None:
        self._connection.close()

    def __call__(
        self, actor: str, method: str, path: str, body: object = None, *, content: bytes | None = None, **headers: str
    ) -> Answer:
        """One request; header names with _ for -. body is sent as JSON, content as it is."""
        self._connection.request(
            method,
            quote(path, safe="/?&=(),.*:!%+{}[];'\"<>-_~@$"),
            body=content if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._tokens[actor]}",
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        response = self._connection.getresponse()
        text = response.read().decode()
        if method == "HEAD":
            self._connection.close()  # PostgREST closes it then, without saying so
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text
        return Answer(response.status, answer, response.headers)
