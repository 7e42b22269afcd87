"""Presence: the metas of the members of a topic, and their changes."""

import secrets
from dataclasses import dataclass, field
from typing import Any

Metas = dict[str, dict[str, list[dict[str, Any]]]]


def _reference() -> str:
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    payload: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Diff:
    """One change: the new metas, and those that are gone."""

    joins: Metas = field(default_factory=dict)
    leaves: Metas = field(default_factory=dict)

    def payload(self) -> dict[str, Metas]:
        """Return the payload of `presence_diff`."""
        return {"joins": self.joins, "leaves": self.leaves}


class Presence:
    """The presence of one topic. Members are hashable; each appears once, and several may share a key."""

    def __init__(self) -> None:
        self._entries: dict[object, _Entry] = {}

    def track(self, member: object, key: str, payload: dict[str, Any]) -> Diff | None:
        """Add or change a member; return None if nothing changed."""
        before = self._entries.get(member)
        if before and before.payload == payload:
            return None
        previous = {"phx_ref_prev": before.meta["phx_ref"]} if before else {}
        entry = _Entry(key, payload, {**payload, "phx_ref": _reference(), **previous})
        self._entries[member] = entry
        return Diff(_metas(entry), _metas(before) if before else {})

    def untrack(self, member: object) -> Diff | None:
        """Remove a member; return None if it was not there."""
        gone = self._entries.pop(member, None)
        return Diff(leaves=_metas(gone)) if gone else None

    def state(self) -> Metas:
        """Return the payload of `presence_state`: all members, by key."""
        found: Metas = {}
        for entry in self._entries.values():
            found.setdefault(entry.key, {"metas": []})["metas"].append(entry.meta)
        return found


def _metas(entry: _Entry) -> Metas:
    return {entry.key: {"metas": [entry.meta]}}
