"""Messages of other authors, replies, reactions and files, and events of every kind."""

from tests.console.desk import BOB, CAROL, MATTY, Desk
from tests.console.rows import COLUMN, GENERAL, IN_GENERAL, PLANS, created, happen, message, numbers


def test_days_and_heads_part_messages(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL);
    const said = (seq, created_at, more) => tables.messages.push(message(GENERAL, seq, { created_at,
      updated_at: created_at, ...more }));
    said(1, "2026-06-14T14:58:00Z");
    said(2, "2026-06-14T15:00:00Z");
    said(3, "2026-06-14T15:04:59Z");
    said(4, "2026-06-14T15:09:59Z");
    said(5, "2026-06-14T15:10:00Z", { user_id: MATTY });
    said(6, "2026-06-14T15:10:00Z", { user_id: null, ai_twin_id: TWIN });
    said(7, "2026-06-14T15:10:00Z", { user_id: null, ai_twin_id: SCOUT });
    said(8, "2026-06-14T15:10:00Z", { user_id: GONE });
    said(9, "2026-06-14T15:10:00Z", { user_id: null, content: `For <@${MATTY}>` });
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
        "DU Deleted user 00:10 For @Matty ⋯",
    ]
    labels = [each.get_attribute("aria-label") for each in desk.page.locator(COLUMN).all()]
    assert labels[3:5] == ["Message of Bob", "Message of Matty"]
    desk.open(IN_GENERAL, before=f"{before} project.refusals['GET user_profiles'] = null;")
    assert desk.shown(COLUMN)[0] == "… … 23:58 Number 1 ⋯"


def test_reaction_of_a_former_member_has_a_name(desk: Desk) -> None:
    before = """
    project.change(130, { message_reactions: ["fire", "thumbsup", "heart", "x"].map((emoji) =>
      ({ user_id: GONE, emoji })) });
    """
    page = desk.open(IN_GENERAL, before=before)
    assert page.locator(f"{COLUMN} .reaction").first.get_attribute("title") == "Former member"
    assert desk.shown(f"{COLUMN} .reaction bdi") == ["🔥", "👍", "❤️", "x"]


def test_each_event_changes_its_message_alone(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 127);
    project.change(129, { message_reactions: [{ user_id: BOB, emoji: "fire" }, { user_id: CAROL, emoji: "fire" },
      { user_id: MATTY, emoji: "🎉" }],
      message_pins: { message_id: id(1129) } });
    """
    page = desk.open(IN_GENERAL, before=before)

    def rows() -> list[str]:
        return [text.partition(" Number ")[2].removesuffix(" ⋯") for text in desk.shown(COLUMN)]

    def reactions() -> list[tuple[str, str, str]]:
        found = page.locator(f"{COLUMN} .reaction").all()
        return [
            (each.get_attribute("aria-label"), each.get_attribute("aria-pressed"), each.get_attribute("title"))
            for each in found
        ]

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
    pinned = {**created(203, "Number 133"), "attachments": None}
    happen(desk, "message.created", **pinned, metadata={"pinned": True})
    assert numbers(desk) == ["129b", "130", "131", "133"]
    assert ["Pinned" in text for text in desk.shown(COLUMN)] == [False, False, False, True]
    desk.press("fire, 2")
    assert desk.calls("POST rpc/toggle") == [["POST rpc/toggle_reaction", {"id": message(129), "emoji": "fire"}]]


def test_replies_are_counted_and_shown_with_their_parent(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 124);
    for (const [seq, parent] of [[127, 125], [128, 126], [129, 125]]) project.change(seq,
      { parent_message_id: id(1000 + parent) });
    """
    page = desk.open(IN_GENERAL, before=before)
    buttons = f"{COLUMN} .meta"
    assert numbers(desk) == ["125", "126", "130"]
    assert desk.shown(buttons) == ["2 replies", "1 reply", ""]
    desk.press("1 reply")
    assert numbers(desk, ".side .text") == ["126", "128"]
    assert page.locator(".side .scroll").get_attribute("aria-label") == "Messages of the thread"
    assert desk.shown(".side .meta") == ["", ""]
    page.get_by_role("textbox", name="Reply").fill("To the first")
    desk.press("2 replies")
    assert numbers(desk, ".side .text") == ["125", "127", "129"]
    assert page.get_by_role("textbox", name="Reply").input_value() == ""
    happen(desk, "message.created", **created(131, "To 125", parent_message_id=message(125)))
    happen(desk, "message.created", **created(132, "To 126", parent_message_id=message(126)))
    happen(desk, "message.created", **created(133, "To none"))
    assert numbers(desk, ".side .text") == ["125", "127", "129", "To 125"]
    assert (numbers(desk), desk.shown(buttons)) == (
        ["125", "126", "130", "To none"],
        ["3 replies", "2 replies", "", ""],
    )
    reply = page.get_by_role("textbox", name="Reply")
    reply.fill("Mine")
    assert page.get_by_role("textbox", name="Message", exact=True).input_value() == ""
    desk.calls()
    reply.press("Enter")
    desk.settle()
    ((_, sent),) = desk.calls("POST messages")
    assert {**sent, "id": None} == {
        "id": None,
        "channel_id": GENERAL,
        "parent_message_id": message(125),
        "content": "Mine",
    }
    desk.press("Close the thread")
    assert desk.shown(".side") == []
    page.locator(COLUMN).nth(1).get_by_role("button", name="Message actions").click()
    desk.press("Reply")
    assert (numbers(desk, ".side .text"), page.locator(".tools-of").count()) == (["126", "128", "To 126"], 0)


