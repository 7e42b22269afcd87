"""People, connections, twins and the workspace with several rows each, and the neighbours that must not change."""

from typing import Any

from tests.console.desk import BOB, MATTY, Desk

PERSONAL, ATELIER, TEAM = (f"00000000-0000-4000-8000-{number:012}" for number in (11, 12, 13))
GENERAL, TWIN, SCOUT = (f"00000000-0000-4000-8000-{number:012}" for number in (31, 21, 22))
ROWS = ".list .rows .row"
PEOPLE = """
const person = (number, full_name, more) => tables.people.push({ id: id(300 + number), workspace_id: PERSONAL, full_name, phone: null, merged_into_id: null, ...more });
person(1, "Zoe", { phone: "+1 1" }); person(2, "Ann"); person(3, "Mia", { phone: "+3 3", merged_into_id: id(301) }); person(4, "Far", { workspace_id: ATELIER });
person(5, "Ben 50%", { merged_into_id: id(302) });
const identifier = (number, kind, value, minutes, more) => tables.person_identifiers.push({ id: number, person_id: id(301), kind, value, app: null, created_at: at(minutes), ...more });
identifier(1, "email", "z@x", 2); identifier(2, "wechat_openid", "o1", 1, { app: "wx1" }); identifier(3, "email", "ann@x", 0, { person_id: id(302) });
for (const name of ["merge_people", "unmerge_people", "change_number", "undo_number_change"]) answers[name] = {};
Object.assign(tables.conversations[0], { person_id: id(301), matched_by: "phone" });
Object.assign(tables.conversations[1], { person_id: id(301), platform: "wechat", matched_by: "new_reason" });
tables.conversations.push(talk(4, { person_id: id(302) }), talk(5, { workspace_id: ATELIER, person_id: id(301) }), talk(6, { kind: "group" }),
  talk(7, { participant_identifier: "someone", participant_name: null, platform: "telegram" }), talk(8), talk(9, { workspace_id: ATELIER }), talk(10, { participant_identifier: "x", platform: "wechat" }));
"""
WITHIN = "00000000-0000-4000-8000-0000000003"


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
    right = ["Conversations without a person", "A Ann No number", "B5 Ben 50% No number, merged into another", "M Mia +3 3, merged into another", "Z Zoe +1 1"]
    assert desk.shown(ROWS) == right
    for text, found in (("n", ["A Ann No number", right[2]]), ("0%", [right[2]]), ("%", [right[2]]), ("_", []), ("zoe", ["Z Zoe +1 1"])):
        page.get_by_label("Find by name").fill(text)
        desk.settle()
        assert desk.shown(ROWS)[1:] == found
    page.get_by_label("Find by name").fill("nobody")
    desk.settle()
    assert desk.shown(".list .empty") == ["No person fits"]
    page.get_by_text("Add a person").click()
    page.get_by_label("Find by name").fill("")
    desk.settle()
    desk.calls()
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
    assert desk.shown("[aria-label=Identifiers] li") == ["+1 1 phone Undo the last change", "o1 wechat_openid wx1 Remove", "z@x email Remove"]
    assert desk.shown("[aria-label=Merge] li") == ["Mia +3 3 Undo"]
    assert desk.shown("[aria-label=Merge] option") == ["Ann"]
    assert desk.shown("[aria-label=Conversations] .row") == ["Person 1 20:59 WhatsApp, the same phone number", "Person 2 20:58 WeChat, new_reason"]
    assert page.locator("[aria-label=Conversations] .row").first.get_attribute("href").startswith("#/inbox/")
    kinds = ["phone", "whatsapp lid", "whatsapp bsuid", "signal uuid", "telegram id", "telegram username", "wechat openid", "wechat unionid", "email"]
    assert desk.shown("[aria-label=Identifiers] option") == kinds
    desk.calls()
    desk.press("Undo the last change")
    assert sent(desk, "POST rpc/undo") == [{"person_id": person(1)}]
    desk.press("Remove", "[aria-label=Identifiers]")
    assert page.evaluate("project.tables.person_identifiers.map((each) => each.id)") == [1, 3]
    assert len(desk.shown("[aria-label=Identifiers] li")) == 2
    form(desk, "Identifiers", Identifier="i@x")
    page.get_by_label("Kind").select_option("email")
    desk.press("Add", "[aria-label=Identifiers]")
    assert sent(desk, "POST person_identifiers") == [{"person_id": person(1), "kind": "email", "value": "i@x", "app": ""}]
    form(desk, "Identifiers", New_number="+5")
    desk.press("Change the number")
    assert sent(desk, "POST rpc/change") == [{"person_id": person(1), "phone": "+5"}]
    desk.press("Undo", "[aria-label=Merge]")
    assert sent(desk, "POST rpc/unmerge") == [{"person_id": person(3)}]
    desk.calls()
    desk.press("Merge", "[aria-label=Merge]")
    calls = desk.calls()
    assert calls[0] == ["POST rpc/merge_people", {"person_id": person(1), "merged_person_id": person(2)}]
    assert {"GET people", "GET person_identifiers", "GET conversations"} <= {key for key, _ in calls}
    desk.go(f"people/{person(3)}")
    assert desk.shown(".note") == ["This entry is the same person as another one. Undo"]
    assert (page.locator(".note a").get_attribute("href"), desk.shown("[aria-label=Merge] form")) == (f"#/people/{person(1)}", [])
    desk.press("Undo", ".note")
    assert sent(desk, "POST rpc/unmerge") == [{"person_id": person(3)}]
    desk.go("people/nothing")
    assert desk.shown(".detail [role=alert]") == ["This person does not exist, or you may not see it."]
    desk.go(f"people/{person(2)}")
    assert desk.shown("[aria-label=Identifiers] li") == ["No phone number phone Undo the last change", "ann@x email Remove"]


