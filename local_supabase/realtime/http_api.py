"""Broadcast over HTTP: POST /api/broadcast (a batch, text) and /api/broadcast/{topic}/events/{event} (one message)."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import frames
from .broker import PREFIX, Topic
from .database import DatabaseUnavailable
from .frames import FanOut, UserBroadcast
from .project import Project, policy_headers
from .tokens import Token, TokenError, verify

logger = logging.getLogger(__name__)

_BLANK = "can't be blank"
_INVALID = "is invalid"
Handler = Callable[[web.Request], Awaitable[web.Response]]


class _Answer(Exception):
    """Ends a request with an error."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class _Message:
    topic: Topic
    event: str
    payload: dict[str, Any]
    id: str | None


class HttpApi:
    """The two endpoints, mounted below /realtime/v1."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Both, for every method: others than POST get 404, as from the server."""
        return [
            web.route("*", f"{prefix}/api/broadcast", self.batch),
            web.route("*", f"{prefix}/api/broadcast/{{topic}}/events/{{event}}", self.single),
        ]

    async def batch(self, request: web.Request) -> web.Response:
        """202 also for a private topic that the token may not write: the message is dropped."""
        return await self._guarded(request, self._batch)

    async def single(self, request: web.Request) -> web.Response:
        """202, or 403 for a private topic that the token may not write."""
        return await self._guarded(request, self._single)

    async def _guarded(self, request: web.Request, handler: Handler) -> web.Response:
        if request.method != "POST":
            return web.Response(status=404, text="Not Found", content_type="text/html")
        rate = self._project.broker.events
        try:
            if rate.exceeded:
                raise _Answer(429, {"message": "You have exceeded your rate limit"})
            response = await handler(request)
        except _Answer as answer:
            response = web.json_response(answer.body, status=answer.status, dumps=frames.dumps)
        except ValueError:  # broken JSON is refused before anything else looks at the request
            return web.Response(status=400, text="Bad Request", content_type="text/html")
        response.headers["cache-control"] = "max-age=0, private, must-revalidate"
        response.headers["x-rate-limit"] = f"{rate.limit:.0f}"
        response.headers["x-rate-limit-remaining"] = f"{max(rate.limit - rate.average, 0):.0f}"
        response.headers["x-rate-rolling"] = f"{rate.average:.0f}"
        return response

    def _authenticate(self, request: web.Request) -> Token:
        """Authorization wins over apikey; what is wrong with a token is not told."""
        text = request.headers.get("apikey")
        if authorization := request.headers.get("Authorization"):
            scheme, _, text = authorization.partition(" ")
            if scheme.lower() != "bearer":
                text = None
        try:
            return verify(self._project.translate(text or ""), self._project.jwt_secret)
        except TokenError as exc:
            raise _Answer(401, {"message": "Unauthorized"}) from exc

    async def _params(self, request: web.Request) -> dict[str, Any]:
        """The JSON body; {"_json": …} if it is no object; empty for another content type. Raises ValueError."""
        if request.content_type != "application/json":
            return {}
        body = await request.read()
        value = frames.loads(body) if body else {}
        return value if isinstance(value, dict) else {"_json": value}

    async def _batch(self, request: web.Request) -> web.Response:
        params = await self._params(request)
        token = self._authenticate(request)
        messages = self._validate(params.get("messages"))
        broker = self._project.broker
        if len(messages) + broker.events.average > broker.events.limit:
            raise _Answer(429, {"message": "Too many messages to broadcast, please reduce the batch size"})
        permitted: dict[Topic, bool] = {}
        for message in messages:
            if message.topic not in permitted:
                permitted[message.topic] = await self._may_write(message.topic, token, request)
            if permitted[message.topic]:
                payload = {"event": message.event, "payload": message.payload, "type": "broadcast"}
                if message.id is not None:
                    payload["meta"] = {"id": message.id}
                broker.events.add()
                broker.broadcast(message.topic, FanOut(PREFIX + message.topic.name, "broadcast", payload))
        return web.Response(status=202)

    async def _single(self, request: web.Request) -> web.Response:
        body: str | bytes
        if request.content_type == "application/octet-stream":
            body = await request.read()
        else:
            body = frames.dumps(await self._params(request))
        token = self._authenticate(request)
        if len(body) > self._project.settings.max_payload_bytes:
            raise _Answer(422, {"errors": {"payload": ["Payload size exceeds tenant limit"]}})
        topic = Topic(request.match_info["topic"], request.query.get("private") == "true")
        if not await self._may_write(topic, token, request):
            raise _Answer(403, {"message": "Unauthorized"})
        broker = self._project.broker
        broker.events.add()
        broker.broadcast(topic, UserBroadcast(PREFIX + topic.name, request.match_info["event"], body))
        return web.Response(status=202)

    async def _may_write(self, topic: Topic, token: Token, request: web.Request) -> bool:
        if not topic.private:
            return True
        try:
            return await self._project.database.may_write(
                topic.name, token, policy_headers(request.headers), "broadcast"
            )
        except DatabaseUnavailable as exc:
            logger.warning("write permission unknown", extra={"topic": topic.name, "error": str(exc).strip()})
            return False

    def _validate(self, messages: Any) -> list[_Message]:
        """All messages, or an answer with the faults of each ({} for a good one): one bad message and none is sent."""
        if messages in (None, []):
            raise _Answer(422, {"errors": {"messages": [_BLANK]}})
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise _Answer(422, {"errors": {"messages": [_INVALID]}})
        faults = [self._faults(message) for message in messages]
        if any(faults):
            raise _Answer(422, {"errors": {"messages": faults}})
        return [
            _Message(
                Topic(message["topic"], message.get("private") in (True, "true", "1")),
                message["event"],
                message["payload"],
                message.get("id"),
            )
            for message in messages
        ]

    def _faults(self, message: dict[str, Any]) -> dict[str, list[str]]:
        faults: dict[str, list[str]] = {}
        for name, type_ in (("event", str), ("payload", dict), ("topic", str)):
            value = message.get(name)
            if value is None or value == "":
                faults[name] = [_BLANK]
            elif not isinstance(value, type_):
                faults[name] = [_INVALID]
        if message.get("private") not in (None, True, False, "true", "false", "1", "0"):
            faults["private"] = [_INVALID]
        if not isinstance(message.get("id"), str | None):
            faults["id"] = [_INVALID]
        if "payload" not in faults and len(json.dumps(message["payload"])) > self._project.settings.max_payload_bytes:
            faults["payload"] = ["Payload size exceeds tenant limit"]
        return faults
