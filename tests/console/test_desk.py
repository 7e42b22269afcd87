"""The frame of the console: navigation, workspaces, unread messages, and one user after another in a tab."""

import pytest
from playwright.sync_api import expect

from tests.console.desk import BOB, MATTY, Desk

GENERAL, PLANS = "channels/00000000-0000-4000-8000-000000000031", "channels/00000000-0000-4000-8000-000000000032"
FOCUS = "document.activeElement.localName + ' ' + document.activeElement.textContent"


def test_navigation_shows_the_screen_and_workspaces(desk: Desk) -> None:
    page = desk.open()
    assert desk.shown("nav li") == ["Inbox", "Channels 99+ unread", "People", "Import", "Twins", "Workspace"]
    assert desk.shown("nav [aria-current=page]") == ["Inbox"]
    assert desk.shown("nav option") == ["Personal", "Atelier", "Team"]
    assert page.locator(".account select").input_value().endswith("11")
    assert (page.title(), desk.shown(".who")) == ("(99+) Threadline", ["Matty"])
    assert page.locator(".who").get_attribute("title") == "matty@example.com"
    assert desk.page.evaluate(FOCUS).startswith("body")
    assert page.locator("main").get_attribute("class") == ""
    desk.go("people")
    assert desk.page.evaluate(FOCUS) == "h1 People"
    desk.go(GENERAL)
    assert desk.page.evaluate(FOCUS) == "h2 general"
    desk.go(PLANS)
    assert desk.page.evaluate(FOCUS) == "h2 Unnamed"
    assert (page.locator("main").get_attribute("class"), desk.shown("nav [aria-current=page]")) == (
        "has-detail",
        ["Channels 99+ unread"],
    )
    desk.go("nowhere/at/all")
    assert desk.shown("h1") == ["Inbox"]
    desk.go("join/a%20token")
    assert (desk.shown("h1"), desk.shown("nav [aria-current=page]")) == (["Personal"], [])
    desk.run("project.answers.accept_invitation = { workspace_id: project.id(12) }")
    desk.calls()
    desk.press("Accept the invitation")
    assert desk.calls("POST rpc/accept_invitation") == [["POST rpc/accept_invitation", {"token": "a token"}]]
    assert desk.shown("h1") == ["Atelier"]
    # A cut escape, and a name that every object has.
    for path in ("channels/%E0%A4", "people", "constructor", "people", "__proto__/a"):
        desk.go(path)
        assert desk.shown("h1") == ["People" if path == "people" else "Inbox"]
    desk.open("join/100%")
    assert desk.shown("h1") == ["Inbox"]


@pytest.mark.parametrize(
    ("counts", "count", "title"),
    [([0, 0], "Channels", "Threadline"), ([1, 98], "Channels 99 unread", "(99) Threadline")],
)
def test_title_counts_unread_messages(desk: Desk, counts: list[int], count: str, title: str) -> None:
    before = (
        f"project.channels[MATTY].splice(3); {counts}.forEach((n, at) => project.channels[MATTY][at].unread_count = n)"
    )
    desk.open(before=before)
    assert desk.shown("nav li")[1] == count
    assert desk.page.title() == title


def test_workspace_is_chosen_and_kept(desk: Desk) -> None:
    page = desk.open("people/unmatched")
    page.locator(".account select").select_option("Team")
    desk.settle()
    assert page.url.endswith("#/people")
    assert "workspace_id=eq.00000000-0000-4000-8000-000000000013" in desk.calls("GET people")[-1][1]
    assert page.evaluate("localStorage.getItem('threadline.workspace')").endswith("13")
    desk.go("workspace")
    assert desk.shown("h1") == ["Team"]
    page.locator(".account select").select_option("Atelier")
    desk.settle()
    assert (desk.shown("h1"), page.url[-11:]) == (["Atelier"], "#/workspace")
    before = "localStorage.setItem('threadline.workspace', id(13))"
    assert desk.open("workspace", before=before)
    assert desk.shown("h1") == ["Team"]
    before = "localStorage.setItem('threadline.workspace', id(14))"  # of a guest
    assert desk.open("workspace", before=before)
    assert desk.shown("h1") == ["Personal"]


