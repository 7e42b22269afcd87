"""Channels with many rows: two pages, replies, pins, reactions, other authors, and events of every kind."""

from typing import Any

from tests.console.desk import BOB, CAROL, MATTY, Desk

GENERAL, PLANS, DIRECT, VISIT = (f"00000000-0000-4000-8000-{number:012}" for number in (31, 32, 33, 34))
IN_GENERAL = f"channels/{GENERAL}"
COLUMN, SIDE = ".column article", ".side article"
GONE, TWIN = "00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000021"


def happen(desk: Desk, event: str, channel: str = GENERAL, **payload: Any) -> None:
    """Let an event of a channel reach the page."""
    desk.run("given => project.happen(...given)", [channel, event, payload])


def message(number: int) -> str:
    return f"00000000-0000-4000-8000-{1000 + number:012}"


def created(number: int, content: str, **more: Any) -> dict[str, Any]:
    times = dict.fromkeys(("created_at", "updated_at"), "2026-06-15T12:00:00Z")
    return {"id": message(number), "user_id": BOB, "content": content, "attachments": [], **times, **more}


def numbers(desk: Desk, selector: str = ".column .text") -> list[str]:
    return [text.removeprefix("Number ") for text in desk.shown(selector)]


def test_list_of_channels_shows_each_state(desk: Desk) -> None:
    desk.open("channels")
    assert desk.shown(".list h2") == ["Team", "Direct messages", "Atelier", "As a guest"]
    assert desk.shown(".list .row") == [
        "# general 20:59 Number 130 @ 3 unread",
        "BC Bob, Carol No messages 2 unread",
        "OY Only you No messages",
        "# Unnamed No messages Muted @",
        "# visit No messages 99+ unread",
    ]
    assert desk.shown(".detail") == ["Choose a channel"]
    desk.go(f"channels/{PLANS}")
    assert desk.shown("[aria-current=true]") == ["# Unnamed No messages Muted"]
    assert desk.shown(".detail h2") == ["Unnamed"]
    desk.go("channels/nothing")
    assert desk.shown(".detail [role=alert]") == ["This channel does not exist, or you may not see it."]


def test_search_of_messages_shows_where_each_is(desk: Desk) -> None:
    hit = {"id": message(7), "channel_id": GENERAL, "user_id": CAROL, "content": "x" * 300, "created_at": "2026-06-14T12:00:00Z"}
    other = {**hit, "id": "00000000-0000-4000-8000-000000005002", "channel_id": DIRECT, "user_id": None, "content": "y"}
    page = desk.open("channels")
    desk.run("given => { project.answers.search_messages = given }", {"data": [hit, {**other, "id": message(9)}], "meta": {"total": 77}})
    search = page.get_by_label("Search messages")
    search.fill(" needle ")
    desk.calls()
    search.press("Enter")
    desk.settle()
    assert desk.calls("POST rpc/search") == [["POST rpc/search_messages", {"query": "needle", "limit": 50}]]
    assert desk.shown(".list [role=status]") == ["77 found"]
    assert desk.shown(".list .row") == [f"general 14 Jun Carol: {'x' * 200}", "Bob, Carol 14 Jun Twin: y"]
    links = [row.get_attribute("href") for row in page.locator(".list .row").all()]
    assert links == [f"#/{IN_GENERAL}/7", f"#/channels/{DIRECT}/9"]
    search.fill("needles")
    desk.settle()
    assert len(desk.shown(".list .row")) == 2
    search.fill("")
    desk.settle()
    assert len(desk.shown(".list .row")) == 5


