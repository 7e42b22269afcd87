"""`threadline import` as a user runs it."""

import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from threadline_import import send
from threadline_import.commands import import_
from threadline_import.journal import Journal

from tests.importer.conftest import Endpoint
from tests.importer.reading import CASES, NUMBER

CHAT = CASES / "wa_05_web_copy.txt"
ACCOUNT = CASES / "tg_photo_export_1.json"
SHOP = ["--me", "Shop", "--participant", NUMBER, "--timezone", "UTC"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(import_, [str(argument) for argument in arguments])


def send_to(endpoint: Endpoint, *arguments: object) -> Result:
    return run(*arguments, "--connection", "wa_1", "--url", endpoint.url, "--key", "secret")


def write_chat(folder: Path, messages: int) -> Path:
    start = datetime(2024, 1, 31, 8, 0)
    lines = (
        f"{start + timedelta(minutes=n):%d/%m/%Y, %H:%M} - {'Ada' if n % 2 else 'Shop'}: message {n}\n"
        for n in range(messages)
    )
    file = folder / "chat.txt"
    file.write_text("".join(lines))
    return file


def test_command_is_part_of_threadline() -> None:
    from threadline.__main__ import COMMANDS, entry_points

    assert "import" in {point.name for point in entry_points(group=COMMANDS)}


def test_dry_run_shows_the_table_and_sends_nothing(endpoint: Endpoint) -> None:
    done = send_to(endpoint, CHAT, *SHOP, "--dry-run")
    assert done.exit_code == 0
    for part in ("WhatsApp chat export", "Alice", NUMBER, "2 (1)", "2024-05-15", "Nothing was sent"):
        assert part in done.stdout
    assert endpoint.requests == []
    zone = "Times are read in the zone of this machine."
    found = [zone in run(*given, "--dry-run").stdout for given in ([CHAT, *SHOP], [CHAT, *SHOP[:-2]], [ACCOUNT])]
    assert found == [False, True, False]


def test_import_sends_the_fields_of_the_contract(endpoint: Endpoint) -> None:
    done = send_to(endpoint, CHAT, *SHOP)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "Added 2 of 2 messages.")
    [(path, headers, body)] = endpoint.requests
    assert (path, headers["x-api-key"]) == ("/functions/v1/messaging-ingest", "secret")
    assert (body["platform"], body["connection_id"]) == ("whatsapp", "wa_1")
    [conversation] = body["conversations"]
    messages = conversation.pop("messages")
    assert conversation == {
        "external_conversation_id": "whatsapp-export:15552010001",
        "participant_identifier": NUMBER,
        "participant_name": "Alice",
    }
    assert [{name: value for name, value in message.items() if name != "id"} for message in messages] == [
        {"direction": "inbound", "type": "text", "content": "Hello", "sent_at": "2024-05-15T00:29:00.000Z"},
        {
            "direction": "outbound",
            "type": "text",
            "content": "So nice you are here",
            "sent_at": "2024-05-16T00:30:00.000Z",
        },
    ]


def test_second_run_adds_nothing(endpoint: Endpoint) -> None:
    send_to(endpoint, CHAT, *SHOP)
    assert "Added 0 of 2 messages. The others were stored already." in send_to(endpoint, CHAT, *SHOP).stdout


def test_interrupted_run_goes_on_where_it_stopped(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "MOST_MESSAGES", 100)
    file = write_chat(tmp_path, 1000)
    post, calls = send.Sender._post, []

    def killed(self: send.Sender, body: bytes) -> list[dict] | None:
        calls.append(body)
        answer = post(self, body)
        if len(calls) == 5:
            raise KeyboardInterrupt  # the server has stored the request, and its answer is lost
        return answer

    monkeypatch.setattr(send.Sender, "_post", killed)
    stopped = send_to(endpoint, file, *SHOP)
    assert (stopped.exit_code, stopped.stderr) == (1, "Error: Stopped. Run the same command again; it goes on.\n")
    assert len(endpoint.stored) == 500
    done = send_to(endpoint, file, *SHOP)
    assert done.exit_code == 0
    assert "400 were sent by the run before, which did not end." in done.stdout
    assert len(endpoint.stored) == 1000
    assert len(endpoint.requests) == 11
    assert "Added 0 of 1,000" in send_to(endpoint, file, *SHOP).stdout
    assert len(endpoint.requests) == 21


