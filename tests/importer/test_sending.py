"""How conversations are cut into requests, and how long a server is asked again."""

import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from threadline_import import patience, send
from threadline_import.journal import Journal
from threadline_import.media import File
from threadline_import.model import Conversation, ImportRefusedError, Message, Reaction, Update
from threadline_import.send import Batch, Sender, batches
from threadline_import.wire import render_conversation, render_message, render_updates

from tests.importer.conftest import Endpoint

AT = datetime(2024, 2, 15, 9, 0, tzinfo=UTC)
FILE = File(Path("a.jpg"), None, 5)


def message(number: int, kind: str = "text", text: str = "hi", file: File | None = None, **more: object) -> Message:
    return Message(str(number), AT, False, kind, text, file=file, **more)


def conversation(name: str, *entries: object) -> Conversation:
    return Conversation(name, "+1 555 201 0001", "", iter(entries))


def sizes(found: Iterator[Batch]) -> list[list[int]]:
    return [[len(each["messages"]) for each in batch.conversations] for batch in found]


def test_request_holds_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "MOST_MESSAGES", 3)
    assert sizes(batches([conversation("a", *map(message, range(7)))])) == [[3], [3], [1]]
    update = Update("1", "deleted", AT)
    assert sizes(batches([conversation("a", message(1), update, update, message(2))])) == [[1], [1]]
    reacted = message(2, reactions=(Reaction("Bo", AT, "👍"), Reaction("Cy", AT, "👍")))
    assert sizes(batches([conversation("a", message(1), reacted, message(3))])) == [[1], [1], [1]]
    [both] = batches([conversation("a", message(1)), conversation("b", update, message(2))])
    assert (both.messages, both.updates, both.names) == (2, 1, ["+1 555 201 0001"] * 2)
    assert both.conversations[1]["updates"] == [
        {"message_id": "1", "type": "deleted", "at": "2024-02-15T09:00:00.000Z"}
    ]
    [alone] = batches([conversation("a", update)])
    assert (alone.messages, alone.updates) == (0, 1)
    monkeypatch.setattr(send, "MOST_MESSAGES", 4)
    parts = list(batches([conversation("a", message(1), update, update, message(2), message(3))]))
    shown = [batch.conversations[0] for batch in parts]
    assert [(len(each["messages"]), len(each.get("updates", []))) for each in shown] == [(2, 2), (1, 0)]


def test_request_holds_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 200 + sum(len(str(value)) for value in render_message(message(1)).values()) * 2
    monkeypatch.setattr(send, "MOST_BYTES", 3 * size)
    assert sizes(batches([conversation("a", *map(message, range(4)))])) == [[3], [1]]
    for large in ("x" * size, "x" * 3 * size):
        assert sizes(batches([conversation("a", message(1, text=large), message(2))])) == [[1], [1]]
    edits = [Update(str(number), "edited", AT, {"content": "x" * size}) for number in range(2)]
    assert [batch.updates for batch in batches([conversation("a", *edits)])] == [1, 1]


def test_request_has_at_most_four_million_bytes() -> None:
    assert sizes(batches([conversation("a", *(message(n, text="x" * 900_000) for n in range(3)))])) == [[2], [1]]


def test_request_names_a_conversation_once() -> None:
    twice = [conversation("a", message(1)), conversation("b", message(2)), conversation("a", message(3))]
    assert sizes(batches(twice)) == [[1, 1], [1]]
    assert list(batches([conversation("a")])) == []


def test_request_holds_files_for_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "MOST_OFFERS", 2)
    photos = [message(number, "image", file=FILE) for number in range(4)]
    assert sizes(batches([conversation("a", *photos, message(5))])) == [[2], [3]]
    lost = [message(number, "image") for number in range(4)]
    assert sizes(batches([conversation("a", *lost)])) == [[4]]
    assert sizes(batches([conversation("a", *lost[:2], message(5), photos[3])])) == [[3], [1]]
    assert sizes(batches([conversation("a", *photos[:2], lost[2])])) == [[2], [1]]
    large = message(1, "image", file=File(Path("a"), None, 52_428_801)), message(2, "text", file=FILE)
    assert [batch.files for batch in batches([conversation("a", *large)])] == [{}]


