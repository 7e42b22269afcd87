"""Rows of the project in the page that several tests name, and the events of its channels and conversations."""

from typing import Any

from tests.console.desk import BOB, MATTY, Desk

GENERAL, PLANS, DIRECT, VISIT = (f"00000000-0000-4000-8000-{number:012}" for number in (31, 32, 33, 34))
IN_GENERAL = f"channels/{GENERAL}"
COLUMN, SIDE = ".column article", ".side article"
GONE, TWIN = "00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000021"
PERSONAL, ATELIER = "00000000-0000-4000-8000-000000000011", "00000000-0000-4000-8000-000000000012"
TOPIC = f"inbox:{MATTY}"
SAY = """
const say = (number, n, sent_at, more, message) =>
  tables.conversation_messages.push({ conversation_id: id(100 + number), external_id: `m${n}`,
  sender: "", sent_at, sequence: 0, received_at: at(0), connection_id: id(201), original: null, stated_at: null,
    ...more,
  message: { id: `m${n}`, direction: "inbound", type: "text", content: `Line ${n}`, ...message } });
project.say = say;
"""


def happen(desk: Desk, event: str, channel: str = GENERAL, **payload: Any) -> None:
    """Let an event of a channel reach the page."""
    desk.run("given => project.happen(...given)", [channel, event, payload])


def message(number: int) -> str:
    return f"00000000-0000-4000-8000-{1000 + number:012}"


def created(number: int, content: str, **more: Any) -> dict[str, Any]:
    times = dict.fromkeys(("created_at", "updated_at"), "2026-06-15T12:00:00Z")
    return {"id": message(number), "user_id": BOB, "content": content, "attachments": [], **times, **more}


def numbers(desk: Desk, selector: str = ".column .text") -> list[str]:
    return [text.removeprefix("Number ") for text in desk.shown(selector)]


def talk(number: int) -> str:
    return f"00000000-0000-4000-8000-{100 + number:012}"


def change(desk: Desk, event: str = "conversation.updated", **payload: Any) -> None:
    """Let a change of a conversation reach the page."""
    desk.run("given => project.change_of(...given)", [TOPIC, event, payload])


def lines(desk: Desk) -> list[str]:
    return desk.shown(".bubble .text")
