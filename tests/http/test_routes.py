"""The routes between HTTP and the calls of functions: the application and its database, without a process of its own.

Only Storage and the model are stand-ins, because they are not ours.
"""

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, BinaryIO

import httpx
import jwt
import psycopg
import pytest
from litestar import Litestar, get
from litestar.exceptions import HTTPException, LitestarException
from threadline import app, bodies, metrics
from threadline.database import Database, Reply
from threadline.forms import MAX_OVERHEAD
from threadline.routes import exports, http, ingest, summaries
from threadline.routes.http import KEYED
from threadline.settings import Settings
from threadline.shares import INGEST
from threadline.spool import Spool
from threadline.storage import StorageRefusedError, StorageUnavailableError
from threadline.summarizer import SummaryFailedError

from tests.http.test_limits import field, file_part
from tests.support.cluster import TestCluster
from tests.support.database import Db, add_channel, rows, value
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.team import create_unlimited_database
from tests.support.tokens import JWT_SECRET, bearer, token
from tests.support.world import BASE, BOB, CHANNEL, MALLORY, MATTY, TWIN

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
STORE = "insert into storage.objects (bucket_id, name, owner_id, metadata) values ('attachments', %s, %s, %s)"
ACT = """
select
    set_config('role', 'authenticated', false), set_config('request.jwt.claims', %s, false),
    set_config('storage.allow_delete_query', 'true', false)
"""
EXTRAS = {"service": "/else", "more": 1}


class NotingDatabase(Database):
    """The database. `asked` has the calls."""

    asked: list[tuple[str, dict[str, Any]]]

    async def call(self, function: str, **options: Any) -> Reply:
        self.asked.append((function, options))
        return await super().call(function, **options)


class StorageStandIn:
    """Keeps the rows that Storage keeps, with the rights of the caller. `meanwhile` happens in each step."""

    is_configured = True

    def __init__(self, db: Db, spool: Spool) -> None:
        self.db, self.spool = db, spool
        self.meanwhile: dict[str, Callable[[], Awaitable[None]]] = {}
        self.spooled: list[dict[str, int]] = []
        self.user = ""

    async def _step(self, name: str) -> None:
        if meanwhile := self.meanwhile.get(name):
            await meanwhile()

    def acting_for(self, token: str) -> "StorageStandIn":
        claims = jwt.decode(token, JWT_SECRET, algorithms=["HS256"], audience="authenticated")
        self.user = claims["sub"]
        self.db.execute(ACT, (json.dumps(claims),))
        return self

    async def upload(self, path: str, content: BinaryIO) -> None:
        self.spooled.append(dict(self.spool._bytes))
        content.seek(0)
        known = json.dumps({"size": len(content.read()), "mimetype": "text/plain"})
        self.db.execute(STORE, (path, self.user, known))
        await self._step("upload")

    async def sign(self, paths: list[str]) -> list[str]:
        await self._step("sign")
        return [f"http://x/{path}" for path in paths]

    async def sign_download(self, path: str, name: str) -> str:
        return f"http://x/{path}?download={name}"

    async def sign_uploads(self, paths: list[str]) -> list[str | None]:
        return [f"http://x/{path}" for path in paths[:-1]] + [None]

    async def remove(self, paths: list[str]) -> None:
        await self._step("remove")
        self.db.execute("delete from storage.objects where name = any(%s)", (paths,))


