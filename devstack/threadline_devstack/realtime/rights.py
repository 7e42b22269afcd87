"""What one channel may do, asked of the database once and remembered for as long as the token holds."""

from collections.abc import Iterable

from threadline_devstack.realtime.policies import BROADCAST, PRESENCE, Asker, Policies


class UnauthorizedError(Exception):
    """A topic of which a client may not read what it wants to; the text is for it."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"You do not have permissions to read from this Channel topic: {topic}")


class Rights:
    """The rights of one client in one topic. In a public one everybody may do everything, and nobody is asked."""

    def __init__(self, policies: Policies, asker: Asker, *, is_private: bool) -> None:
        self._policies = policies
        self._asker = asker
        self._is_private = is_private
        self._readable: dict[str, bool] = {}
        self._writable: set[str] | None = None

    async def ask(self, *, with_presence: bool) -> None:
        """Find out what may be read; raise UnauthorizedError when it is nothing, PolicyError when nobody can say."""
        if not self._is_private:
            return
        await self._learn([BROADCAST, PRESENCE] if with_presence else [BROADCAST])
        if not any(self._readable.values()):
            raise UnauthorizedError(self._asker.topic)

    async def ask_for_presence(self) -> None:
        """Find out about presence too, where it was not asked at first; raise PolicyError when nobody can say."""
        if self._is_private and PRESENCE not in self._readable:
            await self._learn([PRESENCE])

    async def _learn(self, extensions: list[str]) -> None:
        found = await self._policies.readable(self._asker, extensions)
        self._readable |= {extension: extension in found for extension in extensions}

    def may_read(self, extension: str) -> bool:
        """Tell whether messages of this kind may be read; False also when it was not asked."""
        return not self._is_private or self._readable.get(extension, False)

    def has_lost(self, before: "Rights") -> bool:
        """Tell whether something may not be read any more that could be read with the token before."""
        return any(self._readable.get(extension) is False for extension in _held(before._readable))

    def may_write(self, extension: str) -> bool | None:
        """Tell whether messages of this kind may be written; None as long as nobody has asked."""
        if not self._is_private:
            return True
        return None if self._writable is None else extension in self._writable

    async def ask_to_write(self) -> None:
        """Find out what may be written; raise PolicyError when nobody can say."""
        self._writable = await self._policies.writable(self._asker, [BROADCAST, PRESENCE])


def _held(readable: dict[str, bool]) -> Iterable[str]:
    return (extension for extension, is_readable in readable.items() if is_readable)
