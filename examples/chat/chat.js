// A team chat on Threadline: all that a client has to do, with supabase-js and threadline-follow alone.

import { follow, listen } from "threadline-follow";
import * as page from "./page.js";

const { byId, button, notify } = page;
const supabase = globalThis.supabase.createClient(
  "http://127.0.0.1:54321",
  "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH",
);

let me; // the id of the user
let channels = new Map(); // of the user, by id
let view; // the open channel: its messages and members
let followingMe;
const watches = new Map(); // of each channel in the list: a function that ends listening

async function call(name, args) {
  const { data } = await supabase.rpc(name, args).throwOnError();
  return data;
}

// Sign in

async function start({ user }) {
  me = user.id;
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  byId("me").textContent = user.email;
  followingMe = follow(supabase, {
    topic: `user:${me}`,
    since: "now",
    onEvent: happen,
    onState: (state) => state === "reload" && loadChannels(),
  });
}

byId("sign-in").onsubmit = async (event) => {
  event.preventDefault();
  const { data, error } = await supabase.auth.signInWithPassword(Object.fromEntries(new FormData(event.target)));
  if (error) notify(error.message);
  else await start(data);
};

byId("sign-out").onclick = async () => {
  await Promise.all([followingMe.stop(), closeChannel(), ...[...watches.values()].map((end) => end())]);
  await supabase.auth.signOut();
  location.reload();
};

// The list of channels: one call, then events

async function loadChannels() {
  const { data } = await call("list_my_channels", { max_channels: 90 }); // a connection has at most 100 topics
  const before = channels;
  channels = new Map(data.map((channel) => [channel.id, channel]));
  // The list does not have what came while it was read.
  if (data.some(({ id, last_seq }) => before.get(id)?.last_seq > last_seq)) reloadChannels();
  for (const { id } of data) if (!watches.has(id)) watches.set(id, watch(id));
  for (const [id, end] of watches) if (!channels.has(id) && watches.delete(id)) end();
  showChannels();
  if (!view && data.length > 0) await openChannel(data[0].id);
}

let reloading;
function reloadChannels() {
  clearTimeout(reloading);
  reloading = setTimeout(() => loadChannels().catch(() => {}), 200); // many topics join at once, and again after a failure
}

// A list needs no log: a broadcast changes the count, and each join reads the list again.
function watch(id) {
  return listen(supabase, `channel:${id}`, {
    joined: reloadChannels,
    lost: () => {},
    received: ({ event, payload }) => {
      const channel = channels.get(id);
      if (!channel || payload.seq <= channel.last_seq) return;
      channel.last_seq = payload.seq;
      if (payload.truncated || event === "message.deleted") reloadChannels();
      else if (event === "message.created" && payload.user_id !== me && !isRead(id)) channel.unread_count++;
      showChannels();
    },
  });
}

const isRead = (id) => id === view?.id && !document.hidden;

function happen(event, payload) {
  const channel = channels.get(payload.channel_id);
  if (event === "channel.read" && payload.read_seq >= channel?.last_seq) channel.unread_count = 0;
  else if (event !== "channel.read" || !isRead(payload.channel_id)) reloadChannels();
  showChannels();
}

function nameOf(channel) {
  const others = (channel?.members ?? []).filter((member) => member.user_id !== me);
  return channel?.name ?? (others.map((member) => member.display_name).join(", ") || "Notes");
}

function showChannels() {
  byId("channels").replaceChildren(...[...channels.values()].map((channel) => page.channelEntry(
    `${channel.kind === "dm" ? "@" : "#"} ${nameOf(channel)}`, channel.unread_count, channel.id === view?.id,
    () => openChannel(channel.id))));
  if (channels.has(view?.id)) byId("title").textContent = nameOf(channels.get(view.id));
}

byId("new-channel").onclick = async () => {
  const name = prompt("Name of the channel")?.trim();
  if (!name) return;
  const { workspace_id } = channels.get(view?.id) ?? {};
  const { data } = await supabase.from("channels").insert({ name, workspace_id }).select("id").single().throwOnError();
  await openChannel(data.id);
};

// A channel: a page of history, then each event after it

async function openChannel(id) {
  await closeChannel();
  const opened = (view = { id, messages: new Map(), replies: new Map(), members: new Map() });
  showChannels();
  const { data, meta } = await loadPage(id);
  add(opened.messages, data);
  await loadMembers(opened);
  if (view !== opened) return;
  Object.assign(view, { cursor: meta.next_cursor, topic: meta.topic });
  view.composer = page.showComposer(byId("channel"), "Message", { send: send(null), typing: sayTyping });
  show(true);
  joinLive(meta.topic);
  view.following = follow(supabase, {
    channelId: id,
    since: meta.last_seq,
    onEvent: (event, payload) => view === opened && change(event, payload),
    onState: (state, detail) => view === opened && tell(state, detail),
  });
  await markRead(meta.last_seq);
}