def test_again_sends_what_an_interrupted_run_has_sent(endpoint: Endpoint, tmp_path: Path) -> None:
    refused = {"results": [{"status": "error: no", "conversation_id": None, "messages_added": 0}]}
    file = write_chat(tmp_path, 1500)
    ok = {"results": [{"status": "updated", "messages_added": 1000}]}
    endpoint.answers = [(200, {}, ok), (200, {}, refused)]
    done = send_to(endpoint, file, *SHOP)
    assert done.exit_code == 1
    assert "Refused by the server: Ada: error: no" in done.stdout
    assert len(Journal(endpoint.url, "wa_1")._done) == 1
    send_to(endpoint, file, *SHOP, "--again")
    assert len(endpoint.stored) == 1500


def test_request_that_is_too_large_is_halved(endpoint: Endpoint) -> None:
    endpoint.answers = [(413, {}, {"error": "Request body too large: at most 10 bytes"})]
    assert send_to(endpoint, CHAT, *SHOP).exit_code == 0
    assert [len(body["conversations"][0]["messages"]) for body in endpoint.bodies] == [2, 1, 1]
    assert len(endpoint.stored) == 2


def test_server_that_is_away_is_asked_again(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(send.Sender.__init__, "__defaults__", (pauses.append,))
    away = {"error": "away"}
    endpoint.answers = [(503, {"Retry-After": "7"}, away), (500, {}, "<html>"), (503, {"Retry-After": "1"}, away)]
    assert send_to(endpoint, CHAT, *SHOP).exit_code == 0
    assert pauses == [7.0, 2.0, 4.0]  # never shorter than its own pause


def test_wrong_key_ends_the_run(endpoint: Endpoint) -> None:
    endpoint.answers = [(401, {}, {"error": "Invalid API key"})]
    done = send_to(endpoint, CHAT, *SHOP)
    assert (done.exit_code, done.stderr) == (1, "Error: The server answered 401: Invalid API key.\n")


def test_redirect_is_not_followed_with_the_key(endpoint: Endpoint) -> None:
    endpoint.answers = [(308, {"Location": "https://example.com"}, "")]
    assert "sends on to https://example.com" in send_to(endpoint, CHAT, *SHOP).stderr
    assert len(endpoint.requests) == 1


def test_json_is_one_object_for_programs(endpoint: Endpoint) -> None:
    done = send_to(endpoint, CHAT, *SHOP, "--json")
    found = json.loads(done.stdout)
    assert "WhatsApp chat export" not in done.stderr
    assert (found["ok"], found["sent"]["added"]) == (True, 2)
    [row] = found["conversations"]
    assert (row["messages"], row["outbound"], row["kinds"], row["unreadable"]) == (2, 1, {"text": 2}, 0)


def test_options_reach_the_reader(tmp_path: Path) -> None:
    (tmp_path / "chat.txt").write_text("01/02/2024, 21:05 - Ada: hi\n03/02/2024, 08:00 - Shop: ok\n")
    said = ["--date-order", "mdy", "--group", "Tëam", "--conversation", "c1", "--dry-run", "--json"]
    text = run(tmp_path / "chat.txt", "--me", "Shop", "--timezone", "UTC", *said).stdout
    [row] = json.loads(text)["conversations"]
    assert (row["first"][:10], row["external_conversation_id"], "Tëam" in text) == ("2024-01-02", "c1", True)
    [refused] = json.loads(run(ACCOUNT, "--chat", "Bo", "--dry-run", "--json").stdout)["refused"]
    assert "has no chat with the name or id Bo" in refused["reason"]


def test_refusal_is_one_object_for_programs(endpoint: Endpoint) -> None:
    done = run(CHAT, *SHOP, "--json", "--key", "k")
    reason = "Say which messaging connection this is for with --connection."
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"ok": False, "error": reason})


