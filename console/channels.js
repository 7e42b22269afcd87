// The channels of the user with what is unread, search in all of them, and making a channel or a direct one.

import { call, table, useNames } from "./client.js";
import { Channel } from "./channel.js";
import { authorOf } from "./message.js";
import { store, useLoad } from "./state.js";
import { Act, Dialog, Empty, Failure, Field, Form, Head, html, Loading, Row } from "./ui.js";
import { useEffect, useState } from "./vendor/libraries.js";

const MOST = 1000; // channels of an answer
let [asked, shown] = [0, 0]; // numbers of loads
let most = 200;

/** The list that all screens share: { list, hasMore, error }. */
export const channels = Object.assign(store({}), {
  load: async () => {
    const mine = ++asked;
    const max_channels = most;
    const found = await call("list_my_channels", { max_channels }).then(
      ({ data }) => ({ list: data, hasMore: max_channels < MOST && data.length === max_channels }),
      (error) => ({ error }),
    );
    if (mine < shown) return; // a later one was quicker
    shown = mine;
    channels.set({ ...channels.get(), error: undefined, ...found });
  },
  more() {
    most = MOST;
    return channels.load();
  },
  clear() {
    most = 200;
    shown = asked + 1;
    channels.set({});
  },
});

/** The channel of an id; one without a name, if the user does not see it any more. */
export const find = (list, id) => list.find((each) => each.id === id) ?? { kind: "channel", name: "A channel" };

/** The name of a channel; for a direct channel, the names of its other members. */
export function channelName(channel, userId) {
  if (channel.kind !== "dm") return channel.name ?? "Unnamed";
  const others = channel.members.filter((each) => each.user_id !== userId).map((each) => each.display_name);
  return others.join(", ") || "Only you";
}

function Entry({ each, user, isOpen }) {
  const name = channelName(each, user.id);
  return html`<${Row} href=${`#/channels/${each.id}`} isOpen=${isOpen} unread=${each.is_muted ? 0 : each.unread_count}
    name=${name} face=${each.kind === "dm" ? name : "#"} time=${each.last_message?.created_at}
    sub=${html`<bdi>${each.last_message?.preview ?? "No messages"}</bdi>`}
    end=${html`${each.is_muted && html`<span class="tag">Muted</span>`}
      ${each.mention_count > 0 && html`<b class="count">@</b>`}`} />`;
}

function Search({ text, list, user }) {
  const found = useLoad(async () => {
    const { data, meta } = await call("search_messages", { query: text, limit: 50 });
    // Reads the number of the found message, because search does not return it and a channel is read by number.
    const numbers = data.length ? await table("messages").select("id, seq").in("id",
      data.map((each) => each.id)) : [];
    const seqOf = new Map(numbers.map((each) => [each.id, each.seq]));
    return { hits: data.map((each) => ({ ...each, seq: seqOf.get(each.id) })), total: meta.total };
  }, [text]);
  const hits = found.data?.hits ?? [];
  const names = useNames(hits.map((each) => each.user_id), hits.map((each) => each.ai_twin_id));
  return html`<${Loading} ...${found} /><p class="quiet" role="status">${found.data && `${found.data.total} found`}</p>
    <ul class="rows">${hits.map((each) => html`<${Row} key=${each.id} time=${each.created_at}
      href=${`#/channels/${each.channel_id}/${each.seq}`} name=${channelName(find(list, each.channel_id), user.id)}
      sub=${html`<bdi>${authorOf(each, names)}</bdi>: <bdi>${each.content.slice(0, 200)}</bdi>`} />`)}
    </ul>`;
}

function NewChannel({ space, spaces, user, onClose }) {
  const teams = spaces.filter((each) => each.role !== "guest");
  const [where, setWhere] = useState(space.id);
  const people = useLoad(() => call("list_workspace_members", { workspace_id: where }), [where]);
  const [chosen, setChosen] = useState([]);
  const go = async (id) => {
    await channels.load();
    location.hash = `#/channels/${id}`;
    onClose();
  };
  const others = people.data?.filter((each) => each.user_id !== user.id) ?? [];
  const turn = (id) => setChosen(chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id]);
  return html`<${Dialog} title="New" onClose=${onClose}>
    <${Field} label="In the workspace" value=${where}
      onChange=${(event) => { setWhere(event.target.value); setChosen([]); }}
      options=${teams.map((each) => [each.id, each.name])} />
    <h3>A channel</h3>
    <${Form} action="Create" class="inline" onSend=${async ({ name }) => go((await table("channels")
      .insert({ workspace_id: where, kind: "channel", name }).select("id").single()).id)}>
      <${Field} label="Name" name="name" required maxlength="200" /></${Form}>
    <h3>Direct messages</h3>
    <${Failure} error=${people.error} />
    ${others.length ? html`<ul class="plain-list">${others.map((each) => html`<li><${Field} type="checkbox"
        label=${each.display_name} checked=${chosen.includes(each.user_id)} onChange=${() => turn(each.user_id)} />
          </li>`)}</ul>
      <${Act} class="primary" disabled=${!chosen.length} onPress=${async () => go((await call(
        "open_direct", { user_ids: chosen, workspace_id: where })).id)}>Open</${Act}>`
      : html`<p class="quiet">No other member is in this workspace.</p>`}
  </${Dialog}>`;
}

export function Channels({ space, spaces, id, sub, user }) {
  const { list, hasMore, error } = channels.use();
  const [text, setText] = useState("");
  const [isNew, setNew] = useState(false);
  const sections = [];
  for (const each of list ?? []) {
    const team = spaces.find((one) => one.id === each.workspace_id)?.name ?? "As a guest";
    const title = each.kind === "dm" ? "Direct messages" : team;
    const section = sections.find((one) => one.title === title);
    section ? section.rows.push(each) : sections.push({ title, rows: [each] });
  }
  const open = list?.find((each) => each.id === id);
  useEffect(() => {
    if (id && hasMore && !open) channels.more();
  }, [id, list]);
  return html`<div class="panes">
    <section class="list" aria-label="List of channels">
      <${Head} title="Channels"><button onClick=${() => setNew(true)}>New</button></${Head}>
      <form class="filters" role="search"
        onSubmit=${(event) => { event.preventDefault(); setText(event.target.q.value.trim()); }}>
        <input type="search" name="q" aria-label="Search messages" placeholder="Search messages"
          onInput=${(event) => !event.target.value && setText("")} /></form>
      ${text ? html`<${Search} text=${text} list=${list ?? []} user=${user} />` : html`
        <${Loading} data=${list} error=${error} />
        ${list?.length === 0 && html`<${Empty} title="No channels"><p>Make one, or accept an invitation.</p>
          </${Empty}>`}
        ${sections.map(({ title, rows }) => html`<h2 class="section">${title}</h2><ul class="rows">
          ${rows.map((each) => html`<${Entry} key=${each.id} each=${each} user=${user} isOpen=${each.id === id} />`)}
            </ul>`)}
        ${hasMore && html`<button class="more" onClick=${channels.more}>More</button>`}`}
    </section>
    <section class="detail" aria-label="Channel">
      ${open ? html`<${Channel} key=${id} channel=${open} around=${Number(sub) || null} user=${user} />`
        : id && list && !hasMore ? html`<${Head} level=${2} back="#/channels" title="Channel" />
          <${Failure} error=${Error("This channel does not exist, or you may not see it.")} />`
          : html`<${Empty} title="Choose a channel" />`}
    </section>
    ${isNew && html`<${NewChannel} space=${space} spaces=${spaces} user=${user} onClose=${() => setNew(false)} />`}
  </div>`;
}
