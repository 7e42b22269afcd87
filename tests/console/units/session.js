// The session: what is stored, when it is renewed, and how it ends; and what each call of the project sends.

import { call, callService, config, connect, db, signLinks, table, upload, useNames } from "../client.js";
import { freshToken, keep, offer, sendLink, session, signIn, signOut, start } from "../session.js";
import { checking, mount } from "./check.js";

const NAME = "sb-abc-auth-token";
const SECONDS = project.now / 1000;
const stored = () => JSON.parse(localStorage.getItem(NAME));
const given = (token, left, more = {}) => ({ access_token: token, refresh_token: `r-${token}`, expires_in: 600, expires_at: SECONDS + left, ...more });
const begin = (value) => {
  localStorage.setItem(NAME, typeof value === "string" ? value : JSON.stringify(value));
  return start({ url: "https://abc.supabase.test", key: "k" });
};
const tokens = () => project.look().map(([key, body]) => [key, body.refresh_token]);

export async function sessions() {
  const { check, wrong } = checking();
  await begin("{broken");
  check("broken", [session.get(), await freshToken(), tokens()], [null, null, []]);
  await begin(given("a", 91));
  check("fresh", [await freshToken(), tokens()], ["a", []]);
  project.answers["auth/token"] = (body) => ({ ...given(`after ${body.refresh_token}`, 1e6), expires_at: 7 });
  const renewed = ["POST auth/token", "r-a"];
  await begin(given("a", 90));
  check("both wait for one renewal", [await Promise.all([freshToken(), freshToken()]), tokens()],
    [["after r-a", "after r-a"], [renewed]]);
  check("by the clock of this machine", [stored().expires_at, session.get().expires_at, stored().access_token],
    [SECONDS + 600, SECONDS + 600, "after r-a"]);
  check("in its words", project.sent.at(-1).slice(1), ["grant_type=refresh_token",
    { apikey: "k", "content-type": "application/json" }]);
  await begin(given("a", 10));
  localStorage.setItem(NAME, JSON.stringify(given("of another tab", 500)));
  check("another tab was first", [await freshToken(), tokens()], ["of another tab", []]);
  await begin(given("a", 10));
  localStorage.removeItem(NAME);
  check("another tab signed out", [await freshToken(), session.get(), tokens()], [null, null, []]);
  for (const [status, next] of [[200, null], [200, "of b"], [400, "of b"]]) {
    await begin(given("a", 10));
    project.look();
    if (status === 400) project.refusals["POST auth/token"] = { status, body: { msg: "No" } };
    project.hold("POST auth/token");
    const renewing = freshToken();
    while (!project.calls.length) await project.settle(); // its lock takes a moment
    await project.settle();
    keep(next && { ...given(next, 0) });
    project.release("POST auth/token");
    check(`${status} after ${next ?? "signing out"}`, [await renewing, stored()?.access_token ?? null], [next, next]);
    delete project.refusals["POST auth/token"];
  }
  for (const [status, isOver] of [[400, true], [401, true], [499, true], [429, false], [500, false], [399, false], [null, false]]) {
    await begin(given("a", 10));
    project.refusals["POST auth/token"] = status && { status, body: { msg: "No" } };
    const said = await freshToken().then(() => "works", (error) => error.message);
    check(`refused with ${status}`, [said === "works", session.get() === null, stored() === null], [false, isOver, isOver]);
  }
  delete project.refusals["POST auth/token"];
  return wrong;
}

