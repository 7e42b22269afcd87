// Runs follow-js against a client of scripted answers, and prints what it said, asked and ended with.
// deno run scenarios.ts < SCENARIOS, as JSON

import { Changes } from "../../packages/follow-js/changes.js";
import { follow, listen } from "../../packages/follow-js/follow.js";

const { setTimeout: later } = globalThis;
const unhandled = [];
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled.push(String(event.reason));
});
const settle = async () => {
  for (let turn = 0; turn < 60; turn++) await Promise.resolve();
  await new Promise((resolve) => later(resolve, 0));
};

// The time of a scenario, which moves when a step says so, and what a browser tells.
class Place {
  clock = 0;
  timers = new Map();
  listeners = new Map();
  visibility = "visible";
  #number = 0;
  #real = {};

  enter() {
    const add = (every) => (work, delay) => {
      this.timers.set(++this.#number, { work, delay, due: this.clock + delay, every });
      return this.#number;
    };
    const timers = ["setTimeout", "setInterval", "clearTimeout", "clearInterval"];
    const names = [...timers, "addEventListener", "removeEventListener", "document"];
    this.#real = Object.fromEntries(names.map((name) => [name, globalThis[name]]));
    this.#real.now = Date.now;
    const forget = (number) => this.timers.delete(number);
    const listen = (name, take) => this.listeners.set(name, take);
    const unlisten = (name, take) => this.listeners.get(name) === take && this.listeners.delete(name);
    Date.now = () => this.clock;
    Object.assign(globalThis, {
      setTimeout: add(false), setInterval: add(true), clearTimeout: forget, clearInterval: forget,
      addEventListener: listen, removeEventListener: unlisten,
      document: Object.defineProperty(
        { addEventListener: listen, removeEventListener: unlisten }, "visibilityState", { get: () => this.visibility },
      ),
    });
  }

  leave() {
    const { now, ...real } = this.#real;
    Date.now = now;
    Object.assign(globalThis, real);
  }

  async jump(seconds) {
    this.clock += seconds * 1000;
    for (const [number, timer] of [...this.timers]) {
      if (timer.due > this.clock || !this.timers.has(number)) continue;
      if (timer.every) timer.due = this.clock + timer.delay;
      else this.timers.delete(number);
      timer.work();
      await settle();
    }
  }
}

async function run(scenario) {
  const place = new Place();
  place.enter();
  try {
    return await play(place, scenario);
  } finally {
    place.leave();
  }
}

async function play(place, { topic, since, log, steps, failing, isConnected = true }) {
  const [said, asked, channels, cursors, counts, reloads, errors, radio, limits] = [[], [], [], [], [], [], [], [], []];
  const answers = [...log];
  let leaving = 0;
  const next = () => {
    const { data, error, thrown, takes = 0 } = answers.shift() ?? { data: { data: [], meta: { last_seq: 1e6 } } };
    const come = takes ? new Promise((resolve) => setTimeout(resolve, takes * 1000)) : Promise.resolve();
    return come.then(() => thrown ? Promise.reject(Error(thrown)) : { data, error });
  };
  const only = (right) => (...given) => {
    if (JSON.stringify(given) !== JSON.stringify(right)) throw Error(`This is wrong: ${JSON.stringify(given)}`);
    return rows;
  };
  const rows = {
    select: only(["kind, created_at"]),
    eq: (...filter) => (asked.push(["user_events", filter]), rows),
    in: only(["kind", ["channel.deleted", "channel.left"]]),
    order: only(["seq", { ascending: false }]),
    limit: (number) => (only([1])(number), next()),
  };
  AbortSignal.timeout = (delay) => delay;
  const client = {
    rpc: (name, given) => {
      asked.push([name, JSON.parse(JSON.stringify(given))]);
      return { abortSignal: (delay) => (limits.push(delay / 1000), next()) };
    },
    from: () => rows,
    realtime: {
      setAuth: () => Promise.resolve(),
      pendingHeartbeatRef: null,
      isConnected: () => isConnected === true,
      isConnecting: () => isConnected === null,
      isDisconnecting: () => isConnected === undefined,
      sendHeartbeat() {
        radio.push("heartbeat");
        this.pendingHeartbeatRef = "1";
      },
      disconnect: () => (radio.push("disconnect"), Promise.resolve()),
      connect: () => radio.push("connect"),
    },
    async removeChannel(channel) {
      asked.push(["leave", channel.name]);
      leaving++;
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      leaving--;
    },
    channel(name) {
      const channel = {
        name, joinedOnce: true, state: "joined",
        on: (kind, _, take) => ((channel[kind] = take), channel),
        subscribe: (notice) => ((channel.notice = notice), channel),
      };
      asked.push(["join", name]);
      channels.push(channel);
      return channel;
    },
  };
  const onEvent = async (event, { seq, conversation_id, channel_id, created_at, id }) => {
    if (seq && seq === failing) throw Error("The handler failed.");
    said.push([event, seq ?? conversation_id ?? id ?? `${channel_id} ${created_at}`]);
    cursors.push(following.cursor ?? null);
    if (failing && failing === conversation_id) await following.stop();
  };
  const onState = async (state, { reason, error }) => {
    if (state === "reload") {
      reloads.push(following.seq);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
    said.push(reason ? [state, reason] : [state]);
    if (error) errors.push(error.message);
    if (state === failing) throw Error("The handler failed.");
  };
  const named = topic === "channel:c" ? { channelId: "c" } : { topic };
  const following = follow(client, { ...named, since, onEvent, onState });
  await settle();
  const at = (isTurn) => channels.findLast((each) => isTurn === (each.name !== topic));
  for (const [step, payload] of steps) {
    const channel = at(step.startsWith("turn"));
    if (step === "wait") {
      for (let second = 0; second < payload; second++) await place.jump(1);
      counts.push(asked.filter(([name]) => name.startsWith("list_")).length);
    } else if (step === "sleep") await place.jump(payload);
    else if (step === "many") {
      for (let seq = 1; seq <= payload; seq++) {
        const about = topic === "channel:c" ? { seq, prev_seq: seq - 1 } : { id: seq };
        channel.broadcast({ event: topic === "channel:c" ? "message.created" : "twin.changed", payload: about });
      }
    } else if (step === "heard") client.realtime.pendingHeartbeatRef = null;
    else if (step === "visibility") place.visibility = payload;
    else if (step === "connection") isConnected = { coming: null, going: undefined, away: false }[payload];
    else if (step === "tell") place.listeners.get(payload)();
    else if (step === "turn refused") channel.notice("CHANNEL_ERROR", Error("refused"));
    else if (step === "turn closed") channel.notice("CLOSED");
    else if (step.endsWith("joined")) channel.system({ status: "ok" });
    else if (step.endsWith("lost")) channel.notice("CHANNEL_ERROR", Error("lost"));
    else channel.broadcast({ event: step.replace("turn ", ""), payload });
    await settle();
  }
  const { seq, cursor = null } = following;
  const found = { said: [...said], asked: [...asked], cursors: [...cursors], seq, cursor,
    counts, reloads, errors: [...errors], radio: [...radio], limits };
  const stopped = said.length;
  await following.stop();
  const unfinished = leaving;
  const leaves = asked.slice(found.asked.length).map(([, name]) => name);
  await settle();
  await place.jump(20);
  const left = [...place.listeners.keys(), ...[...place.timers.values()].filter(({ every }) => every)].length;
  return { ...found, last: said.slice(stopped), unfinished, left, leaves };
}

// A follower that says nothing of its state.
async function keepQuiet() {
  const events = [];
  const answer = { data: [{ event: "e", payload: { seq: 5, prev_seq: 4 } }], meta: { is_incomplete: true } };
  const client = {
    rpc: () => ({ abortSignal: () => Promise.resolve({ data: answer }) }),
    realtime: { setAuth: () => new Promise(() => {}) },
  };
  const following = follow(client, { topic: "user:u", since: 2, onEvent: (event) => events.push(event) });
  await settle();
  await following.stop();
  return [events, following.seq];
}

function forget() {
  const changes = new Changes();
  const change = (number) => ({ conversation_id: `${number}`, version: 1 });
  for (let number = 0; number <= 10000; number++) changes.add(change(number));
  return [0, 1, 10000].map((number) => changes.has(change(number)));
}

function change(script) {
  const changes = new Changes();
  return script.map(([name, given]) => changes[name](given) ?? null);
}

// Joins of one topic, with timers that run when the script says so.
async function join() {
  const [seen, timers, channels] = [[], [], []];
  const { setTimeout: later, clearTimeout: forget } = globalThis;
  const { random } = Math;
  const { now } = Date;
  let [clock, isConnected] = [0, true];
  Math.random = () => 0.5;
  Date.now = () => clock;
  globalThis.setTimeout = (work, delay) => (timers.push([work, delay]), timers.length);
  globalThis.clearTimeout = (number) => number && (timers[number - 1] = null);
  const client = {
    // Both may fail, which changes nothing.
    realtime: { setAuth: () => (seen.push("auth"), Promise.reject(Error("away"))), isConnected: () => isConnected },
    async removeChannel() {
      seen.push("remove");
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
      seen.push("removed");
      throw Error("away");
    },
    channel(name, { config }) {
      const channel = {
        name, config, joinedOnce: true, state: "joined", taken: {},
        on: (kind, _, take) => ((channel.taken[kind] = take), channel),
        subscribe: (notice) => ((channel.notice = notice), channel),
      };
      channels.push(channel);
      return channel;
    },
  };
  const listener = (name) => ({
    received: ({ event }) => seen.push(`${name} ${event}`),
    joined: () => seen.push(`${name} joined`),
    lost: (error, isRefused) => seen.push(`${name} lost ${error?.message} ${isRefused}`),
  });
  const turn = async () => {
    for (let each = 0; each < 20; each++) await Promise.resolve();
  };
  const waiting = () => timers.flatMap((each) => each ? [each[1]] : []);
  const fire = async () => {
    const place = timers.findIndex((each) => each);
    const [work] = timers[place];
    timers[place] = null;
    work();
    await turn();
  };
  const last = () => channels.at(-1);
  const step = async (name, work) => {
    seen.length = 0;
    await work();
    await turn();
    steps.push([name, [...seen], waiting()]);
  };
  const steps = [];
  const left = [];
  await step("first", () => left.push(listen(client, "user:u", listener("a"))));
  await step("subscribed", () => last().notice("SUBSCRIBED"));
  await step("subscribed twice", () => last().notice("SUBSCRIBED"));
  await step("early", () => listen(client, "user:u", listener("z"))());
  await step("ready", () => last().taken.system({ status: "ok" }));
  await step("second", () => left.push(listen(client, "user:u", listener("b"))));
  await step("broadcast", () => last().taken.broadcast({ event: "e" }));
  await step("refused", () => last().notice("CHANNEL_ERROR", Error("no")));
  await step("not yet again", () => listen(client, "user:u", listener("z"))());
  await step("again", fire);
  await step("not ready", () => (last().notice("SUBSCRIBED"), last().notice("CLOSED"), last().notice("CLOSED")));
  last().state = "closed";
  await step("closed", fire);
  for (let number = 0; number < 3; number++) {
    await step("closed", () => last().notice("CLOSED"));
    await fire();
  }
  await step("late", () => last().taken.system({ status: "ok" }));
  clock = 5000;
  await step("a second sign", () => last().taken.system({ status: "ok" }));
  clock = 10001;
  await step("steady", () => last().notice("CLOSED"));
  await fire();
  await step("limit", () => last().notice("CHANNEL_ERROR", Error("Too many joins")));
  await fire();
  await step("after the limit", () => last().notice("CLOSED"));
  await fire();
  await step("system limit", () => last().taken.system({ status: "error", message: "RateLimitReached: x" }));
  await step("after it", () => last().notice("CHANNEL_ERROR"));
  await fire();
  await step("another error", () => last().taken.system({ status: "error", message: "x" }));
  await step("no limit", () => last().notice("CHANNEL_ERROR"));
  await fire();
  isConnected = false;
  await step("closed offline", () => last().notice("CLOSED"));
  await fire();
  await step("offline", () => {
    last().notice("CHANNEL_ERROR", Error("cut"));
  });
  isConnected = true;
  await step("subscribed again", () => last().notice("SUBSCRIBED"));
  await step("without a sign", fire);
  const old = channels[0];
  await step("old channel", () => (old.notice("CLOSED"), old.taken.system({ status: "ok" })));
  await step("one leaves", () => left[0]());
  await step("it comes back", async () => {
    const leave = listen(client, "user:u", listener("a"));
    await turn();
    await leave();
  });
  await step("both have left", () => left[1]());
  await step("broadcast to none", () => last().taken.broadcast({ event: "e" }));
  await step("left at once", () => listen(client, "user:v", listener("d"))());
  await step("a new one", () => left.push(listen(client, "user:u", listener("c"))));
  await step("left again", () => left[1]());
  await step("beside it", () => left.push(listen(client, "user:u", listener("d"))));
  await step("almost ready", () => last().notice("SUBSCRIBED"));
  await step("all leave", () => Promise.all([left[2](), left[3]()]));
  await step("the last one", () => left.push(listen(client, "user:u", listener("e"))));
  await step("lost", () => last().notice("CLOSED"));
  await step("it leaves", () => left[4]());
  await step("a ready one", async () => {
    left.push(listen(client, "user:u", listener("f")));
    await turn();
    last().taken.system({ status: "ok" });
  });
  const more = () => listen(client, "user:u", listener("i"));
  await step("two come while it leaves", () => {
    left[5]();
    listen(client, "user:u", { ...listener("g"), received: more });
    listen(client, "user:u", listener("h"));
  });
  await step("one brings another", () => last().taken.broadcast({ event: "e" }));
  Object.assign(globalThis, { setTimeout: later, clearTimeout: forget });
  Math.random = random;
  Date.now = now;
  return { steps, config: last().config, name: last().name, channels: channels.length };
}

const { scenarios, changes } = JSON.parse(await new Response(Deno.stdin.readable).text());
const found = [];
const attempt = (work) => work().catch((error) => ({ failure: String(error) }));
for (const scenario of scenarios) found.push(await attempt(() => run(scenario)));
const told = {
  scenarios: found, changes: await attempt(async () => change(changes)), joins: await attempt(join),
  forgotten: await attempt(async () => forget()), quiet: await attempt(keepQuiet),
};
await settle();
console.log(JSON.stringify({ ...told, unhandled }));
Deno.exit();
