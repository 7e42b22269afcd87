// Import → Messaging: the connections of a workspace, their keys, and what came in over them.

import { call, config, table } from "./client.js";
import { useInbox } from "./inbox.js";
import { reloading, useLoad } from "./state.js";
import { platformName, PLATFORMS, titleOf } from "./thread.js";
import { Act, Copy, Dialog, Empty, Field, Form, Head, html, Loading, Once, Section, Table, Time } from "./ui.js";
import { useState } from "./vendor/libraries.js";

const LINES = 50;

function firstMessage(connection) {
  const now = new Date();
  const message = {
    id: `console-${now.getTime()}`,
    direction: "inbound",
    type: "text",
    content: "Hello from my own connection",
    sent_at: now.toISOString(),
  };
  const conversation = {
    external_conversation_id: "first-conversation",
    participant_identifier: "+4915112345678",
    participant_name: "Ada",
    messages: [message],
  };
  return { platform: connection.platform, connection_id: connection.connection_id, conversations: [conversation] };
}

// The newest conversation, when the newest key of a connection has brought a message.
async function findArrived({ connection_id, platform }, space) {
  const within = { workspace_id: space.id };
  const { keys } = await table("messaging_connections").select("keys").match({ connection_id }).single();
  const [line] = await table("ingest_log").select("id").match({ ...within, key_id: keys.at(-1).id })
    .filter("messages_added", "gt", 0).limit(1);
  const [newest] = line ? await table("conversations").select("*").match({ ...within, platform })
    .order("updated_at", { ascending: false }).limit(1) : [];
  return newest;
}

function Secret({ connection, space, user, onClose }) {
  const { data: arrived, reload } = useLoad(() => findArrived(connection, space), [connection.api_secret]);
  const [curl] = useState(() => `curl -sS -w "\\n" ${config.url}/functions/v1/messaging-ingest \\
  -H 'Content-Type: application/json' -H 'x-api-key: ${connection.api_secret}' \\
  -d '${JSON.stringify(firstMessage(connection))}'`);
  const look = () => arrived ?? reload();
  useInbox(space, user, look, look);
  return html`<${Dialog} title=${`Secret of ${connection.connection_id}`} onClose=${onClose}>
    <${Once} text=${connection.api_secret} label="Copy secret">Copy the secret now. It is shown only once; the database
      keeps only its hash.</${Once}>
    <h3>Send a first message</h3>
    <p>Paste this into a terminal:</p>
    <pre tabindex="0"><code>${curl}</code></pre>
    <p><${Copy} text=${curl} label="Copy command" /></p>
    <p role="status">${arrived
      ? html`<strong>It arrived.</strong> <a href=${`#/inbox/${arrived.id}`}>Open ${titleOf(arrived)}</a>`
      : "Waiting for the first message …"}</p>
  </${Dialog}>`;
}

function Key({ each, onDone }) {
  const revoke = reloading(onDone)(() => call("revoke_messaging_key", { key_id: each.id }));
  const isOver = each.expires_at && new Date(each.expires_at) <= new Date();
  return html`<li>Key of <${Time} value=${each.created_at} both />,
    ${each.last_used_at ? html` used <${Time} value=${each.last_used_at} both />` : " never used"}
    ${each.expires_at && html`, ${isOver ? "ended" : "ends"} <${Time} value=${each.expires_at} both />`}
    ${!isOver && html` <${Act} class="link" confirm="Revoke this key? Requests with it are refused at once."
      onPress=${revoke}>Revoke</${Act}>`}</li>`;
}

function Connection({ each, space, onDone, onSecret }) {
  const rotate = async () => {
    const made = await call("rotate_messaging_key", { connection_id: each.connection_id, overlap: "24 hours" });
    onSecret({ ...each, ...made });
    await onDone();
  };
  const turn = reloading(onDone)(() => table("messaging_connections").update({ is_active: !each.is_active })
    .eq("id", each.id).select("id").single());
  return html`<li class="card"><div class="card-top"><h3><bdi>${each.connection_id}</bdi></h3>
      <span class="tag">${platformName(each.platform)}</span>
      ${each.is_apart && html`<span class="tag" title="It shares no conversations with other connections">Apart</span>`}
      ${!each.is_active && html`<span class="tag bad">Inactive</span>`}
      ${space.isManager && html`<span class="tools">
        <${Act} onPress=${rotate} title="The old secret works for another 24 hours">Rotate</${Act}>
        <${Act} onPress=${turn}>${each.is_active ? "Deactivate" : "Activate"}</${Act}></span>`}</div>
    ${space.isManager && html`<ul class="keys">${each.keys?.map((key) => html`<${Key} key=${key.id} each=${key}
      onDone=${onDone} />`)}</ul>`}</li>`;
}

