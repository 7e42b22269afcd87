import email.utils
import socket
import time
from argparse import Namespace
from collections import Counter

import pytest
from threadline_client import ImporterError, batches, deliver, post, read_text, report, run


def conversation(name: str, count: int) -> dict:
    messages = [{"id": f"{name}{n}", "sent_at": f"2026-01-01T00:00:{n % 60:02}Z"} for n in range(count)]
    return {"external_conversation_id": name, "participant_identifier": name, "messages": messages}


def arguments(url: str, **other: object) -> Namespace:
    return Namespace(**{"url": url, "key": "secret", "connection": "c1", "dry_run": False, **other})


def body() -> dict:
    return {"platform": "telegram", "connection_id": "c1", "conversations": [conversation("ada", 1)]}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([3], [[3]]),
        ([5], [[5]]),
        ([12], [[5], [5], [2]]),
        ([2, 2, 2], [[2, 2, 1], [1]]),
        ([4, 7, 1], [[4, 1], [5], [1, 1]]),
    ],
)
def test_requests_are_filled_to_the_size_limit(sizes: list[int], expected: list[list[int]]) -> None:
    conversations = [conversation(str(n), size) for n, size in enumerate(sizes)]
    requests = list(batches(conversations, size=5))
    assert [[len(part["messages"]) for part in request] for request in requests] == expected
    sent = [message["id"] for request in requests for part in request for message in part["messages"]]
    assert sent == [message["id"] for whole in conversations for message in whole["messages"]]


def test_request_holds_at_most_500_messages(endpoint) -> None:
    assert deliver("telegram", [conversation("ada", 501)], arguments(endpoint.url)) == 0
    assert [len(sent["conversations"][0]["messages"]) for sent in endpoint.bodies] == [500, 1]


def test_request_matches_the_contract(endpoint) -> None:
    deliver("telegram", [conversation("ada", 1)], arguments(endpoint.url + "/", key=" secret\n"))
    [(path, headers, sent)] = endpoint.requests
    assert path == "/functions/v1/messaging-ingest"
    assert headers["x-api-key".title()] == "secret"
    assert headers["Content-Type"] == "application/json"
    assert sent == body()


def test_client_backs_off_or_obeys_retry_after(endpoint) -> None:
    endpoint.answers = [(500, {}, {}), (503, {"Retry-After": "7"}, ""), (429, {"Retry-After": "soon"}, {})]
    pauses: list[float] = []
    assert post(endpoint.url, "k", body(), pauses.append)[0]["status"] == "created"
    assert pauses == [1, 7, 4]
    assert len(endpoint.requests) == 4


def test_retry_after_may_be_a_date(endpoint) -> None:
    date = email.utils.formatdate(time.time() + 90, usegmt=True)
    endpoint.answers = [(503, {"Retry-After": date}, {})]
    pauses: list[float] = []
    post(endpoint.url, "k", body(), pauses.append)
    assert 80 < pauses[0] <= 90


def test_client_gives_up_after_the_last_attempt(endpoint, capsys) -> None:
    endpoint.answers = [(500, {}, {"error": "Internal server error"})] * 6
    pauses: list[float] = []
    with pytest.raises(ImporterError, match=r"^The server answered 500: Internal server error\. Gave up"):
        post(endpoint.url, "k", body(), pauses.append)
    assert pauses == [1, 2, 4, 8, 16]
    assert "Trying again in 16 s." in capsys.readouterr().err


def test_refused_connection_is_retried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    pauses: list[float] = []
    with pytest.raises(ImporterError, match=f"^{url} did not answer: .*refused"):
        post(url, "k", body(), pauses.append)
    assert len(pauses) == 5


def test_rejection_is_final_and_gives_the_reason(endpoint) -> None:
    endpoint.answers = [(401, {}, {"error": "Invalid API key"})]
    with pytest.raises(ImporterError, match=r"^The server answered 401: Invalid API key\.$"):
        post(endpoint.url, "k", body(), pytest.fail)