export async function ends() {
  const { check, wrong } = checking();
  await begin(given("a", 500));
  project.look();
  const leaving = signOut();
  check("out at once", [session.get(), stored()], [null, null]);
  project.refusals["POST auth/logout"] = null;
  await leaving;
  check("said so", [project.look(), ...project.sent.at(-1).slice(1)], [[["POST auth/logout", {}]], "scope=local",
    { apikey: "k", "content-type": "application/json", authorization: "Bearer a" }]);
  project.answers["auth/token"] = (body, _, query) => given(`${body.email} ${query.get("grant_type")}`, 0);
  await signIn({ email: "a@x", password: "p" });
  check("in", [session.get().access_token, session.get().expires_at, stored().access_token],
    ["a@x password", SECONDS + 600, "a@x password"]);
  const hear = (key, value) => {
    localStorage.setItem(key, JSON.stringify(value));
    dispatchEvent(new StorageEvent("storage", { key }));
    return session.get().access_token;
  };
  check("another key", hear("threadline.workspace", given("b", 500)), "a@x password");
  check("another tab", hear(NAME, given("b", 500)), "b");
  localStorage.setItem(NAME, "null");
  dispatchEvent(new StorageEvent("storage", { key: NAME }));
  check("out in another tab", session.get(), null);
  project.answers["auth/otp"] = {};
  location.hash = "#/join/a%20token";
  project.look();
  await sendLink("A+b@x", "https://console.test/?a=1&b=2");
  check("link", [project.look(), project.sent.at(-1)[1]],
    [[["POST auth/otp", { email: "A+b@x", create_user: false }]], "redirect_to=https://console.test/?a=1&b=2"]);
  project.answers["auth/user"] = { id: "u", email: "a+b@x" };
  location.hash = "#access_token=t&refresh_token=r&expires_in=700&token_type=bearer&type=magiclink";
  await begin(null);
  check("by a link", [session.get(), location.hash, project.sent.at(-1)[2].authorization], [{
    access_token: "t", refresh_token: "r", token_type: "bearer", expires_in: 700, user: { id: "u", email: "a+b@x" },
    expires_at: SECONDS + 700,
  }, "#/join/a%20token", "Bearer t"]);
  const left = () => ["asked", "place"].map((key) => localStorage.getItem(`threadline.${key}`));
  check("kept", [stored(), ...left()], [session.get(), null, null]);
  location.hash = "#/people";
  await sendLink("a+b@x", "https://console.test/");
  for (const [user, token, offered, place] of [["v", "a", "u", "#/"], ["u", "t", null, "#/people"]]) {
    location.hash = "#access_token=t&refresh_token=r&expires_in=700&token_type=bearer&type=magiclink";
    await begin(given("a", 500, { user: { id: user } }));
    check(`by a link of u beside ${user}`, [session.get().access_token, offer.get()?.user.id, location.hash],
      [token, offered, place]);
    localStorage.removeItem("threadline.asked");
  }
  return wrong;
}

const HEADERS = { apikey: "k", "content-type": "application/json", authorization: "Bearer token-u" };

export async function calls() {
  const { check, wrong } = checking();
  const refused = async (found) => {
    project.config = found;
    return connect().then(() => "works", (error) => error.message);
  };
  const missing = "config.json must have url and key of a Supabase project.";
  check("no key", await refused({ url: "https://abc.supabase.test" }), missing);
  check("no address", await refused({ key: "k" }), missing);
  check("a reason", await refused({ error: "Set both." }), "Set both.");
  check("no service", [await refused({ url: "https://abc.supabase.test", key: "k" }), config.service], ["works", null]);
  localStorage.setItem(NAME, JSON.stringify({ ...given("token-u", 500), user: { id: "u" } }));
  project.config = { url: "https://abc.supabase.test/", key: "k", service: "../" };
  await connect();
  check("addresses", [config.url, config.service], ["https://abc.supabase.test", location.origin]);
  project.tables.things = [{ id: 1, name: "one" }];
  project.answers.function_of = (body) => ({ body });
  project.answers["service/x/summarize"] = { success: true, data: { text: "short" } };
  const last = () => project.sent.at(-1);
  check("rows", [await table("things").select("name").eq("id", 1), last()], [[{ name: "one" }],
    ["GET things", "select=name&id=eq.1", HEADERS]]);
  check("function", [await call("function_of", { a: 1 }), last()], [{ body: { a: 1 } }, ["POST rpc/function_of", "", HEADERS]]);
  check("without arguments", await call("function_of"), { body: {} });
  check("of the client", await db.rpc("function_of", { a: 2 }), { data: { body: { a: 2 } }, error: null });
  const failed = await db.rpc("nothing", {});
  check("failure of the client", [failed.data, failed.error.message], [null, "There is no rpc/nothing"]);
  config.service = "https://service.test";
  check("service", [await callService("/x/summarize", { a: 1 }), last()], [{ text: "short" },
    ["POST service/x/summarize", "", HEADERS]]);
  const file = new File(["x"], "a.png", { type: "image/png" });
  await upload("c/1", file);
  check("file", [project.calls.at(-1)[1] === file, last()], [true,
    ["POST storage/object/attachments/c/1", "", { ...HEADERS, "content-type": "image/png" }]]);
  await upload("c/2", new File(["x"], "a"));
  check("file of no type", last()[2]["content-type"], "application/octet-stream");
  project.look();
  const links = await signLinks(["c/a b", "c/gone"]);
  check("links", [...links], [["c/a b", "https://abc.supabase.test/storage/v1/object/sign/c/a%20b?token=x"]]);
  check("asked", project.look(), [["POST storage/object/sign/attachments", { expiresIn: 3600, paths: ["c/a b", "c/gone"] }]]);
  await db.realtime.setAuth();
  check("token of Realtime", db.realtime.accessTokenValue, "token-u");
  await signOut();
  await project.settle();
  check("and without a user", db.realtime.accessTokenValue, "k");
  await table("things").select("*");
  check("without a user", last()[2], { apikey: "k", "content-type": "application/json" });
  return wrong;
}

