"""The inbox with many rows: pages, filters, and events of other conversations."""

from typing import Any

from tests.console.desk import Desk
from tests.console.rows import ATELIER, PERSONAL, SAY, TOPIC, change, lines, talk

ROWS = ".list .rows .row"
MANY = "tables.conversations = range(120, (n) => talk(n));"


def names(desk: Desk) -> list[int]:
    return [int(text.split("Person ")[1].split()[0]) for text in desk.shown(f"{ROWS} strong")]


def test_entry_shows_the_state_of_its_conversation(desk: Desk) -> None:
    before = """
    Object.assign(tables.conversations[0], { people: { id: id(301), full_name: "Ann Own", phone: null },
      platform: "signal", last_message_at: "2026-06-14T12:00:00Z" });
    tables.conversations.push(talk(4, { kind: "group",
      participant_name: "\\u200e\\u200f\\u202a\\u202eClub\\u2066\\u2069",
      last_message_preview: null, last_message_at: null }),
      talk(5, { participant_name: "", participant_identifier: "+1 5" }), talk(6, { participant_name: "\\u2066 ",
        platform: "fax", unread_count: 100 }));
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
    page = desk.open(
        "inbox",
        before=f"{MANY} tables.conversations.push(...range(3, (n) => talk(120 + n, {{ workspace_id: ATELIER }})))",
    )
    assert names(desk) == [*range(1, 51)]
    assert "order=last_message_at.desc,id.asc" in desk.calls("GET conversations")[-1][1]
    desk.press("More")
    assert names(desk) == [*range(1, 101)]
    # One that was below the edge comes to the top, and one is new.
    desk.run(
        "project.tables.conversations[109].last_message_at = project.at(1), "
        "project.tables.conversations.push(project.talk(130, { last_message_at: project.at(2) }))"
    )
    desk.press("More")
    assert sorted([*names(desk), 110, 130]) == sorted([*range(1, 121), 130])
    assert page.get_by_role("button", name="More").count() == 0
    change(desk, conversation={"id": talk(130), "workspace_id": PERSONAL})
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
    tables.conversations = [talk(1), talk(2, { platform: "signal", scope_id: id(91) }), talk(3,
      { scope_id: id(92) }), talk(4, { user_id: BOB }),
      talk(5, { participant_name: "Person 5 100% (a, b)", participant_identifier: "number" }), talk(6,
        { participant_name: "Person 6", participant_identifier: "+77 (x), y" })];
    """
    page = desk.open("inbox", before=before)
    source, platform, text = (
        page.get_by_label(each, exact=True) for each in ("Connection", "Platform", "Find by name or number")
    )
    assert desk.shown("[aria-label=Connection] option") == [
        "Any connection",
        "WhatsApp: apart",
        "Signal: sig",
        "WhatsApp: wa_1, wa_2",
    ]
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
    assert found(text, "5\\1") == [5]
    assert found(text, '5"" ') == []
    assert found(text, "Person_1") == [1]
    assert (found(text, "P%1"), found(text, "P*1")) == ([], [])
    assert found(text, "") == [1, 2, 3, 4, 5, 6]
    desk.open("inbox", before="tables.conversations = []; tables.messaging_connections.splice(1)")
    assert desk.shown(".list .empty") == ["No conversations Make a connection and send the first message."]
    assert page.get_by_label("Connection", exact=True).count() == 0


def test_answer_to_an_earlier_filter_is_dropped(desk: Desk) -> None:
    page = desk.open("inbox")
    text = page.get_by_label("Find by name or number")
    for refusal in ("null", "{ status: 500, body: { message: 'No' } }"):
        desk.run(
            f"project.hold('GET conversations'), project.refusals['GET conversations'] = {refusal}; if ({refusal} "
            "=== null) delete project.refusals['GET conversations']"
        )
        text.fill("Person 1")
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")
        desk.run("delete project.refusals['GET conversations']")
        text.fill("Person 2")
        desk.settle()
        desk.run("project.release('GET conversations')")
        assert (names(desk), desk.shown(".list [role=alert]")) == ([2], [])
    desk.run("project.refusals['GET conversations'] = { status: 500, body: { message: 'No' } }")
    change(desk, conversation={"id": talk(1), "workspace_id": PERSONAL})
    assert (names(desk), desk.shown(".list [role=alert]")) == ([2], ["No"])
    desk.run("delete project.refusals['GET conversations']")
    change(desk, conversation={"id": talk(1), "workspace_id": PERSONAL})
    assert desk.shown(".list [role=alert]") == []


