"""The inbox with many rows: pages, filters, events of other conversations, and long threads with equal times."""

from typing import Any

from tests.console.desk import MATTY, Desk

PERSONAL, ATELIER = "00000000-0000-4000-8000-000000000011", "00000000-0000-4000-8000-000000000012"
TOPIC = f"inbox:{MATTY}"
ROWS = ".list .rows .row"
MANY = "tables.conversations = range(120, (n) => talk(n));"
SAY = """
const say = (number, n, sent_at, more, message) => tables.conversation_messages.push({ conversation_id: id(100 + number), external_id: `m${n}`,
  sender: "", sent_at, sequence: 0, received_at: at(0), connection_id: id(201), original: null, stated_at: null, ...more,
  message: { id: `m${n}`, direction: "inbound", type: "text", content: `Line ${n}`, ...message } });
project.say = say;
"""


def talk(number: int) -> str:
    return f"00000000-0000-4000-8000-{100 + number:012}"


def names(desk: Desk) -> list[int]:
    return [int(text.split("Person ")[1].split()[0]) for text in desk.shown(f"{ROWS} strong")]


def happen(desk: Desk, event: str = "conversation.updated", **payload: Any) -> None:
    desk.run("given => project.change_of(...given)", [TOPIC, event, payload])


def lines(desk: Desk) -> list[str]:
    return desk.shown(".bubble .text")


def test_entry_shows_the_state_of_its_conversation(desk: Desk) -> None:
    before = """
    Object.assign(tables.conversations[0], { people: { id: id(301), full_name: "Ann Own", phone: null }, platform: "signal", last_message_at: "2026-06-14T12:00:00Z" });
    tables.conversations.push(talk(4, { kind: "group", participant_name: "\\u202eClub", last_message_preview: null, last_message_at: null }),
      talk(5, { participant_name: "", participant_identifier: "+1 5" }), talk(6, { participant_name: "\\u2066", platform: "fax", unread_count: 100 }));
    """
    page = desk.open("inbox", before=before)
    # Rows without a time stand first in a descending order.
    assert desk.shown(ROWS) == [
        "C Club No messages WhatsApp Group",
        "P2 Person 2 20:58 Preview 2 WhatsApp",
        "+5 +1 5 20:55 Preview 5 WhatsApp",
        "NN No name 20:54 Preview 6 99+ unread fax",
        "P1 Person 1 14 Jun Preview 1 2 unread Signal Ann Own",
    ]
    assert desk.shown(".detail") == ["Choose a conversation"]
    page.locator(ROWS).last.click()
    desk.settle()
    assert desk.shown(f"{ROWS}[aria-current=true]") == ["P1 Person 1 14 Jun Preview 1 Signal Ann Own"]
    assert desk.shown(".detail h2") == ["Person 1"]


def test_pages_of_the_inbox_lose_no_row(desk: Desk) -> None:
    page = desk.open("inbox", before=f"{MANY} tables.conversations.push(...range(3, (n) => talk(120 + n, {{ workspace_id: ATELIER }})))")
    assert names(desk) == [*range(1, 51)]
    desk.press("More")
    assert names(desk) == [*range(1, 101)]
    # One that was below the edge comes to the top, and one is new.
    desk.run("project.tables.conversations[109].last_message_at = project.at(1), project.tables.conversations.push(project.talk(130, { last_message_at: project.at(2) }))")
    desk.press("More")
    assert sorted([*names(desk), 110, 130]) == sorted([*range(1, 121), 130])
    assert page.get_by_role("button", name="More").count() == 0
    happen(desk, conversation={"id": talk(130), "workspace_id": PERSONAL})
    assert names(desk) == [130, 110, *range(1, 110), *range(111, 121)]
    assert len(desk.calls("GET conversations")) >= 3
    page.get_by_label("Platform").select_option("WhatsApp")
    desk.settle()
    assert len(names(desk)) == 50
    desk.open("inbox", before="tables.conversations = range(50, (n) => talk(n));")
    desk.press("More")
    assert (names(desk), page.get_by_role("button", name="More").count()) == ([*range(1, 51)], 0)


