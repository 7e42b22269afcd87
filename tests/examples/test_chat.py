"""examples/chat in Chromium: two people in two browsers, on the stack of `make up`, through a line that is cut."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support import tools
from tests.support.cluster import free_port
from tests.support.line import Line
from tests.support.schema import ROOT
from tests.support.stack import RunningStack

CHAT = ROOT / "examples" / "chat"
LIVE_MS = 20_000  # a busy machine needs more than the default of five seconds
expect.set_options(timeout=LIVE_MS)


@pytest.fixture
def line(stack: RunningStack) -> Iterator[Line]:
    """Open a line to the stack."""
    line = Line(stack.port)
    yield line
    line.close()


@pytest.fixture
def other_line(stack: RunningStack) -> Iterator[Line]:
    """Open a line of one user."""
    line = Line(stack.port)
    yield line
    line.close()


@pytest.fixture
def url(line: Line, tmp_path: Path) -> Iterator[str]:
    """Serve the files as the README says; only the port of the stack differs."""
    for name in ("examples/chat", "packages/follow-js"):
        shutil.copytree(ROOT / name, tmp_path / name)
    program = tmp_path / "examples" / "chat" / "chat.js"
    text = program.read_text(encoding="utf-8")
    assert "http://127.0.0.1:54321" in text
    program.write_text(text.replace(":54321", f":{line.port}"), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        yield f"http://127.0.0.1:{port}/examples/chat/"
        server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium."""
    for name, found in {"chromium": tools.chromium(), "postgrest": tools.postgrest()}.items():
        if found is None:
            pytest.skip(tools.why_not(name))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tools.chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


Enter = Callable[..., Page]


@pytest.fixture
def enter(browser: Browser, url: str, open_channels: None) -> Iterator[Enter]:
    """Return a function that signs a user in with a browser of its own; errors in the page fail the test."""
    errors: list[str] = []
    pages: list[Page] = []

    def enter(name: str, own_line: Line | None = None) -> Page:
        page = browser.new_context(viewport={"width": 1100, "height": 720}).new_page()
        if own_line:
            program = (CHAT / "chat.js").read_text(encoding="utf-8").replace(":54321", f":{own_line.port}")
            page.route("**/chat.js", lambda route: route.fulfill(body=program, content_type="text/javascript"))
        page.set_default_timeout(LIVE_MS)
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        pages.append(page)
        for _ in range(50):
            with suppress(Exception):
                page.goto(url)
                break
            page.wait_for_timeout(100)
        page.get_by_label("Email").fill(f"{name}@example.com")
        page.get_by_label("Password").fill("password123")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#messages .message").first).to_be_visible()
        return page

    yield enter
    for page in pages:
        page.context.close()
    assert errors == []


def say(page: Page, text: str, box: str = "Message") -> None:
    page.get_by_label(box, exact=True).fill(text)
    page.get_by_label(box, exact=True).press("Enter")


def message(page: Page, text: str) -> Locator:
    return page.locator("#messages .message", has_text=text)


def act(page: Page, text: str, name: str) -> None:
    message(page, text).hover()
    message(page, text).locator(".actions").get_by_role("button", name=name, exact=True).click()


def test_two_people_chat(enter: Enter) -> None:
    matty, bob = enter("matty"), enter("bob")
    hello = f"Hello {uuid4().hex[:8]}"
    again = f"{hello} again"
    for page in (matty, bob):
        expect(page.locator("#title")).to_have_text("general")
        expect(page.locator("#show-members")).to_have_text("Members · 2 here")

    matty.get_by_label("Message", exact=True).type(f"<b>{hello}</b> Bob")
    expect(bob.locator("#typing")).to_contain_text("is writing")
    matty.get_by_label("Message", exact=True).press("Enter")
    expect(message(bob, f"<b>{hello}</b> Bob")).to_be_visible()
    expect(bob.locator("#messages strong").last).to_contain_text("Matty")
    expect(bob.locator("#typing")).to_have_text("")

    act(bob, hello, "👍")
    expect(message(matty, hello).locator(".reactions")).to_contain_text("👍 1")
    act(bob, hello, "👍")
    expect(message(matty, hello).locator(".reactions")).not_to_contain_text("👍")

    act(matty, hello, "Edit")
    say(matty, again)
    expect(message(bob, f"{again} (edited)")).to_be_visible()
    act(matty, again, "Pin")
    expect(bob.locator("#messages .pinned", has_text=again)).to_be_visible()
    bob.get_by_role("button", name="Pins").click()
    expect(bob.locator("#panel-list")).to_contain_text(again)

    act(bob, again, "Reply")
    say(bob, "Hello Matty", "Reply")
    expect(bob.locator("#panel-list")).to_contain_text("Hello Matty")
    message(matty, again).get_by_role("button", name="1 reply").click()
    expect(matty.locator("#panel-list")).to_contain_text("Hello Matty")
    say(matty, "How are you?", "Reply")
    expect(bob.locator("#panel-list")).to_contain_text("How are you?")
    expect(message(bob, again)).to_contain_text("2 replies")

    act(matty, again, "Delete")
    expect(message(bob, again)).to_have_count(0)
    expect(bob.locator("#panel")).to_be_hidden()


