"""Texts and numbers that would cost far more than their size, and rows that fail: workers go on with the others."""

import json
import re
import sys
import unicodedata
from typing import Any

import psycopg
import pytest

from tests.support.calls import ask, call, ingest, post, send
from tests.support.database import Db, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.world import CHANNEL, MATTY, TWIN, UNKNOWN_ID

POISON = "program_limit_exceeded"


def break_function(db: Db, signature: str, when: str = "true", error: str = POISON) -> None:
    """Let a function fail for some of its arguments; otherwise it does what it did."""
    source = value(db, "select pg_get_functiondef(%s::regprocedure)", signature)
    guard = f"\nbegin\n    if {when} then\n        raise {error};\n    end if;\n"
    db.execute(re.sub(r"\nbegin\n", lambda _: guard, source, count=1))


MARKS = {
    "marks": "\u0300\u0316",
    "removed between": "\u0f71\u0f39\u200b",
    "removed after folding": "\u0f71\u0f39\ufe71",
    "half width": "\uff9e\u0f39",
    "music": "\U0001d165\U0001d16d",
}


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
def test_marks_in_a_row_are_cut_before_they_are_sorted(db: Db, marks: str) -> None:
    assert value(db, "select char_length(private.fold_text(%s, true))", f"a{marks * 500}b") <= 10


def test_each_combining_mark_is_cut(db: Db) -> None:
    marks = [chr(code) for code in range(sys.maxunicode) if unicodedata.combining(chr(code))]
    query = """
        select mark from unnest(%s::text[]) as mark
        where char_length(private.shorten_marks(repeat(mark, 600))) > 8
    """
    assert len(marks) > 900
    assert rows(db, query, marks) == []


def test_ordinary_marks_stay(db: Db) -> None:
    text = (
        "Vi\u1ec7t Nam e\u0302\u0323 "
        "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd "
        "\u0915\u094d\u0937\u093f "
        "\u0e17\u0e35\u0e48 "
        "\U0001f44d\U0001f3fd "
    ) * 40
    assert len(text.encode()) > 1000
    assert value(db, "select private.shorten_marks(%s)", text) == text


def test_long_text_is_indexed_to_a_number_of_bytes(db: Db) -> None:
    words = "select octet_length(array_to_string(private.split_words(%s), ''))"
    assert value(db, words, "\U00020000\U00020001 " * 30_000) < 270_000
    assert value(db, words, "a " * 60_000) == 50_000


def test_text_that_cannot_be_indexed_stops_no_other(db: Db) -> None:
    break_function(db, "private.index_words(text,jsonb,text)", "p_content = 'poison'")
    ingest(db, conversation(message("m1", content="poison"), message("m2", content="zebra")))
    assert ask(db, None, "index_conversations") == {"indexed": 1, "reindexed": 0}
    hits = call(db, "search_conversations", query="zebra").data
    assert [hit["message"]["id"] for hit in hits] == ["m2"]
    assert value(db, "select count(*) from private.word_backlog") == 0


def test_change_that_cannot_be_indexed_stops_no_other(db: Db) -> None:
    # The words of the first change cannot be written, whatever its text is.
    ingest(db, conversation(message("m1", content="zebra")))
    db.execute("alter table private.conversation_words add constraint narrow check (external_id <> 'm1')")
    ingest(db, conversation(message("m2", content="zebra")))
    assert ask(db, None, "index_conversations")["indexed"] == 2
    hits = call(db, "search_conversations", query="zebra").data
    assert [hit["message"]["id"] for hit in hits] == ["m2"]
    assert value(db, "select count(*) from private.word_backlog") == 0


def test_lock_keeps_a_change_in_the_backlog(db: Db) -> None:
    ingest(db, conversation(message("m1", content="zebra")))
    break_function(db, "private.index_words(text,jsonb,text)", error="lock_not_available")
    with pytest.raises(Exception, match="lock_not_available"), db.transaction():
        ask(db, None, "index_conversations")
    assert value(db, "select count(*) from private.word_backlog") == 1


