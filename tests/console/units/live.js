// Topics that a component follows, and presence and typing of a channel.

import { connect } from "../client.js";
import { useFollow, useFollowMany, useLive, useOffline } from "../live.js";
import { checking, mount } from "./check.js";

async function begin() {
  project.config = { url: "https://abc.supabase.test", key: "k" };
  await connect();
  return checking();
}

export async function follows() {
  const { check, wrong } = await begin();
  const heard = [];
  const hear = (name) => (...given) => heard.push([name, ...given.map((each) => each?.n ?? each?.reason ?? each)]);
  const hook = mount(({ topic, name = "a" }) => useFollow(topic && {
    topic, since: "now", onEvent: hear(name), onReload: hear(`${name} reload`), onEnd: hear(`${name} end`),
  }));
  await hook.show();
  check("nothing", [project.topics(), heard], [[], []]);
  await hook.show({ topic: "channel:1" });
  check("one", [project.topics(), heard.splice(0)], [["channel:1"], [["a reload"]]]);
  await hook.show({ topic: "channel:1", name: "b" });
  project.happen("1", "message.created", { n: 1 });
  await project.settle();
  check("the newest handler", [heard.splice(0), project.topics()], [[["b", "message.created", 1]], ["channel:1"]]);
  await hook.show({ topic: "channel:2", name: "b" });
  check("another topic", [project.topics(), heard.splice(0)], [["channel:2"], [["b reload"]]]);
  project.happen("2", "channel.deleted", { n: 2 });
  await project.settle();
  check("its end", heard.splice(0), [["b", "channel.deleted", 2], ["b end", "deleted"]]);
  await hook.show({ topic: "channel:3", name: "c" });
  heard.length = 0;
  await hook.end();
  check("stopped without an end", [project.topics(), heard], [[], []]);
  return wrong;
}

export async function many() {
  const { check, wrong } = await begin();
  project.lastOf = (id) => Number(id) * 10;
  let changes = [];
  const hook = mount(({ ids, name = "a" }) => useFollowMany(ids.map((id) => ({ id, last_seq: Number(id) * 10 })), () => changes.push(name)));
  const topics = (...ids) => ids.map((id) => `channel:${id}`);
  await hook.show({ ids: ["1", "2"] });
  check("two", [project.topics(), changes], [topics(1, 2), []]);
  const since = project.look("POST rpc/list_channel_events").map(([, body]) => [body.channel_id, body.since]);
  check("from their last event", since.slice(0, 2), [["1", 10], ["2", 20]]);
  await hook.show({ ids: ["2", "3"], name: "b" });
  check("one goes, one comes", project.topics(), topics(2, 3));
  project.happen("2", "message.created", { n: 1 });
  await project.settle();
  check("a change", changes.splice(0), ["b"]);
  project.broadcast("channel:1", "message.created", { seq: 11, prev_seq: 10 });
  await project.settle();
  check("none of what has gone", changes, []);
  const asked = project.look("POST rpc/list_channel_events").map(([, body]) => body.channel_id).filter((id) => id === "2");
  check("the one that stays is not begun again", asked.length <= 1, true);
  const ticks = [];
  globalThis.setInterval = (work) => ticks.push(work);
  await hook.show({ ids: ["1", "2", "3"], name: "b" });
  check("one comes back", project.topics(), topics(1, 2, 3));
  project.look();
  for (let seconds = 12; seconds < 300; seconds += 12) {
    project.now += 12000;
    ticks.forEach((work) => work());
  }
  await project.settle();
  check("no log is read again", project.look(), []);
  project.now += 12000;
  ticks.forEach((work) => work());
  await project.settle();
  check("after five minutes it is", project.look().map(([key]) => key), ["POST rpc/list_channel_events"]);
  await hook.end();
  check("none", project.topics(), []);
  return wrong;
}

export async function presence() {
  const { check, wrong } = await begin();
  const hook = mount(({ topic }) => useLive(topic, "me"));
  const state = () => [hook.now.here, hook.now.typing];
  const say = async (payload, topic = "channel:1:live") => {
    project.broadcast(topic, "typing", payload);
    await project.settle();
    return state();
  };
  await hook.show({ topic: "channel:1" });
  const { config } = project.payloadOf("channel:1:live");
  check("joins", [project.topics(), config.private, config.presence], [["channel:1:live"], true, { key: "me", enabled: true }]);
  project.meet("channel:1:live", ["me", "ann"]);
  await project.settle();
  check("here", state(), [["me", "ann"], []]);
  check("types", await say({ user_id: "ann" }), [["me", "ann"], ["ann"]]);
  check("another one", (await say({ user_id: "ben" }))[1], ["ann", "ben"]);
  check("nothing of me", (await say({ user_id: "me" }))[1], ["ann", "ben"]);
  for (const payload of [{ user_id: 7 }, {}, null]) check("nonsense", (await say(payload))[1], ["ann", "ben"]);
  check("ends", (await say({ user_id: "ann", ended: true }))[1], ["ben"]);
  await say({ user_id: "ann" });
  const [ended, { clearTimeout: end }] = [[], globalThis];
  globalThis.clearTimeout = (timer) => end(timer, timer && ended.push(timer));
  await say({ user_id: "ann" });
  globalThis.clearTimeout = end;
  check("types longer", ended.length, 1);
  project.pass(4000);
  await project.settle();
  check("ends by itself", state()[1], []);

  const sent = () => project.typed.splice(0);
  const typing = (ended) => ["channel:1:live", "typing", { user_id: "me", ended }];
  const type = (isTyping, seconds = 0) => {
    project.now += seconds * 1000;
    hook.now.type(isTyping);
    return sent();
  };
  check("says nothing at first", type(false), []);
  check("says so", type(true), [typing(false)]);
  check("not too often", type(true, 1.999), []);
  check("again", type(true, 0.001), [typing(false)]);
  check("the end", type(false), [typing(true)]);
  check("the end once", type(false), []);
  check("at once after an end", type(true), [typing(false)]);
  await say({ user_id: "ann" });
  await hook.show({ topic: "channel:2" });
  check("another channel", [project.topics(), state()], [["channel:2:live"], [[], []]]);
  const { length } = hook.shown;
  project.pass(4000);
  await project.settle();
  check("nothing of the first one", hook.shown.length, length);
  check("to the other one", type(true, 9)[0][0], "channel:2:live");
  await hook.end();
  check("left", [project.topics(), type(false)], [[], []]);
  return wrong;
}

export async function offline() {
  const { check, wrong } = await begin();
  const [first, second, seen] = [
    mount(({ topic }) => useFollow(topic && { topic, since: "now" })), mount(({ topic }) => useFollow(topic && { topic, since: "now" })), mount(useOffline),
  ];
  await seen.show();
  await first.show({ topic: "channel:1" });
  await second.show({ topic: "channel:2" });
  check("on", seen.now, false);
  project.cut();
  await project.settle();
  check("off", seen.now, true);
  await first.end();
  check("the other one is off", seen.now, true);
  await second.end();
  check("none is followed", seen.now, false);
  let [isOn, looks] = [true, 0];
  Object.defineProperty(navigator, "onLine", { get: () => (looks++, isOn) });
  for (const name of ["offline", "online"]) {
    isOn = name === "online";
    dispatchEvent(new Event(name));
    await project.settle();
    check(name, seen.now, !isOn);
  }
  isOn = false;
  const late = mount(useOffline);
  await late.show();
  check("off from the start", late.now, true);
  await seen.end();
  await late.end();
  looks = 0;
  dispatchEvent(new Event("online"));
  check("looks no more", looks, 0);
  return wrong;
}
