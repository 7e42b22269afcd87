"""Broadcasts over HTTP: POST /realtime/v1/api/broadcast for several, .../{topic}/events/{event} for one."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from threadline_devstack.gateway import Call
from threadline_devstack.http import Answer, BodyTooLargeError, document, read_body, text
from threadline_devstack.realtime.frames import UNREADABLE, UserBroadcast
from threadline_devstack.realtime.policies import BROADCAST, PRESENCE, Asker, PolicyError
from threadline_devstack.realtime.shared import Shared
from threadline_devstack.realtime.tokens import Claims, TokenError

PREFIX = "/realtime/v1"
BLANK, INVALID, TOO_LARGE = "can't be blank", "is invalid", "Payload size exceeds tenant limit"
BODY_BYTES = 8_000_000
BOOLEANS = {True: True, False: False, "true": True, "1": True, "false": False, "0": False}


class Refusal(Exception):  # noqa: N818
    """A call that is refused, with the content of the answer."""

    def __init__(self, status: int, content: dict[str, Any] | str) -> None:
        super().__init__(str(content))
        self.status = status
        self.content = content


async def answer(shared: Shared, call: Call) -> Answer:
    """Answer a call below /realtime/v1."""
    try:
        await _Broadcast(shared, call).serve()
    except Refusal as refusal:
        is_text = isinstance(refusal.content, str)
        return text(refusal.content, refusal.status) if is_text else document(refusal.content, refusal.status)
    return text("", 202)


class _Broadcast:
    """One call."""

    def __init__(self, shared: Shared, call: Call) -> None:
        self._shared = shared
        self._call = call
        self._request = call.request

    async def serve(self) -> None:
        """Broadcast what the call brings; raise Refusal."""
        # Split before decoding: a topic may hold encoded slashes.
        match self._request.method, *self._call.path.strip("/").split("/"):
            case "POST", "api", "broadcast":
                await self._broadcast_batch(self._identify())
            case "POST", "api", "broadcast", topic, "events", event:
                await self._broadcast_one(self._identify(), unquote(topic), unquote(event))
            case _:
                raise Refusal(404, {"message": "not found"})

    def _identify(self) -> Claims:
        try:
            return self._shared.tokens.verify(self._call.token or "")
        except TokenError as error:
            raise Refusal(401, {"message": "Unauthorized"}) from error

    async def _broadcast_batch(self, claims: Claims) -> None:
        messages = self._check(await self._read_json())
        if self._shared.events.is_exceeded():
            raise Refusal(429, {"message": "You have exceeded your rate limit"})
        if self._shared.events.is_exceeded(len(messages)):
            raise Refusal(429, {"message": "Too many messages to broadcast, please reduce the batch size"})
        allowed = {(topic, True): await self._may_write(claims, topic) for topic in private_topics(messages)}
        for message in messages:
            topic, is_private = message["topic"], BOOLEANS[message.get("private") or False]
            if allowed.get((topic, is_private), not is_private):
                content = {name: message[name] for name in ("payload", "event")} | {"type": "broadcast"}
                if isinstance(message.get("id"), str):
                    content["meta"] = {"id": message["id"]}
                self._shared.hub.broadcast(topic, Raw(msgspec.json.encode(content)), is_private=is_private)

    async def _broadcast_one(self, claims: Claims, topic: str, event: str) -> None:
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/octet-stream":
            content = UserBroadcast(event, await self._read(), is_json=False)
        elif kind == "application/json":
            document = await self._read_json()
            payload = document if isinstance(document, dict) else {"_json": document}
            content = UserBroadcast(event, msgspec.json.encode(payload))
        else:
            raise Refusal(415, {"message": "Unsupported media type"})
        if errors := {name: [BLANK] for name, value in (("topic", topic), ("event", event)) if not value.strip()}:
            raise Refusal(422, {"errors": errors})
        if len(content.content) > self._shared.limits.payload_bytes:
            raise Refusal(422, {"errors": {"payload": [TOO_LARGE]}})
        if self._shared.events.is_exceeded():
            raise Refusal(429, {"message": "You have exceeded your rate limit"})
        is_private = self._request.query_params.get("private") == "true"
        if is_private and not await self._may_write(claims, topic):
            raise Refusal(403, {"message": "Unauthorized"})
        self._shared.hub.broadcast(topic, content, is_private=is_private)

    async def _may_write(self, claims: Claims, topic: str) -> bool:
        asker = Asker(topic, claims.all, dict(self._request.headers))
        try:
            return BROADCAST in await self._shared.policies.writable(asker, [BROADCAST, PRESENCE])
        except PolicyError as error:
            raise Refusal(422, {"message": error.message}) from error

    async def _read(self) -> bytes:
        try:
            return await read_body(self._request, BODY_BYTES)
        except BodyTooLargeError as error:
            raise Refusal(413, "Request Entity Too Large") from error

    async def _read_json(self) -> Any:
        body = await self._read()
        try:
            return msgspec.json.decode(body.decode()) if body else {}
        except UNREADABLE as error:
            raise Refusal(400, "Bad Request") from error

    def _check(self, document: Any) -> list[dict[str, Any]]:
        messages = document.get("messages") if isinstance(document, dict) else None
        if not messages:
            raise Refusal(422, {"errors": {"messages": [BLANK]}})
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise Refusal(422, {"errors": {"messages": [INVALID]}})
        problems = [problems_of(message, self._shared.limits.payload_bytes) for message in messages]
        if any(problems):
            raise Refusal(422, {"errors": {"messages": problems}})
        return messages


def problems_of(message: dict[str, Any], largest: int) -> dict[str, list[str]]:
    """Return what is wrong with a message of a batch, by field."""
    problems = {}
    for name, kind in (("topic", str), ("event", str), ("payload", dict)):
        value = message.get(name)
        if value is None or (isinstance(value, str) and kind is str and not value.strip()):
            problems[name] = [BLANK]
        elif not isinstance(value, kind):
            problems[name] = [INVALID]
    if "payload" not in problems and len(msgspec.json.encode(message["payload"])) > largest:
        problems["payload"] = [TOO_LARGE]
    private = message.get("private")
    if private is not None and (not isinstance(private, bool | str) or private not in BOOLEANS):
        problems["private"] = [INVALID]
    return problems


def private_topics(messages: Sequence[dict[str, Any]]) -> set[str]:
    """Return the topics of the private messages."""
    return {message["topic"] for message in messages if BOOLEANS[message.get("private") or False]}
