"""The rights of one channel: checked once in the database, then kept until the next token."""

from collections.abc import Iterable

from threadline_devstack.realtime.policies import BROADCAST, PRESENCE, Asker, Policies


class UnauthorizedError(Exception):
    """The client may not read the topic; the text is for the client."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"You do not have permissions to read from this Channel topic: {topic}")


class Rights:
    """The rights of one client in one topic. A public topic has no limits and no check."""

    def __init__(self, policies: Policies, asker: Asker, *, is_private: bool) -> None:
        self._policies = policies
        self._asker = asker
        self._is_private = is_private
        self._readable: dict[str, bool] = {}
        self._writable: set[str] | None = None

    async def ask(self, *, with_presence: bool) -> None:
        """Check what the client may read; raise UnauthorizedError if it is nothing, PolicyError if the check fails."""
        if not self._is_private:
            return
        await self._learn([BROADCAST, PRESENCE] if with_presence else [BROADCAST])
        if not any(self._readable.values()):
            raise UnauthorizedError(self._asker.topic)

    async def ask_for_presence(self) -> None:
        """Check presence too, if the join did not; raise PolicyError if the check fails."""
        if self._is_private and PRESENCE not in self._readable:
            await self._learn([PRESENCE])

    async def _learn(self, extensions: list[str]) -> None:
        found = await self._policies.readable(self._asker, extensions)
        self._readable |= {extension: extension in found for extension in extensions}

    def may_read(self, extension: str) -> bool:
        """Tell whether messages of this kind may be read; False also before the check."""
        return not self._is_private or self._readable.get(extension, False)

    def has_lost(self, before: "Rights") -> bool:
        """Tell whether the new token lost a read right that the earlier one had."""
        return any(self._readable.get(extension) is False for extension in _held(before._readable))

    def may_write(self, extension: str) -> bool | None:
        """Tell whether messages of this kind may be written; None before the check."""
        if not self._is_private:
            return True
        return None if self._writable is None else extension in self._writable

    async def ask_to_write(self) -> None:
        """Check what the client may write; raise PolicyError if the check fails."""
        self._writable = await self._policies.writable(self._asker, [BROADCAST, PRESENCE])


def _held(readable: dict[str, bool]) -> Iterable[str]:
    return (extension for extension, is_readable in readable.items() if is_readable)
