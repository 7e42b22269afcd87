"""POST /api/v2/messages/upload stores all files or none, and returns links that work without a token."""

import asyncio
import json
import select
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import psycopg
import pytest
from litestar.exceptions import HTTPException
from threadline.database import Database
from threadline.forms import read_form
from threadline.housekeeper import sweep
from threadline.routes.uploads import _discard
from threadline.settings import Settings
from threadline.shares import TooManyAtOnceError
from threadline.spool import Spool
from threadline.storage import Bucket, Storage, StorageUnavailableError, image_size
from threadline_devstack import keys

from tests.support import contract
from tests.support.cluster import free_port
from tests.support.database import add_channel, keep_minute
from tests.support.service import Service, serving
from tests.support.sessions import session
from tests.support.stack import RunningStack

PATH = "/api/v2/messages/upload"
CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
BOB = "b0b0b0b0-0000-4000-8000-000000000002"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)
PDF = b"%PDF-1.7\n% a report"


class Uploader:
    """A signed-in user who sends forms."""

    def __init__(self, stack: RunningStack, url: str, sub: str = BOB) -> None:
        self.stack = stack
        now = int(time.time())
        claims = {"sub": sub, "role": "authenticated", "aud": "authenticated", "iat": now, "exp": now + 600}
        token = jwt.encode(claims, keys.JWT_SECRET, algorithm="HS256")
        self.client = httpx.Client(
            base_url=url,
            timeout=60,
            headers={"authorization": f"Bearer {token}"},
            event_hooks={"response": [contract.check]},
        )

    def send(self, *files: tuple[str, Any], content_type: str = "image/gif", **fields: str) -> httpx.Response:
        named = [("files", (name, content, content_type)) for name, content in files]
        return self.client.post(PATH, files=named, data={"conversation_id": CHANNEL, **fields})

    def stored(self) -> tuple[int, int]:
        """Count the files in Storage and the attachments; rows and files on disk must match."""
        with session(self.stack.database_url()) as connection:
            (rows,) = connection.execute("select count(*) from storage.objects").fetchone()
            (attachments,) = connection.execute("select count(*) from public.attachments").fetchone()
        assert rows == count_files(self.stack) - LEFT_BY_OTHERS[self.stack.home]
        return rows, attachments


# Files without a row that tests of other modules left in the same stack.
LEFT_BY_OTHERS: dict[Path, int] = {}


def count_files(stack: RunningStack) -> int:
    """Count the files that Storage has on disk."""
    return len(list((stack.home / "storage").glob("*")))


@pytest.fixture(autouse=True, scope="module")
def unlimited(stack: RunningStack) -> Iterator[None]:
    """Lift the request limit and count the files that exist before this module."""
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        (rows,) = connection.execute("select count(*) from storage.objects").fetchone()
        LEFT_BY_OTHERS[stack.home] = count_files(stack) - rows
        connection.execute("update private.settings set requests_per_minute = 10000")
        yield
        connection.execute("update private.settings set requests_per_minute = default")


@pytest.fixture
def bob(stack: RunningStack) -> Iterator[Uploader]:
    """A member of the channel."""
    uploader = Uploader(stack, stack.api_url)
    with uploader.client:
        yield uploader


@pytest.fixture
def mallory(stack: RunningStack) -> Iterator[Uploader]:
    """A user without a channel."""
    uploader = Uploader(stack, stack.api_url, "3a110123-0000-4000-8000-000000000004")
    with uploader.client:
        yield uploader


