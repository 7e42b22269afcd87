"""Users, channels and connections that `seed.sql` creates, and ids that tests share."""

# Matty owns the channel, the twin, all people and all connections. Bob and Carol are members, Mallory is not.
MATTY = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
BOB = "b0b0b0b0-0000-4000-8000-000000000002"
CAROL = "ca401ca4-0000-4000-8000-000000000003"
MALLORY = "3a110123-0000-4000-8000-000000000004"
JOHN_DOE = "0b9d3c52-6f0e-4a6c-9d5e-000000000001"  # one of Matty's people
CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
WORKSPACE = "7ea3a000-0000-4000-8000-000000000001"  # of Matty as owner, Bob and Carol
MESSAGE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TWIN = "b5b2c3d4-e5f6-7890-abcd-ef1234567890"
NAME_OF_MATTY = {"display_name": "Matty Squarzoni", "avatar_url": None}  # as events show the author
UNKNOWN_ID = "00000000-0000-4000-8000-00000000dead"  # no row has this id

API_KEY = "your-api-secret"
WHATSAPP = ("whatsapp", "wa_business_123")
TELEGRAM = ("telegram", "tg_bot_456")

BASE = "/api/v2/messages"
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