def test_counts_of_a_part_of_a_channel_say_so(desk: Desk) -> None:
    before = (
        "for (const seq of [40, 41]) project.change(seq, { parent_message_id: id(1030) }); "
        "project.change(42, { parent_message_id: id(1031) })"
    )
    desk.open(f"{IN_GENERAL}/30", before=before)
    assert [text for text in desk.shown(f"{COLUMN} .meta") if text] == ["2+ replies", "1+ reply"]


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
        return desk.shown(".tools-of")[0].removeprefix("👍 ❤️ 😂 🎉 👀 🙏 ")

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
    desk.run("project.failOnce('POST rpc/toggle_reaction')")
    desk.press("React with 🎉")
    assert "out of reach" in desk.shown(".tools-of [role=alert]")[0]
    desk.calls()
    desk.press("React with ❤️")
    assert desk.calls("POST rpc") == [["POST rpc/toggle_reaction", {"id": message(130), "emoji": "❤️"}]]
    assert desk.shown(".tools-of") == []
    desk.open(IN_GENERAL, before=f"{before} project.channels[MATTY][0].role = 'member'")
    assert offered(0) == "Reply Unpin Edit Delete"
    desk.press("Delete")
    assert desk.calls("POST rpc/delete") == [["POST rpc/delete_message", {"id": message(129)}]]
    desk.press("Message actions")
    assert offered(1) == "Reply Pin"
    desk.open(IN_GENERAL, before=f"{before} project.channels[MATTY][0].role = 'admin'")
    assert offered(1) == "Reply Pin Delete"
    desk.press("Message actions", f"{COLUMN}:has-text('Number 130')")
    assert offered(0) == "Reply Unpin Edit Delete"
    desk.press("Delete")
    assert desk.calls("POST rpc/delete") == [["POST rpc/delete_message", {"id": message(129)}]]