def test_filters_find_by_each_field(desk: Desk) -> None:
    before = """
    tables.conversations = [talk(1), talk(2, { platform: "signal", scope_id: id(91) }), talk(3, { scope_id: id(92) }), talk(4, { user_id: BOB }),
      talk(5, { participant_name: "Person 5 100% (a, b)", participant_identifier: "number" }), talk(6, { participant_name: "Person 6", participant_identifier: "+77 (x), y" })];
    """
    page = desk.open("inbox", before=before)
    source, platform, text = (page.get_by_label(each, exact=True) for each in ("Connection", "Platform", "Find by name or number"))
    assert desk.shown("[aria-label=Connection] option") == ["Any connection", "WhatsApp: apart", "Signal: sig", "WhatsApp: wa_1, wa_2"]
    assert desk.shown("[aria-label=Platform] option") == ["Any platform", "WhatsApp", "Signal", "Telegram", "WeChat"]

    def found(where: Any, value: str) -> list[int]:
        where.fill(value) if where is text else where.select_option(value)
        desk.settle()
        return names(desk)

    assert found(source, "WhatsApp: wa_1, wa_2") == [1, 5, 6]
    assert found(source, "WhatsApp: apart") == [3]
    assert found(source, "Signal: sig") == [2]
    assert found(platform, "WhatsApp") == []
    assert desk.shown(".list .empty") == ["No conversations None fits the filter."]
    found(source, "Any connection")
    assert found(platform, "Signal") == [2]
    found(platform, "Any platform")
    assert found(text, "100% (a, B)") == [5]
    assert found(text, "+77 (x), y") == [6]
    assert found(text, "umbe") == [5]
    assert found(text, '5"1') == [5]
    assert found(text, '5"" ') == []
    assert found(text, "Person_1") == [1]
    assert found(text, "") == [1, 2, 3, 4, 5, 6]
    desk.open("inbox", before="tables.conversations = []; tables.messaging_connections.splice(1)")
    assert desk.shown(".list .empty") == ["No conversations Make a connection and send the first message."]
    assert page.get_by_label("Connection", exact=True).count() == 0


def test_answer_to_an_earlier_filter_is_dropped(desk: Desk) -> None:
    page = desk.open("inbox")
    text = page.get_by_label("Find by name or number")
    for refusal in ("null", "{ status: 500, body: { message: 'No' } }"):
        desk.run(f"project.hold('GET conversations'), project.refusals['GET conversations'] = {refusal}; if ({refusal} === null) delete project.refusals['GET conversations']")
        text.fill("Person 1")
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
        desk.run("delete project.refusals['GET conversations']")
        text.fill("Person 2")
        desk.settle()
        desk.run("project.release('GET conversations')")
        assert (names(desk), desk.shown(".list [role=alert]")) == ([2], [])
    desk.run("project.refusals['GET conversations'] = { status: 500, body: { message: 'No' } }")
    happen(desk, conversation={"id": talk(1), "workspace_id": PERSONAL})
    assert (names(desk), desk.shown(".list [role=alert]")) == ([2], ["No"])
    desk.run("delete project.refusals['GET conversations']")
    happen(desk, conversation={"id": talk(1), "workspace_id": PERSONAL})
    assert desk.shown(".list [role=alert]") == []


def test_words_are_searched_in_all_messages(desk: Desk) -> None:
    hits = [
        {"conversation_id": talk(1), "participant_name": name, "message": {"id": key, "sent_at": "2026-06-14T12:00:00Z", "content": "x" * 300}}
        for name, key in (("Ann", "a/b %"), (None, "c"))
    ]
    page = desk.open("inbox")
    desk.run("given => { project.answers.search_conversations = given }", {"data": hits, "meta": {"total": 9}})
    text = page.get_by_label("Find by name or number")
    text.fill(" two words ")
    text.press("Enter")
    desk.settle()
    assert desk.calls("POST rpc/search") == [["POST rpc/search_conversations", {"query": "two words", "limit": 50}]]
    assert "9 found" in desk.shown(".list [role=status]")
    assert desk.shown(ROWS) == [f"Ann 14 Jun {'x' * 200}", f"No name 14 Jun {'x' * 200}"]
    assert page.locator(ROWS).first.get_attribute("href") == f"#/inbox/{talk(1)}/a%2Fb%20%25"
    text.fill("Person 2")
    desk.settle()
    assert names(desk) == [2]


