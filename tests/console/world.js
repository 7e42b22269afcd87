// The rows of the project: three workspaces and a guest, users with different rights, long lists, and neighbours.

const { tables, answers } = project;
const id = (number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
const at = (minutes) => new Date(project.now + minutes * 60000).toISOString();
const range = (count, make) => Array.from({ length: count }, (_, place) => make(place + 1));
const [MATTY, BOB, CAROL, GONE, TWIN, SCOUT] = [1, 2, 3, 4, 21, 22].map(id);
const [PERSONAL, ATELIER, TEAM, ZOO] = [11, 12, 13, 14].map(id);
const [GENERAL, PLANS, DIRECT, VISIT] = [31, 32, 33, 34].map(id);
const NAMES = { [MATTY]: "Matty", [BOB]: "Bob", [CAROL]: "Carol" };
Object.assign(project, { id, at, range });

project.begin = (user) => {
  localStorage.clear();
  if (!user) return;
  localStorage.setItem("sb-project-auth-token", JSON.stringify(project.sessionOf(user)));
};
project.sessionOf = (user) => ({
  access_token: `token-${user}`, refresh_token: "r", expires_in: 3600, expires_at: project.now / 1000 + 3600,
  user: { id: user, email: `${NAMES[user].toLowerCase()}@example.com`, user_metadata: user === BOB ? {} : { full_name: NAMES[user] } },
});
answers["auth/token"] = ({ email }) => project.sessionOf(Object.keys(NAMES).find((each) => email.startsWith(NAMES[each].toLowerCase())));
answers["auth/logout"] = {};
answers["auth/otp"] = {};

const space = (key, name, more) => ({
  id: key, name, is_personal: false, home_country: null, conversation_days: null, channel_days: null, ...more,
});
tables.workspaces = [
  space(ZOO, "Zoo", { only: MATTY }), space(TEAM, "Team", { home_country: "US", channel_days: 30 }),
  space(ATELIER, "Atelier", { conversation_days: 365 }), space(PERSONAL, "P", { is_personal: true, only: MATTY }),
  space(id(15), "P", { is_personal: true, only: BOB }),
];
tables.workspace_members = [
  [PERSONAL, MATTY, "owner"], [ATELIER, MATTY, "owner"], [TEAM, MATTY, "member"], [TEAM, BOB, "owner"],
  [TEAM, CAROL, "member"], [ATELIER, BOB, "member"], [ZOO, BOB, "owner"], [id(15), BOB, "owner"],
].map(([workspace_id, user_id, role]) => ({ workspace_id, user_id, role }));
tables.user_profiles = Object.entries(NAMES).map(([user_id, display_name]) => ({ user_id, display_name }));
answers.list_workspace_members = ({ workspace_id: key }) => tables.workspace_members
  .filter((each) => each.workspace_id === key)
  .map((each) => ({ ...each, display_name: NAMES[each.user_id], joined_at: "2026-01-02T12:00:00Z" }));

// Channels, and what each user sees of them.

const members = (...ids) => ids.map((user_id) => ({ user_id, display_name: NAMES[user_id] }));
const channel = (key, workspace_id, name, more) => ({
  id: key, workspace_id, kind: "channel", name, topic: `channel:${key}`, role: "member", is_muted: false, is_pinned: false,
  unread_count: 0, mention_count: 0, read_seq: 0, last_seq: 0, last_message: null, members: members(MATTY, BOB),
  member_count: 2, ...more,
});
project.channels = {
  [MATTY]: [
    channel(GENERAL, TEAM, "general", {
      role: "owner", unread_count: 3, mention_count: 1, read_seq: 127, last_seq: 130, member_count: 3,
      members: members(MATTY, BOB, CAROL), last_message: { created_at: at(-1), preview: "Number 130" },
    }),
    channel(DIRECT, TEAM, null, { kind: "dm", unread_count: 2, members: members(BOB, MATTY, CAROL), last_seq: 2 }),
    channel(PLANS, ATELIER, null, { unread_count: 7, is_muted: true, last_seq: 3, mention_count: 2 }),
    channel(VISIT, id(99), "visit", { is_pinned: true, members: members(MATTY), unread_count: 100, last_seq: 5 }),
    channel(id(35), TEAM, null, { kind: "dm", members: members(MATTY) }),
  ],
  [BOB]: [channel(id(36), TEAM, "of Bob", { unread_count: 1 })],
  [CAROL]: [],
};
project.lastOf = (key) => Object.values(project.channels).flat().find((each) => each.id === key)?.last_seq;
answers.list_my_channels = ({ max_channels: most }, user) => ({ data: project.channels[user].slice(0, most) });
answers.mark_read = ({ channel_id: key, seq }, user) => {
  Object.assign(project.channels[user].find((each) => each.id === key), { read_seq: seq, unread_count: 0, mention_count: 0 });
  return {};
};

const message = (channel_id, seq, more) => ({
  id: id(channel_id === GENERAL ? 1000 + seq : 5000 + seq), channel_id, seq, user_id: BOB, ai_twin_id: null, content: `Number ${seq}`,
  parent_message_id: null, attachments: [], created_at: at(seq - 131), updated_at: at(seq - 131), message_reactions: [],
  message_pins: null, metadata: {}, ...more,
});
tables.messages = [
  ...range(130, (seq) => message(GENERAL, seq, { created_at: at((seq - 131) * 6), updated_at: at((seq - 131) * 6) })),
  ...range(3, (seq) => message(PLANS, seq, { content: `Plan ${seq}` })),
  ...range(2, (seq) => message(DIRECT, seq, { content: `Direct ${seq}` })),
];
project.change = (seq, more) => Object.assign(tables.messages.find((each) => each.channel_id === GENERAL && each.seq === seq), more);
project.store = (key, event, row) => event === "message.created" && !row.deleted && tables.messages.push(message(key, row.seq, row));
project.fill = {
  ai_twins: { user_id: MATTY, twin_webhooks: null, channel_twins: [] }, messages: message(GENERAL, 999, { user_id: MATTY }),
  people: { merged_into_id: null }, person_identifiers: { app: null },
};
delete project.fill.messages.id;
tables.attachments = [];
tables.message_pins = [];
tables.member_states = Object.entries(project.channels).flatMap(([user_id, list]) => list.map((each) => ({ channel_id: each.id, user_id })));
tables.channel_members = [
  [GENERAL, CAROL, "member", 3], [GENERAL, MATTY, "owner", 1], [GENERAL, BOB, "admin", 2], [PLANS, MATTY, "member", 1],
].map(([channel_id, user_id, role, order]) => ({ channel_id, user_id, role, created_at: at(order) }));
tables.ai_twins = [
  { id: SCOUT, user_id: MATTY, display_name: "Scout", twin_webhooks: null, channel_twins: [] },
  { id: TWIN, user_id: MATTY, display_name: "Aide", twin_webhooks: { url: "https://twin.test/a" },
    channel_twins: [{ channel_id: GENERAL }, { channel_id: id(98) }] },
  { id: id(23), user_id: BOB, display_name: "Bob's", twin_webhooks: null, channel_twins: [] },
];
tables.channel_twins = [[GENERAL, TWIN], [GENERAL, id(23)], [PLANS, SCOUT]].map(([channel_id, ai_twin_id]) =>
  ({ channel_id, ai_twin_id, ai_twins: tables.ai_twins.find((each) => each.id === ai_twin_id) }));
answers.search_messages = { data: [], meta: { total: 0 } };

// Conversations of the personal workspace.

const talk = (number, more) => ({
  id: id(100 + number), workspace_id: PERSONAL, platform: "whatsapp", kind: "direct", user_id: MATTY, scope_id: id(91),
  external_conversation_id: `ext ${number}`, participant_identifier: `+49 ${number}`, participant_name: `Person ${number}`,
  last_message_at: at(-number), last_message_preview: `Preview ${number}`, unread_count: 0, message_count: 0, matched_by: null,
  person_id: null, people: null, conversation_identifiers: [], ...more,
});
tables.conversations = [talk(1, { unread_count: 2 }), talk(2), talk(3, { workspace_id: ATELIER, participant_name: "Elsewhere" })];
tables.conversation_messages = [];
tables.conversation_updates = [];
tables.conversation_identifiers = [];
answers.mark_conversation_read = ({ conversation_id: key }) => {
  tables.conversations.find((each) => each.id === key).unread_count = 0;
  return {};
};
const connection = (number, more) => ({
  id: id(200 + number), workspace_id: PERSONAL, user_id: MATTY, platform: "whatsapp", connection_id: `wa_${number}`, scope_id: id(91),
  is_active: true, is_apart: false, created_at: at(-number), keys: [], ...more,
});
tables.messaging_connections = [
  connection(1), connection(2), connection(3, { platform: "signal", connection_id: "sig", is_active: false }),
  connection(4, { scope_id: id(92), connection_id: "apart", is_apart: true }), connection(5, { workspace_id: ATELIER, connection_id: "elsewhere" }),
];
Object.assign(project, { talk, message, channel, connection });
tables.ingest_log = [];
tables.audit_log = [];
tables.people = [];
tables.person_identifiers = [];
tables.workspace_invitations = [];
answers.list_my_invitations = () => [];
answers.list_twin_deliveries = () => ({ data: [] });
