"""People and connections with several rows each, and the neighbours that must not change."""

import json
from typing import Any

from tests.console.desk import MATTY, Desk

PERSONAL, ATELIER, TEAM = (f"00000000-0000-4000-8000-{number:012}" for number in (11, 12, 13))
GENERAL, TWIN, SCOUT = (f"00000000-0000-4000-8000-{number:012}" for number in (31, 21, 22))
ROWS = ".list .rows .row"

WITHIN = "00000000-0000-4000-8000-0000000003"
PEOPLE = """
const person = (number, full_name, more) => tables.people.push({ id: id(300 + number), workspace_id: PERSONAL,
  full_name, phone: null, merged_into_id: null, ...more });
person(1, "Zoe", { phone: "+1 1" }); person(2, "Ann"); person(3, "Mia", { phone: "+3 3", merged_into_id: id(301) });
  person(4, "Far", { workspace_id: ATELIER });
person(5, "Ben 50%", { merged_into_id: id(302) });
const identifier = (number, kind, value, minutes, more) => tables.person_identifiers.push({ id: number,
  person_id: id(301), kind, value, app: null, created_at: at(minutes), ...more });
identifier(1, "email", "z@x", 2); identifier(2, "wechat_openid", "o1", 1, { app: "wx1" }); identifier(3, "email",
  "ann@x", 0, { person_id: id(302) });
for (const name of ["merge_people", "unmerge_people", "change_number", "undo_number_change"]) answers[name] = {};
Object.assign(tables.conversations[0], { person_id: id(301), matched_by: "phone" });
Object.assign(tables.conversations[1], { person_id: id(301), platform: "wechat", matched_by: "new_reason" });
tables.conversations.push(talk(4, { person_id: id(302) }), talk(5, { workspace_id: ATELIER, person_id: id(301) }),
  talk(6, { kind: "group" }),
  talk(7, { participant_identifier: "someone", participant_name: null, platform: "telegram" }), talk(8), talk(9,
    { workspace_id: ATELIER }), talk(10, { participant_identifier: "x", platform: "signal" }));
"""


def person(number: int) -> str:
    return f"{WITHIN}{number:02}"


def sent(desk: Desk, start: str) -> list[Any]:
    return [body for _, body in desk.calls(start)]


def form(desk: Desk, section: str, **values: str) -> None:
    """Fill in a form of a section and send it."""
    region = desk.page.get_by_role("region", name=section, exact=True)
    for label, value in values.items():
        region.get_by_label(label.replace("_", " "), exact=True).fill(value)


def test_people_are_found_by_their_name(desk: Desk) -> None:
    page = desk.open("people", before=PEOPLE)
    right = [
        "Conversations without a person",
        "A Ann No number",
        "B5 Ben 50% No number, merged into another",
        "M Mia +3 3, merged into another",
        "Z Zoe +1 1",
    ]
    assert desk.shown(ROWS) == right
    for text, found in (
        ("n", ["A Ann No number", right[2]]),
        ("0%", [right[2]]),
        ("%", [right[2]]),
        ("_", []),
        ("\\", []),
        ("a*nn", []),
        ("zoe", ["Z Zoe +1 1"]),
    ):
        page.get_by_label("Find by name").fill(text)
        desk.settle()
        assert desk.shown(ROWS)[1:] == found
    page.get_by_label("Find by name").fill("nobody")
    desk.settle()
    assert desk.shown(".list .empty") == ["No person fits"]
    page.get_by_text("Add a person").click()
    page.get_by_label("Find by name").fill("")
    desk.settle()
    assert "limit=200" in desk.calls("GET people")[-1][1]
    page.locator(".add").get_by_label("Name").fill("Cy")
    desk.press("Add", ".add")
    assert sent(desk, "POST people") == [{"workspace_id": PERSONAL, "full_name": "Cy", "phone": None}]
    assert "C Cy No number" in " ".join(desk.shown(".list"))
    page.locator(".add").get_by_label("Name").fill("Di")
    page.locator(".add").get_by_label("Phone number").fill("+9")
    desk.press("Add", ".add")
    assert sent(desk, "POST people") == [{"workspace_id": PERSONAL, "full_name": "Di", "phone": "+9"}]


