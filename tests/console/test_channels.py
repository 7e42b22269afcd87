"""Channels: two users live, offline and back, files, search, pins, threads, direct messages, members, guests."""

from pathlib import Path

import psycopg
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import NARROW, Visitors

MATTY, BOB, CAROL, MALLORY = (f"{name}@example.com" for name in ("matty", "bob", "carol", "mallory"))
GENERAL = "#/channels/550e8400-e29b-41d4-a716-446655440000"
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"> \u202egnp.exe <@not-a-user> <!channel>"


def article(page: Page, text: str) -> Locator:
    return page.locator(".column .message").filter(has_text=text)


def write(page: Page, text: str, label: str = "Message") -> None:
    page.get_by_role("textbox", name=label, exact=True).fill(text)
    page.keyboard.press("Enter")


def act(message: Locator, name: str) -> None:
    message.get_by_role("button", name="Message actions").click()
    message.get_by_role("button", name=name, exact=True).click()


def test_two_users_talk_live(visitors: Visitors) -> None:
    matty, bob = visitors.sign_in(MATTY, GENERAL), visitors.sign_in(BOB, GENERAL)
    expect(matty.get_by_text("1 here")).to_be_visible()
    expect(article(bob, "Morning!")).to_be_visible()
    bob.get_by_role("textbox", name="Message", exact=True).press_sequentially("Hi M")
    expect(matty.get_by_text("Bob Okafor is typing …")).to_be_visible()
    write(bob, "Hi Matty, how is it?")
    expect(matty.get_by_text("is typing")).to_be_hidden()
    said = article(matty, "Hi Matty, how is it?")
    expect(said).to_contain_text("Bob Okafor")
    act(said, "React with 🎉")
    expect(article(bob, "Hi Matty").get_by_role("button", name="🎉, 1")).to_be_visible()
    act(article(bob, "Hi Matty"), "Edit")
    bob.get_by_role("textbox", name="Text").fill("Hi Matty, how was it?")
    bob.get_by_role("button", name="Save").click()
    expect(said.or_(article(matty, "how was it?")).get_by_role("button", name="Edited")).to_be_visible()
    said = article(matty, "how was it?")
    expect(said.get_by_role("button", name="🎉, 1")).to_be_visible()
    said.get_by_role("button", name="Edited").click()
    expect(matty.get_by_role("dialog")).to_contain_text("how is it?")
    matty.keyboard.press("Escape")
    act(said, "Pin")
    expect(article(bob, "how was it?")).to_contain_text("Pinned")
    bob.get_by_role("button", name="Pins").click()
    expect(bob.get_by_role("dialog", name="Pinned messages")).to_contain_text("how was it?")
    bob.keyboard.press("Escape")
    act(said, "Reply")
    write(matty, "Good, thanks", "Reply")
    expect(article(bob, "how was it?").get_by_role("button", name="1 reply")).to_be_visible()
    article(bob, "how was it?").get_by_role("button", name="1 reply").click()
    expect(bob.get_by_role("complementary", name="Thread")).to_contain_text("Good, thanks")
    act(article(bob, "how was it?"), "Delete")
    expect(article(matty, "how was it?")).to_have_count(0)
    write(bob, HOSTILE)
    expect(article(matty, "<img src=x")).to_contain_text("<@not-a-user> @channel")
    assert matty.locator(".message img").count() == 0
    assert "pwned" not in matty.title()


def test_unread_messages_are_counted_until_read(visitors: Visitors) -> None:
    matty, bob = visitors.sign_in(MATTY, GENERAL), visitors.sign_in(BOB)
    channels = bob.get_by_role("link", name="Channels")
    bob.goto(visitors.url + GENERAL)
    expect(channels).not_to_contain_text("unread")
    bob.get_by_role("link", name="Inbox").click()
    write(matty, "Unread one")
    expect(channels).to_contain_text("1 unread")
    expect(bob).to_have_title("(1) Threadline")
    bob.goto(visitors.url + GENERAL)
    expect(article(bob, "Unread one")).to_be_visible()
    expect(channels).not_to_contain_text("unread")


def test_what_happened_offline_is_read_when_back(visitors: Visitors) -> None:
    matty, bob = visitors.sign_in(MATTY, GENERAL), visitors.sign_in(BOB, GENERAL)
    expect(matty.get_by_text("1 here")).to_be_visible()
    bob.context.set_offline(True)
    expect(bob.get_by_text("Offline.")).to_be_visible()
    write(bob, "Sent when back")
    expect(bob.get_by_role("form", name="Message").get_by_role("alert")).to_contain_text("out of reach")
    for number in range(3):
        write(matty, f"While Bob was away {number}")
        expect(article(matty, f"away {number}")).to_be_visible()
    bob.context.set_offline(False)
    for number in range(3):
        expect(article(bob, f"While Bob was away {number}")).to_have_count(1)
    expect(bob.get_by_text("Offline.")).to_be_hidden()
    bob.get_by_role("button", name="Send").click()
    expect(article(matty, "Sent when back")).to_have_count(1)


