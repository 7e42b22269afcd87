// What a query sends, and in which words an error of the project reaches the user.

import { Query } from "../query.js";
import { request } from "../session.js";
import { reloading, store, useAct, useLoad } from "../state.js";
import { checking, later, mount } from "./check.js";

async function sent(build) {
  let found;
  const send = async (path, { headers, ...options }) => {
    found = [options.method, decodeURIComponent(path), options.body, headers];
    return "answer";
  };
  const answer = await build(new Query(send, "t"));
  return [answer, ...found];
}

export async function queries() {
  const { check, wrong } = checking();
  const representation = { prefer: "return=representation" };
  const one = { accept: "application/vnd.pgrst.object+json" };
  for (const [name, build, ...right] of [
    ["all", (t) => t, "GET", "t?", null, {}],
    ["columns", (t) => t.select("id, name:\n  other(a, b)"), "GET", "t?select=id,name:other(a,b)", null, {}],
    ["filters", (t) => t.select("*").eq("a", 1).in("b", [1, 2]).filter("c", "is", null).or("d.eq.1,e.eq.2"),
      "GET", "t?select=*&a=eq.1&b=in.(1,2)&c=is.null&or=(d.eq.1,e.eq.2)", null, {}],
    ["two of a column", (t) => t.filter("a", "gt", 1).filter("a", "lt", 9), "GET", "t?a=gt.1&a=lt.9", null, {}],
    ["match", (t) => t.match({ a: 1, b: "x" }), "GET", "t?a=eq.1&b=eq.x", null, {}],
    ["order", (t) => t.order("a").order("b", { ascending: false }).limit(5), "GET",
      "t?limit=5&offset=0&order=a.asc,b.desc", null, {}],
    ["offset", (t) => t.limit(5, 10), "GET", "t?limit=5&offset=10", null, {}],
    ["insert", (t) => t.insert({ a: 1 }), "POST", "t?", { a: 1 }, {}],
    ["insert and read", (t) => t.insert({ a: 1 }).select("id").single(), "POST", "t?select=id", { a: 1 },
      { ...representation, ...one }],
    ["update", (t) => t.update({ a: 1 }).eq("id", 2), "PATCH", "t?id=eq.2", { a: 1 }, {}],
    ["update and read", (t) => t.update({ a: 1 }).eq("id", 2).select("id"), "PATCH", "t?id=eq.2&select=id", { a: 1 },
      representation],
    ["delete", (t) => t.delete().eq("id", 2), "DELETE", "t?id=eq.2", null, {}],
    ["missing ones", (t) => t.addMissing([{ a: 1 }], "a,b"), "POST", "t?on_conflict=a,b", [{ a: 1 }],
      { prefer: "resolution=ignore-duplicates" }],
  ]) check(name, await sent(build), ["answer", ...right]);
  const failing = new Query(() => Promise.reject(Error("No")), "t");
  check("failure", await failing.then(() => "works", (error) => error.message), "No");
  const signal = AbortSignal.timeout(1e6);
  let options;
  await new Query(async (_, given) => (options = given), "t").abortSignal(signal);
  check("signal", options.signal === signal, true);
  return wrong;
}

/** Each error of the project in words, with its status and code. */
export async function errors() {
  const { check, wrong } = checking();
  const away = "The project is out of reach. Check the connection and try again.";
  const { fetch } = globalThis;
  for (const [name, answer, ...right] of [
    ["network", TypeError("Failed to fetch"), away],
    ["network of Firefox", TypeError("NetworkError when attempting to fetch resource."), away],
    ["network of Safari", TypeError("Load failed"), away],
    ["other", TypeError("Bad header"), "Bad header"],
    ["PostgREST", [409, { message: "Taken", code: "23505" }], "Taken", 409, "23505"],
    ["Auth", [400, { msg: "Wrong password", error_code: "x" }], "Wrong password", 400],
    ["OAuth", [400, { error: "invalid", error_description: "Expired" }], "Expired", 400],
    ["service", [422, { error: { message: "Too long" }, message: "no" }], "Too long", 422],
    ["policy", [403, { message: 'new row violates row-level security policy for table "x"', code: "42501" }],
      "You may not do this.", 403, "42501"],
    ["grant", [403, { message: "permission denied for table x", code: "42501" }], "You may not do this.", 403, "42501"],
    ["a refusal of ours", [403, { message: "Only owners may.", code: "42501" }], "Only owners may.", 403, "42501"],
    ["the words with another code", [400, { message: "permission denied by you", code: "P0001" }],
      "permission denied by you", 400, "P0001"],
    ["empty", [502], "The project answered with an error.", 502],
  ]) {
    globalThis.fetch = async () => {
      if (answer instanceof Error) throw answer;
      return new Response(answer[1] && JSON.stringify(answer[1]), { status: answer[0] });
    };
    const found = await request("https://project.test/x").catch((error) => [error.message, error.status, error.code]);
    check(name, found, [...right, null, null].slice(0, 3));
  }
  globalThis.fetch = async () => new Response(null, { status: 204 });
  check("empty answer", await request("https://project.test/x"), null);
  globalThis.fetch = fetch;
  return wrong;
}

