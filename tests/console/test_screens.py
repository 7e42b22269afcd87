"""Every screen has its roles and names, wide and narrow; people, twins and the workspace can be changed there."""

import re
from collections.abc import Callable

from playwright.sync_api import Response, expect

from tests.console.conftest import NARROW, WIDE, Visitors

MATTY, CAROL = "matty@example.com", "carol@example.com"
NAVIGATION = """
- navigation "Screens":
  - list:
    - listitem:
      - link "Inbox"
    - listitem:
      - link /Channels/
    - listitem:
      - link "People"
    - listitem:
      - link "Import"
    - listitem:
      - link "Twins"
    - listitem:
      - link "Workspace"
  - text: Workspace
  - combobox "Workspace"
  - button "Sign out"
"""
SCREENS = {
    "inbox": """
- region "Conversations":
  - heading "Inbox" [level=1]
  - search:
    - searchbox "Find by name or number"
    - combobox "Platform"
    - combobox "Connection"
""",
    "channels": """
- region "List of channels":
  - heading "Channels" [level=1]
  - button "New"
  - search:
    - searchbox "Search messages"
  - heading "Team" [level=2]
  - list:
    - listitem:
      - link /general/
""",
    "channels/550e8400-e29b-41d4-a716-446655440000": """
- region "Channel":
  - heading "general" [level=2]
  - button "Pins"
  - button "Members (3)"
  - region "Messages of general":
    - list:
      - listitem:
        - article "Message of Bob Okafor"
  - form "Message":
    - button "Attach files"
    - textbox "Message"
    - button "Send"
""",
    "people/0b9d3c52-6f0e-4a6c-9d5e-000000000003": """
- region "Person":
  - heading "Chen Wei" [level=2]
  - region "Identifiers":
    - heading "Identifiers" [level=3]
  - region "Merge":
    - combobox "The same person as"
    - button "Merge"
  - region "Conversations"
""",
    "import": """
- heading "Import → Messaging" [level=1]
- region "New connection":
  - combobox "Platform"
  - textbox "Name"
  - checkbox "Keep its conversations apart"
  - button "Create"
- region "Connections":
  - heading "Connections" [level=2]
  - list:
    - listitem:
      - heading "wa_business_123" [level=3]
      - button "Rotate"
      - button "Deactivate"
- region "Ingest log"
""",
    "twins/b5b2c3d4-e5f6-7890-abcd-ef1234567890": """
- region "Twin":
  - heading "Matty's twin" [level=2]
  - region "Channels of the twin"
  - region "Webhook":
    - textbox "URL"
    - button "Set"
  - region "Deliveries":
    - combobox "State"
""",
    "workspace": """
- heading "Personal" [level=1]
- region "Members":
  - region "List of members":
    - table:
      - rowgroup:
        - row "Name Role Since"
- region "Settings":
  - textbox "Home country"
  - spinbutton "Keep conversations, days"
- region "New workspace"
- region "Audit log":
  - region "Lines of the audit log":
    - table
""",
}


def test_screens_have_roles_and_fit(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY)
    expect(page.locator("body")).to_match_aria_snapshot(NAVIGATION)
    for path, snapshot in SCREENS.items():
        page.goto(f"{visitors.url}#/{path}")
        for width, height in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": height})
            expect(page.get_by_role("main")).to_match_aria_snapshot(snapshot)
            assert page.evaluate(CUT_OFF) == [], (path, width)


# What sticks out of the window sideways, without being in a box that scrolls or cuts.
CUT_OFF = """
[...document.querySelectorAll('main *')]
  .filter((each) => each.checkVisibility() && !each.closest('.wide, .hidden, pre, bdi'))
  .filter((each) => each.getBoundingClientRect().width > 0 && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200))
"""