@pytest.fixture(scope="module")
def small_service(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that accepts two files of up to 20 MB."""
    yield from another(stack, tmp_path_factory, stack.api_url, UPLOAD_MAX_FILES="2", UPLOAD_MAX_BYTES="20000000")


@pytest.fixture(scope="module")
def service_without_storage(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose Storage is out of reach."""
    yield from another(stack, tmp_path_factory, f"http://127.0.0.1:{free_port()}")


def another(
    stack: RunningStack, folder: pytest.TempPathFactory, supabase_url: str, **settings: str
) -> Iterator[Service]:
    """Run a service beside the stack's own, with these settings."""
    environment = {
        "JWT_SECRET": keys.JWT_SECRET,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": keys.PUBLISHABLE_KEY,
        **{f"THREADLINE_{name}": value for name, value in settings.items()},
    }
    log = folder.mktemp("service") / "service.log"
    with serving(stack.database_url("authenticator"), log, **environment) as service:
        yield service


def failure(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["success"] is False
    assert body["meta"]["timestamp"]
    return answer.status_code, body["error"]["code"]


def test_upload_returns_the_documented_answer(bob: Uploader) -> None:
    answer = bob.send(("report.pdf", PDF), ("chart.png", PNG))
    assert answer.status_code == 200
    assert answer.headers["ratelimit-limit"] == "10000"
    data = answer.json()["data"]
    assert [(file["name"], file["size"], file["type"]) for file in data["files"]] == [
        ("report.pdf", len(PDF), "application/pdf"),
        ("chart.png", len(PNG), "image/png"),
    ]
    assert set(data["files"][0]) == {"name", "url", "size", "type", "id", "width", "height"}
    assert (data["conversation_id"], data["conversation_type"]) == (CHANNEL, "channel")


def test_file_link_works_without_a_token(bob: Uploader) -> None:
    [file] = bob.send(("chart.png", PNG)).json()["data"]["files"]
    answer = httpx.get(file["url"])
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")


def test_readers_of_a_file_get_a_new_link(bob: Uploader, mallory: Uploader) -> None:
    [file] = bob.send(("chärt.png", PNG)).json()["data"]["files"]
    path = f"/api/v2/messages/attachments/{file['id']}/url"
    again = bob.client.get(path).json()["data"]
    assert {**again, "url": ""} == {**file, "url": "", "conversation_id": CHANNEL}
    assert httpx.get(again["url"]).content == PNG
    to_save = httpx.get(bob.client.get(f"{path}?download=true").json()["data"]["url"])
    assert to_save.headers["content-disposition"].startswith("attachment; filename=ch%C3%A4rt.png")
    assert failure(mallory.client.get(path)) == (404, "attachment_not_found")
    assert failure(bob.client.get("/api/v2/messages/attachments/x/url")) == (400, "invalid_field")


def test_file_removed_from_storage_has_no_link(bob: Uploader) -> None:
    [file] = bob.send(("chart.png", PNG)).json()["data"]["files"]
    removed = bob.client.request(
        "DELETE", "/storage/v1/object/attachments", json={"prefixes": [f"{CHANNEL}/{file['id']}"]}
    )
    assert len(removed.json()) == 1
    assert failure(bob.client.get(f"/api/v2/messages/attachments/{file['id']}/url")) == (404, "file_not_found")
    with session(bob.stack.database_url()) as connection:
        connection.execute("delete from public.attachments where id = %s", [file["id"]])


def test_message_takes_an_uploaded_file_as_attachment(bob: Uploader) -> None:
    files = bob.send(("chart.png", PNG)).json()["data"]["files"]
    message = {"channel_id": CHANNEL, "content": "See the chart", "attachments": files}
    said = bob.client.post("/api/v2/messages", json=message).json()["data"]["attachments"]
    path = f"/api/v2/messages/attachments/{files[0]['id']}"
    assert said == [{**files[0], "url": path, "path": f"{CHANNEL}/{files[0]['id']}"}]
    message["attachments"] = [{"attachment_id": str(uuid.uuid4())}]
    assert failure(bob.client.post("/api/v2/messages", json=message)) == (404, "attachment_not_found")


def test_path_in_a_message_leads_to_the_file(bob: Uploader, mallory: Uploader) -> None:
    [file] = bob.send(("chart.png", PNG)).json()["data"]["files"]
    word = f"see{file['id'][:8]}"
    message = {"channel_id": CHANNEL, "content": word, "attachments": [{"id": file["id"]}]}
    said = bob.client.post("/api/v2/messages", json=message).json()["data"]
    page = bob.client.get("/api/v2/messages/history", params={"channel_id": CHANNEL, "limit": 1}).json()["data"]
    hits = bob.client.get("/api/v2/messages/search", params={"query": word}).json()["data"]
    assert page[0]["attachments"] == hits[0]["attachments"] == said["attachments"]
    url = said["attachments"][0]["url"]
    redirect = bob.client.get(url)
    assert (redirect.status_code, redirect.content) == (302, b"")
    assert httpx.get(redirect.headers["location"]).content == PNG
    assert redirect.headers["cache-control"] == "no-store"
    assert bob.client.get(f"{url}?download=true", follow_redirects=True).headers["content-disposition"]
    assert failure(mallory.client.get(url)) == (404, "attachment_not_found")
    assert failure(httpx.get(f"{bob.stack.api_url}{url}")) == (401, "invalid_token")
    bob.client.delete(f"/api/v2/messages/{said['id']}", params={"user_id": BOB})
    assert failure(bob.client.get(url)) == (404, "attachment_not_found")


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x02\x80\x00\x00\x01\xe0\x08", (640, 480)),
        (b"GIF89a\x80\x02\xe0\x01\x00", (640, 480)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\x80\x02\xe0\x01", (640, 480)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x02\x00\xdf\x01\x00", (640, 480)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f\x7f\xc2\x77\x00", (640, 480)),
        (b"\xff\xd8\xff\xe1\x27\x10" + bytes(9998) + b"\xff\xc2\x00\x11\x08\x01\xe0\x02\x80", (640, 480)),
        (b"\xff\xd8\xff\xe0" + bytes(100), None),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", None),
        (b"RIFF\x00\x00\x00\x00WEBPVP8L", None),
        (b"", None),
    ],
    ids=[
        "PNG",
        "GIF",
        "WebP",
        "WebP extended",
        "WebP lossless",
        "JPEG with a preview",
        "JPEG",
        "PNG cut",
        "WebP cut",
        "empty",
    ],
)
def test_image_size_is_read_from_the_file(content: bytes, size: tuple[int, int] | None) -> None:
    assert image_size(BytesIO(content)) == size


def test_text_is_shown_in_its_encoding(bob: Uploader) -> None:
    for text, encoding in (("Gr\u00fc\u00dfe aus K\u00f6ln", "utf-8"), ("Gr\u00fc\u00dfe", "utf-16")):
        [file] = bob.send(("hello.txt", text.encode(encoding))).json()["data"]["files"]
        shown = httpx.get(file["url"])
        assert shown.headers["content-type"] == f"text/plain; charset={encoding}"
        assert shown.text.lstrip("\ufeff") == text
        assert file["type"] == "text/plain"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!doctype html><script>alert(1)</script>", "text/plain"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "text/plain"),
        ("Grüße, 你好".encode() * 2000, "text/plain"),
        (b"BMW, a maker of cars", "text/plain"),
        (b"", "text/plain"),
        (bytes(100), "application/octet-stream"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "image/jpeg"),
        (PDF, "application/pdf"),
    ],
    ids=["HTML", "SVG", "long text", "text that begins with BM", "empty", "zeros", "JPEG", "PDF"],
)
def test_file_type_follows_the_content_not_the_client(bob: Uploader, content: bytes, kind: str) -> None:
    [file] = bob.send(("x.html", content), content_type="text/html").json()["data"]["files"]
    assert (file["type"], file["size"]) == (kind, len(content))
    assert httpx.get(file["url"]).headers["content-type"].startswith(kind)


