"""Search finds words as people write them: their forms, beginnings, signs, joined and split."""

from typing import Any

import psycopg
import pytest

from tests.support.calls import ask, call, send
from tests.support.cluster import TestCluster
from tests.support.database import (
    Db,
    add_channel,
    become,
    become_postgres,
    become_service,
    lift_request_limit,
    rows,
    value,
)
from tests.support.world import BOB, CHANNEL, MALLORY, MATTY, WORKSPACE

LANGUAGES = {
    "channel": "update public.channels set language = %s",
    "workspace": "update public.workspaces set language = %s",
    "project": "update private.settings set default_language = %s",
}

INSERT = """
insert into public.messages (channel_id, content)
select '550e8400-e29b-41d4-a716-446655440000', content from unnest(%s::text[]) as content returning id
"""
AGREES = """
select entry.words = private.index_words(message.content, message.attachments, counter.language)
from public.messages as message
inner join private.message_words as entry on message.id = entry.message_id
inner join private.channel_counters as counter on message.channel_id = counter.channel_id
where message.id = any(%s)
"""

NINE = " ".join(2 * each for each in "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d")

# The messages and a query; the expected hits begin with a star.
CASES: dict[str, tuple[str, list[str]]] = {
    "the example of the API document": ("deployment", ["*Deploy the staging environment and run integration tests."]),
    "plural": ("test", ["*all tests passed", "attest"]),
    "singular": ("tests", ["*one test failed"]),
    "stop word": ("the who", ["*The Who played", "who played"]),
    "several forms": ("deploying environments", ["*we deploy an environment", "we deploy"]),
    "excluded form": ("staging -deployments", ["*staging is up", "deploy staging"]),
    "exact form in quotes": ('"deployment"', ["*the deployment", "deploy it"]),
    "exact phrase": ('"staging environment"', ["*a staging environment", "environment staging", "stage environments"]),
    "hyphen is not a word of another script": (
        "test-deploy",
        ["*test deploy", "*tests deploy", "tests \u043f\u0440\u0438 deploy"],
    ),
    "beginning": ("stag*", ["*staging", "*stages", "a postage"]),
    "beginning of a form": ("stagin*", ["*staging", "stage"]),
    "beginning in a phrase": ("release-no*", ["*release notes", "release me"]),
    "C++": ("C++", ["*I like C++", "C is old", "C# is new", "*C++20"]),
    "C#": ("c#", ["C++", "*(C#)", "C", "*C#, they say"]),
    "F#": ("F#", ["F", "*F# and OCaml"]),
    ".NET": (".NET", ["a net", "*on .NET 8", "the .network"]),
    "number with a hash": ("#123", ["*see #123", "123", "#1234"]),
    "number without a hash": ("123", ["*see #123", "*123"]),
    "name": ("@ann", ["*ask @ann", "ann", "me@ann.example"]),
    "flag": ("--no-verify", ["*git commit --no-verify", "no verify", "commit"]),
    "flag in running text": ("commit --no-verify", ["*git commit --no-verify", "git commit"]),
    "short flag in quotes": ('"-rf"', ["*rm -rf /", "rf"]),
    "identifier": ("a_b", ["*a_b = 1", "a b", "*x.a_b_c"]),
    "part of an identifier": ("user_id", ["*the acting_user_id", "user id"]),
    "path": ("/etc/nginx/nginx.conf", ["*cat /etc/nginx/nginx.conf", "nginx"]),
    "part of a path": ("nginx.conf", ["*cat /etc/nginx/nginx.conf", "conf nginx"]),
    "address": ("bob.smith@example.com", ["*mail bob.smith@example.com", "bob smith"]),
    "part of an address": ("example.com", ["*mail bob.smith@example.com", "example"]),
    "URL": ("https://example.com/a-b?c=d", ["*see https://example.com/a-b?c=d.", "https://example.com/"]),
    "part of a URL": ("report", ["*https://example.com/report?x=1"]),
    "version": ("2.0", ["*v2.0 is out", "*2.0", "20", "2 0", "*2.0.1"]),
    "version with a letter": ("v2.0", ["*v2.0 is out", "*2.0"]),
    "version of three numbers": ("1.2.3", ["*1.2.3", "1.2", "1 2 3"]),
    "decimal": ("1234.56", ["*1,234.56 EUR", "*1234.56", "1234 56"]),
    "grouped decimal": ("1,234.56", ["*1234.56", "*1,234.56"]),
    "grouped number": ("1234", ["*1,234 users", "1.234"]),
    "joined": ("wifi", ["*the Wi-Fi is down", "*wifi"]),
    "split": ("wi-fi", ["*the Wi-Fi is down", "*wifi", "*wi fi"]),
    "name with an apostrophe": ("OBrien", ["*ask O'Brien", "*ask O\u2019Brien", "*OBrien"]),
    "dash inside a word": ("well-known", ["*a well-known fact", "known well"]),
    "exclusion": ("fact -known", ["a known fact", "*a fact"]),
    "dash without a word": ("a - b", ["*a b", "a"]),
    "Arabic article": (
        "\u0643\u062a\u0627\u0628",
        ["*\u0627\u0644\u0643\u062a\u0627\u0628", "*\u0648\u0627\u0644\u0643\u062a\u0627\u0628"],
    ),
    "Arabic article in the query": ("\u0627\u0644\u0643\u062a\u0627\u0628", ["*\u0643\u062a\u0627\u0628"]),
    "Hebrew prefixes": (
        "\u05e1\u05e4\u05e8",
        ["*\u05d4\u05e1\u05e4\u05e8", "*\u05d5\u05d1\u05e1\u05e4\u05e8", "\u05e1\u05e4\u05e8\u05d9\u05dd"],
    ),
    "German compound": ("Haupt*", ["*der Hauptbahnhof", "\u00fcberhaupt"]),
    "Korean": ("\ud504\ub85c", ["*\uc6f9\ud504\ub85c\uc81d\ud2b8", "\ud504\ub7ab"]),
    # At most eight words of a query may be unfinished.
    "nine words in Chinese": (NINE, [f"*{NINE}", NINE[:-2]]),
    "Chinese": ("\u90e8\u7f72", ["*\u660e\u5929\u8ba8\u8bba\u90e8\u7f72\u8ba1\u5212", "\u90e8\u95e8"]),
    "accents": ("cafe resume", ["*R\u00e9sum\u00e9 du caf\u00e9"]),
}


