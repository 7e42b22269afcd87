// One channel: its messages as they happen, the thread of a message, who is here, and the box to write in.

import { call, config, signLinks, table, useNames } from "./client.js";
import { channelName, channels } from "./channels.js";
import { Composer } from "./composer.js";
import { useFollow, useLive } from "./live.js";
import { Members } from "./members.js";
import { authorOf, Message } from "./message.js";
import { Scroller, usePages } from "./pages.js";
import { useLoad } from "./state.js";
import { Summary } from "./summary.js";
import { Act, Day, Dialog, Head, html, Loading, Menu, Text } from "./ui.js";
import { useEffect, useRef, useState } from "./vendor/libraries.js";

const PAGE = 60;
const FIELDS = "id, seq, user_id, ai_twin_id, content, parent_message_id, attachments, created_at, updated_at, "
  + "reactions:message_reactions(user_id, emoji), pins:message_pins(message_id)";
const keyOf = (row) => String(row.seq);

function load(channelId, parentId, edge, isOlder) {
  let query = table("messages").select(FIELDS).eq("channel_id", channelId);
  if (parentId) query = query.or(`id.eq.${parentId},parent_message_id.eq.${parentId}`);
  // An edge that is wanted itself comes with the older ones.
  if (edge) query = query.filter("seq", isOlder ? edge.isWanted ? "lte" : "lt" : "gt", edge.seq);
  return query.order("seq", { ascending: !isOlder }).limit(PAGE)
    .then((rows) => rows.map((row) => ({ ...row, is_pinned: [row.pins].flat().filter(Boolean).length > 0 })));
}

const fromEvent = ({ seq, metadata, ...row }) => ({ ...row, seq, reactions: [], is_pinned: metadata?.pinned === true });

/** Applies an event of the channel to the messages that are loaded. */
function apply(pages, event, payload, isShown) {
  const { items } = pages;
  const keyOfId = (id) => items.find((row) => row.id === id)?.seq;
  const change = (id, how) => keyOfId(id) !== undefined && pages.change(String(keyOfId(id)), how);
  const reacted = ({ reactions, ...row }) => ({
    ...row,
    reactions: [
      ...reactions.filter((each) => each.user_id !== payload.user_id || each.emoji !== payload.emoji),
      ...event === "reaction.added" ? [{ user_id: payload.user_id, emoji: payload.emoji }] : [],
    ],
  });
  if (event === "message.created") {
    if (isShown(payload) && keyOfId(payload.id) === undefined && !payload.deleted) pages.add([fromEvent(payload)]);
  } else if (event === "message.deleted") change(payload.id, () => null);
  else if (event.startsWith("reaction.")) change(payload.message_id, reacted);
  else if (event.startsWith("message.")) {
    const { content, attachments, updated_at, metadata } = payload;
    change(payload.id, (row) => ({ ...row, ...content !== undefined && { content, attachments, updated_at },
      is_pinned: metadata ? metadata.pinned === true : event === "message.pinned" }));
  }
}

function useMessages(channel, parentId, around) {
  const pages = usePages({
    load: (edge, isOlder) => load(channel.id, parentId, edge, isOlder),
    compare: (a, b) => a.seq - b.seq, keyOf, size: PAGE, inputs: [channel.id, parentId, around],
  });
  const now = useRef();
  now.current = pages;
  const isShown = (message) => !parentId || message.parent_message_id === parentId;
  const at = { seq: around, isWanted: true };
  const begin = () => now.current.reset(around ? { at, key: String(around) } : "newest");
  const isFollowing = useRef(false);
  useFollow({
    channelId: channel.id, since: "now",
    // Asks first where the log ends. A page loaded after that, and the events from there on, miss nothing.
    onReload() {
      if (isFollowing.current) return now.current.refresh();
      isFollowing.current = true;
      return begin();
    },
    onEvent: (event, payload) => apply(now.current, event, payload, isShown),
    onEnd: channels.load,
  });
  useEffect(() => {
    if (isFollowing.current) begin();
  }, [parentId, around]);
  return pages;
}

