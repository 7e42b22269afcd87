"""docs/tutorial/first-app.md as written: the page in Chromium, the call with curl; only the port differs."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support import tools
from tests.support.cluster import free_port
from tests.support.schema import ROOT
from tests.support.stack import RunningStack
from tests.support.twin import until

TUTORIAL = (ROOT / "docs" / "tutorial" / "first-app.md").read_text(encoding="utf-8")
(HTML,) = re.findall(r"```html\n(.+?)```", TUTORIAL, re.DOTALL)
(CURL,) = re.findall(r"```bash\n(curl .+?)```", TUTORIAL, re.DOTALL)
expect.set_options(timeout=20_000)  # milliseconds; a busy machine needs more than the default of five seconds
(CDN,) = re.findall(r'<script src="(.+?)">', HTML)
SUPABASE_JS = ROOT / "tests" / "node_modules" / "@supabase" / "supabase-js" / "dist" / "umd" / "supabase.js"
SERVER = next(line for line in TUTORIAL.splitlines() if line.startswith("python3 -m http.server"))


@pytest.fixture
def url(stack: RunningStack, tmp_path: Path) -> Iterator[str]:
    """The URL of the page, served as the tutorial says."""
    (tmp_path / "index.html").write_text(HTML.replace("http://127.0.0.1:54321", stack.api_url))
    port = free_port()
    command = [sys.executable, *SERVER.replace("8000", str(port)).split()[1:]]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        until(lambda: is_open(port), 10)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def is_open(port: int) -> bool:
    """Whether a server listens on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Chromium; errors in it fail the test."""
    if (chromium := tools.chromium()) is None:
        pytest.skip(tools.why_not("chromium"))
    if not SUPABASE_JS.exists():
        pytest.skip("supabase-js is not installed: npm ci in tests/")
    errors: list[str] = []

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.on("pageerror", lambda error: errors.append(str(error)))
        # The client of the same major version from npm, because this machine may have no internet.
        opened.route(CDN, lambda route: route.fulfill(path=Path(SUPABASE_JS), content_type="text/javascript"))
        yield opened
        browser.close()
    assert errors == []


def test_tutorial_leads_to_a_live_inbox_and_channel(stack: RunningStack, url: str, page: Page) -> None:
    if tools.postgrest() is None:
        pytest.skip(tools.why_not("postgrest"))
    page.goto(url)
    expect(page.locator("#channel li").first).to_be_visible()
    command = CURL.replace("http://127.0.0.1:54321", stack.api_url) + " --silent --fail"
    subprocess.run(["sh", "-c", command.replace("\n --silent", " --silent")], check=True, capture_output=True)
    expect(page.locator("#inbox")).to_contain_text("Ada: Is the blue one still there?")
    page.get_by_label("Message").fill("<b>Hello</b> from the page")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#channel li").last).to_have_text("<b>Hello</b> from the page")


def test_tutorial_page_has_about_fifty_lines() -> None:
    assert len(HTML.splitlines()) <= 60
