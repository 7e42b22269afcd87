"""Calls through the gateway, as the service makes them."""

import json
from typing import Any, NamedTuple

from tests.support.database import Db, become, become_postgres, become_service, value
from tests.support.ingest import request
from tests.support.world import API_KEY, CHANNEL, MATTY, WHATSAPP


class Reply(NamedTuple):
    """The HTTP answer that the gateway returns."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def data(self) -> Any:
        """Its data; an error raises KeyError with the error as text."""
        return self.body["data"] if self.body["success"] else {}[json.dumps(self.body["error"])]

    @property
    def meta(self) -> Any:
        """Its metadata."""
        return self.body["meta"]

    @property
    def answer(self) -> tuple[int, Any]:
        """The status and the body."""
        return self.status, self.body

    @property
    def error(self) -> tuple[int, str, str | None]:
        """The status, the code and the field of an error."""
        return self.status, self.body["error"]["code"], self.body["error"].get("field")

    @property
    def statuses(self) -> list[str]:
        """The status of each conversation in an ingest request."""
        return [result["status"] for result in self.body["results"]]


def call(
    db: Db,
    function: str,
    user_id: str | None = MATTY,
    /,
    *,
    key: str | None = None,
    parameters: dict[str, str] | None = None,
    claims: dict[str, Any] | None = None,
    body: bytes | None = None,
    **fields: Any,
) -> Reply:
    """Call a function as a user, or as service_role if there is no user."""
    known = {"role": "authenticated", "sub": user_id} if user_id else {"role": "service_role"}
    return _call(
        db,
        function,
        known | (claims or {}),
        {} if key is None else {"idempotency-key": key},
        json.dumps(fields).encode() if body is None else body,
        parameters,
    )


def ask(db: Db, user_id: str | None, function: str, **fields: object) -> Any:
    """Call a function of the Data API as a user or service_role, and return its data."""
    become(db, user_id) if user_id else become_service(db)
    answer = value(db, f"select public.{function}(%s::jsonb)", json.dumps(fields))
    become_postgres(db)
    return answer["data"]


def send(db: Db, content: str = "Hello", who: str = MATTY, channel_id: str = CHANNEL, **fields: Any) -> Any:
    """Create a message and return its id."""
    return call(db, "create_message", who, channel_id=channel_id, content=content, **fields).data["id"]


def ingest(db: Db, *conversations: object, connection: tuple[str, str] = WHATSAPP, key: str | None = API_KEY) -> Reply:
    """Ingest conversations on a connection."""
    platform, connection_id = connection
    body = request(*conversations, platform=platform, connection_id=connection_id)
    return post(db, json.dumps(body).encode(), key)


def post(db: Db, body: bytes, key: str | None = API_KEY) -> Reply:
    """Ingest a body as it is."""
    return _call(db, "messaging_ingest", {"role": "service_role"}, {} if key is None else {"x-api-key": key}, body)


def _call(
    db: Db,
    function: str,
    claims: dict[str, Any],
    headers: dict[str, str],
    body: bytes,
    parameters: dict[str, str] | None = None,
) -> Reply:
    """Call the gateway as the role that signed in, which is also the role afterwards."""
    become_postgres(db)
    answer = db.execute(
        "select status, headers::json, body::json from private.call(%s, %s, %s, %s, %s, %s)",
        (function, claims["role"], *map(json.dumps, (claims, headers, parameters or {})), body),
    ).fetchone()
    become_postgres(db)
    return Reply(*answer)
