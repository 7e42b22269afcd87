"""The routes between HTTP and the calls of functions, with a database, a Storage and a model of one test."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar import Request, get
from litestar.exceptions import HTTPException
from threadline import app
from threadline.database import DatabaseUnavailableError, Reply
from threadline.forms import MAX_OVERHEAD
from threadline.protocol import IS_WHOLE
from threadline.routes import exports, summaries, uploads
from threadline.settings import Settings
from threadline.spool import Spool
from threadline.storage import StorageRefusedError, StorageUnavailableError
from threadline.summarizer import SummaryFailedError
from threadline.tokens import Caller, InvalidTokenError

from tests.http.test_limits import Timeless, field, file_part

USER = "11c0f3a2-5d1e-4a7b-8c3d-000000000001"
CALLER = Caller("authenticated", "{}", USER)


def reply(status: int = 200, *, left: int | None = None, **body: Any) -> Reply:
    """Return the answer of a function."""
    return Reply(status, {} if left is None else {"ratelimit-remaining": str(left)}, json.dumps(body).encode())


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
def test_application_starts_and_ends_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        async def __aenter__(self) -> "Part":
            done.append(f"{self._name} begins")
            return self

        async def __aexit__(self, *_: object) -> None:
            done.append(f"{self._name} ends")

        async def aclose(self) -> None:
            done.append(f"{self._name} closes")

    def replace(name: str) -> None:
        monkeypatch.setattr(app, name, lambda *_: Part(name))

    for name in ("Database", "Storage", "Summarizer", "delivering", "housekeeping"):
        replace(name)

    @get("/own")
    async def fail() -> None:
        raise ValueError("canary")

    project = {"supabase_url": "http://x", "supabase_key": "k"}
    extras = {"service": "/else", "more": 1}

    async def ask() -> list[httpx.Response]:
        made = app.create_app(Settings("", **project), [fail], [("/own", "Our own part")], extras)
        assert (made.openapi_config, made.logging_config, made.request_max_body_size) == (None, None, None)
        transport = httpx.ASGITransport(made)
        async with made.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return [await client.get(path) for path in ("/", "/own", "/api/v2/x", "/console/config.json", "/schema/x")]

    page, failed, unknown, config, other = asyncio.run(ask())
    assert "Our own part" in page.text
    assert (failed.status_code, failed.json()) == (500, {"error": "Internal server error"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert (unknown.headers["access-control-allow-origin"], len(unknown.headers["x-request-id"])) == ("*", 36)
    assert config.json() == {"url": "http://x", "key": "k", **extras}
    assert other.json() == {"error": "Not Found"}
    begins, ends = (["Database", "delivering", "housekeeping"], ["housekeeping", "delivering", "Summarizer", "Storage"])
    closes = [f"{name} {'closes' if name[0] == 'S' else 'ends'}" for name in (*ends, "Database")]
    assert done == [*(f"{name} begins" for name in begins), *closes]


class World:
    """What the routes need. `asked` has each call and each step of Storage, in order."""

    def __init__(self, replies: dict[str, list[Reply]], **settings: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._replies = {name: list(each) for name, each in replies.items()}
        self.settings = Settings("", **settings)
        self.spool = Spool(self.settings)
        self.database, self.verifier, self.storage = self, self, self
        self.caller: Caller | None = CALLER
        self.is_configured = True
        self.failure: BaseException | None = None
        self.cannot_remove: Exception | None = None
        self.seconds = 0.0  # that Storage takes
        self.sent = b""
        self.summarizer: Any = None

    async def verify(self, _: str | None) -> Caller:
        if self.caller is None:
            raise InvalidTokenError("No")
        return self.caller

    async def call(
        self, function: str, *, caller: Caller | None = None, body: Any = b"", parameters: Any = None, **_: Any
    ) -> Reply:
        self.asked.append((function, caller, body, parameters))
        left = self._replies[function]
        return left.pop(0) if len(left) > 1 else left[0]

    def acting_for(self, token: str) -> "World":
        self.asked.append(("acts for", token))
        return self

    async def upload(self, path: str, content: Any) -> None:
        content.seek(0)
        self.asked.append(("upload", path, content.read(), dict(self.spool._uploads), dict(self.spool._bytes)))
        await asyncio.sleep(self.seconds)
        if self.failure:
            raise self.failure

    async def sign(self, paths: list[str]) -> list[str]:
        self.asked.append(("sign", *paths))
        return [f"http://x/{path}" for path in paths]

    async def sign_download(self, path: str, name: str) -> str:
        self.asked.append(("sign to save", path, name))
        return f"http://x/{path}?download"

    async def remove(self, paths: list[str]) -> None:
        await asyncio.sleep(self.seconds)
        self.asked.append(("remove", *paths))
        if self.cannot_remove:
            raise self.cannot_remove

    def request(self, body: bytes = b"", kind: str = "application/json", query: bytes = b"", **path: str) -> Request:
        """Return a request with this body, query and parameters of the path."""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        headers = [(b"authorization", b"bearer t"), (b"content-type", kind.encode())]
        if body:
            headers.append((b"content-length", str(len(body)).encode()))
        app = SimpleNamespace(state=self)
        scope = {
            "type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": query, "state": {},
            "path_params": path, "app": app, "litestar_app": app, IS_WHOLE: True,
        }  # fmt: skip
        return Request(scope, receive)

    def answer(self, handler: Callable[..., Any], request: Request) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body of the answer, in a loop whose time passes with its timers."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def run() -> None:
            await (await handler(request))({}, None, send)

        with asyncio.Runner(loop_factory=Timeless) as runner:
            runner.run(run())
        self.sent = sent[1]["body"]
        headers = {name.decode(): text.decode() for name, text in sent[0]["headers"] if not name.startswith(b"content")}
        return sent[0]["status"], headers, json.loads(sent[1]["body"] or b"null")


def form(*parts: bytes) -> bytes:
    """Return a form with these parts."""
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


FORM = "multipart/form-data; boundary=b"
IN_A, IN_B = (field("conversation_id", name) for name in (b"a", b"b"))
FILE, OTHER = file_part("x", b"xy"), file_part("y\u00e9", b"z")


def reserved(*names: str, left: int) -> Reply:
    """Return the answer of `begin_upload`."""
    return reply(
        left=left, success=True, data={"files": [{"id": n, "path": f"p/{n}"} for n in names]}, meta={"m": left}
    )


def finished(*names: str) -> Reply:
    """Return the answer of `finish_upload`."""
    known = {"size": 1, "type": "t", "width": 2, "height": 3, "path": "hidden"}
    return reply(
        success=True, data={"conversation_id": "a", "files": [{"id": n, "name": "n\u00e9", **known} for n in names]}
    )


def upload(world: World, *parts: bytes) -> tuple[int, dict[str, str], Any]:
    return world.answer(uploads.upload.fn, world.request(form(*parts), FORM))


def test_upload_asks_once_if_the_form_begins_with_its_fields() -> None:
    world = World({"begin_upload": [reserved(*"ij", left=9)], "finish_upload": [finished(*"ij")]}, upload_max_files=150)
    fields = [IN_A, field("conversation_type", b"channel"), field("workspace_id", b"w"), field("other", b"o")]
    status, headers, body = upload(world, *fields, FILE, OTHER, file_part("", b""))
    named = {"conversation_id": "a", "conversation_type": "channel", "workspace_id": "w"}
    first, second = {"id": "i", "path": "p/i", "name": "x"}, {"id": "j", "path": "p/j", "name": "y\u00e9"}
    held = {USER: 1}, {USER: 3}
    assert world.asked == [
        ("acts for", "t"),
        ("begin_upload", CALLER, {**named, "files": [{"name": "file"}] * 100}, None),
        ("upload", "p/i", b"xy", *held),
        ("upload", "p/j", b"z", *held),
        ("sign", "p/i", "p/j"),
        ("finish_upload", CALLER, {**named, "files": [first, second]}, None),
    ]
    file = {"name": "n\u00e9", "size": 1, "type": "t", "width": 2, "height": 3}
    files = [{"id": name, **file, "url": f"http://x/p/{name}"} for name in "ij"]
    assert (status, headers) == (200, {"ratelimit-remaining": "9"})
    assert body == {"success": True, "data": {"conversation_id": "a", "files": files}, "meta": {"m": 9}}
    assert "n\u00e9".encode() in world.sent


LAST = {
    "files first": ([FILE, IN_A], "admit_upload", "a", {"after": "admission"}),
    "another field": ([IN_A, FILE, IN_B], "begin_upload", "b", {"after": "admission"}),
    "other fields": ([field("workspace_id", b"w"), FILE, IN_A], "admit_upload", "a", {"after": "admission"}),
}


@pytest.mark.parametrize("order", LAST)
def test_upload_asks_again_for_what_stands_last(order: str) -> None:
    parts, first, channel, parameters = LAST[order]
    world = World({
        "admit_upload": [reply(left=5, meta={"m": 5})], "begin_upload": [reserved("i", left=5), reserved("j", left=3)],
        "finish_upload": [finished("i")],
    })  # fmt: skip
    if first == "admit_upload":
        world._replies["begin_upload"].pop(0)
    _, headers, body = upload(world, *parts)
    begun = [each for each in world.asked if each[0] in {"admit_upload", "begin_upload"}]
    assert [each[:2] for each in begun] == [(first, CALLER), ("begin_upload", CALLER)]
    assert (begun[1][2]["conversation_id"], begun[1][2]["files"], begun[1][3]) == (channel, [{"name": "x"}], parameters)
    assert (headers["ratelimit-remaining"], body["meta"]) == ("5", {"m": 5})
    assert ("upload", "p/j", b"xy", {USER: 1}, {USER: 2}) in world.asked


def test_upload_that_is_refused_answers_as_the_database() -> None:
    no = reply(404, left=4, error="no")
    for parts, replies, kept in (
        ([FILE, IN_A], {"admit_upload": [no]}, {"ratelimit-remaining": "4"}),
        ([IN_A, FILE], {"begin_upload": [no]}, {"ratelimit-remaining": "4"}),
        (
            [FILE, IN_A],
            {"admit_upload": [reply(left=7)], "begin_upload": [Reply(404, {"retry-after": "1"}, no.body)]},
            {"ratelimit-remaining": "7", "retry-after": "1"},
        ),
        ([IN_A, file_part("", b"")], {"begin_upload": [reserved("i", left=4), no]}, {"ratelimit-remaining": "4"}),
        ([IN_A, field("workspace_id", b"")], {"begin_upload": [no]}, {"ratelimit-remaining": "4"}),
    ):
        world = World(replies)
        assert upload(world, *parts) == (404, kept, {"error": "no"})
        assert {each[0] for each in world.asked} == {"acts for", *replies}
    assert world.asked[1:] == [("begin_upload", CALLER, {"conversation_id": "a", "files": []}, {})]
    begun = {"begin_upload": [reserved(*"ij", left=9)]}
    world = World({**begun, "finish_upload": [reply(400, error="no")]})
    assert upload(world, IN_A, FILE, OTHER) == (400, {"ratelimit-remaining": "9"}, {"error": "no"})
    assert world.asked[-1] == ("remove", "p/i", "p/j")
    for failure in (StorageUnavailableError(), asyncio.CancelledError()):
        world = World(begun)
        world.failure = failure
        with pytest.raises(type(failure)):
            upload(world, IN_A, FILE, OTHER)
        assert [each[0] for each in world.asked[2:]] == ["upload", "remove"]


def test_upload_of_more_files_than_the_database_takes_is_413() -> None:
    names = [str(number) for number in range(100)]
    world = World({"begin_upload": [reserved(*names, left=9), reply(413, error="no")]}, upload_max_files=150)
    assert upload(world, IN_A, *[FILE] * 101)[0] == 413
    assert len(world.asked[-1][2]["files"]) == 101
    world = World(
        {"begin_upload": [reserved(*names, left=9)], "finish_upload": [finished(*names)]}, upload_max_files=150
    )
    assert len(upload(world, IN_A, *[FILE] * 100)[2]["data"]["files"]) == 100
    assert [each[0] for each in world.asked].count("begin_upload") == 1


@pytest.mark.parametrize("failure", [StorageRefusedError(403), StorageUnavailableError("canary")])
def test_file_that_cannot_be_removed_is_logged(caplog: pytest.LogCaptureFixture, failure: Exception) -> None:
    world = World({"begin_upload": [reserved("i", left=9)], "finish_upload": [reply(400, error="no")]})
    world.cannot_remove = failure
    assert upload(world, IN_A, FILE)[0] == 400
    name = type(failure).__name__
    assert caplog.messages == [f"Cannot remove the files of a failed upload, the sweep will: {name}"]


def test_upload_that_is_cancelled_twice_leaves_no_file() -> None:
    world = World({"begin_upload": [reserved("i", left=9)]})
    world.seconds = 2

    async def run() -> None:
        task = asyncio.create_task(uploads.upload.fn(world.request(form(IN_A, FILE), FORM)))
        for _ in range(2):
            await asyncio.sleep(1)
            task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(2)

    with asyncio.Runner(loop_factory=Timeless) as runner:
        runner.run(run())
    assert world.asked[-1] == ("remove", "p/i")


def test_upload_names_and_measures_each_file() -> None:
    world = World({"begin_upload": [reserved(*"ijk", left=9)], "finish_upload": [finished(*"ijk")]})
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\3"
    upload(world, IN_A, file_part("n\0" * 200, b""), file_part("", picture), file_part("c", b"x"))
    long, measured, plain = world.asked[-1][2]["files"]
    assert (long["name"], measured["name"], plain) == (
        ("n_" * 200)[:255],
        "file",
        {"id": "k", "path": "p/k", "name": "c"},
    )
    assert (measured["width"], measured["height"]) == (2, 3)


def test_body_that_is_no_small_form_is_refused() -> None:
    def send(size: int, kind: str = FORM) -> tuple[int, Any]:
        world = World({"begin_upload": [reply(418)]}, upload_max_files=2, upload_max_bytes=10)
        request = world.request(form(IN_A, FILE), kind)
        request.scope["headers"][2:] = [(b"content-length", str(size).encode())]
        try:
            return world.answer(uploads.upload.fn, request)[::2]
        except HTTPException as error:
            return error.status_code, error.detail

    largest = 2 * 10 + MAX_OVERHEAD
    assert send(largest) == (418, {})
    assert send(largest + 1) == (413, "A file is too large. Send at most 10 bytes per file.")
    no_form = "The body must be a form. Set Content-Type to multipart/form-data."
    assert send(1, "multipart/mixed; boundary=b") == (415, no_form)


@pytest.mark.parametrize("handler", [uploads.upload, uploads.sign, uploads.open_file], ids=["upload", "sign", "open"])
def test_token_is_checked_before_the_settings(handler: Any) -> None:
    world = World({})
    world.is_configured = False
    with pytest.raises(HTTPException) as missing:
        world.answer(handler.fn, world.request(attachment_id="i"))
    assert (missing.value.status_code, missing.value.extra) == (503, {"code": "storage_not_configured"})
    world.caller = None
    with pytest.raises(InvalidTokenError):
        world.answer(handler.fn, world.request(attachment_id="i"))


ATTACHMENT = {"id": "i", "name": "n\u00e9", "size": 1, "type": "text/plain", "width": None, "height": None}
SHOWN = ("image/png", "IMAGE/GIF", "audio/ogg", "video/mp4", "text/plain", "application/pdf")
SAVED = ("image/svg+xml", "text/html", "application/json", "text/plain; x", "", None)
SIGNED = [
    *[(kind, b"", False) for kind in SHOWN],
    *[(kind, b"", True) for kind in SAVED],
    *[("text/plain", b"download=" + value, True) for value in (b"", b"1", b"true")],
    *[("text/plain", b"download=" + value, False) for value in (b"0", b"false")],
]


@pytest.mark.parametrize(("kind", "query", "is_saved"), SIGNED, ids=range(len(SIGNED)))
def test_link_saves_or_shows_a_file(kind: str | None, query: bytes, is_saved: bool) -> None:
    stored = {**ATTACHMENT, "type": kind, "path": "p/i", "conversation_id": "a"}
    found = reply(left=8, success=True, data=stored, meta={"m": 1})
    asked = [
        *(("acts for", "t"), ("get_attachment", CALLER, {"id": "i"}, None)),
        ("sign to save", "p/i", "n\u00e9") if is_saved else ("sign", "p/i"),
    ]
    url = "http://x/p/i?download" if is_saved else "http://x/p/i"
    world = World({"get_attachment": [found]})
    assert world.answer(uploads.sign.fn, world.request(query=query, attachment_id="i")) == (
        200,
        {"ratelimit-remaining": "8"},
        {"success": True, "data": {**ATTACHMENT, "type": kind, "url": url, "conversation_id": "a"}, "meta": {"m": 1}},
    )
    assert world.asked == asked
    kept = {"ratelimit-remaining": "8", "location": url, "cache-control": "no-store"}
    assert world.answer(uploads.open_file.fn, world.request(query=query, attachment_id="i")) == (302, kept, None)


def test_link_to_a_hidden_file_is_refused() -> None:
    for handler in (uploads.sign, uploads.open_file):
        world = World({"get_attachment": [reply(404, left=1, error="no")]})
        kept = {"ratelimit-remaining": "1"}
        assert world.answer(handler.fn, world.request(attachment_id="i")) == (404, kept, {"error": "no"})
        assert len(world.asked) == 2


def summarize(
    replies: dict[str, list[Reply]], outcome: Any = None, handler: Any = summaries.summarize, **path: str
) -> tuple[tuple[int, dict[str, str], Any], list[tuple[Any, ...]]]:
    """Return the answer to a request for a summary, and what was asked of the database and the model."""

    async def ask(messages: Any) -> Any:
        world.asked.append(("model", messages))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    world = World(replies)
    world.summarizer = SimpleNamespace(model="m", timeout=3, is_configured=False, summarize=ask)
    return world.answer(handler.fn, world.request(b'{"a": 1}', **path)), world.asked


TASK = {"id": "s", "lease": "l", "user_id": USER, "messages": ["hi"], "scope": {"messageCount": 1, "truncated": False}}
OF_MODEL = {"model": "m", "prompt_version": "3", "lease_seconds": "33", "is_configured": "false"}
BEGUN = reply(201, left=7, data=TASK)


def test_summary_is_made_and_stored_for_all() -> None:
    statements = [SimpleNamespace(text="a", citations=["1"]), SimpleNamespace(text="b", citations=["1"])]
    made = SimpleNamespace(text="ab", statements=statements, citations=["1"], model="m-2", is_cut=False)
    done = reply(data="done")
    for handler, function, path in (
        (summaries.summarize, "begin_summary", {}),
        (summaries.summarize_conversation, "begin_conversation_summary", {"conversation_id": "c"}),
    ):
        answered, asked = summarize({function: [BEGUN], "finish_summary": [done]}, made, handler, **path)
        assert answered == (200, {"ratelimit-remaining": "7"}, {"data": "done"})
        kept = {key: TASK[key] for key in ("id", "lease", "user_id")}
        answer = {
            "summary": "ab", "messageCount": 1, "truncated": False, "citations": ["1"], "model": "m-2",
            "statements": [{"text": "a", "citations": ["1"]}, {"text": "b", "citations": ["1"]}],
        }  # fmt: skip
        assert asked == [
            (function, CALLER, b'{"a": 1}', {**path, **OF_MODEL}),
            ("model", ["hi"]),
            ("finish_summary", None, {**kept, "answer": answer}, None),
        ]
    for scope, is_cut in ((True, False), (False, True)):
        task = {**TASK, "scope": {"truncated": scope}}
        made.is_cut = is_cut
        _, asked = summarize({"begin_summary": [reply(201, data=task)], "finish_summary": [done]}, made)
        assert asked[-1][2]["answer"]["truncated"]


def test_failure_of_a_summary_reaches_all_callers() -> None:
    for is_paid in (True, False):
        failure = SummaryFailedError(502, "summary_refused", "No")
        failure.is_paid = is_paid
        polled = Reply(502, {"retry-after": "5"}, b'{"error":"polled"}')
        answered, asked = summarize(
            {"begin_summary": [BEGUN], "finish_summary": [reply()], "poll_summary": [polled]}, failure
        )
        assert answered == (502, {"ratelimit-remaining": "7", "retry-after": "5"}, {"error": "polled"})
        told = {"failure": {"status": 502, "code": "summary_refused", "message": "No"}, "is_paid": is_paid}
        assert asked[2:] == [
            ("finish_summary", None, {"id": "s", "lease": "l", "user_id": USER, **told}, None),
            ("poll_summary", None, {"id": "s", "is_last": False}, None),
        ]


def test_summary_of_another_request_is_waited_for() -> None:
    for status in (200, 400, 429):
        answered, asked = summarize({"begin_summary": [reply(status, left=2, data="known")]})
        assert (answered, len(asked)) == ((status, {"ratelimit-remaining": "2"}, {"data": "known"}), 1)
    begun = {"begin_summary": [reply(202, left=2, data=TASK)]}
    answered, asked = summarize({**begun, "poll_summary": [reply(202), reply(202), reply(data="late")]})
    assert (answered[2], len(asked)) == ({"data": "late"}, 4)
    # Every half second until 18 seconds have passed, and once more.
    _, asked = summarize({**begun, "poll_summary": [*[reply(202)] * 37, reply(503)]})
    assert [each[2]["is_last"] for each in asked[1:]] == [False] * 37 + [True]


def export(*pages: Reply, function: str = "export_channel", query: bytes = b"") -> tuple[Any, list[tuple[Any, ...]]]:
    """Return the lines of an export with these pages, or its answer; and what was asked."""
    world = World({function: list(pages)})
    handler = exports._route("/channels/{channel_id:str}", function).fn
    request = world.request(query=query, channel_id="c")

    async def run() -> Any:
        stream = await handler(request)
        return (dict(stream.headers), [line async for line in stream.iterator])

    if pages[0].status != 200:
        return world.answer(handler, request), world.asked
    return asyncio.run(run()), world.asked


def test_export_reads_page_after_page_as_the_caller() -> None:
    pages = [
        reply(left=4, data=[{"a": "\u00e9"}, {"b": 1}], meta={"next_cursor": "1"}),
        reply(left=3, data=[{"c": None}], meta={"next_cursor": None}),
    ]
    (headers, lines), asked = export(*pages, query=b"limit=1&channel_id=other")
    assert headers["ratelimit-remaining"] == "4"
    assert lines == ['{"a": "\u00e9"}\n{"b": 1}\n'.encode(), b'{"c": null}\n']
    first = {"channel_id": "c", "limit": "500"}
    assert asked == [
        ("export_channel", CALLER, b"", first), ("export_channel", CALLER, b"", {**first, "after": "1"}),
    ]  # fmt: skip
    for status in (400, 404):
        answered, asked = export(reply(status, left=1, error="no"))
        assert (answered, len(asked)) == ((status, {"ratelimit-remaining": "1"}, {"error": "no"}), 1)
    with pytest.raises(DatabaseUnavailableError, match=r"^export_channel answered 404$"):
        export(pages[0], reply(404))
