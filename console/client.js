// The project as this page calls it. Calls return data, or throw an Error with a sentence for the user.

import { Query } from "./query.js";
import { freshToken, request, session, start } from "./session.js";
import { store } from "./state.js";
import { RealtimeClient, useEffect } from "./vendor/libraries.js";

/** What `follow` needs of a Supabase client: functions of the database, and Realtime. */
export let db;
export let config;

const FILES = "attachments"; // the bucket
const SECONDS = 3600; // that a link to a file is valid
const PAUSE = 5000; // milliseconds, after names could not be read

/** Reads config.json, finds the session and creates the client. */
export async function connect() {
  const answer = await fetch("config.json", { cache: "no-store" });
  const found = await answer.json().catch(() => ({}));
  if (!found.url || !found.key) throw Error(found.error ?? "config.json must have url and key of a Supabase project.");
  const absolute = (path) => new URL(path, location.href).href.replace(/\/+$/, "");
  config = { ...found, url: absolute(found.url), service: found.service && absolute(found.service) };
  await start(config);
  const realtime = new RealtimeClient(`${config.url.replace(/^http/, "ws")}/realtime/v1`, {
    params: { apikey: config.key },
    accessToken: async () => (await freshToken()) ?? config.key,
  });
  db = {
    realtime,
    rpc: (name, parameters) => new Query((...given) => send(...given).then(
      (data) => ({ data, error: null }), (error) => ({ data: null, error }),
    ), `rpc/${name}`).insert(parameters),
    channel: (name, options) => realtime.channel(name, options),
    removeChannel: (channel) => realtime.removeChannel(channel),
  };
  let user = session.get()?.user?.id;
  session.listen((now) => {
    realtime.setAuth();
    if (!now || now.user?.id !== user) names.set(new Map()); // the next user may see others
    user = now?.user?.id;
  });
}

// Makes a request as the user.
async function make(url, { body, headers, ...options }) {
  const token = await freshToken();
  return request(url, {
    ...options,
    body: body instanceof Blob ? body : JSON.stringify(body),
    headers: {
      apikey: config.key, "content-type": "application/json", ...token && { authorization: `Bearer ${token}` },
      ...headers,
    },
  });
}

const post = (url, body, headers) => make(url, { method: "POST", body, headers });

const send = (path, options) => make(`${config.url}/rest/v1/${path}`, options);

/** Begins a query of a table; awaiting it returns its data. */
export const table = (name) => new Query(send, name);

/** Calls a function of the database. */
export const call = async (name, parameters = {}) => new Query(send, `rpc/${name}`).insert(parameters);

/** Calls /api/v2 of the service as the signed-in user. */
export const callService = async (path, body) => (await post(`${config.service}/api/v2${path}`, body)).data;

/** Stores a file. */
export const upload = (path, file) => post(`${config.url}/storage/v1/object/${FILES}/${path}`, file, {
  "content-type": file.type || "application/octet-stream",
});

/** Returns links to stored files, by path, without those that the user may not read. */
export async function signLinks(paths) {
  const links = await post(`${config.url}/storage/v1/object/sign/${FILES}`, { expiresIn: SECONDS, paths });
  return new Map(links.filter((each) => each.signedURL)
    .map((each) => [each.path, encodeURI(`${config.url}/storage/v1${each.signedURL}`)]));
}

const names = store(new Map());

/** Returns the names of users and twins by id, and loads those that are missing. */
export function useNames(userIds, twinIds = []) {
  const known = names.use();
  const missing = (ids) => [...new Set(ids)].filter((id) => id && !known.has(id));
  const [users, twins] = [missing(userIds), missing(twinIds)];
  useEffect(() => {
    if (!users.length && !twins.length) return;
    const found = new Map(names.get());
    for (const id of [...users, ...twins]) found.set(id, "Former member");
    names.set(found); // no second request while the first one runs
    const read = (from, key, ids) =>
      ids.length ? table(from).select(`id:${key}, display_name`).in(key, ids) : [];
    Promise.all([read("user_profiles", "user_id", users), read("ai_twins", "id", twins)]).then((lists) => {
      const named = new Map(names.get());
      for (const row of lists.flat()) named.set(row.id, row.display_name);
      names.set(named);
    }, () => {
      const put = (rows) => names.set(new Map(rows));
      put([...names.get(), ...[...users, ...twins].map((id) => [id])]); // no name, until they are asked for again
      setTimeout(() => put([...names.get()].filter((each) => each[1])), PAUSE);
    });
  }, [users.join(), twins.join()]);
  return known;
}