def test_file_name_is_display_text_only(bob: Uploader) -> None:
    name = "../../../" + "ü" * 300 + ".pdf"
    [file] = bob.send((name, PDF)).json()["data"]["files"]
    assert file["name"] == name[:255]
    assert f"{CHANNEL}/{file['id']}?" in file["url"]


def test_failed_upload_leaves_no_file(stack: RunningStack, bob: Uploader) -> None:
    before = bob.stored() if bob.send(("a", PNG)).is_success else (0, 0)
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("update storage.buckets set file_size_limit = 1000 where id = 'attachments'")
        try:
            answer = bob.send(("small.png", PNG), ("large.png", PNG * 100), ("small.png", PNG))
        finally:
            connection.execute("update storage.buckets set file_size_limit = 52428800 where id = 'attachments'")
    assert failure(answer) == (413, "file_too_large")
    assert bob.stored() == before


def test_upload_that_the_database_refuses_leaves_no_file(stack: RunningStack, bob: Uploader) -> None:
    before = bob.stored() if bob.send(("a", PNG)).is_success else (0, 0)
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("alter table public.attachments add constraint refused check (file_name <> 'refused')")
        try:
            answer = bob.send(("accepted", PNG), ("refused", PNG))
        finally:
            connection.execute("alter table public.attachments drop constraint refused")
    assert failure(answer) == (400, "invalid_value")
    assert bob.stored() == before


