// The twins of the user: their channels, their webhook, what was delivered, and sending it again.

import { call, table } from "./client.js";
import { channelName, channels, find } from "./channels.js";
import { reloading, useLoad } from "./state.js";
import { Act, Empty, Field, Form, Head, html, Loading, Once, Row, Section, Table, Time } from "./ui.js";
import { useState } from "./vendor/libraries.js";

const STATES = [["dead", "Failed for good"], ["pending", "Pending"], ["delivered", "Delivered"]];

function Deliveries({ id, list, user }) {
  const [state, setState] = useState("dead");
  const found = useLoad(() => call("list_twin_deliveries", { ai_twin_id: id, state }), [id, state]);
  const replay = (parameters) => reloading(found.reload)(
    () => call("replay_twin_deliveries", { ai_twin_id: id, ...parameters }));
  const rows = found.data?.data;
  return html`<${Section} title="Deliveries" level=${3}>
    <div class="filters"><select aria-label="State" onChange=${(event) => setState(event.target.value)}>
      ${STATES.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select>
      <button onClick=${found.reload}>Reload</button>
      ${state === "dead" && rows?.length > 0 && html`<${Act} onPress=${replay({})}>Send all again</${Act}>`}</div>
    <${Loading} ...${found} />
    ${rows?.length === 0 && html`<p class="quiet">No deliveries.</p>`}
    ${rows?.length > 0 && html`<${Table} label="List of deliveries"
      heads=${["Message", "Channel", "Attempts", "Answer", "Next attempt or end", ""]}>${rows.map((row) => html`
      <tr key=${row.id}><td><a href=${`#/channels/${row.channel_id}/${row.seq}`}>${row.seq}</a>
        ${" "}<${Time} value=${row.created_at} both /></td>
      <td><bdi>${channelName(find(list, row.channel_id), user.id)}</bdi></td><td>${row.attempts}</td>
      <td dir="auto">${row.last_status} ${row.last_error}</td>
      <td><${Time} value=${row.finished_at ?? row.next_attempt_at} both /></td>
      <td>${state === "dead" && html`<${Act} onPress=${replay({ id: row.id })}>Again</${Act}>`}</td></tr>`)}
    </${Table}>`}</${Section}>`;
}

function Webhook({ twin, reload }) {
  const [secret, setSecret] = useState();
  const webhook = twin.webhook?.url;
  const done = (work) => async (values) => {
    const { data } = await work(values);
    if (data.secret) setSecret(data.secret);
    await reload();
  };
  const named = { ai_twin_id: twin.id };
  return html`<${Section} title="Webhook" level=${3}>
    <${Form} action=${webhook ? "Change" : "Set"} class="inline" keep
      onSend=${done((values) => call("set_twin_webhook", { ...named, ...values }))}>
      <${Field} label="URL" name="url" type="url" required defaultValue=${webhook ?? ""} placeholder="https://"
        hint="Messages of the twin's channels are posted to it." /></${Form}>
    ${webhook && html`<div class="filters"><${Act} title="The old secret signs for another 24 hours too"
        onPress=${done(() => call("rotate_twin_secret", named))}>New secret</${Act}>
      <${Act} confirm="Remove the webhook, its secrets and what is pending?"
        onPress=${done(() => call("remove_twin_webhook", named))}>Remove</${Act}></div>`}
    <${Once} text=${secret} label="Copy secret">This secret signs the deliveries. It is shown only once.</${Once}>
  </${Section}>`;
}

function Twin({ twin, reload, user }) {
  const { list = [] } = channels.use();
  const mine = twin.channels.map((each) => list.find((one) => one.id === each.channel_id)).filter(Boolean);
  const free = list.filter((each) => !mine.includes(each));
  const change = reloading(reload);
  return html`<${Head} level=${2} title=${twin.display_name} back="#/twins" />
    <div class="body">
    <section aria-label="Channels of the twin"><h3>Channels</h3>
      <ul class="plain-list">${mine.map((each) => html`<li key=${each.id}><bdi>${channelName(each, user.id)}</bdi>
        ${" "}<${Act} class="link" onPress=${change(() => table("channel_twins").delete().eq("channel_id", each.id)
          .eq("ai_twin_id", twin.id))}>Remove</${Act}></li>`)}</ul>
      ${free.length > 0 && html`<${Form} action="Add" class="inline"
        onSend=${change((values) => table("channel_twins")
        .insert({ ai_twin_id: twin.id, ...values }))}><${Field} label="Channel" name="channel_id"
        options=${free.map((each) => [each.id, channelName(each, user.id)])} /></${Form}>`}</section>
    <${Webhook} twin=${twin} reload=${reload} />
    <${Deliveries} id=${twin.id} list=${list} user=${user} />
    <${Section} title="Twin" level=${3}>
      <${Form} action="Rename" class="inline" keep onSend=${change((values) => table("ai_twins").update(values)
        .eq("id", twin.id))}>
        <${Field} label="Name" name="display_name" required maxlength="200" defaultValue=${twin.display_name} />
          </${Form}>
      <${Act} class="bad" confirm="Delete this twin?" onPress=${async () => {
        await change(() => table("ai_twins").delete().eq("id", twin.id))();
        location.hash = "#/twins";
      }}>Delete</${Act}></${Section}></div>`;
}

export function Twins({ id, user }) {
  const twins = useLoad(() => table("ai_twins").select(
    "id, display_name, webhook:twin_webhooks(url), channels:channel_twins(channel_id)",
  ).eq("user_id", user.id).order("display_name"), []);
  const open = twins.data?.find((each) => each.id === id);
  return html`<div class="panes">
    <section class="list" aria-label="List of twins"><${Head} title="Twins" />
      <${Loading} ...${twins} />
      ${twins.data?.length === 0 && html`<${Empty} title="No twins">
        <p>A twin is an agent that acts for you in channels.</p></${Empty}>`}
      <ul class="rows">${twins.data?.map((each) => html`<${Row} key=${each.id} href=${`#/twins/${each.id}`}
        isOpen=${each.id === id} name=${each.display_name} face=${each.display_name}
        sub=${each.webhook?.url ?? "No webhook"} />`)}</ul>
      <details class="add"><summary>Add a twin</summary><${Form} action="Add" onSend=${async (values) => {
        const made = await table("ai_twins").insert(values).select("id").single();
        await twins.reload();
        location.hash = `#/twins/${made.id}`;
      }}><${Field} label="Name" name="display_name" required maxlength="200" /></${Form}></details>
    </section>
    <section class="detail" aria-label="Twin">${open ? html`<${Twin} key=${id} twin=${open} reload=${twins.reload}
      user=${user} />`
      : html`<${Empty} title="Choose a twin" />`}</section></div>`;
}