def test_conversations_without_a_person_get_one(desk: Desk) -> None:
    before = f"""{PEOPLE}
    const told = (number, kind, value, app) => tables.conversation_identifiers.push({{ conversation_id: id(100 + number), kind, value, app: app ?? null }});
    told(8, "phone", "+49 8"); told(8, "whatsapp_lid", "8@lid"); told(8, "phone_national", "8"); told(1, "email", "other");
    """
    page = desk.open("people/unmatched", before=before)
    cards = ".detail .rows > li"
    assert [text.split(" Give")[0] for text in desk.shown(cards)] == ["someone 20:53 Telegram", "Person 8 20:52 WhatsApp", "Person 10 20:50 WeChat"]
    card = page.locator(cards)
    card.nth(1).get_by_text("Give it a person").click()
    assert desk.shown(f"{cards}:nth-child(2) option") == ["A new person", "Ann", "Zoe"]
    assert card.nth(1).get_by_label("Name of a new person").input_value() == "Person 8"
    desk.calls()
    card.nth(1).get_by_role("button", name="Save").click()
    desk.settle()
    calls = desk.calls()
    assert [body for key, body in calls if key == "POST people"] == [{"workspace_id": PERSONAL, "full_name": "Person 8", "phone": "+49 8"}]
    assert [key for key, _ in calls if key.startswith("POST")] == ["POST people"]
    assert {"GET conversations", "GET people"} <= {key for key, _ in calls}
    card.nth(1).locator("select").select_option("Ann")
    card.nth(1).get_by_role("button", name="Save").click()
    desk.settle()
    rows = [{"kind": kind, "value": value, "app": None, "person_id": person(2)} for kind, value in (("phone", "+49 8"), ("whatsapp_lid", "8@lid"))]
    found = sent(desk, "POST")
    assert sorted(found[0], key=lambda row: row["kind"]) == rows and len(found) == 1
    assert page.evaluate("project.sent.findLast((each) => each[0] === 'POST person_identifiers')[1]") == "on_conflict=person_id,kind,app,value"
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
    assert desk.shown(f"{cards} [role=alert]") == ["x identifies no person by itself. Add an identifier to the person by hand."]
    desk.go("people/new/00000000-0000-4000-8000-000000000108")
    assert desk.shown(".detail h2") == ["Add a person"]
    assert (len(desk.shown(cards)), page.locator("details[open] form").count()) == (1, 1)
    desk.run("project.tables.conversations.length = 0")
    desk.go("people/unmatched")
    assert desk.shown(".detail .empty") == ["Every conversation has its person"]


