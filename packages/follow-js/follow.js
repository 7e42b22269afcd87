// @ts-self-types="./follow.d.ts"
// Follow a topic of Threadline: each event once and in order, whatever happens to the connection.

import { Changes } from "./changes.js";
import { listen } from "./topic.js";

export { listen };

const NOW = Number.MAX_SAFE_INTEGER; // the log answers the number of its last event
const MAX_WAITING = 500; // broadcasts that wait for the handler; the log has the rest
const POINTER_SECONDS = 1; // how long the turn of a sealed channel may take to bring what a pointer names
const HELD_SECONDS = 1; // the log shows a change when all transactions that began before it have ended
const TICK_SECONDS = 5;
const RETRY_SECONDS = [1, 2, 5, 10];
const READ_SECONDS = [3, 3, 10, 20, 40]; // after a sleep, the first requests may wait on dead connections

const LOGS = {
  channel: (client, id, since) => client.rpc("list_channel_events", { channel_id: id, since }),
  user: (client, _, since) => client.rpc("list_user_events", { since }),
  inbox: (client, _, since) => client.rpc("list_inbox_changes", { since }),
  workspace: (client, id, since) => client.rpc("list_inbox_changes", { since, workspace_id: id }),
};

const step = (steps, number) => steps[Math.min(number, steps.length - 1)];

/**
 * Follow a topic. The README describes the options.
 */
export function follow(client, options) {
  const follower = new Follower(client, options);
  return {
    stop: () => follower.stop(),
    get seq() {
      return follower.seq;
    },
    get cursor() {
      return follower.cursor;
    },
  };
}

class Follower {
  #client;
  #topic;
  #id;
  #readLog;
  #isNumbered; // whether its events have numbers; else they are changes of conversations, or have no log
  #changes = new Changes();
  #onEvent;
  #onState;
  #checkSeconds;
  #state = "joining";
  #isJoined = false;
  #isWorking = false;
  #mustFind; // where the log ends, before anything else
  #mustRead; // the log, or everything, if there is no log
  #waiting = [];
  #failures = 0;
  #wake = () => {};
  #leave;
  #turn = null;
  #pointer = 0;
  #ticker;
  #ticked = Date.now();
  #checked = Date.now();
  seq;
  cursor;