def test_person_shows_only_its_own_rows(desk: Desk) -> None:
    page = desk.open(f"people/{person(1)}", before=PEOPLE)
    assert desk.shown("[aria-current=true]") == ["Z Zoe +1 1"]
    assert desk.shown("[aria-label=Identifiers] li") == [
        "+1 1 phone Undo the last change",
        "o1 wechat_openid wx1 Remove",
        "z@x email Remove",
    ]
    assert desk.shown("[aria-label=Merge] li") == ["Mia +3 3 Undo"]
    assert desk.shown("[aria-label=Merge] option") == ["Ann"]
    assert desk.shown("[aria-label=Conversations] .row") == [
        "Person 1 20:59 WhatsApp, the same phone number",
        "Person 2 20:58 WeChat, new_reason",
    ]
    assert page.locator("[aria-label=Conversations] .row").first.get_attribute("href").startswith("#/inbox/")
    kinds = [
        "phone",
        "whatsapp lid",
        "whatsapp bsuid",
        "signal uuid",
        "telegram id",
        "telegram username",
        "wechat openid",
        "wechat unionid",
        "email",
    ]
    assert desk.shown("[aria-label=Identifiers] option") == kinds
    assert "limit=50" in next(query for _, query in desk.calls("GET conversations") if "matched_by" in query)
    desk.press("Undo the last change")
    assert sent(desk, "POST rpc/undo") == [{"person_id": person(1)}]
    desk.press("Remove", "[aria-label=Identifiers]")
    assert page.evaluate("project.tables.person_identifiers.map((each) => each.id)") == [1, 3]
    assert len(desk.shown("[aria-label=Identifiers] li")) == 2
    form(desk, "Identifiers", Identifier="i@x")
    page.get_by_label("Kind").select_option("email")
    desk.press("Add", "[aria-label=Identifiers]")
    assert sent(desk, "POST person_identifiers") == [
        {"person_id": person(1), "kind": "email", "value": "i@x", "app": ""}
    ]
    desk.run("""void (project.answers.change_number = ({ person_id: id, phone }) => {
      project.tables.people.find((each) => each.id === id).phone = phone;
    })""")
    form(desk, "Identifiers", New_number="+5")
    desk.press("Change the number")
    assert sent(desk, "POST rpc/change") == [{"person_id": person(1), "phone": "+5"}]
    assert desk.shown("[aria-current=true]") == ["Z Zoe +5"]
    desk.press("Undo", "[aria-label=Merge]")
    assert sent(desk, "POST rpc/unmerge") == [{"person_id": person(3)}]
    desk.calls()
    desk.press("Merge", "[aria-label=Merge]")
    calls = desk.calls()
    assert calls[0] == ["POST rpc/merge_people", {"person_id": person(1), "merged_person_id": person(2)}]
    assert {"GET people", "GET person_identifiers", "GET conversations"} <= {key for key, _ in calls}
    desk.go(f"people/{person(3)}")
    assert desk.shown(".note") == ["This entry is the same person as another one. Undo"]
    assert (page.locator(".note a").get_attribute("href"), desk.shown("[aria-label=Merge] form")) == (
        f"#/people/{person(1)}",
        [],
    )
    desk.press("Undo", ".note")
    assert sent(desk, "POST rpc/unmerge") == [{"person_id": person(3)}]
    desk.go("people/nothing")
    assert desk.shown(".detail [role=alert]") == ["This person does not exist, or you may not see it."]
    desk.go(f"people/{person(2)}")
    assert desk.shown("[aria-label=Identifiers] li") == [
        "No phone number phone Undo the last change",
        "ann@x email Remove",
    ]
    desk.go(f"people/{person(5)}")
    assert desk.shown("[aria-label=Conversations]") == ["Conversations No conversation matches."]
    desk.open(f"people/{person(1)}", before=f"{PEOPLE} tables.people.length = 1")
    assert desk.shown("[aria-label=Merge] form") == []