def test_events_reach_their_conversation_alone(desk: Desk) -> None:
    before = f"{SAY} for (const number of [1, 2]) say(number, 1, at(-10), {{}}, {{ content: `First of ${{number}}` }});"
    page = desk.open(f"inbox/{talk(1)}", before=before)
    news = page.locator(".list > .hidden")
    desk.calls()
    happen(desk, conversation={"id": talk(3), "workspace_id": ATELIER, "participant_name": "Other"}, messages_added=1)
    assert (desk.calls(), news.text_content()) == ([], "")
    desk.run("project.say(1, 2, project.at(-1)), project.say(2, 2, project.at(-1))")
    about = {"workspace_id": PERSONAL, "participant_name": "Two", "participant_identifier": "+2", "last_message_preview": "Hello"}
    happen(desk, conversation={"id": talk(2), **about}, messages_added=1)
    assert (lines(desk), news.text_content()) == (["First of 1"], "Two: Hello")
    assert [key for key, _ in desk.calls("GET")] == ["GET conversations"]
    happen(desk, conversation={"id": talk(1), **about}, messages_added=1)
    assert lines(desk) == ["First of 1", "Line 2"]
    updated = {"messages": [{"id": "m1", "direction": "inbound", "type": "text", "content": "Edited", "edited_at": "x"}, {"id": "m9", "content": "None"}]}
    happen(desk, conversation={"id": talk(1), **about, "participant_name": "None"}, messages_added=0, **updated)
    assert (lines(desk), news.text_content()) == (["Edited", "Line 2"], "Two: Hello")
    updated["messages"][0]["content"] = "Edited again"
    happen(desk, conversation={"id": talk(1), **about}, messages_added=0, **updated)
    assert lines(desk) == ["Edited again", "Line 2"]
    desk.press("Edited")
    assert desk.shown(".versions li") == ["First of 1"]
    desk.press("Close", "dialog")
    desk.run("project.say(1, 3, project.at(-0.5))")
    happen(desk, "conversation.changed", conversation_id=talk(1))
    assert lines(desk)[-1] == "Line 3"
    calls = desk.calls("GET conversations")
    for _ in range(3):
        desk.page.evaluate("given => project.change_of(...given)", [TOPIC, "conversation.updated", {"conversation": {"id": talk(2), **about}}])
    desk.settle()
    assert (len(calls) > 0, len(desk.calls("GET conversations"))) == (True, 1)
    page.locator(".account select").select_option("Atelier")
    desk.settle()
    assert f"workspace:{ATELIER}" in page.evaluate("project.topics()") and TOPIC not in page.evaluate("project.topics()")


