"""Reading a long channel: pages at its end and deep in it, and searches."""

from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import TypeVar
from uuid import UUID, uuid4

import psycopg

from tests.bench import load, machine
from tests.bench.messages import Caller, backend, channel, contents, member
from tests.bench.report import Report
from tests.bench.setting import SERVICE
from tests.bench.sizes import Sizes
from tests.bench.world import World

PAGE = 50
RARE = "zeppelinmuseum"
DIFFERENT = 20_000  # distinct texts; the channel repeats them
PORTION = 100_000  # messages; the first has the rare word
Case = TypeVar("Case", bound=Hashable)

# The index words of each text are computed once.
TEXTS = """
create temporary table texts on commit drop as
select number - 1 as number, content, private.index_words(content, null) as words
from unnest(%s::text[]) with ordinality as given (content, number)
"""
# Writes what the triggers would write: messages, events, the search index and the channel's counter. The first
# event is that the owner joined; the last text is the one with the rare word.
FILL = """
with line as materialized (
    select
        gen_random_uuid() as id, place + 2 as seq, timestamptz '2026-01-01' + place * interval '1 second' as at,
        texts.content, texts.words
    from generate_series(%(from)s::bigint, %(to)s::bigint) as place
    inner join texts on texts.number = case when place = %(from)s then %(different)s else place %% %(different)s end
    order by place
), message as (
    insert into public.messages (id, workspace_id, channel_id, seq, user_id, content, created_at, updated_at)
    select id, %(user)s, %(channel)s, seq, %(user)s, content, at, at from line
), event as (
    insert into public.message_events (workspace_id, channel_id, seq, kind, message_id, actor_id, created_at)
    select %(user)s, %(channel)s, seq, 'message.created', id, %(user)s, at from line
)

insert into private.message_words (message_id, channel_id, created_at, words)
select id, %(channel)s, at, words from line
"""
END = """
update private.channel_counters set last_seq = %(length)s + 1, message_count = %(length)s where channel_id = %(channel)s
"""


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Pages and searches of one channel, by a user and by the operator's backend."""
    world.admin.execute("update private.settings set requests_per_minute = 1000000000")
    people = [call(world, world.owner_id) for call in (member, backend)]
    long = channel(world, world.owner_id)
    fill(world.admin, long, world.owner_id, sizes.long_channel)
    read(people, long, sizes, report)
    search(people[0], long, sizes, report)


def fill(admin: psycopg.Connection, channel_id: UUID, user_id: str, length: int) -> None:
    """Fill a channel with messages; one in a hundred thousand has a rare word."""
    texts = contents(DIFFERENT)[:length]
    parameters = {"different": len(texts), "channel": channel_id, "user": user_id}
    (index,) = admin.execute("select pg_get_indexdef('private.message_words_search_idx'::regclass)").fetchone()
    with admin.transaction():
        admin.execute("set local session_replication_role = replica")
        admin.execute("drop index private.message_words_search_idx")
        admin.execute(TEXTS, [[*texts, f"{RARE} {texts[0]}"]])
        for start in range(0, length, PORTION):
            admin.execute(FILL, {**parameters, "from": start, "to": min(length, start + PORTION) - 1})
        admin.execute(END, {"length": length, "channel": channel_id})
        admin.execute(index)
    for table in ("public.messages", "public.message_events", "private.message_words"):
        admin.execute(f"vacuum analyze {table}")
    admin.execute("checkpoint")


def read(people: Sequence[Caller], long: UUID, sizes: Sizes, report: Report) -> None:
    """Pages at the end of the channel and deep in it, by cursor and by offset."""
    depth = sizes.depth
    page = {"channel_id": long, "limit": PAGE}
    ways = {
        "newest": page,
        f"before cursor, {depth:,} deep": {**page, "before": f"seq_{sizes.long_channel - depth + 2}"},
        f"offset {depth:,}": {**page, "offset": depth},
    }
    requests = {
        (way, person.name): person.get("/history", **parameters)
        for way, parameters in ways.items()
        for person in people
    }
    for _ in range(sizes.rounds):
        took = reading(people[0].url, requests, sizes, report)
        for (way, name), milliseconds in took.items():
            report.add("channel", f"history, {PAGE} of {sizes.long_channel:,}, {way}", "ms", name, milliseconds)
        for way in list(ways)[1:]:
            ratio = took[way, SERVICE] / took["newest", SERVICE]
            report.add("channel", f"history, {way} / newest", "x", SERVICE, ratio)


def search(person: Caller, long: UUID, sizes: Sizes, report: Report) -> None:
    """Search words in many, some and no messages of the channel."""
    texts = contents(DIFFERENT)
    words = [word for text in texts for word in text.split() if word.isascii() and len(word) > 3]
    common = max(sorted(set(words[:5000])), key=words[:5000].count)
    phrase = next(text for text in texts[100:] if text.isascii()).split()[:3]
    queries = {
        "a common word": common,
        "a rare word": RARE,
        "a phrase": f'"{" ".join(phrase)}"',
        "no such word": uuid4().hex,
        "either of two words that are nowhere": f"{uuid4().hex} OR {uuid4().hex}",
        "a common word of the first day": f"{common} before:2026-01-02",
        "what has a reaction, where nothing has": "has:reaction",
        "two characters of Chinese": next(text for text in texts if "订" in text)[:2],
    }
    requests = {name: person.get("/search", query=query, channel_id=long, limit=20) for name, query in queries.items()}
    for _ in range(sizes.rounds):
        for name, milliseconds in reading(person.url, requests, sizes, report).items():
            report.add("channel", f"search {sizes.long_channel:,} for {name}", "ms", SERVICE, milliseconds)


def reading(url: str, requests: Mapping[Case, bytes], sizes: Sizes, report: Report) -> dict[Case, float]:
    """Send the requests in turn, so that all share the same noise; return milliseconds."""
    report.waits.append(machine.becomes_quiet(sizes.quiet))
    answers, _ = load.send(url, [*requests.values()] * sizes.reads)
    if refused := next((answer for answer in answers if answer.status != 200), None):
        report.failures.append(f"FAILED: a read was answered {refused.status}: {refused.body[:200]!r}.")
    return {
        case: median(answer.milliseconds for answer in answers[index :: len(requests)])
        for index, case in enumerate(requests)
    }
