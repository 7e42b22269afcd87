// A client of Hey API: the folder `hey` beside this file is generated.
import process from "node:process";
import { client } from "./hey/client.gen.ts";
import { createMessage, getMessage, ingestConversations, listMessages } from "./hey/index.ts";

const [url, token, channel] = process.argv.slice(2);
client.setConfig({ baseUrl: url, auth: (scheme) => scheme.type === "apiKey" ? "your-api-secret" : token });

const created = await createMessage({
  body: { channel_id: channel, content: "From Hey API", metadata: { source: "api" } },
});
const { data } = await listMessages({ query: { channel_id: channel, limit: 1 } });
console.log(data?.data[0].content, data?.data[0].metadata.source, data?.data[0].id === created.data?.data.id);
const missing = await getMessage({ path: { id: channel } });
console.log((missing.error as { error: { code: string } }).error.code);
const ingested = await ingestConversations({
  body: { platform: "whatsapp", connection_id: "wa_business_123", conversations: [] },
});
console.log(ingested.data?.success);