def test_late_reload_keeps_the_filter(desk: Desk) -> None:
    held = "project.hold('POST rpc/mark_conversation_read')"
    page = desk.open(f"inbox/{talk(1)}", before=f"{SAY} say(1, 1, at(-9)); {held}")
    page.get_by_label("Find by name or number").fill("Person 2")
    desk.settle()
    assert names(desk) == [2]
    desk.run("project.release('POST rpc/mark_conversation_read')")
    assert names(desk) == [2]


def test_words_are_searched_in_all_messages(desk: Desk) -> None:
    hits = [
        {
            "conversation_id": talk(1),
            "participant_name": name,
            "message": {"id": key, "sent_at": "2026-06-14T12:00:00Z", "content": "x" * 300},
        }
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
    change(desk, conversation={"id": talk(3), "workspace_id": ATELIER, "participant_name": "Other"}, messages_added=1)
    assert (desk.calls(), news.text_content()) == ([], "")
    desk.run("project.say(1, 2, project.at(-1)), project.say(2, 2, project.at(-1))")
    about = {
        "workspace_id": PERSONAL,
        "participant_name": "Two",
        "participant_identifier": "+2",
        "last_message_preview": "Hello",
    }
    change(desk, conversation={"id": talk(2), **about}, messages_added=1)
    assert (lines(desk), news.text_content()) == (["First of 1"], "Two: Hello")
    assert [key for key, _ in desk.calls("GET")] == ["GET conversations"]
    change(desk, conversation={"id": talk(1), **about}, messages_added=1)
    assert lines(desk) == ["First of 1", "Line 2"]
    updated = {
        "messages": [
            {"id": "m1", "sender": "x", "direction": "inbound", "type": "text", "content": "Edited", "edited_at": "x"},
            {"id": "m9", "content": "None"},
        ]
    }
    change(desk, conversation={"id": talk(1), **about, "participant_name": "None"}, messages_added=0, **updated)
    assert (lines(desk), news.text_content()) == (["Edited", "Line 2"], "Two: Hello")
    updated["messages"][0]["content"] = "Edited again"
    change(desk, conversation={"id": talk(1), **about}, messages_added=0, **updated)
    assert lines(desk) == ["Edited again", "Line 2"]
    desk.press("Edited")
    assert desk.shown(".versions li") == ["First of 1"]
    desk.press("Close", "dialog")
    desk.run("project.say(1, 3, project.at(-0.5))")
    change(desk, "conversation.changed", conversation_id=talk(1))
    assert lines(desk)[-1] == "Line 3"
    calls = desk.calls("GET conversations")
    three = "([topic, event, payload]) => { for (const _ of [1, 2, 3]) project.change_of(topic, event, payload); }"
    desk.run(three, [TOPIC, "conversation.updated", {"conversation": {"id": talk(2), **about}}])
    assert (len(calls) > 0, len(desk.calls("GET conversations"))) == (True, 1)
    page.locator(".account select").select_option("Atelier")
    desk.settle()
    assert f"workspace:{ATELIER}" in page.evaluate("project.topics()")
    assert TOPIC not in page.evaluate("project.topics()")
    desk.open(f"inbox/{talk(1)}", before=f"{SAY} say(1, 1, at(-10)); project.hold('POST rpc/list_inbox_changes');")
    desk.run(
        "project.tables.conversations.push(project.talk(9)), project.say(1, 2, project.at(-1)), "
        "project.release('POST rpc/list_inbox_changes')"
    )
    assert (names(desk), lines(desk)) == ([1, 2, 9], ["Line 1", "Line 2"])
    desk.open("inbox", before="project.hold('POST rpc/list_inbox_changes')")
    desk.run("project.tables.conversations.push(project.talk(9)), project.release('POST rpc/list_inbox_changes')")
    assert names(desk) == [1, 2, 9]
