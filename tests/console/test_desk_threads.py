"""Conversations with many messages: equal times, groups, versions, files, and what is read."""

from tests.console.desk import Desk
from tests.console.rows import PERSONAL, SAY, change, lines, talk


def test_thread_pages_keep_messages_of_one_moment(desk: Desk) -> None:
    # 350 messages; 250 of them are of one moment, so that each edge lies between equal times.
    before = f"""{SAY}
    for (const n of range(350, (each) => each)) say(1, String(n).padStart(3, "0"),
      n > 50 && n <= 300 ? at(-100) : at(n - 400),
      {{ sequence: n > 100 && n <= 250 ? 1 : n > 250 && n <= 300 ? 2 : 0,
        received_at: n > 130 && n <= 180 ? at(1) : at(0) }});
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    moved = [*range(1, 131), *range(181, 251), *range(131, 181), *range(251, 351)]  # received later

    def shown() -> list[int]:
        return [int(text.removeprefix("Line ")) for text in lines(desk)]

    assert shown() == moved[-100:]
    box = page.locator(".scroll")
    for right in (moved[-200:], moved[-300:], moved[:300]):
        box.evaluate("box => box.scrollTop = 0")
        desk.settle()
        desk.settle()
        assert shown() == right
    box.evaluate("box => box.scrollTop = box.scrollHeight")
    desk.settle()
    assert shown() == moved[50:]


def test_messages_of_one_moment_have_an_order(desk: Desk) -> None:
    before = f"""{SAY}
    const moment = (n, micros, sequence, received, sender) => say(1, n, `2026-06-15T11:50:00.000${{micros}}Z`,
      {{ sequence, received_at: at(received), sender }}, {{ content: `${{n}} ${{sender}}`, reply_to: sender }});
    moment("b", 200, 1, 2, "c"); moment("b", 200, 1, 2, "b"); moment("b", 200, 1, 2, "a"); moment("a", 200, 1, 2, "");
    moment("z", 200, 1, 1, ""); moment("y", 200, 0, 3, ""); moment("z", 100, 0, 4, "x");
    """
    desk.open(f"inbox/{talk(1)}", before=before)
    assert lines(desk) == ["z x", "y", "z", "a", "b a", "b b", "b c"]
    assert desk.shown(".bubble .sender") == []  # of a group only


def test_first_message_and_a_found_one_are_reached(desk: Desk) -> None:
    before = f"""{SAY} tables.conversations[0].message_count = 250; const name = 'm 0/%",\\\\';
    for (const n of range(250, (each) => each)) say(1, n, at(n - 300), {{ sender: "" }},
      n === 100 ? {{ id: name }} : {{}});
    tables.conversation_messages[99].external_id = name; say(2, 100, at(-1), {{ external_id: name }});
    """
    page = desk.open(f"inbox/{talk(1)}/m%200%2F%25%22%2C%5C", before=before)
    assert desk.shown(".found .text") == ["Line 100"]
    assert lines(desk) == [f"Line {n}" for n in range(1, 201)]  # 99 before it, and 100 behind it
    queries = [query for _, query in desk.calls("GET conversation_messages")]
    assert {query.count("&sent_at=") for query in queries if "&or=" in query} == {1}
    desk.open(f"inbox/{talk(1)}/nothing", before=before)
    assert (lines(desk)[-1], desk.shown(".scroll [role=status]")) == ("Line 250", [])
    desk.go(f"inbox/{talk(1)}/m%200%2F%25%22%2C%5C")
    assert desk.shown(".found .text") == ["Line 100"]
    page.get_by_text("More", exact=True).click()
    desk.press("First message")
    assert lines(desk)[0] == "Line 1"
    assert page.locator(".scroll").evaluate("box => box.scrollTop") == 0
    assert desk.shown(".newest") == ["Newest ↓"]
    desk.go(f"inbox/{talk(2)}")
    assert lines(desk) == ["Line 100"]
    assert desk.shown(".menu") == []
    desk.open(
        f"inbox/{talk(1)}/m%200%2F%25%22%2C%5C", before=f"{before} project.failOnce('GET conversation_messages');"
    )
    assert (lines(desk)[-1], desk.shown(".scroll [role=status]")) == ("Line 250", [])


def test_messages_of_a_conversation_show_all_they_have(desk: Desk) -> None:
    before = f"""{SAY}
    tables.conversations.push(talk(7, {{ kind: "group", participant_name: "Club", message_count: 12345 }}));
    const group = (n, sender, more, message) => say(7, n, at(n - 60 * 24), {{ sender, ...more }}, message);
    group(0, "zed", {{}}, {{ content: 7, media_url: {{}}, reply_to: [1], status: "sent", status_at: {{}}, failure: {{}},
      forwarded: "x", pinned: 1, reactions: {{ length: 3 }} }});
    group(1, "ann"); group(2, "ann", {{}}, {{ reply_to: "m1", forwarded: true, pinned: true }}); group(3, "ben",
      {{}}, {{ reply_to: 2 }});
    group(4, "me", {{}}, {{ direction: "outbound", status: "failed", failure: "Full", status_at: at(-1),
      content: "" }});
    group(5, "ben", {{}}, {{ deleted: true, edited_at: at(-1), reply_to: "m99" }}); group(6, "ben", {{}},
      {{ type: "system", content: "", reply_to: "m4",
        reactions: [null, {{ emoji: {{}} }}, {{ emoji: 1, by: {{}} }}] }});
    group(7, "ann", {{ stated_at: at(60) }}, {{ status: "read", status_at: at(-1), reactions: [{{ emoji: "👍",
      by: "Cy" }}, {{ emoji: "👍" }}, {{ emoji: "🎉", by: "Di" }}] }});
    """
    page = desk.open(f"inbox/{talk(7)}", before=before)
    assert desk.shown(".bubble") == [
        "zed 7 21:00 sent",
        "ann Line 1 21:01",
        "Forwarded Reply to: Line 1 Line 2 Pinned 21:02",
        "ben Reply to an earlier message Line 3 21:03",
        "text without text 21:04 failed: Full",
        "ben Reply to an earlier message This message was deleted. 21:05",
        "Reply to: text system without text 1 21:06",
        "ann Line 7 👍 2 🎉 Wrong clock 22:00 read",
    ]
    classes = [each.get_attribute("class").split() for each in page.locator(".bubble").all()]
    assert classes[4:7] == [["bubble", "out"], ["bubble", "in"], ["bubble", "in", "system"]]
    labels = [each.get_attribute("aria-label") for each in page.locator(".bubble").all()]
    assert labels[4:7] == ["Sent text", "Received text", "Received system"]
    assert [each.get_attribute("title") for each in page.locator(".reaction").all()] == [
        "the participant",
        "Cy, the participant",
        "Di",
    ]
    assert page.locator(".bubble .bad").get_attribute("title") == "15/06/2026, 20:59:00"
    assert [day.replace(",", "") for day in desk.shown(".day")] == ["Sunday 14 June 2026", "Monday 15 June 2026"]
    assert desk.shown(".about summary") == ["Group"]
    page.locator(".about summary").click()
    assert desk.shown(".facts dd") == ["Groups belong to no person.", "+49 7", "WhatsApp, ext 7", "12,345"]
    about = {"id": talk(7), "workspace_id": PERSONAL}
    change(
        desk,
        conversation=about,
        messages_added=0,
        messages=[{"id": "m3", "sender": "ann", "type": "text", "content": "Wrong one"}],
    )
    change(
        desk,
        conversation=about,
        messages_added=0,
        messages=[{"id": "m3", "sender": "ben", "type": "text", "content": "Right one"}],
    )
    assert lines(desk)[3] == "Right one"
    long = {"id": "m1", "sender": "ann", "type": "text", "content": "x" * 200}
    change(desk, conversation=about, messages_added=0, messages=[long])
    assert desk.shown(".quote")[0] == f"Reply to: {'x' * 100}"
    desk.run(
        "project.tables.conversation_messages.at(-1).connection_id = project.id(203), "
        "project.tables.conversation_messages.at(-2).connection_id = project.id(204), "
        "project.tables.conversation_messages.at(-3).connection_id = project.id(299)"
    )
    desk.go("inbox")
    desk.go(f"inbox/{talk(7)}")
    assert "another connection" in desk.shown(".bubble .meta")[-3]
    assert "apart" in desk.shown(".bubble .meta")[-2]
    assert "sig" in desk.shown(".bubble .meta")[-1]
    assert "wa_1" in desk.shown(".bubble .meta")[0]


def test_versions_of_a_message_are_in_their_order(desk: Desk) -> None:
    before = f"""{SAY}
    say(1, 1, at(-60), {{ original: {{ sent_at: at(-60), content: "One" }} }}, {{ content: "Three",
      edited_at: at(-1) }});
    const edit = (number, minutes, content, more) =>
      tables.conversation_updates.push({{ conversation_id: id(100 + number), external_id: "m1", sender: "",
        type: "edited",
      at: at(minutes), value: {{ content }}, ...more }});
    edit(1, -10, "Three"); edit(1, -30, "Two"); edit(2, -20, "Other"); edit(1, -25, "Of another",
      {{ sender: "x" }}); edit(1, -15, "👍", {{ type: "reaction" }});
    edit(1, -14, "Another", {{ external_id: "m2" }}); edit(1, -12, "Nearly three");
    say(1, 3, at(-5), {{}}, {{ edited_at: at(-1) }}); edit(1, -4, "Only this", {{ external_id: "m3" }});
    """
    desk.open(f"inbox/{talk(1)}", before=before)
    desk.press("Edited", ".bubble[aria-label]:has-text('Line 3')")
    assert desk.shown(".versions li") == ["15 Jun 2026, 20:56 Only this"]
    desk.press("Close", "dialog")
    desk.press("Edited")
    assert desk.shown(".versions li") == [
        "15 Jun 2026, 20:00 One",
        "15 Jun 2026, 20:30 Two",
        "15 Jun 2026, 20:48 Nearly three",
        "15 Jun 2026, 20:50 Three",
    ]
    desk.press("Close", "dialog")
    assert desk.shown("dialog") == []


def test_conversation_says_why_it_has_its_person(desk: Desk) -> None:
    before = """
    Object.assign(tables.conversations[0], { people: { id: id(301), full_name: "Ann", phone: null },
      matched_by: "phone_last_ten", message_count: 1,
      conversation_identifiers: [{ kind: "phone", value: "+49 1" }, { kind: "whatsapp_lid", value: "77@lid" }] });
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    summary = page.locator(".about summary")
    assert desk.shown(".about summary") == ["Matched to Ann"]
    summary.click()
    assert desk.shown(".facts dd")[:2] == [
        "Ann, because of the same last ten digits of the phone number",
        "+49 1 77@lid whatsapp_lid",
    ]
    assert page.locator(".facts a").get_attribute("href") == "#/people/00000000-0000-4000-8000-000000000301"
    desk.run("const [it] = project.tables.conversations; it.people.full_name = 'Anna', it.matched_by = 'luck'")
    change(desk, conversation={"id": talk(1), "workspace_id": PERSONAL}, messages_added=0)
    assert desk.shown(".about summary") == ["Matched to Anna"]
    assert desk.shown(".facts dd")[0] == "Anna, because of luck"
    desk.run("project.hold('GET conversations')")
    desk.go(f"inbox/{talk(2)}")
    assert (desk.shown(".detail [role=alert]"), desk.shown(".detail [role=status]")) == ([], ["Loading …"])
    desk.run("project.release('GET conversations')")
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
    assert desk.calls("POST rpc/mark") == [
        ["POST rpc/mark_conversation_read", {"conversation_id": talk(1), "at": last}]
    ]
    about = {"id": talk(1), "workspace_id": PERSONAL, "participant_name": "One"}
    change(desk, conversation=about, messages_added=1)
    assert desk.calls("POST rpc/mark") == []
    desk.run("project.refusals['POST rpc/mark_conversation_read'] = null, project.say(1, 251, project.at(-40))")
    change(desk, conversation=about, messages_added=1)
    assert {sent["at"] for _, sent in desk.calls("POST rpc/mark")} == {"2026-06-15T11:20:00.000Z"}
    desk.run(
        "delete project.refusals['POST rpc/mark_conversation_read'], "
        "document.querySelector('.scroll').dispatchEvent(new Event('scroll'))"
    )
    assert [key for key, _ in desk.calls()] == ["POST rpc/mark_conversation_read", "GET conversations"]
    desk.run("project.say(2, 1, project.at(-40))")  # at the same time
    desk.go(f"inbox/{talk(2)}")
    assert [sent["conversation_id"] for _, sent in desk.calls("POST rpc/mark")] == [talk(2)]
    desk.go("inbox")
    assert "unread" not in " ".join(desk.shown(".list .rows .row"))
    desk.open(f"inbox/{talk(1)}/m3", before=before)
    assert desk.calls("POST rpc/mark") == []


