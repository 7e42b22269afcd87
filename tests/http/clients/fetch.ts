// A client of openapi-typescript: `types.d.ts` beside this file is generated.
import createClient from "openapi-fetch";
import process from "node:process";
import type { paths } from "./types.d.ts";

const [url, token, channel] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${token}` } });

const created = await client.POST("/api/v2/messages", {
  body: { channel_id: channel, content: "From TypeScript", metadata: { source: "api" }, attachments: [] },
});
if (!created.data) throw new Error(created.error.error.code);
await client.POST("/api/v2/messages/{id}/pin", { params: { path: { id: created.data.data.id } } });
const { data, error } = await client.GET("/api/v2/messages/history", {
  params: { query: { channel_id: channel, limit: 1 } },
});
if (!data) throw new Error(error.error.message);
const [message] = data.data;
console.log(message.content, message.metadata.source, message.metadata.pinned, data.meta.total > 0);
const missing = await client.GET("/api/v2/messages/{id}", { params: { path: { id: channel } } });
console.log(missing.error?.error.code);
