"""The payload of a join. A wrong field counts as missing, as in Realtime."""

import uuid
from dataclasses import dataclass
from typing import Any

DEFAULT_LIMIT = 25  # messages of the past


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """A request for past messages: since when, in milliseconds of Unix time, and how many at most."""

    since: Any
    limit: Any


@dataclass(frozen=True, slots=True)
class Join:
    """What a client asks for in one channel.

    Attributes:
        is_private: whether policies decide who may join.
        ack: whether the sender of a broadcast wants a reply.
        echo: whether a sender gets its own broadcasts (`self` on the wire).
        wants_presence: whether it receives presence from the start.
        presence_key: under which it appears there.
        wants_readiness: whether to tell it that the replication connection is ready.
        replay: the past messages that it wants, if any.
        changes: the entries of `postgres_changes`, as they were sent.
        token: its access token; None for the key of the connection.
    """

    is_private: bool
    ack: bool
    echo: bool
    wants_presence: bool
    presence_key: str
    wants_readiness: bool
    replay: ReplayWish | None
    changes: tuple[dict[str, Any], ...]
    token: str | None

    @classmethod
    def read(cls, payload: dict[str, Any]) -> "Join":
        """Read the payload of a `phx_join`."""
        config = _object(payload.get("config"))
        broadcast, presence = _object(config.get("broadcast")), _object(config.get("presence"))
        changes = config.get("postgres_changes")
        return cls(
            is_private=_flag(config.get("private")),
            ack=_flag(broadcast.get("ack")),
            echo=_flag(broadcast.get("self")),
            wants_presence=_flag(presence.get("enabled")),
            presence_key=str(presence.get("key") or uuid.uuid1()),
            wants_readiness=_flag(broadcast.get("replication_ready")),
            replay=_replay(broadcast.get("replay")),
            changes=tuple(entry for entry in _list(changes) if isinstance(entry, dict)),
            token=_token(payload),
        )


def _token(payload: dict[str, Any]) -> str | None:
    for name in ("user_token", "access_token"):
        token = payload.get(name)
        if isinstance(token, str):
            # An opaque key is not a token; the gateway exchanged it when the socket opened.
            return None if token.startswith("sb_") else token
    return None


def _replay(wish: Any) -> ReplayWish | None:
    if not isinstance(wish, dict):
        return None
    limit = wish.get("limit")
    return ReplayWish(wish.get("since"), DEFAULT_LIMIT if limit is None else limit)


def _flag(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
