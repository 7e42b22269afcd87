"""Files of messages: found beside the chat, uploaded once, shown by the conversation. All people are invented."""

import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from threadline_import import send
from threadline_import.commands import import_
from threadline_import.media import LARGEST, File
from threadline_import.sources import list_sources
from threadline_import.upload import TIMEOUT, Upload, Uploader

from tests.importer.conftest import Endpoint
from tests.importer.reading import NUMBER
from tests.support.ingest import Sender
from tests.support.sessions import session
from tests.support.stack import RunningStack

SHOP = ["--me", "Shop", "--participant", NUMBER, "--timezone", "UTC", "--json"]
PHOTO, VOICE = "00000001-PHOTO-2024-03-13-10-00-00.jpg", "00000002-AUDIO-2024-03-14-10-00-00.opus"
CHAT = f"""[13/03/2024, 10:00:00] Ada: \u200e<attached: {PHOTO}>
[14/03/2024, 10:00:00] Ada: \u200e<attached: {VOICE}>
[15/03/2024, 10:00:00] Ada: \u200e<attached: 00000003-gone.pdf>
[16/03/2024, 10:00:00] Shop: ok
"""
SHOWN = "select c.messages from public.conversations as c where c.user_id = %s"


def run(endpoint: Endpoint, *arguments: object) -> tuple[Result, dict]:
    target = ["--connection", "wa_1", "--url", endpoint.url, "--key", "secret"]
    done = CliRunner().invoke(import_, [*map(str, arguments), *SHOP, *target])
    return done, json.loads(done.stdout)


def write_zip(folder: Path, **more: bytes) -> Path:
    file = folder / "WhatsApp Chat - Ada.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_chat.txt", CHAT)
        for name, content in {PHOTO: b"a photo", VOICE: b"a voice", **more}.items():
            archive.writestr(name, content)
    return file


def write_photos(folder: Path, count: int) -> Path:
    names = [f"IMG-20240313-WA{number:04}.jpg" for number in range(count)]
    said = "".join(
        f"13/03/2024, 10:{place % 60:02} - Ada: {name} (file attached)\n" for place, name in enumerate(names)
    )
    (folder / "chat.txt").write_text(f"{said}14/03/2024, 10:00 - Shop: ok\n")
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder / "chat.txt"


def telegram(folder: Path) -> Path:
    said = {"type": "message", "date": "2024-02-15T10:00:00", "date_unixtime": "1707987600", "from_id": "user11"}
    messages = [
        {**said, "id": 1, "photo": "photos/photo_1.jpg", "text": "look"},
        {**said, "id": 2, "file": "files/plan.csv", "file_name": "plan.csv", "text": ""},
        {**said, "id": 3, "file": "(File not included. Change data exporting settings to download.)", "text": ""},
        {**said, "id": 4, "file": "../secret.txt", "text": ""},
        {**said, "id": 5, "from_id": "user22", "text": "ok"},
    ]
    export = folder / "ChatExport"
    for name, content in {"photos/photo_1.jpg": b"photo", "files/plan.csv": b"a,b"}.items():
        (export / name).parent.mkdir(parents=True)
        (export / name).write_bytes(content)
    (folder / "secret.txt").write_text("not of this chat")
    chat = {"name": "Ada", "type": "personal_chat", "id": 11, "messages": messages}
    (export / "result.json").write_text(json.dumps(chat))
    return export


def test_dry_run_counts_files_and_bytes(endpoint: Endpoint, tmp_path: Path) -> None:
    done, found = run(endpoint, write_zip(tmp_path), "--dry-run")
    [row] = found["conversations"]
    assert (row["files"], row["file_bytes"], row["without_file"], row["too_large"]) == (2, 14, 1, [])
    table = CliRunner().invoke(import_, [str(write_zip(tmp_path)), *SHOP[:-1], "--dry-run"]).stdout
    for part in ("2 (14 bytes)", "1 not there"):
        assert part in table
    assert (done.exit_code, endpoint.requests, endpoint.puts) == (0, [], [])


