// One message of a channel, and what may be done with it.

import { call } from "./client.js";
import { Act, Avatar, Form, html, Media, Text, Time, Versions } from "./ui.js";
import { useState } from "./vendor/libraries.js";

const QUICK = ["👍", "❤️", "😂", "🎉", "👀", "🙏"];
const CLOSE = 5 * 60 * 1000; // messages of one author within this time have one head
const GLYPHS = { thumbsup: "👍", fire: "🔥", heart: "❤️" };

const versions = async (id) => (await call("list_message_edits", { id })).data
  .map((each) => ({ at: each.written_at, text: each.content }));

function Tools({ row, isMine, mayDelete, onReply, onEdit, close }) {
  const then = (work) => async () => {
    await work();
    close();
  };
  const pin = () => call(row.is_pinned ? "unpin_message" : "pin_message", { id: row.id });
  return html`<div class="tools-of" role="group" aria-label="Actions for this message">
    ${QUICK.map((emoji) => html`<${Act} class="plain" aria-label=${`React with ${emoji}`}
      onPress=${then(() => call("toggle_reaction", { id: row.id, emoji }))}>${emoji}</${Act}>`)}
    ${onReply && html`<button onClick=${then(async () => onReply(row))}>Reply</button>`}
    <${Act} onPress=${then(pin)}>${row.is_pinned ? "Unpin" : "Pin"}</${Act}>
    ${isMine && html`<button onClick=${then(async () => onEdit())}>Edit</button>`}
    ${(isMine || mayDelete) && html`<${Act} class="bad" confirm="Delete this message?"
      onPress=${() => call("delete_message", { id: row.id, ...!isMine && { admin: true } })}>Delete</${Act}>`}
  </div>`;
}

function Reactions({ row, user, names }) {
  const counted = new Map();
  for (const { emoji, user_id: id } of row.reactions) counted.set(emoji, [...counted.get(emoji) ?? [], id]);
  if (!counted.size) return null;
  return html`<p class="reactions">${[...counted].map(([emoji, ids]) => html`<${Act} key=${emoji}
    class=${`reaction ${ids.includes(user.id) ? "mine" : ""}`} title=${ids.map((id) => names.get(id)).join(", ")}
    aria-pressed=${ids.includes(user.id)} aria-label=${`${emoji}, ${ids.length}`}
    onPress=${() => call("toggle_reaction", { id: row.id, emoji })}>
    <bdi>${GLYPHS[emoji] ?? emoji}</bdi> ${ids.length}</${Act}>`)}</p>`;
}

/** The name of the author of a message. */
export function authorOf(row, names) {
  const author = row.user_id ?? row.ai_twin_id;
  return names.get(author) ?? (author ? "…" : "Deleted user");
}

export function Message({ row, before, user, channel, names, files, replies, mayMiss, onReply }) {
  const [isOpen, setOpen] = useState(false);
  const [mode, setMode] = useState();
  const name = authorOf(row, names);
  const isMine = row.user_id === user.id;
  const isSame = before && before.user_id === row.user_id && before.ai_twin_id === row.ai_twin_id
    && Date.parse(row.created_at) - Date.parse(before.created_at) < CLOSE
    && new Date(row.created_at).toDateString() === new Date(before.created_at).toDateString();
  const shown = (row.attachments ?? []).map((each) => files.get(each?.id ?? each?.attachment_id));
  return html`<article class=${`message ${isSame ? "same" : ""}`} aria-label=${`Message of ${name}`}>
    ${isSame ? html`<span></span>` : html`<${Avatar} name=${name} />`}
    <div>
    ${!isSame && html`<p class="sender"><strong><bdi>${name}</bdi></strong>
      ${row.ai_twin_id && html` <span class="tag">Twin</span>`} <${Time} value=${row.created_at} clock /></p>`}
    ${mode === "edit" ? html`<${Form} action="Save" class="edit" keep onSend=${async ({ content }) => {
      await call("edit_message", { id: row.id, content });
      setMode();
    }}><textarea name="content" aria-label="Text" dir="auto" rows="3" maxlength="40000" defaultValue=${row.content}>
      </textarea>
      <button type="button" onClick=${() => setMode()}>Cancel</button></${Form}>`
      : html`<${Text} text=${row.content} names=${names} />`}
    ${shown.map((file) => file && html`<${Media} key=${file.id} type=${file.type} url=${file.url}
      name=${file.file_name} />`)}
    ${row.attachments?.length > 0 && shown.some((file) => file === undefined)
      && html`<p class="quiet">This file is no longer available.</p>`}
    <${Reactions} row=${row} user=${user} names=${names} />
    <p class="meta">${row.is_pinned && html`<span>Pinned</span>`}
      ${row.updated_at !== row.created_at && html`<button class="link"
        onClick=${() => setMode("edits")}>Edited</button>`}
      ${onReply && replies && html`<button class="link" onClick=${() => onReply(row)}>${replies}${mayMiss && "+"}
        ${replies === 1 ? " reply" : " replies"}</button>`}</p>
    ${isOpen && html`<${Tools} row=${row} isMine=${isMine} mayDelete=${channel.role !== "member"} onReply=${onReply}
      onEdit=${() => setMode("edit")} close=${() => setOpen(false)} />`}
    ${mode === "edits" && html`<${Versions} load=${() => versions(row.id)} onClose=${() => setMode()} />`}
    </div>
    <button class="plain dots" aria-label="Message actions" aria-expanded=${isOpen}
      onClick=${() => setOpen(!isOpen)}>⋯</button>
  </article>`;
}