def test_conversations_without_a_person_get_one(desk: Desk) -> None:
    before = f"""{PEOPLE}
    const told = (number, kind, value, app) =>
      tables.conversation_identifiers.push({{ conversation_id: id(100 + number), kind, value, app: app ?? null }});
    told(8, "phone", "+49 8"); told(8, "whatsapp_lid", "8@lid"); told(8, "phone_national", "8"); told(1, "email",
      "other"); told(10, "phone_last_ten", "1");
    """
    phone = "+49 (8) 8.8-8"
    numbers = f"tables.conversations.find((each) => each.id === id(108)).participant_identifier = '{phone}';"
    page = desk.open("people/unmatched", before=before + numbers)
    assert "limit=50" in desk.calls("GET conversations")[-1][1]
    assert desk.shown("[aria-current=true]") == ["Conversations without a person"]
    cards = ".detail .rows > li"
    assert [text.split(" Give")[0] for text in desk.shown(cards)] == [
        "someone 20:53 Telegram",
        "Person 8 20:52 WhatsApp",
        "Person 10 20:50 Signal",
    ]
    card = page.locator(cards)
    card.nth(1).get_by_text("Give it a person").click()
    assert desk.shown(f"{cards}:nth-child(2) option") == ["A new person", "Ann", "Zoe"]
    assert card.nth(1).get_by_label("Name of a new person").input_value() == "Person 8"
    desk.calls()
    card.nth(1).get_by_role("button", name="Save").click()
    desk.settle()
    calls = desk.calls()
    assert [body for key, body in calls if key == "POST people"] == [
        {"workspace_id": PERSONAL, "full_name": "Person 8", "phone": phone}
    ]
    assert [key for key, _ in calls if key.startswith("POST")] == ["POST people"]
    assert {"GET conversations", "GET people"} <= {key for key, _ in calls}
    card.nth(1).locator("select").select_option("Ann")
    card.nth(1).get_by_role("button", name="Save").click()
    desk.settle()
    rows = [
        {"kind": kind, "value": value, "app": None, "person_id": person(2)}
        for kind, value in (("phone", "+49 8"), ("whatsapp_lid", "8@lid"))
    ]
    found = sent(desk, "POST")
    assert sorted(found[0], key=lambda row: row["kind"]) == rows
    assert len(found) == 1
    assert (
        page.evaluate("project.sent.findLast((each) => each[0] === 'POST person_identifiers')[1]")
        == "on_conflict=person_id,kind,app,value"
    )
    card.nth(0).get_by_text("Give it a person").click()
    card.nth(0).get_by_label("Name of a new person").fill("Some One")
    card.nth(0).get_by_role("button", name="Save").click()
    desk.settle()
    first, second = sent(desk, "POST")
    assert first == {"workspace_id": PERSONAL, "full_name": "Some One", "phone": None}
    assert [(row["kind"], row["value"]) for row in second] == [("telegram_username", "someone")]
    card.nth(2).get_by_text("Give it a person").click()
    card.nth(2).locator("select").select_option("Zoe")
    card.nth(2).get_by_role("button", name="Save").click()
    desk.settle()
    assert desk.shown(f"{cards} [role=alert]") == [
        "x identifies no person by itself. Add an identifier to the person by hand."
    ]
    card.nth(2).locator("select").select_option("A new person")
    card.nth(2).get_by_role("button", name="Save").click()
    desk.settle()
    assert (len(desk.shown(f"{cards} [role=alert]")), sent(desk, "POST")) == (1, [])
    desk.run("project.tables.conversations.push(project.talk(11, { participant_identifier: '+1 (2) 3.4-5' }))")
    desk.go("people/new/00000000-0000-4000-8000-000000000111")
    card.locator("select").select_option("Zoe")
    desk.calls()
    desk.press("Save")
    assert sent(desk, "POST") == [[{"kind": "phone", "value": "+1 (2) 3.4-5", "person_id": person(1)}]]
    desk.go("people/new/00000000-0000-4000-8000-000000000108")
    assert desk.shown(".detail h2") == ["Add a person"]
    assert (len(desk.shown(cards)), page.locator("details[open] form").count()) == (1, 1)
    desk.run("project.tables.conversations.length = 0")
    desk.go("people/unmatched")
    assert desk.shown(".detail .empty") == ["Every conversation has its person"]
    refusals = "for (const name of ['people', 'conversations']) project.refusals[`GET ${name}`] = null"
    desk.open("people/unmatched", before=refusals)
    assert (desk.shown(".empty"), len(desk.shown(".list [role=alert]"))) == ([], 1)
    assert len(desk.shown(".detail [role=alert]")) == 1