def test_only_media_have_a_file() -> None:
    kinds = ["image", "audio", "video", "animation", "file", "sticker", "text", "location", "contact", "poll"]
    [found] = batches([conversation("a", *(message(place, kind, file=FILE) for place, kind in enumerate(kinds)))])
    assert [kinds[int(key[1])] for key in found.files] == kinds[:6]


def test_files_of_a_group_are_known_by_their_sender() -> None:
    said = [message(1, "image", file=FILE, sender=sender) for sender in ("u1", None)]
    [group] = batches([Conversation("g", "g", "Team", iter(said), is_group=True)])
    assert list(group.files) == [("g", "1", "u1"), ("g", "1", "")]
    [alone] = batches([conversation("a", said[0])])
    assert list(alone.files) == [("a", "1", "")]


def test_wire_has_the_fields_of_the_contract() -> None:
    long = "n" * 501
    assert render_conversation(Conversation(long, long, long, iter(()))) == {
        "external_conversation_id": long[:500], "participant_identifier": long[:500], "participant_name": long[:500],
    }  # fmt: skip
    group = render_conversation(Conversation("g", "p", long, iter(()), is_group=True))
    assert (group["kind"], group["title"]) == ("group", long[:500])
    said = message(1, "animation", "", author="Ada", sender="u1", details={"reply_to": "0", "file_name": None, "x": ""})
    assert render_message(said) == {
        "author": "Ada", "sender": "u1", "reply_to": "0", "id": "1", "direction": "inbound", "type": "video",
        "content": "", "sent_at": "2024-02-15T09:00:00.000Z",
    }  # fmt: skip
    assert render_message(message(1, wire={"id": "2"})) == {"id": "2"}
    later = AT.replace(microsecond=987_654).astimezone(timezone(timedelta(hours=5)))
    given = (Reaction("Bo", later, "👍"), Reaction("Bo", AT, "🚲"), Reaction("Cy", AT, "👍"))
    assert render_updates(message(1, sender="u1", reactions=given)) == [
        {"message_id": "1", "sender": "u1", "type": "reaction", "at": "2024-02-15T09:00:00.987Z", "by": "Bo",
         "emoji": ["👍", "🚲"]},
        {"message_id": "1", "sender": "u1", "type": "reaction", "at": "2024-02-15T09:00:00.000Z", "by": "Cy",
         "emoji": ["👍"]},
    ]  # fmt: skip
    assert "sender" not in render_updates(message(1, reactions=given))[0]


@pytest.fixture
def sender(endpoint: Endpoint) -> Iterator[Sender]:
    with Sender(f"{endpoint.url}/", " key ", "whatsapp", "wa_1", Journal("u", "c"), print, sleep=print) as made:
        yield made


def batch_of(*entries: object) -> Batch:
    [found] = batches([conversation("a", *entries)])
    return found


def test_sender_waits_a_minute_and_closes_what_it_opens() -> None:
    with Sender("http://x", "key", "whatsapp", "wa_1", Journal("u", "c"), print) as sender:
        assert sender._client.timeout == httpx.Timeout(60, connect=15)
    assert (sender._client.is_closed, sender._uploader._client.is_closed) == (True, True)
    for url in ("ftp://x", "httpx", "x"):
        with pytest.raises(ImportRefusedError, match="--url has to start with"):
            Sender(url, "key", "whatsapp", "wa_1", Journal("u", "c"), print)


def test_key_is_sent_without_the_spaces_around_it(endpoint: Endpoint, sender: Sender) -> None:
    sender.send(batch_of(message(1, text="half a \ud83d letter")))
    [(path, headers, body)] = endpoint.requests
    assert (path, headers["x-api-key"]) == ("/functions/v1/messaging-ingest", "key")
    assert (headers["Content-Type"], headers["Content-Encoding"]) == ("application/json", "gzip")
    assert body["conversations"][0]["messages"][0]["content"] == "half a ? letter"


