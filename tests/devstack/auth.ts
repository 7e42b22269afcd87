// Signs in with supabase-js, stays signed in, signs out, and prints what it saw as one line of JSON.
// deno run auth.ts URL KEY EMAIL PASSWORD

import { createClient } from "@supabase/supabase-js";

const [url, key, email, password] = Deno.args;
const { auth } = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });

const wrong = await auth.signInWithPassword({ email, password: "something else" });
const right = await auth.signInWithPassword({ email, password });
const renewed = await auth.refreshSession();
const known = await auth.getUser();
const out = await auth.signOut();
const gone = await auth.refreshSession({ refresh_token: renewed.data.session!.refresh_token });

console.log(JSON.stringify({
  wrong: wrong.error?.code,
  right: right.error,
  renewed: renewed.data.session!.refresh_token !== right.data.session!.refresh_token,
  known: known.data.user?.email,
  out: out.error,
  gone: gone.error?.code,
}));