const loadPage = (channel_id, before) => call("list_messages", { channel_id, roots_only: true, before });

async function closeChannel() {
  const closed = view;
  closePanel();
  view = undefined;
  await Promise.all([closed?.following?.stop(), closed?.live && supabase.removeChannel(closed.live)]);
}

async function tell(state, { reason, error }) {
  byId("state").className = state;
  byId("state").textContent = { offline: "Reconnecting …", ended: "This channel is closed" }[state] ?? "";
  if (state === "live" && view.live.state === "closed") joinLive(view.topic); // its token had expired
  if (state === "reload") await openChannel(view.id);
  if (state === "ended") view.composer.remove();
  if (reason === "failed") notify(error.message);
}

function add(messages, added) {
  for (const message of added) messages.set(message.id, { reactions: [], reply_count: 0, ...message });
}

async function change(event, payload) {
  const id = payload.message_id ?? payload.id;
  const message = view.messages.get(id) ?? view.replies.get(id);
  if (event === "message.created") {
    const root = view.messages.get(payload.thread_id);
    if (root) root.reply_count++;
    if (!payload.thread_id) add(view.messages, [payload]);
    else if (view.thread === payload.thread_id) add(view.replies, [payload]);
    showTyping(null);
  } else if (event === "message.deleted") {
    if (view.thread === id) closePanel();
    if (!message) await countReplies();
    else if (view.messages.has(message.thread_id)) view.messages.get(message.thread_id).reply_count--;
    view.messages.delete(id);
    view.replies.delete(id);
  } else if (event.startsWith("reaction.") && message) {
    const known = message.reactions.find(({ emoji }) => emoji === payload.emoji);
    const reaction = known ?? { emoji: payload.emoji, user_ids: [] };
    const others = reaction.user_ids.filter((id) => id !== payload.user_id);
    reaction.user_ids = event === "reaction.added" ? [...others, payload.user_id] : others;
    message.reactions = [...new Set([...message.reactions, reaction])].filter(({ user_ids }) => user_ids.length > 0);
  } else if (event.startsWith("message.") && message && !payload.deleted) {
    const { content, metadata, edited_at } = payload;
    Object.assign(message, { content, metadata, edited_at });
  } else if (event.startsWith("member.")) {
    await loadMembers(view);
  }
  show();
  if (event === "message.created" && payload.user_id !== me) await markRead(payload.seq);
}

// Only the server knows the thread of a deleted reply that was not shown.
async function countReplies() {
  const { data } = await loadPage(view.id);
  for (const { id, reply_count } of data) if (view.messages.has(id)) view.messages.get(id).reply_count = reply_count;
}

byId("messages").onscroll = async ({ target }) => {
  const { id, cursor } = view ?? {};
  if (target.scrollTop > 200 || !cursor) return;
  view.cursor = null;
  const { data, meta } = await loadPage(id, cursor);
  if (view?.id !== id) return;
  view.cursor = meta.next_cursor;
  const below = target.scrollHeight - target.scrollTop;
  add(view.messages, data);
  show();
  target.scrollTop = target.scrollHeight - below;
};

async function markRead(seq = view?.following?.seq) {
  if (seq && isRead(view.id)) await call("mark_read", { channel_id: view.id, seq });
}
document.addEventListener("visibilitychange", () => markRead());

const actions = {
  emojis: ["👍", "❤️", "🎉"],
  react: ({ id }, emoji) => call("toggle_reaction", { id, emoji }),
  pin: ({ id }, isPinned) => call(isPinned ? "pin_message" : "unpin_message", { id }),
  edit: (message) => (message.thread_id ? view.threadComposer : view.composer).edit(message),
  remove: ({ id }) => call("delete_message", { id }),
  openThread,
  download,
};

function show(toEnd = false) {
  page.showMessages(byId("messages"), view.messages, { ...actions, me, toEnd });
  if (view.thread) page.showMessages(byId("panel-list"), view.replies, { ...actions, me });
}

// Writing. The client chooses the id of a message, so sending it again after a lost answer repeats nothing.

const send = (threadId) => async (content, files, draft) => {
  if (draft.edits) return await call("edit_message", { id: draft.edits, content });
  draft.id ??= crypto.randomUUID();
  draft.files ??= await Promise.all(files.map(upload));
  const message = { id: draft.id, channel_id: view.id, content, parent_message_id: threadId };
  await supabase.from("messages").upsert({ ...message, attachments: draft.files }).throwOnError();
};