// Only pictures, sounds and films are opened; other files are saved, because an SVG could run scripts.
const INLINE = /^(image\/(png|jpeg|gif|webp|avif)|(audio|video)\/[\w.+-]+)$/;

function withLink(file, link) {
  const type = INLINE.test(file.content_type) ? file.content_type.split("/")[0] : "file";
  return { ...file, type, url: type === "file" ? `${link}&download=${encodeURIComponent(file.file_name)}` : link };
}

function useFiles(items) {
  const [files, setFiles] = useState(new Map());
  const ids = [...new Set(items.flatMap((row) => row.attachments).map((each) => each?.id ?? each?.attachment_id))]
    .filter((id) => /^[0-9a-f-]{36}$/i.test(id ?? "") && !files.has(id));
  useEffect(() => {
    if (!ids.length) return;
    setFiles((old) => new Map([...old, ...ids.map((id) => [id, null])]));
    (async () => {
      const rows = await table("attachments").select("*").in("id", ids);
      const urlOf = rows.length && await signLinks(rows.map((row) => row.path));
      const found = rows.map((row) => [row.id, withLink(row, urlOf.get(row.path))]);
      setFiles((old) => new Map([...old, ...ids.map((id) => [id]), ...found])); // those without a row are gone
    })().catch(() => {});
  }, [ids.join()]);
  return files;
}

// Where the cited messages are.
async function addresses(channelId, ids) {
  const rows = await table("messages").select("id, seq").in("id", ids);
  return new Map(rows.map((each) => [each.id, `#/channels/${channelId}/${each.seq}`]));
}

function Pins({ channel, onClose }) {
  const pins = useLoad(() => table("message_pins")
    .select("pinned_at, message:messages(id, seq, content, user_id, ai_twin_id)")
    .eq("channel_id", channel.id).order("pinned_at", { ascending: false }).limit(100), []);
  const rows = (pins.data ?? []).map((each) => each.message).filter(Boolean);
  const names = useNames(rows.map((row) => row.user_id), rows.map((row) => row.ai_twin_id));
  return html`<${Dialog} title="Pinned messages" onClose=${onClose}><${Loading} ...${pins} />
    ${pins.data?.length === 0 && html`<p class="quiet">No pinned messages.</p>`}
    <ul class="plain-list">${rows.map((message) => html`<li>
      <a href=${`#/channels/${channel.id}/${message.seq}`} onClick=${onClose}><bdi>${authorOf(message, names)}</bdi>
        </a>
      <${Text} text=${message.content} names=${names} /></li>`)}</ul></${Dialog}>`;
}

function List({ pages, user, channel, names, files, label, onReply, parentId, onRead }) {
  const replies = new Map();
  for (const row of pages.items) {
    if (row.parent_message_id) replies.set(row.parent_message_id, (replies.get(row.parent_message_id) ?? 0) + 1);
  }
  const items = parentId ? pages.items : pages.items.filter((row) => !row.parent_message_id);
  return html`<${Scroller} pages=${{ ...pages, items }} keyOf=${keyOf} label=${label} empty="No messages"
    onEnd=${onRead}
    render=${(row, before) => html`<${Day} value=${row.created_at} before=${before?.created_at} />
      <${Message} row=${row} before=${before} user=${user} channel=${channel} names=${names} files=${files}
        replies=${replies.get(row.id)} mayMiss=${pages.hasNewer} onReply=${onReply} />`} />`;
}

const people = (rows, rest) => [
  [...rows.flatMap((row) => [row.user_id, ...row.reactions.map((each) => each.user_id)]), ...rest],
  rows.map((row) => row.ai_twin_id),
];

function Replies({ parent, channel, user, onClose }) {
  const pages = useMessages(channel, parent.id, parent.around);
  const names = useNames(...people(pages.items, []));
  const files = useFiles(pages.items);
  return html`<aside class="side" aria-label="Thread"><${Head} level=${2} title="Thread">
    <button class="plain" aria-label="Close the thread" onClick=${onClose}>✕</button></${Head}>
    <${List} pages=${pages} user=${user} channel=${channel} names=${names} files=${files} parentId=${parent.id}
      label="Messages of the thread" />
    <${Composer} channel=${channel} parentId=${parent.id} label="Reply" /></aside>`;
}

