"""The session in the browser: it is renewed in time, ends everywhere at once, and comes from a link by mail."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, expect
from threadline_devstack import keys

from tests.console.conftest import Visitors, sign_in

MATTY, BOB = "matty@example.com", "bob@example.com"
STORED = "sb-127-auth-token"


def stored(page: Page) -> dict[str, Any]:
    return json.loads(page.evaluate(f"localStorage.getItem('{STORED}')"))


def shorten(page: Page, **fields: object) -> None:
    """Let the stored session end now, and load the page again."""
    session = json.dumps({**stored(page), "expires_at": int(time.time()), **fields})
    page.evaluate(f"session => localStorage.setItem('{STORED}', session)", session)
    page.reload()


def own_session(visitors: Visitors, email: str) -> str:
    """Sign in anew, because a refresh token works only once."""
    return sign_in.__wrapped__(visitors.url, email)


def inbox(page: Page) -> None:
    expect(page.get_by_role("heading", name="Inbox", level=1)).to_be_visible()


def test_session_is_renewed_once_for_all_calls_or_ends(visitors: Visitors) -> None:
    page = visitors.sign_in(BOB, session=own_session(visitors, BOB))
    inbox(page)
    renewals = []
    page.on("request", lambda request: "refresh_token" in request.url and renewals.append(request.url))
    before = stored(page)
    shorten(page)
    expect(page.get_by_label("Workspace")).to_be_visible()
    after = stored(page)
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > time.time() + 600
    assert len(renewals) == 1
    shorten(page, refresh_token="gone")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_sign_out_reaches_other_tabs(visitors: Visitors) -> None:
    page = visitors.sign_in(BOB, session=own_session(visitors, BOB))
    inbox(page)
    other = page.context.new_page()
    other.goto(visitors.url)
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def link_of(visitors: Visitors, email: str) -> str:
    """Return the address that a mail to a user opens."""
    session = json.loads(own_session(visitors, email))
    given = {key: session[key] for key in ("access_token", "refresh_token", "expires_in", "token_type")}
    return f"{visitors.url}#{urlencode({**given, 'type': 'magiclink'})}"


def open_again(page: Page, address: str) -> Page:
    """Open an address in a new tab of the same browser, as a mail does."""
    other = page.context.new_page()
    other.goto(address)
    return other


def test_link_by_mail_signs_in(visitors: Visitors) -> None:
    page = visitors.open()
    config = {"url": page.url.partition("/console")[0], "key": keys.PUBLISHABLE_KEY}
    page.route("**/config.json", lambda route: route.fulfill(json=config))
    page.route("**/auth/v1/otp?*", lambda route: route.fulfill(json={}))
    page.reload()
    page.get_by_text("Sign in with a link by mail").click()
    page.locator("details").get_by_label("Email").fill(MATTY)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("status")).to_have_text(f"A link was sent to {MATTY}.")
    other = open_again(page, link_of(visitors, MATTY))
    inbox(other)
    assert "access_token" not in other.url
    assert stored(other)["user"]["email"] == MATTY


def test_link_that_was_not_asked_for_asks_first(visitors: Visitors) -> None:
    page = visitors.sign_in(BOB, session=own_session(visitors, BOB))
    inbox(page)
    for button, email in (("Leave it", BOB), ("Sign in with the link", MATTY)):
        other = open_again(page, link_of(visitors, MATTY))
        expect(other.get_by_text(f"The link signs you in as {MATTY}.")).to_be_visible()
        expect(other.get_by_text(f"You are signed in as {BOB}.")).to_be_visible()
        assert "access_token" not in other.url
        assert stored(other)["user"]["email"] == BOB
        other.get_by_role("button", name=button).click()
        inbox(other)
        assert stored(other)["user"]["email"] == email
    page = visitors.open(link_of(visitors, MATTY).removeprefix(visitors.url))
    expect(page.get_by_role("heading", name="Sign in with this link?")).to_be_visible()
    assert page.evaluate(f"localStorage.getItem('{STORED}')") is None


def test_refused_link_says_why(visitors: Visitors) -> None:
    page = visitors.open("#error=access_denied&error_code=otp_expired&error_description=Call+555-1234")
    expect(page.get_by_role("alert")).to_have_text("The link has expired or was used before. Ask for a new one.")
    for fragment in ("error=x&error_description=Call+555-1234", "access_token=x&error_description=Call+555-1234"):
        page = visitors.open(f"#{fragment}")
        expect(page.get_by_role("alert")).to_have_text("The link did not sign you in. Ask for a new one.")
