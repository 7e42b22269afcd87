"""Seeded bugs: each is a plausible mistake in `sql/` and is undone at the end of its block."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Bug:
    """A change of functions, and of other objects.

    Args:
        caught_by: the check that reports it.
        replace: by function, a pattern in its source and the replacement.
        do: statements before, and their opposites.
    """

    caught_by: str
    replace: dict[str, tuple[str, str]]
    do: str = "select"
    undo: str = "select"


# `make test` covers the first five, `make soak` all of them.
BUGS = {
    "idempotency keys are stored but not checked": Bug(
        "creations", {"private.begin_idempotent": (r"status := v_known.status;\s+body := v_known.body;", "")}
    ),
    "events take numbers from a sequence, and no lock": Bug(
        "listeners",
        {
            "private.record_event": (
                r"update private.channel_counters as counter[^;]+;",
                "seq := nextval('faults.numbers'); at := clock_timestamp(); perform pg_sleep(random() / 4);"
                " select counter.workspace_id into v_workspace_id from private.channel_counters as counter"
                " where counter.channel_id = p_channel_id;",
            ),
            "private.admit_message_trigger": (
                r"update private.channel_counters as counter[^;]+;",
                "new.seq := nextval('faults.numbers'); new.created_at := clock_timestamp();"
                " new.updated_at := new.created_at; perform pg_sleep(random() / 4);"
                " select counter.workspace_id into new.workspace_id from private.channel_counters as counter"
                " where counter.channel_id = new.channel_id;",
            ),
            "private.lock_channel": (r"for no key update", ""),
        },
        do="create sequence faults.numbers; grant usage on sequence faults.numbers to public; "
        "grant usage on schema faults to public",
        undo="drop sequence faults.numbers",
    ),
    "two who look at once both find that a message is new": Bug(
        "ingests",
        {
            "private.is_replay": (r"known.sender = ''", r"\g<0> and random() < 0.5"),
            "private.store_messages": (r"known.external_id = given.external_id", r"\g<0> and random() < 0.5"),
        },
        do="alter table public.conversation_messages drop constraint conversation_messages_pkey",
        undo="truncate public.conversation_messages; alter table public.conversation_messages "
        "add constraint conversation_messages_pkey primary key (conversation_id, external_id)",
    ),
    "an edit is lost": Bug(
        "changes", {"private.record_message_change_trigger": (r"begin", "begin new.content := old.content;")}
    ),
    "the newest delivery goes first": Bug(
        "twins", {"private.claim_deliveries": (r"order by delivery.seq\s", "order by delivery.seq desc ")}
    ),
    "ingest answers before it has stored": Bug(
        "ingests",
        {
            "private.store_messages": (r"from message\s+where message.is_new", r"\g<0> and random() < 0.7"),
            "private.store_new_messages": (r"where p_ids\[given.parent\] is not null", r"\g<0> and random() < 0.7"),
        },
    ),
    "reads come from a replica that lags": Bug(
        "reads",
        {
            "private.list_channel_events": (
                r"event.seq > p_since",
                r"\g<0> and event.created_at < clock_timestamp() - interval '1 second' * random()",
            )
        },
    ),
    "a delivery is given up at the first failure": Bug(
        "twins", {"private.finish_delivery": (r"twin_max_attempts", "twin_max_attempts - 99999")}
    ),
}


@contextmanager
def seeded(url: str, bug: Bug) -> Iterator[None]:
    """Put a bug into a database for the block."""
    with psycopg.connect(url) as db:
        db.execute(bug.do)
        right = {name: _source(db, name) for name in bug.replace}
        for name, (pattern, instead) in bug.replace.items():
            wrong, times = re.subn(pattern, instead, right[name], count=1)
            assert times == 1, f"{name} has no {pattern}"
            db.execute(wrong)
    try:
        yield
    finally:
        with psycopg.connect(url) as db:
            for source in right.values():
                db.execute(source)
            db.execute(bug.undo)


def _source(db: psycopg.Connection, name: str) -> str:
    (found,) = db.execute("select pg_get_functiondef(%s::regproc)", (name,)).fetchone()
    return found
