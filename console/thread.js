// One conversation: its messages as they are now, with files, edits, reactions and receipts, and why it has its person.

import { call, config, signLinks, table } from "./client.js";
import { Scroller, usePages } from "./pages.js";
import { useLoad } from "./state.js";
import { Summary } from "./summary.js";
import { Day, Failure, Head, html, Loading, Media, Menu, Text, Time, Versions } from "./ui.js";
import { useEffect, useRef, useState } from "./vendor/libraries.js";

const PAGE = 100;
const ORDER = ["sent_at", "sequence", "received_at", "external_id"];
export const PLATFORMS = [["whatsapp", "WhatsApp"], ["signal", "Signal"], ["telegram", "Telegram"],
  ["wechat", "WeChat"]];
export const platformName = (key) => PLATFORMS.find(([each]) => each === key)?.[1] ?? key;
// Removes characters that change the direction of text, because one name could look like another.
export const titleOf = (each) => (each.participant_name || each.participant_identifier)
  .replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "").trim() || "No name";

const keyOf = (row) => `${row.external_id}\n${row.sender}`;

/** Why a conversation belongs to its person. */
export const REASONS = {
  phone: "the same phone number",
  phone_national: "the same phone number, once its country is added",
  phone_last_ten: "the same last ten digits of the phone number",
  whatsapp_lid: "the same WhatsApp LID",
  whatsapp_bsuid: "the same WhatsApp business id",
  signal_uuid: "the same Signal id",
  telegram_id: "the same Telegram id",
  telegram_username: "the same Telegram username, which may change hands",
  wechat_openid: "the same WeChat openid",
  wechat_unionid: "the same WeChat unionid",
  email: "the same email address",
};

function compare(a, b) {
  const times = Date.parse(a.sent_at) - Date.parse(b.sent_at) || a.sequence - b.sequence;
  if (times) return times;
  for (const name of ["sent_at", "received_at", "external_id", "sender"]) {
    if (a[name] !== b[name]) return a[name] < b[name] ? -1 : 1;
  }
  return 0;
}

// Rows behind an edge, in the order of the index: equal up to one column, and beyond in the next.
function beyond(edge, sign) {
  const quote = (value) => `"${String(value).replace(/[\\"]/g, "\\$&")}"`;
  const terms = ORDER.map((name, place) => {
    const equal = ORDER.slice(0, place).map((each) => `${each}.eq.${quote(edge[each])}`);
    return `and(${[...equal, `${name}.${sign}.${quote(edge[name])}`].join()})`;
  });
  return terms.join();
}

function load(id, edge, isOlder) {
  let query = table("conversation_messages").select("*").eq("conversation_id", id);
  if (edge) {
    // The first term bounds the index.
    query = query.filter("sent_at", isOlder ? "lte" : "gte", edge.sent_at).or(beyond(edge, isOlder ? "lt" : "gt"));
  }
  for (const name of ORDER) query = query.order(name, { ascending: !isOlder });
  return query.limit(PAGE);
}

// The first of these messages that exists, because an id in a group may have several senders.
const find = async (id, externalId) => (await table("conversation_messages").select("*")
  .eq("conversation_id", id).eq("external_id", externalId).limit(1))[0];

const read = async (id) => (await table("conversations")
  .select("*, person:people(id, full_name, phone), conversation_identifiers(kind, value)").eq("id", id))[0] ?? null;

async function versions(row) {
  const edits = await table("conversation_updates").select("at, value").match({
    conversation_id: row.conversation_id, external_id: row.external_id, sender: row.sender, type: "edited",
  }).order("at");
  return [{ at: row.original?.sent_at, value: row.original }, ...edits].filter((each) => each.value)
    .map(({ at, value }) => ({ at, text: value.content }));
}

