"""Twins and the workspace with several rows each, and the neighbours that must not change."""

from typing import Any

from tests.console.desk import BOB, Desk

PERSONAL, ATELIER, TEAM = (f"00000000-0000-4000-8000-{number:012}" for number in (11, 12, 13))
GENERAL, TWIN, SCOUT = (f"00000000-0000-4000-8000-{number:012}" for number in (31, 21, 22))
ROWS = ".list .rows .row"

WITHIN = "00000000-0000-4000-8000-0000000003"


def sent(desk: Desk, start: str) -> list[Any]:
    return [body for _, body in desk.calls(start)]


def test_twins_show_their_own_channels_and_deliveries(desk: Desk) -> None:
    before = """
    const row = (number, more) => ({ id: number, message_id: number, seq: number + 10, channel_id: GENERAL,
      created_at: at(-number), attempts: number, last_status: 500, last_error: "No",
      finished_at: null, next_attempt_at: at(number), ...more });
    const rows = { dead: [row(1, { finished_at: at(-1) }), row(2, { channel_id: id(98), last_status: null,
      last_error: null }), row(3, { channel_id: id(32) })], pending: [row(3)], delivered: [] };
    answers.list_twin_deliveries = ({ ai_twin_id, state }) => ({ data: ai_twin_id === TWIN ? rows[state] : [] });
    answers.replay_twin_deliveries = {};
    for (const name of ["set_twin_webhook", "rotate_twin_secret"]) answers[name] = { data: { secret: `of ${name}` } };
    answers.remove_twin_webhook = { data: {} };
    tables.channel_twins.push({ ...tables.channel_twins[0], channel_id: id(98) });
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
        "13 15 Jun 2026, 20:57 Unnamed 3 500 No 15 Jun 2026, 21:03 Again",
    ]
    assert page.locator("tbody a").first.get_attribute("href") == f"#/channels/{GENERAL}/11"
    desk.calls()
    desk.press("Again", "tbody tr:nth-child(2)")
    assert sent(desk, "POST rpc/replay") == [{"ai_twin_id": TWIN, "id": 2}]
    desk.press("Send all again")
    assert desk.calls("POST rpc") == [
        ["POST rpc/replay_twin_deliveries", {"ai_twin_id": TWIN}],
        ["POST rpc/list_twin_deliveries", {"ai_twin_id": TWIN, "state": "dead"}],
    ]
    for state, rows, text in (("Pending", 1, []), ("Delivered", 0, ["No deliveries."])):
        page.get_by_label("State").select_option(state)
        desk.settle()
        assert (
            len(desk.shown("tbody tr")),
            desk.shown("[aria-label=Deliveries] p"),
            page.get_by_role("button", name="gain").count(),
        ) == (rows, text, 0)
    desk.press("Reload")
    assert desk.calls("POST rpc/list_twin")[-1][1]["state"] == "delivered"
    desk.calls()
    desk.press("Reload")
    assert len(desk.calls("POST rpc/list_twin")) == 1
    webhook = "[aria-label=Webhook]"
    assert page.get_by_label("URL").input_value() == "https://twin.test/a"
    page.get_by_label("URL").fill("https://twin.test/b")
    desk.calls()
    desk.press("Change", webhook)
    assert desk.calls()[0] == ["POST rpc/set_twin_webhook", {"ai_twin_id": TWIN, "url": "https://twin.test/b"}]
    assert desk.shown(".secret code") == ["of set_twin_webhook"]
    assert page.get_by_label("URL").input_value() == "https://twin.test/b"
    desk.press("New secret")
    assert desk.shown(".secret code") == ["of rotate_twin_secret"]
    desk.calls()
    desk.press("Remove", webhook)
    assert [key for key, _ in desk.calls()] == ["POST rpc/remove_twin_webhook", "GET ai_twins"]
    assert page.evaluate("project.alerts") == ["Remove the webhook, its secrets and what is pending?"]
    desk.press("Remove", "[aria-label='Channels of the twin']")
    assert page.evaluate("project.tables.channel_twins.map((each) => each.ai_twin_id)") == [
        "00000000-0000-4000-8000-000000000023",
        SCOUT,
        TWIN,
    ]
    desk.press("Add", "[aria-label='Channels of the twin']")
    assert (
        page.evaluate("project.tables.channel_twins.at(-1).channel_id + project.tables.channel_twins.at(-1).ai_twin_id")
        == f"00000000-0000-4000-8000-000000000033{TWIN}"
    )
    page.get_by_label("Name").last.fill("Zelda")
    desk.press("Rename")
    assert [text.split()[1] for text in desk.shown(ROWS)] == ["Scout", "Zelda"]
    desk.go(f"twins/{SCOUT}")
    assert (desk.shown(".secret"), page.get_by_label("URL").input_value(), desk.shown(f"{webhook} button")) == (
        [],
        "",
        ["Set"],
    )
    assert page.get_by_role("button", name="Send all again").count() == 0
    desk.press("Delete")
    assert (desk.shown(ROWS), page.url[-7:]) == (["Z Zelda https://twin.test/a"], "#/twins")
    assert page.evaluate("project.alerts.at(-1)") == "Delete this twin?"
    page.get_by_text("Add a twin").click()
    page.get_by_label("Name").fill("New")
    desk.press("Add", ".add")
    assert desk.shown(".detail h2") == ["New"]
    desk.open(f"twins/{TWIN}", before="project.channels[MATTY].splice(1)")
    assert desk.shown("[aria-label='Channels of the twin'] form") == []


def test_twins_of_others_are_not_listed(desk: Desk) -> None:
    desk.open("twins", user="00000000-0000-4000-8000-000000000003")
    assert desk.shown(".list .empty") == ["No twins A twin is an agent that acts for you in channels."]


TEAM_ROWS = """
localStorage.setItem("threadline.workspace", ATELIER);
const invitation = (number, minutes, more) => tables.workspace_invitations.push({ id: number, workspace_id: ATELIER,
  email: `${number}@x`, role: "member", created_at: at(number),
  expires_at: at(minutes), accepted_at: null, revoked_at: null, channels: null, ...more });