KEYS = """
Object.assign(tables.messaging_connections[0], { keys: [{ id: 1, created_at: at(-60), last_used_at: at(-5), expires_at: null },
  { id: 2, created_at: at(-120), last_used_at: null, expires_at: at(60) }, { id: 3, created_at: at(-180), last_used_at: null, expires_at: at(0) }] });
const line = (number, status, more) => tables.ingest_log.push({ id: number, workspace_id: PERSONAL, at: at(-number), connection_id: "wa_1", status, requests: 1, conversations: 2,
  messages_added: 3, errors: null, ...more });
line(1, 200); line(2, 401, { requests: 4 }); line(3, 422, { errors: ["one", "two"], conversations: 0 }); line(4, 200, { workspace_id: ATELIER }); line(5, 429);
for (const name of ["revoke_messaging_key"]) answers[name] = {};
answers.create_messaging_connection = (body) => ({ ...body, connection_id: body.connection_id ?? "made", api_secret: "s3cret" });
answers.rotate_messaging_key = { api_secret: "n3w" };
"""


def test_connections_show_their_keys_and_states(desk: Desk) -> None:
    page = desk.open("import", before=KEYS)
    assert [text.split(" Rotate")[0] for text in desk.shown(".card-top")] == ["wa_1 WhatsApp", "wa_2 WhatsApp", "sig Signal Inactive", "apart WhatsApp Apart"]
    assert desk.shown(".keys li") == [
        "Key of 15 Jun 2026, 20:00, used 15 Jun 2026, 20:55 Revoke",
        "Key of 15 Jun 2026, 19:00, never used, ends 15 Jun 2026, 22:00 Revoke",
        "Key of 15 Jun 2026, 18:00, never used, ended 15 Jun 2026, 21:00",
    ]
    assert desk.shown("tbody tr") == [
        "15 Jun 2026, 20:55 wa_1 429 2 3",
        "15 Jun 2026, 20:57 wa_1 422 0 3 one; two",
        "15 Jun 2026, 20:58 wa_1 401 × 4 2 3 wrong key",
        "15 Jun 2026, 20:59 wa_1 200 2 3",
    ]
    assert [each.get_attribute("class") for each in page.locator("td:nth-child(3)").all()] == ["bad", "bad", "bad", ""]
    assert desk.shown("[aria-label=Histories] code")[0] == "threadline import chat.zip --url https://project.test --connection wa_1 --dry-run"
    desk.calls()
    page.locator(".keys li").nth(1).get_by_role("button", name="Revoke").click()
    desk.settle()
    assert sent(desk, "POST rpc/revoke") == [{"key_id": 2}]
    page.locator(".card").nth(2).get_by_role("button", name="Activate").click()
    desk.settle()
    assert page.evaluate("project.tables.messaging_connections.map((each) => each.is_active)") == [True, True, True, True, True]
    desk.calls()
    page.locator(".card").nth(1).get_by_role("button", name="Deactivate").click()
    desk.settle()
    assert "Inactive" in desk.shown(".card-top")[1]
    assert {"GET messaging_connections", "GET ingest_log"} <= {key for key, _ in desk.calls()}
    desk.press("Rotate", ".card:nth-child(4)")
    assert sent(desk, "POST rpc/rotate") == [{"connection_id": "apart", "overlap": "24 hours"}]
    assert desk.shown("dialog h2") == ["Secret of apart"]
    assert desk.shown("dialog .secret code") == ["n3w"]


