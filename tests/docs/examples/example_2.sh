curl -X POST "https://ypmkbrdymnfxxwoogpdb.supabase.co/functions/v1/messaging-ingest" \
  -H "Content-Type: application/json" \
  -H "x-api-key: your-api-secret" \
  -d '{
    "platform": "telegram",
    "connection_id": "tg_bot_456",
    "conversations": [
      {
        "external_conversation_id": "chat_user_1",
        "participant_identifier": "@johndoe",
        "participant_name": "John Doe",
        "messages": [
          {
            "id": "tg_msg_100",
            "direction": "inbound",
            "type": "image",
            "content": "Product photo",
            "media_url": "https://example.com/images/product.jpg",
            "sent_at": "2026-02-01T14:00:00Z"
          }
        ]
      },
      {
        "external_conversation_id": "chat_user_2",
        "participant_identifier": "@janedoe",
        "participant_name": "Jane Doe",
        "messages": [
          {
            "id": "tg_msg_200",
            "direction": "inbound",
            "type": "text",
            "content": "When will my order arrive?",
            "sent_at": "2026-02-01T15:30:00Z"
          }
        ]
      }
    ]
  }'