invitation(1, 60); invitation(2, 60, { email: null, role: "admin" }); invitation(3, -1); invitation(4, 60,
  { accepted_at: at(-1) }); invitation(5, 60, { revoked_at: at(-1) });
invitation(6, 60, { workspace_id: TEAM }); invitation(7, 60, { channels: { name: "plans" } });
const line = (number, action, more) => tables.audit_log.push({ id: number, workspace_id: ATELIER, at: at(number),
  action, actor_id: BOB, subject_id: null, details: {}, ...more });
line(1, "member.role_changed", { subject_id: CAROL, details: { from_role: "member", to_role: "admin", empty: null } });
line(2, "connection.rotated", { actor_id: null, subject_id: id(205),
  details: { is_active: false, days_of_overlap: 0 } }); line(3, "channel.created",
  { subject_id: GENERAL, details: { by: MATTY } }); line(4, "x", { workspace_id: TEAM });
line(5, "user.erased", { subject_id: id(4), actor_id: MATTY }); line(6, "channel_member.added", { subject_id: id(5),
  details: { channel_id: id(33) } });
answers.create_invitation = { token: "t0ken" }; answers.revoke_invitation = {};
"""


def test_workspace_shows_members_and_open_invitations(desk: Desk) -> None:
    page = desk.open("workspace", before=TEAM_ROWS)
    assert desk.shown("[aria-label=Members] tbody tr") == [
        "Matty owner admin member 2 Jan Leave",
        "Bob owner admin member 2 Jan Remove",
    ]
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
    ((_, invited), (key, _)) = desk.calls()
    assert (invited, key) == ({"workspace_id": ATELIER, "role": "member"}, "GET workspace_invitations")
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
    assert page.evaluate("project.tables.workspace_members.filter((each) => each.role === 'admin')") == [
        {"workspace_id": ATELIER, "user_id": BOB, "role": "admin"}
    ]
    desk.press("Remove", "[aria-label=Members]")
    assert page.evaluate("project.alerts.at(-1)") == "Remove this member from the workspace?"
    assert (
        len(desk.shown("[aria-label=Members] tbody tr")),
        page.evaluate("project.tables.workspace_members.length"),
    ) == (1, 7)
    page.locator(".account select").select_option("Team")
    desk.settle()
    assert desk.shown("[aria-label=Members] tbody tr") == [
        "Matty member 2 Jan Leave",
        "Bob owner 2 Jan",
        "Carol member 2 Jan",
    ]
    assert page.locator("[aria-label=Invitations], [aria-label=Settings], [aria-label='Audit log']").count() == 0
    desk.press("Leave")
    assert page.evaluate("project.alerts.at(-1)") == "Leave this workspace?"
    assert desk.shown("nav option") == ["Personal", "Atelier"]
    assert desk.shown("h1") == ["Personal"]
    assert desk.shown("[aria-label=Members] tbody tr") == ["Matty owner 2 Jan"]
    assert page.locator("[aria-label=Invitations]").count() == 0


def test_audit_log_names_whom_it_is_about(desk: Desk) -> None:
    page = desk.open("workspace", before=TEAM_ROWS)
    assert "limit=100" in desk.calls("GET audit_log")[0][1]
    assert desk.shown("[aria-label='Audit log'] tbody tr") == [
        "15 Jun 2026, 21:06 Bob channel_member.added Former member channel id: Bob, Carol",
        "15 Jun 2026, 21:05 Matty user.erased Former member",
        "15 Jun 2026, 21:03 Bob channel.created general by: Matty",
        "15 Jun 2026, 21:02 The system connection.rotated elsewhere is active: false, days of overlap: 0",
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
    assert calls[0] == [
        "PATCH workspaces",
        {"name": "Atelier", "home_country": "DE", "conversation_days": None, "channel_days": 7},
    ]
    assert [key for key, _ in calls[1:3]] == ["GET workspaces", "GET workspace_members"]
    assert values() == ["Atelier", "de", "", "7"]
    assert page.evaluate("project.tables.workspaces.filter((each) => each.channel_days === 7).length") == 1
    page.locator(".account select").select_option("Personal")
    desk.settle()
    assert values() == ["", "", ""]
    desk.press("Save")
    assert desk.calls("PATCH") == [
        ["PATCH workspaces", {"home_country": None, "conversation_days": None, "channel_days": None}]
    ]
    admin = (
        "localStorage.setItem('threadline.workspace', TEAM); tables.workspace_members.find((each) => "
        "each.workspace_id === TEAM && each.user_id === MATTY).role = 'admin'"
    )
    desk.open("workspace", before=admin)
    assert values() == ["Team", "US"]
    desk.press("Save")
    assert desk.calls("PATCH") == [["PATCH workspaces", {"name": "Team", "home_country": "US"}]]
    desk.run("project.tables.workspaces.find((each) => each.name === 'Team').only = 'another'")  # a policy hides it
    desk.press("Save")
    assert desk.shown("[aria-label=Settings] [role=alert]") == ["Cannot coerce the result to a single JSON object"]
    desk.run("delete project.tables.workspaces.find((each) => each.name === 'Team').only")
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
    let open = [{ id: 1, invited_by_name: "Bob", workspace_name: "Team", channel_name: null, role: "admin" },
      { id: 2, invited_by_name: "Cy", workspace_name: "Zoo", channel_name: "visit", role: "guest" }];
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
    desk.go("workspace/x")
    assert desk.shown("[aria-label=Invitation]") == []
