"""Channels with many rows: their list, two pages, pins, members, and what is read."""

from typing import Any

from tests.console.desk import BOB, CAROL, MATTY, Desk
from tests.console.rows import DIRECT, GENERAL, GONE, IN_GENERAL, PLANS, TWIN, created, happen, message, numbers


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
    zoo = "project.channels[MATTY].push(channel(id(37), ZOO, 'cage')); tables.workspaces[0].name = 'Zoo of guests';"
    desk.open("channels", before=zoo)
    assert desk.shown(".list h2")[-1] == "Zoo of guests"


def test_search_of_messages_shows_where_each_is(desk: Desk) -> None:
    hit = {
        "id": message(7),
        "channel_id": GENERAL,
        "user_id": CAROL,
        "content": "x" * 300,
        "created_at": "2026-06-14T12:00:00Z",
    }
    other = {**hit, "channel_id": DIRECT, "user_id": None, "content": "y"}
    page = desk.open("channels")
    desk.run(
        "given => { project.answers.search_messages = given }",
        {
            "data": [hit, {**other, "id": message(9), "ai_twin_id": TWIN}, {**other, "id": message(8)}],
            "meta": {"total": 77},
        },
    )
    search = page.get_by_label("Search messages")
    search.fill(" needle ")
    desk.calls()
    search.press("Enter")
    desk.settle()
    assert desk.calls("POST rpc/search") == [["POST rpc/search_messages", {"query": "needle", "limit": 50}]]
    assert desk.shown(".list [role=status]") == ["77 found"]
    assert desk.shown(".list .row") == [
        f"general 14 Jun Carol: {'x' * 200}",
        "Bob, Carol 14 Jun Aide: y",
        "Bob, Carol 14 Jun Deleted user: y",
    ]
    links = [row.get_attribute("href") for row in page.locator(".list .row").all()]
    assert links == [f"#/{IN_GENERAL}/7", f"#/channels/{DIRECT}/9", f"#/channels/{DIRECT}/8"]
    search.fill("needles")
    desk.settle()
    assert len(desk.shown(".list .row")) == 3
    search.press("Enter")
    desk.settle()
    assert desk.calls("POST rpc/search") == [["POST rpc/search_messages", {"query": "needles", "limit": 50}]]
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
    assert (desk.shown("dialog [role=alert]"), dialog.get_by_label("Name", exact=True).input_value()) == (
        ["Too many"],
        "again",
    )
    desk.run("project.refusals['POST rpc/list_workspace_members'] = null")
    space.select_option("Team")
    desk.settle()
    assert "out of reach" in desk.shown("dialog [role=alert]")[-1]


def test_channel_far_down_the_list_opens(desk: Desk) -> None:
    many = "project.channels[MATTY] = range({}, (n) => channel(id(1000 + n), TEAM, `c${{n}}`, {{ last_seq: n }}));"
    page = desk.open("channels", before=many.format(201))
    assert len(desk.shown(".list .row")) == 200
    desk.run("project.hold('POST rpc/list_my_channels')")
    desk.go(f"channels/{message(201)}")
    assert desk.shown(".detail [role=alert]") == []
    desk.run("project.release('POST rpc/list_my_channels')")
    assert (desk.shown(".detail h2"), len(desk.shown(".list .row"))) == (["c201"], 201)
    assert desk.calls("POST rpc/list_my")[-1][1] == {"max_channels": 1000}
    desk.open(f"channels/{message(201)}", before=many.format(200))
    assert desk.shown(".detail [role=alert]") == ["This channel does not exist, or you may not see it."]
    assert page.get_by_role("button", name="More").count() == 0
    desk.open(f"channels/{message(1)}", before=many.format(201))
    assert len(desk.shown(".list .row")) == 200
    desk.press("More")
    assert (len(desk.shown(".list .row")), desk.shown(".list .more")) == (201, [])
    desk.open("people", before=many.format(1001))
    load = """name => import("/channels.js").then(async ({ channels }) => {
      await channels[name]();
      await channels.load();
      const { list, hasMore } = channels.get();
      return [list.length, hasMore];
    })"""
    assert desk.run(load, "more") == [1000, False]
    assert desk.run(load, "clear") == [200, True]  # of the next user