KEYS = """
Object.assign(tables.messaging_connections[0], { keys: [{ id: 1, created_at: at(-60), last_used_at: at(-5),
  expires_at: null },
  { id: 2, created_at: at(-120), last_used_at: null, expires_at: at(60) }, { id: 3, created_at: at(-180),
    last_used_at: null, expires_at: at(0) }] });
const line = (number, status, more) => tables.ingest_log.push({ id: number, workspace_id: PERSONAL, at: at(-number),
  connection_id: "wa_1", status, requests: 1, conversations: 2, key_id: 1,
  messages_added: 3, errors: null, ...more });
line(1, 200); line(2, 401, { requests: 4 }); line(3, 422, { errors: ["one", "two"], conversations: 0 }); line(4,
  200, { workspace_id: ATELIER }); line(5, 429);
for (const name of ["revoke_messaging_key"]) answers[name] = {};
answers.create_messaging_connection = ({ connection_id = "made", ...body }) => {
  tables.messaging_connections.push(connection(9, { connection_id, platform: body.platform, created_at: at(1),
    keys: [{ id: 8, created_at: at(0), last_used_at: null, expires_at: at(1) },
      { id: 9, created_at: at(1), last_used_at: null, expires_at: null }] }));
  return { ...body, connection_id, api_secret: "s3cret" };
};
project.line = line;
project.arrive = (number, more) => {
  line(100 + number, 200, { key_id: 9, messages_added: 1, ...more });
  const about = { id: id(700 + number), workspace_id: PERSONAL, participant_name: `Ada ${number}` };
  tables.conversations.push(project.talk(number, { platform: "telegram", updated_at: at(number), ...about }));
  return about;
};
project.tell = (...given) =>
  project.change_of(`inbox:${MATTY}`, "conversation.updated", { conversation: project.arrive(...given) });
tables.conversations.forEach((each) => each.updated_at = at(500));
tables.conversations.push(talk(9, { workspace_id: ATELIER, platform: "telegram", updated_at: at(600) }));
answers.rotate_messaging_key = ({ connection_id: name }) => {
  tables.messaging_connections.find((each) => each.connection_id === name).keys = [{ id: 4, created_at: at(-60),
    last_used_at: null, expires_at: null }];
  return { api_secret: "n3w" };
};
"""


def test_connections_show_their_keys_and_states(desk: Desk) -> None:
    page = desk.open("import", before=KEYS)
    assert [text.split(" Rotate")[0] for text in desk.shown(".card-top")] == [
        "wa_1 WhatsApp",
        "wa_2 WhatsApp",
        "sig Signal Inactive",
        "apart WhatsApp Apart",
    ]
    assert desk.shown(".keys li") == [
        "Key of 15 Jun 2026, 20:00, used 15 Jun 2026, 20:55 Revoke",
        "Key of 15 Jun 2026, 19:00, never used, ends 15 Jun 2026, 22:00 Revoke",
        "Key of 15 Jun 2026, 18:00, never used, ended 15 Jun 2026, 21:00",
    ]
    assert desk.shown("tbody tr") == [
        "15 Jun 2026, 20:55 wa_1 429 2 3",
        "15 Jun 2026, 20:57 wa_1 422 0 3 one; two",
        "15 Jun 2026, 20:58 wa_1 401 \u00d7 4 2 3 wrong key",
        "15 Jun 2026, 20:59 wa_1 200 2 3",
    ]
    assert [each.get_attribute("class") for each in page.locator("td:nth-child(3)").all()] == ["bad", "bad", "bad", ""]
    desk.run(
        "topic => { project.line(6, 200); "
        "project.change_of(topic, 'conversation.updated', { conversation: { id: 1 } }); }",
        f"inbox:{MATTY}",
    )
    assert desk.shown("tbody tr")[0] == "15 Jun 2026, 20:54 wa_1 200 2 3"
    assert (
        desk.shown("[aria-label=Histories] code")[0]
        == "threadline import chat.zip --url https://project.test --connection wa_1 --dry-run"
    )
    desk.calls()
    page.locator(".keys li").nth(1).get_by_role("button", name="Revoke").click()
    desk.settle()
    calls = desk.calls()
    assert calls[0] == ["POST rpc/revoke_messaging_key", {"key_id": 2}]
    assert "GET messaging_connections" in [key for key, _ in calls]
    page.locator(".card").nth(2).get_by_role("button", name="Activate").click()
    desk.settle()
    assert page.evaluate("project.tables.messaging_connections.map((each) => each.is_active)") == [
        True,
        True,
        True,
        True,
        True,
    ]
    desk.calls()
    page.locator(".card").nth(1).get_by_role("button", name="Deactivate").click()
    desk.settle()
    assert "Inactive" in desk.shown(".card-top")[1]
    assert {"GET messaging_connections", "GET ingest_log"} <= {key for key, _ in desk.calls()}
    desk.press("Rotate", ".card:nth-child(4)")
    assert sent(desk, "POST rpc/rotate") == [{"connection_id": "apart", "overlap": "24 hours"}]
    assert desk.shown("dialog h2") == ["Secret of apart"]
    assert desk.shown("dialog .secret code") == ["n3w"]
    assert desk.shown(".card:nth-child(4) .keys li") == ["Key of 15 Jun 2026, 20:00, never used Revoke"]
    desk.press("Close", "dialog")
    desk.run("project.tables.messaging_connections[0].only = 'another'")  # a policy hides it
    desk.press("Deactivate", ".card:nth-child(1)")
    assert desk.shown(".card [role=alert]") == ["Cannot coerce the result to a single JSON object"]
    desk.open("import", before="project.refusals['GET messaging_connections'] = null")
    assert desk.shown(".empty") == ["Nothing came in yet"]