def test_files_travel_through_storage(visitors: Visitors, tmp_path: Path) -> None:
    picture = Path(__file__).with_name("pixel.png")
    for name in ("page.html", "page.bin"):
        (tmp_path / name).write_text("<script>alert(1)</script>")
    matty, bob = visitors.sign_in(MATTY, GENERAL), visitors.sign_in(BOB, GENERAL)
    expect(article(bob, "Morning!")).to_be_visible()
    matty.locator("input[type=file]").set_input_files(picture)
    expect(matty.get_by_role("button", name="Remove pixel.png")).to_be_visible()
    matty.get_by_role("button", name="Send").click()
    image = article(bob, "pixel.png").get_by_role("img", name="pixel.png")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    matty.locator("input[type=file]").set_input_files(tmp_path / "page.html")
    expect(matty.get_by_role("alert")).to_contain_text("HTML, SVG and XML are not accepted")
    matty.locator("input[type=file]").set_input_files(tmp_path / "page.bin")
    expect(matty.get_by_role("button", name="Remove page.bin")).to_be_visible()
    write(matty, "A page")
    link = article(bob, "A page").get_by_role("link", name="Open page.bin")
    with bob.expect_download() as saved:
        link.click()
    assert saved.value.suggested_filename == "page.bin"


def test_search_leads_to_a_message(visitors: Visitors, database: psycopg.Connection) -> None:
    database.execute(
        """
        insert into public.messages (channel_id, user_id, content)
        select '550e8400-e29b-41d4-a716-446655440000', 'b0b0b0b0-0000-4000-8000-000000000002',
            case when n = 1 then 'the aardvark is here' else 'filler ' || n end
        from generate_series(1, 150) as n
        """
    )
    page = visitors.sign_in(MATTY, GENERAL)
    expect(article(page, "filler 150")).to_be_visible()
    search, found = page.get_by_label("Search messages"), page.get_by_role("link", name="the aardvark is here")
    search.fill("filler")
    search.press("Enter")
    expect(page.get_by_text("149 found")).to_be_visible()
    search.fill("")
    expect(page.get_by_text("149 found")).to_have_count(0)
    search.fill("aardvark")
    search.press("Enter")
    expect(found).to_be_visible()
    search.fill("aardvark or more")
    expect(found).to_be_visible()
    found.click()
    expect(article(page, "the aardvark is here")).to_be_in_viewport()
    expect(article(page, "filler 150")).to_have_count(0)
    page.get_by_role("button", name="Newest").click()
    expect(article(page, "filler 150")).to_be_in_viewport()


def test_direct_messages_and_new_channels(visitors: Visitors) -> None:
    matty, carol = visitors.sign_in(MATTY, "#/channels"), visitors.sign_in(CAROL, "#/channels", size=NARROW)
    matty.get_by_role("button", name="New", exact=True).click()
    dialog = matty.get_by_role("dialog", name="New")
    dialog.get_by_label("In the workspace").select_option("Team")
    dialog.get_by_label("Carol Lindqvist").check()
    dialog.get_by_role("button", name="Open").click()
    expect(matty.get_by_role("heading", name="Carol Lindqvist")).to_be_visible()
    write(matty, "Just for you")
    carol.get_by_role("link", name="Matty Squarzoni").click()
    expect(article(carol, "Just for you")).to_be_visible()
    matty.get_by_role("button", name="New", exact=True).click()
    dialog.get_by_label("In the workspace").select_option("Team")
    dialog.get_by_label("Name", exact=True).fill("plans")
    dialog.get_by_role("button", name="Create").click()
    matty.get_by_role("button", name="Members (1)").click()
    members = matty.get_by_role("dialog", name="Members")
    members.get_by_label("Member of the workspace").select_option("Carol Lindqvist")
    members.get_by_role("button", name="Add", exact=True).click()
    expect(members.get_by_role("listitem").filter(has_text="Carol Lindqvist")).to_be_visible()
    carol.get_by_role("link", name="Back").click()
    expect(carol.get_by_role("link", name="plans")).to_be_visible()


def test_guest_joins_by_link(visitors: Visitors) -> None:
    matty, mallory = visitors.sign_in(MATTY, GENERAL), visitors.sign_in(MALLORY, "#/channels")
    expect(mallory.get_by_text("No channels")).to_be_visible()
    matty.get_by_role("button", name="Members (").click()
    members = matty.get_by_role("dialog", name="Members")
    members.get_by_role("button", name="Invite").click()
    link = members.locator(".secret code").inner_text()
    mallory.goto(link)
    mallory.get_by_role("button", name="Accept the invitation").click()
    expect(mallory.get_by_role("heading", name="general")).to_be_visible()
    row = members.get_by_role("listitem").filter(has_text="Mallory Pike")
    members.get_by_role("button", name="Close").click()
    matty.get_by_role("button", name="Members (4)").click()
    row.get_by_role("button", name="Remove").click()
    expect(mallory.get_by_text("This channel does not exist, or you may not see it.")).to_be_visible()