def test_found_reply_is_shown_in_its_thread(desk: Desk) -> None:
    replies = """
    for (const seq of [80, 81, 90]) project.change(seq, { parent_message_id: id(1000 + (seq > 85 ? 5 : 4)),
      attachments: [{ id: id(701) }] });
    tables.attachments.push({ id: id(701), content_type: "text/plain", file_name: "a.txt", path: "p" });
    """
    desk.open(f"{IN_GENERAL}/81", before=replies)
    assert (numbers(desk, ".side .text"), desk.shown(".side .found .text")) == (["4", "80", "81"], ["Number 81"])
    assert (desk.shown(".side .sender strong"), desk.shown(".side .file")) == (["Bob"] * 3, ["Open a.txt"] * 2)
    desk.press("Close the thread")
    desk.press("Newest ↓")
    desk.go(f"{IN_GENERAL}/60")
    assert (desk.shown(".side"), desk.shown(".found .text")) == ([], ["Number 60"])
    for seq, parent in ((90, 5), (80, 4)):
        desk.go(f"{IN_GENERAL}/{seq}")
        assert (numbers(desk, ".side .text")[0], desk.shown(".side .found .text")) == (str(parent), [f"Number {seq}"])
    desk.go(f"{IN_GENERAL}/81")
    assert desk.shown(".side .found .text") == ["Number 81"]


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
    desk.go(f"{IN_GENERAL}/x")
    assert numbers(desk)[-1] == "Two"
    for number, far in ((134, 30), (135, 45)):
        box.evaluate("(box, far) => { box.scrollTop = box.scrollHeight - box.clientHeight - far }", far)
        desk.settle()
        happen(desk, "message.created", **created(number, "Near"))
        assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 2") == (far == 30)
    desk.press("Newest ↓")
    box.evaluate("box => { box.firstChild.lastChild.style.height = '500px' }")  # as a picture that has loaded
    desk.settle()
    assert box.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 2")