def test_what_cannot_be_loaded_says_why(desk: Desk) -> None:
    desk.open(before="project.refusals['GET workspaces'] = { status: 500, body: { message: 'No workspaces' } }")
    assert desk.shown("main [role=alert]") == ["No workspaces"]
    desk.open(GENERAL, before="project.refusals['POST rpc/list_my_channels'] = null")
    (said,) = desk.shown("main [role=alert]")
    assert ("out of reach" in said, desk.shown(".empty")) == (True, ["Choose a channel"])
    desk.run(
        "delete project.refusals['POST rpc/list_my_channels'], project.broadcast('user:' + project.id(1), 'x', { "
        "seq: 1, prev_seq: 0 })"
    )
    assert desk.shown("main [role=alert]") == []
    desk.run(
        "project.refusals['POST rpc/list_my_channels'] = null, project.broadcast('user:' + project.id(1), 'x', { "
        "seq: 2, prev_seq: 1 })"
    )
    assert len(desk.shown(".list .row")) == 5  # what was there stays
    desk.open(before="project.config = null")
    assert desk.shown("main") == ["Threadline Not configured."]


def sign_in(desk: Desk, name: str) -> None:
    desk.page.get_by_label("Email").first.fill(f"{name}@example.com")
    desk.page.get_by_label("Password").fill("password")
    desk.press("Sign in")


def test_next_user_of_a_tab_sees_nothing_of_the_first(desk: Desk) -> None:
    page = desk.open(GENERAL)
    page.get_by_role("textbox", name="Message", exact=True).fill("A draft of Matty")
    desk.run(
        "project.hold('POST rpc/list_my_channels'), project.broadcast('user:' + project.id(1), 'x', { seq: 1, "
        "prev_seq: 0 })"
    )
    desk.press("Sign out")
    assert page.title() == "Threadline"
    assert page.evaluate("project.topics()") == []
    desk.run("project.hold('POST rpc/list_my_channels', 2)")
    sign_in(desk, "carol")
    assert desk.shown(".who") == ["Carol"]
    for _ in ("before any list", "with the late one of Matty", "with her own"):
        assert (page.title(), desk.shown("nav li")[1]) == ("Threadline", "Channels")
        desk.run("project.release('POST rpc/list_my_channels')")
    assert (page.title(), desk.shown("nav li")[1]) == ("Threadline", "Channels")
    desk.go("channels")
    assert "No channels" in desk.shown(".list")[0]
    assert desk.shown("nav option") == ["Team"]
    desk.run("project.channels[project.id(3)] = project.channels[project.id(1)].slice(0, 1)")
    desk.press("Sign out")
    sign_in(desk, "carol")
    desk.go(GENERAL)
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == ""
    desk.press("Sign out")
    sign_in(desk, "matty")
    desk.go(GENERAL)
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == "A draft of Matty"
    assert f"user:{MATTY}" in page.evaluate("project.topics()")


def test_users_without_a_name_have_an_address(desk: Desk) -> None:
    desk.open("channels", user=BOB)
    assert desk.shown(".who") == ["bob@example.com"]
    assert desk.shown("nav option") == ["Personal", "Atelier", "Team"]
    assert desk.shown(".list .row") == ["# of Bob No messages 1 unread"]


def test_late_list_of_channels_is_dropped(desk: Desk) -> None:
    desk.open("channels")
    again = "project.broadcast('user:' + project.id(1), 'x', { seq: %d, prev_seq: %d })"
    desk.run(f"project.hold('POST rpc/list_my_channels'), {again % (1, 0)}")
    desk.run(f"project.channels[project.id(1)].splice(1), {again % (2, 1)}")
    assert len(desk.shown(".list .row")) == 1
    desk.run("project.release('POST rpc/list_my_channels')")
    assert len(desk.shown(".list .row")) == 1
    assert desk.page.title() == "(3) Threadline"
    desk.open("channels", before="project.hold('POST rpc/list_user_events')")
    desk.run("project.channels[project.id(1)].splice(1), project.release('POST rpc/list_user_events')")
    assert len(desk.shown(".list .row")) == 1  # it changed before the first event could come


