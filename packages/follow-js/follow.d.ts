import type { SupabaseClient } from "@supabase/supabase-js";

/** The name of an event, for example "message.created". */
export type EventName = string;

/** What an event carries; docs/reference/realtime.md lists the fields of each event. */
export interface Payload {
  seq?: number;
  prev_seq?: number;
  // deno-lint-ignore no-explicit-any
  [field: string]: any;
}

export type State = "live" | "offline" | "reload" | "ended";

export interface Detail {
  /** Of "ended". */
  reason?: "stopped" | "deleted" | "left" | "gone" | "failed";
  /** Of "offline" and of the reason "failed". */
  error?: unknown;
}

export interface Options {
  /** "channel:<id>", "user:<id>", "inbox:<id>", "workspace:<id>" or "twin:<id>". */
  topic?: string;
  /** Short for the topic of a channel. */
  channelId?: string;
  /** The seq of the last event that you have; 0 for all; "now"; for an inbox or workspace the cursor that you have. */
  since?: number | string;
  /** Gets each event. The next one waits for its promise. If it throws, following ends with "failed". */
  onEvent: (event: EventName, payload: Payload) => unknown;
  /** Gets each change of the state. Events wait for the promise of "reload". */
  onState?: (state: State, detail: Detail) => unknown;
  /** How often to read the log in case the last broadcast got lost; 30 by default. */
  checkSeconds?: number;
}

export interface Following {
  /** End it and leave the topic. */
  stop(): Promise<void>;
  /** The seq of the last event that onEvent has finished. */
  readonly seq: number;
  /** Of an inbox or workspace: where the changes end that onEvent has finished. */
  readonly cursor?: string;
}

/** Follow a topic: each event once and in order, whatever happens to the connection. */
// deno-lint-ignore no-explicit-any
export function follow(client: SupabaseClient<any, any, any>, options: Options): Following;

export interface Listener {
  /** A broadcast came. */
  received(message: { event: EventName; payload: Payload }): unknown;
  /** Broadcasts come from now on. It is called after each join. */
  joined(): unknown;
  /** They do not come any more. isRefused: Realtime refused the join. */
  lost(error: unknown, isRefused: boolean): unknown;
}

/** Listen to a topic without its log, for hints such as an unread count. Returns a function that ends it. */
// deno-lint-ignore no-explicit-any
export function listen(client: SupabaseClient<any, any, any>, topic: string, listener: Listener): () => Promise<void>;
