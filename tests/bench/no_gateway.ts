// Clients of Supabase put /rest/v1 before every path, and its gateway takes it off again. Here is no gateway: loaded
// before a function, this sends its calls straight to PostgREST, at no cost to the measured side.

const { fetch } = globalThis;

globalThis.fetch = (target, options) => fetch(String(target).replace("/rest/v1/", "/"), options);