REFUSALS = [
    ((200, {}, {"results": []}), "The server answered 0 results for 1 conversations."),
    ((200, {}, {"results": [{}, {}]}), "The server answered 2 results for 1 conversations."),
    ((200, {}, "<html>"), "The answer is not one of messaging-ingest. Check --url."),
    ((200, {}, {"success": True}), "The answer is not one of messaging-ingest. Check --url."),
    ((200, {}, []), "The answer is not one of messaging-ingest. Check --url."),
    ((201, {}, {"results": []}), "The server answered 201: Created."),
    ((413, {}, {}), "One message of +1 555 201 0001 is larger than the server takes."),
    ((400, {}, {"message": "No", "error": "Bad"}), "The server answered 400: No."),
    ((400, {}, {"error": "Bad"}), "The server answered 400: Bad."),
    ((400, {}, ["Bad"]), "The server answered 400: Bad Request."),
    ((307, {"Location": "https://x"}, ""), "{url} sends on to https://x. Give that server as --url."),
]


@pytest.mark.parametrize(("answer", "reason"), REFUSALS, ids=range(len(REFUSALS)))
def test_answer_that_is_no_result_ends_the_run(endpoint: Endpoint, sender: Sender, answer: tuple, reason: str) -> None:
    endpoint.answers = [answer]
    with pytest.raises(ImportRefusedError) as refusal:
        sender.send(batch_of(message(1)))
    assert str(refusal.value) == reason.replace("{url}", f"{endpoint.url}")