async function upload(file) {
  const id = crypto.randomUUID();
  const bucket = supabase.storage.from("attachments");
  const { error } = await bucket.upload(`${view.id}/${id}`, file, { contentType: file.type });
  if (error) throw error;
  await supabase.from("attachments").insert({ id, channel_id: view.id, file_name: file.name }).throwOnError();
  return { id };
}

async function download({ path, name }) {
  const { data, error } = await supabase.storage.from("attachments").createSignedUrl(path, 60, { download: name });
  if (error) throw error;
  location.assign(data.signedUrl);
}

// The panel: a thread, pins, what a search found, members

function closePanel() {
  if (view) view.thread = null;
  byId("panel").hidden = true;
}
byId("close-panel").onclick = closePanel;

function openPanel(title, ...items) {
  view.thread = null;
  page.showPanel(title, ...items);
}

async function openThread(root) {
  openPanel("Thread");
  view.thread = root.id;
  view.replies = new Map([[root.id, root]]);
  const { data } = await call("list_messages", { channel_id: view.id, thread_id: root.id, limit: 200 });
  if (view?.thread !== root.id) return;
  add(view.replies, data.filter((reply) => !view.replies.has(reply.id)));
  view.threadComposer = page.showComposer(byId("panel"), "Reply", { send: send(root.id), typing: sayTyping });
  show();
}

byId("show-pins").onclick = async () => {
  const { data } = await supabase.from("message_pins")
    .select("messages(content, created_at, user_profiles(display_name))").eq("channel_id", view.id).throwOnError();
  openPanel("Pins", ...data.map(({ messages }) => page.excerpt({ ...messages, ...messages.user_profiles })));
};

byId("search").onsubmit = async (event) => {
  event.preventDefault();
  const { data, meta } = await call("search_messages", { query: event.target.elements.query.value });
  openPanel(`${meta.total} found`, ...data.map((message) => page.excerpt({ ...message, content: page.marked(message.snippet) },
    button(`Open ${nameOf(channels.get(message.channel_id))}`, () => openChannel(message.channel_id)))));
};

async function loadMembers(of) {
  const { data } = await supabase.from("channel_members").select("user_id, role, user_profiles(display_name)")
    .eq("channel_id", of.id).throwOnError();
  of.members = new Map(data.map((member) => [member.user_id, { ...member, ...member.user_profiles }]));
}

async function openMembers() {
  await loadMembers(view);
  const { workspace_id, role, kind } = channels.get(view.id);
  const present = view.live.presenceState();
  const write = (id) => async () => openChannel((await call("open_direct", { user_ids: [id] })).id);
  const items = [...view.members.values()].map((member) => page.memberEntry(
    member.display_name, member.role, member.user_id in present,
    member.user_id !== me && button("Message", write(member.user_id))));
  const users = role !== "member" && kind === "channel" ? await call("list_workspace_members", { workspace_id }) : [];
  const invite = (user_id) => async () => {
    await supabase.from("channel_members").insert({ channel_id: view.id, user_id }).throwOnError();
    await openMembers();
  };
  items.push(...users.filter(({ user_id }) => !view.members.has(user_id)).map((user) =>
    page.memberEntry(user.display_name, "", false, button("Add", invite(user.user_id)))));
  openPanel("Members", ...items);
}
byId("show-members").onclick = openMembers;

// Who is here and who writes: what members send each other, without the database

function joinLive(topic) {
  const live = (view.live = supabase.channel(`${topic}:live`, { config: { private: true, presence: { key: me } } }));
  live.on("presence", { event: "sync" }, () => {
    byId("show-members").textContent = `Members · ${Object.keys(live.presenceState()).length} here`;
  });
  live.on("broadcast", { event: "typing" }, ({ payload }) => showTyping(payload.user_id));
  live.subscribe((status) => status === "SUBSCRIBED" && live.track({}));
}

let typed = 0;
function sayTyping() {
  if (Date.now() - typed < 2000 || view.live?.state !== "joined") return;
  typed = Date.now();
  view.live.send({ type: "broadcast", event: "typing", payload: { user_id: me } });
}

let forgetting;
function showTyping(id) {
  const member = id !== me && view?.members.get(id);
  byId("typing").textContent = member ? `${member.display_name} is writing …` : "";
  clearTimeout(forgetting);
  forgetting = setTimeout(showTyping, 4000);
}

const { data: { session } } = await supabase.auth.getSession();
if (session) await start(session);
else byId("sign-in").hidden = false;