function Log({ lines }) {
  if (!lines.length) return html`<${Empty} title="Nothing came in yet" />`;
  return html`<${Table} label="Lines of the ingest log"
    heads=${["Time", "Connection", "Answer", "Conversations", "New messages", "Errors"]}>${lines.map((line) => html`
      <tr key=${line.id}><td><${Time} value=${line.at} both /></td>
      <td><bdi>${line.connection_id}</bdi></td>
      <td class=${line.status === 200 ? "" : "bad"}>${line.status}${line.requests > 1 && ` × ${line.requests}`}</td>
      <td>${line.conversations}</td><td>${line.messages_added}</td>
      <td dir="auto">${line.errors?.join("; ") ?? (line.status === 401 ? "wrong key" : "")}</td></tr>`)}</${Table}>`;
}

export function Connections({ space, user }) {
  const [secret, setSecret] = useState();
  const connections = useLoad(() => table("messaging_connections").select("*, keys")
    .eq("workspace_id", space.id).order("created_at", { ascending: false }), [space.id]);
  const log = useLoad(() => table("ingest_log").select("*").eq("workspace_id", space.id)
    .order("id", { ascending: false }).limit(LINES), [space.id]);
  useInbox(space, user, log.reload, log.reload);
  const reload = () => Promise.all([connections.reload(), log.reload()]);
  const create = async ({ platform, connection_id: name, is_apart: apart }) => {
    const made = await call("create_messaging_connection", {
      platform, connection_id: name || undefined, workspace_id: space.id, is_apart: apart === "on",
    });
    setSecret(made);
    await reload();
  };
  const source = connections.data?.find((each) => each.is_active)?.connection_id ?? "NAME";
  const program = config.command ?? "threadline";
  const command = `${program} import chat.zip --url ${config.url} --connection ${source} --dry-run`;
  return html`<div class="page">
    <${Head} title="Import → Messaging" />
    ${space.isManager ? html`<${Section} title="New connection">
      <${Form} action="Create" class="inline" onSend=${create}>
        <${Field} label="Platform" name="platform" options=${PLATFORMS} />
        <${Field} label="Name" name="connection_id" pattern="[A-Za-z0-9_.\\-]{1,100}"
          placeholder="chosen for you if empty"
          title="Letters, digits, _ . and -" />
        <${Field} label="Keep its conversations apart" name="is_apart" type="checkbox" />
      </${Form}></${Section}>` : html`<p class="quiet">Owners and admins of this workspace make connections.</p>`}
    <${Section} title="Connections">
      <${Loading} ...${connections} />
      ${connections.data?.length === 0 && html`<${Empty} title="No connections" />`}
      <ul class="cards">${connections.data?.map((each) => html`<${Connection} key=${each.id} each=${each} space=${space}
        onDone=${reload} onSecret=${setSecret} />`)}</ul></${Section}>
    <${Section} title="Histories">
      <p>This shows what the export of a chat has, and sends nothing:</p>
      <p class="secret"><code>${command}</code><${Copy} text=${command} label="Copy command" /><span>Without${" "}
      <code>--dry-run</code>, it asks and then sends, with the secret in <code>MESSAGING_API_SECRET</code>.</span></p>
    </${Section}>
    ${space.isManager && html`<section aria-label="Ingest log"><h2>Ingest log${" "}
      <button class="link" onClick=${log.reload}>Reload</button></h2>
      <${Loading} ...${log} />${log.data && html`<${Log} lines=${log.data} />`}</section>`}
    ${secret && html`<${Secret} connection=${secret} space=${space} user=${user} onClose=${() => setSecret()} />`}
  </div>`;
}