def test_thread_pages_keep_messages_of_one_moment(desk: Desk) -> None:
    # 350 messages, of which 250 are of one moment, so that each edge lies between equal times.
    before = f"""{SAY}
    for (const n of range(350, (each) => each)) say(1, String(n).padStart(3, "0"), n > 50 && n <= 300 ? at(-100) : at(n - 400),
      {{ sequence: n > 100 && n <= 250 ? 1 : n > 250 && n <= 300 ? 2 : 0, received_at: n > 150 && n <= 200 ? at(1) : at(0) }});
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    moved = [*range(1, 151), *range(201, 251), *range(151, 201), *range(251, 351)]  # received later

    def shown() -> list[int]:
        return [int(text.removeprefix("Line ")) for text in lines(desk)]

    assert shown() == moved[-100:]
    box = page.locator(".scroll")
    for _ in range(3):
        box.evaluate("box => box.scrollTop = 0")
        desk.settle()
        desk.settle()
    assert shown() == moved[:300]
    box.evaluate("box => box.scrollTop = box.scrollHeight")
    desk.settle()
    assert shown() == moved[50:]


def test_first_message_and_a_found_one_are_reached(desk: Desk) -> None:
    before = f"""{SAY} tables.conversations[0].message_count = 250;
    for (const n of range(250, (each) => each)) say(1, n, at(n - 300), {{ sender: "" }}, n === 100 ? {{ id: "m 0/%" }} : {{}});
    tables.conversation_messages[99].external_id = "m 0/%"; say(2, 100, at(-1));
    """
    page = desk.open(f"inbox/{talk(1)}/m%200%2F%25", before=before)
    assert desk.shown(".found .text") == ["Line 100"]
    assert lines(desk) == [f"Line {n}" for n in range(1, 201)]  # 99 before it, and 100 behind it
    desk.open(f"inbox/{talk(1)}/nothing", before=before)
    assert lines(desk)[-1] == "Line 250"
    page.get_by_text("More", exact=True).click()
    desk.press("First message")
    assert lines(desk)[0] == "Line 1"
    assert page.locator(".scroll").evaluate("box => box.scrollTop") == 0
    assert desk.shown(".newest") == ["Newest ↓"]
    desk.go(f"inbox/{talk(2)}")
    assert lines(desk) == ["Line 100"]
    assert desk.shown(".menu") == []


def test_messages_of_a_conversation_show_all_they_have(desk: Desk) -> None:
    before = f"""{SAY}
    tables.conversations.push(talk(7, {{ kind: "group", participant_name: "Club", message_count: 12345 }}));
    const group = (n, sender, more, message) => say(7, n, at(n - 60 * 24), {{ sender, ...more }}, message);
    group(1, "ann"); group(2, "ann", {{}}, {{ reply_to: "m1", forwarded: true, pinned: true }}); group(3, "ben", {{}}, {{ reply_to: 2 }});
    group(4, "me", {{}}, {{ direction: "outbound", status: "failed", failure: "Full", status_at: at(-1), content: "" }});
    group(5, "ben", {{}}, {{ deleted: true, edited_at: at(-1), reply_to: "m99" }}); group(6, "ben", {{}}, {{ type: "system", content: "", reactions: [] }});
    group(7, "ann", {{ stated_at: at(60) }}, {{ status: "read", status_at: at(-1), reactions: [{{ emoji: "👍", by: "Cy" }}, {{ emoji: "👍" }}, {{ emoji: "🎉", by: "Di" }}] }});
    """
    page = desk.open(f"inbox/{talk(7)}", before=before)
    assert desk.shown(".bubble") == [
        "ann Line 1 21:01",
        "Forwarded Reply to: Line 1 Line 2 Pinned 21:02",
        "ben Reply to an earlier message Line 3 21:03",
        "text without text 21:04 failed: Full",
        "ben Reply to an earlier message This message was deleted. 21:05",
        "system without text 21:06",
        "ann Line 7 👍 2 🎉 Wrong clock 22:00 read",
    ]
    classes = [each.get_attribute("class").split() for each in page.locator(".bubble").all()]
    assert classes[3:6] == [["bubble", "out"], ["bubble", "in"], ["bubble", "in", "system"]]
    labels = [each.get_attribute("aria-label") for each in page.locator(".bubble").all()]
    assert labels[3:6] == ["Sent text", "Received text", "Received system"]
    assert [each.get_attribute("title") for each in page.locator(".reaction").all()] == ["Cy, the participant", "Di"]
    assert page.locator(".bubble .bad").count() == 1
    assert [day.replace(",", "") for day in desk.shown(".day")] == ["Sunday 14 June 2026", "Monday 15 June 2026"]
    assert desk.shown(".about summary") == ["Group"]
    page.locator(".about summary").click()
    assert desk.shown(".facts dd") == ["Groups belong to no person.", "+49 7", "WhatsApp, ext 7", "12,345"]
    about = {"id": talk(7), "workspace_id": PERSONAL}
    happen(desk, conversation=about, messages_added=0, messages=[{"id": "m3", "sender": "ann", "type": "text", "content": "Wrong one"}])
    happen(desk, conversation=about, messages_added=0, messages=[{"id": "m3", "sender": "ben", "type": "text", "content": "Right one"}])
    assert lines(desk)[2] == "Right one"
    desk.run("project.tables.conversation_messages.at(-1).connection_id = project.id(203), project.tables.conversation_messages.at(-2).connection_id = project.id(204)")
    desk.go("inbox")
    desk.go(f"inbox/{talk(7)}")
    assert "apart" in desk.shown(".bubble .meta")[-2] and "sig" in desk.shown(".bubble .meta")[-1] and "wa_1" in desk.shown(".bubble .meta")[0]


def test_versions_of_a_message_are_in_their_order(desk: Desk) -> None:
    before = f"""{SAY}
    say(1, 1, at(-60), {{ original: {{ sent_at: at(-60), content: "One" }} }}, {{ content: "Three", edited_at: at(-1) }});
    const edit = (number, minutes, content, more) => tables.conversation_updates.push({{ conversation_id: id(100 + number), external_id: "m1", sender: "", type: "edited",
      at: at(minutes), value: {{ content }}, ...more }});
    edit(1, -10, "Three"); edit(1, -30, "Two"); edit(2, -20, "Other"); edit(1, -25, "Of another", {{ sender: "x" }}); edit(1, -15, "👍", {{ type: "reaction" }});
    edit(1, -14, "Another", {{ external_id: "m2" }});
    """
    desk.open(f"inbox/{talk(1)}", before=before)
    desk.press("Edited")
    assert desk.shown(".versions li") == ["15 Jun 2026, 20:00 One", "15 Jun 2026, 20:30 Two", "15 Jun 2026, 20:50 Three"]
    desk.press("Close", "dialog")
    assert desk.shown("dialog") == []


def test_conversation_says_why_it_has_its_person(desk: Desk) -> None:
    before = """
    Object.assign(tables.conversations[0], { people: { id: id(301), full_name: "Ann", phone: null }, matched_by: "phone_last_ten", message_count: 1,
      conversation_identifiers: [{ kind: "phone", value: "+49 1" }, { kind: "whatsapp_lid", value: "77@lid" }] });
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    summary = page.locator(".about summary")
    assert desk.shown(".about summary") == ["Matched to Ann"]
    summary.click()
    assert desk.shown(".facts dd")[:2] == ["Ann, because of the same last ten digits of the phone number", "+49 1 77@lid whatsapp_lid"]
    assert page.locator(".facts a").get_attribute("href") == "#/people/00000000-0000-4000-8000-000000000301"
    desk.go(f"inbox/{talk(2)}")
    assert desk.shown(".about summary") == ["Matched to no person"]
    summary.click()
    assert desk.shown(".facts dd")[0] == "No person fits, or two fit equally well. Add a person"
    assert page.locator(".facts a").get_attribute("href") == f"#/people/new/{talk(2)}"
    desk.go("inbox/nothing")
    assert desk.shown(".detail [role=alert]") == ["This conversation does not exist, or you may not see it."]