def test_key_of_the_environment_is_sent(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGING_API_SECRET", "of the environment")
    run(CHAT, *SHOP, "--connection", "wa_1", "--url", endpoint.url)
    assert endpoint.requests[0][1]["x-api-key"] == "of the environment"


def test_export_of_threadline_needs_its_platform(endpoint: Endpoint, tmp_path: Path) -> None:
    line = {"id": "1", "direction": "inbound", "type": "text", "content": "hi", "sent_at": "2024-02-15T09:00:00Z"}
    file = tmp_path / "export.jsonl"
    file.write_text(f"odd\n{json.dumps(line)}\n")
    given = [file, "--from", "jsonl", "--conversation", "c1", "--participant", f" Ada = {NUMBER} "]
    assert "Say with --platform which platform" in send_to(endpoint, *given).stderr
    assert send_to(endpoint, *given, "--platform", "telegram").exit_code == 1  # for the odd line
    [body] = endpoint.bodies
    [sent] = body["conversations"]
    assert (body["platform"], sent["participant_name"], sent["participant_identifier"]) == ("telegram", "Ada", NUMBER)
    for platform in ("whatsapp", "signal", "wechat"):
        send_to(endpoint, *given, "--platform", platform)
        assert endpoint.bodies[-1]["platform"] == platform


def test_unreadable_line_is_shown_and_exits_with_1(endpoint: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(f"an odd \x1b[31mline\n{CHAT.read_text()}")
    done = send_to(endpoint, file, *SHOP)
    assert done.exit_code == 1
    assert "line 1: an odd \ufffd[31mline" in done.stdout
    assert len(endpoint.stored) == 2


def test_refused_file_exits_with_1(endpoint: Endpoint) -> None:
    done = send_to(endpoint, CASES / "wa_20_quiet_group.txt", *SHOP, "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"], found["sent"]) == (1, False, None)
    assert "Give its name with --group" in found["refused"][0]["reason"]


def test_zip_and_folder_are_looked_into(endpoint: Endpoint, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "WhatsApp Chat - Alice.zip", "w") as archive:
        archive.write(CHAT, "_chat.txt")
        archive.writestr("00000012-notes.txt", "a file that was sent in the chat")
        archive.writestr("__MACOSX/._chat.txt", "x")
    done = send_to(endpoint, tmp_path, "--participant", f"Alice={NUMBER}", "--timezone", "UTC")
    assert done.exit_code == 0
    assert [key[0] for key in endpoint.stored] == ["whatsapp-export:15552010001"] * 2


def test_two_files_of_one_name_are_not_mixed(endpoint: Endpoint) -> None:
    files = [CASES / "wa_two_johns_a.txt", CASES / "wa_two_johns_b.txt"]
    done = send_to(endpoint, *files, "--me", "Shop", "--participant", f" John ={NUMBER}")
    assert done.exit_code == 1
    assert "It goes into the same conversation as" in done.stdout
    assert len(endpoint.stored) == 2


def test_one_number_for_several_files_is_refused() -> None:
    files = CHAT, CASES / "wa_16_bom_in_the_middle.txt"
    for option in (SHOP, ["--group", "Team"], ["--conversation", "c"]):
        assert "are for one file" in run(*files, *option, "--dry-run").stderr


@pytest.mark.parametrize(
    ("file", "given", "unused"),
    [
        (CHAT, [NUMBER], ""),
        (CHAT, [f"Alice={NUMBER}"], ""),
        (CHAT, [NUMBER, "Alicia=+1 2"], "Alicia=+1 2"),
        (CHAT, [f"Alice={NUMBER}", "+1 2"], "+1 2"),
        (ACCOUNT, ["+1 2", "Ada=+1 3"], "+1 2, Ada=+1 3"),
        (CASES / "wa_20_quiet_group.txt", [NUMBER], ""),  # a refused file says why
    ],
    ids=["number", "name", "other name", "number beside a name", "Telegram", "refused"],
)
def test_participant_without_use_is_refused(endpoint: Endpoint, file: Path, given: list[str], unused: str) -> None:
    options = [part for each in given for part in ("--participant", each)]
    done = send_to(endpoint, file, "--me", "Shop", "--timezone", "UTC", *options)
    said = f"No conversation uses --participant {unused}. Write the name as its file has it.\n"
    assert (said in done.stderr, "No conversation uses" in done.stderr) == ((True,) * 2 if unused else (False,) * 2)
    if unused:
        assert (done.exit_code, endpoint.requests) == (1, [])


def test_file_without_a_conversation_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "receipts.json").write_text('{"envelope": {"source": "+1", "receiptMessage": {}}}')
    done = run(tmp_path / "receipts.json", "--dry-run")
    assert (done.exit_code, "Left out: 1 receipts" in done.stdout) == (1, True)


def test_two_platforms_in_one_run_are_refused() -> None:
    done = run(CHAT, ACCOUNT, "--me", "Shop", "--participant", f"Alice={NUMBER}", "--dry-run")
    assert "Import one platform at a time" in done.stderr
    assert "Import one platform at a time" in run(CHAT, *SHOP, "--platform", "signal", "--dry-run").stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([CHAT, *SHOP], "--connection"),
        ([CHAT, *SHOP, "--connection", "wa_1"], "--key"),
        ([CHAT, *SHOP, "--connection", "wa_1", "--key", "k", "--url", "ftp://x"], "http://"),
        ([CHAT, "--timezone", "Berlin"], "no time zone"),
        ([CHAT, "--timezone", "../x"], "no time zone"),
        (["missing.txt"], "does not exist"),
        ([CHAT, "--from", "skype"], "is no reader"),
    ],
)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, arguments: list, reason: str) -> None:
    monkeypatch.delenv("MESSAGING_API_SECRET", raising=False)
    done = run(*arguments)
    assert done.exit_code != 0
    assert reason in done.output
