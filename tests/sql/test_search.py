"""Search finds messages in any language, and only for members."""

import json
from uuid import UUID

import pytest

from tests.support.calls import call, send
from tests.support.costs import working_at_most
from tests.support.database import Db, add_channel, become, lift_request_limit, rows, value

CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
MATTY = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
MALLORY = "3a110123-0000-4000-8000-000000000004"
SAID = {
    "plain": "The deployment of the staging environment is done",
    "accents": "Der Café-Besitzer zahlt später",
    "chinese": "明天上午我们讨论部署计划",
    "thai": "พรุ่งนี้เราจะประชุมเรื่องงบประมาณ",
    "link": "See https://example.com/report for the budget",
}


def say_all(db: Db) -> None:
    """Write all of SAID."""
    for content in SAID.values():
        db.execute(
            "insert into public.messages (channel_id, user_id, content) values (%s, %s, %s)", [CHANNEL, MATTY, content]
        )


def search(db: Db, user_id: str, query: str, **more: object) -> list[str]:
    """Search as a user; return the keys of SAID, best first."""
    with db.transaction(force_rollback=True):
        say_all(db)
        claims = json.dumps({"sub": user_id, "role": "authenticated"})
        db.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', 'authenticated', true)", [claims]
        )
        (answer,) = db.execute(
            "select public.search_messages(%s::jsonb)", [json.dumps({"query": query, **more})]
        ).fetchone()
        assert answer["success"]
        keys = {content: key for key, content in SAID.items()}
        return [keys[found["content"]] for found in answer["data"] if found["content"] in keys]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("deployment staging", ["plain"]),
        ('"staging environment"', ["plain"]),
        ('"environment staging"', []),
        ("deployment -staging", []),
        ("cafe", ["accents"]),
        ("spater", ["accents"]),
        ("部署", ["chinese"]),
        ("讨论部署", ["chinese"]),
        pytest.param("งบประมาณ", ["thai"], id="a Thai word"),
        ("budget has:link", ["link"]),
        ("from:me cafe", ["accents"]),
        ("from:bob cafe", []),
        ("from:@ cafe", []),
        ("budget -has:nothing", ["link"]),
        ("deployment or", []),
    ],
)
def test_search_finds_messages(db: Db, query: str, found: list[str]) -> None:
    assert search(db, MATTY, query) == found


def test_folding_leaves_plain_letters(db: Db) -> None:
    text = "\u210bello \u01c6 Stra\u00dfe \u00c6on \u0153uvre \u0141\u00f3d\u017a"
    assert value(db, "select private.fold_text(%s)", text) == "hello dz strasse aeon oeuvre lodz"


def test_excluded_author_leaves_twins_in_the_result(db: Db) -> None:
    twin = "select ai_twin_id::text from public.channel_twins limit 1"
    send(db, "unusual")
    sent = send(db, "unusual", ai_twin_id=value(db, twin))
    assert [found["id"] for found in call(db, "search_messages", query="unusual -from:me").data] == [sent]


def test_before_excludes_the_first_moment_of_the_day(db: Db) -> None:
    sent = send(db, "unusual")
    db.execute("update private.message_words set created_at = '2026-02-01' where message_id = %s", (sent,))
    days = ("before:2026-02-01", "after:2026-02-01", "before:2026-02-02", "after:2026-02-02")
    found = [len(call(db, "search_messages", query=f"unusual {day}").data) for day in days]
    assert found == [0, 1, 1, 0]
    assert call(db, "search_messages", query="unusual after:2026-02-02 after:2026-02-01").data == []


def test_pages_begin_with_the_best_rank(db: Db) -> None:
    best, second = send(db, "unusual unusual unusual"), send(db, "something unusual")
    pages = [call(db, "search_messages", query="unusual", limit=1, offset=offset).data for offset in (0, 1, 2)]
    assert [[found["id"] for found in page] for page in pages] == [[best], [second], []]


def test_thread_without_replies_left_is_no_thread(db: Db) -> None:
    sent = send(db, "unusual")
    reply = send(db, "reply", parent_message_id=sent)
    assert len(call(db, "search_messages", query="unusual has:thread").data) == 1
    call(db, "delete_message", id=reply)
    assert call(db, "search_messages", query="unusual has:thread").data == []


@pytest.mark.parametrize(
    "query",
    ["deployment", "budget OR 部署", "the -deployment", "งบประมาณ OR cafe"],
    ids=["a word", "English or Chinese", "an excluded word", "Thai or English"],
)
def test_both_search_plans_find_the_same(db: Db, query: str) -> None:
    say_all(db)
    span = "select (private.search_span(private.parse_search(%s), 0, 1000000, 1000, %s)).*"
    found = [db.execute(span, [query, by_words]).fetchone() for by_words in (False, True)]
    assert found[0] == found[1]
    assert found[0][0]