def hits(db: Db, query: str, **more: Any) -> list[str]:
    return [hit["content"] for hit in call(db, "search_messages", query=query, **more).data]


def found(db: Db, query: str, contents: list[str], **more: Any) -> None:
    """Write messages, and assert that a search finds those with a star."""
    lift_request_limit(db)
    for content in contents:
        send(db, content.removeprefix("*"))
    expected = {content[1:] for content in contents if content[0] == "*"}
    assert set(hits(db, query, **more)) & {content.removeprefix("*") for content in contents} == expected


def set_language(db: Db, holder: str, language: str) -> None:
    """Set the language of the channel, its workspace, or the project, as the only one."""
    become_postgres(db)
    db.execute("update public.workspaces set language = null")
    db.execute(LANGUAGES[holder], (language,))


@pytest.mark.parametrize(("query", "contents"), CASES.values(), ids=CASES)
def test_search_finds_what_people_mean(db: Db, query: str, contents: list[str]) -> None:
    found(db, query, contents)


@pytest.mark.parametrize(
    ("query", "contents"),
    [
        ("stagi", ["*staging", "stable"]),
        ("the stagi", ["*the staging", "staging"]),
        ("stag ", ["staging", "*a stag"]),
        ("release #12", ["*release #123", "release 123"]),
    ],
    ids=["a word", "the last of two", "finished by a space", "with a sign"],
)
def test_last_word_may_be_unfinished(db: Db, query: str, contents: list[str]) -> None:
    found(db, query, contents, prefix="true")


