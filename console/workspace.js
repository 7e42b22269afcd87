// The workspace: its members and their roles, invitations, how long messages are kept, and the audit log.

import { call, table, useNames } from "./client.js";
import { channelName, channels } from "./channels.js";
import { Invited, InvitedEmail } from "./members.js";
import { reloading, useLoad } from "./state.js";
import { Act, Field, Form, Head, html, Loading, Pick, Section, Table, Time } from "./ui.js";
import { useState } from "./vendor/libraries.js";

const ROLES = ["owner", "admin", "member"];
const LINES = 100;
const ABOUT_USERS = /^(channel_)?member\.|^user\./;

function Join({ token, onDone }) {
  return html`<section aria-label="Invitation"><h2>You are invited</h2>
    <${Act} class="primary" onPress=${() => onDone({ token })}>Accept the invitation</${Act}></section>`;
}

function MyInvitations({ onDone }) {
  const mine = useLoad(() => call("list_my_invitations"), []);
  if (!mine.data?.length) return null;
  return html`<${Section} title="Invitations to me"><ul class="cards">
    ${mine.data.map((each) => html`
    <li class="card" key=${each.id}><p><bdi>${each.invited_by_name}</bdi> invites you to
      ${" "}<strong><bdi>${each.channel_name ?? each.workspace_name}</bdi></strong> as ${each.role}.</p>
    <${Act} class="primary"
      onPress=${async () => { await onDone({ invitation_id: each.id }); await mine.reload(); }}>Accept</${Act}>
    </li>`)}</ul></${Section}>`;
}

function Members({ space, user, reloadSpaces }) {
  const members = useLoad(() => call("list_workspace_members", { workspace_id: space.id }), [space.id]);
  const of = (id) => ({ workspace_id: space.id, user_id: id });
  const done = reloading(members.reload, reloadSpaces);
  return html`<${Section} title="Members"><${Loading} ...${members} />
    <${Table} label="List of members" heads=${["Name", "Role", "Since", ""]}>${members.data?.map((each) => html`
      <tr key=${each.user_id}><td dir="auto">${each.display_name}</td><td>${space.isManager && !space.is_personal
        ? html`<${Pick} label=${`Role of ${each.display_name}`} value=${each.role} options=${ROLES}
          onPick=${(role) => done(() => table("workspace_members").update({ role }).match(of(each.user_id)))()} />`
        : each.role}</td>
      <td><${Time} value=${each.joined_at} /></td>
      <td>${!space.is_personal && (space.isManager || each.user_id === user.id) && html`<${Act}
        confirm=${each.user_id === user.id ? "Leave this workspace?" : "Remove this member from the workspace?"}
        onPress=${done(() => table("workspace_members").delete().match(of(each.user_id)))}>${
        each.user_id === user.id ? "Leave" : "Remove"}</${Act}>`}</td></tr>`)}</${Table}></${Section}>`;
}

function Invitations({ space }) {
  const [token, setToken] = useState();
  const open = useLoad(() => table("workspace_invitations")
    .select("id, email, role, expires_at, channel:channels(name)")
    .eq("workspace_id", space.id).filter("accepted_at", "is", null)
    .filter("revoked_at", "is", null).filter("expires_at", "gt", new Date().toISOString())
    .order("created_at", { ascending: false }), [space.id]);
  const invite = async ({ email, role }) => {
    setToken((await call("create_invitation", { workspace_id: space.id, role, email: email || undefined })).token);
    await open.reload();
  };
  const revoke = reloading(open.reload)((id) => call("revoke_invitation", { invitation_id: id }));
  return html`<${Section} title="Invitations">
    <${Form} action="Invite" class="inline" onSend=${invite}>
      <${InvitedEmail} />
      <${Field} label="Role" name="role" options=${[...ROLES].reverse().map((role) => [role, role])} /></${Form}>
    <${Invited} token=${token} /><${Loading} ...${open} />
    <ul class="plain-list">${open.data?.map((each) => html`<li key=${each.id}><span><bdi>${each.email ?? "By link"}
      </bdi>,
      ${" "}${each.role}${each.channel && html` of <bdi>${each.channel.name}</bdi>`}, until ${" "}
      <${Time} value=${each.expires_at} both /></span>
      ${" "}<${Act} class="link" onPress=${() => revoke(each.id)}>Revoke</${Act}></li>`)}</ul></${Section}>`;
}

