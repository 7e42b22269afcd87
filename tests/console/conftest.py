"""A browser with users in it; what goes wrong in a page fails the test."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import urljoin, urlsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from threadline_devstack import keys

from tests.console.desk import Desk
from tests.support import tools
from tests.support.stack import RunningStack

expect.set_options(timeout=20_000)  # milliseconds; a busy machine needs more than the default of five seconds
WIDE, NARROW = (1280, 800), (390, 780)
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
    """Opens pages of users, and collects what goes wrong in them."""

    def __init__(self, browser: Browser, stack: RunningStack, known: dict[tuple[str, ...], BrowserContext]) -> None:
        self.url = f"{stack.api_url}/console/"
        self._browser = browser
        self._known = known
        self._contexts: list[BrowserContext] = []
        self._pages: list[Page] = []
        self._host = urlsplit(self.url).netloc
        self.problems: list[str] = []

    def open(self, path: str = "", size: tuple[int, int] = WIDE, **options: object) -> Page:
        """Open a page without a user."""
        context = self._context(**options)
        self._contexts.append(context)
        return self._page(context, path, size)

    def _context(self, **options: object) -> BrowserContext:
        context = self._browser.new_context(locale="en-GB", **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        return context

    def _page(self, context: BrowserContext, path: str, size: tuple[int, int]) -> Page:
        page = context.new_page()
        self._pages.append(page)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._hear)
        page.on("request", self._see)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(self.url + path)
        return page

    def sign_in(
        self, email: str, path: str = "", size: tuple[int, int] = WIDE, session: str | None = None, **options: object
    ) -> Page:
        """Open a page of a user of the seed, at a screen. Users keep their browser, unless a test needs its own."""
        is_own = session is not None or options != {}
        context = None if is_own else self._known.get((self.url, email))
        if context is None:
            stored = {"name": "sb-127-auth-token", "value": session or sign_in(self.url, email)}
            origin = {"origin": self.url.removesuffix("/console/"), "localStorage": [stored]}
            context = self._context(storage_state={"cookies": [], "origins": [origin]}, **options)
            if is_own:
                self._contexts.append(context)
            else:
                self._known[self.url, email] = context
        return self._page(context, path, size)

    def close(self) -> None:
        for page in self._pages:
            if not page.is_closed():
                page.evaluate("localStorage.removeItem('threadline.workspace')")
                page.context.set_offline(False)
                page.close()
        for context in self._contexts:
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if re.search(r"Content.Security.Policy|Trusted ?Type|violates", message.text):
            self.problems.append(f"policy: {message.text}")

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws"} and parts.netloc not in {self._host, ELSEWHERE}:
            self.problems.append(f"request: {request.url}")


@pytest.fixture(scope="package")
def known(browser: Browser) -> dict[tuple[str, ...], BrowserContext]:
    """The browsers of users, with the files of the console in their caches."""
    return {}


@pytest.fixture
def visitors(
    browser: Browser, stack: RunningStack, known: dict[tuple[str, ...], BrowserContext], open_channels: None
) -> Iterator[Visitors]:
    visiting = Visitors(browser, stack, known)
    yield visiting
    visiting.close()
    assert visiting.problems == []


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
