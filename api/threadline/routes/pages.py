"""Pages for people: `/` says what runs here, and `/docs` shows the OpenAPI document, with no file from elsewhere."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from litestar import Response, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from threadline import __version__
from threadline.routes.http import HttpRequest

FOLDER = Path(__file__).parents[1] / "pages"
ASSETS = {
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
HEADERS = {
    # Swagger UI sets styles and shows its icons as data.
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
}
# What the service itself answers: path and description.
CONSOLE = ("/console/", "The console: inbox, channels, people and connections in the browser.")
PARTS = (
    ("/docs", "The documentation of the API; try calls in the browser."),
    ("/schema", "The same as an OpenAPI document, from which tools generate clients."),
    ("/health", "Whether the service and the database work."),
    ("/api/v2", "Messages, files, twins, exports and erasures."),
    ("/functions/v1/messaging-ingest", "Where other services push conversations."),
)
LINKS = {"/console/", "/docs", "/schema", "/health"}  # which a browser can open


def root(parts: Sequence[tuple[str, str]], *, has_console: bool) -> HTTPRouteHandler:
    """Return the handler of `/`. `parts` are served beside the service."""
    first = (CONSOLE,) if has_console else ()
    rows = "\n    ".join(_row(path, text) for path, text in (*first, *PARTS, *parts))
    text = FOLDER.joinpath("root.html").read_text(encoding="utf-8")
    page = text.replace("{version}", __version__).replace("{rows}", rows)

    @get("/")
    async def show_root() -> Response[str]:
        """Send the page that says what runs here."""
        return Response(page, media_type="text/html", headers=HEADERS)

    return show_root


def _row(path: str, text: str) -> str:
    name = f'<a href="{path[1:]}">{path}</a>' if path in LINKS else path
    return f"<tr><td><code>{name}</code></td><td>{escape(text)}</td></tr>"


@get("/docs")
async def show_docs() -> Response[bytes]:
    """Send the page of the documentation."""
    return Response(_read("docs.html"), media_type="text/html", headers=HEADERS)


@get("/docs/{name:str}")
async def show_asset(request: HttpRequest, name: str) -> Response[bytes]:
    """Send a file of the documentation."""
    if (media_type := ASSETS.get(name)) is None:
        raise HTTPException("Not Found", status_code=404)
    headers = {**HEADERS, "cache-control": "max-age=3600", "vary": "accept-encoding"}
    content = _read(name)
    if content.startswith(b"\x1f\x8b"):
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
    return Response(content, media_type=media_type, headers=headers)


@cache
def _read(name: str) -> bytes:
    packed = FOLDER / f"{name}.gz"
    return (packed if packed.exists() else FOLDER / name).read_bytes()
