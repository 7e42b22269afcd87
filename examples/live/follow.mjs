// Print what happens in a channel, each event as a line of JSON. With a user's access token in ACCESS_TOKEN:
// follow.mjs URL KEY CHANNEL [SINCE]

import process from "node:process";
import { createClient } from "@supabase/supabase-js";
import { follow } from "../../packages/follow-js/follow.js";

const [url, key, channelId, since = "0"] = process.argv.slice(2);
const client = createClient(url, key, { accessToken: () => Promise.resolve(process.env.ACCESS_TOKEN) });

follow(client, {
  channelId,
  since: Number(since),
  onEvent: (event, payload) => console.log(JSON.stringify({ event, payload })),
  onState: (state, { reason, error }) => console.error(state, reason ?? error?.message ?? ""),
});
