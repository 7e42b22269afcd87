"""A browser with users in it; what goes wrong in a page fails the test."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import urljoin, urlsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from threadline_devstack import keys

from tests.console.desk import Desk
from tests.support import tools
from tests.support.stack import RunningStack

expect.set_options(timeout=20_000)  # milliseconds; a busy machine needs more than the default of five seconds
WIDE, NARROW = (1280, 800), (390, 780)
SIGN_IN = "session => { localStorage.clear(); if (session) localStorage.setItem('sb-127-auth-token', session); }"
ELSEWHERE = "elsewhere.invalid"  # a host of files, which does not exist


# It ends with this folder: Playwright runs an event loop while it is open, and other tests start their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if (chromium := tools.chromium()) is None:
        pytest.skip(tools.why_not("chromium"))
    if tools.postgrest() is None:
        pytest.skip(tools.why_not("postgrest"))
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def bureau(browser: Browser) -> Iterator[Desk]:
    desk = Desk(browser)
    yield desk
    desk.end()


@pytest.fixture
def desk(bureau: Desk) -> Iterator[Desk]:
    """The console with a project in the page."""
    bureau.problems.clear()
    yield bureau
    assert bureau.problems == []


@cache
def sign_in(url: str, email: str) -> str:
    """Sign in once for all tests."""
    answer = httpx.post(
        urljoin(url, "/auth/v1/token?grant_type=password"),
        headers={"apikey": keys.PUBLISHABLE_KEY},
        json={"email": email, "password": "password123"},
    )
    return answer.raise_for_status().text


class Visitors:
    """Opens pages of users, and collects what goes wrong in them.

    Each user keeps a browser, with the files of the console in its cache, and a page, because a new one takes more CPU
    time than most tests.
    """

    def __init__(self, browser: Browser, stack: RunningStack) -> None:
        self.url = f"{stack.api_url}/console/"
        self._browser = browser
        self._pages: dict[str, Page] = {}
        self._host = urlsplit(self.url).netloc
        self.problems: list[str] = []

    def open(self, path: str = "", size: tuple[int, int] = WIDE) -> Page:
        """Open a page without a user."""
        return self._visit("", path, size, None)

    def sign_in(self, email: str, path: str = "", size: tuple[int, int] = WIDE, session: str | None = None) -> Page:
        """Open a page of a user of the seed, at a screen. A session of its own may end in the test."""
        return self._visit("" if session else email, path, size, session or sign_in(self.url, email))

    def _visit(self, owner: str, path: str, size: tuple[int, int], session: str | None) -> Page:
        page = self._pages.get(owner) or self._pages.setdefault(owner, self._page())
        page.set_viewport_size({"width": size[0], "height": size[1]})
        self._clear(page)
        page.evaluate(SIGN_IN, session)
        page.goto(self.url + path)
        return page

    def _page(self) -> Page:
        context = self._browser.new_context(locale="en-GB")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._hear)
        page.on("request", self._see)
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    def leave(self) -> None:
        """Leave the pages as they were."""
        for page in self._pages.values():
            for other in page.context.pages:
                if other != page:
                    other.close()
            page.context.set_offline(False)
            page.unroute_all()
            self._clear(page)

    def _clear(self, page: Page) -> None:
        # A file of the same origin, because a page of another one would get a new process.
        if page.url != (nothing := f"{self.url}config.json"):
            page.goto(nothing)

    def _hear(self, message: ConsoleMessage) -> None:
        if re.search(r"Content.Security.Policy|Trusted ?Type|violates", message.text):
            self.problems.append(f"policy: {message.text}")

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws"} and parts.netloc not in {self._host, ELSEWHERE}:
            self.problems.append(f"request: {request.url}")


@pytest.fixture(scope="package")
def guests(browser: Browser, stack: RunningStack) -> Visitors:
    return Visitors(browser, stack)


@pytest.fixture
def visitors(guests: Visitors, open_channels: None) -> Iterator[Visitors]:
    guests.problems.clear()
    yield guests
    guests.leave()
    assert guests.problems == []


@pytest.fixture
def send(stack: RunningStack) -> Callable[..., str]:
    """Ingest a conversation through a connection of the seed; returns its id."""

    def post(external_id: str, messages: list[dict[str, object]], **fields: object) -> str:
        conversation = {
            "external_conversation_id": external_id,
            "participant_identifier": "+49 151 00000001",
            "messages": messages,
            **fields,
        }
        answer = httpx.post(
            f"{stack.api_url}/functions/v1/messaging-ingest",
            headers={"x-api-key": "your-api-secret"},
            json={"platform": "whatsapp", "connection_id": "wa_business_123", "conversations": [conversation]},
            timeout=60,
        )
        (result,) = answer.json()["results"]
        assert not result["status"].startswith("error"), result
        return result["conversation_id"]

    return post


@pytest.fixture
def database(stack: RunningStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        yield connection