def test_halves_keep_updates_and_files_of_their_messages(endpoint: Endpoint, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    photo = File(tmp_path / "a.jpg", None, 5)
    entries = [message(1), Update("3", "deleted", AT), message(2), message(3, "image", file=photo)]
    endpoint.answers = [(413, {}, {})]
    sizes: list[int] = []
    sender.send(batch_of(*entries), sizes.append)
    assert sizes == [5]
    whole, first, second, settled = (body["conversations"][0] for body in endpoint.bodies)
    assert [[one["id"] for one in half["messages"]] for half in (first, second)] == [["1", "2"], ["3"]]
    assert [half["updates"] for half in (first, second, settled)] == [whole["updates"], [], []]
    assert ["media_uploads" in body for body in endpoint.bodies] == [True, False, True, True]
    assert (sender.outcome.requests, sender.outcome.messages, sender.outcome.files) == (2, 3, 1)


def test_halves_divide_several_conversations(endpoint: Endpoint, sender: Sender) -> None:
    update = Update("9", "deleted", AT)
    said = {"a": [message(1)], "b": [update], "c": [message(2), update], "d": [message(3)]}
    [whole] = batches([conversation(name, *entries) for name, entries in said.items()])
    endpoint.answers = [(413, {}, {})]
    sender.send(whole)
    shown = [
        [(one["external_conversation_id"], len(one["messages"]), len(one["updates"])) for one in body["conversations"]]
        for body in endpoint.bodies[1:]
    ]
    assert shown == [[("a", 1, 0), ("b", 0, 1), ("c", 1, 1)], [("d", 1, 0)]]
    assert sender.outcome.messages == 3


def result(**more: object) -> dict[str, object]:
    return {"status": "updated", "messages_added": 1, "conversation_id": "c", "uploads": [], **more}


def test_file_that_gets_no_place_is_an_error(endpoint: Endpoint, sender: Sender) -> None:
    photo = batch_of(message(1, "image", file=FILE))
    offers = [
        (result(uploads=[{"message_id": "1", "path": "p", "url": None}]), "The server gave no URL for a file."),
        ({"status": "updated", "conversation_id": "c"}, "The server takes no files. Update it"),
        ({"status": "error: no", "conversation_id": None}, "+1 555 201 0001: error: no"),
        (result(uploads_refused=1), "The workspace has no room for more files."),
    ]
    for given, reason in offers:
        endpoint.answers = [(200, {}, {"results": [given]})]
        sender.send(photo)
        assert sender.outcome.errors.pop().startswith(reason)
        assert (sender.outcome.errors, sender.outcome.files_known) == ([], 0)
    endpoint.answers = [(200, {}, {"results": [result(conflicting_message_ids=["1", "2"], messages_added=0)]})]
    sender.send(photo)
    assert (sender.outcome.files_known, sender.outcome.changed, sender.outcome.added) == (1, 2, 2)


def test_error_of_a_conversation_stays_beside_others(endpoint: Endpoint, sender: Sender) -> None:
    [both] = batches([conversation(name, message(1, "image", file=FILE)) for name in ("a", "b")])
    refused, old = {"status": "error: no", "conversation_id": None}, {"status": "updated", "conversation_id": "c"}
    for given in ([refused, old], [result(), result()]):
        endpoint.answers = [(200, {}, {"results": given})]
        sender.send(both)
    assert [error.split(".")[0] for error in sender.outcome.errors] == [
        "+1 555 201 0001: error: no", "The server takes no files",
    ]  # fmt: skip


def test_files_that_storage_loses_are_errors_each(endpoint: Endpoint, sender: Sender, tmp_path: Path) -> None:
    photos = [message(number, "image", file=File(tmp_path / f"{number}.jpg", None, 5)) for number in (1, 2)]
    for photo in photos:
        photo.file.path.write_bytes(b"photo")
    offers = [{"message_id": name, "path": "p", "url": f"{endpoint.url}/{name}"} for name in ("1", "2")]
    endpoint.answers = [(200, {}, {"results": given}) for given in ([result(), result(uploads=offers)],) * 2]
    endpoint.answers[1][2]["results"] = [result(uploads=offers)]
    [both] = batches([conversation("a", message(1)), conversation("b", *photos)])
    sender.send(both)
    assert sender.outcome.errors == [f"Storage did not keep {name}.jpg. Run the command again." for name in "12"]
    assert [len(body["conversations"]) for body in endpoint.bodies] == [2, 1]


def test_file_that_storage_loses_is_an_error(endpoint: Endpoint, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    offer = {"message_id": "1", "path": "p", "url": f"{endpoint.url}/1"}
    endpoint.answers = [(200, {}, {"results": [result(uploads=[offer])]})] * 2
    sender.send(batch_of(message(1, "image", file=File(tmp_path / "a.jpg", None, 5))))
    assert sender.outcome.errors == ["Storage did not keep a.jpg. Run the command again."]
    assert sender._journal._done == Journal("u", "c")._done == set()


def test_only_own_files_matter(endpoint: Endpoint, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    own = {"message_id": "1", "path": "p", "url": f"{endpoint.url}/1"}
    others = [{"message_id": name, "path": "p", "url": None} for name in ("2", "3")]
    endpoint.answers = [(200, {}, {"results": [result(uploads=[each, *others])]}) for each in (own, others[0])]
    update = Update("1", "deleted", AT)
    sender.send(batch_of(message(1, "image", file=File(tmp_path / "a.jpg", None, 5)), message(2, "image"), update))
    assert (sender.outcome.errors, len(endpoint.puts), sender.outcome.files_known) == ([], 1, 0)
    assert [len(body["conversations"][0]["updates"]) for body in endpoint.bodies] == [1, 0]
    assert len(Journal("u", "c")._done) == 1


def test_message_with_another_file_is_sent_again(endpoint: Endpoint, sender: Sender) -> None:
    for name, size, sent in (("a.jpg", 5, 1), ("a.jpg", 5, 1), ("a.jpg", 6, 2), ("b.jpg", 6, 3)):
        endpoint.answers = [(200, {}, {"results": [result(conflicting_message_ids=["1"])]})]
        sender.send(batch_of(message(1, "image", file=File(Path(name), None, size))))
        sender._journal = Journal("u", "c")
        assert len(endpoint.requests) == sent
    assert (sender.outcome.changed, sender.outcome.files_known) == (3, 4)


def test_file_that_cannot_be_read_is_named_once(
    endpoint: Endpoint, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    failures = [EOFError(""), OSError("gone"), RuntimeError("locked"), zipfile.BadZipFile("bad"), zlib.error("cut")]
    for failure, reason in zip(failures, ("EOFError", "gone", "locked", "bad", "cut"), strict=True):

        def fail(*_: object, failure: Exception = failure) -> None:
            raise failure

        monkeypatch.setattr("threadline_import.upload.Uploader._open", fail)
        offer = {"message_id": "1", "path": "p", "url": f"{endpoint.url}/1"}
        endpoint.answers = [(200, {}, {"results": [result(uploads=[offer])]})]
        sender.send(batch_of(message(1, "image", file=FILE)), told.append)
        assert sender.outcome.errors.pop() == f"a.jpg cannot be read: {reason}."
    assert (told, sender.outcome.files, sender.outcome.file_bytes) == ([5] * 5, 0, 0)


def test_journal_is_in_the_home_without_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "")
    Journal("u", "c").add("one")
    assert [file.parent for file in tmp_path.rglob("*.done")] == [tmp_path / ".local/state/threadline/import"]


def test_journal_knows_one_connection(endpoint: Endpoint) -> None:
    journal = Journal("u", "c")
    journal.add("one")
    journal.add("two")
    assert {"one", "two"} <= Journal("u", "c")._done
    assert "one" not in Journal("u", "d")
    assert "one" not in Journal("v", "c")
    assert "one" not in Journal("u", "c", again=True)
    journal.forget()
    journal.forget()
    assert "one" not in Journal("u", "c")


def ask(*answers: httpx.Response | Exception) -> tuple[object, list[float], list[str]]:
    pauses: list[float] = []
    said: list[str] = []
    given = iter(answers)

    def call() -> httpx.Response:
        answer = next(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        found = patience.ask_patiently(call, "Server", said.append, pauses.append).status_code
    except ImportRefusedError as problem:
        found = str(problem)
    return found, pauses, said


def test_server_that_stays_away_is_given_up_after_two_minutes() -> None:
    found, pauses, said = ask(*[httpx.ConnectError("refused")] * 7, httpx.ReadTimeout(""))
    assert (
        found == "Server did not answer: ReadTimeout. Gave up after 8 attempts. Run the same command again; it goes on."
    )
    assert pauses == [1, 2, 4, 8, 16, 32, 60]
    assert said[0] == "Server did not answer: refused. Trying again in 1 s."


@pytest.mark.parametrize(("status", "times"), [(408, 2), (429, 2), (500, 2), (599, 2), (409, 1), (499, 1), (201, 1)])
def test_answer_tells_whether_to_ask_again(status: int, times: int) -> None:
    assert len(ask(httpx.Response(status), httpx.Response(200))[1]) == times - 1


def test_server_says_when_to_ask_again() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    headers = ["7", " 9 ", "600", "Thu, 15 Feb 2024 09:00:00 GMT", "soon", soon, "Fri, 31 Dec 2100 09:00:00 GMT"]
    for header, pause in zip(headers, [7, 9, 60, 1, 1, 29, 60], strict=True):
        [waited] = ask(httpx.Response(503, headers={"Retry-After": header}), httpx.Response(200))[1]
        assert waited == pytest.approx(pause, abs=1.5 if header == soon else 0)
    for header in (b"\xb2", b"", b"-1", b"1e3"):
        assert ask(httpx.Response(503, headers={b"Retry-After": header}), httpx.Response(200))[1] == [1]
    away = httpx.Response(503, headers={"Retry-After": "1"})
    assert ask(away, away, away, httpx.Response(200))[1] == [1, 2, 4]