export async function shared() {
  const { check, wrong } = checking();
  const value = store(1);
  const heard = [];
  const leave = value.listen((next) => heard.push(next));
  const [first, second] = [mount(() => value.use()), mount(() => value.use())];
  await first.show();
  await second.show();
  value.set(2);
  await project.settle();
  check("both", [first.now, second.now, value.get(), heard], [2, 2, 2, [2]]);
  leave();
  await first.end();
  value.set(3);
  await project.settle();
  check("one left", [first.shown.at(-1), second.now, heard], [2, 3, [2]]);
  const late = mount(() => value.use());
  const shown = late.show();
  value.set(4); // after it was drawn, and before it listens
  await shown;
  check("what came before it listened", late.now, 4);
  return wrong;
}

export async function loads() {
  const { check, wrong } = checking();
  let held = [];
  const begun = [];
  const hook = mount(({ id }) => useLoad(() => {
    begun.push(id);
    held.push(later());
    return held.at(-1).promise;
  }, [id]));
  const state = () => [hook.now.data, hook.now.error?.message];
  const end = async (place, name, value) => {
    held[place][name](value);
    await project.settle();
    return state();
  };
  await hook.show({ id: 1 });
  check("nothing yet", [state(), begun], [[null, null], [1]]);
  check("loaded", await end(0, "resolve", "one"), ["one", null]);
  await hook.show({ id: 1 });
  check("once", begun, [1]);
  hook.now.reload();
  check("a failure keeps what is there", await end(1, "reject", Error("No")), ["one", "No"]);
  hook.now.reload();
  check("a success ends it", await end(2, "resolve", "new"), ["new", null]);
  hook.now.reload();
  await hook.show({ id: 2 });
  check("other inputs begin anew", [state(), begun.at(-1)], [[null, null], 2]);
  check("late answer", await end(3, "resolve", "late"), [null, null]);
  check("answer", await end(4, "resolve", "two"), ["two", null]);
  hook.now.reload();
  hook.now.reload();
  await end(6, "resolve", "second");
  check("the first of two comes last", await end(5, "resolve", "first"), ["second", null]);
  return wrong;
}

export async function acts() {
  const { check, wrong } = checking();
  const hook = mount(useAct);
  await hook.show();
  const state = () => [hook.now.isBusy, hook.now.error?.message];
  const work = later();
  const done = hook.now.act(() => work.promise);
  await project.settle();
  check("busy", state(), [true, null]);
  work.resolve();
  check("done", [await done, await project.settle(), state()], [true, null, [null, null]]);
  check("fails", [await hook.now.act(() => Promise.reject(Error("No"))), await project.settle(), state()],
    [false, null, [null, "No"]]);
  const again = later();
  hook.now.act(() => again.promise);
  await project.settle();
  check("begins without the error", state(), [true, null]);
  const order = [];
  const step = (name, wait) => async (value) => {
    await wait?.promise;
    order.push([name, value]);
  };
  const slow = later();
  const running = reloading(step("first"), step("second"))(step("work", slow))("given");
  await project.settle();
  check("waits for the work", order, []);
  slow.resolve();
  await running;
  check("reloads", order, [["work", "given"], ["first", null], ["second", null]]);
  const loading = later();
  const ends = [];
  const whole = reloading(step("quick"), step("last", loading))(step("work"))().then(() => ends.push("end"));
  await project.settle();
  check("waits for each reload", [ends, order.splice(3).map(([name]) => name)], [[], ["work", "quick"]]);
  loading.resolve();
  await whole;
  check("then it ends", [ends, order.splice(3).map(([name]) => name)], [["end"], ["last"]]);
  const failing = await reloading(step("no"))(() => Promise.reject(Error("No")))().catch((error) => error.message);
  check("a failure goes on", [failing, order.length], ["No", 3]);
  return wrong;
}
