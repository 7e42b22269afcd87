// The people of a workspace: their identifiers, entries that are one person, conversations without a person.

import { call, table } from "./client.js";
import { reloading, useLoad } from "./state.js";
import { platformName, REASONS, titleOf } from "./thread.js";
import { Act, Empty, Field, Form, Head, html, Loading, Row, Section } from "./ui.js";
import { useState } from "./vendor/libraries.js";

const KINDS = Object.keys(REASONS).filter((kind) => !["phone_national", "phone_last_ten"].includes(kind));

const list = (space, text) => {
  let query = table("people").select("id, full_name, phone, merged_into_id").eq("workspace_id", space.id);
  if (text) query = query.filter("full_name", "ilike", `%${text.replace(/[\\%_]/g, "\\$&").replaceAll("*", "_")}%`);
  return query.order("full_name").limit(200);
};

async function read(id) {
  const [person] = await table("people").select("*").eq("id", id);
  if (!person) throw Error("This person does not exist, or you may not see it.");
  const [identifiers, merged, conversations] = await Promise.all([
    table("person_identifiers").select("*").eq("person_id", id).order("created_at"),
    table("people").select("id, full_name, phone").eq("workspace_id", person.workspace_id).eq("merged_into_id",
      id),
    table("conversations")
      .select("id, platform, participant_name, participant_identifier, matched_by, last_message_at")
      .eq("workspace_id", person.workspace_id).eq("person_id", id).order("last_message_at", { ascending: false })
        .limit(50),
  ]);
  return { person, identifiers, merged, conversations };
}

function Conversations({ rows, children }) {
  return html`<ul class="rows">${rows.map((each) => html`<${Row} href=${`#/inbox/${each.id}`} name=${titleOf(each)}
    time=${each.last_message_at} below=${children?.(each)}
    sub=${`${platformName(each.platform)}${each.matched_by ? `, ${REASONS[each.matched_by] ?? each.matched_by}` : ""}`}
    />`)}</ul>`;
}

function Person({ id, people, reload }) {
  const found = useLoad(() => read(id), [id]);
  const done = reloading(found.reload, reload);
  if (!found.data) return html`<${Head} level=${2} title="Person" back="#/people" /><${Loading} ...${found} />`;
  const { person, identifiers, merged, conversations } = found.data;
  const others = people.filter((each) => each.id !== id && !each.merged_into_id);
  return html`<${Head} level=${2} title=${person.full_name} back="#/people" />
    <div class="body">
    ${person.merged_into_id && html`<p class="note">This entry is the same person as
      ${" "}<a href=${`#/people/${person.merged_into_id}`}>another one</a>. <${Act} class="link"
      onPress=${done(() => call("unmerge_people", { person_id: id }))}>Undo</${Act}></p>`}
    <${Section} title="Identifiers" level=${3}>
      <ul class="plain-list">
        <li><bdi>${person.phone ?? "No phone number"}</bdi> <span class="quiet">phone</span>
          ${" "}<${Act} class="link" title="Takes back the last change of the number"
            onPress=${done(() => call("undo_number_change", { person_id: id }))}>Undo the last change</${Act}></li>
        ${identifiers.map((each) => html`<li key=${each.id}><bdi>${each.value}</bdi>
          ${" "}<span class="quiet">${each.kind} ${each.app}</span> <${Act} class="link"
            onPress=${done(() => table("person_identifiers").delete().eq("id", each.id))}>Remove</${Act}></li>`)}</ul>
      <${Form} action="Add" class="inline"
        onSend=${done((values) => table("person_identifiers").insert({ person_id: id, ...values }))}>
        <${Field} label="Kind" name="kind" options=${KINDS.map((kind) => [kind, kind.replace("_", " ")])} />
        <${Field} label="Identifier" name="value" required />
        <${Field} label="App, for an openid" name="app" />
      </${Form}>
      <${Form} action="Change the number" class="inline" onSend=${done(({ phone }) => call("change_number",
        { person_id: id, phone }))}>
        <${Field} label="New number" name="phone" type="tel" required hint="The old one still matches." />
      </${Form}></${Section}>
    <${Section} title="Merge" level=${3}>
      <ul class="plain-list">${merged.map((each) => html`<li key=${each.id}><bdi>${each.full_name}</bdi>
        ${" "}<span class="quiet">${each.phone}</span> <${Act} class="link"
        onPress=${done(() => call("unmerge_people", { person_id: each.id }))}>Undo</${Act}></li>`)}</ul>
      ${!person.merged_into_id && others.length > 0 && html`<${Form} action="Merge" class="inline"
        onSend=${done((values) => call("merge_people", { person_id: id, ...values }))}>
        <${Field} label="The same person as" name="merged_person_id"
          options=${others.map((each) => [each.id, `${each.full_name} ${each.phone ?? ""}`])} /></${Form}>`}
    </${Section}>
    <${Section} title="Conversations" level=${3}>${conversations.length
      ? html`<${Conversations} rows=${conversations} />` : html`<p class="quiet">No conversation matches.</p>`}
    </${Section}></div>`;
}

