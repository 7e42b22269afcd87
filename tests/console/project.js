// A Supabase project inside the page: the tables, functions, Storage, Auth and Realtime that the console asks for.
// A script of the page runs it before the console starts. Its clock stands still, and its short pauses are shorter.

const RealDate = Date;
const { setTimeout: later, requestAnimationFrame: onFrame } = globalThis;
// What `*` does not select: computed columns and rows of other tables.
const APART = ["unread_count", "keys", "people", "conversation_identifiers", "message_reactions", "message_pins",
  "channel_twins", "twin_webhooks", "ai_twins", "only"];

const project = globalThis.project = {
  now: RealDate.UTC(2026, 5, 15, 12),
  config: { url: "https://project.test", key: "sb_publishable_x", service: "https://service.test" },
  tables: {},
  answers: {}, // of functions: a value, or (arguments, user) => value
  calls: [], // [key, what was sent]: "GET people", "POST rpc/mark_read"
  sent: [], // headers and query of each call, as [key, query, headers]
  refusals: {}, // by key: { status, body }; null for a broken connection
  typed: [], // broadcasts of this page
  alerts: [], // questions to the user
  copied: [],
  isDown: false,
};

globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [project.now]));
  }

  static now() {
    return project.now;
  }
};
globalThis.confirm = (text) => {
  project.alerts.push(text);
  return !project.refusesAll;
};
navigator.clipboard.writeText = async (text) => {
  if (project.hasNoClipboard) throw Error("No");
  project.copied.push(text);
};

let waiting = 0; // short timers and requests
const long = new Map(); // timers that run when a test says so
let number = 1e6;
globalThis.setTimeout = (work, delay = 0, ...given) => {
  if (delay >= 1000) {
    long.set(++number, { work: () => work(...given), delay });
    return number;
  }
  waiting++;
  const id = later(() => {
    known.delete(id);
    waiting--;
    work(...given);
  }, delay / 20);
  known.add(id);
  return id;
};
const known = new Set();
const { clearTimeout: forget } = globalThis;
globalThis.clearTimeout = (id) => {
  if (known.delete(id)) waiting--;
  long.delete(id);
  forget(id);
};
globalThis.setInterval = () => 0;
globalThis.requestAnimationFrame = (work) => setTimeout(work);
globalThis.cancelAnimationFrame = (id) => clearTimeout(id);

/** Runs the long timers of this delay, as if it had passed. */
project.pass = (delay) => {
  for (const [id, each] of [...long]) {
    if (each.delay !== delay) continue;
    long.delete(id);
    each.work();
  }
};

/** Waits until the page has shown all that it asked for. */
project.settle = async () => {
  const end = performance.now() + 15_000;
  for (let quiet = 0; quiet < 5;) {
    if (performance.now() > end) throw Error("The page does not come to rest");
    await new Promise((resolve) => later(resolve));
    quiet = waiting > 0 ? 0 : quiet + 1;
    if (quiet === 2 && project.begin) await new Promise(onFrame); // the page scrolls and measures itself
  }
};

// Tables.

/** The parts of a list between commas that stand in no brackets and no quotes. */
function parts(text) {
  const found = [];
  let [part, depth, isQuoted] = ["", 0, false];
  for (let place = 0; place < text.length; place++) {
    const letter = text[place];
    if (letter === "\\") {
      part += letter + text[++place];
      continue;
    }
    if (letter === '"') isQuoted = !isQuoted;
    if (!isQuoted) depth += { "(": 1, ")": -1 }[letter] ?? 0;
    if (letter === "," && !isQuoted && depth === 0) {
      found.push(part);
      part = "";
    } else part += letter;
  }
  return text ? [...found, part] : [];
}

const bare = (text) => text[0] === '"' ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text;
const ordered = (value) => /^\d{4}-\d\d-\d\dT/.test(value) ? RealDate.parse(value) : value;

function compare(a, b) {
  const [x, y] = [ordered(a), ordered(b)];
  if (x === y) return 0;
  return x < y ? -1 : 1;
}

const OPERATORS = {
  eq: (value, given) => value !== null && String(value) === bare(given),
  is: (value, given) => given === "null" && (value ?? null) === null,
  in: (value, given) => parts(given.slice(1, -1)).map(bare).includes(String(value)),
  lt: (value, given) => compare(value, like(value, given)) < 0,
  lte: (value, given) => compare(value, like(value, given)) <= 0,
  gt: (value, given) => compare(value, like(value, given)) > 0,
  gte: (value, given) => compare(value, like(value, given)) >= 0,
  ilike: (value, given) => {
    const steps = { "%": ".*", "*": ".*", _: "." };
    const pattern = bare(given).replace(/\\?[^]/g, (it) => steps[it] ?? it.at(-1).replace(/[^\w\s]/g, "\\$&"));
    return new RegExp(`^${pattern}$`, "is").test(value ?? "");
  },
};
const like = (value, given) => typeof value === "number" ? Number(bare(given)) : bare(given);