def test_redirect_does_not_forward_the_key(endpoint) -> None:
    endpoint.answers = [(301, {"Location": "https://elsewhere.example/"}, "")]
    with pytest.raises(ImporterError, match=r"sends on to https://elsewhere\.example/"):
        post(endpoint.url, "k", body(), pytest.fail)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("answer", ["<html>hello</html>", "[]", "{}"])
def test_unrelated_answer_is_reported(endpoint, answer: str) -> None:
    endpoint.answers = [(200, {}, answer)]
    with pytest.raises(ImporterError, match="is --url right"):
        post(endpoint.url, "k", body(), pytest.fail)


def test_address_without_scheme_is_reported() -> None:
    with pytest.raises(ImporterError, match="http:// or https://"):
        post("file:///etc/passwd", "k", body(), pytest.fail)


def test_half_a_surrogate_pair_does_not_stop_the_import(endpoint) -> None:
    whole = conversation("ada", 1)
    whole["messages"][0]["content"] = "a\ud83d"
    assert deliver("telegram", [whole], arguments(endpoint.url)) == 0
    assert endpoint.bodies[0]["conversations"][0]["messages"][0]["content"] == "a?"


def test_each_result_is_a_line_and_errors_set_the_exit_code(endpoint, capsys) -> None:
    endpoint.answers = [
        (
            200,
            {},
            {
                "results": [
                    {"messages_added": 1, "status": "updated", "conflicting_message_ids": ["ada0"]},
                    {"status": "error: no participant"},
                ]
            },
        )
    ]
    conversations = [conversation("ada", 2) | {"participant_name": "Ada"}, conversation("+49171", 1)]
    assert deliver("telegram", conversations, arguments(endpoint.url)) == 1
    output = capsys.readouterr()
    assert output.out == (
        "Ada: updated, 1 messages added, 1 known with other content\n+49171: error: no participant, 0 messages added\n"
    )
    assert output.err == "1 of the results above are errors.\n"


def test_unmatched_results_are_reported(endpoint) -> None:
    endpoint.answers = [(200, {}, {"results": []})]
    with pytest.raises(ImporterError, match="0 results for 1 conversations"):
        deliver("telegram", [conversation("ada", 1)], arguments(endpoint.url))


def test_dry_run_sends_nothing_and_needs_no_key(endpoint, capsys) -> None:
    dry = arguments(endpoint.url, dry_run=True, key=None, connection=None)
    assert deliver("telegram", [conversation("ada", 1)], dry) == 0
    assert endpoint.requests == []
    assert capsys.readouterr().out == "Nothing was sent (--dry-run).\n"


@pytest.mark.parametrize(("missing", "hint"), [("key", "MESSAGING_API_SECRET"), ("connection", "--connection")])
def test_missing_settings_are_requested(missing: str, hint: str) -> None:
    with pytest.raises(ImporterError, match=hint):
        deliver("telegram", [], arguments("http://127.0.0.1:9", **{missing: None}))


def test_report_counts_everything(capsys) -> None:
    report([conversation("ada", 3)], Counter(notices=2, deleted=1), ["line 4: ?", "line 9: ??"])
    assert capsys.readouterr().out == (
        "ada: 3 messages, 2026-01-01T00:00:00Z to 2026-01-01T00:00:02Z\n"
        "Left out: 1 deleted, 2 notices\n"
        "Could not be read: 2, the first: line 4: ?\n"
    )
    report([], Counter(), [])
    assert capsys.readouterr().out == "No conversation to import.\nCould not be read: 0\n"


def test_problem_is_one_line_and_exit_code_1(tmp_path, capsys) -> None:
    assert run(lambda: read_text(tmp_path / "nothing.txt")) == 1
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    assert run(lambda: read_text(tmp_path / "latin1.txt")) == 1
    missing, latin1 = capsys.readouterr().err.splitlines()
    assert "No such file" in missing
    assert "is not UTF-8 text" in latin1


def test_byte_order_mark_is_not_part_of_the_text(tmp_path) -> None:
    (tmp_path / "export.txt").write_bytes(b"\xef\xbb\xbfhello\r\n")
    assert read_text(tmp_path / "export.txt") == "hello\r\n"
