"""The operating system user that runs Postgres, which refuses to run as root."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadline_devstack.errors import StackError


@dataclass(frozen=True)
class Account:
    """An unprivileged user; root starts a child process as this user."""

    uid: int
    gid: int

    def identity(self) -> dict[str, Any]:
        """Return the arguments with which `subprocess` becomes this user, in no other group."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        """Tell whether the permission bits let this user into a folder and into every folder above it."""
        steps = [folder.resolve(), *folder.resolve().parents]
        return all(self._may_pass(step.stat()) for step in steps)

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == self.gid else stat.S_IXOTH))


def for_data(folder: Path) -> Account | None:
    """Return the user that runs Postgres on this data folder; None means the current user, if it is not root."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and (status := folder.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise StackError('Postgres does not run as root. Create a user "postgres" or "nobody", or run as an ordinary user.')
