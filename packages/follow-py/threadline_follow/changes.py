"""Which changes of conversations were handed over: broadcasts and the log overlap."""

from typing import Any

MAX_NAMES = 10_000
DELETED = "deleted"


class Handed:
    """The changes that were handed over."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int | str], None] = {}
        # Of each conversation: its last change, and the last state that a change showed.
        self._versions: dict[str, tuple[int, int]] = {}

    def is_old(self, conversation: dict[str, Any]) -> bool:
        """Whether this broadcast was handed over, or a later one."""
        known = self._versions.get(conversation["id"])
        return known is not None and conversation["version"] <= known[0]

    def is_next(self, conversation: dict[str, Any]) -> bool:
        """Whether no change is missing before this broadcast."""
        known, version = self._versions.get(conversation["id"]), conversation["version"]
        return known is None or (version == known[0] + 1 and version >= known[1])

    def has(self, change: dict[str, Any]) -> bool:
        """Whether this change of the log was handed over."""
        return (change["conversation_id"], _version(change)) in self._names

    def add_broadcast(self, conversation: dict[str, Any]) -> None:
        """Remember a broadcast."""
        self._add(conversation["id"], conversation["version"], conversation["version"])

    def add(self, change: dict[str, Any]) -> None:
        """Remember a change of the log, which shows the conversation as it was when the log was read."""
        version, state = _version(change), change.get("conversation") or {}
        if version is not None:
            self._add(change["conversation_id"], version, state.get("version", 0))

    def clear(self) -> None:
        """Forget everything."""
        self._names.clear()
        self._versions.clear()

    def _add(self, conversation_id: str, version: int | str, state: int) -> None:
        self._names[conversation_id, version] = None
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
        change, shown = self._versions.get(conversation_id, (0, 0))
        last = max(change, version) if isinstance(version, int) else change
        self._versions[conversation_id] = (last, max(shown, state))


def _version(change: dict[str, Any]) -> int | str | None:
    """Return what tells a change of a conversation apart; one that only deletes rows of messages has nothing."""
    return DELETED if change.get("deleted") else change.get("version")
