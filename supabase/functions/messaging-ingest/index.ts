// POST /functions/v1/messaging-ingest on Supabase; `api/threadline/routes/ingest.py` answers the same, byte for byte.
// SQL decides what a request means (`sql/150_ingest.sql`). This file checks method, media type and size.

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "POST, OPTIONS",
  "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
};
const ATTEMPT_TIMEOUT = 30_000;
const PIECE = 16_384;
const MAX_KEYS = 1000; // of one object
const LARGE = 65_536; // bytes; a smaller body costs little, whatever its keys are
const MANY = 4000; // colons and brackets; a body with fewer has fewer keys than a small one may have
const SIGNED_AT_ONCE = 10;
const MARK = /"url":"sign:(conversations\/[0-9a-f-]{36}\/[0-9a-f]{64})"/g;

// Temporary errors: a conflict with another transaction, or Postgres is full, restarting or out of reach.
// A request may be repeated, and the second attempt mostly succeeds.
const TEMPORARY = /^((08|53|57)...|40001|40P01|23503|23505|25006|55P03)$/;

/** An error answer of this file, not of SQL. */
class Refusal extends Error {
  constructor(readonly status: number, message: string, readonly headers: Record<string, string> = {}) {
    super(message);
  }
}

/** Becomes a 500. The message is logged, so it must not quote the request or a key. */
class Failure extends Error {}

/** The reply of the Data API. `problem` is set when the reply is not from the SQL function. */
interface Reply {
  status: number;
  body: ArrayBuffer;
  problem?: string;
}

Deno.serve(async (request) => {
  const id = requestId(request);
  const answer = await respond(request, id);
  answer.headers.set("x-request-id", id);
  return answer;
});

async function respond(request: Request, id: string): Promise<Response> {
  try {
    return await ingest(request, id);
  } catch (error) {
    if (error instanceof Refusal) {
      return answerError(error.status, error.message, error.headers);
    }
    console.error(error instanceof Failure ? error.message : `messaging-ingest failed: ${nameOf(error)}`, id);
    return answerError(500, "Internal server error");
  }
}

/** Returns the caller's X-Request-Id if it is valid, else a new id, for the ingest log and the answer. */
function requestId(request: Request): string {
  const given = request.headers.get("x-request-id") ?? "";
  return /^[A-Za-z0-9._-]{1,50}$/.test(given) ? given : crypto.randomUUID();
}

async function ingest(request: Request, id: string): Promise<Response> {
  if (request.method === "OPTIONS") {
    return new Response(null, { status: 204, headers: CORS });
  }
  if (request.method !== "POST") {
    throw new Refusal(405, "Method not allowed", { allow: "POST, OPTIONS" });
  }
  if (mediaType(request) !== "application/json") {
    throw new Refusal(415, "Content-Type must be application/json");
  }
  const body = await readBody(request, maxBytes());
  const key = request.headers.get("x-api-key") ?? "";
  if (key !== "" && body.size > LARGE && hasManyKeys(new Uint8Array(await body.arrayBuffer()))) {
    throw new Refusal(400, `Request body has an object with more than ${MAX_KEYS} keys`);
  }
  const reply = await callDatabase(key, body, id);
  return new Response(await signUploads(reply.body, id), {
    status: reply.status,
    headers: { ...CORS, "content-type": "application/json" },
  });
}

/** Puts signed URLs where `private.render_uploads` left marks; null if Storage fails, then the caller asks again. */
async function signUploads(body: ArrayBuffer, id: string): Promise<ArrayBuffer | string> {
  const text = new TextDecoder().decode(body);
  const paths = [...text.matchAll(MARK)].map((mark) => mark[1]);
  if (paths.length === 0) {
    return body;
  }
  const urls = new Map<string, string | null>();
  const sign = async () => {
    for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
      urls.set(path, await signUpload(path, id));
    }
  };
  await Promise.all(Array.from({ length: SIGNED_AT_ONCE }, sign));
  return text.replaceAll(MARK, (_, path) => `"url":${JSON.stringify(urls.get(path))}`);
}

async function signUpload(path: string, id: string): Promise<string | null> {
  const storage = `${required("SUPABASE_URL")}/storage/v1`;
  try {
    const response = await fetch(`${storage}/object/upload/sign/attachments/${path}`, {
      method: "POST",
      headers: { ...credentials(), "x-upsert": "true" },
      signal: AbortSignal.timeout(ATTEMPT_TIMEOUT),
      redirect: "manual",
    });
    const { url } = await response.json();
    return typeof url === "string" ? storage + url : null;
  } catch (error) {
    console.warn(`Storage failed with ${nameOf(error)}`, id);
    return null;
  }
}

function answerError(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error }, { status, headers: { "access-control-allow-origin": "*", ...headers } });
}

function mediaType(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
}

