"""Limits the temporary files of uploads, for each user and for the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from litestar.exceptions import HTTPException

from threadline.settings import Settings
from threadline.shares import TooManyAtOnceError

USER_UPLOADS = 4  # under way of one user
PROCESS_UPLOADS = 64  # under way of all users
ROOM = 4  # full uploads for which the process has disk


class Spool:
    """What is on the disk now. A user may fill it with one full upload, all users together with four."""

    def __init__(self, settings: Settings) -> None:
        self._room = settings.upload_max_files * settings.upload_max_bytes
        self._uploads: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def open(self, user_id: str | None) -> Iterator[Spooled]:
        """Count one upload for the block. `service_role`, which is no user, has the limit of the process only."""
        if user_id and self._uploads[user_id] >= USER_UPLOADS:
            raise TooManyAtOnceError
        if self._uploads.total() >= PROCESS_UPLOADS:
            raise _full()
        owner = user_id or ""
        spooled = Spooled(self, user_id)
        self._uploads[owner] += 1
        try:
            yield spooled
        finally:
            self._uploads[owner] -= 1
            self._bytes[owner] -= spooled.size
            self._uploads, self._bytes = +self._uploads, +self._bytes  # forgets the zeros

    def add(self, user_id: str | None, size: int) -> None:
        """Count bytes, or raise the error of the limit that they exceed."""
        if user_id and self._bytes[user_id] + size > self._room:
            raise TooManyAtOnceError
        if self._bytes.total() + size > ROOM * self._room:
            raise _full()
        self._bytes[user_id or ""] += size


class Spooled:
    """The temporary bytes of one upload."""

    def __init__(self, spool: Spool, user_id: str | None) -> None:
        self._spool, self._user_id, self.size = spool, user_id, 0

    def add(self, size: int) -> None:
        """Make room for bytes before they are written."""
        self._spool.add(self._user_id, size)
        self.size += size


def _full() -> HTTPException:
    message = "The service has no room for more uploads now. Try again later."
    return HTTPException(message, status_code=503, extra={"code": "unavailable"})
