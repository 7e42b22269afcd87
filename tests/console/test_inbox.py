"""The inbox: a first message by clicking, what updates change, hostile texts, long conversations."""

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
from playwright.sync_api import Page, expect

from tests.console.conftest import ELSEWHERE, NARROW, Visitors
from tests.support.forking import PROGRAM
from tests.support.schema import ROOT
from tests.support.twin import until

MATTY = "matty@example.com"
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script><b>bold</b>"
BIDI = "\u202egnp.exe \u2066nested"


def message(number: int, text: str, **fields: object) -> dict[str, object]:
    sent_at = f"2026-02-01T{10 + number // 60:02}:{number % 60:02}:00Z"
    return {"id": f"m{number}", "direction": "inbound", "type": "text", "content": text, "sent_at": sent_at, **fields}


def bubble(page: Page, text: str) -> object:
    return page.locator(".bubble").filter(has_text=text)


def test_first_message_arrives_by_clicking(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY)
    page.get_by_role("link", name="Import").click()
    page.get_by_label("Name", exact=True).fill("my_first")
    page.get_by_role("button", name="Create").click()
    dialog = page.get_by_role("dialog", name="Secret of my_first")
    dialog.get_by_role("button", name="Copy command").click()
    command = page.evaluate("navigator.clipboard.readText()")
    assert dialog.locator(".secret code").inner_text() in command
    subprocess.run(["sh", "-c", f"{command} --fail"], check=True, capture_output=True)
    expect(dialog).to_contain_text("It arrived.")
    dialog.get_by_role("link", name="Open Ada").click()
    expect(bubble(page, "Hello from my own connection")).to_be_visible()
    page.get_by_role("link", name="Import").click()
    expect(page.get_by_role("heading", name="Import → Messaging")).to_be_visible()
    expect(page.get_by_role("region", name="Ingest log", exact=True)).to_contain_text("my_first")
    assert page.get_by_text(command).count() == 0
    shown = page.get_by_role("region", name="Histories").locator("code").first.inner_text()
    program, *arguments = shown.replace("chat.zip", "examples/data/telegram_result.json").split()
    assert program == ".venv/bin/threadline"
    result = subprocess.run([PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, "Nothing was sent" in result.stdout) == (0, True), result


def test_connection_is_rotated_and_stopped(visitors: Visitors, database: psycopg.Connection) -> None:
    # Of its own, because other tests use the keys of the seed.
    database.execute(
        """
        with connection as (
            insert into public.messaging_connections (user_id, platform, connection_id)
            select id, 'signal', 'rotated' from auth.users where email = %s returning id
        )
        insert into private.messaging_keys (connection_id, secret_hash) select id, sha256('rotated') from connection
        """,
        (MATTY,),
    )
    page = visitors.sign_in(MATTY, "#/import")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="rotated"))
    card.get_by_role("button", name="Deactivate").click()
    expect(card).to_contain_text("Inactive")
    card.get_by_role("button", name="Activate").click()
    expect(card).not_to_contain_text("Inactive")
    card.get_by_role("button", name="Rotate").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(card.get_by_text("Key of")).to_have_count(2)
    card.get_by_role("button", name="Revoke").first.click()
    expect(card.get_by_text("ended")).to_have_count(1)


def test_thread_shows_what_updates_change(visitors: Visitors, send: Callable[..., str]) -> None:
    conversation = send(
        "updates",
        [
            message(1, "Can we meet at 5?"),
            message(2, "Yes", direction="outbound", reply_to="m1"),
            message(3, "Wrong chat"),
            message(9, "First of a minute", sequence=1),
            message(8, "Second of it", sequence=2, sent_at="2026-02-01T10:09:00Z"),
        ],
        participant_identifier="+1 987 654 321",
        participant_name="Alice",
    )
    page = visitors.sign_in(MATTY, f"#/inbox/{conversation}")
    expect(bubble(page, "Reply to: Can we meet at 5?")).to_be_visible()
    expect(page.locator("article.bubble")).to_contain_text(["5?", "Yes", "Wrong", "First of", "Second of"])
    updates = [
        {"message_id": "m1", "type": "edited", "at": "2026-02-01T11:00:00Z", "content": "Can we meet at 6?"},
        {"message_id": "m1", "type": "reaction", "at": "2026-02-01T11:00:00Z", "emoji": "👍", "by": "Alice"},
        {"message_id": "m2", "type": "read", "at": "2026-02-01T11:00:00Z"},
        {"message_id": "m2", "type": "reaction", "at": "2026-02-01T11:00:00Z", "emoji": "🎉"},
        {"message_id": "m3", "type": "deleted", "at": "2026-02-01T11:00:00Z"},
    ]
    send("updates", [], participant_identifier="+1 987 654 321", updates=updates)
    edited = bubble(page, "Can we meet at 6?").first
    expect(edited.locator(".reaction")).to_have_attribute("title", "Alice")
    expect(bubble(page, "Yes")).to_contain_text("read")
    expect(bubble(page, "Yes").locator(".reaction")).to_have_attribute("title", "the participant")
    expect(bubble(page, "This message was deleted.")).to_be_visible()
    edited.get_by_role("button", name="Edited").click()
    expect(page.get_by_role("dialog")).to_contain_text("Can we meet at 5?")
    page.keyboard.press("Escape")
    page.get_by_text("Matched to Alice Smith").click()
    expect(page.locator(".facts")).to_contain_text("the same phone number")