def test_message_in_a_former_language_stops_no_other(db: Db) -> None:
    poison, other = send(db, "poison runs"), send(db, "zebra runs")
    db.execute("update public.channels set language = 'de' where id = %s", (CHANNEL,))
    break_function(db, "private.index_words(text,jsonb,text)", "p_content = 'poison runs'")
    assert ask(db, None, "index_conversations", limit=1000)["reindexed"] > 1
    words = "select words::text from private.message_words where message_id = %s"
    assert value(db, words, poison) == ""
    assert "zebra" in value(db, words, other)
    assert value(db, "select count(*) from private.language_backlog") == 0


def test_long_words_make_no_large_expression(db: Db) -> None:
    texts = [f"z{letter * 3999}" for letter in "abcdefghij"] + [f"zebra z{n}{'y' * 200}" for n in range(100)]
    pattern = value(db, "select private.mark_pattern(%s, '''z'':*'::tsquery, '{pg_catalog.english_stem}')", texts)
    assert len(pattern) < 5000
    assert "zebra|" in pattern


def test_long_query_makes_no_large_expression(db: Db) -> None:
    pairs = " & ".join(f"'{chr(code)}{chr(code + 1)}'" for code in range(0x4E00, 0x4E00 + 1000))
    pattern = value(db, "select private.mark_pattern('{text}', %s::tsquery, '{pg_catalog.english_stem}')", pairs)
    assert pattern.count("(?=") == 64


@pytest.mark.parametrize(("length", "is_marked"), [(255, True), (256, False)])
def test_longest_word_of_an_entry_is_marked(db: Db, length: int, is_marked: bool) -> None:
    word = "z" * length
    pattern = value(db, "select private.mark_pattern(%s, %s::tsquery, '{pg_catalog.english_stem}')", [word], word)
    assert (word in (pattern or "")) is is_marked


def test_snippet_marks_the_shortest_of_many_words(db: Db) -> None:
    send(db, "zb " + " ".join(f"zb{number:03}" for number in range(300)))
    [hit] = call(db, "search_messages", query="zb*", channel_id=CHANNEL).data
    assert hit["snippet"].startswith("<mark>zb</mark> ")


def test_search_marks_short_words_beside_long_ones(db: Db) -> None:
    send(db, "z" * 3000 + " zebra")
    [hit] = call(db, "search_messages", query="z*", channel_id=CHANNEL).data
    assert hit["snippet"]
    send(db, "zebra " + "z" * 3000)
    assert "<mark>zebra</mark>" in call(db, "search_messages", query="z*", channel_id=CHANNEL).data[0]["snippet"]


# jsonb cannot hold this number, so the errors show that Postgres made no jsonb of the whole body.
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "Invalid API key"),
        ({"platform": "telegram"}, "Invalid connection_id or platform"),
        ({"platform": ["x"]}, "Invalid connection_id or platform"),
        ({"connection_id": {"x": 1}}, "Invalid connection_id or platform"),
        ({"platform": None}, "Missing required fields: platform, connection_id, conversations"),
        ({"conversations": None}, "Missing required fields: platform, connection_id, conversations"),
        ({"conversations": {}}, "conversations must be an array"),
        ({"conversations": 5}, "conversations must be an array"),
    ],
)
def test_body_with_a_wrong_key_is_not_sorted(db: Db, fields: dict[str, Any], error: str) -> None:
    body = json.dumps(request(conversation(message())) | fields).removesuffix("}") + ', "z": 1e999999}'
    reply = post(db, body.encode(), "wrong")
    assert (reply.status, reply.body["error"]) == (401 if error.startswith("Invalid") else 400, error)


def test_key_that_becomes_valid_during_a_request_is_refused(db: Db) -> None:
    db.execute("""
        create or replace function private.is_valid_key(p_secret text) returns boolean
        language plpgsql stable as 'begin return false; end'
    """)
    assert ingest(db, conversation(message())).answer == (401, {"error": "Invalid API key"})


@pytest.mark.parametrize("body", ["[]", "5", "null", '"platform"', "{}"])
def test_other_json_with_a_wrong_key_lacks_fields(db: Db, body: str) -> None:
    error = {"error": "Missing required fields: platform, connection_id, conversations"}
    assert post(db, body.encode(), "wrong").answer == (400, error)


