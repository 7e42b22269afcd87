"""`/console`: the files of the console, a Supabase client in the browser, and config.json, which names the project."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litestar import Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

from threadline.keys import find_kind
from threadline.routes.http import HttpRequest
from threadline.settings import Settings

_HERE = Path(__file__).parents[1]
_CLONE = _HERE.parents[1]
# The wheel has a copy in this package; a clone has the originals.
FOLDER = next(each for each in (_HERE / "console", _CLONE / "console") if each.is_dir())
FOLLOW = next(each for each in (FOLDER / "follow", _CLONE / "packages" / "follow-js") if each.is_dir())
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",  # licences
}
NOT_CONFIGURED = "The console needs SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY in the environment of `threadline serve`."
NOT_PUBLIC = "SUPABASE_PUBLISHABLE_KEY holds a secret key, which browsers must not know. Set it to the publishable key."


@dataclass(frozen=True)
class File:
    """A file of the console: its content, plain and compressed, its media type and its tag for caches."""

    content: bytes
    packed: bytes
    media_type: str
    tag: str


@cache
def paths() -> dict[str, Path]:
    """Return where each file lies, by its path below /console/."""
    found = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*")}
    found |= {f"follow/{path.name}": path for path in FOLLOW.glob("*.js")}
    return {name: path for name, path in sorted(found.items()) if path.suffix in TYPES}


@cache
def read(path: Path, _changed: int) -> File:
    """Return a file. `_changed` differs after a change of the file in a clone, so that the cache reads it again."""
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:32]
    return File(content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix], f'"{tag}"')


def configure(settings: Settings) -> dict[str, Any]:
    """Return the config.json of a console that this service serves; `error` says what is missing."""
    if not settings.supabase_url or not settings.supabase_key:
        return {"error": NOT_CONFIGURED}
    if find_kind(settings.supabase_key) == "secret":
        return {"error": NOT_PUBLIC}
    return {"url": settings.supabase_url, "key": settings.supabase_key, "service": "../"}


def headers_for(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of all files. Scripts come from here alone, and calls go to the project alone."""
    project = _origins(config.get("url")) | _origins(config.get("service"))
    calls = " ".join(sorted(project | {origin.replace("http", "ws", 1) for origin in project}))
    media = " ".join(sorted({*_origins(config.get("url")), "https:"}))
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {calls}; "
        f"img-src 'self' blob: {media}; media-src 'self' blob: {media}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "no-cache",
        "vary": "accept-encoding",
    }


def _origins(url: str | None) -> set[str]:
    parts = urlsplit(url or "")
    return {f"{parts.scheme}://{parts.netloc}"} if parts.scheme in {"http", "https"} and parts.netloc else set()


def console(config: Mapping[str, Any]) -> list[HTTPRouteHandler]:
    """Return the handlers of /console. `config` is its config.json."""
    headers, answer = headers_for(config), json.dumps(config).encode()

    @get("/console")
    async def show_console(request: HttpRequest) -> Response[Any]:
        """Send the page. Without the slash at the end, its relative addresses would lead elsewhere."""
        path = request.scope["raw_path"].decode("latin-1")
        return send(request, "index.html", headers) if path.endswith("/") else Redirect("console/")

    @get("/console/config.json")
    async def show_config() -> Response[bytes]:
        """Send what the page must know of the project."""
        status = 503 if "error" in config else 200
        return Response(answer, status_code=status, media_type="application/json", headers=headers)

    @get("/console/{path:path}")
    async def show_file(request: HttpRequest, path: Path) -> Response[bytes]:
        """Send a file."""
        return send(request, str(path).lstrip("/"), headers)

    return [show_console, show_config, show_file]


def send(request: HttpRequest, name: str, headers: Mapping[str, str]) -> Response[bytes]:
    """Answer with a file, compressed if the browser can read that, or with 304 if the browser has it."""
    if (path := paths().get(name)) is None:
        raise HTTPException("Not Found", status_code=404)
    file = read(path, path.stat().st_mtime_ns)
    given = {**headers, "etag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(b"", status_code=304, headers=given)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.content, media_type=file.media_type, headers=given)
    return Response(file.packed, media_type=file.media_type, headers={**given, "content-encoding": "gzip"})


def write(folder: Path, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
    """Write the files and config.json into a folder, for any host of static files."""
    for name, path in paths().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    log(f"Wrote {len(paths()) + 1} files into {folder}. Serve them from any host.")
