import requests
from datetime import datetime

response = requests.post(
    "https://ypmkbrdymnfxxwoogpdb.supabase.co/functions/v1/messaging-ingest",
    headers={
        "Content-Type": "application/json",
        "x-api-key": "your-api-secret"
    },
    json={
        "platform": "signal",
        "connection_id": "signal_123",
        "conversations": [
            {
                "external_conversation_id": "signal_chat_001",
                "participant_identifier": "+1987654321",
                "participant_name": "Alice Smith",
                "messages": [
                    {
                        "id": "sig_msg_001",
                        "direction": "inbound",
                        "type": "text",
                        "content": "Can we schedule a call?",
                        "sent_at": datetime.utcnow().isoformat() + "Z"
                    }
                ]
            }
        ]
    }
)

print(response.json())
