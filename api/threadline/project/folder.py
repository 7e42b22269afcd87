"""The user's Supabase project: finds its folder, reads its files, and writes a plan of changes to it."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from click import ClickException

from threadline.project import shipped
from threadline.project.names import State, read_state

_FILE_NAME = re.compile(r"([0-9]+)_.*\.sql")
_VERSION = "%Y%m%d%H%M%S"


@dataclass(frozen=True)
class Change:
    """A file to write, or to delete if it has no text."""

    path: Path
    text: str | None
    verb: str
    detail: str = ""


@dataclass(frozen=True)
class Project:
    """A folder with supabase/config.toml."""

    folder: Path

    @classmethod
    def find(cls, start: Path) -> Project:
        """Find the project as the Supabase CLI does: here or in a folder above."""
        here = start.resolve()
        for folder in (here, *here.parents):
            if (folder / "supabase" / "config.toml").is_file():
                if folder / "supabase" == shipped.FOLDER:
                    raise ClickException("This is the repository of Threadline; change to your own project.")
                return cls(folder)
        raise ClickException(
            f"There is no supabase/config.toml in {here} or above; change to your project, "
            f'or make one with "{shipped.CLI} init".'
        )

    def path(self, *parts: str) -> Path:
        """Return a path below supabase/."""
        return self.folder.joinpath("supabase", *parts)

    def read(self, *parts: str) -> str | None:
        """Return the text of a file below supabase/, or None."""
        path = self.path(*parts)
        try:
            return path.read_bytes().decode() if path.exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise ClickException(f"{self.label(path)} cannot be read ({_reason(error)}).") from error

    def config(self) -> str:
        """Return the text of config.toml, which is valid TOML."""
        text = self.read("config.toml") or ""
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ClickException(f"supabase/config.toml is not valid TOML ({error}); correct it.") from error
        return text

    def migrations(self) -> list[Path]:
        """Return the migrations in the order in which the Supabase CLI applies them."""
        found = self.path("migrations").glob("*.sql")
        return sorted(path for path in found if _FILE_NAME.fullmatch(path.name))

    def state(self) -> State:
        """Return what the migrations leave in a database."""
        return read_state(self.read("migrations", path.name) or "" for path in self.migrations())

    def new_migrations(self, texts: dict[str, str]) -> list[Change]:
        """Return migrations with these names and texts, newer than all others."""
        versions = [path.name.partition("_")[0] for path in self.migrations()]
        first = max([datetime.now(UTC).strftime(_VERSION), *map(_next_version, versions)], key=int)
        if late := [version for version in versions if version >= first]:
            raise ClickException(
                f"The Supabase CLI sorts supabase/migrations/{late[0]}_… after every time of today; "
                "give it a name with 14 digits; nothing was written."
            )
        changes = []
        for name, text in texts.items():
            changes.append(Change(self.path("migrations", f"{first}_{name}.sql"), text, "create"))
            first = _next_version(first)
        return changes

    def write(self, changes: list[Change]) -> None:
        """Write the changes, each file whole or not at all."""
        for change in changes:
            part = change.path.with_name(f".{change.path.name}.part")
            try:
                if change.text is None:
                    _delete(change.path)
                    continue
                change.path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(change.text.encode())
                part.replace(change.path)
            except OSError as error:
                with suppress(OSError):  # the part may not exist, nor its folder
                    part.unlink()
                raise ClickException(
                    f"{self.label(change.path)} cannot be written ({_reason(error)}); "
                    "correct this and run the command again, which does what is missing."
                ) from error

    def label(self, path: Path) -> str:
        """Return a path as seen from the project."""
        return path.relative_to(self.folder).as_posix()


def _next_version(version: str) -> str:
    """Return the version one second later; the next number, if the version is no time."""
    try:
        time = datetime.strptime(version, _VERSION).replace(tzinfo=UTC)
        return (time + timedelta(seconds=1)).strftime(_VERSION)
    except (ValueError, OverflowError):
        return str(int(version) + 1)


def _delete(path: Path) -> None:
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return getattr(error, "strerror", None) or "it is not UTF-8"
