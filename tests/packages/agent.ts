// Follows what it is told to, with a token from a file, and writes what happens as lines of JSON.
// deno run agent.ts URL KEY TOKEN_FILE OPTIONS

import { createClient } from "@supabase/supabase-js";
import { follow } from "../../packages/follow-js/follow.js";

const [url, key, tokenFile, options] = Deno.args;
const { slow = 0, failing = 0, ...following } = JSON.parse(options);
const client = createClient(url, key, { accessToken: () => Deno.readTextFile(tokenFile) });
const say = (content: Record<string, unknown>) => console.log(JSON.stringify(content));
let open = 0;

follow(client, {
  ...following,
  onEvent: async (event, payload) => {
    if (++open > 1) say({ kind: "overlap" });
    if (slow) await new Promise((resolve) => setTimeout(resolve, slow));
    if (failing && payload.seq === failing) throw new Error("The handler failed.");
    open--;
    say({ kind: "event", event, payload });
  },
  onState: (state, { reason, error }) => say({ kind: "state", state, reason, error: error && `${(error as Error).message}` }),
});
