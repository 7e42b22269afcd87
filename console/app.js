// The page: the session, the workspaces of the user, and the screen for each address.

import { connect, table } from "./client.js";
import { Channels, channels } from "./channels.js";
import { Connections } from "./connections.js";
import { Inbox } from "./inbox.js";
import { useFollow, useFollowMany, useOffline } from "./live.js";
import { People } from "./people.js";
import { offer, session, signOut } from "./session.js";
import { Offer, SignIn } from "./signin.js";
import { store, useLoad, useSoon } from "./state.js";
import { Twins } from "./twins.js";
import { Count, Failure, Field, html } from "./ui.js";
import { Workspace } from "./workspace.js";
import { render, useEffect, useRef, useState } from "./vendor/libraries.js";

const SCREENS = {
  inbox: ["Inbox", Inbox, "M3 13h5l2 3h4l2-3h5M5 5h14l2 8v6H3v-6z"],
  channels: ["Channels", Channels, "M9 4 7 20M17 4l-2 16M4 9h17M3 15h17"],
  people: ["People", People, "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21c0-4 4-6 8-6s8 2 8 6"],
  import: ["Import", Connections, "M12 3v12m-5-5 5 5 5-5M4 20h16"],
  twins: ["Twins", Twins, "M4 8h16v11H4zM12 8V4M9 13v1M15 13v1"],
  workspace: ["Workspace", Workspace, "M4 21V5l8-2v18M12 9h8v12M4 21h16M8 8v1M8 12v1M8 16v1M16 13v1M16 17v1"],
};
const LIVE = 30; // channels of the list that are followed

const spaceId = store(localStorage.getItem("threadline.workspace"));

/** Returns the parts of the address; those of the inbox for an address that the console does not have. */
function readRoute() {
  try {
    const route = location.hash.slice(2).split("/").map(decodeURIComponent);
    if (Object.hasOwn(SCREENS, route[0]) || route[0] === "join") return route;
  } catch {
    // An address that was cut in an escape.
  }
  return ["inbox"];
}

function useRoute() {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const look = () => setRoute(readRoute());
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return route;
}

/** Keeps the list of channels and the number of unread messages up to date, whatever screen is shown. */
function useChannels(userId) {
  const { list } = channels.use();
  const reload = useSoon(channels.load, 300);
  useEffect(() => {
    channels.load();
    return channels.clear; // the next user has others
  }, [userId]);
  useFollow({ topic: `user:${userId}`, since: "now", onEvent: reload, onReload: reload });
  useFollowMany((list ?? []).slice(0, LIVE), reload);
  const unread = (list ?? []).reduce((sum, each) => sum + (each.is_muted ? 0 : each.unread_count), 0);
  useEffect(() => {
    document.title = unread ? `(${unread > 99 ? "99+" : unread}) Threadline` : "Threadline";
    return () => (document.title = "Threadline");
  }, [unread]);
  return unread;
}

async function loadSpaces(userId) {
  const [spaces, roles] = await Promise.all([
    table("workspaces").select("*").order("is_personal", { ascending: false }).order("name"),
    table("workspace_members").select("workspace_id, role").eq("user_id", userId),
  ]);
  const roleOf = new Map(roles.map((each) => [each.workspace_id, each.role]));
  return spaces.map((each) => ({
    ...each,
    name: each.is_personal ? "Personal" : each.name,
    role: roleOf.get(each.id) ?? "guest",
    isManager: ["owner", "admin"].includes(roleOf.get(each.id)),
  }));
}

function Shell({ user }) {
  const [screen, id, sub] = useRoute();
  const spaces = useLoad(() => loadSpaces(user.id), [user.id]);
  const chosen = spaceId.use();
  const isOffline = useOffline();
  const unread = useChannels(user.id);
  const main = useRef();
  const isFirst = useRef(true);
  const list = spaces.data?.filter((each) => each.role !== "guest");
  const space = list?.find((each) => each.id === chosen) ?? list?.[0];
  function choose(next) {
    localStorage.setItem("threadline.workspace", next);
    spaceId.set(next);
    if (id) location.hash = `#/${screen}`;
  }
  useEffect(() => {
    if (!isFirst.current) main.current?.querySelector(id ? ".detail h2" : "h1")?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [screen, id]);
  const [, Screen] = SCREENS[screen] ?? SCREENS.workspace;
  const name = user.user_metadata?.full_name ?? user.email;
  return html`<div class="shell">
    <nav aria-label="Screens">
      <p class="brand">Threadline</p>
      <ul>${Object.entries(SCREENS).map(([key, [text, , path]]) => html`<li><a href=${`#/${key}`}
        aria-current=${key === screen ? "page" : null}>
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg><span>${text}</span>
        ${key === "channels" && html`<${Count} number=${unread} />`}</a></li>`)}</ul>
      <div class="account">
        ${space && html`<${Field} label="Workspace" value=${space.id} onChange=${(event) => choose(event.target.value)}
          options=${list.map((each) => [each.id, each.name])} />`}
        <p class="who" title=${user.email}><bdi>${name}</bdi></p>
        <button class="plain" onClick=${signOut}>Sign out</button>
      </div>
    </nav>
    <main ref=${main} class=${id ? "has-detail" : ""}>
      ${isOffline && html`<p class="offline"
        role="status">Offline. The console reads what it missed when the connection is back.</p>`}
      <${Failure} error=${spaces.error} />
      ${space && html`<${Screen} key=${screen + space.id} space=${space} id=${id} sub=${sub} user=${user}
        reloadSpaces=${spaces.reload} spaces=${spaces.data} choose=${choose} screen=${screen} />`}
    </main>
  </div>`;
}

function App() {
  const now = session.use();
  const brought = offer.use();
  if (brought) return html`<${Offer} brought=${brought} />`;
  return now ? html`<${Shell} key=${now.user.id} user=${now.user} />` : html`<${SignIn} />`;
}

try {
  await connect();
  render(html`<${App} />`, document.body);
} catch (error) {
  render(html`<main class="sign-in"><h1>Threadline</h1><${Failure} error=${error} /></main>`, document.body);
}