def test_files_reach_the_other_side(enter: Enter, tmp_path: Path) -> None:
    matty, bob = enter("matty"), enter("bob")
    (tmp_path / "plan.txt").write_text("Grüße aus Köln", encoding="utf-8")
    matty.locator("#channel input[type=file]").set_input_files(tmp_path / "plan.txt")
    say(matty, "The plan")
    with bob.expect_download() as download:
        message(bob, "The plan").get_by_role("button", name="plan.txt").click()
    assert download.value.suggested_filename == "plan.txt"
    assert Path(download.value.path()).read_text(encoding="utf-8") == "Grüße aus Köln"


def test_search_shows_channel_and_author(enter: Enter) -> None:
    matty, bob = enter("matty"), enter("bob")
    word = f"harbour{uuid4().hex[:8]}"
    say(matty, f"Meet me at {word}")
    expect(message(bob, word)).to_be_visible()
    bob.get_by_label("Search").fill(word)
    bob.get_by_label("Search").press("Enter")
    expect(bob.locator("#panel-title")).to_have_text("1 found")
    expect(bob.locator("#panel-list")).to_contain_text("Matty")
    expect(bob.locator("#panel-list mark")).to_have_text(word)


def test_channels_members_and_unread_are_live(enter: Enter) -> None:
    matty, bob = enter("matty"), enter("bob")
    matty.on("dialog", lambda dialog: dialog.accept("launch"))
    matty.locator("#new-channel").click()
    expect(matty.locator("#title")).to_have_text("launch")
    matty.get_by_role("button", name="Members").click()
    matty.locator("#panel-list li", has_text="Bob").get_by_role("button", name="Add").click()
    entry = bob.locator("#channels li", has_text="launch")
    expect(entry).to_be_visible()
    say(matty, "First")
    say(matty, "Second")
    expect(entry.locator("b")).to_have_text("2")
    entry.get_by_role("button").click()
    expect(message(bob, "Second")).to_be_visible()
    expect(entry.locator("b")).to_have_count(0)

    matty.locator("#panel-list li", has_text="Bob").get_by_role("button", name="Message").click()
    expect(matty.locator("#title")).to_contain_text("Bob")
    say(matty, "Only you")
    expect(bob.locator("#channels li", has_text="@ Matty").locator("b")).to_have_text("1")


def test_two_tabs_of_a_person_show_the_same(enter: Enter) -> None:
    matty, bob = enter("matty"), enter("bob")
    other = bob.context.new_page()
    other.goto(bob.url)
    expect(other.locator("#show-members")).to_have_text("Members · 2 here")
    say(matty, "For both tabs")
    for tab in (bob, other):
        expect(message(tab, "For both tabs")).to_be_visible()
    say(other, "From the other tab")
    expect(message(bob, "From the other tab")).to_be_visible()
    other.close()
    say(matty, "For one tab")
    expect(message(bob, "For one tab")).to_be_visible()


def test_offline_person_catches_up(enter: Enter, other_line: Line) -> None:
    matty, bob = enter("matty"), enter("bob", other_line)
    expect(bob.locator("#show-members")).to_have_text("Members · 2 here")
    with other_line.down():  # a browser that is offline still connects its sockets to this machine
        bob.context.set_offline(True)
        expect(bob.locator("#state")).to_have_text("Reconnecting …")
        for number in range(20):
            say(matty, f"Number {number:02}")
            expect(message(matty, f"Number {number:02}")).to_be_visible()
        act(matty, "Number 03", "Delete")
        expect(message(matty, "Number 03")).to_have_count(0)
    bob.context.set_offline(False)
    expect(message(bob, "Number 19")).to_be_visible()
    expect(bob.locator("#state")).to_have_text("")
    texts = bob.locator("#messages .message p").all_inner_texts()
    assert [text for text in texts if text.startswith("Number")] == [f"Number {n:02}" for n in range(20) if n != 3]
    say(bob, "Back again")
    expect(message(matty, "Back again")).to_be_visible()


def test_chat_has_at_most_300_lines_of_code() -> None:
    lines = (line.strip() for line in (CHAT / "chat.js").read_text(encoding="utf-8").splitlines())
    assert len([line for line in lines if line and not line.startswith("//")]) <= 300
