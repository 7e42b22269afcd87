// Follows a topic with a token from a file, and writes what happens as lines of JSON.
// deno run agent.ts URL KEY TOKEN_FILE OPTIONS

import { createClient } from "@supabase/supabase-js";
import { follow, type Options } from "../../packages/follow-js/follow.js";

const [url, key, tokenFile, options] = Deno.args;
const { slow = 0, failing = 0, copies = 1, ...given } = JSON.parse(options);
const client = createClient(url, key, { accessToken: () => Deno.readTextFile(tokenFile) });

function run(copy: number) {
  const say = (content: Record<string, unknown>) => console.log(JSON.stringify({ copy, ...content }));
  let open = 0;
  const following: Options = {
    ...given,
    onEvent: async (event, payload) => {
      if (++open > 1) say({ kind: "overlap" });
      await new Promise((resolve) => setTimeout(resolve, slow));
      if (failing && payload.seq === failing) throw new Error("The handler failed.");
      open--;
      say({ kind: "event", event, payload });
    },
    onState: (state, { reason, error }) => {
      say({ kind: "state", state, reason, error: error ? (error as Error).message : undefined });
    },
  };
  return follow(client, following);
}

await run(0).stop(); // as React does it in development: it starts, stops and starts again
for (let copy = 1; copy <= copies; copy++) run(copy);