def test_zip_is_uploaded_once_and_shown(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        sender = Sender.create(client, stack.database_url())
    target = ["--connection", sender.connection_id, "--url", stack.api_url, "--key", sender.secret]
    runs = [CliRunner().invoke(import_, [str(write_zip(tmp_path)), *SHOP, *target]) for _ in range(2)]
    sent = [json.loads(done.stdout)["sent"] for done in runs]
    assert [done.exit_code for done in runs] == [0, 0]
    assert [(one["files"], one["file_bytes"], one["files_known"]) for one in sent] == [(2, 14, 0), (0, 0, 2)]
    with session(stack.database_url()) as db:
        ((messages,),) = db.execute(SHOWN, [sender.user_id]).fetchall()
    assert [message["type"] for message in messages] == ["image", "audio", "file", "text"]
    secret = {"authorization": f"Bearer {stack.keys['SECRET_KEY']}", "apikey": stack.keys["SECRET_KEY"]}
    answers = [httpx.get(stack.api_url + message["media_url"], headers=secret) for message in messages[:2]]
    assert [(answer.content, answer.headers["content-type"]) for answer in answers] == [
        (b"a photo", "image/jpeg"),
        (b"a voice", "audio/ogg"),
    ]
    assert not messages[2].get("media_url")


def test_telegram_folder_is_uploaded_to_storage(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        sender = Sender.create(client, stack.database_url(), platform="telegram")
    target = ["--connection", sender.connection_id, "--url", stack.api_url, "--key", sender.secret, "--json"]
    done = CliRunner().invoke(import_, [str(telegram(tmp_path)), *target])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["sent"]["files"], found["sent"]["file_bytes"]) == (0, 2, 8)
    assert found["conversations"][0]["without_file"] == 2
    with session(stack.database_url()) as db:
        ((messages,),) = db.execute(SHOWN, [sender.user_id]).fetchall()
    assert [bool(message.get("media_url")) for message in messages] == [True, True, False, False, False]


def test_interrupted_run_uploads_only_the_rest(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_photos(tmp_path, 30)

    def stop(_: send.Sender, *_more: object) -> list[str]:
        raise KeyboardInterrupt

    endpoint.put_answers = [(200, {})] * 10 + [(400, {"message": "refused"})] * 20
    with monkeypatch.context() as patched:
        patched.setattr(send.Sender, "_settle", stop)
        assert run(endpoint, file)[0].exit_code == 1
    assert len(endpoint.puts) == 10
    done, found = run(endpoint, file)
    assert (done.exit_code, found["sent"]["files"], found["sent"]["files_known"]) == (0, 20, 10)
    assert len({path for path, _, _ in endpoint.puts}) == len(endpoint.puts) == 30


def test_more_files_than_an_answer_offers_are_uploaded(endpoint: Endpoint, tmp_path: Path) -> None:
    done, found = run(endpoint, write_photos(tmp_path, 250))
    assert (done.exit_code, found["sent"]["files"]) == (0, 250)
    assert sorted(content.decode() for _, _, content in endpoint.puts)[-1] == "IMG-20240313-WA0249.jpg"


def test_file_that_storage_refuses_exits_with_1(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.put_answers = [(400, {"statusCode": "413", "message": "The object exceeded the maximum allowed size"})]
    done, found = run(endpoint, write_photos(tmp_path, 1))
    assert (done.exit_code, found["sent"]["added"]) == (1, 2)
    assert found["sent"]["errors"] == [
        "IMG-20240313-WA0000.jpg: The server answered 400: The object exceeded the maximum allowed size."
    ]


def test_storage_that_is_away_is_asked_again(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(send.Sender.__init__, "__defaults__", (pauses.append,))
    endpoint.put_answers = [(503, {"message": "away"})]
    done, found = run(endpoint, write_photos(tmp_path, 1))
    assert (done.exit_code, found["sent"]["files"], pauses) == (0, 1, [1.0])


def test_full_workspace_is_named_and_exits_with_1(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.is_full = True
    done, found = run(endpoint, write_photos(tmp_path, 150))
    assert (done.exit_code, found["sent"]["added"], endpoint.puts) == (1, 151, [])
    [error] = found["sent"]["errors"]
    assert "workspace_media_megabytes" in error


def test_broken_member_of_an_archive_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    file = write_zip(tmp_path)
    content = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo(PHOTO).header_offset + 30 + len(PHOTO)
    file.write_bytes(content[:start] + b"\xff\xff\xff" + content[start + 3 :])
    done, found = run(endpoint, file)
    assert (done.exit_code, found["sent"]["added"], found["sent"]["files"]) == (1, 4, 1)
    assert found["sent"]["errors"][0].startswith(f"{PHOTO} cannot be read")


def test_archives_of_one_name_keep_their_own_files(endpoint: Endpoint, tmp_path: Path) -> None:
    uploads = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        archive = write_zip(tmp_path / name, **{"note.txt": name.encode()})
        uploads.append(Upload(("", "", ""), File(archive, "note.txt", 1), f"{endpoint.url}/{name}"))
    uploader = Uploader(print, print)
    assert uploader.upload(uploads, print) == [None, None]
    uploader.close()
    assert uploader._client.is_closed
    assert [archive.fp for archive in uploader._archives.values()] == [None, None]
    assert sorted(endpoint.puts) == [("/a", "text/plain", b"a"), ("/b", "text/plain", b"b")]


def test_file_larger_than_the_bucket_takes_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "VID-20240313-WA0001.mp4").touch()
    with (tmp_path / "VID-20240313-WA0001.mp4").open("r+b") as file:
        file.truncate(LARGEST + 1)
    (tmp_path / "chat.txt").write_text(
        "13/03/2024, 10:00 - Ada: VID-20240313-WA0001.mp4 (file attached)\n14/03/2024, 10:00 - Shop: ok\n"
    )
    done, found = run(endpoint, tmp_path / "chat.txt")
    assert found["conversations"][0]["too_large"] == ["VID-20240313-WA0001.mp4"]
    assert (done.exit_code, found["sent"]["added"], endpoint.puts) == (0, 2, [])


def test_page_that_may_run_scripts_becomes_bytes(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "00000001-page.html").write_text("<script>")
    (tmp_path / "chat.txt").write_text(
        "[13/03/2024, 10:00:00] Ada: \u200e<attached: 00000001-page.html>\n[14/03/2024, 10:00:00] Shop: ok\n"
    )
    assert run(endpoint, tmp_path / "chat.txt")[0].exit_code == 0
    assert [kind for _, kind, _ in endpoint.puts] == ["application/octet-stream"]


def test_media_can_be_left_out(endpoint: Endpoint, tmp_path: Path) -> None:
    done, found = run(endpoint, write_zip(tmp_path), "--no-media")
    assert (done.exit_code, found["conversations"][0]["files"], endpoint.puts) == (0, 0, [])
    assert "media_uploads" not in endpoint.bodies[0]


def test_text_that_was_sent_is_no_chat(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "WhatsApp Chat with Ada.zip", "w") as archive:
        archive.writestr("WhatsApp Chat with Ada.txt", "13/03/2024, 10:00 - Ada: notes.txt (file attached)\n")
        archive.writestr("notes.txt", "13/03/2024, 10:00 - Bo: hi\n")
    (tmp_path / "00000001-notes.txt").write_text("beside no chat of an iPhone")
    telegram(tmp_path)
    names = [str(source).removeprefix(f"{tmp_path}/") for source in list_sources([tmp_path])]
    assert names == [
        "00000001-notes.txt",
        "ChatExport/result.json",
        "WhatsApp Chat with Ada.zip:WhatsApp Chat with Ada.txt",
        "secret.txt",
    ]


def test_upload_waits_as_long_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def answer(_: object, request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"])
        return httpx.Response(200)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    (tmp_path / "a.jpg").write_bytes(b"a photo")
    upload = Upload(("c", "1", ""), File(tmp_path / "a.jpg", None, 7), "http://storage.example/a")
    assert Uploader(print, print).upload([upload], print) == [None]
    assert waits == [TIMEOUT.as_dict()]


def put_each(
    paths: Iterable[object], folder: Path, answer: Callable[[str], int], done: Callable[[int], object] = print
) -> list[str | None]:
    (folder / "a.jpg").write_bytes(b"a photo")
    uploader = Uploader(print, print)
    uploader._client = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(answer(request.url.path[1:])))
    )
    file = File(folder / "a.jpg", None, 7)
    return uploader.upload([Upload(("c", "1", ""), file, f"http://storage.example/{path}") for path in paths], done)


def test_four_files_are_uploaded_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    def answer(_: str) -> int:
        together.wait()
        return 200

    assert put_each(range(4), tmp_path, answer) == [None] * 4


def test_stopped_upload_leaves_the_rest(tmp_path: Path) -> None:
    begun: list[str] = []

    def answer(path: str) -> int:
        begun.append(path)
        time.sleep(0 if path == "0" else 0.05)
        return 200

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_each(range(400), tmp_path, answer, stop)
    assert len(begun) < 400


def test_answer_of_storage_tells_whether_a_file_is_kept(tmp_path: Path) -> None:
    found = put_each((200, 403, 204, 304), tmp_path, int)
    assert [problem is None for problem in found] == [True, False, True, False]


def test_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 300_000)
    pieces = Uploader(print, print)._read(File(tmp_path / "a.mp4", None, 300_000))
    assert [len(piece) for piece in pieces] == [262_144, 37_856]
