// One topic of Realtime. All that follows it with the same client shares one channel. It joins again until it is left.

const REJOIN_SECONDS = [0.5, 1, 2, 3];
const STEADY_SECONDS = 10; // after which a join counts as a success
const LIMITED_SECONDS = 20; // after Realtime said that there is too much
const READY_SECONDS = 3; // an older Realtime does not say when its replication connection is ready

const topics = new WeakMap(); // of each client: its topics by name

/**
 * Listen to a topic.
 *
 * @param client a Supabase client
 * @param name the topic, without "realtime:"
 * @param listener
 *   received(message): a broadcast came;
 *   joined(): broadcasts come from now on;
 *   lost(error, isRefused): they do not come any more; Realtime refused the join, or the connection broke
 * @returns a function that ends it
 */
export function listen(client, name, listener) {
  if (!topics.has(client)) topics.set(client, new Map());
  const known = topics.get(client);
  if (!known.has(name)) known.set(name, new Topic(client, name));
  const topic = known.get(name);
  topic.add(listener);
  return async () => {
    await topic.remove(listener);
    if (topic.isIdle && known.get(name) === topic) known.delete(name);
  };
}

const isLimit = (message) => /^Too many|RateLimitReached/.test(message ?? "");

class Topic {
  #client;
  #name;
  #listeners = new Set();
  #channel = null;
  #left = Promise.resolve();
  #isReady = false;
  #joined = Infinity; // when
  #isLimited = false;
  #tries = 0;
  #timer = null;
  #readyTimer = null;

  constructor(client, name) {
    this.#client = client;
    this.#name = name;
  }

  get isIdle() {
    return this.#listeners.size === 0;
  }

  add(listener) {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#join();
    else if (this.#isReady) listener.joined();
  }

  async remove(listener) {
    if (this.#listeners.delete(listener) && this.#listeners.size === 0) await this.#leave();
  }

  #leave() {
    clearTimeout(this.#timer);
    clearTimeout(this.#readyTimer);
    this.#timer = null;
    this.#isReady = false;
    const channel = this.#channel;
    this.#channel = null;
    // A client returns the old channel of a topic until it has left it.
    if (channel?.joinedOnce && channel.state !== "closed") this.#left = this.#client.removeChannel(channel).catch(() => {});
    return this.#left;
  }

  async #join() {
    const attempt = (this.#channel = {}); // a later join or leave replaces it
    await this.#left;
    // Sets the present token: a client with an accessToken callback would join with its key, which is refused.
    await this.#client.realtime.setAuth().catch(() => {});
    if (this.#channel !== attempt) return;
    const channel = this.#client.channel(this.#name, {
      config: { private: true, broadcast: { replication_ready: true } },
    });
    this.#channel = channel;
    channel
      .on("broadcast", { event: "*" }, (message) => this.#tell((listener) => listener.received(message)))
      .on("system", {}, ({ status, message }) => {
        if (this.#channel !== channel) return;
        if (status === "ok") this.#ready();
        else this.#isLimited = isLimit(message);
      })
      .subscribe((status, error) => this.#channel === channel && this.#notice(status, error));
  }

  #notice(status, error) {
    if (status === "SUBSCRIBED") {
      clearTimeout(this.#readyTimer);
      this.#readyTimer = setTimeout(() => this.#ready(), READY_SECONDS * 1000);
      return;
    }
    clearTimeout(this.#readyTimer);
    if (Date.now() - this.#joined > STEADY_SECONDS * 1000) this.#tries = 0;
    this.#joined = Infinity;
    this.#isLimited ||= isLimit(error?.message);
    this.#isReady = false;
    const isConnected = this.#client.realtime.isConnected();
    this.#tell((listener) => listener.lost(error, isConnected && status === "CHANNEL_ERROR"));
    if (this.#listeners.size === 0) return;
    if (isConnected || status === "CLOSED") {
      this.#joinLater(); // with a new channel and a fresh token: a closed one never joins again
    } else {
      this.#client.realtime.setAuth().catch(() => {}); // the client joins again when it has connected
    }
  }

  #joinLater() {
    if (this.#timer !== null) return;
    const step = REJOIN_SECONDS[Math.min(this.#tries++, REJOIN_SECONDS.length - 1)];
    const seconds = this.#isLimited ? LIMITED_SECONDS : step;
    this.#isLimited = false;
    this.#timer = setTimeout(() => {
      this.#leave();
      this.#join();
    }, seconds * 1000 * (0.75 + Math.random() / 2));
  }

  #ready() {
    clearTimeout(this.#readyTimer);
    if (!this.#isReady) this.#joined = Date.now();
    this.#isReady = true;
    this.#tell((listener) => listener.joined());
  }

  #tell(call) {
    for (const listener of [...this.#listeners]) call(listener);
  }
}
