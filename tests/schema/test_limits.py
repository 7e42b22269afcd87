"""Numbers that a call takes: the least, the most and the default are parts of the API, as docs/reference says them."""

import re

import psycopg

LIMITS = {
    "begin_conversation_summary.messageCount": "1, 10000, 0",
    "begin_summary.messageCount": "1, 10000, 0",
    "claim_deliveries.lease_seconds": "1, 3600, 60",
    "claim_deliveries.limit": "1, 1000, 10",
    "clean_up.limit": "1, 100000, 10000",
    "export_channel.limit": "1, 1000, 500",
    "export_conversation.limit": "1, 1000, 500",
    "finish_delivery.status": "100, 999, null",
    "index_conversations.limit": "1, 1000, 100",
    "list_channel_events.limit": "1, 1000, 200",
    "list_conversations.limit": "1, 200, 50",
    "list_inbox_changes.limit": "1, 100, 100",
    "list_invitations.limit": "1, 1000, 100",
    "list_messages.limit": "1, 200, 50",
    "list_my_channels.limit": "1, 1000, 100",
    "list_my_invitations.limit": "1, 1000, 100",
    "list_twin_deliveries.limit": "1, 200, 50",
    "list_user_events.limit": "1, 1000, 200",
    "list_workspace_members.limit": "1, 1000, 100",
    "list_workspaces.limit": "1, 1000, 100",
    "rotate_twin_secret.overlap_hours": "0, 720, 24",
    "search_conversations.limit": "1, 100, 20",
    "search_messages.limit": "1, 100, 20",
    "sweep_attachments.limit": "1, 1000, 1000",
    "update_workspace.channel_days": "1, 36500, null",
    "update_workspace.conversation_days": "1, 36500, null",
}
SOURCES = """
select proname, prosrc from pg_proc
where pronamespace in ('public'::regnamespace, 'private'::regnamespace) and proname <> 'parse_integer'
"""


def test_each_call_takes_the_documented_numbers(db: psycopg.Connection) -> None:
    found = {
        f"{name}.{field}": numbers
        for name, source in db.execute(SOURCES)
        for field, numbers in re.findall(r"parse_integer\(\s*\$1, '(\w+)', ([^)]+)\)", source)
    }
    offsets = {name for name in found if name.endswith(".offset")}
    assert {found.pop(name) for name in offsets} == {"0, 999999999, 0"}
    assert found == LIMITS
