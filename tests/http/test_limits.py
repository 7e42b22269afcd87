"""Files, forms and shares of the service, without a service."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar.exceptions import HTTPException
from multipart import MultipartError
from threadline import forms, shares, spool, storage
from threadline.forms import read_form
from threadline.protocol import IS_WHOLE
from threadline.routes import http
from threadline.settings import Settings
from threadline.shares import INGEST, Shares, TooManyAtOnceError
from threadline.spool import Spool
from threadline.storage import (
    Bucket,
    Storage,
    StorageRefusedError,
    StorageUnavailableError,
    content_type,
    image_size,
)

ONE = "00000000-0000-4000-8000-000000000001"
UTF_8, BYTES = "text/plain; charset=utf-8", "application/octet-stream"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"hello", UTF_8),
        ("é".encode()[:1], UTF_8),
        (b"\xe9 caf", BYTES),
        (b"a\x07\x08\t\n\x0c\r\x1b", UTF_8),
        *[(b"a" + bytes([control]), BYTES) for control in (0, 1, 6, 11, 14, 26, 28, 31, 127)],
        (b"\xff\xfea\0", "text/plain; charset=utf-16"),
        (b"\xfe\xff\0a", "text/plain; charset=utf-16"),
        (b"\xff\xfe" + bytes(255) + b"ustar", "application/x-tar"),
        (b"BM in clear text", UTF_8),
        (b"BM\0\0\0\0", "image/bmp"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"MZ\x90\0", "application/x-msdownload"),
        (b"%!PS", "application/postscript"),
        (b"{\\rtf1}", "application/rtf"),
    ],
)
def test_type_of_a_file_follows_its_first_bytes(head: bytes, kind: str) -> None:
    assert content_type(head) == kind


JPEG = b"\xff\xd8\xff\xe0\x00\x02"


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"GIF87a\x01\x00\x02\x01\x00", (1, 258)),
        (b"GIF89a\x03\x00\x02\x00\x00", (3, 2)),
        (b"GIF89a\x00\x00\x02\x00\x00", None),
        (b"GIF89a\x03\x00\x02", None),
        (b"GIF88a\x01\x00\x02\x00\x00", None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\0\0\0\x01", (2147483647, 1)),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x80\0\0\0\0\0\0\x01", None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIDAT\0\0\0\1\0\0\0\x01", None),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a\x01\xc0\x02\x80", (1, 2)),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2b\x01\x00\x02\x00", None),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2e\x7f\xc2\x77\x00", None),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (1 | 2 << 14 | 1 << 28).to_bytes(4, "little"), (2, 3)),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x01\x02\x03\x04\x05\0", (197122, 1285)),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x01\x02\x03\0\0", None),
        (b"RIFF\0\0\0\0WEBPVP9 " + bytes(14), None),
        (b"RIFF\0\0\0\0WAVEVP8X" + bytes(14), None),
        (JPEG + b"\xff\xc0\x00\x11\x08\x00\x01\x01\x02", (258, 1)),
        (JPEG + b"\xff\xcf\x00\x11\x08\x00\x01\x00\x02", (2, 1)),
        (JPEG + b"\xff\xc4\x00\x02\xff\xc8\x00\x02\xff\xcc\x00\x02\xff\xc1\x00\x11\x08\x00\x01\x00\x02", (2, 1)),
        (JPEG + b"\xff\xc0\x00\x01\x08\x00\x01\x00\x02", None),
        (JPEG + b"\xfe\xc0\x00\x11\x08\x00\x01\x00\x02", None),
        (b"\xff\xd8\xff\xe0\x00\x01\xff\xc0\x00\x11\x08\x00\x01\x00\x02", None),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 99 + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x02", (2, 1)),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100 + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x02", None),
    ],
    ids=range(24),
)
def test_size_of_an_image_is_read_or_left_out(content: bytes, size: tuple[int, int] | None) -> None:
    file = BytesIO(content)
    file.seek(3)
    assert image_size(file) == size


PROJECT = {"supabase_url": "http://x", "supabase_key": "public", "supabase_secret_key": "secret"}


def ask_storage(reply: httpx.Response | Exception, work: Callable[[Bucket], Any], **more: str) -> tuple[Any, list]:
    """Do something in a bucket that answers like this; return the outcome and the requests."""
    asked: list[httpx.Request] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        asked.append(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run() -> Any:
        made = Storage(Settings("postgresql://x@127.0.0.1/x", **{**PROJECT, **more}))
        await made.aclose()
        assert made._client.is_closed
        made._client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
        try:
            return await work(made)
        except (StorageRefusedError, StorageUnavailableError) as error:
            return getattr(error, "status", "unavailable")
        finally:
            await made.aclose()

    return asyncio.run(run()), asked


def test_file_is_uploaded_with_the_rights_of_the_caller() -> None:
    content = b"%PDF-1.7" + bytes(100_000)
    file = BytesIO(content)
    file.seek(5)
    done, [request] = ask_storage(httpx.Response(200), lambda made: made.acting_for("token").upload("c/f", file))
    assert (done, request.method, str(request.url)) == (None, "POST", "http://x/storage/v1/object/attachments/c/f")
    assert request.content == content
    sent = {name: request.headers[name] for name in ("apikey", "authorization", "content-type", "content-length")}
    assert sent == {
        "apikey": "public", "authorization": "Bearer token", "content-type": "application/pdf",
        "content-length": str(len(content)),
    }  # fmt: skip
    assert request.headers["cache-control"] == "max-age=3600"
    for size, kind in ((8192, UTF_8), (8191, BYTES)):
        text = BytesIO(b"a" * size + b"\0")
        _, [request] = ask_storage(httpx.Response(200), lambda made, text=text: made.acting_for("t").upload("f", text))
        assert request.headers["content-type"] == kind


def test_file_is_read_in_pieces() -> None:
    async def read() -> list[int]:
        return [len(piece) async for piece in storage._read(BytesIO(bytes(100_000)))]

    assert asyncio.run(read()) == [65_536, 34_464]


def problem(status: int, **body: object) -> httpx.Response:
    return httpx.Response(status, json={"message": "m", "error": "e", **body})


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (problem(400, statusCode="413"), 413),
        (problem(404), 404),
        (problem(400), 400),
        (problem(302), "unavailable"),
        (problem(400, statusCode="399"), "unavailable"),
        (problem(499), 499),
        (problem(400, statusCode="500"), "unavailable"),
        (problem(400, statusCode="odd"), "unavailable"),
        (httpx.Response(502, text="<html>"), "unavailable"),
        (httpx.ConnectError("x"), "unavailable"),
        (httpx.ReadTimeout("x"), "unavailable"),
        (httpx.DecodingError("m"), "unavailable"),
    ],
    ids=range(12),
)
def test_refusal_of_storage_is_no_failure(
    caplog: pytest.LogCaptureFixture, reply: httpx.Response | Exception, outcome: object
) -> None:
    assert ask_storage(reply, lambda made: made.acting_for("t").upload("f", BytesIO(b"x")))[0] == outcome
    is_answer = isinstance(reply, httpx.Response) and reply.status_code != 502
    failed = type(reply).__name__ if isinstance(reply, Exception) else "JSONDecodeError"
    [said] = caplog.messages
    assert re.fullmatch("Storage answers [0-9od]+ e" if is_answer else f"Storage failed with {failed}", said)
    if outcome in (404, "unavailable"):
        for work in (
            lambda bucket: bucket.remove(["f"]),
            lambda bucket: bucket.sign(["f"]),
            lambda bucket: bucket.sign_download("f", "f"),
            lambda bucket: bucket.sign_upload("f"),
        ):
            assert ask_storage(reply, lambda made, work=work: work(made.acting_for_itself()))[0] == outcome


def test_link_to_a_file_is_signed_for_ten_minutes() -> None:
    found = httpx.Response(200, json=[{"signedURL": "/a?token=t", "path": "a", "error": None}])
    done, [request] = ask_storage(found, lambda made: made.acting_for("token").sign(["a"]))
    assert done == ["http://x/storage/v1/a?token=t"]
    assert json.loads(request.content) == {"expiresIn": "600", "paths": ["a"]}
    gone = httpx.Response(200, json=[{"signedURL": None, "path": "a", "error": "gone"}])
    assert ask_storage(gone, lambda made: made.acting_for("token").sign(["a"]))[0] == 404


def test_link_to_save_a_file_has_its_name() -> None:
    found = httpx.Response(200, json={"signedURL": "/a?token=t"})
    done, [request] = ask_storage(found, lambda made: made.acting_for("token").sign_download("a", "plan b.pdf"))
    assert done.startswith("http://x/storage/v1/a?token=t&download=plan")
    assert json.loads(request.content)["expiresIn"] == "600"
    done, [request] = ask_storage(
        httpx.Response(200, json=[]), lambda made: made.acting_for_itself().remove(["a", "b"])
    )
    assert (request.method, json.loads(request.content)) == ("DELETE", {"prefixes": ["a", "b"]})
    assert request.headers["apikey"] == "secret"


def test_uploads_are_signed_with_the_secret_key() -> None:
    offer = httpx.Response(200, json={"url": "/object/upload/sign/attachments/a?token=t"})
    done, requests = ask_storage(offer, lambda made: made.sign_uploads(["a", "b"]))
    assert [link.partition("?token=")[2] for link in done] == ["t", "t"]
    assert {request.headers["authorization"] for request in requests} == {"Bearer secret"}
    assert {request.headers["x-upsert"] for request in requests} == {"true"}
    for failure in (problem(500), problem(404), httpx.ConnectError("x")):
        assert ask_storage(failure, lambda made: made.sign_uploads(["a"]))[0] == [None]
    assert ask_storage(offer, lambda made: made.sign_uploads(["a", "b"]), supabase_secret_key="") == ([None, None], [])
    for setting in ("supabase_url", "supabase_key"):
        assert not Storage(Settings("x", **{**PROJECT, setting: None})).is_configured
    logging.getLogger("httpx").setLevel(logging.INFO)
    made = Storage(Settings("x", **PROJECT))
    assert (made.is_configured, made._client.timeout.read) == (True, 60)
    assert logging.getLogger("httpx").level == logging.WARNING
    assert [Storage(Settings("x", supabase_url=f"http://{host}"))._client.trust_env for host in ("x", "localhost")] == [
        True, False,
    ]  # fmt: skip


def test_ten_uploads_are_signed_at_once() -> None:
    under_way = most = 0

    async def sign_upload(path: str) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return path

    made = Storage(Settings("x", **PROJECT))
    made.acting_for_itself = lambda: SimpleNamespace(sign_upload=sign_upload)
    paths = [str(number) for number in range(30)]
    assert (asyncio.run(made.sign_uploads(paths)), most) == (paths, 10)


def send_form(
    *parts: bytes,
    boundary: str = "b",
    kind: str = "multipart/form-data",
    pieces: int = 1,
    max_bytes: int = 1000,
    after: int = 0,
    make_room: Callable[[int], None] | None = None,
) -> Any:
    """Read a form; return its fields, its files, and what was asked for."""
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n" + bytes(after)
    asked: list[object] = []

    async def stream() -> AsyncIterator[bytes]:
        size = -(-len(body) // pieces)
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def admit(fields: dict[str, str]) -> None:
        asked.append(dict(fields))

    async def run() -> Any:
        with ExitStack() as opened:
            fields, files = await read_form(
                opened, stream(), f"{kind}; boundary={boundary}", max_files=2, max_bytes=max_bytes, admit=admit,
                make_room=make_room or asked.append,
            )  # fmt: skip
            for file in files:
                file.content.seek(0)
            return fields, [(file.name, file.size, file.content.read()) for file in files], asked

    return asyncio.run(run())


def field(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def file_part(name: str, content: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + content


def test_form_is_read_in_the_order_of_its_parts() -> None:
    later = field("a", b"2"), field("c", b"1"), field("c", b"")
    parts = field("a", b"1"), file_part("x", b"xy"), field("b", b"\xe9"), file_part("", b""), *later
    for pieces in (1, 50):
        fields, files, asked = send_form(*parts, pieces=pieces)
        assert fields == {"a": "2", "b": "\ufffd", "c": ""}
        assert files == [("x", 2, b"xy"), ("", 0, b"")]
        assert asked[0] == {"a": "1"}
        assert sum(asked[1:]) == 2
    _, files, asked = send_form(file_part("x", b"y" * 1000), pieces=9)
    assert (files, sum(asked[1:])) == ([("x", 1000, b"y" * 1000)], 1000)
    assert send_form(field("a", b"x" * 10_000), *[field(str(number), b"") for number in range(19)])[2] == []


def test_piece_of_a_file_is_written_if_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    file, written = BytesIO(), []
    monkeypatch.setattr(forms.tempfile, "TemporaryFile", lambda **_: file)
    send_form(file_part("x", b"y" * 1000), pieces=9, make_room=lambda size: written.append((file.tell(), size)))
    assert written[0][0] == 0
    assert written[1][0] == written[0][1]


def test_bytes_outside_of_contents_are_limited() -> None:
    assert send_form(file_part("x", b"y" * 1_100_000), max_bytes=1_100_000, pieces=3)[1][0][1] == 1_100_000
    assert send_form(field("a", b"1"), after=999_000)[0] == {"a": "1"}
    for pieces in (1, 5):
        with pytest.raises(MultipartError, match=r"^Too many bytes"):
            send_form(field("a", b"1"), after=1_000_001, pieces=pieces)


TOO_MUCH = [
    ([field("a", b"x" * 10_001)], "A field is too long."),
    ([field(str(number), b"") for number in range(21)], "Too many fields."),
    ([file_part("x", b"")] * 3, "Send at most 2 at once."),
    ([file_part("x", b"x" * 1001)], "Send at most 1000 bytes per file."),
    ([field("a", b"x" * 1_100_000)], ""),
    ([b"X-Long: " + b"x" * 1_000_100 + b"\r\n" + field("a", b"")], ""),
]


@pytest.mark.parametrize(("parts", "reason"), TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_form_with_too_much_is_refused(parts: list[bytes], reason: str) -> None:
    with pytest.raises((MultipartError, HTTPException)) as refused:
        send_form(*parts)
    assert reason in str(getattr(refused.value, "detail", refused.value))
    if isinstance(refused.value, HTTPException):
        assert (refused.value.status_code, refused.value.extra["field"]) == (413, "files")


def test_other_media_type_is_no_form() -> None:
    for kind, boundary in (("application/json", "b"), ("multipart/mixed", "b"), ("multipart/form-data", "c")):
        with pytest.raises(MultipartError):
            send_form(field("a", b"1"), kind=kind, boundary=boundary)
    assert forms.too_large(7).extra == {"code": "file_too_large", "field": "files"}


def test_uploads_of_a_user_and_of_all_are_limited() -> None:
    limited = Spool(Settings("", upload_max_files=2, upload_max_bytes=5))
    with ExitStack() as opened:
        for _ in range(spool.USER_UPLOADS):
            mine = opened.enter_context(limited.open("me"))
        with pytest.raises(TooManyAtOnceError):
            limited.open("me").__enter__()
        mine.add(4)
        mine.add(6)
        with pytest.raises(TooManyAtOnceError):
            mine.add(1)
        for number in range(spool.PROCESS_UPLOADS - spool.USER_UPLOADS):
            opened.enter_context(limited.open(None if number else "you")).add(0)
        for user in ("other", None):
            with pytest.raises(HTTPException) as refused:
                limited.open(user).__enter__()
            assert (refused.value.status_code, refused.value.extra) == (503, {"code": "unavailable"})
    assert (limited._uploads, limited._bytes) == ({}, {})
    with limited.open(None) as trusted, limited.open("me") as mine, limited.open("you") as yours:
        trusted.add(30)
        mine.add(10)
        for each in (trusted, yours):
            with pytest.raises(HTTPException):
                each.add(1)
    assert (limited._uploads, limited._bytes) == ({}, {})
    with limited.open("me") as mine:
        mine.add(4)
        with suppress(TooManyAtOnceError), limited.open("me") as other:
            other.add(6)
            other.add(1)
        assert (limited._uploads, limited._bytes) == ({"me": 1}, {"me": 4})
    assert (spool.USER_UPLOADS, spool.PROCESS_UPLOADS, spool.ROOM) == (4, 64, 4)


class Timeless(asyncio.SelectorEventLoop):
    """A loop in which no time passes but that of its timers, so that a busy machine cannot lengthen a pause."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