def test_new_connection_shows_its_secret_and_waits(desk: Desk) -> None:
    page = desk.open("import", before=f"{KEYS} project.config.command = '.venv/bin/threadline'; tables.messaging_connections.forEach((each) => each.is_active = false)")
    assert desk.shown("[aria-label=Histories] code")[0].startswith(".venv/bin/threadline import chat.zip --url https://project.test --connection NAME")
    page.get_by_label("Platform").select_option("Telegram")
    desk.press("Create")
    assert sent(desk, "POST rpc/create") == [{"platform": "telegram", "workspace_id": PERSONAL, "is_apart": False}]
    command = page.locator("dialog pre").inner_text()
    assert "https://project.test/functions/v1/messaging-ingest" in command and "x-api-key: s3cret" in command
    assert '"platform":"telegram","connection_id":"made"' in command and '"sent_at":"2026-06-15T12:00:00.000Z"' in command
    waiting = "Waiting for the first message …"
    assert waiting in desk.shown("dialog")[0]
    about = {"id": "c1", "workspace_id": PERSONAL, "participant_name": "Ada", "participant_identifier": "+1"}
    for platform, added, shown in (("whatsapp", 1, waiting), ("telegram", 0, waiting), ("telegram", 1, "It arrived. Open Ada")):
        change = {"conversation": {**about, "platform": platform}, "messages_added": added}
        desk.run("given => project.change_of(...given)", [f"inbox:{MATTY}", "conversation.updated", change])
        assert shown in desk.shown("dialog")[0]
    assert page.get_by_role("link", name="Open Ada").get_attribute("href") == "#/inbox/c1"
    desk.press("Close", "dialog")
    page.get_by_label("Name", exact=True).fill("my.name")
    page.get_by_label("Keep its conversations apart").check()
    desk.press("Create")
    made = {"platform": "whatsapp", "connection_id": "my.name", "workspace_id": PERSONAL, "is_apart": True}
    assert sent(desk, "POST rpc/create") == [made]
    desk.open("import", before=f"{KEYS} localStorage.setItem('threadline.workspace', TEAM); tables.messaging_connections[0].workspace_id = TEAM")
    assert desk.shown(".page > p") == ["Owners and admins of this workspace make connections."]
    assert page.locator(".card button, [aria-label='Ingest log'], .keys").count() == 0
    desk.open("import", before="localStorage.setItem('threadline.workspace', TEAM)")
    assert desk.shown(".empty") == ["No connections"]


