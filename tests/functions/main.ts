// Serves the Edge Function on a free port as Supabase's router does: /functions/v1/<name>, and /<name> behind it.
// deno run main.ts [milliseconds]: how long the function waits for the Data API, where a test has no 30 seconds.

type Handler = (request: Request) => Promise<Response>;
const { serve } = Deno;
const [patience] = Deno.args.map(Number);
let handler: Handler;

Object.defineProperty(Deno, "serve", { value: (given: Handler) => handler = given });
if (patience) {
  const { timeout } = AbortSignal;
  // A function that asks for another time than those 30 seconds gets none.
  AbortSignal.timeout = (given) => given === 30_000 ? timeout.call(AbortSignal, patience) : AbortSignal.abort();
}
await import("../../supabase/functions/messaging-ingest/index.ts");

serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) }, (request) => {
  const path = new URL(request.url).pathname.replace(/^\/functions\/v1(?=\/)/, "");
  return path.split("/")[1] === "messaging-ingest"
    ? handler(request)
    : new Response("Function not found", { status: 404 });
});