def test_stored_files_have_signed_links(desk: Desk) -> None:
    before = f"""{SAY} const at_storage = "/storage/v1/object/authenticated/attachments/";
    say(1, 1, at(-3), {{}}, {{ type: "file", content: "", media_url: `${{at_storage}}a/doc` }}); say(1, 2, at(-2),
      {{}}, {{ type: "image", media_url: `${{at_storage}}a/gone` }});
    say(1, 3, at(-1), {{}}, {{ type: "image", content: "", media_url: "https://x.test/p.png" }}); say(1, 4, at(-1),
      {{}}, {{ type: "image", deleted: true, media_url: `${{at_storage}}a/deleted` }});
    say(1, 5, at(0), {{}}, {{ type: "audio", content: "", media_url: `${{at_storage}}a/voice` }});
    """
    page = desk.open(f"inbox/{talk(1)}", before=before)
    shown = desk.shown(".bubble")
    assert [text.rpartition(" ")[0] for text in shown[:4]] == [
        "Open the file",
        "This file is no longer available. Line 2",
        "Show photo from x.test",
        "This message was deleted.",
    ]
    assert (
        page.get_by_role("link", name="Open the file").get_attribute("href")
        == "https://project.test/storage/v1/object/sign/a/doc?token=x&download="
    )
    addresses = page.evaluate("[...document.querySelectorAll('audio, a.file')].map((each) => each.src || each.href)")
    assert addresses[-1].endswith("/a/voice?token=x")  # an element, or a link once it has failed
    asked = sorted(path for _, sent in desk.calls("POST storage") for path in sent["paths"])
    assert asked == ["a/doc", "a/gone", "a/voice"]
    desk.press("Show photo from x.test")
    other = {"id": "m3", "type": "image", "media_url": "https://y.test/p.png"}
    change(desk, conversation={"id": talk(1), "workspace_id": PERSONAL}, messages_added=0, messages=[other])
    assert desk.shown(".bubble")[2].startswith("Show photo from y.test")


def test_summary_of_a_conversation_links_to_its_messages(desk: Desk) -> None:
    summary = {
        "statements": [{"text": "A. ", "citations": ["m/1"]}],
        "citations": ["m/1"],
        "messageCount": 1,
        "omittedCount": 0,
    }
    page = desk.open(f"inbox/{talk(1)}", before="tables.conversations[0].message_count = 1")
    desk.run(
        "given => { project.answers[`service/conversations/${project.id(101)}/summarize`] = { data: given } }", summary
    )
    page.get_by_text("More", exact=True).click()
    desk.press("Summarize")
    assert page.locator("dialog sup a").get_attribute("href") == f"#/inbox/{talk(1)}/m%2F1"
    desk.open(f"inbox/{talk(1)}", before="tables.conversations[0].message_count = 1; delete project.config.service")
    page.get_by_text("More", exact=True).click()
    assert desk.shown(".menu button") == ["First message"]
