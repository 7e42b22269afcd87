"""The console in a page with a project of its own: no stack, many rows, and a clock that stands still."""

import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.support.schema import ROOT

HERE = Path(__file__).parent
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
MATTY, BOB, CAROL = (f"00000000-0000-4000-8000-{number:012}" for number in (1, 2, 3))
SHOWN = """
selector => [...document.querySelectorAll(selector)].map(each => each.innerText.replace(/\\s+/g, ' ').trim())
"""


@cache
def files() -> dict[str, Path]:
    """Return the files of the console and of the tables of its modules, by their paths."""
    console = {path.relative_to(ROOT / "console").as_posix(): path for path in (ROOT / "console").rglob("*.*")}
    follow = {f"follow/{path.name}": path for path in (ROOT / "packages" / "follow-js").glob("*.js")}
    return {**console, **follow, **{f"units/{path.name}": path for path in (HERE / "units").glob("*.js")}}


class Server(ThreadingHTTPServer):
    """Serves the files; `script` is the project of the page that comes next."""

    script = ""


class Handler(BaseHTTPRequestHandler):
    """Sends files, which the browser may keep, and pages with their project, which it may not."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Send a file."""
        name = self.path[1:].partition("?")[0]
        kind = TYPES.get(f".{name.rpartition('.')[2]}", "text/plain")
        if name == "script.js":
            content = self.server.script.encode()
        elif name == "blank.html":
            content = b'<!doctype html><body><script src="script.js?"></script></body>'
        elif name not in files():
            content = b""  # the icon of a page without one
        else:
            content = files()[name].read_bytes()
            content = content.replace(
                b'<script src="app.js"', b'<script src="script.js?"></script><script src="app.js"'
            )
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.send_header(
            "cache-control", "no-store" if name.endswith(".html") or name == "script.js" else "max-age=3600"
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Desk:
    """Opens pages, one at a time.

    Attributes:
        page: the one that is open.
        problems: errors in pages.
    """

    def __init__(self, browser: Browser) -> None:
        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._context = browser.new_context(
            locale="en-GB", timezone_id="Asia/Tokyo", viewport={"width": 1280, "height": 800}
        )
        self._context.set_default_timeout(5000)
        self.page: Page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(f"{error} {error.stack}"))
        self.problems: list[str] = []
        self._count = 0

    def blank(self) -> Page:
        """Open an empty page with a project."""
        return self._open("blank.html?{}", (HERE / "project.js").read_text(encoding="utf-8"))

    def open(self, path: str = "", user: str | None = MATTY, before: str = "") -> Page:
        """Open the console at a screen as a user. `before` runs before it, and may change the project."""
        scripts = [(HERE / name).read_text(encoding="utf-8") for name in ("project.js", "world.js")]
        page = self._open(
            f"index.html?{{}}#/{path}", "\n".join([*scripts, f"project.begin({json.dumps(user)});", before])
        )
        page.wait_for_selector("main")
        self.settle()
        return page

    def _open(self, path: str, script: str) -> Page:
        self._count += 1
        self._server.script = f"(() => {{ {script} }})()"
        self.page.goto(self.url + path.format(self._count))
        return self.page

    def go(self, path: str) -> None:
        """Show another screen."""
        self.run(f"location.hash = '#/{path}'")

    def settle(self) -> None:
        """Wait until the page has shown all."""
        self.page.evaluate("project.settle()")

    def run(self, script: str, *given: Any) -> Any:
        """Run a script and wait until the page has shown what comes of it."""
        found = self.page.evaluate(script, *given)
        self.settle()
        return found

    def shown(self, selector: str) -> list[str]:
        """Return the visible texts of elements."""
        return self.page.evaluate(SHOWN, selector)

    def press(self, name: str, within: str = "body", exact: bool = True) -> None:
        """Press a button."""
        self.page.locator(within).get_by_role("button", name=name, exact=exact).first.click()
        self.settle()

    def calls(self, start: str = "") -> list[Any]:
        """Return the calls since the last look whose key begins like this, as [key, what was sent]."""
        return self.page.evaluate("start => project.look(start)", start)

    def end(self) -> None:
        """Close the browser and the server."""
        self._context.close()
        self._server.shutdown()
        self._server.server_close()