def test_new_channel_is_made_where_it_was_chosen(desk: Desk) -> None:
    page = desk.open("channels")
    desk.press("New")
    dialog = page.get_by_role("dialog", name="New")
    assert desk.shown("dialog option") == ["Personal", "Atelier", "Team"]
    assert "No other member is in this workspace." in desk.shown("dialog")[0]
    space = dialog.get_by_label("In the workspace")
    space.select_option("Team")
    desk.settle()
    assert desk.shown("dialog li") == ["Bob", "Carol"]
    assert dialog.get_by_role("button", name="Open").is_disabled()
    for name in ("Bob", "Carol", "Bob"):
        dialog.get_by_label(name).click()
    desk.run("project.answers.open_direct = { id: project.id(33) }")
    desk.calls()
    desk.press("Open", "dialog")
    team = "00000000-0000-4000-8000-000000000013"
    assert desk.calls()[:2] == [
        ["POST rpc/open_direct", {"user_ids": [CAROL], "workspace_id": team}],
        ["POST rpc/list_my_channels", {"max_channels": 200}],
    ]
    assert (desk.shown(".detail h2"), dialog.count()) == (["Bob, Carol"], 0)
    desk.press("New")
    space.select_option("Team")
    desk.settle()
    dialog.get_by_label("Bob").click()
    space.select_option("Atelier")
    desk.settle()
    assert (desk.shown("dialog li"), dialog.get_by_role("button", name="Open").is_disabled()) == (["Bob"], True)
    assert not dialog.get_by_label("Bob").is_checked()
    dialog.get_by_label("Name", exact=True).fill("fresh")
    desk.run("project.tables.channels = []")
    desk.calls()
    desk.press("Create", "dialog")
    sent = {"workspace_id": "00000000-0000-4000-8000-000000000012", "kind": "channel", "name": "fresh"}
    assert desk.calls("POST channels") == [["POST channels", sent]]
    assert page.url.rpartition("/")[2] == desk.page.evaluate("project.tables.channels[0].id")
    desk.press("New")
    desk.run("project.refusals['POST channels'] = { status: 403, body: { message: 'Too many' } }")
    dialog.get_by_label("Name", exact=True).fill("again")
    desk.press("Create", "dialog")
    assert (desk.shown("dialog [role=alert]"), dialog.get_by_label("Name", exact=True).input_value()) == (["Too many"], "again")