def test_conversation_is_read_once_seen(desk: Desk) -> None:
    before = f"{SAY} for (const n of range(250, (each) => each)) say(1, n, at(n - 300));"
    desk.open(f"inbox/{talk(1)}", before=before)
    last = "2026-06-15T11:10:00.000Z"
    assert desk.calls("POST rpc/mark") == [["POST rpc/mark_conversation_read", {"conversation_id": talk(1), "at": last}]]
    about = {"id": talk(1), "workspace_id": PERSONAL, "participant_name": "One"}
    happen(desk, conversation=about, messages_added=1)
    assert desk.calls("POST rpc/mark") == []
    desk.run("project.refusals['POST rpc/mark_conversation_read'] = null, project.say(1, 251, project.at(-40))")
    happen(desk, conversation=about, messages_added=1)
    assert {sent["at"] for _, sent in desk.calls("POST rpc/mark")} == {"2026-06-15T11:20:00.000Z"}
    desk.run("delete project.refusals['POST rpc/mark_conversation_read'], document.querySelector('.scroll').dispatchEvent(new Event('scroll'))")
    assert len(desk.calls("POST rpc/mark")) == 1
    desk.go("inbox")
    assert "unread" not in " ".join(desk.shown(ROWS))
    desk.open(f"inbox/{talk(1)}/m3", before=before)
    assert desk.calls("POST rpc/mark") == []


def test_stored_files_have_signed_links(desk: Desk) -> None:
    before = f"""{SAY} const at_storage = "/storage/v1/object/authenticated/attachments/";
    say(1, 1, at(-3), {{}}, {{ type: "file", content: "", media_url: `${{at_storage}}a/doc` }}); say(1, 2, at(-2), {{}}, {{ type: "image", media_url: `${{at_storage}}a/gone` }});
    say(1, 3, at(-1), {{}}, {{ type: "image", content: "", media_url: "https://x.test/p.png" }}); say(1, 4, at(-1), {{}}, {{ type: "image", deleted: true, media_url: `${{at_storage}}a/deleted` }});
    say(1, 5, at(0), {{}}, {{ type: "audio", content: "", media_url: `${{at_storage}}a/voice` }});
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    shown = desk.shown(".bubble")
    assert [text.rpartition(" ")[0] for text in shown[:4]] == [
        "Open the file", "This file is no longer available. Line 2", "Show photo from x.test", "This message was deleted.",
    ]  # fmt: skip
    assert page.get_by_role("link", name="Open the file").get_attribute("href") == "https://project.test/storage/v1/object/sign/a/doc?token=x&download="
    asked = sorted(path for _, sent in desk.calls("POST storage") for path in sent["paths"])
    assert asked == ["a/doc", "a/gone", "a/voice"]


def test_summary_of_a_conversation_links_to_its_messages(desk: Desk) -> None:
    summary = {"statements": [{"text": "A. ", "citations": ["m/1"]}], "citations": ["m/1"], "messageCount": 1, "omittedCount": 0}
    page = desk.open(f"inbox/{talk(1)}", before="tables.conversations[0].message_count = 1")
    desk.run("given => { project.answers[`service/conversations/${project.id(101)}/summarize`] = { data: given } }", summary)
    page.get_by_text("More", exact=True).click()
    desk.press("Summarize")
    assert page.locator("dialog sup a").get_attribute("href") == f"#/inbox/{talk(1)}/m%2F1"
    desk.open(f"inbox/{talk(1)}", before="tables.conversations[0].message_count = 1; delete project.config.service")
    page.get_by_text("More", exact=True).click()
    assert desk.shown(".menu button") == ["First message"]
