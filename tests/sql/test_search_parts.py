"""The parts of search one by one: the words of a query and of a message, the reading of the index, and the marks."""

import json

import pytest

from tests.support.calls import call, ingest, send
from tests.support.database import Db, add_channel, become_service, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import BOB, CHANNEL, MATTY

PARSE = "select private.parse_search(%s, '{pg_catalog.english_stem}', %s) as found"
# A query, and the words that it asks for.
WORDS = {
    "one two": "'one' & 'two'",
    "stag*": "'stag':*",
    "c++ code": "'c++' & 'code'",
    "wi-fi": "'wi' <-> 'fi' | 'wifi'",
    "--flag": "'--flag'",
    "-no yes": "!'no' & 'yes'",
    "running": "'running' | 'run'",
    "a OR b c": "'a' | 'b' & 'c'",
    "or a": "'or' & 'a'",
    "a or or b": "'a' | 'or' & 'b'",
    "a or b or": "'a' | 'b' & 'or'",
    "from:unknown x": "'from' <-> 'unknown' & 'x'",
    '"a b"': "'a':AB <-> 'b':AB",
    "\u00aba b\u00bb": "'a':AB <-> 'b':AB",
    "\u201ea b\u201f": "'a':AB <-> 'b':AB",
    "\u301da b\u301e": "'a':AB <-> 'b':AB",
    "a -or b": "'a' & !'or' & 'b'",
    'a "or" b': "'a' & 'or':AB & 'b'",
    "a or ! b": "'a' | 'b'",
    "a or -b": "'a' | !'b'",
    "a or !": "'a' & 'or'",
    "a b or c d": "'a' & 'b' | 'c' & 'd'",
    '-"a b"': "!( 'a':AB <-> 'b':AB )",
    '"running': "'running':AB",
    "stag** x": "'stag':* & 'x'",
    "* a": "'a'",
    "wi-fi*": "'wi' <-> 'fi':* | 'wifi':*",
    '"wi-fi"': "'wi':AB <-> 'fi':AB",
    "a-b c": "( 'a' <-> 'b' | 'ab' ) & 'c'",
    "tests-x": "'tests' <-> 'x' | 'testsx'",
    "running*": "'running':* | 'run'",
    "c++*": "'c++':*",
    '"c++ x"': "'c':AB <-> 'x':AB & 'c++'",
    "x-2.0": "'x' <-> '2' <-> '0' & '2.0'",
    "V2.0": "'2.0'",
    "-c++": "!'c++'",
    "--no-verify": "( 'no' <-> 'verify' | 'noverify' ) & '--no-verify'",
    "-from:unknown x": "!( 'from' <-> 'unknown' ) & 'x'",
    "before:never x": "'before' <-> 'never' & 'x'",
    "has:reaction from:unknown x": "'from' <-> 'unknown' & 'x'",
    "has:this x": "'has' <-> 'this' & 'x'",
    "mentions:unknown x": "'mentions' <-> 'unknown' & 'x'",
    'in:"x y" z': "'in':AB <-> 'x':AB <-> 'y':AB & 'z'",
    "file:! x": "'file' & 'x'",
    "x -from:": "'x' & !'from'",
    "from:x*": "'from' <-> 'x':*",
    "\uff02a b\uff02": "'a':AB <-> 'b':AB",
    "\uff57\uff49\uff44\uff45": "'wide'",
    # In a script without spaces, the first character of a word may have others before it, and the last may go on.
    "\u90e8 x": "'\u90e8':* & 'x'",
    "\u90e8\u7f72": "'\u90e8\u7f72'",
    '"\u90e8"': "'\u90e8':*AB",
    '"\u90e8\u7f72 x"': "'\u90e8\u7f72':AB <-> '\u7f72':AB <-> 'x':AB",
    '"x\u90e8"': "'x':AB <-> '\u90e8':AB",
    "\u90e8\u7f72\u8ba1": "'\u90e8\u7f72' <-> '\u7f72\u8ba1'",
    # To limit the cost, what comes later is left out: words after the 64th, names after the 10th, beginnings after the
    # 8th.
    " ".join(f"w{n}" for n in range(66)): " & ".join(f"'w{n}'" for n in range(64)),
    " ".join(f"from:x{n}" for n in range(12)): " & ".join(f"'from' <-> 'x{n}'" for n in range(10)),
    " ".join(f"p{n}*" for n in range(10)): " & ".join(f"'p{n}':*" for n in range(8)),
    " ".join(map(chr, range(0x4E00, 0x4E0A))): " & ".join(f"'{chr(n)}':*" for n in range(0x4E00, 0x4E08)),
}