export function Channel({ channel, around, user }) {
  const pages = useMessages(channel, null, around);
  const { here, typing, type } = useLive(channel.topic, user.id);
  const memberIds = channel.members.map((each) => each.user_id);
  const names = useNames(...people(pages.items, [...memberIds, ...here, ...typing]));
  const files = useFiles(pages.items);
  const [parent, setParent] = useState();
  const [panel, setPanel] = useState();
  useEffect(() => { // a reply that is looked for is shown in its thread
    const found = pages.items.find((row) => keyOf(row) === pages.place?.key);
    if (found?.parent_message_id) setParent({ id: found.parent_message_id, around });
  }, [pages.place]);
  const seen = useRef(channel.read_seq);
  const newest = Math.max(channel.last_seq, pages.items.at(-1)?.seq ?? 0);
  function read() {
    if (newest <= seen.current || (pages.error && !last)) return;
    seen.current = newest;
    call("mark_read", { channel_id: channel.id, seq: newest }).then(channels.load, () => (seen.current = 0));
  }
  const mine = { channel_id: channel.id, user_id: user.id };
  const set = (change) => async () => {
    await table("member_states").update(change).match(mine);
    await channels.load();
  };
  const others = here.filter((id) => id !== user.id);
  const writers = typing.map((id) => names.get(id) ?? "A member");
  const last = pages.items.at(-1);
  const first = useRef();
  if (pages.isLoaded) first.current ??= last?.seq ?? 0;
  const isNews = last?.seq > first.current && last.user_id !== user.id;
  return html`<div class="split"><div class="column">
    <${Head} level=${2} back="#/channels" title=${channelName(channel, user.id)}>
      <span class="quiet here" title=${others.map((id) => names.get(id)).join(", ")}>${others.length} here</span>
      <button onClick=${() => setPanel("pins")}>Pins</button>
      <button onClick=${() => setPanel("members")}>Members (${channel.member_count})</button>
      <${Menu}>
        <${Act} onPress=${set({ is_muted: !channel.is_muted })}>${channel.is_muted ? "Unmute" : "Mute"}</${Act}>
        <${Act} onPress=${set({ is_pinned: !channel.is_pinned })}>
          ${channel.is_pinned ? "Stop keeping at the top" : "Keep at the top"}</${Act}>
        ${config.service && html`<button onClick=${() => setPanel("summary")}>Summarize</button>`}
        <${Act} confirm=${channel.kind === "dm" ? "Hide these direct messages?" : "Leave this channel?"}
          onPress=${async () => {
            await table("channel_members").delete().match(mine);
            await channels.load();
            location.hash = "#/channels";
          }}>${channel.kind === "dm" ? "Hide" : "Leave"}</${Act}></${Menu}>
    </${Head}>
    <${List} pages=${pages} user=${user} channel=${channel} names=${names} files=${files} onReply=${setParent}
      label=${`Messages of ${channelName(channel, user.id)}`} onRead=${read} />
    <p class="typing" role="status">${writers.length > 0
      && `${writers.slice(0, 3).join(", ")} ${writers.length > 1 ? "are" : "is"} typing …`}</p>
    <p class="hidden" role="status">
      ${isNews && `${authorOf(last, names)}: ${last.content.slice(0, 200)}`}</p>
    <${Composer} channel=${channel} onType=${type} label="Message" /></div>
    ${parent && html`<${Replies} key=${parent.id} parent=${parent} channel=${channel} user=${user}
      onClose=${() => setParent()} />`}
    ${panel === "members" && html`<${Members} channel=${channel} here=${here} user=${user}
      onClose=${() => setPanel()} />`}
    ${panel === "pins" && html`<${Pins} channel=${channel} onClose=${() => setPanel()} />`}
    ${panel === "summary" && html`<${Summary} path="/messages/summarize" body=${{ channel_id: channel.id }}
      find=${(ids) => addresses(channel.id, ids)} onClose=${() => setPanel()} />`}
  </div>`;
}