def read_chunks(*messages: tuple[float, bytes], is_whole: bool = False) -> list[bytes] | tuple[int, str | None, str]:
    """Return the pieces of a body whose messages come after so many seconds, or how it is refused."""

    async def receive() -> dict[str, Any]:
        if not (left := list(waiting)):
            return {"type": "http.disconnect"}
        seconds, body = waiting.pop(0)
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": body, "more_body": len(left) > 1 or seconds < 0}

    async def run() -> list[bytes]:
        app = SimpleNamespace(state=SimpleNamespace(settings=Settings("", body_timeout=0.1)))
        scope = {IS_WHOLE: True} if is_whole else {}
        async with asyncio.timeout(1):
            return [chunk async for chunk in http.Chunks(SimpleNamespace(app=app, scope=scope, receive=receive))]

    waiting = list(messages)
    try:
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=Timeless) as runner:
            patch.setattr(http, "time", SimpleNamespace(monotonic=runner.get_loop().time))
            return runner.run(run())
    except HTTPException as error:
        return error.status_code, (error.headers or {}).get("connection"), error.detail


def test_body_must_come_without_pauses_and_not_too_slowly() -> None:
    slow = 408, "close", "The body took too long. Send it without pauses of 0.1 seconds."
    assert read_chunks((0, b"a"), (0, b""), (0, b"b"), (0, b"")) == [b"a", b"b"]
    assert read_chunks((-1, b"a")) == (500, None, "The client has gone.")
    assert read_chunks(*[(0.01, b"a")] * 20) == slow
    assert read_chunks(*[(0.01, b"a" * 500)] * 15) == [b"a" * 500] * 15
    assert read_chunks((0, b"a" * 5000), (2, b"b")) == slow
    assert read_chunks((0.15, b"a"), is_whole=True) == [b"a"]