function Settings({ space, reloadSpaces }) {
  const save = async (values) => {
    const number = (text) => (text === "" ? null : Number(text));
    const days = space.role === "owner" && {
      conversation_days: number(values.conversation_days), channel_days: number(values.channel_days),
    };
    await table("workspaces").update({
      name: values.name, home_country: values.home_country.toUpperCase() || null, ...days,
    }).eq("id", space.id).select("id").single();
    await reloadSpaces();
  };
  return html`<${Section} title="Settings"><${Form} action="Save" class="inline" keep onSend=${save}>
    ${!space.is_personal && html`<${Field} label="Name" name="name" required maxlength="200"
      defaultValue=${space.name} />`}
    <${Field} label="Home country" name="home_country" maxlength="2" size="4" defaultValue=${space.home_country ?? ""}
      placeholder="DE"
      hint="For phone numbers without a country code." />
    ${space.role === "owner" && html`
      <${Field} label="Keep conversations, days" name="conversation_days" type="number" min="1" max="36500"
        defaultValue=${space.conversation_days ?? ""} placeholder="for ever" />
      <${Field} label="Keep channel messages, days" name="channel_days" type="number" min="1" max="36500"
        defaultValue=${space.channel_days ?? ""} placeholder="for ever" />`}</${Form}></${Section}>`;
}

function Audit({ space, user }) {
  const log = useLoad(() => table("audit_log").select("*").eq("workspace_id", space.id)
    .order("id", { ascending: false }).limit(LINES), [space.id]);
  const connections = useLoad(() => table("messaging_connections").select("id, connection_id")
    .eq("workspace_id", space.id), [space.id]);
  const { list = [] } = channels.use();
  const users = useNames((log.data ?? []).flatMap((each) =>
    [each.actor_id, ABOUT_USERS.test(each.action) && each.subject_id]));
  const names = new Map([
    ...list.map((each) => [each.id, channelName(each, user.id)]),
    ...(connections.data ?? []).map((each) => [each.id, each.connection_id]),
    ...users,
  ]);
  return html`<section aria-label="Audit log"><h2>Audit log <button class="link" onClick=${log.reload}>Reload</button>
    </h2>
    <${Loading} ...${log} />
    <${Table} label="Lines of the audit log" heads=${["Time", "Who", "What", "Details"]}>${log.data?.map((each) => html`
      <tr key=${each.id}><td><${Time} value=${each.at} both /></td>
        <td dir="auto">${each.actor_id ? names.get(each.actor_id) : "The system"}</td>
        <td>${each.action} <bdi>${names.get(each.subject_id)}</bdi></td>
        <td class="quiet">${Object.entries(each.details).filter(([, value]) => value !== null)
          .map(([key, value]) => `${key.replaceAll("_", " ")}: ${names.get(value) ?? value}`).join(", ")}</td>
      </tr>`)}</${Table}>
  </section>`;
}

export function Workspace({ space, user, reloadSpaces, choose, screen, id }) {
  const accept = async (invitation) => {
    const joined = await call("accept_invitation", invitation);
    await Promise.all([reloadSpaces(), channels.load()]);
    if (!joined.channel_id) choose(joined.workspace_id);
    location.hash = joined.channel_id ? `#/channels/${joined.channel_id}` : "#/workspace";
  };
  const create = async ({ name }) => {
    const made = await call("create_workspace", { name });
    await reloadSpaces();
    choose(made.id);
  };
  return html`<div class="page"><${Head} title=${space.name} />
    ${screen === "join" && html`<${Join} token=${id} onDone=${accept} />`}
    <${MyInvitations} onDone=${accept} />
    <${Members} space=${space} user=${user} reloadSpaces=${reloadSpaces} />
    ${space.isManager && !space.is_personal && html`<${Invitations} space=${space} />`}
    ${space.isManager && html`<${Settings} space=${space} reloadSpaces=${reloadSpaces} />`}
    <${Section} title="New workspace"><${Form} action="Create" class="inline" onSend=${create}>
      <${Field} label="Name of the team" name="name" required maxlength="200" /></${Form}></${Section}>
    ${space.role === "owner" && html`<${Audit} space=${space} user=${user} />`}
  </div>`;
}