def test_twins_show_their_own_channels_and_deliveries(desk: Desk) -> None:
    before = """
    const row = (number, more) => ({ id: number, message_id: number, seq: number + 10, channel_id: GENERAL, created_at: at(-number), attempts: number, last_status: 500, last_error: "No",
      finished_at: null, next_attempt_at: at(number), ...more });
    const rows = { dead: [row(1, { finished_at: at(-1) }), row(2, { channel_id: id(98), last_status: null, last_error: null })], pending: [row(3)], delivered: [] };
    answers.list_twin_deliveries = ({ ai_twin_id, state }) => ({ data: ai_twin_id === TWIN ? rows[state] : [] });
    answers.replay_twin_deliveries = {};
    for (const name of ["set_twin_webhook", "rotate_twin_secret"]) answers[name] = { data: { secret: `of ${name}` } };
    answers.remove_twin_webhook = { data: {} };
    """
    page = desk.open("twins", before=before)
    assert desk.shown(ROWS) == ["A Aide https://twin.test/a", "S Scout No webhook"]
    desk.go(f"twins/{TWIN}")
    assert desk.shown("[aria-current=true]") == ["A Aide https://twin.test/a"]
    assert desk.shown("[aria-label='Channels of the twin'] li") == ["general Remove"]
    assert desk.shown("[aria-label='Channels of the twin'] option") == ["Bob, Carol", "Unnamed", "visit", "Only you"]
    assert desk.shown("[aria-label=Deliveries] option") == ["Failed for good", "Pending", "Delivered"]
    assert desk.shown("[aria-label=Deliveries] tbody tr") == [
        "11 15 Jun 2026, 20:59 general 1 500 No 15 Jun 2026, 20:59 Again",
        "12 15 Jun 2026, 20:58 A channel 2 15 Jun 2026, 21:02 Again",
    ]
    assert page.locator("tbody a").first.get_attribute("href") == f"#/channels/{GENERAL}/11"
    desk.calls()
    desk.press("Again", "tbody tr:nth-child(2)")
    assert sent(desk, "POST rpc/replay") == [{"ai_twin_id": TWIN, "id": 2}]
    desk.press("Send all again")
    assert desk.calls("POST rpc") == [["POST rpc/replay_twin_deliveries", {"ai_twin_id": TWIN}], ["POST rpc/list_twin_deliveries", {"ai_twin_id": TWIN, "state": "dead"}]]
    for state, rows, text in (("Pending", 1, []), ("Delivered", 0, ["No deliveries."])):
        page.get_by_label("State").select_option(state)
        desk.settle()
        assert (len(desk.shown("tbody tr")), desk.shown("[aria-label=Deliveries] p"), page.get_by_role("button", name="gain").count()) == (rows, text, 0)
    webhook = "[aria-label=Webhook]"
    assert page.get_by_label("URL").input_value() == "https://twin.test/a"
    page.get_by_label("URL").fill("https://twin.test/b")
    desk.calls()
    desk.press("Change", webhook)
    assert desk.calls()[0] == ["POST rpc/set_twin_webhook", {"ai_twin_id": TWIN, "url": "https://twin.test/b"}]
    assert desk.shown(".secret code") == ["of set_twin_webhook"]
    desk.press("New secret")
    assert desk.shown(".secret code") == ["of rotate_twin_secret"]
    desk.calls()
    desk.press("Remove", webhook)
    assert [key for key, _ in desk.calls()] == ["POST rpc/remove_twin_webhook", "GET ai_twins"]
    assert page.evaluate("project.alerts") == ["Remove the webhook, its secrets and what is pending?"]
    desk.press("Remove", "[aria-label='Channels of the twin']")
    assert page.evaluate("project.tables.channel_twins.map((each) => each.ai_twin_id)") == ["00000000-0000-4000-8000-000000000023", SCOUT]
    desk.press("Add", "[aria-label='Channels of the twin']")
    assert page.evaluate("project.tables.channel_twins.at(-1).channel_id + project.tables.channel_twins.at(-1).ai_twin_id") == f"00000000-0000-4000-8000-000000000033{TWIN}"
    page.get_by_label("Name").last.fill("Helper")
    desk.press("Rename")
    assert [text.split()[1] for text in desk.shown(ROWS)] == ["Helper", "Scout"]
    desk.go(f"twins/{SCOUT}")
    assert (desk.shown(".secret"), page.get_by_label("URL").input_value(), desk.shown(f"{webhook} button")) == ([], "", ["Set"])
    desk.press("Delete")
    assert (desk.shown(ROWS), page.url[-7:]) == (["H Helper https://twin.test/a"], "#/twins")
    page.get_by_text("Add a twin").click()
    page.get_by_label("Name").fill("New")
    desk.press("Add", ".add")
    assert desk.shown(".detail h2") == ["New"]


def test_twins_of_others_are_not_listed(desk: Desk) -> None:
    desk.open("twins", user="00000000-0000-4000-8000-000000000003")
    assert desk.shown(".list .empty") == ["No twins A twin is an agent that acts for you in channels."]


TEAM_ROWS = """
localStorage.setItem("threadline.workspace", ATELIER);
const invitation = (number, minutes, more) => tables.workspace_invitations.push({ id: number, workspace_id: ATELIER, email: `${number}@x`, role: "member", created_at: at(number),
  expires_at: at(minutes), accepted_at: null, revoked_at: null, channels: null, ...more });
invitation(1, 60); invitation(2, 60, { email: null, role: "admin" }); invitation(3, -1); invitation(4, 60, { accepted_at: at(-1) }); invitation(5, 60, { revoked_at: at(-1) });
invitation(6, 60, { workspace_id: TEAM }); invitation(7, 60, { channels: { name: "plans" } });
const line = (number, action, more) => tables.audit_log.push({ id: number, workspace_id: ATELIER, at: at(number), action, actor_id: BOB, subject_id: null, details: {}, ...more });
line(1, "member.role_changed", { subject_id: CAROL, details: { from_role: "member", to_role: "admin", empty: null } });
line(2, "connection.rotated", { actor_id: null, subject_id: id(205) }); line(3, "channel.created", { subject_id: GENERAL, details: { by: MATTY } }); line(4, "x", { workspace_id: TEAM });
line(5, "user.erased", { subject_id: id(4), actor_id: MATTY }); line(6, "channel_member.added", { subject_id: BOB, details: { channel_id: id(33) } });
answers.create_invitation = { token: "t0ken" }; answers.revoke_invitation = {};
"""


