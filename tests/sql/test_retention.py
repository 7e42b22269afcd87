"""sql/415_retention.sql: what a workspace no longer keeps, and what stays."""

from typing import Any

import pytest

from tests.sql.test_costly_texts import break_function
from tests.support.calls import ingest, send
from tests.support.database import Db, add_channel, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import BOB, MATTY, WORKSPACE

AGES = (5, 15, 25)  # days


def plant(db: Db) -> None:
    """Store a message of each age in two conversations and two channels of Matty, and in a channel of the team."""
    stamps = {age: value(db, "select private.format_time(now() - %s * interval '1 day')", age) for age in AGES}
    for name in ("mixed", "other"):
        messages = [message(f"{name} {age}", sent_at=stamps[age]) for age in AGES]
        ingest(db, conversation(*messages, external_id=name))
    ingest(db, conversation(message("over", sent_at=stamps[25]), external_id="over"))
    ingest(db, conversation(external_id="empty"))
    ingest(db, conversation(message("young", sent_at=stamps[5]), external_id="young"))
    named = "conversation_id, workspace_id, external_id, sender"
    db.execute(
        f"insert into private.conversation_media (path, {named})"
        f" select external_id, {named} from public.conversation_messages"
        f" union all select 'awaited', conversation_id, workspace_id, 'awaited', sender"
        " from public.conversation_messages where external_id = 'young'"
    )
    own = "insert into public.channels (workspace_id, name, created_by) values (%s, %s, %s) returning id::text"
    places = [value(db, own, MATTY, name, MATTY) for name in ("first", "second")]
    places.append(add_channel(db, "team", [BOB]))
    db.execute("update public.channels set workspace_id = %s where id = %s", (WORKSPACE, places[-1]))
    said = {}
    for place, who in zip(places, (MATTY, MATTY, BOB), strict=True):
        for age in AGES[::-1]:
            said[send(db, f"{age}", who, place)] = age
    db.execute("alter table public.messages disable trigger user")
    for id_, age in said.items():
        db.execute("update public.messages set created_at = now() - %s * interval '1 day' where id = %s", (age, id_))
    db.execute("alter table public.messages enable trigger user")
    db.execute("delete from public.messages where not id = any(%s)", (list(said),))
    db.execute("update public.conversations set created_at = now() - interval '1 year'")


def kept(db: Db) -> dict[str, Any]:
    ingested = """
        select conversation.external_conversation_id,
            array_agg(date_part('day', now() - stored.sent_at)::int order by stored.sent_at desc)
        from public.conversations as conversation
        left join public.conversation_messages as stored on stored.conversation_id = conversation.id group by 1
    """
    written = """
        select channel.name, array_agg(message.content::int order by message.content::int)
        from public.channels as channel inner join public.messages as message on message.channel_id = channel.id
        group by 1
    """
    return {name: ages for query in (ingested, written) for name, ages in rows(db, query)}


def keep(db: Db, **days: int | None) -> None:
    for name, number in days.items():
        db.execute(f"update public.workspaces set {name} = %s where id = %s", (number, MATTY))


@pytest.mark.parametrize(("ingested", "written"), [(10, 20), (20, 10), (10, None), (None, 10), (None, None)])
def test_each_kind_has_its_own_days(db: Db, ingested: int | None, written: int | None) -> None:
    plant(db)
    keep(db, conversation_days=ingested, channel_days=written)
    removed = value(db, "select private.clean_up()")
    chats, said = ([age for age in AGES if days is None or age < days] for days in (ingested, written))
    names = {"mixed": chats, "other": chats, "empty": [None], "young": [5]} | ({} if ingested else {"over": [25]})
    stored = rows(db, "select external_id from public.conversation_messages")
    assert sorted(rows(db, "select path from private.conversation_media")) == sorted([*stored, "awaited"])
    assert kept(db) == names | {"first": said, "second": said, "team": [*AGES]}
    gone = 2 * (3 - len(chats)) + (ingested is not None)
    assert (removed["conversation_messages"], removed["messages"]) == (gone, 2 * (3 - len(said)))