def test_file_may_have_exactly_the_largest_size() -> None:
    async def sized(size: int) -> int:
        async def stream() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
            yield bytes(size)
            yield b"\r\n--b--\r\n"

        async def admit(_: dict[str, str]) -> None:
            pass

        with ExitStack() as opened:
            kind = "multipart/form-data; boundary=b"
            _, (file,) = await read_form(
                opened, stream(), kind, max_files=1, max_bytes=100, admit=admit, make_room=lambda _: None
            )
            return file.size

    assert asyncio.run(sized(100)) == 100
    with pytest.raises(HTTPException):
        asyncio.run(sized(101))


def test_non_member_cannot_upload(mallory: Uploader, bob: Uploader) -> None:
    before = bob.stored() if bob.send(("a", PNG)).is_success else (0, 0)
    assert failure(mallory.send(("chart.png", PNG))) == (404, "channel_not_found")
    assert bob.stored() == before


def test_service_role_uploads_to_any_channel(stack: RunningStack) -> None:
    answer = httpx.post(
        f"{stack.api_url}{PATH}",
        headers={"authorization": f"Bearer {keys.SERVICE_ROLE_KEY}"},
        files=[("files", ("chart.png", PNG))],
        data={"conversation_id": CHANNEL},
    )
    assert answer.json()["data"]["files"][0]["type"] == "image/png"


def test_form_with_wrong_fields_is_400(bob: Uploader) -> None:
    assert failure(bob.client.post(PATH, files={"files": ("x", b"x")})) == (400, "missing_field")
    assert failure(bob.client.post(PATH, files={"conversation_id": (None, CHANNEL)})) == (400, "missing_field")
    assert failure(bob.send(("x", b"x"), conversation_id="x")) == (400, "invalid_field")
    assert failure(bob.send(("x", b"x"), conversation_type="dm")) == (400, "conversation_type_mismatch")
    assert bob.send(("x", b"x"), conversation_type="channel", workspace_id="").status_code == 200


def test_body_other_than_a_form_is_refused(bob: Uploader) -> None:
    assert failure(bob.client.post(PATH, json={})) == (415, "unsupported_media_type")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = bob.client.post(PATH, content=b"--x\r\nnot a form", headers={"content-type": content_type})
        assert failure(answer) == (400, "invalid_form")


def test_upload_without_a_token_is_401(stack: RunningStack) -> None:
    answer = httpx.post(f"{stack.api_url}{PATH}", files={"files": ("x", b"x")})
    assert failure(answer) == (401, "invalid_token")


def test_too_many_or_too_large_files_are_413(stack: RunningStack, small_service: Service, bob: Uploader) -> None:
    before = bob.stored() if bob.send(("a", PNG)).is_success else (0, 0)
    uploader = Uploader(stack, small_service.url)
    with uploader.client:
        assert failure(uploader.send(*[("x", b"x")] * 3)) == (413, "too_many_files")
        assert failure(uploader.send(("x", bytes(20_000_001)))) == (413, "file_too_large")
    assert bob.stored() == before


def test_upload_streams_files_through_memory(stack: RunningStack, small_service: Service, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(19_000_000))
    uploader = Uploader(stack, small_service.url)
    process = psutil.Process(small_service.process.pid)
    with uploader.client:
        assert uploader.send(("warm", b"up")).status_code == 200
        before = process.memory_info().rss
        for _ in range(2):
            with large.open("rb") as one, large.open("rb") as other:
                answer = uploader.send(("one.bin", one), ("other.bin", other))
            assert [file["size"] for file in answer.json()["data"]["files"]] == [19_000_000] * 2
        assert process.memory_info().rss - before < 12_000_000