@pytest.mark.parametrize(
    ("language", "query", "contents"),
    [
        ("de", "Haus", ["*viele H\u00e4user", "Hausboot"]),
        ("es", "aplicaciones", ["*una aplicaci\u00f3n"]),
        ("fr-CA", "d\u00e9ployer", ["*il est d\u00e9ploy\u00e9"]),
        ("fr", "d\u00e9ploy\u00e9", ["*\u00e0 d\u00e9ployer"]),
        (
            "ru",
            "\u043d\u043e\u0432\u0430\u044f \u043a\u043d\u0438\u0433\u0430",
            ["*\u043d\u043e\u0432\u044b\u0439 \u043f\u043b\u0430\u043d \u043a\u043d\u0438\u0433\u0438"],
        ),
        ("pl", "kot", ["*kot", "koty"]),
    ],
    ids=["de", "es", "fr-CA", "fr", "ru", "pl"],
)
@pytest.mark.parametrize("holder", LANGUAGES)
def test_channel_has_its_language(db: Db, holder: str, language: str, query: str, contents: list[str]) -> None:
    set_language(db, holder, language)
    found(db, query, contents)


def test_language_of_a_channel_comes_before_its_workspace(db: Db) -> None:
    set_language(db, "channel", "de")
    db.execute(LANGUAGES["workspace"], ("ru",))
    found(db, "Haus", ["*viele H\u00e4user"])


def test_channel_that_moves_gets_the_language_of_its_workspace(db: Db) -> None:
    moved = add_channel(db, "moved", [MATTY])
    db.execute("update public.workspaces set language = 'de' where id = %s", (WORKSPACE,))
    db.execute("update public.channels set workspace_id = %s where id = %s", (WORKSPACE, moved))
    send(db, "viele H\u00e4user", channel_id=moved)
    assert hits(db, "Haus", channel_id=moved) == ["viele H\u00e4user"]


def test_each_channel_of_a_workspace_has_its_language(db: Db) -> None:
    german, english = (add_channel(db, name, [MATTY]) for name in ("german", "english"))
    db.execute("update public.channels set language = 'de' where id = %s", (german,))
    # A message with attachments is not indexed before its channel is locked.
    files = [{"name": "x"}]
    said = [
        send(db, "viele H\u00e4user, many colourings", channel_id=each, attachments=files) for each in (german, english)
    ]
    for _ in range(2):
        for channel_id, counts in ((german, [1, 0]), (english, [0, 1])):
            assert [len(hits(db, query, channel_id=channel_id)) for query in ("Haus", "colour")] == counts
        for id_ in said:
            call(db, "edit_message", id=id_, content="mehr H\u00e4user, more colourings")


def stemmers(db: Db, user_id: str | None, channel_id: str | None) -> list[str]:
    become(db, user_id) if user_id else become_service(db)
    found = value(db, "select private.list_stemmers(%s)::text[]", channel_id)
    become_postgres(db)
    return sorted(name.removesuffix("_stem") for name in found)


def test_search_stems_the_languages_of_most_channels(db: Db) -> None:
    tags = ["sv", "sv", "pl", "pl", "de", "en", "es", "fr", "it", "nl"]  # Postgres knows no word forms of Polish
    channels = [add_channel(db, tag, [MALLORY]) for tag in tags]
    for channel_id, tag in zip(channels, tags, strict=True):
        db.execute("update public.channels set language = %s where id = %s", (tag, channel_id))
    assert rows(db, "select from private.language_backlog where channel_id = any(%s)", channels) == []
    assert stemmers(db, MALLORY, None) == ["dutch", "english", "french", "german", "swedish"]
    assert stemmers(db, None, channels[0]) == stemmers(db, MALLORY, channels[0]) == ["english", "swedish"]
    assert "swedish" in stemmers(db, None, None)
    assert stemmers(db, BOB, channels[0]) == stemmers(db, BOB, None) == ["english"]


def waiting(db: Db) -> float:
    """Return how many messages search still knows in a former language."""
    gauges = value(db, "select jsonb_agg(gauge) from private.measure_search() as gauge")
    return next(gauge["value"] for gauge in gauges if gauge["name"].endswith("_former_language_messages"))


