// The live state: topics that a component follows while it is shown, presence and typing, and whether all are live.

import { db } from "./client.js";
import { follow } from "./follow/follow.js";
import { store } from "./state.js";
import { useEffect, useRef, useState } from "./vendor/libraries.js";

const TYPING_SECONDS = 4;
const offline = store(new Set());

/** Whether a followed topic, or the browser itself, has lost its connection. */
export function useOffline() {
  const topics = offline.use();
  const [isOff, setOff] = useState(!navigator.onLine);
  useEffect(() => {
    const look = () => setOff(!navigator.onLine);
    const names = ["online", "offline"];
    names.forEach((name) => addEventListener(name, look));
    return () => names.forEach((name) => removeEventListener(name, look));
  }, []);
  return isOff || topics.size > 0;
}

function mark(handle, isOffline) {
  const topics = new Set(offline.get());
  isOffline ? topics.add(handle) : topics.delete(handle);
  if (topics.size !== offline.get().size) offline.set(topics);
}

function start({ onEvent, onReload, onEnd, ...options }) {
  const handle = {};
  const following = follow(db, {
    ...options,
    onEvent,
    onState(state, detail) {
      if (state === "reload") return onReload?.();
      mark(handle, state === "offline");
      return state === "ended" && detail.reason !== "stopped" ? onEnd?.(detail) : undefined;
    },
  });
  return () => following.stop(); // which ends its mark too
}

/**
 * Follows while the component is shown: { topic } or { channelId }, since, onEvent, onReload, onEnd; null follows
 * nothing. onReload: read everything again, because events are missing.
 */
export function useFollow(options) {
  const newest = useRef();
  newest.current = options;
  useEffect(() => {
    if (!options) return undefined;
    const now = (name) => (...values) => newest.current?.[name]?.(...values);
    return start({ ...options, onEvent: now("onEvent"), onReload: now("onReload"), onEnd: now("onEnd") });
  }, [options?.channelId ?? options?.topic]);
}

/** Follows many channels, to learn that something happened in one of them. */
export function useFollowMany(channels, onChange) {
  const running = useRef(new Map());
  const newest = useRef();
  newest.current = onChange;
  useEffect(() => {
    const ids = new Set(channels.map((each) => each.id));
    for (const [id, stop] of running.current) if (!ids.has(id)) stop(running.current.delete(id));
    for (const { id, last_seq: since } of channels) {
      if (running.current.has(id)) continue;
      const tell = () => newest.current();
      // Reads the logs rarely, because the topic of the user also brings changes.
      const options = { channelId: id, since, checkSeconds: 300, onEvent: tell, onReload: tell };
      running.current.set(id, start(options));
    }
  }, [channels.map((each) => each.id).join()]);
  useEffect(() => () => running.current.forEach((stop) => stop()), []);
}

/** Presence and typing of a channel: who is here, who types, and `type()` to say that this user does. */
export function useLive(topic, userId) {
  const [here, setHere] = useState([]);
  const [typing, setTyping] = useState([]);
  const live = useRef();
  useEffect(() => {
    const timers = new Map();
    const show = () => setTyping([...timers.keys()]);
    const end = (id) => {
      clearTimeout(timers.get(id));
      timers.delete(id);
      show();
    };
    const channel = db.channel(`${topic}:live`, { config: { private: true, presence: { key: userId } } });
    channel
      .on("presence", { event: "sync" }, () => setHere(Object.keys(channel.presenceState())))
      .on("broadcast", { event: "typing" }, ({ payload }) => {
        const id = payload?.user_id;
        if (typeof id !== "string" || id === userId) return;
        end(id);
        if (payload.ended) return;
        timers.set(id, setTimeout(end, TYPING_SECONDS * 1000, id));
        show();
      })
      .subscribe((status) => status === "SUBSCRIBED" && channel.track({}));
    live.current = channel;
    return () => {
      timers.forEach(clearTimeout);
      setHere([]);
      setTyping([]);
      db.removeChannel(channel);
    };
  }, [topic]);
  const said = useRef(0);
  function type(isTyping) {
    const now = Date.now();
    if (isTyping && now - said.current < (TYPING_SECONDS * 1000) / 2) return;
    if (!isTyping && !said.current) return;
    said.current = isTyping ? now : 0;
    const payload = { user_id: userId, ended: !isTyping };
    if (live.current?.state === "joined") live.current.send({ type: "broadcast", event: "typing", payload });
  }
  return { here, typing, type };
}