function holds(row, condition) {
  const group = /^(and|or)\((.*)\)$/s.exec(condition);
  if (group) return parts(group[2])[group[1] === "and" ? "every" : "some"]((each) => holds(row, each));
  const [, column, operator, value] = /^(\w+)\.(\w+)\.(.*)$/s.exec(condition);
  if (!(column in row)) throw Error(`There is no column ${column}`);
  return OPERATORS[operator](row[column], value);
}

function select(row, columns) {
  const found = {};
  for (const part of parts(columns)) {
    const [, name, source = name, inner] = /^(\w+|\*)(?::(\w+))?(?:\((.*)\))?$/.exec(part);
    if (name === "*") Object.assign(found, row, Object.fromEntries(APART.map((key) => [key, undefined])));
    else {
      const value = row[source];
      if (value === undefined) throw Error(`There is no column ${source}`);
      const of = (each) => each && select(each, inner);
      found[name] = inner === undefined ? value : Array.isArray(value) ? value.map(of) : of(value);
    }
  }
  return found;
}

function read(table, query) {
  const special = ["select", "order", "limit", "offset", "on_conflict"];
  const rows = table.filter((row) => [...query].every(([name, value]) => special.includes(name)
    || holds(row, name === "or" ? `or${value}` : `${name}.${value}`)));
  const orders = (query.get("order") ?? "").split(",").filter(Boolean).map((each) => each.split("."));
  // Without an order, rows come in none: neither the oldest nor the newest first.
  const mixed = [...rows.filter((_, place) => place % 2), ...rows.filter((_, place) => place % 2 === 0)];
  mixed.sort((a, b) => {
    for (const [column, direction] of orders) {
      const sign = direction === "desc" ? -1 : 1;
      const [x, y] = [a[column] ?? null, b[column] ?? null];
      if ((x === null) !== (y === null)) return x === null ? sign : -sign;
      const found = x === null ? 0 : compare(x, y);
      if (found) return sign * found;
    }
    return 0;
  });
  const start = Number(query.get("offset") ?? 0);
  return mixed.slice(start, query.has("limit") ? start + Number(query.get("limit")) : undefined);
}

const answer = (status, body) => new Response(body === undefined ? null : JSON.stringify(body), { status });

function ask(name, method, query, headers, body, user) {
  if (!(name in project.tables)) return answer(404, { code: "PGRST205", message: `There is no table ${name}` });
  const table = project.tables[name].filter((row) => !row.only || row.only === user);
  let rows;
  if (method === "POST") {
    rows = [body].flat().map((row) => ({ id: crypto.randomUUID(), created_at: new Date().toISOString(), ...project.fill?.[name], ...row }));
    project.tables[name].push(...rows);
  } else rows = read(table, query);
  if (method === "PATCH") rows.forEach((row) => Object.assign(row, body));
  if (method === "DELETE") project.tables[name] = project.tables[name].filter((row) => !rows.includes(row));
  if (method !== "GET" && !headers.prefer?.includes("return=representation")) return answer(method === "POST" ? 201 : 204);
  const found = rows.map((row) => select(row, query.get("select") ?? "*"));
  if (headers.accept !== "application/vnd.pgrst.object+json") return answer(200, found);
  if (found.length === 1) return answer(200, found[0]);
  return answer(406, { code: "PGRST116", message: "Cannot coerce the result to a single JSON object" });
}

function respond(key, name, method, query, headers, body) {
  const user = headers.authorization?.replace("Bearer token-", "");
  if (key in project.refusals) {
    const refusal = project.refusals[key];
    if (!refusal) throw TypeError("Failed to fetch");
    return answer(refusal.status, refusal.body);
  }
  const [place, ...rest] = name.split("/");
  if (place === "rpc" || place === "auth" || place === "service") {
    const known = project.answers[place === "rpc" ? rest.join("/") : name];
    if (known === undefined) return answer(404, { message: `There is no ${name}` });
    return answer(200, typeof known === "function" ? known(body, user, query) : known);
  }
  if (place === "storage") {
    if (rest[1] !== "sign") return answer(200, {});
    return answer(200, body.paths.map((path) => ({ path, signedURL: path.includes("gone") ? null : `/object/sign/${path}?token=x` })));
  }
  return ask(name, method, query, headers, body, user);
}

const PLACES = { "/rest/v1/": "", "/auth/v1/": "auth/", "/storage/v1/": "storage/", "/api/v2/": "service/" };
const held = new Map();

/** Breaks the connection of the next call alone. */
project.failOnce = (key) => Object.defineProperty(project.refusals, key, {
  configurable: true,
  get() {
    delete project.refusals[key];
    return null;
  },
});

