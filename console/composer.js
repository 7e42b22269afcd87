// The box to write in. A message has its id before it is sent, so sending it again stores it once.

import { table, upload } from "./client.js";
import { session } from "./session.js";
import { useAct } from "./state.js";
import { Failure, html } from "./ui.js";
import { useRef, useState } from "./vendor/libraries.js";

const EMPTY = { text: "", files: [] };
const drafts = new Map(); // what is in each box; its id, if it was given back after a failure
const MOST = 40000; // characters of a message
const REFUSED = "This file cannot be sent. HTML, SVG and XML are not accepted.";
const TAKEN = "23505"; // unique_violation: an earlier attempt has stored the message

async function attach(channelId, file) {
  const id = crypto.randomUUID();
  await upload(`${channelId}/${id}`, file).catch((error) => {
    throw error.message.includes("row-level") ? new Error(REFUSED) : error; // a policy of Storage
  });
  await table("attachments").insert({ id, channel_id: channelId, file_name: file.name.slice(-255) || "file" });
  return { id, name: file.name };
}

async function send(channelId, parentId, { id, text, files }) {
  try {
    await table("messages").insert({
      id, channel_id: channelId, parent_message_id: parentId,
      content: text.trim() ? text : files.map((each) => each.name).join(", "),
      ...files.length && { attachments: files.map((each) => ({ id: each.id })) },
    });
  } catch (error) {
    if (error.code !== TAKEN || !error.message.includes("messages_pkey")) throw error;
  }
}

export function Composer({ channel, parentId, onType, label }) {
  const key = `${session.get()?.user.id}/${channel.id}/${parentId ?? ""}`; // the next user of the tab has others
  const current = () => drafts.get(key) ?? EMPTY;
  const [{ text, files }, show] = useState(current);
  const sending = useAct();
  const attaching = useAct();
  const waiting = useRef([]); // what was not answered yet, the oldest first
  const box = useRef();
  const picker = useRef();
  function write(changes) {
    drafts.set(key, { ...current(), id: undefined, ...changes }); // without its id, because it is another message
    show(current());
  }
  function type(next) {
    write({ text: next });
    onType?.(next !== "");
  }
  async function submit(event) {
    event?.preventDefault();
    box.current?.focus();
    if (attaching.isBusy || (!text.trim() && !files.length)) return;
    waiting.current.push({ ...current(), id: current().id ?? crypto.randomUUID() });
    write(EMPTY);
    onType?.(false);
    if (waiting.current.length > 1) return; // the loop below sends it in its turn
    const sent = await sending.act(async () => {
      for (; waiting.current.length; waiting.current.shift()) await send(channel.id, parentId, waiting.current[0]);
    });
    if (!sent) giveBack(waiting.current.splice(0));
  }
  function giveBack(unsent) {
    const all = [...unsent, current()].filter((each) => each.text || each.files.length);
    const texts = all.map((each) => each.text).filter(Boolean);
    write(all.length === 1 ? all[0] : { text: texts.join("\n"), files: all.flatMap((each) => each.files) });
  }
  const press = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event);
  const choose = (event) => attaching.act(async () => {
    const chosen = [...event.target.files];
    event.target.value = ""; // else the browser does not tell of the same choice again
    for (const file of chosen) {
      const added = await attach(channel.id, file);
      write({ files: [...current().files, added] });
    }
  });
  return html`<form class="composer" aria-label=${label} onSubmit=${submit}>
    <${Failure} error=${sending.error ?? attaching.error} />
    ${files.length > 0 && html`<ul class="chips">${files.map((each) => html`<li><bdi>${each.name}</bdi>
      <button type="button" class="plain" aria-label=${`Remove ${each.name}`}
        onClick=${() => write({ files: files.filter((one) => one !== each) })}>✕</button></li>`)}</ul>`}
    <div><button type="button" aria-label="Attach files" onClick=${() => picker.current.click()}>+</button>
      <input type="file" multiple class="hidden" tabindex="-1" aria-hidden="true" ref=${picker} onChange=${choose} />
      <textarea ref=${box} rows=${Math.min(8, text.split("\n").length)} dir="auto" aria-label=${label}
        placeholder=${label}
        maxlength=${MOST} value=${text} onInput=${(event) => type(event.target.value)} onKeyDown=${press}></textarea>
      <button class="primary" disabled=${attaching.isBusy}>Send</button></div>
  </form>`;
}