  constructor(client, { topic, channelId, since = 0, onEvent, onState = () => {}, checkSeconds = 30 }) {
    this.#client = client;
    this.#topic = topic ?? `channel:${channelId}`;
    const [kind, id] = this.#topic.split(":");
    this.#id = id;
    this.#readLog = LOGS[kind];
    this.#onEvent = onEvent;
    this.#onState = onState;
    this.#checkSeconds = checkSeconds;
    this.#isNumbered = kind === "channel" || kind === "user";
    this.#mustFind = since === "now" && this.#isNumbered;
    this.#mustRead = this.#readLog !== undefined && !this.#mustFind;
    this.seq = this.#isNumbered && since !== "now" ? Number(since) : 0;
    this.cursor = typeof since === "string" && since !== "now" ? since : undefined;
    this.#leave = listen(client, this.#topic, {
      received: (message) => this.#receive(message, false),
      joined: () => this.#joined(),
      lost: (error) => this.#lost(error),
    });
    this.#ticker = setInterval(() => this.#tick(), TICK_SECONDS * 1000);
    globalThis.addEventListener?.("online", this.#woke);
    globalThis.addEventListener?.("offline", this.#cut);
    globalThis.document?.addEventListener("visibilitychange", this.#woke);
    this.#work();
  }

  async stop() {
    await this.#end("stopped");
  }

  #receive(message, isTurn) {
    const { event, payload } = message;
    if (this.#isNumbered && payload.truncated && payload.topic) {
      this.#pointer = payload.seq;
      this.#takeTurn(payload.topic);
      if (this.#turn?.isJoined) {
        setTimeout(() => payload.seq > this.seq && this.#read(), POINTER_SECONDS * 1000);
        return;
      }
    } else if (!isTurn && this.#turn && payload.seq > this.#pointer) {
      this.#leaveTurn(); // the channel is open again
    }
    this.#waiting.push({ event, payload });
    if (this.#waiting.length > MAX_WAITING && this.#readLog) {
      this.#waiting = [];
      this.#mustRead = true;
    }
    this.#work();
  }

  #joined() {
    this.#isJoined = true;
    this.#read();
    if (!this.#isNumbered) this.#readLater();
  }

  #lost(error) {
    this.#isJoined = false;
    if (this.#readLog) this.#mustRead = true; // a former member learns it from the log
    this.#tell("offline", { error });
    this.#work();
  }

  #read() {
    this.#mustRead = true;
    this.#checked = Date.now();
    this.#wake();
    this.#work();
  }

  #readLater() {
    if (this.#readLog) setTimeout(() => this.#read(), HELD_SECONDS * 1000);
  }

  // All work is done here, one piece after the other, so that the handler never runs twice at once.
  async #work() {
    if (this.#isWorking) return;
    this.#isWorking = true;
    try {
      while (this.#state !== "ended") {
        if (this.#mustFind) await this.#findEnd();
        else if (this.#mustRead) await this.#readOn();
        else if (this.#waiting.length > 0) await this.#take(this.#waiting.shift());
        else break;
      }
    } catch (error) {
      await this.#end("failed", error);
    } finally {
      this.#isWorking = false;
    }
    if (this.#isJoined) this.#tell("live");
  }

  async #findEnd() {
    const meta = (await this.#ask(NOW))?.meta;
    if (!meta) return;
    this.#mustFind = false;
    this.seq = meta.last_seq;
    await this.#onState("reload", {});
  }

  async #readOn() {
    this.#mustRead = false;
    if (!this.#readLog) {
      await this.#onState("reload", {}); // no log has what was missed
      return;
    }
    if (!this.#isNumbered) {
      await this.#readChanges();
      return;
    }
    const answer = await this.#ask(this.seq);
    if (!answer) return;
    const { data, meta } = answer;
    // Events that are gone: older than the log keeps them, or undone by a backup that was restored.
    if (meta.is_incomplete || meta.last_seq < this.seq) {
      this.seq = meta.is_incomplete ? data[0].payload.prev_seq : meta.last_seq;
      await this.#onState("reload", {});
    }
    for (const { event, payload } of data) await this.#hand(event, payload);
    this.#mustRead ||= meta.has_more;
  }

  async #readChanges() {
    const answer = await this.#ask(this.cursor);
    if (!answer) return;
    const isFirst = this.cursor === undefined;
    for (const change of answer.data) {
      if (this.#state === "ended") return;
      if (this.#changes.has(change)) continue;
      await this.#onEvent("conversation.changed", change);
      this.#changes.add(change);
    }
    this.cursor = answer.meta.next_cursor;
    this.#mustRead ||= answer.meta.has_more;
    if (isFirst) await this.#onState("reload", {});
  }

  // Returns nothing after a failure; the work then begins again after a pause.
  async #ask(since) {
    const started = Date.now();
    // An accessToken callback may fail, and then the call throws.
    const { data, error } = await this.#readLog(this.#client, this.#id, since)
      .abortSignal(AbortSignal.timeout(step(READ_SECONDS, this.#failures) * 1000))
      .then(
        (answer) => answer,
        (error) => ({ error }),
      );
    if (!error) {
      this.#failures = 0;
      return data;
    }
    if (error.code === "PT409" && this.cursor) {
      this.cursor = undefined; // a backup was restored
      this.#changes.clear();
      this.#mustRead = true;
      return;
    }
    if (error.code === "PT400") throw new Error(error.message);
    if (error.code === "PT404") {
      await this.#endWithoutLog();
      return;
    }
    this.#mustRead ||= !this.#mustFind;
    this.#tell("offline", { error });
    const pause = started + step(RETRY_SECONDS, this.#failures++) * 1000 - Date.now();
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, pause);
    });
  }

  async #take({ event, payload }) {
    if (this.#isNumbered) {
      if (payload.seq <= this.seq) return; // seen: broadcasts and the log overlap
      if (payload.truncated || payload.prev_seq !== this.seq) {
        this.#mustRead = true;
        return;
      }
    }
    const { conversation } = payload;
    if (this.#readLog && payload.truncated && !conversation) {
      this.#mustRead = true; // a pointer: a member has left the workspace
      this.#readLater();
      return;
    }
    if (conversation && this.#changes.isOld(conversation)) return;
    if (conversation && !this.#changes.isNext(conversation)) {
      // Changes before this one were missed. The log has them, in order.
      this.#mustRead = true;
      this.#readLater();
      return;
    }
    await this.#hand(event, payload);
    if (conversation) this.#changes.addBroadcast(conversation);
  }

  async #hand(event, payload) {
    if (this.#state === "ended" || (this.#isNumbered && payload.seq <= this.seq)) return;
    await this.#onEvent(event, payload);
    this.seq = payload.seq ?? this.seq;
    if (event === "channel.deleted" && this.#topic.startsWith("channel:")) await this.#end("deleted");
    else if (event === "member.left") this.#mustRead = true; // it may have been this user
  }

  // The channel does not exist or the user has left it. The log of the user tells which.
  async #endWithoutLog() {
    const { data } = await this.#client
      .from("user_events")
      .select("kind, created_at")
      .eq("channel_id", this.#id)
      .in("kind", ["channel.deleted", "channel.left"])
      .order("seq", { ascending: false })
      .limit(1);
    const last = data?.[0];
    if (last) await this.#onEvent(last.kind, { channel_id: this.#id, created_at: last.created_at });
    await this.#end(last ? last.kind.split(".")[1] : "gone");
  }

  #takeTurn(name) {
    if (this.#turn?.name === name || !name.startsWith(`${this.#topic}:`)) return;
    this.#leaveTurn();
    const turn = { name, isJoined: false };
    turn.leave = listen(this.#client, name, {
      received: (message) => this.#turn === turn && this.#receive(message, true),
      joined: () => {
        turn.isJoined = true;
        this.#read();
      },
      lost: (_, isRefused) => {
        turn.isJoined = false;
        if (isRefused && this.#turn === turn) this.#leaveTurn();
      },
    });
    this.#turn = turn;
  }

  #leaveTurn() {
    const turn = this.#turn;
    this.#turn = null;
    return turn?.leave();
  }

  #tick() {
    const now = Date.now();
    if (now - this.#ticked > 3 * TICK_SECONDS * 1000) this.#woke(); // timers stood still: the machine slept
    else if (this.#readLog && now - this.#checked >= this.#checkSeconds * 1000) this.#read();
    this.#ticked = now;
  }

  #woke = async () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.#readLog) this.#read();
    const { realtime } = this.#client;
    if (realtime.isConnected()) {
      // The connection may be dead without a sign. A second heartbeat without an answer makes the client connect again.
      if (!realtime.pendingHeartbeatRef) await realtime.sendHeartbeat();
      setTimeout(() => realtime.pendingHeartbeatRef && realtime.sendHeartbeat(), TICK_SECONDS * 1000);
    } else if (!realtime.isConnecting() && !realtime.isDisconnecting()) {
      await realtime.disconnect(); // ends the pause before the next attempt
      realtime.connect();
    }
  };

  // The browser knows at once; the connection may look alive for half a minute.
  #cut = () => this.#tell("offline", {});

  #tell(state, detail = {}) {
    if (this.#state === state || this.#state === "ended") return;
    this.#state = state;
    Promise.resolve()
      .then(() => this.#onState(state, detail))
      .catch((error) => this.#end("failed", error));
  }

  async #end(reason, error) {
    if (this.#state === "ended") return;
    this.#tell("ended", { reason, error });
    this.#wake();
    clearInterval(this.#ticker);
    globalThis.removeEventListener?.("online", this.#woke);
    globalThis.removeEventListener?.("offline", this.#cut);
    globalThis.document?.removeEventListener("visibilitychange", this.#woke);
    await Promise.all([this.#leave(), this.#leaveTurn()]);
  }
}