def test_group_shows_its_senders(visitors: Visitors, send: Callable[..., str]) -> None:
    page = visitors.sign_in(MATTY)
    messages = [message(1, "Who waters?", sender="+1 555"), message(2, "Me", sender="+1 556")]
    send("g1@g.us", messages, participant_identifier="g1@g.us", kind="group", title="Garden club")
    page.get_by_role("link", name="Garden club").click()
    expect(bubble(page, "Who waters?")).to_contain_text("+1 555")
    expect(bubble(page, "Me")).to_contain_text("+1 556")


def test_messages_are_unread_until_opened(visitors: Visitors, send: Callable[..., str]) -> None:
    now = datetime.now(UTC)
    arrived = [message(n, f"Unread {n}", sent_at=(now + timedelta(seconds=n)).isoformat()) for n in range(2)]
    send("unread", arrived, participant_name="Nina")
    page = visitors.sign_in(MATTY)
    row = page.get_by_role("link", name="Nina")
    expect(row).to_contain_text("2 unread")
    row.click()
    expect(bubble(page, "Unread 1")).to_be_visible()
    page.get_by_role("link", name="Channels").click()
    page.get_by_role("link", name="Inbox").click()
    expect(row).to_be_visible()
    expect(row).not_to_contain_text("unread")


def test_hostile_thread_harms_nothing(visitors: Visitors, send: Callable[..., str]) -> None:
    conversation = send(
        "hostile",
        [
            message(1, HOSTILE),
            message(2, BIDI),
            message(3, "x" * 40_000),
            message(4, "line\n" * 500),
            message(5, "A\u0335\u0321\u0322" * 200),
            message(6, "", type="image", media_url=f"https://{ELSEWHERE}/broken.png"),
            message(7, "", type="image", media_url="javascript:document.title='pwned'"),
            message(8, "", type="file", media_url="data:text/html,<script>alert(1)</script>"),
            message(
                11,
                "own fields",
                reactions=[None, 7, {"emoji": {}}, {"emoji": "👍", "by": {"toString": 1}}, []],
                status={"toString": 1},
                status_at={"toString": 1},
                failure=[[]],
                reply_to={"toString": 1},
                forwarded="x",
                pinned=[],
                edited_at={},
            ),
            message(12, "other fields", reactions={"length": 3}, status=[{"__b": 1, "type": "b"}], reply_to=[None]),
            message(10, "مرحبا بالعالم"),
            message(9, "https://elsewhere.invalid/a?b=<script> javascript:alert(1)"),
        ],
        participant_name=f"\u202e{HOSTILE} {'N' * 300}",
    )
    page = visitors.sign_in(MATTY, f"#/inbox/{conversation}")
    last = bubble(page, "javascript:alert(1)")
    expect(last.get_by_role("link")).to_have_count(1)
    expect(last.get_by_role("link")).to_have_attribute("href", f"https://{ELSEWHERE}/a?b=")
    expect(bubble(page, "<b>bold</b>")).to_have_count(1)
    expect(page.get_by_text("A file with an address that cannot be opened.")).to_have_count(2)
    expect(bubble(page, "own fields").locator(".reaction")).to_have_text("👍")
    page.get_by_role("button", name=f"Show photo from {ELSEWHERE}").click()
    expect(page.get_by_text("This photo cannot be loaded.")).to_be_visible()
    page.get_by_role("button", name="Show all 40,000 characters").click()
    assert len(bubble(page, "x" * 40_000).locator(".text").inner_text()) == 40_000
    expect(page.get_by_role("button", name="Show all 2,500 characters")).to_be_visible()
    direction = "element => getComputedStyle(element).direction"
    assert bubble(page, "مرحبا").locator(".text").evaluate(direction) == "rtl"
    assert last.locator(".text").evaluate(direction) == "ltr"
    assert page.locator("script:not([src])").count() == 0
    assert page.locator(".bubble b, .bubble script").count() == 0
    assert page.title() == "Threadline" or page.title().endswith(" Threadline")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_filters_narrow_the_inbox(visitors: Visitors, send: Callable[..., str]) -> None:
    send("filtered", [message(1, "Hi")], participant_name='Zoë (100%, "quoted")')
    page = visitors.sign_in(MATTY)
    rows = page.get_by_role("region", name="Conversations").locator(".row")
    page.get_by_label("Find by name or number").fill('zoë (100%, "quoted")')
    expect(rows).to_have_count(1)
    page.get_by_label("Platform").select_option("Telegram")
    expect(page.get_by_text("None fits the filter.")).to_be_visible()


