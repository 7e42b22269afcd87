// Reads commands as lines of JSON, runs them with supabase-js, and writes what happens as lines of JSON.
// deno run agent.ts URL KEY

import { createClient, type RealtimeChannel } from "@supabase/supabase-js";

const [url, key] = Deno.args;
let accessToken = key;
const client = createClient(url, key, { accessToken: () => Promise.resolve(accessToken) });
const channels = new Map<string, RealtimeChannel>();

function say(content: Record<string, unknown>) {
  console.log(JSON.stringify(content));
}

function plain(payload: unknown): unknown {
  return payload instanceof ArrayBuffer ? { bytes: Array.from(new Uint8Array(payload)) } : payload;
}

// deno-lint-ignore no-explicit-any
function subscribe({ topic, config, events, changes, presence }: any) {
  const channel = client.channel(topic, { config });
  channels.set(topic, channel);
  for (const event of events) {
    channel.on("broadcast", { event }, ({ payload, meta }) => {
      say({ kind: "broadcast", topic, event, payload: plain(payload), meta });
    });
  }
  for (const change of changes) {
    channel.on("postgres_changes", change, (payload) => {
      say({ kind: "change", topic, type: payload.eventType, new: payload.new, old: payload.old });
    });
  }
  if (presence) {
    channel.on("presence", { event: "join" }, ({ key }) => say({ kind: "join", topic, key }));
    channel.on("presence", { event: "leave" }, ({ key }) => say({ kind: "leave", topic, key }));
  }
  channel.on("system", {}, ({ status, message }) => say({ kind: "system", topic, status, message }));
  channel.subscribe((status, error) => say({ kind: "status", topic, status, error: error?.message }));
}

// deno-lint-ignore no-explicit-any
async function obey({ action, topic, event, payload, token, ...more }: any): Promise<unknown> {
  const channel = channels.get(topic)!;
  switch (action) {
    case "subscribe":
      return subscribe({ topic, ...more });
    case "send":
      return await channel.send({ type: "broadcast", event, payload });
    case "send_bytes":
      return await channel.send({ type: "broadcast", event, payload: new Uint8Array(payload).buffer });
    case "http_send":
      return await client.channel(topic, more).httpSend(event, payload);
    case "track":
      return await channel.track(payload);
    case "untrack":
      return await channel.untrack();
    case "set_auth":
      accessToken = token;
      return await client.realtime.setAuth();
    case "unsubscribe":
      return await channel.unsubscribe();
    case "close":
      await client.removeAllChannels();
      Deno.exit(0);
  }
}

let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const command = JSON.parse(line);
    say({ kind: "done", number: command.number, result: (await obey(command)) ?? null });
  }
}
