"""The Data API: PostgREST, if this machine has it, behind /rest/v1."""

import base64
import http.client
import json
import logging
import signal
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Iterable

import httpx

from threadline_devstack import keys, postgrest, process
from threadline_devstack.database import PASSWORDS
from threadline_devstack.errors import StackError
from threadline_devstack.gateway import Call
from threadline_devstack.home import Home, open_private
from threadline_devstack.http import Answer, document, read_body
from threadline_devstack.project import Project

END = signal.SIGTERM
START_TIMEOUT = 30.0
ANSWER_TIMEOUT = 60.0  # as the gateway's
# Headers of one connection, and headers that we or the gateway set.
NOT_FORWARDED = set(
    b"access-control-allow-origin authorization connection date host keep-alive server te trailer transfer-encoding"
    b" upgrade".split()
)


class DataApi:
    """PostgREST on a loopback port, for the length of a `with` block.

    Enter the block when the database is ready. Without PostgREST nothing starts, and each call answers 503.
    """

    name = "PostgREST"
    prefix = "/rest/v1"
    needs_key = True

    def __init__(self, project: Project) -> None:
        """Take the project; nothing starts yet."""
        self._project = project
        self._log = project.home / "postgrest.log"
        self._process: subprocess.Popen | None = None
        self._url = httpx.URL(f"http://127.0.0.1:{free_port()}")
        self._client = httpx.AsyncClient(timeout=ANSWER_TIMEOUT, trust_env=False)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # INFO logs the URL of every request

    def __enter__(self) -> "DataApi":
        """Start PostgREST and return when it has read the schema; raise StackError when it does not."""
        if program := postgrest.find():
            with open_private(self._log) as log:
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
        """Tell whether PostgREST ended by itself."""
        return self._process is not None and self._process.poll() is not None

    @property
    def is_running(self) -> bool:
        """Tell whether this machine has PostgREST, so that calls are answered."""
        return self._process is not None

    async def close(self) -> None:
        """Close the connections to PostgREST."""
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

    async def answer(self, call: Call) -> Answer:
        """Forward a call to PostgREST and return its answer."""
        if self._process is None:
            return refuse(503, postgrest.advice())
        # The whole body first, as the genuine gateway does: PostgREST takes half a chunked body for all of it.
        body = await read_body(call.request)
        url = self._url.copy_with(raw_path=target(call))
        authorization = (b"authorization", f"Bearer {call.token}".encode("latin-1"))
        headers = [*forwarded(call.request.scope["headers"]), authorization]
        request = self._client.build_request(call.request.method, url, headers=headers, content=body)
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError:
            return refuse(502, "An invalid response was received from the upstream server")
        return Answer(answer.status_code, body=pieces(answer), forwarded=forwarded(answer.headers.raw))

    def failure(self, call: Call) -> Answer:  # noqa: ARG002
        """Return the answer to a call that raised an unexpected error."""
        return refuse(500, "An unexpected error occurred")


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that concern more than one connection, less those that the gateway sets."""
    return [(name.lower(), value) for name, value in headers if name.lower() not in NOT_FORWARDED]


def target(call: Call) -> bytes:
    """Return path and query for PostgREST, which would take the key in the query for a filter on a column."""
    query = b"&".join(
        part for part in call.request.scope["query_string"].split(b"&") if not part.startswith(b"apikey=")
    )
    path = call.path.encode() or b"/"
    return path + b"?" + query if query else path


async def pieces(answer: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the body of an answer as it arrives, then release the connection."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def refuse(status: int, message: str) -> Answer:
    """Return an error in the gateway's form, which the clients can read."""
    return document({"message": message}, status)
