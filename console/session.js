// The session of the user: signing in and out, and fresh tokens. It is stored as supabase-js stores it.

import { store } from "./state.js";

const EARLY_SECONDS = 90; // before its end, a token is renewed
const ASKED = "threadline.asked"; // the address for which this browser asked for a link by mail
const PLACE = "threadline.place"; // where the user was then, such as an invitation
const REFUSED = "The link did not sign you in. Ask for a new one.";
const EXPIRED = "The link has expired or was used before. Ask for a new one.";

/** The session; undefined before `start`, null without a user. */
export const session = store(undefined);
/** The session of a link that this browser did not ask for: the user decides. */
export const offer = store(null);
/** Why the link that opened the page did not sign in. The text of the link is not shown: anyone can write one. */
export let refusal;
let project;
let name; // of the session in the storage of the browser, and of its lock

/** The error of a call as a sentence for the user. */
function failure({ message, code }) {
  if (/failed to fetch|networkerror|load failed/i.test(message)) {
    return Error("The project is out of reach. Check the connection and try again.");
  }
  if (code === "42501" && /row-level security|permission denied/.test(message)) return Error("You may not do this.");
  return Error(message || "The project answered with an error.");
}

/** Makes a request, and returns its answer as JSON, or throws a sentence for the user. */
export async function request(url, options) {
  const answer = await fetch(url, options).catch((error) => {
    throw failure(error);
  });
  const given = await answer.json().catch(() => null); // an answer may be empty
  if (answer.ok) return given;
  const message = given?.error?.message ?? given?.msg ?? given?.error_description ?? given?.message;
  throw Object.assign(failure({ message, code: given?.code }), { status: answer.status, code: given?.code });
}

const auth = (path, body, token) => request(`${project.url}/auth/v1/${path}`, {
  method: body ? "POST" : "GET",
  headers: {
    apikey: project.key, "content-type": "application/json", ...token && { authorization: `Bearer ${token}` },
  },
  body: body && JSON.stringify(body),
});

function read() {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

/** Signs in with a session, or out with null. */
export function keep(next) {
  // By the clock of this machine, whatever that says.
  const kept = next && { ...next, expires_at: Math.floor(Date.now() / 1000) + next.expires_in };
  for (const key of [ASKED, PLACE]) localStorage.removeItem(key);
  offer.set(null);
  if (kept) localStorage.setItem(name, JSON.stringify(kept));
  else localStorage.removeItem(name);
  session.set(kept);
}

/** Reads the stored session. A link brings one too, which signs in by itself only if this browser asked for it. */
export async function start(config) {
  project = config;
  name = `sb-${new URL(project.url).hostname.split(".")[0]}-auth-token`;
  addEventListener("storage", (event) => event.key === name && session.set(read())); // another tab changed it
  session.set(read());
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (!given.access_token && !given.error) return;
  history.replaceState(null, "", "#/");
  const { access_token, refresh_token, token_type, expires_in } = given;
  const user = access_token && await auth("user", undefined, access_token).catch(() => null);
  refusal = !user && (given.error_code === "otp_expired" ? EXPIRED : REFUSED);
  if (refusal) return;
  const brought = { access_token, refresh_token, token_type, expires_in: Number(expires_in), user };
  const mine = session.get();
  if (mine ? mine.user?.id !== user.id : user.email !== localStorage.getItem(ASKED)) return offer.set(brought);
  history.replaceState(null, "", localStorage.getItem(PLACE) || "#/");
  keep(brought);
}

export const signIn = async (values) => keep(await auth("token?grant_type=password", values));

export async function sendLink(email, page) {
  await auth(`otp?redirect_to=${encodeURIComponent(page)}`, { email, create_user: false });
  localStorage.setItem(ASKED, email.toLowerCase());
  localStorage.setItem(PLACE, location.hash);
}

export function signOut() {
  const token = session.get()?.access_token;
  keep(null);
  return auth("logout?scope=local", {}, token).catch(() => {}); // it ends by itself if the project is out of reach
}

const isFresh = (it) => it?.expires_at > Date.now() / 1000 + EARLY_SECONDS;

async function renew() {
  const stored = read(); // another tab may have renewed it
  if (!stored || isFresh(stored)) return session.set(stored);
  const isKept = () => read()?.refresh_token === stored.refresh_token; // the user may have left meanwhile
  try {
    const renewed = await auth("token?grant_type=refresh_token", { refresh_token: stored.refresh_token });
    return isKept() ? keep(renewed) : session.set(read());
  } catch (error) {
    if (!isKept()) return session.set(read());
    if (error.status >= 400 && error.status < 500 && error.status !== 429) keep(null); // the session has ended
    throw error;
  }
}

/** Returns a token that is valid for a while, or undefined without a user. */
export async function freshToken() {
  // One tab at a time, because a refresh token works only once.
  if (session.get() && !isFresh(session.get())) await (navigator.locks?.request(name, renew) ?? renew());
  return session.get()?.access_token;
}