class Served:
    """The application, a session of role postgres in its database, and the session of Storage."""

    def __init__(
        self, runner: asyncio.Runner, made: Litestar, begun: list[str], database_url: str, *sessions: Db
    ) -> None:
        self.made, self.begun, self.database_url = made, begun, database_url
        self.db, self._storage_db = sessions
        self.run = runner.run
        self.database: NotingDatabase = made.state.database
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://t")

    def prepare(self, **settings: Any) -> StorageStandIn:
        """Forget what was asked, and take these settings. Return the Storage."""
        state = self.made.state
        state.settings = replace(state.settings, **settings)
        state.spool, self.database.asked = Spool(state.settings), []
        state.storage = StorageStandIn(self._storage_db, state.spool)
        return state.storage

    def begin(self, method: str, path: str, who: str = BOB, **options: Any) -> Any:
        """Return a request as a user."""
        headers = [*bearer(token(who)).items(), *options.pop("headers", [])]
        return self.client.request(method, path, headers=headers, **options)

    def ask(self, method: str, path: str, who: str = BOB, **options: Any) -> httpx.Response:
        """Send a request as a user."""
        return self.run(self.begin(method, path, who, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a request without a token, as clients of ingest do."""
        return self.run(self.client.post(path, **options))

    def functions(self) -> list[str]:
        """Return the names of the calls."""
        return [function for function, _ in self.database.asked]

    def add_channel(self, *texts: str) -> str:
        """Create a channel of Bob with these messages."""
        channel_id = add_channel(self.db, "own", [BOB])
        for text in texts:
            sent = self.ask("POST", BASE, json={"channel_id": channel_id, "content": text})
            assert sent.status_code == 201
        return channel_id


@get("/own")
async def fail() -> None:
    raise ValueError("canary")


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str) -> Iterator[Served]:
    """The application, started as a server starts it."""
    name = create_unlimited_database(cluster, template)
    begun: list[str] = []

    def note(part: str, make: Callable[..., AbstractAsyncContextManager[None]]) -> Any:
        def begin(*arguments: Any) -> AbstractAsyncContextManager[None]:
            begun.append(part)
            return make(*arguments)

        return begin

    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Database", NotingDatabase)
        for part in ("delivering", "housekeeping"):
            patch.setattr(app, part, note(part, getattr(app, part)))
        project = {"supabase_url": "http://x", "supabase_key": "k", "jwt_secret": JWT_SECRET, "deliver": False}
        settings = Settings(cluster.url(name, "authenticator"), **project)
        made = app.create_app(settings, [fail], [("/own", "Our own part")], EXTRAS)
        is_ready, is_over = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with made.lifespan():
                is_ready.set()
                await is_over.wait()

        async def end(task: asyncio.Task[None]) -> None:
            is_over.set()
            await task

        serving = runner.get_loop().create_task(serve())
        runner.run(is_ready.wait())
        url = cluster.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as db, psycopg.connect(url, autocommit=True) as storage_db:
            yield Served(runner, made, begun, url, db, storage_db)
        runner.run(end(serving))


@pytest.fixture
def served(running: Served) -> Served:
    """The application with its own settings and a new Storage."""
    running.prepare(upload_max_files=10, upload_max_bytes=1000, ingest_max_bytes=10_000_000)
    return running


def error(reply: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return reply.status_code, reply.json()["error"]["code"]


def test_application_has_all_its_parts(served: Served) -> None:
    made = served.made
    assert (made.openapi_config, made.logging_config, made.request_max_body_size) == (None, None, None)
    paths = ("/", "/own", "/api/v2/x", "/console/config.json", "/schema/x")
    page, failed, unknown, config, other = [served.ask("GET", path) for path in paths]
    assert "Our own part" in page.text
    assert (failed.status_code, failed.json()) == (500, {"error": "Internal server error"})
    assert error(unknown) == (404, "not_found")
    assert (unknown.headers["access-control-allow-origin"], len(unknown.headers["x-request-id"])) == ("*", 36)
    assert config.json() == {"url": "http://x", "key": "k", **EXTRAS}
    assert other.json() == {"error": "Not Found"}
    assert served.begun == ["delivering", "housekeeping"]


FORM = "multipart/form-data; boundary=b"
HERE, ELSEWHERE = (field("conversation_id", name.encode()) for name in (CHANNEL, TWIN))
FILE, OTHER, NONE = file_part("x", b"xy"), file_part("y\u00e9", b"z"), file_part("", b"")
COUNT = "ratelimit-remaining"


def form(*parts: bytes) -> bytes:
    """Return a form with these parts."""
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def begin_upload(served: Served, *parts: bytes, kind: str = FORM, more: Any = (), **options: Any) -> Any:
    headers = [("content-type", kind), *more]
    return served.begin("POST", f"{BASE}/upload", content=form(*parts), headers=headers, **options)


def upload(served: Served, *parts: bytes, **options: Any) -> httpx.Response:
    return served.run(begin_upload(served, *parts, **options))


def stored(served: Served) -> list[str]:
    """Return the paths of all files that Storage has."""
    return rows(served.db, "select name from storage.objects where bucket_id = 'attachments' order by name")


def test_upload_asks_once_if_the_form_begins_with_its_fields(served: Served) -> None:
    storage = served.prepare()
    fields = [HERE, field("conversation_type", b"channel"), field("workspace_id", TWIN.encode()), field("other", b"\0")]
    headers = {"content-type": FORM, "authorization": f"bearer {token(BOB)}"}
    reply = served.post(f"{BASE}/upload", content=form(*fields, FILE, OTHER, NONE), headers=headers)
    assert (reply.status_code, COUNT in reply.headers) == (200, True)
    data = reply.json()["data"]
    one, two = data["files"]
    paths = [f"{CHANNEL}/{file['id']}" for file in (one, two)]
    size = {"width": None, "height": None, "type": "text/plain"}
    assert one == {"id": one["id"], "name": "x", "size": 2, **size, "url": f"http://x/{paths[0]}"}
    assert two == {"id": two["id"], "name": "y\u00e9", "size": 1, **size, "url": f"http://x/{paths[1]}"}
    assert (data["conversation_id"], "y\u00e9" in reply.text) == (CHANNEL, True)
    assert (served.functions(), storage.spooled) == (["begin_upload", "finish_upload"], [{BOB: 3}] * 2)
    assert set(paths) <= set(stored(served))


def test_upload_asks_again_for_what_stands_last(served: Served) -> None:
    workspace = field("workspace_id", TWIN.encode())
    for parts, first in (
        ([FILE, HERE], "admit_upload"),
        ([workspace, FILE, HERE], "admit_upload"),
        ([HERE, FILE, workspace], "begin_upload"),
    ):
        served.prepare()
        reply = upload(served, *parts)
        assert (reply.status_code, COUNT in reply.headers) == (200, True)
        assert served.functions() == [first, "begin_upload", "finish_upload"]


def test_upload_that_is_refused_answers_as_the_database(served: Served) -> None:
    before = stored(served)
    for parts, refusal in (
        ([ELSEWHERE, FILE], (404, "channel_not_found")),
        ([FILE, ELSEWHERE], (404, "channel_not_found")),
        ([HERE, FILE, ELSEWHERE], (404, "channel_not_found")),
        ([HERE, field("workspace_id", b"x"), FILE], (400, "invalid_field")),
        ([HERE, field("workspace_id", b"")], (400, "missing_field")),
        ([HERE, NONE], (400, "missing_field")),
    ):
        reply = upload(served, *parts)
        assert (*error(reply), COUNT in reply.headers) == (*refusal, True)
    assert error(upload(served, FILE, HERE, who=MALLORY)) == (404, "channel_not_found")
    assert "finish_upload" not in served.functions()
    assert stored(served) == before


def test_failed_upload_leaves_no_file_in_storage(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    before = stored(served)

    async def lose() -> None:
        served.db.execute("delete from public.channel_members where user_id = %s and channel_id = %s", (BOB, mine))

    async def refuse() -> None:
        raise StorageRefusedError(403)

    async def be_away() -> None:
        raise StorageUnavailableError("canary")

    storage = served.prepare()
    storage.meanwhile["upload"] = be_away
    assert error(upload(served, HERE, FILE, OTHER)) == (503, "storage_unavailable")
    assert stored(served) == before
    for failure, named in ((refuse, "StorageRefusedError"), (be_away, "StorageUnavailableError")):
        mine = add_channel(served.db, "left", [MATTY, BOB])
        storage = served.prepare()
        storage.meanwhile |= {"sign": lose, "remove": failure}
        reply = upload(served, field("conversation_id", mine.encode()), FILE)
        assert (*error(reply), COUNT in reply.headers) == (404, "channel_not_found", True)
        assert f"Cannot remove the files of a failed upload, the sweep will: {named}" in caplog.messages


def test_upload_that_is_cancelled_twice_leaves_no_file(served: Served) -> None:
    before = stored(served)

    async def run() -> None:
        reached, removing, may_go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def wait(event: asyncio.Event) -> None:
            event.set()
            await may_go_on.wait()

        storage = served.prepare()
        storage.meanwhile |= {"upload": lambda: wait(reached), "remove": lambda: wait(removing)}
        task = asyncio.create_task(begin_upload(served, HERE, FILE))
        for event in (reached, removing):
            await asyncio.wait_for(event.wait(), 5)
            task.cancel()
        await asyncio.wait([task])
        may_go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)

    served.run(run())
    assert stored(served) == before


def test_upload_takes_up_to_100_files(served: Served) -> None:
    served.prepare(upload_max_files=150)
    assert len(upload(served, HERE, *[FILE] * 100).json()["data"]["files"]) == 100
    assert served.functions() == ["begin_upload", "finish_upload"]
    assert error(upload(served, HERE, *[FILE] * 101)) == (413, "too_many_files")


def test_upload_names_and_measures_each_file(served: Served) -> None:
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\2\0\0\0\3"
    reply = upload(served, HERE, file_part("n\0" * 200, b""), file_part("", picture), file_part("c", b"x"))
    seen = [(file["name"], file["width"], file["height"]) for file in reply.json()["data"]["files"]]
    assert seen == [(("n_" * 200)[:255], None, None), ("file", 2, 3), ("c", None, None)]


def test_body_that_is_no_small_form_is_refused(served: Served) -> None:
    served.prepare(upload_max_files=2, upload_max_bytes=10)
    largest = 2 * 10 + MAX_OVERHEAD
    assert upload(served, HERE, FILE, more=[("content-length", f"{largest}")]).status_code == 200
    assert error(upload(served, HERE, FILE, more=[("content-length", f"{largest + 1}")])) == (413, "file_too_large")
    refused = upload(served, HERE, FILE, kind="multipart/mixed; boundary=b")
    assert error(refused) == (415, "unsupported_media_type")


def test_token_is_checked_before_the_settings(served: Served) -> None:
    served.prepare().is_configured = False
    for method, path in (("POST", "/upload"), ("GET", f"/attachments/{TWIN}/url"), ("GET", f"/attachments/{TWIN}")):
        assert error(served.run(served.client.request(method, BASE + path))) == (401, "invalid_token")
        assert error(served.ask(method, BASE + path)) == (503, "storage_not_configured")


SHOWN = ("image/png", "IMAGE/GIF", "audio/ogg", "video/mp4", "text/plain", "application/pdf")
SAVED = ("image/svg+xml", "text/html", "application/json", "text/plain; x", "")


def test_link_saves_or_shows_a_file(served: Served) -> None:
    [file] = upload(served, HERE, OTHER).json()["data"]["files"]
    shown = f"http://x/{CHANNEL}/{file['id']}"
    saved = f"{shown}?download=y\u00e9"
    for kind, query, url in (
        *[(kind, "", shown) for kind in SHOWN],
        *[(kind, "", saved) for kind in SAVED],
        *[("text/plain", f"?download={word}", saved) for word in ("", "1", "true")],
        *[("text/plain", f"?download={word}", shown) for word in ("0", "false")],
    ):
        served.db.execute("update public.attachments set content_type = %s where id = %s", (kind, file["id"]))
        path = f"{BASE}/attachments/{file['id']}"
        link = served.ask("GET", f"{path}/url{query}")
        assert link.json()["data"] == {**file, "type": kind, "url": url, "conversation_id": CHANNEL}
    opened = served.ask("GET", path + query)
    assert (opened.status_code, opened.content, opened.headers["location"]) == (302, b"", url)
    assert opened.headers["cache-control"] == "no-store"
    assert COUNT in opened.headers
    for each in (path, f"{path}/url"):
        assert error(served.ask("GET", each, who=MALLORY)) == (404, "attachment_not_found")


class Clock:
    """What `summaries` uses of asyncio, with its own time; `meanwhile` happens in a pause."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        self.now, self.pauses, self._meanwhile = 0.0, 0, meanwhile

    def get_running_loop(self) -> "Clock":
        return self

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1
        assert self.pauses < 20
        if self._meanwhile:
            await self._meanwhile()


def use_model(served: Served, outcome: Any, *, is_configured: bool = True) -> None:
    """Let the model answer so."""

    async def summarize(_: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    served.made.state.summarizer = SimpleNamespace(
        model="m", timeout=3, is_configured=is_configured, summarize=summarize
    )


def summarize(served: Served, channel_id: str, **fields: Any) -> httpx.Response:
    return served.ask("POST", f"{BASE}/summarize", json={"channel_id": channel_id, **fields})


def written(is_cut: bool = False) -> SimpleNamespace:
    """Return a summary as the model makes it."""
    statements = [SimpleNamespace(text="a", citations=["1"]), SimpleNamespace(text="b", citations=["1"])]
    return SimpleNamespace(text="ab", statements=statements, citations=["1"], model="m-2", is_cut=is_cut)


def test_summary_is_made_and_stored_for_all(served: Served) -> None:
    channel_id = served.add_channel("one")
    use_model(served, written(), is_configured=False)
    assert error(summarize(served, channel_id)) == (503, "summaries_not_configured")
    use_model(served, written())
    reply = summarize(served, channel_id)
    assert (reply.status_code, COUNT in reply.headers) == (200, True)
    kept = """
        select answer, prompt_version, extract(epoch from lease_expires_at - leased_at)::integer
        from private.summaries where channel_id = %s
    """
    [(answer, version, seconds)] = rows(served.db, kept, channel_id)
    assert (answer, version, seconds) == (reply.json()["data"], 3, 33)
    assert {name: answer[name] for name in ("summary", "citations", "model", "messageCount", "truncated")} == {
        "summary": "ab", "citations": ["1"], "model": "m-2", "messageCount": 1, "truncated": False,
    }  # fmt: skip
    assert answer["statements"] == [{"text": "a", "citations": ["1"]}, {"text": "b", "citations": ["1"]}]
    use_model(served, written(is_cut=True))
    assert summarize(served, channel_id, messageCount=1).json()["data"]["truncated"]
    use_model(served, written())
    long = served.add_channel(*["x" * 20_000] * 2)
    served.db.execute("update private.settings set summary_max_bytes = 10000")
    assert summarize(served, long).json()["data"]["truncated"]
    served.db.execute("update private.settings set summary_max_bytes = default")


def test_conversation_has_a_summary_too(served: Served, sender: Sender) -> None:
    sender.post(conversation(message()))
    found = "select id::text from public.conversations where user_id = %s"
    path = f"/api/v2/conversations/{value(served.db, found, sender.user_id)}/summarize"
    use_model(served, written())
    reply = served.ask("POST", path, who=sender.user_id)
    assert (reply.status_code, reply.json()["data"]["messageCount"]) == (200, 1)
    assert error(served.ask("POST", path)) == (404, "conversation_not_found")


def test_failure_of_a_summary_reaches_all_callers(served: Served) -> None:
    used = "select used from private.summary_counts where user_id = %s"
    for is_paid in (True, False):
        channel_id = served.add_channel("one")
        served.db.execute("delete from private.summary_counts")
        failure = SummaryFailedError(503, "summary_unavailable", "Not now.")
        failure.is_paid = is_paid
        use_model(served, failure)
        reply = summarize(served, channel_id)
        assert error(reply) == (503, "summary_unavailable")
        assert (reply.json()["error"]["message"], reply.headers["retry-after"]) == ("Not now.", "5")
        assert COUNT in reply.headers
        assert value(served.db, used, BOB) == is_paid


def test_summary_of_another_request_is_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "GRACE", 4)
    use_model(served, written())
    for ending, outcome, pauses in (
        ({"answer": {"summary": "late"}}, (200, "late"), 1),
        ({"failure": {"status": 502, "code": "summary_refused", "message": "No"}}, (502, "summary_refused"), 1),
        # Every half second until five seconds have passed, and once more.
        (None, (504, "summary_timeout"), 11),
    ):
        channel_id = served.add_channel("one")
        parameters = {"model": "m", "prompt_version": "3", "lease_seconds": "1000", "is_configured": "true"}
        first = served.run(
            served.database.call("begin_summary", body={"channel_id": channel_id}, parameters=parameters)
        ).read()["data"]
        told = {"id": first["id"], "lease": first["lease"], **(ending or {})}
        clock = Clock((lambda told=told: served.database.call("finish_summary", body=told)) if ending else None)
        monkeypatch.setattr(summaries, "asyncio", clock)
        reply = summarize(served, channel_id)
        said = reply.json()["data"]["summary"] if reply.is_success else error(reply)[1]
        assert (reply.status_code, said, clock.pauses) == (*outcome, pauses)


def test_export_reads_page_after_page_as_the_caller(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    channel_id = served.add_channel("\u00e9", "two", "three")
    path = f"/api/v2/exports/channels/{channel_id}"
    served.prepare()
    reply = served.ask("GET", f"{path}?limit=1&channel_id={CHANNEL}")
    assert [json.loads(line)["content"] for line in reply.text.splitlines()] == ["\u00e9", "two", "three"]
    assert ("\u00e9" in reply.text, COUNT in reply.headers) == (True, True)
    assert served.functions() == ["export_channel"]
    missing = served.ask("GET", path, who=MALLORY)
    assert (*error(missing), COUNT in missing.headers) == (404, "channel_not_found", True)
    monkeypatch.setattr(exports, "PAGE", "2")
    assert served.ask("GET", path).text == reply.text
    audited = "select distinct actor_id::text from public.audit_log where subject_id = %s"
    assert rows(served.db, audited, channel_id) == [BOB]
    read = Reply.read

    def leave(reply: Reply) -> Any:
        served.db.execute("delete from public.channels where id = %s", (channel_id,))
        return read(reply)

    monkeypatch.setattr(Reply, "read", leave)
    with pytest.raises(LitestarException) as broken:
        served.ask("GET", path)
    assert "DatabaseUnavailableError('export_channel answered 404')" in repr(broken.value.__cause__)


def keys(count: int, name: str = "%d") -> bytes:
    """Return an object with so many keys."""
    return b"{" + b",".join(f'"{name}":1'.replace("%d", str(number)).encode() for number in range(count)) + b"}"


def several(*parts: bytes) -> bytes:
    """Return an array, filled up with spaces to 70,000 bytes."""
    return (b"[" + b",".join(parts) + b"]").ljust(70_000)


def send(served: Served, body: bytes, *headers: tuple[str, Any], kind: str = "application/json") -> httpx.Response:
    """Send this body as Bob."""
    return served.ask("POST", BASE, content=body, headers=[("content-type", kind), *headers])


def test_call_takes_over_what_the_request_holds(served: Served) -> None:
    mine = served.add_channel()
    body = json.dumps({"channel_id": mine, "content": "x"}).encode()
    for kind in ("application/json", "Application/JSON", "application/json;charset=utf-8", "application/json ; x=y"):
        reply = send(served, body, kind=kind)
        assert reply.status_code == 201
    one = f"{BASE}/{reply.json()['data']['id']}"
    kind = [("content-type", "application/json")]
    assert served.ask("GET", f"{one}?id={TWIN}").json()["data"]["content"] == "x"
    assert len(served.ask("GET", f"{BASE}/history", content=body, headers=kind).json()["data"]) == 4
    of_another = json.dumps({"user_id": MATTY}).encode()
    assert error(served.ask("DELETE", one, content=of_another, headers=kind)) == (403, "user_id_mismatch")
    # Of several headers, the first one counts.
    assert send(served, body, ("authorization", "Bearer x")).status_code == 201
    first, *later = [("idempotency-key", key) for key in (b"\xfc", b"another", b"")]
    assert send(served, body, first, *later).status_code == 201
    assert send(served, body, first).headers["idempotent-replayed"] == "true"
    assert error(send(served, body, later[1])) == (400, "invalid_idempotency_key")
    assert served.ask("PUT", one, json={"content": "y"}).status_code == 200
    assert served.ask("DELETE", one).status_code == 200
    # This call does not keep the key, so a second one would make a second workspace.
    assert served.ask("POST", "/api/v2/workspaces", json={"name": "w"}, headers=[first]).status_code == 201
    may_repeat = [options["repeatable"] for _, options in served.database.asked]
    assert may_repeat == [*[False] * 4, *[True] * 3, False, *[True] * 5, False]


def test_calls_that_keep_a_key_are_those_of_the_gateway(served: Served) -> None:
    assert set(rows(served.db, "select function_name from private.calls where takes_idempotency_key")) == KEYED


JSON = "application/json"
REFUSED = [
    (b"{}", "text/plain", 415, "unsupported_media_type", "must be JSON. Set Content-Type to application/json."),
    (bytes(1_000_001), JSON, 413, "body_too_large", "The body is too large. Send at most 1000000 bytes."),
    (b'{"a":' + keys(10_000) + b"}", JSON, 400, "invalid_json", "more than 1000 keys. Send fewer keys, or an array."),
    (b"[" * 70_000, JSON, 400, "invalid_json", "The request body is nested too deeply. Send fewer levels."),
]


def test_body_that_no_call_takes_is_refused(served: Served) -> None:
    for body, kind, status, code, text in REFUSED:
        reply = send(served, body, kind=kind)
        assert error(reply) == (status, code)
        assert text in reply.json()["error"]["message"]
    # The token comes before the body.
    assert error(served.post(BASE, content=bytes(1_000_001))) == (401, "invalid_token")
    assert served.functions() == []


def test_body_of_the_largest_size_is_taken(served: Served) -> None:
    body = json.dumps({"channel_id": CHANNEL, "content": "x"}).encode()
    assert send(served, body.ljust(1_000_000)).status_code == 201


FOUND = [
    (keys(4100).ljust(65_536), None),
    (keys(4100).ljust(65_537), "many keys"),
    (keys(4000).ljust(70_000), None),
    (several(keys(2000), *[b"[]"] * 2000), "many keys"),
    (several(*[keys(1000)] * 5), None),
    (several(keys(1001), *[keys(1000)] * 4), "many keys"),
    (several(keys(5000, "same")), "many keys"),
    (several(b"9" * 5000, keys(5000)), "many keys"),
    (b"[" * 70_000, "too deep"),
    (b"[1]:" * 20_000, None),
    (b"\xff" * 70_000 + b":" * 5000, None),
]


@pytest.mark.parametrize(("body", "fault"), FOUND, ids=range(len(FOUND)))
def test_fault_of_a_body_is_found(body: bytes, fault: str | None) -> None:
    assert asyncio.run(bodies.find_fault(body)) == fault


def test_body_is_read_in_pieces_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        raise AssertionError

    async def decompress() -> list[int]:
        pieces = ingest._decompress(stream(gzip.compress(bytes(200_000))))
        return [len(await anext(pieces)) for _ in range(3)]

    assert asyncio.run(decompress()) == [65_536] * 3
    with pytest.raises(HTTPException, match="413: too much"):
        asyncio.run(http.read_body(stream(b"12", b"3"), 2, "too much"))
    # In another thread, because it takes long.
    monkeypatch.setattr(bodies, "_find_fault", lambda _: threading.get_ident())
    assert asyncio.run(bodies.find_fault(several(keys(5000)))) != threading.get_ident()


def test_reply_is_sent_as_it_is() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    reply = Reply(299, {"retry-after": "5"}, '{"\u00e9": 1}'.encode())
    own = [(b"content-type", b"application/json"), (b"content-length", b"9")]
    for given, added in ((None, [(b"retry-after", b"5")]), ({}, []), ({"a": "b"}, [(b"a", b"b")])):
        sent.clear()
        asyncio.run(http.answer(reply, given)({}, None, send))
        assert sent == [
            {"type": "http.response.start", "status": 299, "headers": own + added},
            {"type": "http.response.body", "body": reply.body, "more_body": False},
        ]


ALLOWED = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
}


@pytest.fixture
def sender(served: Served) -> Sender:
    """Create a user with a connection."""
    return Sender.create(served, served.database_url)


def test_ingest_passes_the_request_on(served: Served, sender: Sender) -> None:
    for size in (0, 65_800, 200_000):
        body = json.dumps(sender.request(conversation(message(f"m{size}")))).encode().ljust(size)
        for reply in (sender.send(body), sender.send(gzip.compress(body), content_encoding=" GZIP ")):
            assert reply.status_code == 200
            assert ALLOWED.items() <= reply.headers.items()
    assert sender.stored() == {"chat": ["m0", "m200000", "m65800"]}
    assert sender.send(b"no JSON").status_code == 400
    # Two keys are no key. Without a key, Postgres answers before it parses.
    for key in ([sender.secret[:9], sender.secret[9:]], [b"\xfc"], []):
        headers = [("content-type", "application/json"), *[("x-api-key", part) for part in key]]
        assert served.post(PATH, headers=headers, content=several(keys(5000)) if key == [] else body).status_code == 401
    free = served.run(served.client.options(PATH))
    assert (free.status_code, ALLOWED.items() <= free.headers.items()) == (204, True)


def test_ingest_counts_and_signs_what_it_stores(served: Served, sender: Sender) -> None:
    def counted() -> list[float]:
        kinds = [metrics.CONVERSATIONS.labels(outcome) for outcome in ("created", "error")]
        return [each._value.get() for each in (*kinds, metrics.MESSAGES)]

    before = counted()
    images = [message(name, type="image", content="") for name in ("m1", "m2")]
    reply = sender.post(conversation(*images), conversation(message(), external_id="other"), {}, media_uploads=True)
    results = reply.json()["results"]
    assert [after - then for after, then in zip(counted(), before, strict=True)] == [2, 1, 3]
    assert [each["url"] for each in results[0]["uploads"]] == [f"http://x/{results[0]['uploads'][0]['path']}", None]
    of_key, of_all = served.database.asked[-1][1]["owners"]
    assert (of_key.startswith("key "), sender.secret in of_key, of_all) == (True, False, INGEST)


OF_INGEST = [
    ({"content_type": "application/jsonx"}, (415, "Content-Type must be application/json")),
    ({"content_encoding": "x-gzip"}, (415, "Content-Encoding must be gzip or identity")),
    ({"content_encoding": "gzip"}, (400, "Request body is not valid gzip")),
    ({"content": bytes(200_001)}, (413, "Request body too large: at most 200000 bytes")),
    (
        {"content_encoding": "gzip", "content": gzip.compress(bytes(200_001))},
        (413, "Request body too large: at most 200000 bytes"),
    ),
    ({"content": b"[" * 70_000}, (400, "Request body is not valid JSON")),
    ({"content": keys(10_000)}, (400, "Request body has an object with more than 1000 keys")),
]


def test_ingest_refuses_before_the_database(served: Served) -> None:
    served.prepare(ingest_max_bytes=200_000)
    stranger = Sender(served, "", "", "nobody", "some key")
    for given, refusal in OF_INGEST:
        reply = stranger.send(**{"content": b"{}", **given})
        assert (reply.status_code, reply.json()["error"]) == refusal
    other = served.run(served.client.get(PATH))
    assert (other.status_code, other.headers["allow"]) == (405, "POST, OPTIONS")
    assert served.functions() == []