function Unmatched({ space, people, conversationId, reload }) {
  const found = useLoad(() => {
    let query = table("conversations")
      .select("id, platform, participant_name, participant_identifier, last_message_at")
      .eq("workspace_id", space.id).eq("kind", "direct").filter("person_id", "is", null);
    if (conversationId) query = query.eq("id", conversationId);
    return query.order("last_message_at", { ascending: false }).limit(50);
  }, [space.id, conversationId]);
  async function add(row, { full_name: name, person_id: person }) {
    const identifier = row.participant_identifier;
    const isPhone = /^[+\d\s().-]+$/.test(identifier);
    const known = person || !isPhone ? await identifiersOf(row) : []; // first, because it may fail
    const id = person || (await table("people").insert({
      workspace_id: space.id, full_name: name, phone: isPhone ? identifier : null,
    }).select("id").single()).id;
    const rows = known.map((each) => ({ ...each, person_id: id }));
    if (rows.length) await table("person_identifiers").addMissing(rows, "person_id,kind,app,value");
    await Promise.all([found.reload(), reload()]);
  }
  return html`<${Head} level=${2} title=${conversationId ? "Add a person" : "Conversations without a person"}
    back="#/people" />
    <div class="body"><${Loading} ...${found} />
    ${found.data?.length === 0 && html`<${Empty} title="Every conversation has its person" />`}
    ${found.data && html`<${Conversations} rows=${found.data}>${(row) => html`<details
      open=${conversationId}>
      <summary>Give it a person</summary>
      <${Form} action="Save" class="inline" onSend=${(values) => add(row, values)}>
        <${Field} label="Person" name="person_id" options=${[["", "A new person"],
          ...people.filter((each) => !each.merged_into_id).map((each) => [each.id, each.full_name])]} />
        <${Field} label="Name of a new person" name="full_name" defaultValue=${row.participant_name ?? ""}
          maxlength="500" />
      </${Form}></details>`}</${Conversations}>`}</div>`;
}

// What the platform said of the participant, in the kinds that people have.
async function identifiersOf(row) {
  const stored = await table("conversation_identifiers").select("kind, value, app").eq("conversation_id",
    row.id);
  const known = stored.filter((each) => KINDS.includes(each.kind));
  if (!known.length) {
    const value = row.participant_identifier;
    const kind = /^[+\d\s().-]+$/.test(value) ? "phone" : row.platform === "telegram" ? "telegram_username" : null;
    if (!kind) throw Error(`${value} identifies no person by itself. Add an identifier to the person by hand.`);
    known.push({ kind, value });
  }
  return known;
}

export function People({ space, id, sub }) {
  const [text, setText] = useState("");
  const people = useLoad(() => list(space, text), [space.id, text]);
  const create = async ({ full_name: name, phone }) => {
    await table("people").insert({ workspace_id: space.id, full_name: name, phone: phone || null });
    await people.reload();
  };
  const rows = people.data ?? [];
  return html`<div class="panes">
    <section class="list" aria-label="List of people">
      <${Head} title="People" />
      <div class="filters"><input type="search" aria-label="Find by name" placeholder="Name"
        onInput=${(event) => setText(event.target.value)} /></div>
      <${Loading} ...${people} />
      <ul class="rows">
        <li><a class="row" href="#/people/unmatched" aria-current=${id === "unmatched" ? "true" : null}>
          <span class="row-text"><em>Conversations without a person</em></span></a></li>
        ${rows.map((each) => html`<${Row} key=${each.id} href=${`#/people/${each.id}`} isOpen=${each.id === id}
          name=${each.full_name} face=${each.full_name}
          sub=${html`<bdi>${each.phone ?? "No number"}</bdi>${each.merged_into_id && ", merged into another"}`} />`)}
      </ul>
      ${people.data?.length === 0 && html`<${Empty} title="No person fits" />`}
      <details class="add"><summary>Add a person</summary><${Form} action="Add" onSend=${create}>
        <${Field} label="Name" name="full_name" required maxlength="500" />
        <${Field} label="Phone number" name="phone" type="tel" /></${Form}></details>
    </section>
    <section class="detail" aria-label="Person">
      ${!id ? html`<${Empty} title="Choose a person" />`
        : id === "unmatched" || id === "new"
          ? html`<${Unmatched} space=${space} people=${rows} conversationId=${sub} reload=${people.reload} />`
          : html`<${Person} key=${id} id=${id} people=${rows} reload=${people.reload} />`}
    </section></div>`;
}
