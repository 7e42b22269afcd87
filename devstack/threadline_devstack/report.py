"""The output of `threadline up` and `threadline status`."""

import json
from collections.abc import Mapping

from threadline_devstack import keys
from threadline_devstack.project import Ports

# The console offers to sign in as one of the seeded users, and shows the command of a clone.
CONSOLE = {
    "command": ".venv/bin/threadline",
    "users": ["matty@example.com", "bob@example.com", "carol@example.com", "mallory@example.com"],
    "password": "password123",
}
# The example of the ingest document, for the connection of the seed.
INGEST = {
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
                    "sent_at": "2026-02-01T10:30:00Z",
                }
            ],
        }
    ],
}


def values(ports: Ports) -> dict[str, str]:
    """Return URLs and keys under the names that `supabase status` gives them."""
    return {
        "ANON_KEY": keys.ANON_KEY,
        "API_URL": ports.api_url,
        "DB_URL": ports.database_url("postgres", keys.DATABASE_PASSWORD),
        "JWT_SECRET": keys.JWT_SECRET,
        "PUBLISHABLE_KEY": keys.PUBLISHABLE_KEY,
        "SECRET_KEY": keys.SECRET_KEY,
        "SERVICE_ROLE_KEY": keys.SERVICE_ROLE_KEY,
    }


def env(status: Mapping[str, str]) -> str:
    """Return lines that a shell can source."""
    return "\n".join(f'{name}="{value}"' for name, value in status.items())


def pretty(status: Mapping[str, str]) -> str:
    """Return lines for people."""
    rows = {
        "Project URL": status["API_URL"],
        "Edge Functions": f"{status['API_URL']}/functions/v1",
        "Database URL": status["DB_URL"],
        "Publishable key": status["PUBLISHABLE_KEY"],
        "Secret key": status["SECRET_KEY"],
    }
    return "\n".join(f"{name:>16}: {value}" for name, value in rows.items())


FORMATS = {"env": env, "json": lambda status: json.dumps(status, indent=2), "pretty": pretty}


def first_call(api_url: str) -> str:
    """Return a command line that delivers one message."""
    return (
        f"curl -sS {api_url}/functions/v1/messaging-ingest"
        " -H 'Content-Type: application/json' -H 'x-api-key: your-api-secret'"
        f" -d '{json.dumps(INGEST, separators=(',', ':'))}'"
    )