def test_query_becomes_words(db: Db) -> None:
    query = f"select found.words::text from ({PARSE}) as parsed cross join lateral (select (parsed.found).*) as found"
    assert {text: value(db, query, text, False) for text in WORDS} == WORDS
    typed = {
        "one two": "'one' & 'two':*",
        "one two ": "'one' & 'two'",
        'x "run': "'x' & 'run':*AB",
        "x -ru": "'x' & !'ru':*",
        "a or b": "'a' | 'b':*",
        "from:x": "'from' <-> 'x':*",
        "#1": "'#1':*",
    }
    assert {text: value(db, query, text, True) for text in typed} == typed


def test_name_of_a_file_is_searched_in_names_only(db: Db) -> None:
    query = f"select (found).tags::text from ({PARSE}) as parsed"
    names = {"file:v2.0": "'v2':B <-> '0':*B", "file:rep-7": "'rep':B <-> '7':*B", "file:c++": "'c':*B"}
    assert {text: value(db, query, text, False) for text in names} == names


def test_exact_name_of_an_author_comes_first(db: Db) -> None:
    twin = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'Bob') returning id", MATTY)
    part = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'Bobby') returning id", MATTY)
    find = "select array(select unnest(private.find_authors(%s)) order by 1)"
    assert value(db, find, "@bob") == [twin]
    assert value(db, find, "bobb") == [part]
    become_service(db)
    assert rows(db, "select private.find_authors('me')") == [None]


@pytest.mark.parametrize(
    ("content", "names", "words"),
    [
        ("one two", [], "'one':1A 'two':2A"),
        # No phrase goes on from the text into a sign or a name, or from one name into the next.
        (
            "monthly c++",
            ["one.txt", "two"],
            "':file' 'c':2A 'c++':4A 'month':1 'monthly':1A 'one':5B 'two':7B 'txt':6B",
        ),
        ("x", ["a " * 90 + "end"], "':file' 'a':" + ",".join(f"{n}B" for n in range(4, 94)) + " 'end':94B 'x':1A"),
    ],
    ids=["text", "sign and files", "long name"],
)
def test_message_becomes_words(db: Db, content: str, names: list[str], words: str) -> None:
    files = json.dumps([{"name": name} for name in names])
    assert value(db, "select private.index_words(%s, %s, 'english')::text", content, files) == words


@pytest.mark.parametrize(
    ("words", "marked", "beginnings"),
    [("'a' & !'b'", ["a"], None), ("':long' & 'a'", ["a"], None), ("'ab':* & 'cd':A", ["cd"], "^(ab)")],
)
def test_marks_are_the_words_that_a_hit_has(db: Db, words: str, marked: list[str], beginnings: str | None) -> None:
    (found,) = rows(db, "select words, beginnings from private.list_marks(%s::tsquery)", words)
    assert found == (marked, beginnings)


def test_neighbours_are_the_first_pairs_of_a_query(db: Db) -> None:
    pairs = [chr(code) + chr(code + 1) for code in range(0x4E00, 0x4E00 + 130, 2)]
    query = " & ".join(f"'{pair}'" for pair in [*pairs, pairs[0]])
    found = value(db, "select neighbours from private.list_marks(%s::tsquery)", query)
    assert [part.partition("(")[0] for part in found.split("|") if "<=" not in part] == [pair[0] for pair in pairs[:64]]


def test_snippet_begins_and_ends_with_a_word(db: Db) -> None:
    text = "word " + "filler " * 20 + "hit " + "more " * 60
    shown = value(db, "select private.render_snippet(%s, 'hit')", text)
    assert shown == "\u2026" + "filler " * 8 + "<mark>hit</mark> " + " ".join(["more"] * 36) + "\u2026"