def test_unreachable_storage_is_503(stack: RunningStack, service_without_storage: Service) -> None:
    uploader = Uploader(stack, service_without_storage.url)
    with uploader.client:
        answer = uploader.send(("x", b"x"))
    assert failure(answer) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"


def test_upload_without_a_project_names_the_setting(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for service in another(stack, tmp_path_factory, ""):
        uploader = Uploader(stack, service.url)
        with uploader.client:
            answer = uploader.send(("x", b"x"))
        assert failure(answer) == (503, "storage_not_configured")
        assert "SUPABASE_URL" in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def impatient_service(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that accepts two files of up to 2 MB, and pauses of one second."""
    limits = {"UPLOAD_MAX_FILES": "2", "UPLOAD_MAX_BYTES": "2000000", "BODY_TIMEOUT": "1"}
    yield from another(stack, tmp_path_factory, stack.api_url, **limits)


class SlowForm:
    """An upload whose body comes piece by piece."""

    def __init__(self, uploader: Uploader, service: Service) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=10)
        token = uploader.client.headers["authorization"]
        self.socket.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: 3000000\r\n"
            "content-type: multipart/form-data; boundary=b\r\n\r\n".encode()
        )

    def field(self, name: str, value: str) -> "SlowForm":
        return self.send(f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())

    def file(self, size: int) -> "SlowForm":
        head = b'--b\r\ncontent-disposition: form-data; name="files"; filename="f"\r\n\r\n'
        return self.send(head + bytes(size))

    def send(self, data: bytes) -> "SlowForm":
        self.socket.sendall(data)
        return self

    def failure(self) -> tuple[int, str]:
        """Read the answer, which comes before the end of the body."""
        answer = self.socket.recv(65536).decode()
        while "\r\n\r\n{" not in answer:
            answer += self.socket.recv(65536).decode()
        self.socket.close()
        return int(answer.split()[1]), json.loads(answer.partition("\r\n\r\n")[2])["error"]["code"]


def temporary_bytes(service: Service) -> int:
    """The size of the unnamed files that a service has open."""
    size = 0
    for entry in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with suppress(OSError):
            if str(entry.readlink()).endswith("(deleted)"):
                size += entry.stat().st_size
    return size


REFUSED = {
    "no channel, files first": ("mallory", "", (404, "channel_not_found")),
    "no channel, field first": ("mallory", CHANNEL, (404, "channel_not_found")),
    "unknown channel": ("bob", str(uuid.uuid4()), (404, "channel_not_found")),
    "malformed channel": ("bob", "x", (400, "invalid_field")),
    "over the limit, files first": ("limited", "", (429, "rate_limited")),
    "over the limit, field first": ("limited", CHANNEL, (429, "rate_limited")),
}


@pytest.mark.parametrize(("who", "channel_id", "expected"), REFUSED.values(), ids=list(REFUSED))
def test_refused_upload_stores_no_byte(
    stack: RunningStack, small_service: Service, who: str, channel_id: str, expected: tuple[int, str]
) -> None:
    sub = "3a110123-0000-4000-8000-000000000004" if who == "mallory" else BOB
    uploader = Uploader(stack, small_service.url, sub)
    with psycopg.connect(stack.database_url(), autocommit=True) as connection, uploader.client:
        if who == "limited":
            connection.execute("update private.settings set requests_per_minute = 1")
            keep_minute(connection, sub)
            uploader.client.get("/api/v2/messages/attachments/x/url")
        try:
            form = SlowForm(uploader, small_service)
            if channel_id:
                form.field("conversation_id", channel_id)
            form.file(2_000_000)
            assert form.failure() == expected
            assert temporary_bytes(small_service) == 0
        finally:
            connection.execute("update private.settings set requests_per_minute = 10000")


@pytest.mark.parametrize("order", ["files first", "fields first", "between", "changed"])
def test_fields_may_stand_anywhere_and_count_once(bob: Uploader, order: str) -> None:
    fields, files = [("conversation_id", (None, CHANNEL))], [("files", ("a", PNG)), ("files", ("b", PDF))]
    form = {
        "files first": [*files, *fields],
        "fields first": [*fields, *files],
        "between": [files[0], *fields, files[1]],
        "changed": [*fields, *files, ("conversation_type", (None, "channel"))],
    }[order]
    with session(bob.stack.database_url()) as connection:
        keep_minute(connection, BOB)
    before = int(bob.client.get("/api/v2/messages/attachments/x/url").headers["ratelimit-remaining"])
    answer = bob.client.post(PATH, files=form)
    assert [file["name"] for file in answer.json()["data"]["files"]] == ["a", "b"]
    assert before - int(answer.headers["ratelimit-remaining"]) == 1
    after = int(bob.client.get("/api/v2/messages/attachments/x/url").headers["ratelimit-remaining"])
    assert before - after == 2


def test_channel_named_after_the_files_is_checked(bob: Uploader, mallory: Uploader) -> None:
    before = bob.stored() if bob.send(("a", PNG)).is_success else (0, 0)
    fields = [("conversation_id", (None, CHANNEL)), ("files", ("a", PNG))]
    other = ("conversation_id", (None, str(uuid.uuid4())))
    assert failure(bob.client.post(PATH, files=[*fields, other])) == (404, "channel_not_found")
    assert failure(bob.client.post(PATH, files=[fields[1], other])) == (404, "channel_not_found")
    assert bob.stored() == before


def test_last_named_channel_gets_the_files(bob: Uploader) -> None:
    with session(bob.stack.database_url()) as connection:
        other = add_channel(connection, "second", [BOB])
    first, last = (("conversation_id", (None, each)) for each in (CHANNEL, other))
    answer = bob.client.post(PATH, files=[first, ("files", ("a", PNG)), last])
    assert answer.json()["data"]["conversation_id"] == other


def test_failure_of_storage_is_no_refusal() -> None:
    reply = {"statusCode": "500", "error": "internal", "message": "Internal Server Error"}

    async def upload() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(500, json=reply))
        async with httpx.AsyncClient(transport=transport) as client:
            await Bucket(client, "http://storage.example/storage/v1/", "key", "token").upload("a", BytesIO(b"x"))

    with pytest.raises(StorageUnavailableError):
        asyncio.run(upload())


@pytest.mark.parametrize("status", [403, 500])
def test_file_that_cannot_be_removed_hides_no_error(status: int) -> None:
    reply = {"statusCode": str(status), "error": "Unauthorized", "message": "No"}

    async def discard() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, json=reply))
        async with httpx.AsyncClient(transport=transport) as client:
            await _discard(Bucket(client, "http://storage.example/storage/v1/", "key", "token"), ["a"])

    asyncio.run(discard())


@pytest.mark.parametrize("piece", [b"", b"x"])
def test_body_that_pauses_or_drips_is_408(stack: RunningStack, impatient_service: Service, piece: bytes) -> None:
    uploader = Uploader(stack, impatient_service.url)
    with uploader.client:
        form = SlowForm(uploader, impatient_service).field("conversation_id", CHANNEL).file(2000)
        began = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began < 6 and not select.select([form.socket], [], [], 0.3)[0]:
                form.send(piece)
        assert form.failure() == (408, "body_too_slow")
        assert time.monotonic() - began < 6
        assert temporary_bytes(impatient_service) == 0


@pytest.mark.parametrize("path", ["/api/v2/messages", "/functions/v1/messaging-ingest"])
def test_json_body_that_pauses_is_408(stack: RunningStack, impatient_service: Service, path: str) -> None:
    uploader = Uploader(stack, impatient_service.url)

    def body() -> Iterator[bytes]:
        yield b"{"
        time.sleep(3)
        yield b"}"

    with uploader.client:
        answer = uploader.client.post(path, content=body(), headers={"content-type": "application/json"})
    assert answer.status_code == 408


def test_user_fills_at_most_one_upload_of_disk(stack: RunningStack, impatient_service: Service) -> None:
    uploader = Uploader(stack, impatient_service.url)
    with uploader.client:
        forms = [SlowForm(uploader, impatient_service).field("conversation_id", CHANNEL) for _ in range(3)]
        for form in forms:
            form.file(1_900_000)
        assert forms[2].failure() in {(429, "too_many_at_once"), (408, "body_too_slow")}
        assert temporary_bytes(impatient_service) <= 4_000_000
        for form in forms[:2]:
            form.failure()
        many = [SlowForm(uploader, impatient_service) for _ in range(6)]
        time.sleep(0.3)
        assert [form.failure() for form in many].count((429, "too_many_at_once")) == 2
        assert uploader.send(("x", b"x")).status_code == 200


def test_process_has_room_for_four_full_uploads() -> None:
    spool = Spool(Settings("", upload_max_files=2, upload_max_bytes=50))
    with ExitStack() as opened:
        uploads = [opened.enter_context(spool.open(f"user {number}")) for number in range(5)]
        for each in uploads[:4]:
            each.add(100)
        with pytest.raises(TooManyAtOnceError):
            uploads[0].add(1)
        with pytest.raises(HTTPException) as refused:
            uploads[4].add(1)
        assert refused.value.status_code == 503
    with spool.open("user 1") as again, spool.open(None) as service:
        again.add(100)
        service.add(300)


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "x; text/plain", ""]
)
def test_link_to_a_file_that_can_run_scripts_saves_it(bob: Uploader, kind: str) -> None:
    [file] = bob.send(("page.html", b"<script>alert(1)</script>")).json()["data"]["files"]
    with session(bob.stack.database_url()) as connection:
        connection.execute("update public.attachments set content_type = %s where id = %s", [kind, file["id"]])
    link = bob.client.get(f"/api/v2/messages/attachments/{file['id']}/url").json()["data"]["url"]
    assert httpx.get(link).headers["content-disposition"].startswith("attachment")


def test_storage_refuses_what_could_change_or_run(stack: RunningStack, bob: Uploader) -> None:
    path = f"attachments/{CHANNEL}/{uuid.uuid4()}"
    with httpx.Client(base_url=f"{stack.api_url}/storage/v1", headers=bob.client.headers) as storage:
        page = {"content-type": "text/html"}
        for refused in (
            storage.post(f"/object/{path}", content=b"<script>", headers=page),
            storage.post(f"/object/{path}", files={"file": ("x", b"<script>", "image/svg+xml")}),
            storage.post(f"/object/upload/sign/{path}", headers={"x-upsert": "true"}),
        ):
            assert refused.json()["code"] == "AccessDenied"
        signed = storage.post(f"/object/upload/sign/{path}").json()["url"]
        assert storage.put(signed, content=b"<script>", headers=page).status_code == 200
        assert storage.get(f"/object/authenticated/{path}").json()["code"] == "NoSuchKey"


def test_sweep_removes_unused_files_from_storage(stack: RunningStack, bob: Uploader) -> None:
    kept = bob.send(("kept", PNG)).json()["data"]["files"][0]["id"]
    attached = {"channel_id": CHANNEL, "content": "see", "attachments": [{"id": kept}]}
    assert bob.client.post("/api/v2/messages", json=attached).status_code == 201
    files, attachments = bob.stored()
    bob.send(("unsent", PDF), ("unsent too", PNG))
    assert bob.stored() == (files + 2, attachments + 2)
    with session(stack.database_url("supabase_admin")) as connection:
        for table in ("public.attachments", "storage.objects"):
            connection.execute(f"update {table} set created_at = now() - interval '2 days'")
        connection.execute("delete from public.attachments where file_name = 'unsent'")  # as after a failed upload
    settings = Settings(
        database_url=stack.database_url("authenticator"),
        supabase_url=stack.api_url,
        supabase_secret_key=keys.SECRET_KEY,
    )

    async def run() -> None:
        storage = Storage(settings)
        async with Database(settings) as database:
            await sweep(database, storage)
        await storage.aclose()

    asyncio.run(run())
    link = bob.client.get(f"/api/v2/messages/attachments/{kept}/url").json()["data"]["url"]
    assert httpx.get(link).content == PNG
    with session(stack.database_url()) as connection:
        left = connection.execute("select file_name from public.attachments").fetchall()
        (orphans,) = connection.execute(
            """
            select count(*) from storage.objects as stored
            where stored.name like %s and not exists (
                select from public.attachments as file where file.path = stored.name
            )
            """,
            (f"{CHANNEL}/%",),
        ).fetchone()
    assert ("kept",) in left
    assert ("unsent too",) not in left
    assert orphans == 0