@pytest.mark.parametrize("holder", LANGUAGES)
def test_new_language_reaches_older_messages(db: Db, holder: str) -> None:
    send(db, "viele H\u00e4user, many colourings", attachments=[{"name": "Lageplan.pdf"}])
    set_language(db, holder, "de")
    assert hits(db, "Haus") == []
    assert waiting(db) > 0
    assert ask(db, None, "index_conversations", limit=1000)["reindexed"] > 0
    for query in ("Haus", "colourings", "file:lageplan"):
        assert hits(db, query) == ["viele H\u00e4user, many colourings"]
    assert hits(db, "colour") == []
    assert waiting(db) == ask(db, None, "index_conversations")["reindexed"] == 0


def test_new_language_reaches_messages_in_batches(db: Db) -> None:
    while value(db, "select private.index_languages(1000)"):
        pass
    become(db, MATTY)
    channel_id = value(db, "insert into public.channels (name) values ('Long') returning id::text")
    for number in range(6):
        last = send(db, f"H\u00e4user {number}", channel_id=channel_id)
    call(db, "delete_message", id=last)
    become_postgres(db)
    db.execute("update public.channels set language = 'de' where id = %s", (channel_id,))
    for done, left, found_ in [(2, 3, ["4", "3"]), (2, 1, ["4", "3", "2", "1"]), (1, 0, list("43210"))]:
        assert value(db, "select private.index_languages(2)") == done
        assert waiting(db) == left
        assert [content[-1] for content in hits(db, "Haus")] == found_
        become_postgres(db)


def test_second_new_language_reaches_newer_messages(db: Db) -> None:
    set_language(db, "channel", "ru")
    send(db, "viele H\u00e4user")
    set_language(db, "channel", "de")
    assert hits(db, "Haus") == []
    ask(db, None, "index_conversations", limit=1000)
    assert hits(db, "Haus") == ["viele H\u00e4user"]


def test_new_language_overwrites_no_edit(cluster: TestCluster, fresh_database: str) -> None:
    url = cluster.url(fresh_database, "postgres")
    with psycopg.connect(url) as editor, psycopg.connect(url, autocommit=True) as worker:
        message_id = send(editor, "many colourings")
        editor.execute("update public.channels set language = 'de'")
        editor.commit()
        call(editor, "edit_message", MATTY, id=message_id, content="viele H\u00e4user")
        assert value(worker, "select private.index_languages(1000)") == 0
        editor.commit()
        assert value(worker, "select private.index_languages(1000)") > 0
        assert hits(editor, "Haus") == ["viele H\u00e4user"]


def test_doctor_reports_messages_in_a_former_language(db: Db) -> None:
    become_postgres(db)
    send(db, "of another channel", channel_id=add_channel(db, "other", [MATTY]))
    become_postgres(db)
    db.execute("update public.channels set language = 'de'")
    messages = value(db, "select sum(messages) from private.language_backlog")
    # While a process indexes, the last batch is never so old.
    for minutes, channels, problems in ((16, "true", 1), (14, "true", 0), (16, f"channel_id = '{CHANNEL}'", 0)):
        db.execute("update private.language_backlog set indexed_at = now()")
        waits = f"update private.language_backlog set indexed_at = now() - interval '1 minute' * %s where {channels}"
        db.execute(waits, (minutes,))
        found = rows(db, "select problem from private.diagnose_platform() as problem")
        assert [f"about {messages} messages in a former language" in problem for problem in found] == [True] * problems


def test_exact_words_rank_before_other_forms(db: Db) -> None:
    for content in ("tested", "a test", "testing"):
        send(db, content)
    assert hits(db, "test")[0] == "a test"