globalThis.fetch = async (url, { method = "GET", headers = {}, body } = {}) => {
  const { origin, pathname, searchParams } = new URL(url, location.href);
  if (origin === location.origin) return answer(project.config ? 200 : 503, project.config ?? { error: "Not configured." });
  const base = Object.keys(PLACES).find((each) => pathname.startsWith(each));
  const name = PLACES[base] + pathname.slice(base.length);
  const key = `${method} ${name}`;
  const given = typeof body === "string" ? JSON.parse(body) : body;
  project.calls.push([key, given ?? decodeURIComponent(searchParams)]);
  project.sent.push([key, decodeURIComponent(searchParams), headers]);
  waiting++;
  try {
    await Promise.resolve();
    const found = project.isDown ? null : respond(key, name, method, searchParams, headers, given);
    if (!found) throw TypeError("Failed to fetch");
    const hold = held.get(key);
    if (hold?.left > 0) {
      hold.left--;
      waiting--;
      await new Promise((resolve) => hold.waiting.push(resolve));
      waiting++;
    }
    return found;
  } finally {
    waiting--;
  }
};

/** Keeps back the next answers of a call until they are released, the oldest first. */
project.hold = (key, count = 1) => held.set(key, { left: count, waiting: held.get(key)?.waiting ?? [] });
project.release = (key) => held.get(key).waiting.shift()();

/** The calls with a key that begins like this, since the last look. */
project.look = (start = "") => {
  const found = project.calls.filter(([key]) => key.startsWith(start));
  project.calls.length = 0;
  return found;
};

// Realtime.

const joined = new Map();
const sockets = new Set();

globalThis.WebSocket = class {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  readyState = 0;

  constructor(url) {
    this.url = url;
    sockets.add(this);
    later(() => {
      if (project.isDown) return this.close(1006);
      this.readyState = 1;
      this.onopen?.({});
    }, 0);
  }

  send(data) {
    if (typeof data !== "string") {
      const bytes = new Uint8Array(data);
      const text = new TextDecoder();
      const lengths = bytes.slice(1, 6);
      const fields = [];
      let place = 7;
      for (const length of lengths) fields.push(text.decode(bytes.slice(place, place += length)));
      project.typed.push([fields[2].replace("realtime:", ""), fields[3], JSON.parse(text.decode(bytes.slice(place)))]);
      return;
    }
    const [join, ref, topic, event, payload] = JSON.parse(data);
    const name = topic.replace("realtime:", "");
    const say = (...message) => later(() => this.onmessage?.({ data: JSON.stringify([join, ref, topic, ...message]) }), 0);
    if (event === "phx_join") joined.set(name, { socket: this, payload });
    if (event === "phx_leave") joined.delete(name);
    if (event === "access_token") project.tokens = [...project.tokens ?? [], payload.access_token];
    say("phx_reply", { status: "ok", response: { postgres_changes: [] } });
    if (event === "phx_join") say("system", { status: "ok", message: "Subscribed", extension: "broadcast" });
  }

  close(code = 1000) {
    this.readyState = 3;
    sockets.delete(this);
    later(() => this.onclose?.({ code, wasClean: true }), 0);
  }
};

function push(topic, event, payload) {
  const { socket } = joined.get(topic) ?? {};
  socket?.onmessage({ data: JSON.stringify([null, null, `realtime:${topic}`, event, payload]) });
}

project.topics = () => [...joined.keys()].sort();
project.payloadOf = (topic) => joined.get(topic).payload;
project.broadcast = (topic, event, payload) => push(topic, "broadcast", { type: "broadcast", event, payload });
project.meet = (topic, ids) => push(topic, "presence_state",
  Object.fromEntries(ids.map((id) => [id, { metas: [{ phx_ref: id }] }])));
project.cut = () => {
  project.isDown = true;
  joined.clear();
  for (const socket of [...sockets]) socket.close(1006);
};

/** Sends a change of a conversation with its next version. */
const versions = new Map();
project.change_of = (topic, event, { conversation, ...payload }) => {
  const version = (versions.get(conversation?.id) ?? 0) + 1;
  if (conversation) versions.set(conversation.id, version);
  project.broadcast(topic, event, { ...payload, ...conversation && { conversation: { ...conversation, version } } });
};

/** Adds an event to the log of a channel and sends it. */
const logs = new Map();
const logOf = (id) => {
  if (!logs.has(id)) logs.set(id, { first: project.lastOf?.(id) ?? 0, events: [] });
  return logs.get(id);
};
project.happen = (id, event, payload, isSent = true) => {
  const log = logOf(id);
  const seq = log.first + log.events.length + 1;
  const full = { ...payload, seq, prev_seq: seq - 1 };
  project.store?.(id, event, full);
  log.events.push({ event, payload: full });
  if (isSent) project.broadcast(`channel:${id}`, event, full);
  return seq;
};
project.answers.list_channel_events = ({ channel_id: id, since }) => {
  const { first, events } = logOf(id);
  const data = events.filter((each) => each.payload.seq > since);
  return { data, meta: { last_seq: first + events.length, has_more: false, is_incomplete: false } };
};
project.answers.list_user_events = () => ({ data: [], meta: { last_seq: 0, has_more: false } });
project.answers.list_inbox_changes = () => ({ data: [], meta: { next_cursor: "k1", has_more: false } });
