"""Which Supabase project the commands work on, and where its local stack listens."""

import os
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path

from threadline_devstack.errors import StackError

DEFAULT_PORT = 54321  # as `supabase start`
DEFAULT_DB_PORT = 54322


@dataclass(frozen=True)
class Ports:
    """The two loopback ports of a stack."""

    http: int
    database: int

    @property
    def api_url(self) -> str:
        """Return the base URL for clients."""
        return f"http://127.0.0.1:{self.http}"

    def database_url(self, user: str, password: str) -> str:
        """Return the connection string of one login role."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.database}/postgres"


@dataclass(frozen=True)
class Project:
    """A folder with `supabase/migrations` in it, the home of its local data, and the ports it asks for."""

    root: Path
    home: Path
    ports: Ports

    @property
    def migrations(self) -> Path:
        """Return the folder of migration files, as the Supabase CLI has it."""
        return self.root / "supabase" / "migrations"

    @property
    def seed(self) -> Path:
        """Return the seed file, which may be missing."""
        return self.root / "seed.sql"

    def allows_anonymous(self) -> bool:
        """Read `enable_anonymous_sign_ins` of config.toml, false by default; raise StackError if it is no TOML."""
        path = self.root / "supabase" / "config.toml"
        try:
            config = tomllib.loads(path.read_text()) if path.exists() else {}
        except ValueError as error:
            raise StackError(f"{path} is not valid TOML: {error}") from error
        return config.get("auth", {}).get("enable_anonymous_sign_ins") is True

    @classmethod
    def from_environment(cls) -> "Project":
        """Read $THREADLINE_PROJECT, _HOME, _PORT and _DB_PORT; raise StackError if one is wrong."""
        root = find_root()
        home = Path(os.environ.get("THREADLINE_HOME") or root / ".threadline").absolute()
        http = read_port("THREADLINE_PORT", DEFAULT_PORT)
        database = read_port("THREADLINE_DB_PORT", DEFAULT_DB_PORT if http == DEFAULT_PORT else http + 1)
        if http == database:
            raise StackError("THREADLINE_PORT and THREADLINE_DB_PORT must differ.")
        return cls(root, home, Ports(http, database))


def find_root() -> Path:
    """Return $THREADLINE_PROJECT, or the nearest folder from here upwards that is a Supabase project."""
    named = os.environ.get("THREADLINE_PROJECT")
    for folder in [Path(named).absolute()] if named else [Path.cwd(), *Path.cwd().parents]:
        if (folder / "supabase" / "config.toml").is_file() or (folder / "supabase" / "migrations").is_dir():
            return folder
    if named:
        raise StackError(f"No Supabase project {named}: expected a folder with supabase/migrations in it.")
    raise StackError(
        "No Supabase project here or above: expected a folder with supabase/migrations in it. "
        "Run this in the clone, or set THREADLINE_PROJECT to its folder."
    )


def read_port(name: str, default: int) -> int:
    """Return the port in an environment variable, or the default when it is unset or empty."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise StackError(f"{name} must be a port number from 1 to 65535, not {text!r}.")
    return int(text)


def reserve(port: int, variable: str) -> socket.socket:
    """Listen on a loopback port, so that clients wait until it is served; raise StackError if it is in use."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StackError(f"Port {port} cannot be used ({error.strerror}); set {variable} to another.") from error
    return listener