def test_pages_of_a_channel_follow_the_user(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    box = page.locator(".column .scroll")
    assert numbers(desk) == [str(n) for n in range(71, 131)]
    assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 2")
    assert box.get_attribute("aria-label") == "Messages of general"
    place = "document.querySelector('.column [data-key=\"75\"]').getBoundingClientRect().top"
    before = page.evaluate(f"document.querySelector('.column .scroll').scrollTop = 300, {place}")
    desk.settle()
    assert numbers(desk) == [str(n) for n in range(11, 131)]
    assert abs(page.evaluate(place) - before) < 2
    assert desk.shown(".newest") == ["Newest ↓"]
    happen(desk, "message.created", **created(131, "While away"))
    assert numbers(desk)[-1] == "While away"
    desk.press("Newest ↓")
    assert numbers(desk)[-3:] == ["129", "130", "While away"]
    assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 2")
    desk.go(f"{IN_GENERAL}/40")
    assert numbers(desk) == [str(n) for n in range(1, 101)]
    assert desk.shown(".found .text") == ["Number 40"]
    top = page.locator(".found").evaluate("row => row.offsetTop - row.closest('.scroll').scrollTop")
    assert abs(top - 80) < 2
    happen(desk, "message.created", **created(132, "One"))
    happen(desk, "message.created", **created(133, "Two"))
    assert (desk.shown(".newest"), numbers(desk)[-1]) == (["2 new ↓"], "100")
    desk.go(f"{IN_GENERAL}/125")
    assert {"66", "126", "While away"} <= set(numbers(desk))
    assert desk.shown(".found .text") == ["Number 125"]


def test_channel_that_cannot_be_read_says_why(desk: Desk) -> None:
    desk.open(IN_GENERAL, before="project.refusals['GET messages'] = { status: 500, body: { message: 'Not now' } }")
    assert desk.shown(".column .scroller [role=alert]") == ["Not now"]
    assert desk.shown(".column .scroll") == [""]
    desk.run("delete project.refusals['GET messages']")
    desk.go(f"{IN_GENERAL}/1")
    assert (numbers(desk)[0], desk.shown(".column .scroller [role=alert]")) == ("1", [])


def test_late_answer_of_another_place_is_dropped(desk: Desk) -> None:
    desk.open(IN_GENERAL)
    desk.run("project.hold('GET messages', 2)")
    desk.go(f"{IN_GENERAL}/20")
    desk.go(f"{IN_GENERAL}/100")
    desk.run("project.release('GET messages')")
    shown = numbers(desk)
    desk.run("project.release('GET messages')")
    desk.settle()
    assert desk.shown(".found .text") == ["Number 100"]
    assert "41" in numbers(desk) and "130" in numbers(desk), shown


def test_days_and_heads_part_messages(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL);
    const said = (seq, created_at, more) => tables.messages.push(message(GENERAL, seq, { created_at, updated_at: created_at, ...more }));
    said(1, "2026-06-14T14:58:00Z");
    said(2, "2026-06-14T15:00:00Z");
    said(3, "2026-06-14T15:04:59Z");
    said(4, "2026-06-14T15:09:59Z");
    said(5, "2026-06-14T15:10:00Z", { user_id: MATTY });
    said(6, "2026-06-14T15:10:00Z", { user_id: null, ai_twin_id: TWIN });
    said(7, "2026-06-14T15:10:00Z", { user_id: null, ai_twin_id: SCOUT });
    said(8, "2026-06-14T15:10:00Z", { user_id: GONE });
    said(9, "2026-06-14T15:10:00Z", { user_id: null });
    """
    desk.open(IN_GENERAL, before=before)
    assert [day.replace(",", "") for day in desk.shown(".day")] == ["Sunday 14 June 2026", "Monday 15 June 2026"]
    assert desk.shown(COLUMN) == [
        "B Bob 23:58 Number 1 ⋯",
        "B Bob 00:00 Number 2 ⋯",
        "Number 3 ⋯",
        "B Bob 00:09 Number 4 ⋯",
        "M Matty 00:10 Number 5 ⋯",
        "A Aide Twin 00:10 Number 6 ⋯",
        "S Scout Twin 00:10 Number 7 ⋯",
        "FM Former member 00:10 Number 8 ⋯",
        "DU Deleted user 00:10 Number 9 ⋯",
    ]
    labels = [each.get_attribute("aria-label") for each in desk.page.locator(COLUMN).all()]
    assert labels[3:5] == ["Message of Bob", "Message of Matty"]


def test_each_event_changes_its_message_alone(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 127);
    project.change(129, { message_reactions: [{ user_id: BOB, emoji: "fire" }, { user_id: CAROL, emoji: "fire" }, { user_id: MATTY, emoji: "🎉" }],
      message_pins: { message_id: id(1129) } });
    """
    page = desk.open(IN_GENERAL, before=before)

    def rows() -> list[str]:
        return [text.partition(" Number ")[2].removesuffix(" ⋯") for text in desk.shown(COLUMN)]

    def reactions() -> list[tuple[str, str, str]]:
        found = page.locator(f"{COLUMN} .reaction").all()
        return [(each.get_attribute("aria-label"), each.get_attribute("aria-pressed"), each.get_attribute("title")) for each in found]

    assert rows() == ["128", "129 🔥 2 🎉 1 Pinned", "130"]
    assert reactions() == [("fire, 2", "false", "Bob, Carol"), ("🎉, 1", "true", "Matty")]
    about = {"message_id": message(129)}
    happen(desk, "reaction.added", **about, user_id=MATTY, emoji="fire")
    happen(desk, "reaction.added", **about, user_id=MATTY, emoji="fire")
    assert reactions()[0] == ("fire, 3", "true", "Bob, Carol, Matty")
    assert page.locator(f"{COLUMN} .mine").count() == 2
    happen(desk, "reaction.removed", **about, user_id=CAROL, emoji="fire")
    happen(desk, "reaction.removed", **about, user_id=BOB, emoji="🎉")
    assert reactions() == [("fire, 2", "true", "Bob, Matty"), ("🎉, 1", "true", "Matty")]
    happen(desk, "reaction.removed", **about, user_id=MATTY, emoji="🎉")
    assert rows() == ["128", "129 🔥 2 Pinned", "130"]
    edited = {"content": "Number 129b", "attachments": [], "updated_at": "2026-06-15T13:00:00Z"}
    happen(desk, "message.edited", id=message(129), **edited, metadata={"pinned": True})
    assert rows() == ["128", "129b 🔥 2 Pinned Edited", "130"]
    happen(desk, "message.unpinned", id=message(129))
    assert rows()[1] == "129b 🔥 2 Edited"
    happen(desk, "message.pinned", id=message(128))
    assert rows() == ["128 Pinned", "129b 🔥 2 Edited", "130"]
    for name in ("edited", "deleted", "pinned"):
        happen(desk, f"message.{name}", id=message(50), content="Not here")
    happen(desk, "reaction.added", message_id=message(50), user_id=BOB, emoji="x")
    assert rows() == ["128 Pinned", "129b 🔥 2 Edited", "130"]
    happen(desk, "message.deleted", id=message(128))
    assert rows() == ["129b 🔥 2 Edited", "130"]
    happen(desk, "message.created", **created(200, "Number 131"))
    happen(desk, "message.created", **created(200, "Number 131 again"))
    happen(desk, "message.created", **created(201, "Number 132"), deleted=True)
    happen(desk, "message.created", PLANS, **created(202, "Number of another channel"))
    happen(desk, "message.created", **created(203, "Number 133"), metadata={"pinned": True})
    assert numbers(desk) == ["129b", "130", "131", "133"]
    assert ["Pinned" in text for text in desk.shown(COLUMN)] == [False, False, False, True]
    desk.press("fire, 2")
    assert desk.calls("POST rpc/toggle") == [["POST rpc/toggle_reaction", {"id": message(129), "emoji": "fire"}]]


def test_replies_are_counted_and_shown_with_their_parent(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 124);
    for (const [seq, parent] of [[127, 125], [128, 126], [129, 125]]) project.change(seq, { parent_message_id: id(1000 + parent) });
    """
    page = desk.open(IN_GENERAL, before=before)
    buttons = f"{COLUMN} .meta"
    assert numbers(desk) == ["125", "126", "130"]
    assert desk.shown(buttons) == ["2 replies", "1 reply", ""]
    desk.press("1 reply")
    assert numbers(desk, ".side .text") == ["126", "128"]
    assert page.locator(".side .scroll").get_attribute("aria-label") == "Messages of the thread"
    assert desk.shown(".side .meta") == ["", ""]
    desk.press("2 replies")
    assert numbers(desk, ".side .text") == ["125", "127", "129"]
    happen(desk, "message.created", **created(131, "To 125", parent_message_id=message(125)))
    happen(desk, "message.created", **created(132, "To 126", parent_message_id=message(126)))
    happen(desk, "message.created", **created(133, "To none"))
    assert numbers(desk, ".side .text") == ["125", "127", "129", "To 125"]
    assert (numbers(desk), desk.shown(buttons)) == (["125", "126", "130", "To none"], ["3 replies", "2 replies", "", ""])
    reply = page.get_by_role("textbox", name="Reply")
    reply.fill("Mine")
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == ""
    desk.calls()
    reply.press("Enter")
    desk.settle()
    ((_, sent),) = desk.calls("POST messages")
    assert {**sent, "id": None} == {"id": None, "channel_id": GENERAL, "parent_message_id": message(125), "content": "Mine"}
    desk.press("Close the thread")
    assert desk.shown(".side") == []
    page.locator(COLUMN).nth(1).get_by_role("button", name="Message actions").click()
    desk.press("Reply")
    assert (numbers(desk, ".side .text"), page.locator(".tools-of").count()) == (["126", "128", "To 126"], 0)


def test_counts_of_a_part_of_a_channel_say_so(desk: Desk) -> None:
    before = "for (const seq of [40, 41]) project.change(seq, { parent_message_id: id(1030) }); project.change(42, { parent_message_id: id(1031) })"
    desk.open(f"{IN_GENERAL}/30", before=before)
    assert [text for text in desk.shown(f"{COLUMN} .meta") if text] == ["2+ replies", "1+ reply"]


def test_messages_are_read_once_seen(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    read = ["POST rpc/mark_read", {"channel_id": GENERAL, "seq": 130}]
    assert desk.calls("POST rpc/mark_read") == [read]
    assert "unread" not in desk.shown(".list .row")[0]
    page.locator(".column .scroll").evaluate("box => box.scrollTop = 400")
    desk.settle()
    desk.settle()
    happen(desk, "message.created", **created(131, "Below"))
    assert desk.calls("POST rpc/mark_read") == []
    desk.press("Newest ↓")
    assert desk.calls("POST rpc/mark_read") == [["POST rpc/mark_read", {"channel_id": GENERAL, "seq": 131}]]
    desk.run("project.refusals['POST rpc/mark_read'] = null")
    happen(desk, "message.created", **created(132, "Seen"))
    desk.calls()
    desk.run("delete project.refusals['POST rpc/mark_read']")
    happen(desk, "message.created", **created(133, "Seen too"))
    assert desk.calls("POST rpc/mark_read")[-1][1]["seq"] == 133
    desk.open(f"{IN_GENERAL}/30")
    assert desk.calls("POST rpc/mark_read") == []
    desk.open(IN_GENERAL, before="Object.defineProperty(document, 'visibilityState', { get: () => project.isSeen ? 'visible' : 'hidden' })")
    assert desk.calls("POST rpc/mark_read") == []
    desk.run("project.isSeen = true, document.dispatchEvent(new Event('visibilitychange'))")
    assert desk.calls("POST rpc/mark_read") == [read]
    desk.open(f"channels/{PLANS}", before="project.channels[MATTY][2].read_seq = 3")
    assert desk.calls("POST rpc/mark_read") == []


def test_news_and_writers_are_said(desk: Desk) -> None:
    desk.open(IN_GENERAL)
    live = f"channel:{GENERAL}:live"
    status = ".column > .hidden"

    def news() -> str:
        return desk.page.locator(status).text_content().strip()

    assert news() == ""
    happen(desk, "message.created", **created(131, "News " + "x" * 300))
    assert news() == f"Bob: News {'x' * 195}"
    happen(desk, "message.created", **created(132, "Of a twin", user_id=None, ai_twin_id=TWIN))
    assert news() == "Aide: Of a twin"
    happen(desk, "message.created", **created(133, "My own", user_id=MATTY))
    assert news() == ""
    assert desk.shown(".here") == ["0 here"]
    desk.run("given => project.meet(...given)", [live, [MATTY, BOB, CAROL]])
    assert desk.shown(".here") == ["2 here"]
    assert desk.page.locator(".here").get_attribute("title") == "Bob, Carol"
    for user, text in ((BOB, "Bob is typing …"), (GONE, "Bob, Former member are typing …")):
        desk.run("([topic, id]) => project.broadcast(topic, 'typing', { user_id: id })", [live, user])
        assert desk.shown(".typing") == [text]
    for user in (CAROL, "5"):
        desk.run("([topic, id]) => project.broadcast(topic, 'typing', { user_id: id })", [live, user])
    assert desk.shown(".typing") == ["Bob, Former member, Carol are typing …"]
    box = desk.page.get_by_role("textbox", name="Message", exact=True)
    box.fill("H")
    box.fill("")
    typed = desk.page.evaluate("project.typed")
    assert [each[2] for each in typed] == [{"user_id": MATTY, "ended": False}, {"user_id": MATTY, "ended": True}]


def test_pins_are_newest_first_with_their_authors(desk: Desk) -> None:
    before = """
    const pin = (seq, minutes, more) => tables.message_pins.push({ channel_id: GENERAL, pinned_at: at(minutes), messages: {
      id: id(1000 + seq), seq, content: `Pinned ${seq}`, user_id: BOB }, ...more });
    pin(5, -30); pin(9, -10, { messages: { id: id(1009), seq: 9, content: `For <@${MATTY}>`, user_id: CAROL } }); pin(7, -20);
    pin(8, -5, { channel_id: PLANS }); pin(6, -1, { messages: null });
    """
    page = desk.open(IN_GENERAL, before=before)
    desk.press("Pins")
    assert desk.shown("dialog li") == ["Carol For @Matty", "Bob Pinned 7", "Bob Pinned 5"]
    page.locator("dialog").get_by_role("link", name="Bob").nth(1).click()
    desk.settle()
    assert (page.url.endswith(f"{GENERAL}/5"), desk.shown("dialog"), desk.shown(".found .text")) == (True, [], ["Number 5"])
    desk.open(f"channels/{DIRECT}", before=before)
    desk.press("Pins")
    assert desk.shown("dialog") == ["Pinned messages ✕ No pinned messages."]


def test_rights_decide_what_a_message_offers(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 128);
    project.change(129, { user_id: MATTY, message_pins: [{ message_id: id(1129) }] });
    for (const name of ["delete_message", "pin_message", "unpin_message", "toggle_reaction"]) answers[name] = {};
    """
    page = desk.open(IN_GENERAL, before=before)

    def offered(number: int) -> str:
        page.locator(COLUMN).nth(number).get_by_role("button", name="Message actions").click()
        desk.settle()
        return desk.shown(".tools-of")[0].rpartition("🙏 ")[2]

    assert offered(0) == "Reply Unpin Edit Delete"
    assert page.locator(".dots").first.get_attribute("aria-expanded") == "true"
    desk.calls()
    desk.press("Unpin")
    assert desk.calls("POST rpc") == [["POST rpc/unpin_message", {"id": message(129)}]]
    assert desk.shown(".tools-of") == []
    assert offered(1) == "Reply Pin Delete"
    desk.run("project.refusesAll = true")
    desk.calls()
    desk.press("Delete")
    assert desk.calls("POST rpc/delete") == []
    desk.run("project.refusesAll = false")
    desk.press("Delete")
    assert desk.calls("POST rpc/delete") == [["POST rpc/delete_message", {"id": message(130), "admin": True}]]
    assert desk.page.evaluate("project.alerts") == ["Delete this message?", "Delete this message?"]
    desk.press("React with ❤️")
    assert desk.calls("POST rpc") == [["POST rpc/toggle_reaction", {"id": message(130), "emoji": "❤️"}]]
    assert desk.shown(".tools-of") == []
    desk.open(IN_GENERAL, before=f"{before} project.channels[MATTY][0].role = 'member'")
    assert offered(0) == "Reply Unpin Edit Delete"
    desk.press("Delete")
    assert desk.calls("POST rpc/delete") == [["POST rpc/delete_message", {"id": message(129)}]]
    desk.press("Message actions")
    assert offered(1) == "Reply Pin"


def test_message_is_edited_and_its_versions_shown(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 129);
    project.change(130, { user_id: MATTY, updated_at: at(-1) });
    answers.list_message_edits = { data: [{ written_at: "2026-06-14T12:00:00Z", content: "First" }, { written_at: "2026-06-15T11:00:00Z", content: "Then" }] };
    """
    page = desk.open(IN_GENERAL, before=before)
    desk.press("Edited")
    assert desk.shown(".versions li") == ["14 Jun 2026, 21:00 First", "15 Jun 2026, 20:00 Then"]
    assert desk.calls("POST rpc/list_message_edits") == [["POST rpc/list_message_edits", {"id": message(130)}]]
    desk.press("Close", "dialog")
    text = page.get_by_role("textbox", name="Text")
    for name in ("Cancel", "Save"):
        desk.press("Message actions")
        desk.press("Edit", exact=True)
        assert text.input_value() == "Number 130"
        text.fill("Other")
        desk.press(name)
        assert text.count() == (name == "Save")  # it fails
    assert len(desk.shown(".edit [role=alert]")) == 1
    desk.run("project.answers.edit_message = {}")
    desk.calls()
    desk.press("Save")
    assert (desk.calls("POST rpc/edit"), text.count()) == ([["POST rpc/edit_message", {"id": message(130), "content": "Other"}]], 0)


def test_sent_message_is_stored_once(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    box, button = page.get_by_role("textbox", name="Message", exact=True), page.get_by_role("button", name="Send")
    desk.calls()
    box.fill("  ")
    box.press("Enter")
    desk.settle()
    assert desk.calls("POST messages") == []
    box.fill("One")
    box.press("Shift+Enter")
    box.evaluate("box => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))")
    desk.settle()
    assert (desk.calls("POST messages"), box.get_attribute("rows")) == ([], "2")
    box.fill(" One ")
    desk.run("project.refusals['POST messages'] = { status: 500, body: { message: 'Later' } }")
    box.press("Enter")
    desk.settle()
    ((_, first),) = desk.calls("POST messages")
    assert (desk.shown(".composer [role=alert]"), box.input_value(), first["content"]) == (["Later"], " One ", " One ")
    desk.run("project.refusals['POST messages'].body = { code: '23505', message: 'duplicate key violates \"messages_pkey\"' }")
    button.click()
    desk.settle()
    ((_, again),) = desk.calls("POST messages")
    assert again == first
    assert (desk.shown(".composer [role=alert]"), box.input_value()) == ([], "")
    assert box.evaluate("box => box === document.activeElement")
    desk.run("project.refusals['POST messages'].body.message = 'duplicate key violates \"other_key\"'")
    box.fill("Two")
    button.click()
    desk.settle()
    ((_, other),) = desk.calls("POST messages")
    assert (other["id"] != first["id"], desk.shown(".composer [role=alert]")) == (True, ['duplicate key violates "other_key"'])
    box.fill("Three")
    button.click()
    desk.settle()
    ((_, third),) = desk.calls("POST messages")
    assert third["id"] != other["id"]
    desk.run("delete project.refusals['POST messages'], project.hold('POST messages')")
    button.click()
    page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))")
    assert button.is_disabled()
    box.press("Enter")
    desk.run("project.release('POST messages')")
    assert len(desk.calls("POST messages")) == 1
    box.fill("Draft of general")
    desk.go(f"channels/{PLANS}")
    assert box.input_value() == ""
    desk.go(IN_GENERAL)
    assert box.input_value() == "Draft of general"


def test_files_are_attached_in_their_order(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    desk.calls()
    files = [{"name": name, "mimeType": "text/plain", "buffer": b"x"} for name in ("a.txt", "b.txt", "c.txt")]
    page.locator("input[type=file]").set_input_files(files)
    desk.settle()
    assert desk.shown(".chips bdi") == ["a.txt", "b.txt", "c.txt"]
    desk.press("Remove b.txt")
    assert desk.shown(".chips bdi") == ["a.txt", "c.txt"]
    stored = [sent for key, sent in desk.calls() if key == "POST attachments"]
    assert [(each["channel_id"], each["file_name"]) for each in stored] == [(GENERAL, f"{n}.txt") for n in "abc"]
    desk.press("Send")
    ((_, sent),) = desk.calls("POST messages")
    assert (sent["content"], sent["attachments"]) == ("a.txt, c.txt", [{"id": stored[0]["id"]}, {"id": stored[2]["id"]}])
    assert desk.shown(".chips") == []
    assert page.locator("input[type=file]").input_value() == ""
    desk.run("project.refusals['POST attachments'] = { status: 403, body: { message: 'Too large' } }")
    page.locator("input[type=file]").set_input_files(files[0])
    desk.settle()
    assert (desk.shown(".composer [role=alert]"), desk.shown(".chips")) == (["Too large"], [])


def test_files_of_messages_are_shown_by_their_kind(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 127);
    const file = (number, content_type, file_name, path = `p/${number}`) => tables.attachments.push({ id: id(number), content_type, file_name, path });
    file(701, "image/png", "a.png"); file(702, "image/svg+xml", "b & c.svg"); file(703, "audio/ogg", "d.ogg"); file(704, "text/html", "e.html");
    project.change(128, { attachments: [{ id: id(701) }, { attachment_id: id(702) }] });
    project.change(129, { attachments: [{ id: id(703) }, { id: id(709) }] });
    project.change(130, { attachments: [{ id: "nonsense" }, null] });
    """
    page = desk.open(IN_GENERAL, before=before)
    assert "a.png" in desk.shown(COLUMN)[0] or page.locator(f"{COLUMN} img").get_attribute("alt") == "a.png"
    link = page.get_by_role("link", name="Open b & c.svg")
    assert link.get_attribute("href").endswith("/p/702?token=x&download=b%20%26%20c.svg")
    assert "This file is no longer available." in desk.shown(COLUMN)[2]
    asked = [sent for key, sent in desk.calls("POST storage")]
    assert [sorted(each["paths"]) for each in asked] == [["p/701", "p/702", "p/703"]]
    desk.run("project.happen(project.id(31), 'message.created', { id: project.id(1131), user_id: project.id(2), content: 'With a file', created_at: project.at(0), updated_at: project.at(0), attachments: [{ id: project.id(704) }] })")
    assert "Open e.html" in desk.shown(COLUMN)[-1]
    assert [sent["paths"] for _, sent in desk.calls("POST storage")] == [["p/704"]]


def test_menu_changes_only_this_channel(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    row = {"channel_id": f"eq.{GENERAL}", "user_id": f"eq.{MATTY}"}

    def use(name: str, key: str) -> Any:
        desk.calls()
        page.get_by_text("More", exact=True).click()
        desk.press(name)
        query = page.evaluate("key => project.sent.findLast((each) => each[0] === key)[1]", key)
        assert query == "&".join(f"{name}={value}" for name, value in row.items())
        return [sent for found, sent in desk.calls() if found == key]

    assert use("Mute", "PATCH member_states") == [{"is_muted": True}]
    assert use("Keep at the top", "PATCH member_states") == [{"is_pinned": True}]
    desk.run("Object.assign(project.channels[project.id(1)][0], { is_muted: true, is_pinned: true }), project.broadcast('user:' + project.id(1), 'x', { seq: 1, prev_seq: 0 })")
    assert desk.page.locator(".list .row").first.inner_text().find("Muted") > 0
    assert use("Unmute", "PATCH member_states") == [{"is_muted": False}]
    assert use("Stop keeping at the top", "PATCH member_states") == [{"is_pinned": False}]
    use("Leave", "DELETE channel_members")
    assert (page.url.endswith("#/channels"), page.evaluate("project.alerts")) == (True, ["Leave this channel?"])
    assert page.evaluate("project.tables.channel_members.map((each) => [each.channel_id, each.user_id]).length") == 3
    desk.open(f"channels/{DIRECT}", before="delete project.config.service")
    page.get_by_text("More", exact=True).click()
    assert desk.shown(".menu button") == ["Mute", "Keep at the top", "Hide"]
    desk.press("Hide")
    assert page.evaluate("project.alerts") == ["Hide these direct messages?"]


def test_members_of_a_channel_and_their_rights(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    desk.press("Members (3)")
    desk.run("given => project.meet(...given)", [f"channel:{GENERAL}:live", [MATTY, CAROL]])
    members = "dialog ul:first-of-type li"
    assert [text.partition(" owner")[0] for text in desk.shown(members)] == ["Matty", "Bob", "Carol"]
    assert [dot.get_attribute("title") for dot in page.locator("dialog .dot").all()] == ["Here", "Away", "Here"]
    roles = {each.get_attribute("aria-label"): each.input_value() for each in page.locator("dialog li select").all()}
    assert roles == {"Role of Bob": "admin", "Role of Carol": "member"}
    assert desk.shown("dialog option")[-1] == "Scout"  # neither the twin that is in, nor one of Bob
    assert "Member of the workspace" not in desk.shown("dialog")[0]
    desk.calls()
    page.get_by_label("Role of Carol").select_option("owner")
    desk.settle()
    calls = desk.calls()
    assert ["PATCH channel_members", {"role": "owner"}] in calls
    assert ["POST rpc/list_my_channels", {"max_channels": 200}] in calls
    page.locator(members).nth(1).get_by_role("button", name="Remove").click()
    desk.settle()
    left = page.evaluate("project.tables.channel_members.map((each) => each.user_id + each.channel_id + each.role)")
    plans = f"{MATTY}{PLANS}member"
    assert sorted(left) == sorted([f"{CAROL}{GENERAL}owner", f"{MATTY}{GENERAL}owner", plans])
    assert desk.shown("dialog form option") == ["Scout", "Bob"]
    desk.press("Add my twin")
    desk.press("Add")
    added = page.evaluate("[project.tables.channel_twins.at(-1), project.tables.channel_members.at(-1)].map((each) => [each.channel_id, each.ai_twin_id ?? each.user_id])")
    assert added == [[GENERAL, "00000000-0000-4000-8000-000000000022"], [GENERAL, BOB]]
    desk.run("project.answers.create_invitation = { token: 'secret' }")
    desk.calls()
    desk.press("Invite")
    assert desk.calls("POST rpc/create") == [["POST rpc/create_invitation", {"channel_id": GENERAL}]]
    assert desk.shown(".secret code") == [f"{page.url.partition('#')[0]}#/join/secret"]
    page.get_by_label("Email").fill("dora@example.com")
    desk.press("Invite")
    sent = {"channel_id": GENERAL, "email": "dora@example.com"}
    assert desk.calls("POST rpc/create") == [["POST rpc/create_invitation", sent]]
    for place, role in ((GENERAL, "member"), (DIRECT, "owner")):
        desk.open(f"channels/{place}", before=f"project.channels[MATTY].forEach((each) => each.role = {role!r})")
        desk.press("Members (", exact=False)
        assert page.locator("dialog li select, dialog h3:has-text('Invite a guest')").count() == 0
        assert desk.calls("POST rpc/list_workspace_members") == []
    desk.open(IN_GENERAL, before="project.channels[MATTY][0].role = 'member'")
    desk.press("Members (3)")
    assert sorted(desk.shown("dialog h3 + ul li")) == ["Aide Remove", "Bob's"]
    desk.press("Remove", "dialog")
    assert page.evaluate("project.tables.channel_twins.map((each) => each.channel_id + each.ai_twin_id).length") == 2


def test_summary_cites_what_can_be_opened(desk: Desk) -> None:
    statements = [{"text": "A. ", "citations": [message(9), message(7)]}, {"text": "B. ", "citations": ["gone", message(9)]}]
    summary = {"statements": statements, "citations": [message(7), "gone", message(9)], "messageCount": 12, "omittedCount": 0}
    page = desk.open(IN_GENERAL)
    desk.run("given => { project.answers['service/messages/summarize'] = { data: given } }", summary)
    page.get_by_text("More", exact=True).click()
    desk.calls()
    desk.press("Summarize")
    assert desk.calls()[0] == ["POST service/messages/summarize", {"channel_id": GENERAL}]
    assert desk.shown("dialog p") == ["A. 31B. 3", "Of 12 messages."]
    links = [(each.get_attribute("aria-label"), each.get_attribute("href")) for each in page.locator("dialog sup a").all()]
    assert links == [(f"Message {n}", f"#/{IN_GENERAL}/{seq}") for n, seq in ((3, 9), (1, 7), (3, 9))]
    desk.press("Close", "dialog")
    desk.run("given => { project.answers['service/messages/summarize'] = { data: given } }", {**summary, "omittedCount": 5})
    page.get_by_text("More", exact=True).click()
    desk.press("Summarize")
    assert desk.shown("dialog p")[1] == "Of 12 messages. 5 older ones were left out."