def test_workspace_shows_members_and_open_invitations(desk: Desk) -> None:
    page = desk.open("workspace", before=TEAM_ROWS)
    assert desk.shown("[aria-label=Members] tbody tr") == ["Matty owner admin member 2 Jan Leave", "Bob owner admin member 2 Jan Remove"]
    assert [each.input_value() for each in page.locator("[aria-label=Members] select").all()] == ["owner", "member"]
    assert desk.shown("[aria-label=Invitations] li") == [
        "7@x, member of plans, until 15 Jun 2026, 22:00 Revoke",
        "By link, admin, until 15 Jun 2026, 22:00 Revoke",
        "1@x, member, until 15 Jun 2026, 22:00 Revoke",
    ]
    assert desk.shown("[aria-label=Invitations] option") == ["member", "admin", "owner"]
    desk.calls()
    page.locator("[aria-label=Invitations] li").nth(1).get_by_role("button").click()
    desk.settle()
    assert [key for key, _ in desk.calls()] == ["POST rpc/revoke_invitation", "GET workspace_invitations"]
    desk.press("Invite")
    assert sent(desk, "POST rpc/create") == [{"workspace_id": ATELIER, "role": "member"}]
    assert desk.shown(".secret code") == [f"{page.url.partition('#')[0]}#/join/t0ken"]
    page.get_by_label("Email").fill("d@x")
    page.locator("[aria-label=Invitations] select").select_option("admin")
    desk.press("Invite")
    assert sent(desk, "POST rpc/create") == [{"workspace_id": ATELIER, "role": "admin", "email": "d@x"}]
    page.get_by_label("Role of Bob").select_option("admin")
    desk.settle()
    calls = desk.calls()
    assert ["PATCH workspace_members", {"role": "admin"}] in calls
    assert "GET workspaces" in [key for key, _ in calls]
    assert page.evaluate("project.tables.workspace_members.filter((each) => each.role === 'admin')") == [{"workspace_id": ATELIER, "user_id": BOB, "role": "admin"}]
    desk.press("Remove", "[aria-label=Members]")
    assert page.evaluate("project.alerts.at(-1)") == "Remove this member from the workspace?"
    assert (len(desk.shown("[aria-label=Members] tbody tr")), page.evaluate("project.tables.workspace_members.length")) == (1, 7)
    page.locator(".account select").select_option("Team")
    desk.settle()
    assert desk.shown("[aria-label=Members] tbody tr") == ["Matty member 2 Jan Leave", "Bob owner 2 Jan", "Carol member 2 Jan"]
    assert page.locator("[aria-label=Invitations], [aria-label=Settings], [aria-label='Audit log']").count() == 0
    desk.press("Leave")
    assert page.evaluate("project.alerts.at(-1)") == "Leave this workspace?"
    assert desk.shown("nav option") == ["Personal", "Atelier"]
    assert desk.shown("h1") == ["Personal"]
    assert desk.shown("[aria-label=Members] tbody tr") == ["Matty owner 2 Jan"]


def test_audit_log_names_whom_it_is_about(desk: Desk) -> None:
    page = desk.open("workspace", before=TEAM_ROWS)
    assert desk.shown("[aria-label='Audit log'] tbody tr") == [
        "15 Jun 2026, 21:06 Bob channel_member.added Bob channel id: Bob, Carol",
        "15 Jun 2026, 21:05 Matty user.erased Former member",
        "15 Jun 2026, 21:03 Bob channel.created general by: Matty",
        "15 Jun 2026, 21:02 The system connection.rotated elsewhere",
        "15 Jun 2026, 21:01 Bob member.role_changed Carol from role: member, to role: admin",
    ]
    desk.run("project.tables.audit_log.length = 0")
    page.locator("[aria-label='Audit log']").get_by_role("button", name="Reload").click()
    desk.settle()
    assert desk.shown("[aria-label='Audit log'] tbody tr") == []


