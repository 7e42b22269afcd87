// Queries of the Data API, in words of supabase-js.

/** A query of a table, or a call of a function. Awaiting it sends it. */
export class Query {
  #send;
  #path;
  #parameters = new URLSearchParams();
  #order = [];
  #options = { method: "GET" };
  #headers = {};

  constructor(send, path) {
    this.#send = send;
    this.#path = path;
  }

  #set(options, headers) {
    Object.assign(this.#options, options);
    Object.assign(this.#headers, headers);
    return this;
  }

  #with(name, value) {
    this.#parameters.append(name, value);
    return this;
  }

  insert = (body) => this.#set({ method: "POST", body });
  update = (body) => this.#set({ method: "PATCH", body });
  delete = () => this.#set({ method: "DELETE" });
  abortSignal = (signal) => this.#set({ signal });

  /** Adds those rows whose key is not there yet. */
  addMissing = (rows, key) =>
    this.insert(rows).#set({}, { prefer: "resolution=ignore-duplicates" }).#with("on_conflict", key);

  select(columns) {
    if (this.#options.body) this.#set({}, { prefer: "return=representation" });
    return this.#with("select", columns.replace(/\s/g, ""));
  }

  /** Exactly one row; else it fails. */
  single = () => this.#set({}, { accept: "application/vnd.pgrst.object+json" });

  filter = (column, operator, value) => this.#with(column, `${operator}.${value}`);
  eq = (column, value) => this.filter(column, "eq", value);
  in = (column, values) => this.filter(column, "in", `(${values.join()})`);
  or = (conditions) => this.#with("or", `(${conditions})`);

  match(values) {
    for (const [column, value] of Object.entries(values)) this.eq(column, value);
    return this;
  }

  order(column, { ascending = true } = {}) {
    this.#order.push(`${column}.${ascending ? "asc" : "desc"}`);
    return this;
  }

  limit = (count, offset = 0) => this.#with("limit", count).#with("offset", offset);

  then(resolve, reject) {
    if (this.#order.length) this.#parameters.set("order", this.#order.join());
    return this.#send(`${this.#path}?${this.#parameters}`, { ...this.#options, headers: this.#headers })
      .then(resolve, reject);
  }
}
