// A team chat on Threadline, with supabase-js and threadline-follow alone. Text of people is only ever text.

import { follow, listen } from "threadline-follow";
import { ask, button, byId, clock, element, fileSize, isNear, notify } from "./page.js";

const supabase = globalThis.supabase.createClient(
  "http://127.0.0.1:54321",
  "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH",
);
const EMOJI = ["👍", "❤️", "🎉"];
const MANY = 90; // Realtime has 100 topics for each connection

let me; // the user
let channels = new Map(); // of the list, by id
let view; // the open channel
let followingMe;
const watches = new Map(); // of each channel in the list: a function that ends listening

async function call(name, args) {
  const { data } = await supabase.rpc(name, args).throwOnError();
  return data;
}

// Sign in

async function start({ user }) {
  me = user;
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  byId("me").textContent = user.email;
  followingMe = follow(supabase, {
    topic: `user:${me.id}`,
    since: "now",
    onEvent: (event, payload) => happen(event, payload),
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

// The list of channels

async function loadChannels() {
  const { data } = await call("list_my_channels", { max_channels: MANY });
  channels = new Map(data.map((channel) => [channel.id, channel]));
  for (const [id, end] of watches) {
    if (!channels.has(id)) watches.delete(id) && end();
  }
  for (const { id } of data) if (!watches.has(id)) watches.set(id, watch(id));
  showChannels();
  if (!view && data.length > 0) await openChannel(data[0].id);
}

let reloading;
function reloadChannels() {
  clearTimeout(reloading);
  reloading = setTimeout(loadChannels, 200); // many topics join at once
}

// A broadcast may get lost, so each join reads the list again.
function watch(id) {
  return listen(supabase, `channel:${id}`, {
    joined: reloadChannels,
    lost: () => {},
    hear: ({ event, payload }) => {
      const channel = channels.get(id);
      if (!channel || payload.seq <= channel.last_seq) return;
      channel.last_seq = payload.seq;
      if (event === "message.created" && payload.user_id !== me.id && !payload.truncated) channel.unread_count++;
      else if (payload.truncated || event === "message.deleted") reloadChannels();
      showChannels();
    },
  });
}

function happen(event, payload) {
  const channel = channels.get(payload.channel_id);
  if (event === "channel.read" && channel?.last_seq <= payload.read_seq) {
    Object.assign(channel, { unread_count: 0, mention_count: 0 });
    showChannels();
  } else if (event === "channel.renamed" && channel) {
    channel.name = payload.name;
    showChannels();
  } else {
    reloadChannels();
  }
}

const nameOf = ({ name, members }) =>
  name ?? (members.filter((member) => member.user_id !== me.id).map((member) => member.display_name).join(", ") || "Notes");

function showChannels() {
  byId("channels").replaceChildren(...[...channels.values()].map((channel) =>
    element("li", { className: channel.id === view?.id ? "open" : "" },
      button(`${channel.kind === "dm" ? "@" : "#"} ${nameOf(channel)}`, () => openChannel(channel.id)),
      channel.unread_count > 0 && element("b", { textContent: channel.unread_count > 99 ? "99+" : channel.unread_count }))
  ));
  if (view && channels.has(view.id)) byId("title").textContent = nameOf(channels.get(view.id));
}

byId("new-channel").onclick = async () => {
  const name = ask("Name of the channel");
  if (!name) return;
  const workspace_id = channels.get(view?.id)?.workspace_id;
  const { data } = await supabase.from("channels").insert({ name, workspace_id }).select("id").single().throwOnError();
  await openChannel(data.id);
};

// A channel

async function closeChannel() {
  const closed = view;
  view = undefined;
  closePanel();
  if (closed) await Promise.all([closed.following?.stop(), closed.live && supabase.removeChannel(closed.live)]);
}

async function openChannel(id) {
  await closeChannel();
  const opened = (view = { id, messages: new Map(), replies: new Map(), files: new Map(), members: new Map(), typing: new Map() });
  showChannels();
  const page = await call("list_messages", { channel_id: id, roots_only: true });
  if (view !== opened) return;
  view.cursor = page.meta.next_cursor;
  await add(view.messages, page.data);
  view.composer = composer(byId("channel"), null);
  view.following = follow(supabase, {
    channelId: id,
    since: page.meta.last_seq, // the page shows the channel at this event
    onEvent: (event, payload) => view === opened && change(event, payload),
    onState: (state, { reason, error }) => view === opened && tell(state, reason, error),
  });
  await loadMembers();
  joinLive(page.meta.topic);
  showMessages(true);
  await markRead();
}

async function tell(state, reason, error) {
  byId("state").textContent = { offline: "Reconnecting …", ended: "This channel is closed" }[state] ?? "";
  byId("state").className = state;
  if (reason === "failed") notify(error.message);
  if (state === "reload") await openChannel(view.id);
  if (state === "ended" && ["deleted", "left", "gone"].includes(reason)) view.composer.remove();
}

// Adds messages, and reads the facts of all their files with one call.
async function add(messages, added) {
  const ids = added.flatMap((message) => (message.attachments ?? []).map((file) => file.id)).filter((id) => id);
  if (ids.length > 0) {
    const { data } = await supabase.from("attachments").select().in("id", ids).throwOnError();
    for (const file of data) view.files.set(file.id, file);
  }
  for (const message of added) messages.set(message.id, { reactions: [], reply_count: 0, ...message });
}

const find = (id) => view.messages.get(id) ?? view.replies.get(id);

async function change(event, payload) {
  const message = find(event.startsWith("reaction.") ? payload.message_id : payload.id);
  if (event === "message.created") {
    const root = view.messages.get(payload.thread_id);
    if (root) root.reply_count++;
    if (!payload.thread_id) await add(view.messages, [payload]);
    else if (view.thread === payload.thread_id) await add(view.replies, [payload]);
    stopTyping(payload.user_id);
  } else if (event === "message.deleted") {
    view.messages.delete(payload.id);
    view.replies.delete(payload.id);
    if (message?.thread_id) view.messages.get(message.thread_id).reply_count--;
    if (!message) await countReplies();
    if (view.thread === payload.id) closePanel();
  } else if (event.startsWith("message.") && message && !payload.deleted) {
    const { content, metadata, edited_at } = payload;
    Object.assign(message, { content, metadata, edited_at });
  } else if (event.startsWith("reaction.") && message) {
    const others = (message.reactions.find(({ emoji }) => emoji === payload.emoji)?.user_ids ?? [])
      .filter((id) => id !== payload.user_id);
    const user_ids = event === "reaction.added" ? [...others, payload.user_id] : others;
    message.reactions = message.reactions.filter(({ emoji }) => emoji !== payload.emoji);
    if (user_ids.length > 0) message.reactions.push({ emoji: payload.emoji, count: user_ids.length, user_ids });
  } else if (event.startsWith("member.")) {
    await loadMembers();
  }
  showMessages();
  await markRead();
}

// A reply that was not shown is gone: only the server knows of which thread.
async function countReplies() {
  const { data } = await call("list_messages", { channel_id: view.id, roots_only: true });
  for (const { id, reply_count } of data) if (view.messages.has(id)) view.messages.get(id).reply_count = reply_count;
}

async function loadOlder() {
  const { id, cursor } = view;
  view.cursor = null;
  if (!cursor) return;
  const page = await call("list_messages", { channel_id: id, roots_only: true, before: cursor });
  if (view?.id !== id) return;
  view.cursor = page.meta.next_cursor;
  await add(view.messages, page.data);
  const list = byId("messages"), below = list.scrollHeight - list.scrollTop;
  showMessages();
  list.scrollTop = list.scrollHeight - below;
}
byId("messages").onscroll = ({ target }) => target.scrollTop < 200 && loadOlder();

async function markRead() {
  const channel = channels.get(view?.id);
  if (!channel || document.hidden || !view.following) return;
  if (channel.unread_count > 0) await call("mark_read", { channel_id: view.id, seq: channel.last_seq });
}
document.addEventListener("visibilitychange", markRead);

// Messages

function showMessages(toEnd = false) {
  const list = byId("messages");
  const isAtEnd = toEnd || isNear(list);
  list.replaceChildren(...render(view.messages));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  if (view.thread) byId("panel-list").replaceChildren(...render(view.replies));
}

function render(messages) {
  const sorted = [...messages.values()].sort((one, other) => one.seq - other.seq);
  return sorted.map((message, place) => renderMessage(message, sorted[place - 1]));
}

function renderMessage(message, previous) {
  const isMine = message.user_id === me.id, isPinned = message.metadata?.pinned;
  const author = message.user_id ?? message.ai_twin_id;
  const follows = previous && author === (previous.user_id ?? previous.ai_twin_id)
    && new Date(message.created_at) - new Date(previous.created_at) < 300_000;
  const act = (name, args) => () => call(name, { id: message.id, ...args });
  return element("li", { className: `message${follows ? " follows" : ""}${isPinned ? " pinned" : ""}` },
    !follows && element("strong", { textContent: message.display_name ?? "Deleted user" }),
    !follows && element("time", { textContent: clock(message.created_at), dateTime: message.created_at }),
    element("p", { textContent: message.content, dir: "auto" },
      message.edited_at && element("small", { textContent: " (edited)" })),
    ...(message.attachments ?? []).map((file) => renderFile(view.files.get(file.id))),
    element("div", { className: "reactions" },
      ...message.reactions.map(({ emoji, count, user_ids }) =>
        button(`${emoji} ${count}`, act("toggle_reaction", { emoji }), user_ids.includes(me.id) ? "mine" : "")),
      message.reply_count > 0 && button(`${message.reply_count} ${message.reply_count > 1 ? "replies" : "reply"}`,
        () => openThread(message.id), "thread")),
    element("div", { className: "actions" },
      ...EMOJI.map((emoji) => button(emoji, act("toggle_reaction", { emoji }))),
      !message.thread_id && button("Reply", () => openThread(message.id)),
      button(isPinned ? "Unpin" : "Pin", act(isPinned ? "unpin_message" : "pin_message")),
      isMine && button("Edit", () => (message.thread_id ? view.threadComposer : view.composer).edit(message)),
      isMine && button("Delete", act("delete_message"))));
}

function renderFile(file) {
  if (!file) return element("span", { className: "file", textContent: "A file that is gone" });
  return button(`📄 ${file.file_name} · ${fileSize(file.size)}`, async () => {
    const { data, error } = await supabase.storage.from("attachments")
      .createSignedUrl(file.path, 60, { download: file.file_name });
    if (error) throw error;
    location.assign(data.signedUrl);
  }, "file");
}

// Writing. An id that the client chooses makes it safe to send a message again.

function composer(place, threadId) {
  place.querySelector(".composer")?.remove();
  const form = byId("composer").content.firstElementChild.cloneNode(true);
  const { content, files } = form.elements;
  const cancel = form.querySelector(".cancel"), list = form.querySelector(".files");
  let id = crypto.randomUUID(), edited = null, uploaded = new Map();
  const reset = () => {
    form.reset();
    list.replaceChildren();
    cancel.hidden = true;
    [id, edited, uploaded] = [crypto.randomUUID(), null, new Map()];
  };
  content.placeholder = threadId ? "Reply" : `Message ${nameOf(channels.get(view.id) ?? { name: "" })}`;
  content.setAttribute("aria-label", threadId ? "Reply" : "Message");
  content.oninput = sayTyping;
  content.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), form.requestSubmit();
  };
  files.onchange = () =>
    list.replaceChildren(...[...files.files].map((file) => element("li", { textContent: file.name })));
  cancel.onclick = reset;
  form.edit = (message) => {
    edited = message.id;
    content.value = message.content;
    cancel.hidden = false;
    content.focus();
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    const text = content.value.trim() || [...files.files].map((file) => file.name).join(", ");
    if (!text) return;
    if (edited) {
      await call("edit_message", { id: edited, content: text });
    } else {
      for (const file of files.files) if (!uploaded.has(file)) uploaded.set(file, await upload(file));
      const attachments = files.files.length > 0 ? [...files.files].map((file) => ({ id: uploaded.get(file) })) : null;
      await supabase.from("messages")
        .upsert({ id, channel_id: view.id, content: text, parent_message_id: threadId, attachments }).throwOnError();
    }
    reset();
  };
  place.append(form);
  return form;
}

async function upload(file) {
  const id = crypto.randomUUID(), path = `${view.id}/${id}`;
  const { error } = await supabase.storage.from("attachments").upload(path, file, { contentType: file.type });
  if (error) throw error;
  await supabase.from("attachments").insert({ id, channel_id: view.id, file_name: file.name }).throwOnError();
  return id;
}

// The panel: a thread, the pins, the members or what a search found

function openPanel(title, ...items) {
  view && (view.thread = null);
  byId("panel").querySelector(".composer")?.remove();
  byId("panel").hidden = false;
  byId("panel-title").textContent = title;
  byId("panel-list").replaceChildren(...items);
}

function closePanel() {
  if (view) view.thread = null;
  byId("panel").hidden = true;
}
byId("close-panel").onclick = closePanel;

async function openThread(id) {
  openPanel("Thread");
  view.thread = id;
  view.replies = new Map();
  const { data } = await call("list_messages", { channel_id: view.id, thread_id: id, limit: 200 });
  if (view?.thread !== id) return;
  await add(view.replies, [...data.filter((reply) => !view.replies.has(reply.id)), view.messages.get(id)]);
  view.threadComposer = composer(byId("panel"), id);
  showMessages();
}

const excerpt = (message, ...more) =>
  element("li", {}, element("strong", { textContent: message.display_name ?? "Deleted user" }),
    element("time", { textContent: clock(message.created_at) }),
    element("p", { textContent: message.content, dir: "auto" }), ...more);

byId("show-pins").onclick = async () => {
  const { data } = await supabase.from("message_pins")
    .select("messages(content, created_at, user_profiles(display_name))")
    .eq("channel_id", view.id).order("pinned_at", { ascending: false }).throwOnError();
  const items = data.filter((pin) => pin.messages)
    .map(({ messages }) => excerpt({ ...messages, ...messages.user_profiles }));
  openPanel("Pins", ...items);
};

byId("search").onsubmit = async (event) => {
  event.preventDefault();
  const { data, meta } = await call("search_messages", { query: event.target.elements.query.value });
  openPanel(`${meta.total} found`, ...data.map((message) =>
    excerpt(message, button(`Open ${nameOf(channels.get(message.channel_id) ?? { name: "channel" })}`,
      () => openChannel(message.channel_id)))));
};

// Members, who is here, who writes

async function loadMembers() {
  const { id } = view;
  const { data } = await supabase.from("channel_members").select("user_id, role, user_profiles(display_name)")
    .eq("channel_id", id).throwOnError();
  if (view?.id === id) view.members = new Map(data.map((member) => [member.user_id, member]));
}

byId("show-members").onclick = async () => {
  const { workspace_id, role, kind } = channels.get(view.id);
  const present = new Set(Object.keys(view.live?.presenceState() ?? {}));
  const items = [...view.members.values()].map(({ user_id, role, user_profiles }) =>
    element("li", { className: present.has(user_id) ? "present" : "" },
      element("strong", { textContent: user_profiles?.display_name }), element("small", { textContent: role }),
      user_id !== me.id && button("Message", async () => openChannel((await call("open_direct", { user_ids: [user_id] })).id))));
  if (role !== "member" && kind === "channel") {
    const others = (await call("list_workspace_members", { workspace_id })).filter(({ user_id }) => !view.members.has(user_id));
    items.push(...others.map(({ user_id, display_name }) =>
      element("li", {}, element("strong", { textContent: display_name }), button("Add", async () => {
        await supabase.from("channel_members").insert({ channel_id: view.id, user_id }).throwOnError();
        await loadMembers();
        byId("show-members").click();
      }))));
  }
  openPanel("Members", ...items);
};

function joinLive(topic) {
  const joined = (view.live = supabase.channel(`${topic}:live`, { config: { private: true, presence: { key: me.id } } }));
  joined
    .on("presence", { event: "sync" }, () => byId("show-members").textContent = `Members · ${Object.keys(joined.presenceState()).length} here`)
    .on("broadcast", { event: "typing" }, ({ payload }) => startTyping(payload.user_id))
    .subscribe((status) => status === "SUBSCRIBED" && joined.track({}));
}

let typed = 0;
function sayTyping() {
  if (Date.now() - typed < 2000) return;
  typed = Date.now();
  if (view.live?.state === "joined") view.live.send({ type: "broadcast", event: "typing", payload: { user_id: me.id } });
}

function startTyping(id) {
  if (!view?.members.has(id) || id === me.id) return;
  clearTimeout(view.typing.get(id));
  view.typing.set(id, setTimeout(stopTyping, 4000, id));
  showTyping();
}

function stopTyping(id) {
  clearTimeout(view?.typing.get(id));
  if (view?.typing.delete(id)) showTyping();
}

function showTyping() {
  const names = [...view.typing.keys()].map((id) => view.members.get(id)?.user_profiles?.display_name);
  byId("typing").textContent = names.length > 0 ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} writing …` : "";
}

const { data: { session } } = await supabase.auth.getSession();
if (session) await start(session);
else byId("sign-in").hidden = false;
