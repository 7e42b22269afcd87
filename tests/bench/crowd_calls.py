"""The calls that are measured in a large and in a small database."""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.bench import crowd
from tests.bench.crowd_session import HEAVY, LARGE, LIGHT, TEAM, Session, identify
from tests.bench.messages import contents
from tests.bench.world import conversation

# Prepares a call of a user; the number differs in each repetition.
Case = Callable[[Session, int, str], Callable[[], Any]]

TEXTS = contents(1000)
WORDS = [word for text in TEXTS for word in text.split() if word.isascii() and len(word) > 3]
COMMON, NOWHERE = max(WORDS, key=WORDS.count), "nowhereatall"
NEWEST = "select id, content, created_at from public.messages where channel_id = %s order by seq desc limit 50"
INBOX = """
select id, participant_name, last_message_preview from public.conversations
where workspace_id = %s order by last_message_at desc limit 50
"""
ONE = """
select id, participant_name, public.messages(conversation) from public.conversations as conversation where id = %s
"""
MEMBERS = "select user_id, role from public.channel_members where channel_id = %s order by user_id limit 100"
NAMES = "select user_id, display_name from public.user_profiles where user_id = any(%s)"
PERSON = "insert into public.people (workspace_id, full_name, phone) values (%s, 'New', %s) returning id"


def request(*conversations: dict[str, Any]) -> bytes:
    """The body of an ingest request."""
    return json.dumps({"platform": "whatsapp", "connection_id": "crowd_1", "conversations": conversations}).encode()