def test_new_connection_shows_its_secret_and_waits(desk: Desk) -> None:
    page = desk.open(
        "import",
        before=f"{KEYS} project.config.command = '.venv/bin/threadline'; "
        "tables.messaging_connections.forEach((each) => each.is_active = false)",
    )
    assert desk.shown("[aria-label=Histories] code")[0].startswith(
        ".venv/bin/threadline import chat.zip --url https://project.test --connection NAME"
    )
    page.get_by_label("Platform").select_option("Telegram")
    desk.press("Create")
    assert sent(desk, "POST rpc/create") == [{"platform": "telegram", "workspace_id": PERSONAL, "is_apart": False}]
    assert desk.shown(".card-top h3")[0] == "made"
    command = page.locator("dialog pre").inner_text()
    assert "https://project.test/functions/v1/messaging-ingest" in command
    assert "x-api-key: s3cret" in command
    assert '"platform":"telegram","connection_id":"made"' in command
    assert '"sent_at":"2026-06-15T12:00:00.000Z"' in command
    assert command.startswith('curl -sS -w "\\n" https://project.test')
    assert "-H 'Content-Type: application/json'" in command
    (conversation,) = json.loads(command.partition("-d '")[2].removesuffix("'"))["conversations"]
    assert conversation["participant_identifier"].startswith("+")
    (first,) = conversation["messages"]
    assert (first["id"], first["direction"], first["type"]) == ("console-1781524800000", "inbound", "text")
    waiting = "Waiting for the first message …"
    assert waiting in desk.shown("dialog")[0]
    for line in ({"key_id": 8}, {"messages_added": 0}, {"workspace_id": TEAM}):
        desk.run("line => project.tell(1, line)", line)
        assert waiting in desk.shown("dialog")[0]
    desk.run("() => project.tell(3)")
    assert "It arrived. Open Ada 3" in desk.shown("dialog")[0]
    desk.calls()
    desk.run("() => project.tell(4)")
    assert "GET conversations" not in {key for key, _ in desk.calls()}
    link = page.get_by_role("link", name="Open Ada 3")
    assert link.get_attribute("href") == "#/inbox/00000000-0000-4000-8000-000000000703"
    desk.press("Close", "dialog")
    name = page.get_by_label("Name", exact=True)
    for text, is_valid in (("a-Z_z.0A9", True), ("a" * 100, True), ("a" * 101, False), ("a b", False), ("é", False)):
        name.fill(text)
        assert name.evaluate("input => input.validity.valid") == is_valid
    name.fill("my.name")
    page.get_by_label("Keep its conversations apart").check()
    desk.press("Create")
    made = {"platform": "whatsapp", "connection_id": "my.name", "workspace_id": PERSONAL, "is_apart": True}
    assert sent(desk, "POST rpc/create") == [made]
    desk.open(
        "import",
        before=f"{KEYS} localStorage.setItem('threadline.workspace', TEAM); "
        "tables.messaging_connections[0].workspace_id = TEAM",
    )
    assert desk.shown(".page > p") == ["Owners and admins of this workspace make connections."]
    assert page.locator(".card button, [aria-label='Ingest log'], .keys").count() == 0
    desk.open("import", before="localStorage.setItem('threadline.workspace', TEAM)")
    assert desk.shown(".empty") == ["No connections"]


def test_message_before_the_first_event_is_noticed(desk: Desk) -> None:
    page = desk.open("import", before=f"{KEYS} project.hold('POST rpc/list_inbox_changes');")
    assert desk.shown("tbody tr")[0] == "15 Jun 2026, 20:55 wa_1 429 2 3"
    assert "limit=50" in desk.calls("GET ingest_log")[0][1]
    desk.run("() => { project.line(6, 200); project.release('POST rpc/list_inbox_changes'); }")
    assert desk.shown("tbody tr")[0] == "15 Jun 2026, 20:54 wa_1 200 2 3"
    page.get_by_label("Platform").select_option("Telegram")
    desk.run("() => project.hold('POST rpc/list_inbox_changes')")
    desk.press("Create")
    assert "Waiting for the first message" in desk.shown("dialog")[0]
    desk.run("() => { project.arrive(1); project.release('POST rpc/list_inbox_changes'); }")
    assert "It arrived. Open Ada 1" in desk.shown("dialog")[0]
