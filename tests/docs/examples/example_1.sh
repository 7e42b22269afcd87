curl -X POST "https://ypmkbrdymnfxxwoogpdb.supabase.co/functions/v1/messaging-ingest" \
  -H "Content-Type: application/json" \
  -H "x-api-key: your-api-secret" \
  -d '{
    "platform": "whatsapp",
    "connection_id": "wa_business_123",
    "conversations": [
      {
        "external_conversation_id": "chat_abc123",
        "participant_identifier": "+1234567890",
        "participant_name": "John Doe",
        "messages": [
          {
            "id": "msg_001",
            "direction": "inbound",
            "type": "text",
            "content": "Hi, I am interested in your product",
            "sent_at": "2026-02-01T10:30:00Z"
          },
          {
            "id": "msg_002",
            "direction": "outbound",
            "type": "text",
            "content": "Hello! Thanks for reaching out. How can I help?",
            "sent_at": "2026-02-01T10:32:00Z"
          }
        ]
      }
    ]
  }'