# The reading of the index


@pytest.mark.parametrize("by_words", [False, True])
def test_span_holds_its_last_number_and_not_its_first(db: Db, by_words: bool) -> None:
    ids = [send(db, f"zebra {number}") for number in range(3)]
    first, _, last = (
        value(db, "select number from private.message_words where message_id = %s", message_id) for message_id in ids
    )
    span = f"select private.search_span(parsed.found, %s, %s, %s, %s) as span from ({PARSE}) as parsed"
    for most, found in ((10, ids[:0:-1]), (1, ids[:1:-1])):
        assert value(
            db, f"select (span).ids::text[] from ({span}) as x", first, last, most, by_words, "zebra", False
        ) == (found)


def test_search_reads_back_without_a_gap(db: Db) -> None:
    newest = send(db, "newest")
    db.execute(
        "with gone as (delete from private.message_words where message_id = %s returning *)"
        " insert into private.message_words (message_id, channel_id, created_at, words, number)"
        " overriding system value select message_id, channel_id, created_at, words, 1000000 from gone",
        (newest,),
    )
    # Answers the two numbers, and 400 hits.
    db.execute("""
        create or replace function private.search_span(
            p_search private.message_search, p_from bigint, p_to bigint, p_max integer, p_by_words boolean,
            out ids uuid[], out ranks real[]
        )
        language plpgsql stable set search_path = pg_catalog, pg_temp
        as $$
        begin
            ids := array_fill(gen_random_uuid(), array[least(p_max, 400)]);
            ranks := array[p_from, p_to];
        end
        $$
        """)
    (found,) = rows(db, "select cardinality(ids), ranks from private.search_index(null::private.message_search)")
    assert found == (1000, [995_000, 1_000_000, 955_000, 995_000, 635_000, 955_000])


def test_search_in_very_many_channels_stays_in_them(db: Db) -> None:
    db.execute("""
        create or replace function private.few_channels() returns integer
        language plpgsql immutable set search_path = pg_catalog, pg_temp
        as 'begin return 0; end'
        """)
    mine = send(db, "zebra here")
    send(db, "zebra elsewhere", channel_id=add_channel(db, "elsewhere", [MATTY]))
    assert [hit["id"] for hit in call(db, "search_messages", BOB, query="zebra").data] == [mine]
    assert [hit["id"] for hit in call(db, "search_messages", None, query="zebra", channel_id=CHANNEL).data] == [mine]


def test_search_of_the_service_reads_no_conversations(db: Db) -> None:
    mine = send(db, "zebra")
    ingest(db, conversation(message("1", content="zebra")))
    while value(db, "select private.index_conversations(1000)"):
        pass
    found = call(db, "search_conversations", MATTY, query="zebra").data
    assert len(found) == 1
    become_service(db)
    ids = f"select (private.search_messages(parsed.found)).ids::text[] from ({PARSE}) as parsed"
    assert value(db, ids, "zebra", False) == [mine]


def test_older_change_of_a_language_comes_first(db: Db) -> None:
    while value(db, "select private.index_languages(1000)"):
        pass
    assert value(db, "select private.index_languages(1000)") == 0
    channels = [add_channel(db, name, [MATTY]) for name in ("first", "second")]
    for channel_id in channels:
        for content in ("one", "two"):
            send(db, content, channel_id=channel_id)
        db.execute("update public.channels set language = 'de' where id = %s", (channel_id,))
    waiting = """
        select channel_id::text, messages, indexed_at > created_at + interval '1 ms'
        from private.language_backlog order by created_at
    """
    assert rows(db, waiting) == [(channels[0], 2, False), (channels[1], 2, False)]
    assert value(db, "select private.index_languages(1)") == 1
    assert rows(db, waiting) == [(channels[0], 1, True), (channels[1], 2, False)]
    assert [value(db, "select private.index_languages(1)") for _ in range(2)] == [1, 0]
    assert rows(db, waiting) == [(channels[1], 2, False)]
