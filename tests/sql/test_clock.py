"""The server clock is set back and forward: numbers keep increasing and history stays correct."""

import pytest

from tests.support.calls import call, send
from tests.support.database import Db, rows
from tests.support.event_log import EVENT_CLOCK, inconsistencies, last_seq
from tests.support.world import CHANNEL


def set_clock(db: Db, by: str) -> None:
    """Move the clock that stamps events."""
    db.execute(EVENT_CLOCK.format(by=by))


@pytest.mark.parametrize("by", ["-1 hour", "1 hour"])
def test_clock_jump_does_not_reorder_messages(db: Db, by: str) -> None:
    since = last_seq(db)
    message_id = send(db, "one")
    set_clock(db, by)
    call(db, "edit_message", id=message_id, content="two")
    call(db, "pin_message", id=message_id)
    call(db, "edit_message", id=message_id, content="three")
    log = call(db, "list_channel_events", channel_id=CHANNEL, since=since).data
    assert [(entry["event"], entry["payload"]["content"]) for entry in log] == [
        ("message.created", "one"),
        ("message.updated", "two"),
        ("message.pinned", "two"),
        ("message.updated", "three"),
    ]
    assert inconsistencies(db) == []


def test_pages_are_ordered_by_number_not_by_clock(db: Db) -> None:
    before = send(db, "before")
    set_clock(db, "-1 hour")
    after = send(db, "after")
    newest = call(db, "list_messages", channel_id=CHANNEL, limit=2).data
    assert [message["id"] for message in newest] in ([before, after], [after, before])
    assert rows(db, "select id::text from public.messages where channel_id = %s order by seq", CHANNEL)[-1] == after