async function readBody(request: Request, limit: number): Promise<Blob> {
  const encoding = (request.headers.get("content-encoding") ?? "identity").toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity") {
    throw new Refusal(415, "Content-Encoding must be gzip or identity");
  }
  const sent = request.body ?? new Blob().stream();
  const chunks = [];
  let size = 0;
  try {
    for await (const chunk of encoding === "gzip" ? decompress(sent) : sent) {
      size += chunk.byteLength;
      if (size > limit) {
        throw new Refusal(413, `Request body too large: at most ${limit} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (encoding === "gzip" && !(error instanceof Refusal)) {
      throw new Refusal(400, "Request body is not valid gzip");
    }
    throw error;
  }
  return new Blob(chunks);
}

/**
 * Whether one object of a JSON text has more than MAX_KEYS keys: Postgres sorts them in a time that can grow with the
 * square of their number. Counts colons outside of strings, because JSON.parse drops keys that occur twice. Says false
 * of a body with few colons and brackets.
 */
function hasManyKeys(body: Uint8Array): boolean {
  const counts: number[] = [];
  let isString = false;
  for (let place = 0; place < body.length; place++) {
    const byte = body[place];
    if (isString) {
      if (byte === 0x5c) { // a backslash
        place++;
      } else if (byte === 0x22) {
        isString = false;
      }
    } else if (byte === 0x22) { // a quotation mark
      isString = true;
    } else if (byte === 0x7b) { // {
      counts.push(0);
    } else if (byte === 0x7d) { // }
      counts.pop();
    } else if (byte === 0x3a && ++counts[counts.length - 1] > MAX_KEYS) { // :
      return body.reduce((found, each) => found + Number(each === 0x3a || each === 0x5b), 0) > MANY;
    }
  }
  return false;
}

function decompress(compressed: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Small pieces, because one piece may decompress to a thousand times its size before we can count it.
  const pieces = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      for (let start = 0; start < chunk.length; start += PIECE) {
        controller.enqueue(chunk.subarray(start, start + PIECE));
      }
    },
  });
  return compressed.pipeThrough(pieces).pipeThrough(new DecompressionStream("gzip"));
}

/** Calls `public.messaging_ingest` through the Data API; retries once after a temporary error. */
async function callDatabase(apiSecret: string, body: Blob, id: string): Promise<Reply> {
  const url = `${required("SUPABASE_URL")}/rest/v1/rpc/messaging_ingest`;
  const headers = {
    ...credentials(),
    "content-profile": "public",
    "content-type": "application/octet-stream",
    "x-api-key": toHeader(apiSecret),
    "x-request-id": id,
  };
  for (let attempt = 1; attempt <= 2; attempt++) {
    const reply = await post(url, headers, body);
    if (reply.problem === undefined) {
      return reply;
    }
    // A gateway that cannot reach PostgREST answers 502, 503 or 504 with its own text.
    if (reply.status <= 500 && !TEMPORARY.test(reply.problem)) {
      throw new Failure(`messaging_ingest failed: ${reply.status} ${reply.problem}`);
    }
    console.warn(`messaging_ingest failed with ${reply.problem}`, id);
  }
  throw new Refusal(503, "Service temporarily unavailable", { "retry-after": "5" });
}

async function post(url: string, headers: Record<string, string>, body: Blob): Promise<Reply> {
  try {
    const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT);
    // Following a redirect would send the keys to its target.
    const response = await fetch(url, { method: "POST", headers, body, signal, redirect: "manual" });
    const answer = await response.arrayBuffer();
    return { status: response.status, body: answer, problem: response.ok ? undefined : findProblem(answer) };
  } catch (error) {
    return { status: 503, body: new ArrayBuffer(), problem: nameOf(error) };
  }
}

/** Returns the code of PostgREST's own errors; undefined for an error from the SQL function. */
function findProblem(body: ArrayBuffer): string | undefined {
  try {
    const { code, error } = JSON.parse(new TextDecoder().decode(body));
    return typeof error === "string" ? undefined : String(code ?? "no code");
  } catch {
    return "no code";
  }
}

/** Encodes text for a header: fetch sends Latin-1, PostgREST reads UTF-8 and answers 500 to anything else. */
function toHeader(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function credentials(): Record<string, string> {
  const apikey = secretKey();
  // A legacy key is a JWT. A new key, sb_secret_..., is not; the gateway replaces it with a JWT.
  return apikey.startsWith("eyJ") ? { apikey, authorization: `Bearer ${apikey}` } : { apikey };
}

function secretKey(): string {
  const keys = Deno.env.get("SUPABASE_SECRET_KEYS");
  if (!keys) {
    return required("SUPABASE_SERVICE_ROLE_KEY");
  }
  try {
    return JSON.parse(keys)?.default || required("SUPABASE_SERVICE_ROLE_KEY");
  } catch (error) {
    // The text of a syntax error quotes the key.
    throw error instanceof SyntaxError ? new Failure("SUPABASE_SECRET_KEYS is not JSON") : error;
  }
}

function required(name: string): string {
  const value = Deno.env.get(name);
  if (!value) {
    throw new Failure(`${name} is not set`);
  }
  return value;
}

function maxBytes(): number {
  const text = Deno.env.get("INGEST_MAX_BYTES") || "10000000";
  if (!/^0*[1-9][0-9]*$/.test(text)) {
    throw new Failure("INGEST_MAX_BYTES must be a positive whole number");
  }
  return Number(text);
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
