"""The logs of events, read through the Data API."""

from dataclasses import dataclass
from typing import Any

import httpx

from threadline_follow.topic import Token, fresh_token

LATEST = 2**53 - 1  # the log answers the number of its last event


class LogError(Exception):
    """The log refuses the request; another try would not help."""


class LogMissingError(Exception):
    """The channel does not exist, or the user has left it."""


class CursorExpiredError(Exception):
    """A backup was restored, so the cursor of the inbox is not valid any more."""


class LogUnavailableError(Exception):
    """The log cannot be read now."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a log.

    Attributes:
        entries: pairs of the name of an event and its payload.
        last_seq: the number of the last event so far.
        has_more: whether there is a next page.
        is_incomplete: whether events before or in this page are gone.
    """

    entries: list[tuple[str, dict[str, Any]]]
    last_seq: int
    has_more: bool
    is_incomplete: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of the changes of conversations.

    Attributes:
        changes: the changes.
        next_cursor: the cursor of the next page.
        has_more: whether there is a next page.
    """

    changes: list[dict[str, Any]]
    next_cursor: str
    has_more: bool


class Log:
    """The log of a channel, of a user, or of the conversations of a user or a workspace.

    Args:
        url: of the Supabase project.
        key: its publishable key.
        token: an access token, or a function that returns one.
        channel_id: the channel; None for the log of the user.
        workspace_id: the workspace, for the changes of its conversations only.
    """

    def __init__(
        self, url: str, key: str, token: Token, channel_id: str | None, workspace_id: str | None = None
    ) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/rest/v1", headers={"apikey": key})
        self._token = token
        self._channel_id = channel_id
        self._workspace_id = workspace_id

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, since: int) -> Page:
        """Read the events after a number.

        Raises:
            LogError: the request is refused.
            LogMissingError: the channel is not there, or not for this user.
            LogUnavailableError: try again later.
        """
        arguments: dict[str, Any] = {"since": since}
        if self._channel_id is not None:
            arguments["channel_id"] = self._channel_id
        name = "list_user_events" if self._channel_id is None else "list_channel_events"
        answer = await self._ask("POST", f"rpc/{name}", json=arguments)
        meta = answer["meta"]
        return Page(
            entries=[(entry["event"], entry["payload"]) for entry in answer["data"]],
            last_seq=meta["last_seq"],
            has_more=meta["has_more"],
            is_incomplete=meta.get("is_incomplete", False),
        )

    async def read_changes(self, cursor: str | None) -> Changes:
        """Read the changes of conversations after a cursor; without one, only the cursor of now.

        Raises:
            CursorExpiredError: begin without a cursor.
            LogError: the request is refused.
            LogUnavailableError: try again later.
        """
        arguments = {"since": cursor, "workspace_id": self._workspace_id}
        given = {name: value for name, value in arguments.items() if value is not None}
        answer = await self._ask("POST", "rpc/list_inbox_changes", json=given)
        return Changes(answer["data"], answer["meta"]["next_cursor"], answer["meta"]["has_more"])

    async def find_departure(self) -> tuple[str, dict[str, Any]] | None:
        """Return how the channel ended for this user, as the log of the user tells it."""
        rows = await self._ask(
            "GET",
            "user_events",
            params={
                "select": "kind,created_at",
                "channel_id": f"eq.{self._channel_id}",
                "kind": "in.(channel.deleted,channel.left)",
                "order": "seq.desc",
                "limit": "1",
            },
        )
        return (
            (rows[0]["kind"], {"channel_id": self._channel_id, "created_at": rows[0]["created_at"]}) if rows else None
        )

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            headers = {"authorization": f"Bearer {await fresh_token(self._token)}"}
            answer = await self._client.request(method, path, headers=headers, **request)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise LogUnavailableError(str(error)) from error
        if answer.is_success:
            return body
        code, message = body.get("code"), body.get("message", answer.text)
        kinds = {"PT400": LogError, "PT404": LogMissingError, "PT409": CursorExpiredError}
        raise kinds.get(code, LogUnavailableError)(message)
