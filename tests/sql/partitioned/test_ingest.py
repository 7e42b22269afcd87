"""Run every test of ingest on partitioned messages, and the clean-up on partitioned messages and events."""

from tests.sql.test_conversations import *  # noqa: F403
from tests.sql.test_ingest_algebra import *  # noqa: F403
from tests.sql.test_ingest_answers import *  # noqa: F403
from tests.sql.test_ingest_effects import *  # noqa: F403
from tests.support.calls import ingest, send
from tests.support.database import Db, add_channel, lift_request_limit, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import MATTY


def test_retention_deletes_only_old_rows_of_a_partition(db: Db) -> None:
    times = {"old": "2020-01-01T00:00:00Z", "new": value(db, "select private.format_time(now())")}
    for n in range(20):
        for name, at in times.items():
            ingest(db, conversation(message(f"{name}{n}", sent_at=at), external_id=f"{name}{n}"))
    db.execute("update public.workspaces set conversation_days = 10 where id = %s", (MATTY,))
    value(db, "select private.clean_up()")
    left = rows(db, "select external_id from public.conversation_messages")
    assert sorted(left) == sorted(f"new{n}" for n in range(20))


def test_clean_up_deletes_only_old_events_of_a_partition(db: Db) -> None:
    lift_request_limit(db)
    channels = [add_channel(db, f"{n}", [MATTY]) for n in range(20)]
    for channel in channels * 3:
        send(db, channel_id=channel)
    old, young = channels[::2], channels[1::2]
    aged = "update public.message_events set created_at = now() - interval '8 days' where channel_id = any(%s::uuid[])"
    db.execute(aged, (old,))
    db.execute("update private.settings set channel_event_days = 7")
    value(db, "select private.clean_up()")
    left = "select count(*) from public.message_events where channel_id = any(%s::uuid[]) group by channel_id"
    assert (rows(db, left, old), rows(db, left, young)) == ([1] * 10, [4] * 10)


def test_messages_are_stored_in_partitions(db: Db) -> None:
    kinds = db.execute(
        "select relkind from pg_class where relname like 'conversation\\_messages%' and relkind in ('r', 'p')"
    )
    assert sorted(kind for (kind,) in kinds) == ["p", "r", "r", "r", "r"]
