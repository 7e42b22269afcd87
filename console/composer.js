// The box to write in. A message has its id before it is sent, so sending it again stores it once.

import { table, upload } from "./client.js";
import { session } from "./session.js";
import { useAct } from "./state.js";
import { Failure, html } from "./ui.js";
import { useRef, useState } from "./vendor/libraries.js";

const drafts = new Map();
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

async function send(message) {
  try {
    await table("messages").insert(message);
  } catch (error) {
    if (error.code !== TAKEN || !error.message.includes("messages_pkey")) throw error;
  }
}

export function Composer({ channel, parentId, onType, label }) {
  const key = `${session.get()?.user.id}/${channel.id}/${parentId ?? ""}`; // the next user of the tab has others
  const [text, setText] = useState(drafts.get(key) ?? "");
  const [files, setFiles] = useState([]);
  const { act, error, isBusy } = useAct();
  const id = useRef();
  const box = useRef();
  const picker = useRef();
  function write(next) {
    id.current = undefined; // another text is another message
    drafts.set(key, next);
    setText(next);
    onType?.(next !== "");
  }
  async function submit(event) {
    event?.preventDefault();
    if (isBusy || (!text.trim() && !files.length)) return;
    id.current ??= crypto.randomUUID();
    const sent = await act(() => send({
      id: id.current, channel_id: channel.id, parent_message_id: parentId ?? null,
      content: text.trim() ? text : files.map((each) => each.name).join(", "),
      ...files.length && { attachments: files.map((each) => ({ id: each.id })) },
    }));
    if (sent) {
      write("");
      setFiles([]);
    }
    box.current?.focus();
  }
  const press = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event);
  const choose = (event) => act(async () => {
    const chosen = [...event.target.files];
    for (const file of chosen) {
      const added = await attach(channel.id, file);
      setFiles((old) => [...old, added]);
    }
    picker.current.value = "";
  });
  return html`<form class="composer" aria-label=${label} onSubmit=${submit}>
    <${Failure} error=${error} />
    ${files.length > 0 && html`<ul class="chips">${files.map((each) => html`<li><bdi>${each.name}</bdi>
      <button type="button" class="plain" aria-label=${`Remove ${each.name}`}
        onClick=${() => setFiles(files.filter((one) => one !== each))}>✕</button></li>`)}</ul>`}
    <div><button type="button" aria-label="Attach files" onClick=${() => picker.current.click()}>+</button>
      <input type="file" multiple class="hidden" tabindex="-1" aria-hidden="true" ref=${picker} onChange=${choose} />
      <textarea ref=${box} rows=${Math.min(8, text.split("\n").length)} dir="auto" aria-label=${label}
        placeholder=${label}
        maxlength=${MOST} value=${text} onInput=${(event) => write(event.target.value)} onKeyDown=${press}></textarea>
      <button class="primary" disabled=${isBusy}>Send</button></div>
  </form>`;
}