def test_many_events_read_the_list_once(desk: Desk) -> None:
    desk.open(
        "inbox",
        before="project.channels[MATTY] = range(40, (n) => channel(id(400 + n), TEAM, `c${n}`, { last_seq: n }))",
    )
    topics = [f"channel:00000000-0000-4000-8000-{400 + n:012}" for n in range(1, 31)]
    assert desk.page.evaluate("project.topics()") == sorted([*topics, f"user:{MATTY}", f"inbox:{MATTY}"])
    desk.calls()
    desk.run("for (const n of [1, 2, 3]) project.happen(project.id(401), 'message.created', { n })")
    assert [key for key, _ in desk.calls("POST rpc/list_my")] == ["POST rpc/list_my_channels"]
    desk.go("channels/00000000-0000-4000-8000-000000000440")  # only the open one is followed beyond the 30
    assert desk.shown(".detail h2") == ["c40"]
    desk.run("project.channels[project.id(1)].pop(), project.happen(project.id(440), 'channel.deleted', {})")
    assert desk.shown(".detail [role=alert]") == ["This channel does not exist, or you may not see it."]
    desk.calls()
    desk.run("project.broadcast('user:' + project.id(1), 'channel.joined', { seq: 1, prev_seq: 0 })")
    assert desk.calls("POST rpc/list_my") == [["POST rpc/list_my_channels", {"max_channels": 200}]]


def test_events_without_a_pause_reach_the_lists(desk: Desk) -> None:
    desk.open("inbox")
    asked = desk.page.evaluate(
        """async (topic) => {
      project.look();
      for (let n = 1; n <= 25; n++) {
        project.happen(project.id(31), "message.created", { n });
        project.change_of(topic, "conversation.updated",
          { conversation: { id: project.id(101), workspace_id: project.id(11) } });
        await new Promise((resolve) => setTimeout(resolve, 40)); // two milliseconds
      }
      return project.look().map(([key]) => key);
    }""",
        f"inbox:{MATTY}",
    )
    assert {"POST rpc/list_my_channels", "GET conversations"} <= set(asked)


def test_lost_connection_is_said(desk: Desk) -> None:
    desk.open()
    assert desk.shown(".offline") == []
    desk.run("project.cut()")
    assert desk.shown(".offline") == ["Offline. The console reads what it missed when the connection is back."]


def test_sign_in_offers_what_the_project_has(desk: Desk) -> None:
    page = desk.open(user=None)
    assert desk.shown("main")[0].startswith("Threadline Sign in to project.test.")
    assert page.get_by_role("region", name="Users of the seed").count() == 0
    page.get_by_text("Sign in with a link by mail").click()
    page.get_by_label("Email").nth(1).fill("carol@example.com")
    desk.run("project.refusals['POST auth/otp'] = { status: 429, body: { msg: 'Too often' } }")
    desk.press("Send the link")
    assert (desk.shown("main [role=alert]"), desk.shown("main [role=status]")) == (["Too often"], [])
    desk.run("delete project.refusals['POST auth/otp']")
    desk.calls()
    desk.press("Send the link")
    assert desk.shown("main [role=status]") == ["A link was sent to carol@example.com."]
    assert page.get_by_label("Email").nth(1).input_value() == ""
    assert desk.calls() == [["POST auth/otp", {"email": "carol@example.com", "create_user": False}]]
    assert page.evaluate("project.sent.at(-1)[1]") == f"redirect_to={page.url.partition('#')[0]}"
    desk.run("project.refusals['POST auth/token'] = { status: 400, body: { msg: 'Wrong' } }")
    sign_in(desk, "carol")
    expect(page.get_by_label("Password")).to_have_value("password")
    assert desk.shown("main [role=alert]") == ["Wrong"]
    page = desk.open(
        user=None, before="Object.assign(project.config, { users: ['bob@x', 'carol@x'], password: 'seed' })"
    )
    assert page.get_by_text("Sign in with a link by mail").count() == 0
    desk.press("carol@x")
    assert desk.calls("POST auth") == [["POST auth/token", {"email": "carol@x", "password": "seed"}]]
    assert desk.shown(".who") == ["Carol"]