export async function names() {
  const { check, wrong } = checking();
  project.config = { url: "https://abc.supabase.test", key: "k" };
  await connect();
  Object.assign(project.tables, {
    user_profiles: [{ user_id: "a", display_name: "Ann" }, { user_id: "b", display_name: "Ben" }],
    ai_twins: [{ id: "t", display_name: "Twin" }],
  });
  const hook = mount(({ users, twins }) => useNames(users, twins));
  const known = () => ["a", "b", "c", "t"].map((id) => hook.now.get(id));
  const asked = () => project.sent.splice(0).map(([key, query]) => `${key}?${query}`);
  asked();
  project.refusals["GET user_profiles"] = { status: 500 };
  await hook.show({ users: ["a", null, "a"] });
  check("asked once after a failure", [known(), asked().length], [[null, null, null, null], 1]);
  project.pass(5000);
  await project.settle();
  check("and again later", [known(), asked().length], [[null, null, null, null], 1]);
  delete project.refusals["GET user_profiles"];
  project.hold("GET user_profiles");
  project.pass(5000);
  await hook.show({ users: ["a", "c", "c", null], twins: ["t", null] });
  check("a former member until it is known", known(), ["Former member", null, "Former member", "Former member"]);
  check("each once", asked(), [
    "GET user_profiles?select=id:user_id,display_name&user_id=in.(a,c)", "GET ai_twins?select=id:id,display_name&id=in.(t)",
  ]);
  await hook.show({ users: ["a", "b"], twins: ["t"] });
  check("only the missing one", asked(), ["GET user_profiles?select=id:user_id,display_name&user_id=in.(b)"]);
  project.release("GET user_profiles");
  await project.settle();
  check("names", known(), ["Ann", "Ben", "Former member", "Twin"]);
  await hook.show({ users: ["b", "a", "c"], twins: [] });
  check("kept", asked(), []);
  await hook.show({ users: ["a"], twins: ["s"] });
  check("only a twin", asked(), ["GET ai_twins?select=id:id,display_name&id=in.(s)"]);
  await hook.show({ users: ["b", "a", "c"], twins: [] });
  session.set(null);
  await project.settle();
  check("asked anew for the next user", asked().length, 1);
  for (const id of ["u", "v"]) {
    session.set({ access_token: id, expires_at: SECONDS + 500, user: { id } });
    await project.settle();
    check(`asked anew for ${id}`, asked().length, 1);
  }
  session.set({ access_token: "w", expires_at: SECONDS + 500, user: { id: "v" } });
  await project.settle();
  check("a renewal asks for none", asked().length, 0);
  return wrong;
}
