// Runs follow-js against a client of scripted answers, and prints what it said, asked and ended with.
// deno run scenarios.ts < SCENARIOS, as JSON

import { Changes } from "../../packages/follow-js/changes.js";
import { follow, listen } from "../../packages/follow-js/follow.js";

const settle = async () => {
  for (let turn = 0; turn < 40; turn++) await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 1));
};

async function run({ topic, since, log, steps }) {
  const [said, asked, channels, cursors] = [[], [], [], []];
  const answers = [...log];
  let leaving = 0;
  const next = () => Promise.resolve(answers.shift() ?? { data: { data: [], meta: { last_seq: 1e6 } } })
    .then(({ data, error }) => ({ data, error }));
  const rows = {
    select: () => rows, eq: (...filter) => (asked.push(["user_events", filter]), rows), in: () => rows,
    order(column, { ascending = true } = {}) {
      if (column !== "seq" || ascending) throw Error("Ask for the last event.");
      return rows;
    },
    limit: next,
  };
  const client = {
    rpc: (name, given) => (asked.push([name, JSON.parse(JSON.stringify(given))]), { abortSignal: next }),
    from: () => rows,
    realtime: { setAuth: () => Promise.resolve(), isConnected: () => true },
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
  const following = follow(client, {
    topic, since,
    onEvent: (event, payload) => {
      said.push([event, payload.seq ?? payload.conversation_id ?? payload.id ?? null]);
      cursors.push(following.cursor ?? null);
    },
    onState: (state, { reason }) => said.push(reason ? [state, reason] : [state]),
  });
  await settle();
  for (const [step, payload] of steps) {
    const channel = channels[step.startsWith("turn") ? channels.length - 1 : 0];
    if (step.endsWith("joined")) channel.system({ status: "ok" });
    else if (step.endsWith("lost")) channel.notice("CHANNEL_ERROR", Error("lost"));
    else channel.broadcast({ event: step.replace("turn ", ""), payload });
    await settle();
  }
  const found = { said: [...said], asked: [...asked], cursors: [...cursors], seq: following.seq, cursor: following.cursor ?? null };
  const stopped = said.length;
  await following.stop();
  const unfinished = leaving;
  await settle();
  return { ...found, last: said.slice(stopped), unfinished };
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
    realtime: { setAuth: () => (seen.push("auth"), Promise.resolve()), isConnected: () => isConnected },
    removeChannel: () => (seen.push("remove"), Promise.resolve()),
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
  await step("ready", () => last().taken.system({ status: "ok" }));
  await step("second", () => left.push(listen(client, "user:u", listener("b"))));
  await step("broadcast", () => last().taken.broadcast({ event: "e" }));
  await step("refused", () => last().notice("CHANNEL_ERROR", Error("no")));
  await step("again", fire);
  for (let number = 0; number < 4; number++) {
    await step("closed", () => last().notice("CLOSED"));
    await fire();
  }
  await step("late", () => last().taken.system({ status: "ok" }));
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
  await step("offline", () => {
    isConnected = false;
    last().notice("CHANNEL_ERROR", Error("cut"));
  });
  isConnected = true;
  await step("subscribed again", () => last().notice("SUBSCRIBED"));
  await step("without a sign", fire);
  const old = channels[0];
  await step("old channel", () => (old.notice("CLOSED"), old.taken.system({ status: "ok" })));
  await step("one leaves", () => left[0]());
  await step("both have left", () => left[1]());
  await step("broadcast to none", () => last().taken.broadcast({ event: "e" }));
  await step("left at once", () => listen(client, "user:v", listener("d"))());
  await step("a new one", () => left.push(listen(client, "user:u", listener("c"))));
  Object.assign(globalThis, { setTimeout: later, clearTimeout: forget });
  Math.random = random;
  Date.now = now;
  return { steps, config: last().config, name: last().name, channels: channels.length };
}

const { scenarios, changes } = JSON.parse(await new Response(Deno.stdin.readable).text());
const found = [];
for (const scenario of scenarios) found.push(await run(scenario));
console.log(JSON.stringify({ scenarios: found, changes: change(changes), joins: await join() }));
Deno.exit();
