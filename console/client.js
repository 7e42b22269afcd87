// The Supabase client of this page. Calls return data, or throw an Error with a sentence for the user.

import { useCallback, useEffect, useRef, useState } from "./vendor/hooks.js";

export let db;
export let config;

/** Reads config.json and creates the client. */
export async function connect() {
  const answer = await fetch("config.json", { cache: "no-store" });
  const found = await answer.json().catch(() => ({}));
  if (!found.url || !found.key) throw Error(found.error ?? "config.json must have url and key of a Supabase project.");
  const absolute = (path) => new URL(path, location.href).href.replace(/\/+$/, "");
  config = { ...found, url: absolute(found.url), service: found.service && absolute(found.service) };
  db = globalThis.supabase.createClient(config.url, config.key);
}

function failure({ message, code }) {
  if (/failed to fetch|networkerror|load failed/i.test(message)) {
    return Error("The project is out of reach. Check the connection and try again.");
  }
  if (code === "42501" && /row-level security|permission denied/.test(message)) return Error("You may not do this.");
  return Error(message || "The project answered with an error.");
}

/** Awaits a call of the Data API, Auth or Storage and returns its data. */
export async function ask(query) {
  const { data, error } = await query;
  if (error) throw failure(error);
  return data;
}

/** Calls a function of the database. */
export const call = (name, parameters) => ask(db.rpc(name, parameters));

/** Calls /api/v2 of the service as the signed-in user. */
export async function callService(path, body) {
  const { session } = await ask(db.auth.getSession());
  const headers = { authorization: `Bearer ${session.access_token}`, "content-type": "application/json" };
  const answer = await fetch(`${config.service}/api/v2${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  }).catch((error) => {
    throw failure(error);
  });
  const given = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Error(given.error?.message ?? given.message ?? `The service answered ${answer.status}.`);
  return given.data;
}

/** A value that components share: `use()` in a component, `set()` anywhere. */
export function store(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const each of [...listeners]) each(next);
    },
    use() {
      const [, show] = useState(value);
      useEffect(() => {
        show(value);
        listeners.add(show);
        return () => listeners.delete(show);
      }, []);
      return value;
    },
  };
}

/** Loads data when `inputs` change. Returns data, error and reload. */
export function useLoad(load, inputs) {
  const [state, setState] = useState({});
  const turn = useRef(0);
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    const found = await load().then((data) => ({ data }), (error) => ({ error }));
    if (mine === turn.current) setState((old) => ({ ...old, error: undefined, ...found }));
  }, inputs);
  useEffect(() => {
    setState({});
    reload();
    return () => turn.current++;
  }, [reload]);
  return { ...state, reload };
}

/** Runs what a user asked for: `act(work)` keeps the error, and isBusy while it runs. */
export function useAct() {
  const [state, setState] = useState({});
  async function act(work) {
    setState({ isBusy: true });
    try {
      const result = await work();
      setState({});
      return result;
    } catch (error) {
      setState({ error });
      return undefined;
    }
  }
  return { act, ...state };
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
    const read = (table, key, ids) =>
      ids.length ? ask(db.from(table).select(`id:${key}, display_name`).in(key, ids)) : [];
    Promise.all([read("user_profiles", "user_id", users), read("ai_twins", "id", twins)]).then((lists) => {
      const named = new Map(names.get());
      for (const row of lists.flat()) named.set(row.id, row.display_name);
      names.set(named);
    }, () => names.set(new Map([...names.get()].filter(([id]) => !users.includes(id) && !twins.includes(id)))));
  }, [users.join(), twins.join()]);
  return known;
}