def test_users_sign_in_with_a_password_and_out(visitors: Visitors) -> None:
    page = visitors.open()
    page.get_by_label("Email").fill(CAROL)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("Invalid login credentials")
    page.get_by_label("Password").fill("password123")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name=CAROL).click()
    expect(page.get_by_role("heading", name="Inbox", level=1)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Inbox", level=1)).to_be_visible()


def test_people_are_merged_and_the_merge_undone(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, "#/people")
    page.get_by_text("Add a person").click()
    page.get_by_label("Name", exact=True).fill("Chen W.")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("link", name="Chen Wei").click()
    page.get_by_label("The same person as").select_option(label="Chen W. ")
    page.get_by_role("button", name="Merge").click()
    merged = page.get_by_role("region", name="Merge").get_by_role("listitem").filter(has_text="Chen W.")
    merged.get_by_role("button", name="Undo").click()
    expect(merged).to_have_count(0)


def test_person_gets_identifiers_and_a_new_number(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, "#/people/0b9d3c52-6f0e-4a6c-9d5e-000000000004")
    identifiers = page.get_by_role("region", name="Identifiers")
    identifiers.get_by_label("Kind").select_option("email")
    identifiers.get_by_label("Identifier", exact=True).fill("ines@example.com")
    identifiers.get_by_role("button", name="Add", exact=True).click()
    expect(identifiers.get_by_text("ines@example.com")).to_be_visible()
    identifiers.get_by_label("New number").fill("+55 11 91234 0000")
    identifiers.get_by_role("button", name="Change the number").click()
    expect(identifiers.get_by_text("+55 11 91234 0000")).to_be_visible()
    identifiers.get_by_role("button", name="Undo the last change").click()
    expect(identifiers.get_by_text("+55 11 91234 0000")).to_have_count(0)


def test_unmatched_conversation_gets_a_person(visitors: Visitors, send: Callable[..., str]) -> None:
    send("unmatched", [], participant_identifier="+44 7700 900123", participant_name="Una")
    page = visitors.sign_in(MATTY, "#/people/unmatched")
    row = (
        page.get_by_role("region", name="Person")
        .get_by_role("listitem")
        .filter(has=page.get_by_role("link", name="Una"))
    )
    row.get_by_text("Give it a person").click()
    row.get_by_role("button", name="Save").click()
    expect(row).to_have_count(0)
    page.get_by_role("region", name="List of people").get_by_role("link", name="Una").click()
    conversations = page.get_by_role("region", name="Conversations")
    expect(conversations).to_contain_text("WhatsApp, the same phone number")


def test_twin_gets_a_webhook_and_deliveries(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, "#/twins/b5b2c3d4-e5f6-7890-abcd-ef1234567890")
    webhook = page.get_by_role("region", name="Webhook")
    webhook.get_by_label("URL").fill("https://twin.invalid/hook")
    webhook.get_by_role("button", name="Set").click()
    expect(webhook.get_by_text("It is shown only once.")).to_be_visible()
    general = visitors.sign_in(CAROL, "#/channels/550e8400-e29b-41d4-a716-446655440000")
    general.get_by_role("textbox", name="Message", exact=True).fill("For the twin")
    general.keyboard.press("Enter")
    expect(general.locator(".message").filter(has_text="For the twin")).to_be_visible()
    general.evaluate("location.hash = '#/twins'")
    expect(general.get_by_text("No twins")).to_be_visible()  # that of a peer is no twin of hers
    deliveries = page.get_by_role("region", name="Deliveries")
    deliveries.get_by_label("State").select_option("Pending")
    expect(deliveries.get_by_role("row").nth(1)).to_contain_text("general")
    webhook.get_by_role("button", name="Remove").click()
    expect(webhook.get_by_role("button", name="Set")).to_be_visible()


def is_change(response: Response) -> bool:
    """Whether the project has answered a change of a row."""
    return response.request.method == "PATCH"


def test_team_is_made_and_a_member_invited(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, "#/workspace")
    page.get_by_label("Name of the team").fill("Garden")
    page.get_by_role("region", name="New workspace").get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Garden", level=1)).to_be_visible()
    page.get_by_label("Email").fill(CAROL)
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_text(f"{CAROL}, member, until")).to_be_visible()
    carol = visitors.sign_in(CAROL, "#/workspace")
    carol.get_by_role("region", name="Invitations to me").get_by_role("button", name="Accept").click()
    expect(carol.get_by_role("heading", name="Garden", level=1)).to_be_visible()
    page.get_by_label("Keep conversations, days").fill("365")
    with page.expect_response(is_change):
        page.get_by_role("button", name="Save").click()
    audit = page.get_by_role("region", name="Audit log", exact=True)
    audit.get_by_role("button", name="Reload").click()
    expect(audit).to_contain_text("invitation.accepted")
    expect(audit).to_contain_text("workspace.retention_changed")
    page.reload()
    with page.expect_response(is_change):
        page.get_by_label("Role of Carol Lindqvist").select_option("admin")
    page.get_by_role("button", name="Reload").click()
    expect(audit).to_contain_text("member.role_changed Carol Lindqvist")
    expect(audit).not_to_contain_text(re.compile("[0-9a-f]{8}-[0-9a-f]{4}-"))


def test_last_owner_cannot_step_down(visitors: Visitors) -> None:
    page = visitors.sign_in(MATTY, "#/workspace")
    page.get_by_role("combobox", name="Workspace").select_option("Team")
    role = page.get_by_label("Role of Matty Squarzoni")
    role.select_option("member")
    expect(page.get_by_role("alert")).to_contain_text("needs an owner")
    expect(role).to_have_value("owner")