def test_young_conversation_goes_later_than_its_messages(db: Db) -> None:
    old = value(db, "select private.format_time(now() - interval '25 days')")
    for place, messages in (("imported", [message(sent_at=old)]), ("empty", [])):
        ingest(db, conversation(*messages, external_id=place))
    keep(db, conversation_days=10)
    left = []
    for days in (0, 9, 2):
        db.execute("update public.conversations set created_at = created_at - %s * interval '1 day'", (days,))
        db.execute("delete from private.retention_rounds")
        value(db, "select private.clean_up()")
        left.append(rows(db, "select external_conversation_id, message_count from public.conversations order by 1"))
    assert left == [[("empty", 0), ("imported", 0)]] * 2 + [[("empty", 0)]]


def test_round_counts_the_rows_of_all_workspaces(db: Db) -> None:
    plant(db)
    keep(db, conversation_days=10, channel_days=10)
    db.execute("update public.workspaces set conversation_days = 10, channel_days = 10 where id = %s", (WORKSPACE,))
    # Comes last.
    db.execute("insert into private.retention_rounds (workspace_id, visited_at) values (%s, now())", (WORKSPACE,))
    removed = value(db, "select private.clean_up()")
    assert (removed["conversation_messages"], removed["messages"]) == (5, 6)


def test_round_that_fails_counts_no_rows(db: Db) -> None:
    plant(db)
    keep(db, conversation_days=10, channel_days=10)
    break_function(db, "private.delete_old_messages(uuid,timestamptz,integer)", error="division_by_zero")
    before = kept(db)
    removed = value(db, "select private.clean_up()")
    assert (removed["conversation_messages"], removed["messages"], kept(db)) == (0, 0, before)


def test_round_with_a_limit_takes_the_oldest_first(db: Db) -> None:
    plant(db)
    keep(db, channel_days=1)
    value(db, "select private.clean_up(10)")  # a tenth for messages of channels
    ages = [age for name, ages in kept(db).items() if name in {"first", "second"} for age in ages]
    assert sorted(ages) == [5, 5, 15, 15, 25]


@pytest.mark.parametrize(("kind", "limit"), [("channel_days", 10), ("conversation_days", 8)])
def test_workspace_at_its_limit_is_not_finished(db: Db, kind: str, limit: int) -> None:
    plant(db)
    keep(db, **{kind: 1})
    removed = value(db, "select private.clean_up(%s)", limit)
    assert max(removed["messages"] * 10, removed["conversation_messages"]) == limit
    assert rows(db, "select finished_at from private.retention_rounds") == [None]


def test_round_visits_more_than_ten_workspaces(db: Db) -> None:
    add = "insert into public.workspaces (name, channel_days) select 'x', 1 from generate_series(1, %s)"
    db.execute(add, (11,))
    value(db, "select private.clean_up()")
    assert value(db, "select count(*) from private.retention_rounds") == 11


def test_workspace_without_a_visit_comes_first(db: Db) -> None:
    plant(db)
    for place in (MATTY, WORKSPACE):
        db.execute("update public.workspaces set channel_days = 10 where id = %s", (place,))
    seen = "insert into private.retention_rounds (workspace_id, visited_at) values (%s, now() - interval '1 hour')"
    db.execute(seen, (WORKSPACE,))
    value(db, "select private.clean_up(10)")  # one workspace
    assert rows(db, "select workspace_id::text from private.retention_rounds where visited_at = now()") == [MATTY]


def test_finished_workspace_is_visited_again_after_a_day(db: Db) -> None:
    plant(db)
    keep(db, channel_days=20)
    assert value(db, "select private.clean_up()")["messages"] == 2
    other = "insert into private.retention_rounds (workspace_id, visited_at, finished_at) values (%s, now(), null)"
    db.execute(other, (BOB,))
    keep(db, channel_days=10)
    for hours, deleted in ((0, 0), (23, 0), (25, 2)):
        db.execute(
            "update private.retention_rounds set finished_at = now() - %s * interval '1 hour' where workspace_id = %s",
            (hours, MATTY),
        )
        assert value(db, "select private.clean_up()")["messages"] == deleted
    assert rows(db, "select finished_at from private.retention_rounds where workspace_id = %s", BOB) == [None]