def message(text: str) -> dict[str, Any]:
    """A new message of a conversation."""
    return {
        "id": f"wamid.{uuid4().hex}",
        "direction": "inbound",
        "type": "text",
        "content": text,
        "sent_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }


def fresh(session: Session, number: int, _: str) -> Callable[[], Any]:
    """A new conversation with two messages, with a number that one of the people has."""
    phone = f"+49151{10000001 + number * 7919 % session.size('people')}"
    return session.ingest(request(conversation(uuid4().hex, [message("Hello"), message("Are you there?")], phone)))


def onto(session: Session, number: int, last: int) -> bytes:
    """A request with one new message for one of the ten conversations of our user before the number `last`."""
    phone = f"+49151{10000000 + last // 10 * 10 - 10 * (number % 10) - 2}"
    return request(conversation(phone, [message("One more")], phone))


def early(session: Session, number: int, _: str) -> Callable[[], Any]:
    """One message onto conversation 1,000."""
    session.sent["early"] = onto(session, number, min(1000, session.size("conversations")))
    return session.ingest(session.sent["early"])


def late(session: Session, number: int, _: str) -> Callable[[], Any]:
    """One message onto the last conversation."""
    session.sent["late"] = onto(session, number, session.size("conversations"))
    return session.ingest(session.sent["late"])


def create(session: Session, user_id: str, channel_id: str, number: int) -> Callable[[], Any]:
    """A new message; its id is kept, because users edit only their own messages."""
    content = f"{number} {TEXTS[number % len(TEXTS)]}"
    call = session.call("create_message", user_id, channel_id=channel_id, user_id=user_id, content=content)

    def run() -> None:
        session.mine[user_id].append(json.loads(call())["data"]["id"])

    return run


# For a user in 10 channels, and for one in a twentieth of all.
OF_BOTH: dict[str, Case] = {
    "create_message": lambda session, number, user: create(session, user, session.channel(user, number), number),
    "create_message in the large channel": lambda session, number, user: create(session, user, LARGE, number),
    "get_message": lambda session, number, user: session.call(
        "get_message", user, id=identify("message", 10 * (1 + number))
    ),
    "history, newest 50": lambda session, number, user: session.call(
        "list_messages", user, channel_id=session.channel(user, number)
    ),
    "history of the large channel, newest 50": lambda session, _, user: session.call(
        "list_messages", user, channel_id=LARGE
    ),
    "search all channels, common word": lambda session, _, user: session.call("search_messages", user, query=COMMON),
    "search all channels, ten hits": lambda session, _, user: session.call("search_messages", user, query=crowd.RARE),
    "list_my_channels": lambda session, _, user: session.call("list_my_channels", user),
    "Data API, my channels": lambda session, _, user: session.query("select id, name from public.channels", user),
}
OF_ONE: dict[str, Case] = {
    "reply in the large thread": lambda session, number, user: session.call(
        "reply_to_message", user, id=identify("message", 10), content=TEXTS[number % len(TEXTS)]
    ),
    "edit_message": lambda session, number, user: session.call(
        "edit_message", user, id=session.mine[user][number % len(session.mine[user])], content=f"new {number}"
    ),
    "toggle_reaction": lambda session, number, user: session.call(
        "toggle_reaction", user, id=identify("message", 10 * (1 + number)), emoji="tada"
    ),
    "mark_read": lambda session, number, user: session.call(
        "mark_read", user, channel_id=LARGE, seq=session.size("large") + number
    ),
    "history of the large channel, 50 from its middle": lambda session, number, user: session.call(
        "list_messages", user, channel_id=LARGE, before=f"seq_{session.size('large') // 2 + number}"
    ),
    "newest 50 of the large thread": lambda session, _, user: session.call(
        "list_messages", user, channel_id=LARGE, thread_id=identify("message", 10)
    ),
    "search the large channel, common word": lambda session, _, user: session.call(
        "search_messages", user, channel_id=LARGE, query=COMMON
    ),
    "search the large channel, ten hits": lambda session, _, user: session.call(
        "search_messages", user, channel_id=LARGE, query=crowd.RARE
    ),
    "search the large channel, no hits": lambda session, _, user: session.call(
        "search_messages", user, channel_id=LARGE, query=NOWHERE
    ),
    "list_channel_events, last 50": lambda session, number, user: session.call(
        "list_channel_events", user, channel_id=LARGE, limit=50, since=str(max(session.size("large") - 50 + number, 0))
    ),
    "list_channel_events, 50 from the middle": lambda session, number, user: session.call(
        "list_channel_events", user, channel_id=LARGE, limit=50, since=str(session.size("large") // 2 + number)
    ),
    "list_user_events": lambda session, _, user: session.call("list_user_events", user),
    "Data API, newest 50 of the large channel": lambda session, _, user: session.query(NEWEST, user, LARGE),
    "Data API, 100 members of the large channel": lambda session, _, user: session.query(MEMBERS, user, LARGE),
    "Data API, names of 10 members": lambda session, _, user: session.query(
        NAMES, user, [identify("user", number) for number in range(3, 13)]
    ),
    "ingest, a new conversation of two messages": fresh,
    "ingest, one message onto conversation 1,000": early,
    "ingest, the same again": lambda session, _, __: session.ingest(session.sent["early"]),
    "ingest, one message onto the last conversation": late,
    "ingest, the last again": lambda session, _, __: session.ingest(session.sent["late"]),
    "index_conversations": lambda session, _, __: session.call("index_conversations", None, limit=100),
    "list_conversations": lambda session, _, user: session.call("list_conversations", user),
    "Data API, inbox page of a workspace": lambda session, _, user: session.query(INBOX, user, TEAM),
    "Data API, a conversation with its messages": lambda session, number, user: session.query(
        ONE, user, identify("conversation", 1 + number)
    ),
    "mark_conversation_read": lambda session, number, user: session.query(
        "select public.mark_conversation_read(%s)", user, identify("conversation", 1 + number)
    ),
    "list_inbox_changes, the last": lambda session, _, user: session.call(
        "list_inbox_changes", user, since=session.cursors["late"]
    ),
    "list_inbox_changes, from the beginning": lambda session, _, user: session.call(
        "list_inbox_changes", user, since=session.cursors["early"]
    ),
    "search_conversations, common word": lambda session, _, user: session.call(
        "search_conversations", user, query=COMMON
    ),
    "search_conversations, no hits": lambda session, _, user: session.call("search_conversations", user, query=NOWHERE),
    "insert a person, whom a conversation matches": lambda session, number, user: session.query(
        PERSON, user, TEAM, f"+49151{10000000 + session.size('conversations') - number}"
    ),
    "clean_up": lambda session, _, __: session.call("clean_up", None),
}
CASES: dict[str, tuple[Case, str]] = {
    **{
        f"{name}, user in {channels}": (case, user_id)
        for name, case in OF_BOTH.items()
        for channels, user_id in (("10 channels", LIGHT), ("many", HEAVY))
    },
    **{name: (case, LIGHT) for name, case in OF_ONE.items()},
}
