// Follow a channel: every event once and in order, whatever happens to the connection.

import { createClient } from "@supabase/supabase-js";

/**
 * Hear what happens in a channel after an event.
 *
 * @param client a Supabase client whose user is a member of the channel
 * @param channelId the channel
 * @param since the seq of the last event that you have; 0 for all that there are
 * @param handle called with the name of each event and its payload; keep payload.seq where you keep the rest
 * @param seconds how often to look whether the last broadcast of all got lost
 * @returns a function that ends it
 */
export function follow(client, channelId, since, handle, seconds = 30) {
  let last = since;
  let reading = false;
  let readAgain = false;
  let ended = false;

  function take(event, payload) {
    if (payload.seq <= last) return; // seen: broadcasts and catching up overlap
    last = payload.seq;
    handle(event, payload);
  }

  async function catchUp() {
    readAgain = true;
    if (reading) return;
    reading = true;
    try {
      while (readAgain && !ended) {
        readAgain = false;
        const { data: answer, error } = await client.rpc("list_channel_events", { channel_id: channelId, since: last });
        if (error) {
          console.warn(error.message);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          readAgain = true;
          continue;
        }
        for (const { event, payload } of answer.data) take(event, payload);
        readAgain ||= answer.meta.has_more;
      }
    } finally {
      reading = false;
    }
  }

  const channel = client
    .channel(`channel:${channelId}`, { config: { private: true } })
    .on("broadcast", { event: "*" }, ({ event, payload }) => {
      // What does not follow what we have, comes too early or is only a pointer, is read with everything before it.
      if (reading || payload.truncated || payload.prev_seq > last) catchUp();
      else take(event, payload);
    })
    .subscribe((status) => {
      if (status === "SUBSCRIBED") catchUp(); // at first, and whenever the connection is back
    });
  const timer = setInterval(catchUp, seconds * 1000);

  return () => {
    ended = true;
    clearInterval(timer);
    return client.removeChannel(channel);
  };
}

// follow.mjs URL KEY CHANNEL [SINCE], with a user's access token in ACCESS_TOKEN: prints each event as a line of JSON.
if (import.meta.main) {
  const { argv, env } = (await import("node:process")).default;
  const [url, key, channelId, since = "0"] = argv.slice(2);
  const client = createClient(url, key, { accessToken: () => Promise.resolve(env.ACCESS_TOKEN) });
  follow(client, channelId, Number(since), (event, payload) => console.log(JSON.stringify({ event, payload })));
}