def test_narrow_screen_works_by_keyboard(visitors: Visitors, send: Callable[..., str]) -> None:
    conversation = send("keyboard", [message(1, "By keyboard")], participant_name="Kay")
    page = visitors.sign_in(MATTY, size=NARROW)
    page.get_by_role("link", name="Kay").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Kay")).to_be_focused()
    expect(page.get_by_role("heading", name="Inbox")).to_be_hidden()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Back")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    assert conversation not in page.url


def test_picture_of_the_readme(visitors: Visitors, send: Callable[..., str]) -> None:
    """`make picture` keeps it; else only its size is checked."""
    talk = [
        message(0, "Hello! Is the blue one still there?"),
        message(2, "Yes, one is left. Shall I keep it for you?", direction="outbound"),
        message(5, "Please do. Can I come by at 5?"),
        message(6, "", type="image", media_url="https://cdn.example.com/receipt.jpg"),
        message(9, "Of course. See you then!", direction="outbound", reply_to="m5"),
    ]
    happened = "2026-02-01T11:00:00Z"
    updates = [
        {"message_id": "m5", "type": "edited", "at": happened, "content": "Please do. Can I come by at 6?"},
        {"message_id": "m9", "type": "read", "at": happened},
    ]
    send("picture 1", [message(40, "And bring the key")], kind="group", title="Garden club")
    send("picture 2", [message(30, "شكرا جزيلا")], participant_name="ليلى")
    conversation = send(
        "picture 3", talk, participant_identifier="+1 (234) 567-890", participant_name="John Doe", updates=updates
    )
    page = visitors.sign_in(MATTY, f"#/inbox/{conversation}", size=(900, 560))
    expect(bubble(page, "See you then!")).to_contain_text("read")
    picture = page.screenshot(path=os.environ.get("THREADLINE_PICTURE") or None)
    assert len(picture) < 100_000


def test_search_leads_to_a_message_of_a_conversation(
    visitors: Visitors, send: Callable[..., str], database: psycopg.Connection
) -> None:
    many = [message(n, f"filler {n}" if n != 7 else "a rare okapi") for n in range(400)]
    many[7]["id"] = "m 0/%"  # an address must keep it
    send("searched", many, participant_name="Sia")
    indexed = "select not exists (select from private.word_backlog)"
    until(lambda: database.execute(indexed).fetchone()[0], 30)
    page = visitors.sign_in(MATTY)
    page.get_by_label("Find by name or number").fill("okapi")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="a rare okapi").click()
    expect(bubble(page, "a rare okapi")).to_be_in_viewport()
    expect(bubble(page, "filler 399")).to_have_count(0)
    page.get_by_role("button", name="Newest").click()
    expect(bubble(page, "filler 399")).to_be_in_viewport()


def test_stored_file_opens_with_a_signed_link(visitors: Visitors, send: Callable[..., str]) -> None:
    path = "/storage/v1/object/authenticated/attachments/conversations/x/y"
    conversation = send("stored", [message(1, "", type="image", media_url=path)])
    page = visitors.sign_in(MATTY, f"#/inbox/{conversation}")
    # There is no such file, so the project gives no link, and the page says that.
    expect(page.locator(".bubble")).to_contain_text("This file is no longer available.")


# The last test: its messages keep the index of words busy.
LONG = """
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select
    %(id)s, conversation.workspace_id, 'n' || n, '2020-01-01'::timestamptz + n * interval '1 minute',
    jsonb_build_object('id', 'n' || n, 'direction', 'inbound', 'type', 'text', 'content', 'Number ' || n)
from generate_series(1, 100000) as n, public.conversations as conversation
where conversation.id = %(id)s
"""


def test_long_thread_scrolls(visitors: Visitors, send: Callable[..., str], database: psycopg.Connection) -> None:
    conversation = send("long", [])
    database.execute(LONG, {"id": conversation})
    page = visitors.sign_in(MATTY, f"#/inbox/{conversation}")
    expect(bubble(page, "Number 100000")).to_be_visible()
    box = page.locator(".scroll")
    for _ in range(3):
        oldest = page.locator(".bubble").first.inner_text()
        box.evaluate("box => box.scrollTop = 0")
        until(lambda oldest=oldest: page.locator(".bubble").first.inner_text() != oldest, 20)
    assert page.locator(".bubble").count() <= 300
    expect(page.locator(".bubble").first).to_contain_text("Number 99601")
    page.get_by_text("More").click()
    page.get_by_role("button", name="First message").click()
    expect(page.get_by_text("Number 1", exact=True)).to_be_visible()
    box.evaluate("box => box.scrollTop = box.scrollHeight")
    expect(page.get_by_text("Number 150", exact=True)).to_be_attached()
    page.get_by_role("button", name="Newest").click()
    expect(bubble(page, "Number 100000")).to_be_visible()