@pytest.mark.parametrize(
    ("content", "query", "snippet"),
    [
        ("Test <b>the</b> lamp & more", "testing", "<mark>Test</mark> &lt;b&gt;the&lt;/b&gt; lamp &amp; more"),
        ("Un caf\u00e9, please", "cafe", "Un <mark>caf\u00e9</mark>, please"),
        ("\u00c9clair, \u00e9clairs", "eclair", "<mark>\u00c9clair</mark>, <mark>\u00e9clairs</mark>"),
        ("the staging stage", "stag*", "the <mark>staging</mark> <mark>stage</mark>"),
        ("lampion, lamp, stage", "lamp stag*", "lampion, <mark>lamp</mark>, <mark>stage</mark>"),
        (
            "\u660e\u5929\u8ba8\u8bba\u90e8\u7f72\u8ba1\u5212",
            "\u90e8\u7f72\u8ba1",
            "\u660e\u5929\u8ba8\u8bba<mark>\u90e8\u7f72\u8ba1</mark>\u5212",
        ),
        ("\u90e8\u7f72\u8ba1 passed", "\u90e8\u7f72\u8ba1 pass", "<mark>\u90e8\u7f72\u8ba1</mark> <mark>passed</mark>"),
        ("a fact -known", "fact -unknown", "a <mark>fact</mark> -known"),
        ("I like C++", "C++", "I like <mark>C</mark>++"),
        ('a "lamp"', "lamp", "a &quot;<mark>lamp</mark>&quot;"),
        ("the \u0002red\u0003 lamp", "lamp", "the red <mark>lamp</mark>"),
    ],
    ids=[
        "escaped",
        "accent",
        "accent first",
        "beginning",
        "word and beginning",
        "Chinese",
        "mixed",
        "exclusion",
        "sign",
        "quotes",
        "control characters",
    ],
)
def test_snippet_marks_what_was_found(db: Db, content: str, query: str, snippet: str) -> None:
    send(db, content)
    assert call(db, "search_messages", query=query).data[0]["snippet"] == snippet


def test_ninth_beginning_of_a_query_is_ignored(db: Db) -> None:
    words = [f"{letter * 4}" for letter in "bcdfghjk"]
    send(db, " ".join(words))
    known = "* ".join(words)
    assert len(hits(db, f"{known}* zzzz*")) == 1
    assert hits(db, f"zzzz* {known}*") == []
    assert hits(db, f"{'* '.join(words[:7])}* zzzz*") == []


def test_snippet_of_a_long_message_is_short(db: Db) -> None:
    send(db, "word " * 500 + "needle " + "word " * 500)
    snippet = call(db, "search_messages", query="needle").data[0]["snippet"]
    assert snippet[:5] == "\u2026word"
    assert snippet[-5:] == "word\u2026"
    assert "<mark>needle</mark>" in snippet
    assert len(snippet) < 260
    send(db, "word " * 5000 + "noodle")
    assert call(db, "search_messages", query="noodle").data[0]["snippet"].startswith("word word")


def test_hits_name_their_authors(db: Db) -> None:
    twin = value(db, "select ai_twin_id::text from public.channel_twins limit 1")
    send(db, "unusual")
    send(db, "unusual", ai_twin_id=twin)
    of_twin, of_user = call(db, "search_messages", query="unusual").data
    assert (of_user["user_id"], of_user["ai_twin_id"], of_user["display_name"]) == (MATTY, None, "Matty Squarzoni")
    assert (of_twin["user_id"], of_twin["ai_twin_id"]) == (None, twin)
    assert of_twin["display_name"] == value(db, "select display_name from public.ai_twins where id = %s", twin)


def test_snippet_of_241_characters_says_that_it_ends(db: Db) -> None:
    send(db, "needle " + "x" * 234)
    assert call(db, "search_messages", query="needle").data[0]["snippet"].endswith("x\u2026")


@pytest.mark.parametrize(
    "change",
    [
        "null",
        "new.content := 'changed'",
        """new.attachments := '[{"name": "changed.pdf"}]'""",
    ],
    ids=["nothing", "text", "attachments"],
)
def test_index_agrees_with_what_a_later_trigger_changes(db: Db, change: str) -> None:
    # The words are prepared before the channel is locked.
    body = f"'begin {change.replace(chr(39), 2 * chr(39))}; return new; end'"
    db.execute(f"create function public.change_it() returns trigger language plpgsql as {body}")
    db.execute("create trigger moderator before insert on public.messages for each row execute function change_it()")
    for contents in (["H\u00e4user"], ["H\u00e4user", "B\u00e4ume"]):
        ids = [message_id for (message_id,) in db.execute(INSERT, (contents,))]
        assert rows(db, AGREES, ids) == [True] * len(contents)
