// Signs in anonymously with supabase-js, becomes permanent, and prints what it saw as one line of JSON.
// deno run anonymous.ts URL KEY EMAIL

import { createClient } from "@supabase/supabase-js";

const [url, key, email] = Deno.args;
const { auth } = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });

const first = await auth.signInAnonymously();
const alone = await auth.updateUser({ password: "secret!" });
const named = await auth.updateUser({ email, password: "secret!" });
const again = await auth.signInWithPassword({ email, password: "secret!" });

console.log(JSON.stringify({
  is_anonymous: first.data.user?.is_anonymous,
  alone: alone.error?.code,
  named: named.data.user?.is_anonymous,
  same: again.data.user?.id === first.data.user?.id,
}));
