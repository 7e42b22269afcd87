"""Each table belongs to a workspace, and no foreign key leads from one workspace into another."""

from typing import Any

import psycopg
import pytest

Db = psycopg.Connection[Any]

# Tables that belong to no workspace, with the reason.
GLOBAL = {
    "private.calls": "a list of functions",
    "private.clean_ups": "the state of the clean-up of the whole database",
    "private.constraint_codes": "a list of constraints",
    "private.conversation_words": "finds its conversation by conversation_id, without a foreign key (decision 0006)",
    "private.created_objects": "a list of what the migrations created",
    "private.idempotency_keys": "belongs to a caller, for a day",
    "private.message_words": "finds its channel by channel_id, without a foreign key (decision 0006)",
    "private.phone_regions": "the numbering plans of the world",
    "private.inbox_cursor_key": "a secret of the whole database",
    "private.request_counts": "belongs to a user",
    "private.retired_ids": "ids without content",
    "private.settings": "limits of the whole database",
    "private.summaries": "belongs to a channel or a conversation",
    "private.summary_counts": "belongs to a user",
    "private.daily_counts": "belongs to a user",
    "private.summary_totals": "a total of the whole database",
    "private.twin_secrets": "belongs to a twin",
    "private.user_counters": "belongs to a user",
    "public.ai_twins": "belongs to its user, as a profile does, and takes part in channels of several workspaces",
    "public.erasures": "a receipt stays after its subject is gone",
    "public.twin_webhooks": "belongs to a twin",
    "public.user_events": "belongs to a user, and tells of several workspaces",
    "public.user_profiles": "belongs to a user",
    "public.workspaces": "is the workspace",
}
# Foreign keys between two tables with a workspace_id that do not contain it, with the reason.
COPIED = {
    "private.channel_counters.channel_counters_channel_id_fkey": "a trigger copies the workspace of the channel",
    "private.conversation_media.conversation_media_conversation_id_fkey": "offer_uploads copies it",
    "private.group_participants.group_participants_conversation_id_fkey": "record_group_participants copies it",
    "public.conversation_identifiers.conversation_identifiers_conversation_id_fkey": "record_identifiers copies it",
    "public.conversation_reads.conversation_reads_conversation_id_fkey": "mark_conversation_read copies it",
    "public.message_events.message_events_channel_id_fkey": "record_event copies it from the counter",
    "public.messages.messages_channel_id_fkey": "messages_10_admit copies it from the counter",
    "public.messages.messages_parent_message_id_fkey": "messages_10_admit requires a parent of the same channel",
    "public.messages.messages_thread_id_fkey": "messages_10_admit takes it from a parent of the same channel",
}

# A table knows its workspace by a column, or by a key to a table that knows it.
UNKNOWN = """
with recursive ours as (
    select oid, oid::regclass::text as name from pg_class
    where relkind in ('r', 'p') and relnamespace in ('public'::regnamespace, 'private'::regnamespace)
), known as (
    select ours.oid from ours inner join pg_attribute on attrelid = ours.oid
    where attname = 'workspace_id' and attnotnull and not attisdropped
    union
    select conrelid from pg_constraint inner join known on confrelid = known.oid
    where contype = 'f' and not exists (
        select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and not attnotnull
    )
)
select name from ours where oid not in (select oid from known)
"""
CROSSING = """
with named as (
    select attrelid as oid, attnum from pg_attribute where attname = 'workspace_id' and not attisdropped
)
select conrelid::regclass || '.' || conname
from pg_constraint
inner join named as source on source.oid = conrelid
inner join named as target on target.oid = confrelid
where contype = 'f' and not (conkey @> array[source.attnum] and confkey @> array[target.attnum])
"""


@pytest.fixture
def names(db: Db) -> Db:
    """The database, where names are printed with their schema."""
    db.execute("set local search_path = ''")
    return db


def found(db: Db, query: str) -> set[str]:
    return {name for (name,) in db.execute(query)}


def test_each_table_names_its_workspace_or_says_why_not(names: Db) -> None:
    assert found(names, UNKNOWN) == set(GLOBAL)


def test_each_foreign_key_stays_in_one_workspace(names: Db) -> None:
    assert found(names, CROSSING) == set(COPIED)


def test_table_without_a_workspace_is_reported(names: Db) -> None:
    names.execute("create table public.planted (id uuid primary key, person_id uuid references public.people (id))")
    assert found(names, UNKNOWN) - set(GLOBAL) == {"public.planted"}


def test_key_to_another_workspace_is_reported(names: Db) -> None:
    names.execute("alter table public.messages add planted uuid constraint planted references public.people (id)")
    assert found(names, CROSSING) - set(COPIED) == {"public.messages.planted"}