def test_plain_numbers_of_a_request_are_not_read_one_by_one(db: Db) -> None:
    break_function(db, "private.has_huge_number(jsonb)")
    assert call(db, "list_my_channels", limit=5, numbers=[0, -1.5, 1e20, "1e5"]).status == 200
    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        call(db, "list_my_channels", body=b'{"numbers": [1e100]}')


def test_numbers_of_a_large_field_are_not_read(db: Db) -> None:
    break_function(db, "private.has_huge_number(jsonb)")
    numbers = "(select jsonb_agg(0) from generate_series(1, 20000))"
    assert value(db, f"select private.fits({numbers}, 16384)") is False
    reply = call(db, "create_message", channel_id=CHANNEL, content="x", metadata={"a": [0] * 20000})
    assert reply.error == (413, "metadata_too_large", "metadata")


@pytest.mark.parametrize("value_", ['""', "[]", "{}", "0", "null", "[0]", '{"a":0}', '{"":[]}', '{"a":{"":0}}'])
def test_json_takes_at_most_eight_times_its_text(db: Db, value_: str) -> None:
    array = f"('[' || repeat('{value_},', 5000) || '0]')::jsonb"
    assert value(db, f"select pg_column_size({array}) <= 8 * octet_length(({array})::text)")


def test_failing_part_of_a_clean_up_stops_no_other(db: Db) -> None:
    break_function(db, "private.delete_history(integer)", error="division_by_zero")
    db.execute("insert into private.request_counts (user_id, minute, used) values (%s, '2020-01-01', 1)", (MATTY,))
    warnings: list[str | None] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        warnings.append(notice.message_primary)

    db.add_notice_handler(keep)
    removed = value(db, "select private.clean_up(100)")
    db.remove_notice_handler(keep)
    assert warnings == ["The clean-up of history failed with SQLSTATE 22012. A later round tries again."]
    assert "summaries" not in removed
    assert (removed["request_counts"], removed["late_matches"]) == (1, 0)


def test_late_match_that_fails_stops_no_other_workspace(db: Db) -> None:
    ingest(db, conversation(message()))
    first, last = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
    [(known,)] = db.execute("select id from public.conversations where external_conversation_id = 'chat'").fetchall()
    db.execute(
        "insert into private.late_matches (conversation_id, workspace_id) values (%s, %s), (%s, %s)",
        (known, first, UNKNOWN_ID, last),
    )
    break_function(db, "private.update_matches(uuid[])", "p_ids <> '{}'", "division_by_zero")
    warnings: list[str | None] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        warnings.append(notice.message_primary)

    db.add_notice_handler(keep)
    value(db, "select private.clean_up(100)")
    db.remove_notice_handler(keep)
    assert rows(db, "select workspace_id::text from private.late_matches") == [first]
    # The text of an error may quote a row.
    assert warnings == [f"Late matches of workspace {first} failed with SQLSTATE 22012. A later round tries again."]


def test_files_of_a_conversation_that_fails_stop_no_other(db: Db) -> None:
    break_function(
        db, "private.settle_media(uuid[],integer)", "p_ids is null or cardinality(p_ids) > 1", "division_by_zero"
    )
    assert value(db, "select private.settle_all_media(100)") == ""
    ingest(db, conversation(message()))
    db.execute(
        "insert into private.late_matches (conversation_id, workspace_id)"
        " select id, workspace_id from public.conversations where external_conversation_id = 'chat'"
    )
    assert value(db, "select private.clean_up(100)")["late_matches"] == 1


def test_message_that_cannot_be_rendered_stops_no_other(db: Db) -> None:
    ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example.com/hook")
    message_id = send(db, "Hello")
    break_function(db, "private.render_message(public.messages)", error="lock_not_available")
    with pytest.raises(Exception, match="lock_not_available"), db.transaction():
        ask(db, None, "claim_deliveries")
    break_function(db, "private.render_message(public.messages)", error="statement_too_complex")
    [delivery] = ask(db, None, "claim_deliveries")
    body = json.loads(delivery["body"])
    assert (body["id"], body["channel_id"], body["event"]) == (message_id, CHANNEL, "message.created")
    assert delivery["headers"]["threadline-signature"]