// Senders choose the other fields of a message, so each may be any JSON.
function tidy(message) {
  const text = (value) => (["string", "number"].includes(typeof value) ? String(value) : undefined);
  const texts = ["content", "media_url", "reply_to", "status", "status_at", "failure"];
  const reactions = Array.isArray(message.reactions) ? message.reactions : [];
  return {
    ...message, ...Object.fromEntries(texts.map((name) => [name, text(message[name])])),
    reactions: reactions.filter((each) => text(each?.emoji))
      .map(({ emoji, by }) => ({ emoji: text(emoji), by: text(by) })),
  };
}

function Reactions({ list }) {
  const counted = new Map();
  for (const { emoji, by } of list) counted.set(emoji, [...counted.get(emoji) ?? [], by ?? "the participant"]);
  return html`<p class="reactions">${[...counted].map(([emoji, who]) => html`<span class="reaction"
    title=${who.join(", ")}><bdi>${emoji}</bdi> ${who.length > 1 && who.length}</span>`)}</p>`;
}

function Quote({ id, rows }) {
  const row = rows.find((each) => each.external_id === id);
  if (!row) return html`<p class="note">Reply to an earlier message</p>`;
  return html`<p class="note quote">Reply to: <bdi>${row.message.content?.slice(0, 100) || row.message.type}</bdi></p>`;
}

function Message({ row, before, conversation, via, rows }) {
  const [isOpen, setOpen] = useState(false);
  const message = tidy(row.message);
  const isOut = message.direction === "outbound";
  const sentAt = row.stated_at ?? row.sent_at;
  const sender = conversation.kind === "group" && !isOut && row.sender !== before?.sender && row.sender;
  return html`<${Day} value=${sentAt} before=${before && (before.stated_at ?? before.sent_at)} />
  <article class=${`bubble ${isOut ? "out" : "in"} ${message.type === "system" ? "system" : ""}`}
    aria-label=${`${isOut ? "Sent" : "Received"} ${message.type}`}>
    ${sender && html`<p class="sender"><bdi>${sender}</bdi></p>`}
    ${message.forwarded === true && html`<p class="note">Forwarded</p>`}
    ${message.reply_to && html`<${Quote} id=${message.reply_to} rows=${rows} />`}
    ${message.deleted ? html`<p class="quiet">This message was deleted.</p>` : html`
      ${message.media_url && html`<${message.media_url.startsWith(STORED) ? Stored : Media} key=${message.media_url}
        type=${message.type} url=${message.media_url} />`}
      ${message.content ? html`<${Text} text=${message.content} />`
        : !message.media_url && html`<p class="quiet">${message.type} without text</p>`}`}
    ${message.reactions.length > 0 && html`<${Reactions} list=${message.reactions} />`}
    <p class="meta">
      ${message.pinned === true && html`<span>Pinned</span>`}
      ${message.edited_at && !message.deleted
        && html`<button class="link" onClick=${() => setOpen(true)}>Edited</button>`}
      ${via && html`<span><bdi>${via}</bdi></span>`}
      ${row.stated_at && html`<span title="Dated after its arrival: the sender's clock is ahead">Wrong clock</span>`}
      <${Time} value=${sentAt} clock />
      ${message.status && html`<span class=${message.status === "failed" ? "bad" : ""}
        title=${new Date(message.status_at).toLocaleString()}>
          ${message.status}${message.failure && `: ${message.failure}`}</span>`}
    </p>
    ${isOpen && html`<${Versions} load=${() => versions(row)} onClose=${() => setOpen(false)} />`}
  </article>`;
}

function Facts({ conversation: it }) {
  const { person } = it;
  return html`<dl class="facts">
    <dt>Person</dt><dd>${person
      ? html`<a href=${`#/people/${person.id}`}><bdi>${person.full_name}</bdi></a>, because of
          ${" "}${REASONS[it.matched_by] ?? it.matched_by}`
      : it.kind === "group" ? "Groups belong to no person."
      : html`No person fits, or two fit equally well. <a href=${`#/people/new/${it.id}`}>Add a person</a>`}</dd>
    <dt>Identifier</dt><dd><bdi>${it.participant_identifier}</bdi>
      ${it.conversation_identifiers.filter((each) => each.value !== it.participant_identifier)
        .map((each) => html`<br /><bdi>${each.value}</bdi> <span class="quiet">${each.kind}</span>`)}</dd>
    <dt>Platform</dt><dd>${platformName(it.platform)}, <bdi>${it.external_conversation_id}</bdi></dd>
    <dt>Messages</dt><dd>${it.message_count.toLocaleString()}</dd></dl>`;
}

