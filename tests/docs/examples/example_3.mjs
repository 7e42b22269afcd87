const response = await fetch(
  "https://ypmkbrdymnfxxwoogpdb.supabase.co/functions/v1/messaging-ingest",
  {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "x-api-key": process.env.MESSAGING_API_SECRET,
    },
    body: JSON.stringify({
      platform: "whatsapp",
      connection_id: "wa_business_123",
      conversations: [
        {
          external_conversation_id: "chat_abc123",
          participant_identifier: "+1234567890",
          participant_name: "John Doe",
          messages: [
            {
              id: "msg_" + Date.now(),
              direction: "inbound",
              type: "text",
              content: "Hello!",
              sent_at: new Date().toISOString(),
            },
          ],
        },
      ],
    }),
  }
);

const result = await response.json();
console.log(result);
