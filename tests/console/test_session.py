"""The session in the browser: it is renewed in time, ends everywhere at once, and comes from a link by mail."""

import json
import time
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

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


def test_session_is_renewed_once_for_all_calls(visitors: Visitors) -> None:
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


def test_session_that_cannot_be_renewed_ends(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, session=own_session(visitors, MATTY))
    inbox(page)
    shorten(page, refresh_token="gone")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_sign_out_reaches_other_tabs(visitors: Visitors) -> None:
    page = visitors.sign_in(BOB, session=own_session(visitors, BOB))
    inbox(page)
    other = page.context.new_page()
    other.goto(visitors.url)
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_link_by_mail_signs_in(visitors: Visitors) -> None:
    session = json.loads(own_session(visitors, MATTY))
    given = {key: session[key] for key in ("access_token", "refresh_token", "expires_in", "token_type")}
    page = visitors.open(f"#{urlencode({**given, 'type': 'magiclink'})}")
    inbox(page)
    assert "access_token" not in page.url
    assert stored(page)["user"]["email"] == MATTY


def test_refused_link_says_why(visitors: Visitors) -> None:
    page = visitors.open("#error=access_denied&error_description=Email+link+is+invalid+or+has+expired")
    expect(page.get_by_role("alert")).to_have_text("Email link is invalid or has expired")
