// Which changes of conversations the handler got: broadcasts and the log overlap.

const MAX_NAMES = 10000;
const DELETED = "deleted";

export class Changes {
  #names = new Set();
  #versions = new Map(); // of each conversation: its last change, and the last state that a change showed

  /** Whether the handler got this broadcast, or a later one. */
  isOld({ id, version }) {
    return version <= this.#versions.get(id)?.change;
  }

  /** Whether no change is missing before this broadcast. */
  isNext({ id, version }) {
    const known = this.#versions.get(id);
    return !known || (version === known.change + 1 && version >= known.shown);
  }

  /** Whether the handler got this change of the log. */
  has(change) {
    return this.#names.has(nameOf(change.conversation_id, versionOf(change)));
  }

  /** Remember a broadcast. */
  addBroadcast(conversation) {
    this.#add(conversation.id, conversation.version, conversation.version);
  }

  /** Remember a change of the log, which shows the conversation as it was when the log was read. */
  add(change) {
    const version = versionOf(change);
    if (version !== undefined) this.#add(change.conversation_id, version, change.conversation?.version ?? 0);
  }

  clear() {
    this.#names.clear();
    this.#versions.clear();
  }

  #add(id, version, state) {
    this.#names.add(nameOf(id, version));
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.values().next().value);
    const { change = 0, shown = 0 } = this.#versions.get(id) ?? {};
    this.#versions.set(id, {
      change: version === DELETED ? change : Math.max(change, version),
      shown: Math.max(shown, state),
    });
  }
}

const nameOf = (id, version) => `${id} ${version}`;

// A change that only deletes rows of messages has no version.
const versionOf = (change) => (change.deleted ? DELETED : change.version);
