"""The event log of a channel, and the checks that find damage in it."""

from tests.support.database import Db, rows, value
from tests.support.world import CHANNEL

# Sets the clock that stamps events; `by` is an interval.
EVENT_CLOCK = """
create or replace function private.event_clock() returns timestamptz language plpgsql
set search_path = pg_catalog, pg_temp
as $$ begin return clock_timestamp() + interval '{by}'; end $$
"""

# Each query finds one kind of damage; a consistent channel has no rows.
INCONSISTENCIES = """
with channel as (select %(channel_id)s::uuid as id),
counter as (
    select coalesce(max(last_seq), 0) as last_seq, coalesce(max(message_count), 0) as message_count
    from private.channel_counters where channel_id = (select id from channel)
),
event as (select * from public.message_events where channel_id = (select id from channel)),
message as (select * from public.messages where channel_id = (select id from channel)),
lived as (select * from message where deleted_at is null)
select 'the log has gaps' from event, counter group by last_seq
having count(*) <> last_seq or min(seq) <> 1 or max(seq) <> last_seq
union all
select 'times do not run as the numbers do' from (
    select created_at <= lag(created_at) over (order by seq) as is_back from event
) as step where is_back
union all
select 'message_count is ' || message_count from counter where message_count <> (select count(*) from lived)
union all
select 'no event made ' || id from message where not exists (
    select from event where (kind, message_id, seq) = ('message.created', message.id, message.seq)
)
union all
select 'deletions: ' || id from message
where (deleted_at is not null)::integer <> (
    select count(*) from event where kind = 'message.deleted' and message_id = message.id
)
union all
select 'edits: ' || id from lived
where array(select version from public.message_edits where message_id = lived.id order by 1) <> array(
    select (row_number() over (order by seq))::integer from event
    where kind = 'message.updated' and message_id = lived.id
)
union all
select 'an edit is out of line: ' || id from message where exists (
    select from public.message_edits as edit
    inner join public.message_edits as next on (next.message_id, next.version) = (edit.message_id, edit.version + 1)
    where edit.message_id = message.id and edit.replaced_at <> next.written_at
)
union all
select 'reaction: ' || id from lived
where (select count(*) from public.message_reactions where message_id = lived.id) <> (
    select count(*) filter (where kind = 'reaction.added') - count(*) filter (where kind = 'reaction.removed')
    from event where message_id = lived.id
)
union all
select 'pin: ' || id from lived
where (select count(*) from public.message_pins where message_id = lived.id) <> (
    select count(*) filter (where kind = 'message.pinned') - count(*) filter (where kind = 'message.unpinned')
    from event where message_id = lived.id
)
union all
select 'a deleted message is pinned: ' || id from message
where deleted_at is not null and exists (select from public.message_pins where message_id = message.id)
union all
select 'something happened to a deleted message: ' || late.message_id
from event as late inner join event as deleted on late.message_id = deleted.message_id
where deleted.kind = 'message.deleted' and late.seq > deleted.seq
union all
select 'search does not know what it says: ' || id from lived
where private.index_words(content, attachments) is distinct from (
    select words from private.message_words where message_id = lived.id
)
union all
select 'search knows what is gone: ' || message_id from private.message_words as entry
where channel_id = (select id from channel) and not exists (select from lived where id = entry.message_id)
"""


def events(db: Db, channel_id: str = CHANNEL, after: int = 0) -> list[tuple[str, str | None, str | None, str | None]]:
    """Return kind, message, actor and emoji of each event of a channel."""
    return rows(
        db,
        """
        select kind, message_id::text, actor_id::text, emoji from public.message_events
        where channel_id = %s and seq > %s order by seq
        """,
        channel_id,
        after,
    )


def last_seq(db: Db, channel_id: str = CHANNEL) -> int:
    """Return the number of the newest event of a channel."""
    return value(db, "select last_seq from private.channel_counters where channel_id = %s", channel_id)


def inconsistencies(db: Db, channel_id: str = CHANNEL) -> list[str]:
    """Return the damage in a channel: log, counters, messages, edits, reactions, pins, search index."""
    return [row[0] for row in db.execute(INCONSISTENCIES, {"channel_id": channel_id}).fetchall()]