def test_missed_events_keep_the_place(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    page.locator(".column .scroll").evaluate("box => box.scrollTop = 300")
    desk.settle()
    before = numbers(desk)
    desk.run(
        "topic => { const meta = { last_seq: 0, has_more: false }; "
        "project.answers.list_channel_events = () => ({ data: [], meta }); "
        "project.tables.messages.push({ ...project.tables.messages[129], id: project.id(1131), seq: 131 }); "
        "project.broadcast(topic, 'message.created', { seq: 999, prev_seq: 998 }); }",
        f"channel:{GENERAL}",
    )
    assert (len(before), numbers(desk)) == (120, [*before, "130"])


def test_next_channel_starts_anew(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    page.locator(".column article").last.get_by_role("button", name="Message actions").click()
    desk.press("Reply")
    desk.calls()
    desk.go(f"channels/{PLANS}")
    assert (desk.shown(".side"), numbers(desk)) == ([], ["Plan 1", "Plan 2", "Plan 3"])
    assert desk.calls("POST rpc/mark_read") == [["POST rpc/mark_read", {"channel_id": PLANS, "seq": 3}]]
    assert page.locator(".column > .hidden").text_content().strip() == ""


def test_channel_that_cannot_be_read_says_why(desk: Desk) -> None:
    desk.open(IN_GENERAL, before="project.refusals['GET messages'] = { status: 500, body: { message: 'Not now' } }")
    assert desk.shown(".column .scroller [role=alert]") == ["Not now"]
    assert desk.shown(".column .scroll") == [""]
    assert desk.calls("POST rpc/mark_read") == []
    desk.run("delete project.refusals['GET messages']")
    desk.go(f"{IN_GENERAL}/1")
    assert (numbers(desk)[0], desk.shown(".column .scroller [role=alert]")) == ("1", [])


def test_late_answer_of_another_place_is_dropped(desk: Desk) -> None:
    desk.open(IN_GENERAL)
    desk.run("project.hold('GET messages', 2)")
    desk.go(f"{IN_GENERAL}/20")
    desk.go(f"{IN_GENERAL}/100")
    desk.run("project.release('GET messages')")
    desk.run("project.release('GET messages')")
    desk.settle()
    assert desk.shown(".found .text") == ["Number 100"]
    assert {"41", "130"} <= set(numbers(desk))


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
    page.locator(".column .scroll").evaluate("box => box.dispatchEvent(new Event('scroll'))")
    desk.settle()
    assert desk.calls("POST rpc/mark_read")[-1][1]["seq"] == 132
    desk.run("project.refusals['GET messages'] = null, document.querySelector('.column .scroll').scrollTop = 0")
    happen(desk, "message.created", **created(133, "Seen too"))
    page.locator(".column .scroll").evaluate("box => { box.scrollTop = box.scrollHeight }")
    desk.settle()
    assert len(desk.shown(".scroller [role=alert]")) == 1
    assert desk.calls("POST rpc/mark_read")[-1][1]["seq"] == 133
    desk.open(f"{IN_GENERAL}/30")
    assert desk.calls("POST rpc/mark_read") == []
    desk.open(
        IN_GENERAL,
        before="Object.defineProperty(document, 'visibilityState', { get: () => project.isSeen ?? 'hidden' })",
    )
    assert desk.calls("POST rpc/mark_read") == []
    desk.run("project.isSeen = 'visible', document.dispatchEvent(new Event('visibilitychange'))")
    assert desk.calls("POST rpc/mark_read") == [read]
    desk.open(f"channels/{PLANS}", before="project.channels[MATTY][2].read_seq = 3")
    assert desk.calls("POST rpc/mark_read") == []
    desk.open(f"channels/{PLANS}", before="project.channels[MATTY][2].last_seq = 9")  # the last ones were deleted
    assert desk.calls("POST rpc/mark_read") == [["POST rpc/mark_read", {"channel_id": PLANS, "seq": 9}]]


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
    desk.run("given => project.meet(...given)", [live, [BOB, MATTY, CAROL, GONE]])
    assert desk.shown(".here") == ["3 here"]
    assert desk.page.locator(".here").get_attribute("title") == "Bob, Carol, Former member"
    for user, text in ((BOB, "Bob is typing …"), (GONE, "Bob, Former member are typing …")):
        desk.run("([topic, id]) => project.broadcast(topic, 'typing', { user_id: id })", [live, user])
        assert desk.shown(".typing") == [text]
    for user in (CAROL, "5"):
        desk.run("([topic, id]) => project.broadcast(topic, 'typing', { user_id: id })", [live, user])
    assert desk.shown(".typing") == ["Bob, Former member, Carol are typing …"]
    box = desk.page.get_by_role("textbox", name="Message", exact=True)
    box.fill(" ")
    box.fill("")
    typed = desk.page.evaluate("project.typed")
    assert [each[2] for each in typed] == [{"user_id": MATTY, "ended": False}, {"user_id": MATTY, "ended": True}]
    desk.open(IN_GENERAL, before="project.refusals['GET user_profiles'] = null")
    desk.run("([topic, id]) => project.broadcast(topic, 'typing', { user_id: id })", [live, GONE])
    assert desk.shown(".typing") == ["A member is typing …"]


def test_pins_are_newest_first_with_their_authors(desk: Desk) -> None:
    before = """
    const pin = (seq, minutes, more) => tables.message_pins.push({ channel_id: GENERAL, pinned_at: at(minutes),
      messages: {
      id: id(1000 + seq), seq, content: `Pinned ${seq}`, user_id: BOB, ai_twin_id: null }, ...more });
    pin(5, -30); pin(9, -10, { messages: { id: id(1009), seq: 9, content: `For <@${MATTY}>`, user_id: CAROL,
      ai_twin_id: null } });
      pin(7, -20);
    pin(8, -5, { channel_id: PLANS }); pin(6, -1, { messages: null });
    """
    page = desk.open(IN_GENERAL, before=before)
    desk.press("Pins")
    assert desk.shown("dialog li") == ["Carol For @Matty", "Bob Pinned 7", "Bob Pinned 5"]
    assert "limit=100" in desk.calls("GET message_pins")[-1][1]
    page.locator("dialog").get_by_role("link", name="Bob").nth(1).click()
    desk.settle()
    assert (page.url.endswith(f"{GENERAL}/5"), desk.shown("dialog"), desk.shown(".found .text")) == (
        True,
        [],
        ["Number 5"],
    )
    desk.open(f"channels/{DIRECT}", before=before)
    desk.press("Pins")
    assert desk.shown("dialog") == ["Pinned messages ✕ No pinned messages."]
    authors = """
    [{ ai_twin_id: TWIN }, { user_id: GONE }, {}].forEach((author, place) => pin(20 + place, place, { messages: {
      id: id(1020 + place), seq: 20 + place, content: "Said", user_id: null, ai_twin_id: null, ...author } }));
    """
    desk.open(IN_GENERAL, before=before + authors)
    desk.press("Pins")
    assert desk.shown("dialog li")[:3] == ["Deleted user Said", "Former member Said", "Aide Said"]
    desk.open(IN_GENERAL, before=f"{before + authors} project.refusals['GET user_profiles'] = null")
    desk.press("Pins")
    assert desk.shown("dialog li")[:2] == ["Deleted user Said", "… Said"]


def test_menu_changes_only_this_channel(desk: Desk) -> None:
    page = desk.open(IN_GENERAL)
    row = {"channel_id": f"eq.{GENERAL}", "user_id": f"eq.{MATTY}"}

    def use(name: str, key: str) -> Any:
        desk.calls()
        page.get_by_text("More", exact=True).click()
        desk.press(name)
        query = page.evaluate("key => project.sent.findLast((each) => each[0] === key)[1]", key)
        assert query == "&".join(f"{name}={value}" for name, value in row.items())
        calls = desk.calls()
        assert "POST rpc/list_my_channels" in [found for found, _ in calls]
        return [sent for found, sent in calls if found == key]

    assert use("Mute", "PATCH member_states") == [{"is_muted": True}]
    assert use("Keep at the top", "PATCH member_states") == [{"is_pinned": True}]
    desk.run(
        "Object.assign(project.channels[project.id(1)][0], { is_muted: true, is_pinned: true }), "
        "project.broadcast('user:' + project.id(1), 'x', { seq: 1, prev_seq: 0 })"
    )
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
    assert [dot.get_attribute("class") for dot in page.locator("dialog .dot").all()] == ["dot on", "dot", "dot on"]
    (query,) = (text for _, text in desk.calls("GET channel_members") if "select=user_id,role" in text)
    assert "limit=500" in query
    roles = {each.get_attribute("aria-label"): each.input_value() for each in page.locator("dialog li select").all()}
    assert roles == {"Role of Bob": "admin", "Role of Carol": "member"}
    assert sorted(desk.shown("dialog h3 + ul li")) == ["Aide Remove", "Bob's Remove"]
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
    queries = page.evaluate("project.sent.filter(([key]) => /^(PATCH|DELETE)/.test(key)).map((each) => each[1])")
    assert queries == [f"channel_id=eq.{GENERAL}&user_id=eq.{user}" for user in (CAROL, BOB)]
    left = page.evaluate("project.tables.channel_members.map((each) => each.user_id + each.channel_id + each.role)")
    plans = f"{MATTY}{PLANS}member"
    assert sorted(left) == sorted([f"{CAROL}{GENERAL}owner", f"{MATTY}{GENERAL}owner", plans])
    assert desk.shown("dialog form option") == ["Scout", "Bob"]
    desk.press("Add my twin")
    desk.press("Add")
    added = page.evaluate(
        "[project.tables.channel_twins.at(-1), project.tables.channel_members.at(-1)].map((each) => "
        "[each.channel_id, each.ai_twin_id ?? each.user_id])"
    )
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
    twins = """
    Object.assign(project.channels[MATTY][0], { role: "member", member_count: 300 });
    tables.channel_twins.push({ ...tables.channel_twins[0], channel_id: PLANS },
      { channel_id: GENERAL, ai_twin_id: id(29), ai_twins: null });
    """
    desk.open(IN_GENERAL, before=twins)
    desk.press("Members (300)")
    assert sorted(desk.shown("dialog h3 + ul li")) == ["A twin", "Aide Remove", "Bob's"]
    desk.press("Remove", "dialog")
    assert page.evaluate("project.tables.channel_twins.map((each) => each.channel_id + each.ai_twin_id).length") == 4
    # An admin who is a guest of the workspace may not see its members.
    admin = "project.channels[MATTY][0].role = 'admin'; project.refusals['POST rpc/list_workspace_members'] = null;"
    desk.open(IN_GENERAL, before=admin)
    desk.press("Members (3)")
    assert (len(desk.shown(members)), desk.shown("dialog [role=alert]")) == (3, [])
    assert "Invite a guest" in desk.shown("dialog h3")


def test_summary_cites_what_can_be_opened(desk: Desk) -> None:
    statements = [
        {"text": "A. ", "citations": [message(9), message(7)]},
        {"text": "B. ", "citations": ["gone", message(9)]},
    ]
    summary = {
        "statements": statements,
        "citations": [message(7), "gone", message(9)],
        "messageCount": 12,
        "omittedCount": 0,
    }
    page = desk.open(IN_GENERAL)
    desk.run("given => { project.answers['service/messages/summarize'] = { data: given } }", summary)
    page.get_by_text("More", exact=True).click()
    desk.calls()
    desk.press("Summarize")
    assert desk.calls()[0] == ["POST service/messages/summarize", {"channel_id": GENERAL}]
    assert desk.shown("dialog p") == ["A. 31B. 3", "Of 12 messages."]
    links = [
        (each.get_attribute("aria-label"), each.get_attribute("href")) for each in page.locator("dialog sup a").all()
    ]
    assert links == [(f"Message {n}", f"#/{IN_GENERAL}/{seq}") for n, seq in ((3, 9), (1, 7), (3, 9))]
    desk.press("Close", "dialog")
    desk.run(
        "given => { project.answers['service/messages/summarize'] = { data: given } }",
        {**summary, "omittedCount": 5, "citations": [*summary["citations"], *["gone"] * 98]},
    )
    page.get_by_text("More", exact=True).click()
    desk.calls()
    desk.press("Summarize")
    assert desk.shown("dialog p")[1] == "Of 12 messages. 5 older ones were left out."
    ((_, query),) = desk.calls("GET messages")
    assert len(query.partition("in.(")[2].split(",")) == 100
    page.locator("dialog sup a").first.click()
    desk.settle()
    assert (desk.shown("dialog"), desk.shown(".found .text")) == ([], ["Number 9"])
    desk.run("project.refusals['POST service/messages/summarize'] = { status: 429, body: { message: 'Too many' } }")
    page.get_by_text("More", exact=True).click()
    desk.press("Summarize")
    assert desk.shown("dialog [role=alert]") == ["Too many"]