const STORED = "/storage/v1/object/authenticated/attachments/";

// A file in the project's Storage opens with a link that is valid for an hour.
function Stored({ type, url, ...rest }) {
  const path = url.slice(STORED.length);
  const links = useLoad(() => signLinks([path]), [path]);
  if (!links.data) return html`<${Loading} ...${links} />`;
  const link = links.data.get(path);
  if (!link) return html`<p class="quiet">This file is no longer available.</p>`;
  const isSaved = type === "file"; // else an SVG could run scripts
  return html`<${Media} type=${type} url=${isSaved ? `${link}&download=` : link} name=${`the ${type}`} ...${rest} />`;
}

export function Thread({ id, connections, updates, around, onRead }) {
  const [isSummed, setSummed] = useState(false);
  const seen = useRef();
  const conversation = useLoad(() => read(id), [id]);
  const pages = usePages({
    load: (edge, isOlder) => load(id, edge, isOlder), compare, keyOf, size: PAGE, inputs: [id],
  });
  useEffect(() => {
    if (!around) pages.reset();
    else find(id, around).then((row) => pages.reset(row && { at: row, found: [row], key: keyOf(row) }),
      () => pages.reset());
  }, [id, around]);
  updates.current = ({ messages = [], messages_added: added }) => {
    conversation.reload();
    if (added !== 0) pages.refresh();
    // What updates changed: each is a message as it is now.
    else for (const message of messages) {
      const sender = it?.kind === "group" ? message.sender ?? "" : "";
      const change = (row) => ({ ...row, message, original: row.original ?? row.message });
      pages.change(`${message.id}\n${sender}`, change);
    }
  };
  useEffect(() => () => (updates.current = null), []);
  function markRead() {
    const at = pages.items.at(-1)?.sent_at;
    if (!at || at === seen.current) return;
    seen.current = at;
    call("mark_conversation_read", { conversation_id: id, at }).then(onRead, () => (seen.current = undefined));
  }
  const it = conversation.data;
  if (!it) {
    return html`<${Head} title="Conversation" level=${2} back="#/inbox" />
      ${it === null ? html`<${Failure} error=${Error("This conversation does not exist, or you may not see it.")} />`
        : html`<${Loading} ...${conversation} />`}`;
  }
  const nameOf = new Map(connections.map((each) => [each.id, each.connection_id]));
  const isMixed = new Set(pages.items.map((row) => row.connection_id)).size > 1;
  return html`<${Head} level=${2} back="#/inbox" title=${titleOf(it)}>
      ${it.message_count > 0 && html`<${Menu}>
        <button onClick=${() => pages.reset("oldest")}>First message</button>
        ${config.service && html`<button onClick=${() => setSummed(true)}>Summarize</button>`}</${Menu}>`}
    </${Head}>
    <details class="about"><summary>${it.person
      ? html`Matched to <bdi>${it.person.full_name}</bdi>` : it.kind === "group" ? "Group" : "Matched to no person"}
      </summary><${Facts} conversation=${it} /></details>
    <${Scroller} pages=${pages} keyOf=${keyOf} label=${`Messages with ${titleOf(it)}`} empty="No messages"
      onEnd=${markRead}
      render=${(row, before) => html`<${Message} row=${row} before=${before} conversation=${it} rows=${pages.items}
        via=${isMixed && (nameOf.get(row.connection_id) ?? "another connection")} />`} />
    ${isSummed && html`<${Summary} path=${`/conversations/${id}/summarize`} onClose=${() => setSummed(false)}
      find=${(ids) => new Map(ids.map((each) => [each, `#/inbox/${id}/${encodeURIComponent(each)}`]))} />`}`;
}