def test_message_is_edited_and_its_versions_shown(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 129);
    project.change(130, { user_id: MATTY, updated_at: at(-1) });
    answers.list_message_edits = { data: [{ written_at: "2026-06-14T12:00:00Z", content: "First" },
      { written_at: "2026-06-15T11:00:00Z", content: "Then" }] };
    """
    page = desk.open(IN_GENERAL, before=before)
    assert desk.shown(".sender time") == ["20:54"]
    desk.press("Edited")
    assert desk.shown(".versions li") == ["14 Jun 2026, 21:00 First", "15 Jun 2026, 20:00 Then"]
    assert desk.calls("POST rpc/list_message_edits") == [["POST rpc/list_message_edits", {"id": message(130)}]]
    desk.press("Close", "dialog")
    assert desk.shown("dialog") == []
    text = page.get_by_role("textbox", name="Text")
    for name in ("Cancel", "Save"):
        desk.press("Message actions")
        desk.press("Edit", exact=True)
        assert text.input_value() == "Number 130"
        text.fill("Other")
        desk.press(name)
        assert text.count() == (name == "Save")  # it fails
        assert len(desk.calls("POST rpc/edit")) == text.count()
    assert text.get_attribute("maxlength") == "40000"
    assert len(desk.shown(".edit [role=alert]")) == 1
    desk.run("project.answers.edit_message = {}")
    desk.calls()
    desk.press("Save")
    assert (desk.calls("POST rpc/edit"), text.count()) == (
        [["POST rpc/edit_message", {"id": message(130), "content": "Other"}]],
        0,
    )


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
    box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, "
        "cancelable: true }))"
    )
    desk.settle()
    assert (desk.calls("POST messages"), box.get_attribute("rows")) == ([], "2")
    box.fill("x\n" * 20)
    assert (box.get_attribute("rows"), box.get_attribute("maxlength")) == ("8", "40000")
    box.fill(" One ")
    desk.run("project.refusals['POST messages'] = { status: 500, body: { message: 'Later' } }")
    box.press("Enter")
    desk.settle()
    ((_, first),) = desk.calls("POST messages")
    assert (desk.shown(".composer [role=alert]"), box.input_value(), first["content"]) == (["Later"], " One ", " One ")
    desk.run(
        "project.refusals['POST messages'].body = { code: '23505', message: 'duplicate key violates "
        '"messages_pkey"\' }'
    )
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
    assert (other["id"] != first["id"], desk.shown(".composer [role=alert]")) == (
        True,
        ['duplicate key violates "other_key"'],
    )
    box.fill("Three")
    button.click()
    desk.settle()
    ((_, third),) = desk.calls("POST messages")
    assert third["id"] != other["id"]
    box.fill("Draft of general")
    desk.go(f"channels/{PLANS}")
    assert box.input_value() == ""
    desk.go(IN_GENERAL)
    assert box.input_value() == "Draft of general"


def test_texts_wait_for_the_one_under_way(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    box = page.get_by_role("textbox", name="Message", exact=True)

    def send(*texts: str) -> list[str]:
        desk.calls()
        desk.run("project.hold('POST messages')")
        for text in texts:
            box.fill(text)
            box.press("Enter")
            assert box.input_value() == ""
        box.fill("Draft")
        desk.settle()
        assert len(desk.calls("POST messages")) == 1
        desk.run("project.release('POST messages')")
        return [row["content"] for _, row in desk.calls("POST messages")]

    assert send("One", "Two", "Three") == ["Two", "Three"]
    assert box.input_value() == "Draft"
    desk.run("project.refusals['POST messages'] = { status: 500, body: { message: 'Later' } }")
    assert send("One", "Two") == []
    assert (desk.shown(".composer [role=alert]"), box.input_value()) == (["Later"], "One\nTwo\nDraft")
    desk.run("project.hold('POST messages')")
    box.press("Enter")
    page.locator("input[type=file]").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"})
    desk.settle()
    desk.run("project.release('POST messages')")
    assert (desk.shown(".chips bdi"), box.input_value()) == (["a.txt"], "One\nTwo\nDraft")
    desk.run("project.hold('POST messages')")
    box.press("Enter")
    box.fill("More")
    desk.run("project.release('POST messages')")
    assert (desk.shown(".chips bdi"), box.input_value()) == (["a.txt"], "One\nTwo\nDraft\nMore")


def test_files_wait_with_their_message(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    box = page.get_by_role("textbox", name="Message", exact=True)
    file = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"}
    desk.run("project.hold('POST attachments')")
    page.locator("input[type=file]").set_input_files(file)
    box.fill("With a file")
    box.press("Enter")
    desk.settle()
    assert (desk.calls("POST messages"), box.input_value()) == ([], "With a file")
    assert page.get_by_role("button", name="Send").is_disabled()
    desk.run("project.release('POST attachments')")
    desk.run("project.hold('POST messages')")
    desk.run("project.refusals['POST messages'] = { status: 500, body: { message: 'Later' } }")
    box.press("Enter")
    desk.settle()
    assert desk.shown(".chips bdi") == []
    desk.go(f"channels/{PLANS}")
    desk.run("project.release('POST messages')")
    desk.go(IN_GENERAL)
    assert (desk.shown(".chips bdi"), box.input_value()) == (["a.txt"], "With a file")
    desk.press("Send")
    page.locator("input[type=file]").set_input_files({**file, "name": "b.txt"})
    desk.settle()
    desk.press("Send")
    assert desk.shown(".chips bdi") == ["a.txt", "b.txt"]
    first, again, longer = (row for _, row in desk.calls("POST messages"))
    assert (first == again, longer["id"] != first["id"], len(longer["attachments"])) == (True, True, 2)


def test_scroll_that_ends_late_harms_nothing(desk: Desk) -> None:
    desk.open(IN_GENERAL)
    desk.run("window.list = document.querySelector('.scroll')")
    desk.go("people")
    desk.run("list.dispatchEvent(new Event('scroll'))")


def test_files_are_attached_in_their_order(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    desk.calls()
    files = [{"name": name, "mimeType": "text/plain", "buffer": b"x"} for name in ("a.txt", "b.txt", "b.txt")]
    page.locator("input[type=file]").set_input_files(files)
    desk.settle()
    assert desk.shown(".chips bdi") == ["a.txt", "b.txt", "b.txt"]
    desk.press("Remove b.txt")
    assert desk.shown(".chips bdi") == ["a.txt", "b.txt"]
    stored = [sent for key, sent in desk.calls() if key == "POST attachments"]
    assert [(each["channel_id"], each["file_name"]) for each in stored] == [(GENERAL, f"{n}.txt") for n in "abb"]
    page.get_by_role("textbox", name="Message", exact=True).fill("  ")
    desk.press("Send")
    ((_, sent),) = desk.calls("POST messages")
    assert (sent["content"], sent["attachments"]) == (
        "a.txt, b.txt",
        [{"id": stored[0]["id"]}, {"id": stored[2]["id"]}],
    )
    assert desk.shown(".chips") == []
    assert page.locator("input[type=file]").input_value() == ""
    page.locator("input[type=file]").set_input_files({**files[0], "name": f"{'n' * 300}.txt"})
    desk.settle()
    assert [sent["file_name"] for _, sent in desk.calls("POST attachments")] == [f"{'n' * 251}.txt"]
    desk.press("Remove", ".chips", exact=False)
    desk.run(
        "const box = document.querySelector('input[type=file]'), given = new DataTransfer(); "
        "given.items.add(new File(['x'], '')), box.files = given.files, box.dispatchEvent(new Event('change'))"
    )
    assert [sent["file_name"] for _, sent in desk.calls("POST attachments")] == ["file"]
    desk.press("Remove", ".chips", exact=False)
    desk.run("project.refusals['POST attachments'] = { status: 403, body: { message: 'Too large' } }")
    page.locator("input[type=file]").set_input_files(files[0])
    desk.settle()
    assert (desk.shown(".composer [role=alert]"), desk.shown(".chips")) == (["Too large"], [])
    assert page.locator("input[type=file]").input_value() == ""  # the browser tells only of another choice
    desk.run("""void (project.refusals = new Proxy({}, {
      has: (_, key) => key.startsWith("POST storage/"),
      get: () => ({ status: 400, body: { message: "new row violates row-level security policy" } }),
    }))""")
    desk.calls()
    page.locator("input[type=file]").set_input_files(files[0])
    desk.settle()
    said = ["This file cannot be sent. HTML, SVG and XML are not accepted."]
    assert (desk.shown(".composer [role=alert]"), desk.calls("POST attachments")) == (said, [])


def test_files_of_messages_are_shown_by_their_kind(desk: Desk) -> None:
    before = """
    tables.messages = tables.messages.filter((each) => each.channel_id !== GENERAL || each.seq > 127);
    const file = (number, content_type, file_name, path = `p/${number}`) =>
      tables.attachments.push({ id: id(number), content_type, file_name, path });
    file(701, "image/png", "a.png"); file(702, "image/svg+xml", "b & c.svg"); file(703, "audio/ogg", "d.ogg");
      file(704, "text/html", "e.html");
    project.change(128, { attachments: [{ id: id(701) }, { attachment_id: id(702) }] });
    project.change(129, { attachments: [{ id: id(703) }, { id: id(709) }] });
    project.change(130, { attachments: [{ id: "nonsense" }, null] });
    """
    page = desk.open(IN_GENERAL, before=before)
    assert "a.png" in desk.shown(COLUMN)[0] or page.locator(f"{COLUMN} img").get_attribute("alt") == "a.png"
    link = page.get_by_role("link", name="Open b & c.svg")
    assert link.get_attribute("href").endswith("/p/702?token=x&download=b%20%26%20c.svg")
    assert ["This file is no longer available." in text for text in desk.shown(COLUMN)] == [False, True, True]
    calls = desk.calls()
    asked = [sent for key, sent in calls if key.startswith("POST storage")]
    assert "nonsense" not in str(calls)  # one such id would fail the query for all
    assert [sorted(each["paths"]) for each in asked] == [["p/701", "p/702", "p/703"]]
    desk.run(
        "project.happen(project.id(31), 'message.created', { id: project.id(1131), user_id: project.id(2), "
        "content: 'With a file', created_at: project.at(0), updated_at: project.at(0), attachments: [{ id: "
        "project.id(704) }] })"
    )
    assert page.get_by_role("link", name="Open e.html").get_attribute("href").endswith("&download=e.html")
    assert [sent["paths"] for _, sent in desk.calls("POST storage")] == [["p/704"]]
    gone = {**created(132, "Gone"), "attachments": [{"id": "00000000-0000-4000-8000-000000000710"}]}
    happen(desk, "message.created", **gone)
    assert "This file is no longer available." in desk.shown(COLUMN)[-1]
    assert desk.calls("POST storage") == []
    desk.open(IN_GENERAL, before=f"{before} project.refusals['GET attachments'] = null;")
    assert len(desk.shown(COLUMN)) == 3
    opened = ("png", "jpeg", "gif", "webp", "avif")
    kinds = [*(f"image/{each}" for each in opened), "audio/x-m4a", "video/vnd.a+b", "image/bmp", "text/png", "x/y"]
    page = desk.open(
        IN_GENERAL,
        before=f"{before} {kinds}.forEach((kind, place) => file(720 + place, kind, `${{place}}`)); "
        "project.change(130, { attachments: range(10, (n) => ({ id: id(719 + n) })) });",
    )
    links = page.evaluate("[...document.querySelectorAll('article [src], .file')].map((it) => it.src || it.href)")
    saved = [link.partition("download=")[2] for link in links if "/p/72" in link]
    assert saved == ["", "", "", "", "", "", "", "7", "8", "9"]
