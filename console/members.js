// The members of a channel, its twins, and guests by invitation.

import { call, table, useNames } from "./client.js";
import { channels } from "./channels.js";
import { reloading, useLoad } from "./state.js";
import { Act, Dialog, Field, Form, html, Loading, Once, Pick } from "./ui.js";
import { useState } from "./vendor/libraries.js";

export const InvitedEmail = () => html`<${Field} label="Email" name="email" type="email"
  hint="Without an address, any user with the link can join." />`;

/** An invitation that was just made: its link is shown once. */
export const Invited = ({ token }) => html`<${Once} label="Copy link"
  text=${token && `${location.href.replace(/#.*/, "")}#/join/${token}`}>Send this link. It is shown only once.
  </${Once}>`;

export function Members({ channel, here, user, onClose }) {
  const isManager = channel.role !== "member" && channel.kind !== "dm";
  const [token, setToken] = useState();
  const found = useLoad(async () => {
    const [members, twins, directory, mine] = await Promise.all([
      table("channel_members").select("user_id, role").eq("channel_id", channel.id).order("created_at")
        .limit(500),
      table("channel_twins").select("ai_twin_id, twin:ai_twins(display_name, user_id)").eq("channel_id",
        channel.id),
      isManager ? call("list_workspace_members", { workspace_id: channel.workspace_id }).catch(() => []) : [],
      table("ai_twins").select("id, display_name").eq("user_id", user.id),
    ]);
    return { members, twins, directory, mine };
  }, [channel.id]);
  const names = useNames(found.data?.members.map((each) => each.user_id) ?? []);
  const done = reloading(found.reload, channels.load);
  const { members = [], twins = [], directory = [], mine = [] } = found.data ?? {};
  const absent = directory.filter((each) => !members.some((one) => one.user_id === each.user_id));
  const free = mine.filter((each) => !twins.some((one) => one.ai_twin_id === each.id));
  const of = (id) => ({ channel_id: channel.id, user_id: id });
  return html`<${Dialog} title="Members" onClose=${onClose}>
    <${Loading} ...${found} />
    <ul class="plain-list">${members.map((each) => html`<li key=${each.user_id}><span
      class=${here.includes(each.user_id)
        ? "dot on" : "dot"} title=${here.includes(each.user_id) ? "Here" : "Away"}></span> <bdi>
          ${names.get(each.user_id)}</bdi>
      ${isManager && each.user_id !== user.id ? html`<span class="tools">
        <${Pick} label=${`Role of ${names.get(each.user_id)}`} value=${each.role}
          options=${["owner", "admin", "member"]}
          onPick=${done((role) => table("channel_members").update({ role }).match(of(each.user_id)))} />
        <${Act} confirm="Remove this member?" onPress=${done(() => table("channel_members").delete()
          .match(of(each.user_id)))}>Remove</${Act}></span>`
        : html` <span class="tag">${each.role}</span>`}</li>`)}</ul>
    ${twins.length > 0 && html`<h3>Twins</h3><ul class="plain-list">${twins.map((each) => html`<li
      key=${each.ai_twin_id}>
      <bdi>${each.twin?.display_name ?? "A twin"}</bdi> ${(isManager || each.twin?.user_id === user.id) && html`<${Act}
      class="link" onPress=${done(() => table("channel_twins").delete().eq("channel_id", channel.id)
        .eq("ai_twin_id", each.ai_twin_id))}>Remove</${Act}>`}</li>`)}</ul>`}
    ${free.length > 0 && html`<${Form} action="Add my twin" class="inline"
      onSend=${done((values) => table("channel_twins").insert({ channel_id: channel.id, ...values }))}>
      <${Field} label="Twin" name="ai_twin_id" options=${free.map((each) => [each.id, each.display_name])} />
        </${Form}>`}
    ${isManager && absent.length > 0 && html`<${Form} action="Add" class="inline"
      onSend=${done((values) => table("channel_members").insert({ channel_id: channel.id, ...values }))}>
      <${Field} label="Member of the workspace" name="user_id"
        options=${absent.map((each) => [each.user_id, each.display_name])} /></${Form}>`}
    ${isManager && html`<h3>Invite a guest</h3><${Form} action="Invite" class="inline"
      onSend=${async ({ email }) => setToken((await call(
      "create_invitation", { channel_id: channel.id, email: email || undefined })).token)}>
      <${InvitedEmail} /></${Form}>
      <${Invited} token=${token} />`}
  </${Dialog}>`;
}