def test_owner_holds_a_share_and_ingest_the_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 0.01)
    monkeypatch.setattr(shares, "QUEUE", 1)

    async def fill(pool: Shares, *owners: str) -> int:
        """Return how many calls of these owners get a place."""
        held = 0
        async with asyncio.TaskGroup() as group:

            async def hold() -> None:
                nonlocal held
                try:
                    await pool.take(*owners)
                except TooManyAtOnceError:
                    return
                held += 1
                await asyncio.sleep(0.05)
                pool.give_back(*owners)

            for _ in range(12):
                group.create_task(hold())
        assert pool._places._queues == {}
        return held

    async def run() -> list[int]:
        pool = Shares(10)
        return [await fill(pool, *owners) for owners in (["a"], [INGEST], ["a", INGEST], [])] + [
            await fill(Shares(1), "a"), await fill(Shares(1), INGEST),
        ]  # fmt: skip

    assert asyncio.run(run()) == [2, 5, 2, 12, 1, 1]

    async def hold_two() -> set[str]:
        await (pool := Shares(4)).take("a", "b")
        return set(pool._places._queues)

    assert asyncio.run(hold_two()) == {"a", "b"}

    async def take_none() -> list[int]:
        pool = Shares(4)
        await pool.take("b")
        with pytest.raises(TooManyAtOnceError):
            await pool.take("a", "c", "b")
        return [pool._places.count(owner) for owner in "abc"]

    monkeypatch.setattr(shares, "PATIENCE", 0)
    assert asyncio.run(take_none()) == [0, 1, 0]


def test_caller_who_leaves_gives_its_places_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 1)

    async def leave() -> list[int]:
        pool = Shares(4)
        await pool.take("a")
        waiting = asyncio.create_task(pool.take("b", "a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert pool._places._queues["a"].free.locked()
        return [pool._places.count(owner) for owner in "ab"]

    async def take_again() -> int:
        pool = Shares(8)
        for _ in range(2):
            await pool.take("a")
        pool.give_back("a")
        await pool.take("a")
        return pool._places.count("a")

    assert asyncio.run(leave()) == [1, 0]
    assert asyncio.run(take_again()) == 2
