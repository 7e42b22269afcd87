// The inbox of a workspace: its conversations, the newest first, and the one that is open.

import { call, table } from "./client.js";
import { useFollow } from "./live.js";
import { useLoad, useSoon } from "./state.js";
import { platformName, PLATFORMS, Thread, titleOf } from "./thread.js";
import { Empty, Head, html, Loading, Row } from "./ui.js";
import { useEffect, useRef, useState } from "./vendor/libraries.js";

const PAGE = 50;
const MOST = 1000; // rows of an answer

/** Follows the inbox of a workspace. */
export function useInbox(space, user, onEvent, onReload) {
  useFollow({ topic: space.is_personal ? `inbox:${user.id}` : `workspace:${space.id}`, onEvent, onReload });
}

// One choice per group of connections that share conversations: those of one owner, except connections apart.
function groups(connections) {
  const found = new Map();
  for (const each of connections) {
    const key = [each.platform, each.user_id, each.scope_id].join();
    found.set(key, [...found.get(key) ?? [], each.connection_id]);
  }
  return [...found].map(([key, names]) => [key, `${platformName(key.split(",")[0])}: ${names.join(", ")}`]);
}

async function find(space, { source, platform, text }, from, count) {
  let query = table("conversations").select("*, unread_count, person:people(id, full_name)")
    .eq("workspace_id", space.id);
  if (platform) query = query.eq("platform", platform);
  if (source) {
    const [of, owner, scope] = source.split(",");
    query = query.eq("platform", of).eq("user_id", owner).eq("scope_id", scope);
  }
  if (text) {
    const like = `"*${text.replace(/[\\"%*]/g, "_")}*"`; // _ stands for any character
    query = query.or(`participant_name.ilike.${like},participant_identifier.ilike.${like}`);
  }
  return query.order("last_message_at", { ascending: false }).order("id").limit(count, from);
}

function useConversations(space, filter) {
  const [state, setState] = useState({});
  const turn = useRef(0);
  const now = useRef();
  now.current = { filter, shown: state.list?.length ?? 0 }; // a reload may come when both have changed
  async function read(from, count = PAGE) {
    const mine = ++turn.current;
    const found = await find(space, now.current.filter, from, count).catch((error) => ({ error }));
    if (mine !== turn.current) return;
    if (found.error) return setState((old) => ({ ...old, ...found }));
    const ids = new Set(found.map((each) => each.id));
    setState(({ list = [] }) => ({
      list: [...from ? list.filter((each) => !ids.has(each.id)) : [], ...found],
      hasMore: found.length === count,
    }));
  }
  useEffect(() => {
    read(0);
  }, [space.id, ...Object.values(filter)]);
  // Reads again what is shown, not only its first page.
  const reload = () => read(0, Math.min(MOST, PAGE * Math.max(1, Math.ceil(now.current.shown / PAGE))));
  return { ...state, reload, more: () => read(state.list.length) };
}

function Entry({ each, isOpen }) {
  // The open one is about to be marked as read.
  return html`<${Row} href=${`#/inbox/${each.id}`} isOpen=${isOpen} unread=${isOpen ? 0 : each.unread_count}
    name=${titleOf(each)} face=${titleOf(each)} time=${each.last_message_at}
    sub=${html`<bdi>${each.last_message_preview ?? "No messages"}</bdi>`}>
    <span class="tags"><span class="tag">${platformName(each.platform)}</span>
      ${each.kind === "group" && html`<span class="tag">Group</span>`}
      ${each.person && html`<span class="tag"><bdi>${each.person.full_name}</bdi></span>`}</span></${Row}>`;
}

function Hits({ text }) {
  const found = useLoad(() => call("search_conversations", { query: text, limit: 50 }), [text]);
  return html`<${Loading} ...${found} /><p class="quiet" role="status">
    ${found.data && `${found.data.meta.total} found`}</p>
    <ul class="rows">${found.data?.data.map((each) => html`<${Row} time=${each.message.sent_at}
      href=${`#/inbox/${each.conversation_id}/${encodeURIComponent(each.message.id)}`}
      name=${each.participant_name ?? "No name"} sub=${html`<bdi>${each.message.content.slice(0, 200)}</bdi>`} />`)}
    </ul>`;
}

export function Inbox({ space, id, sub, user }) {
  const [filter, setFilter] = useState({ platform: "", source: "", text: "" });
  const [searched, setSearched] = useState("");
  const inbox = useConversations(space, filter);
  const connections = useLoad(
    () => table("messaging_connections").select("*").eq("workspace_id", space.id).order("connection_id"),
    [space.id],
  );
  const [news, setNews] = useState();
  const reloadSoon = useSoon(() => inbox.reload(), 200);
  const thread = useRef();
  function onEvent(event, payload) {
    // "conversation.changed" was missed while the connection was broken, and has only ids.
    const { conversation = { id: payload.conversation_id, workspace_id: space.id } } = payload;
    if (conversation.workspace_id !== space.id) return;
    if (payload.messages_added) setNews(`${titleOf(conversation)}: ${conversation.last_message_preview}`);
    reloadSoon();
    if (conversation.id === id) thread.current?.(event === "conversation.changed" ? {} : payload);
  }
  useInbox(space, user, onEvent, () => {
    thread.current?.({});
    return inbox.reload();
  });
  const change = (name) => (event) => setFilter({ ...filter, [name]: event.target.value });
  const sources = groups(connections.data ?? []);
  return html`<div class="panes">
    <section class="list" aria-label="Conversations">
      <${Head} title="Inbox" />
      <form class="filters" role="search"
        onSubmit=${(event) => { event.preventDefault(); setSearched(filter.text.trim()); }}>
        <input type="search" aria-label="Find by name or number" placeholder="Name, number or words"
          title="Press Enter to search the messages of all workspaces"
            onInput=${(event) => { setSearched(""); change("text")(event); }} />
        <select aria-label="Platform" onChange=${change("platform")}><option value="">Any platform</option>
          ${PLATFORMS.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select>
        ${sources.length > 1 && html`<select aria-label="Connection" onChange=${change("source")}>
          <option value="">Any connection</option>
          ${sources.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select>`}
      </form>
      ${searched ? html`<${Hits} text=${searched} />` : html`<${Loading} data=${inbox.list} error=${inbox.error} />
      <ul class="rows">${inbox.list?.map((each) => html`<${Entry} key=${each.id} each=${each}
        isOpen=${each.id === id} />`)}
      </ul>
      ${inbox.list?.length === 0 && html`<${Empty} title="No conversations">
        <p>${Object.values(filter).some(Boolean) ? "None fits the filter." : html`
          <a href="#/import">Make a connection</a> and send the first message.`}</p></${Empty}>`}
      ${inbox.hasMore && html`<button class="more" onClick=${inbox.more}>More</button>`}`}
      <p class="hidden" role="status">${news}</p>
    </section>
    <section class="detail" aria-label="Conversation">
      ${id ? html`<${Thread} key=${id} id=${id} space=${space} connections=${connections.data ?? []} updates=${thread}
          around=${sub} onRead=${inbox.reload} />`
        : html`<${Empty} title="Choose a conversation" />`}
    </section>
  </div>`;
}