@pytest.mark.parametrize(
    "statement",
    [
        "update public.messages set deleted_at = now() where channel_id = %s",
        "delete from public.messages where channel_id = %s",
        "delete from public.channels where id = %s",
    ],
)
def test_deleted_messages_leave_the_index(db: Db, statement: str) -> None:
    known = "select count(*) from private.message_words where channel_id = %s"
    say_all(db)
    assert value(db, known, CHANNEL) >= len(SAID)
    db.execute(statement, [CHANNEL])
    assert value(db, known, CHANNEL) == 0


@pytest.mark.parametrize("count", [1, 254, 255, 16_383])
def test_words_are_indexed_with_positions(db: Db, count: int) -> None:
    # Words without vowels are their own stems.
    names = (str(place).translate(str.maketrans("0123456789", "bcdfghjklm")) for place in range(1, count))
    words = [*names, "x" * 300]
    query = "select lexeme, positions, weights from unnest(private.index_words(%s, '[]'))"
    indexed = {lexeme: found for lexeme, *found in rows(db, query, " ".join(words))}
    is_long = indexed.pop(":long", "no")
    assert indexed == {word[:255]: [[place], ["A"]] for place, word in enumerate(words, 1)}
    assert is_long == ([None, None] if count == 16_383 else "no")


def test_symbols_are_indexed_beside_the_words(db: Db) -> None:
    indexed = "select private.index_words(%s, %s)::text"
    assert value(db, indexed, "See HTTPS://a", '[{"id": 1}]') == "':file' ':link' 'a':3A 'https':2A 'see':1A"
    assert value(db, indexed, "ftp://https a:b", "[]") == "'a':3A 'b':4A 'ftp':1A 'https':2A"
    assert value(db, indexed, "!", None) == ""
    # The index keeps 255 positions of a word.
    assert value(db, indexed, "a " * 254, None).count(":") == 1
    assert value(db, indexed, "a " * 255, None).startswith("':long' ")


def test_phrase_finds_a_message_that_lost_places(db: Db) -> None:
    send(db, "lo " * 300 + "hi")
    assert len(call(db, "search_messages", query='"lo hi"').data) == 1
    assert call(db, "search_messages", query='"lo hi there"').data == []


def test_non_member_finds_nothing(db: Db) -> None:
    assert search(db, MALLORY, "deployment") == []
    # The function has the rights of its owner, so it must not even return ids.
    become(db, MALLORY)
    assert value(db, "select ids from private.search_messages(private.parse_search('the'))") == []


@pytest.mark.parametrize(
    "query", ['"', "-", "from:", "has:nothing", "before:never", "' or 1=1 --", "& | ! <->", ":*", "部"]
)
def test_any_text_is_a_valid_query(db: Db, query: str) -> None:
    search(db, MATTY, query, channel_id=str(UUID(CHANNEL)))


WORDS = [f"w{number}x" for number in range(200)]


@pytest.mark.parametrize(
    ("content", "query"),
    [
        (" ".join(WORDS * 34)[:39_900], " ".join(WORDS)),
        (" ".join(WORDS * 34)[:39_900], " OR ".join(WORDS[:100])),
        (" ".join(f"{word} " * 250 for word in WORDS[:30])[:39_900], " ".join(WORDS[:30])),
        (" ".join(WORDS * 34)[:39_900], '"' + " ".join(WORDS[:150]) + '"'),
        ("\u6f22" * 39_900, "\u6f22 " * 330),
    ],
    ids=["all words", "any word", "blocks of words", "phrase", "han"],
)
def test_ranking_time_has_a_bound(db: Db, content: str, query: str) -> None:
    lift_request_limit(db)
    for _ in range(20):
        send(db, content)
    with working_at_most(2, db):
        reply = call(db, "search_messages", MATTY, query=query[:1000])
    assert (reply.status, reply.meta["total"]) == (200, 20)


def test_parsing_time_has_a_bound(db: Db) -> None:
    lift_request_limit(db)
    db.execute(
        "insert into public.channels (name, created_by) select 'Caf\u00e9 ' || n, %s from generate_series(1, 300) as n",
        (MATTY,),
    )
    db.execute(
        """
        insert into public.messages (channel_id, user_id, content)
        select %s, %s, chr(28450 + n %% 500) || chr(20000 + n %% 700) || n from generate_series(1, 2000) as n
        """,
        (CHANNEL, MATTY),
    )
    for query in ("-in:x " * 160, "-from:x " * 120, "-\u6f22 " * 330, "-\u6f22\u5b57 " * 200):
        with working_at_most(2, db):
            assert call(db, "search_messages", MATTY, query=query[:1000]).status == 200


def test_newest_messages_are_ranked_first(db: Db) -> None:
    send(db, "far apart " + "and " * 50 + "words")
    send(db, "apart words")
    found = call(db, "search_messages", MATTY, query="apart words").data
    assert [len(each["content"]) for each in found] == [11, 215]


@pytest.mark.parametrize("name", ["Quarter", "#quarter"])
def test_channel_is_named_with_or_without_its_sign(db: Db, name: str) -> None:
    there = send(db, "needle", channel_id=add_channel(db, "Quarter", [MATTY]))
    send(db, "needle")
    assert [found["id"] for found in call(db, "search_messages", query=f"needle in:{name}").data] == [there]