def test_settings_change_only_what_a_role_may(desk: Desk) -> None:
    page = desk.open("workspace", before="localStorage.setItem('threadline.workspace', ATELIER)")

    def values() -> list[str]:
        return [each.input_value() for each in page.locator("[aria-label=Settings] input").all()]

    assert values() == ["Atelier", "", "365", ""]
    page.get_by_label("Home country").fill("de")
    page.get_by_label("Keep conversations, days").fill("")
    page.get_by_label("Keep channel messages, days").fill("7")
    desk.calls()
    desk.press("Save")
    calls = desk.calls()
    assert calls[0] == ["PATCH workspaces", {"name": "Atelier", "home_country": "DE", "conversation_days": None, "channel_days": 7}]
    assert [key for key, _ in calls[1:3]] == ["GET workspaces", "GET workspace_members"]
    assert page.evaluate("project.tables.workspaces.filter((each) => each.channel_days === 7).length") == 1
    page.locator(".account select").select_option("Personal")
    desk.settle()
    assert values() == ["", "", ""]
    desk.press("Save")
    assert desk.calls("PATCH") == [["PATCH workspaces", {"home_country": None, "conversation_days": None, "channel_days": None}]]
    admin = "localStorage.setItem('threadline.workspace', TEAM); tables.workspace_members.find((each) => each.workspace_id === TEAM && each.user_id === MATTY).role = 'admin'"
    desk.open("workspace", before=admin)
    assert values() == ["Team", "US"]
    desk.press("Save")
    assert desk.calls("PATCH") == [["PATCH workspaces", {"name": "Team", "home_country": "US"}]]
    assert page.locator("[aria-label='Audit log']").count() == 0
    page.get_by_label("Name of the team").fill("Garden")
    desk.run("""void (project.answers.create_workspace = ({ name }) => {
      project.tables.workspaces.push({ ...project.tables.workspaces[0], id: 'garden', name });
      project.tables.workspace_members.push({ workspace_id: 'garden', user_id: project.id(1), role: 'owner' });
      return { id: 'garden' };
    })""")
    desk.press("Create", "[aria-label='New workspace']")
    assert desk.shown("h1") == ["Garden"]


def test_invitation_leads_to_its_place(desk: Desk) -> None:
    before = """
    let open = [{ id: 1, invited_by_name: "Bob", workspace_name: "Team", channel_name: null, role: "admin" }, { id: 2, invited_by_name: "Cy", workspace_name: "Zoo", channel_name: "visit", role: "guest" }];
    answers.list_my_invitations = () => open;
    answers.accept_invitation = ({ invitation_id: key }) => {
      open = open.filter((each) => each.id !== key);
      return key === 2 ? { workspace_id: ZOO, channel_id: VISIT } : { workspace_id: TEAM };
    };
    """
    page = desk.open("workspace", before=before)
    region = "[aria-label='Invitations to me']"
    assert desk.shown(f"{region} p") == ["Bob invites you to Team as admin.", "Cy invites you to visit as guest."]
    desk.calls()
    desk.press("Accept", f"{region} li:nth-child(2)")
    calls = desk.calls()
    assert calls[0] == ["POST rpc/accept_invitation", {"invitation_id": 2}]
    assert {"GET workspaces", "POST rpc/list_my_channels"} <= {key for key, _ in calls}
    assert (desk.shown(".detail h2"), page.locator(".account select").input_value()) == (["visit"], PERSONAL)
    desk.go("workspace")
    assert desk.shown(f"{region} p") == ["Bob invites you to Team as admin."]
    desk.press("Accept", region)
    assert (desk.shown("h1"), desk.shown(region), page.url.endswith("#/workspace")) == (["Team"], [], True)
