// Queries of the Data API in the words of supabase-js. It has what this console needs, and is 15 times smaller.

/** A query of a table, or a call of a function. Awaiting it sends it, and gives { data, error }. */
export class Query {
  #send;
  #path;
  #parameters = new URLSearchParams();
  #order = [];
  #options = { method: "GET", headers: {} };
  #isFirst = false;

  constructor(send, path) {
    this.#send = send;
    this.#path = path;
  }

  #with(name, value) {
    this.#parameters.append(name, value);
    return this;
  }

  #option(options, headers) {
    Object.assign(this.#options, options);
    Object.assign(this.#options.headers, headers);
    return this;
  }

  insert = (body) => this.#option({ method: "POST", body });
  update = (body) => this.#option({ method: "PATCH", body });
  delete = () => this.#option({ method: "DELETE" });
  abortSignal = (signal) => this.#option({ signal });

  /** Adds those rows whose key is not there yet. */
  addMissing = (rows, key) => this.insert(rows).#option({}, { prefer: "resolution=ignore-duplicates" })
    .#with("on_conflict", key);

  select(columns) {
    if (this.#options.body) this.#option({}, { prefer: "return=representation" });
    return this.#with("select", columns.replace(/\s/g, ""));
  }

  filter = (column, operator, value) => this.#with(column, `${operator}.${value}`);
  eq = (column, value) => this.filter(column, "eq", value);
  gt = (column, value) => this.filter(column, "gt", value);
  lt = (column, value) => this.filter(column, "lt", value);
  is = (column, value) => this.filter(column, "is", value);
  ilike = (column, pattern) => this.filter(column, "ilike", pattern);
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

  limit = (count) => this.#with("limit", count);
  range = (from, to) => this.#with("offset", from).limit(to - from + 1);

  /** Exactly one row; else it fails. */
  single() {
    return this.#option({}, { accept: "application/vnd.pgrst.object+json" });
  }

  /** The first row, or null. */
  maybeSingle() {
    this.#isFirst = true;
    return this.limit(1);
  }

  then(resolve, reject) {
    if (this.#order.length) this.#parameters.set("order", this.#order.join());
    return this.#send(`${this.#path}?${this.#parameters}`, this.#options).then(
      (data) => ({ data: this.#isFirst ? data[0] ?? null : data, error: null }),
      (error) => ({ data: null, error }),
    ).then(resolve, reject);
  }
}
