"""Hostile bytes: the service sends at most one answer, soon, in bounded memory, and serves the next request."""

import gzip
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.cluster import TestCluster, free_port
from tests.support.ingest import PATH
from tests.support.service import Service
from tests.support.team import Running, running_service
from tests.support.tokens import bearer, token
from tests.support.world import BASE, CHANNEL, MATTY

ROUTES = [BASE, PATH]
SECONDS = 5.0  # for each answer
CEILING = 100  # megabytes that all these tests together may add to the memory of the service
HIDDEN = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"  # the request that an attacker hides in a body


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without Storage; afterwards its log must hold no failure and its memory must be bounded."""
    log = tmp_path_factory.mktemp("hostile") / "log"
    nowhere = {"SUPABASE_URL": f"http://127.0.0.1:{free_port()}", "SUPABASE_PUBLISHABLE_KEY": "x"}
    with running_service(cluster, template, log, **nowhere) as running:
        running.client.headers.update(bearer(token(MATTY)))
        assert running.client.get(f"{BASE}/history", params={"channel_id": CHANNEL}).status_code == 200
        before = memory(running.service)
        yield running
        assert running.service.failures == []
        if sys.platform == "linux":
            assert memory(running.service) - before < CEILING


def memory(service: Service) -> int:
    """Return the peak memory in megabytes, or 0 on systems without /proc."""
    status = Path(f"/proc/{service.process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else 0


@pytest.fixture
def service(running: Running) -> Iterator[Service]:
    """The service; after the test it must answer a good request."""
    yield running.service
    assert running.client.post(BASE, json={"channel_id": CHANNEL, "content": "good"}).status_code == 201


@pytest.fixture
def client(running: Running, service: Service) -> httpx.Client:
    """A client that is Matty and waits at most SECONDS."""
    running.client.timeout = httpx.Timeout(SECONDS)
    return running.client


def request(path: str, *lines: bytes, body: bytes = b"") -> bytes:
    """Return the bytes of a POST with these header lines."""
    head = [b"POST " + path.encode() + b" HTTP/1.1", b"host: x", b"content-type: application/json", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def answers(service: Service, sent: bytes, expected: int) -> tuple[list[int], bool]:
    """Return the statuses of the answers and whether the service closed the connection.

    Raise TimeoutError if fewer answers come than expected.
    """
    got = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(sent)
        while len(statuses := [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", got)]) < expected:
            got += (more := connection.recv(65536))
            if not more:
                return statuses, True
        connection.settimeout(0.05)
        try:
            while more := connection.recv(65536):
                got += more
        except TimeoutError:
            return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", got)], False
        return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", got)], True


CHUNKED = b"transfer-encoding: chunked"
LENGTH = b"content-length: %d" % len(HIDDEN)
# Two servers in a row could read these requests with different lengths.
AMBIGUOUS = {
    "length and chunks": ([b"content-length: 4", CHUNKED], b"0\r\n\r\n"),
    "chunks and length": ([CHUNKED, b"content-length: 4"], b"0\r\n\r\n"),
    "two lengths": ([b"content-length: 0", LENGTH], b""),
    "a length twice": ([LENGTH, LENGTH], b""),
    "a list of lengths": ([b"content-length: 0, 5"], b""),
    "a length with a sign": ([b"content-length: +0"], b""),
    "a negative length": ([b"content-length: -1"], b""),
    "a hexadecimal length": ([b"content-length: 0x2"], b""),
    "a length beyond 64 bits": ([b"content-length: " + b"9" * 40], b""),
    "no length in it": ([b"content-length: "], b""),
    "chunks that are not last": ([b"transfer-encoding: chunked, identity"], b"0\r\n\r\n"),
    "an unknown coding": ([b"transfer-encoding: xchunked"], b"0\r\n\r\n"),
    "two codings": ([CHUNKED, b"transfer-encoding: identity"], b"0\r\n\r\n"),
    "a space before the colon": ([b"content-length : 5"], b""),
    "a coding with a space": ([b"transfer-encoding : chunked", LENGTH], b""),
    "a folded line": ([b"x: a", b" content-length: 5"], b""),
    "a folded coding": ([b"transfer-encoding:", b" chunked", LENGTH], b""),
    "a bare CR": ([b"x: a\rcontent-length: 5"], b""),
    "a NUL": ([b"x: a\0b"], b""),
    "a chunk with a sign": ([CHUNKED], b"+0\r\n\r\n"),
    "a chunk in 0x": ([CHUNKED], b"0x0\r\n\r\n"),
    "a chunk beyond 64 bits": ([CHUNKED], b"f" * 20 + b"\r\n"),
    "chunks with bare LF": ([CHUNKED], b"0\n\n"),
    "chunks that run on": ([CHUNKED], b"2\r\n{}0\r\n\r\n"),
    "a length among the trailers": ([CHUNKED], b"2\r\n{}\r\n0\r\ncontent-length: 40\r\n\r\n"),
}


@pytest.mark.parametrize("path", ROUTES, ids=["messages", "ingest"])
@pytest.mark.parametrize("form", AMBIGUOUS)
def test_ambiguous_length_is_400_and_closes(service: Service, form: str, path: str) -> None:
    lines, body = AMBIGUOUS[form]
    assert answers(service, request(path, *lines, body=body + HIDDEN), 1) == ([400], True)


# These are odd but unambiguous: the service answers both requests.
ODD = {
    "no trailers": ([CHUNKED], b"2\r\n{}\r\n0\r\n\r\n"),
    "10,000 trailers": ([CHUNKED], b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 10_000 + b"\r\n"),
    "a key among the trailers": ([CHUNKED], b"2\r\n{}\r\n0\r\nx-api-key: your-api-secret\r\n\r\n"),
    "an extension of a chunk": ([CHUNKED], b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "10,000 chunks": ([CHUNKED], b"1\r\n \r\n" * 10_000 + b"0\r\n\r\n"),
    "10,000 headers": ([b"x%d: y" % number for number in range(10_000)] + [b"content-length: 2"], b"{}"),
    "a header of 900 kB": ([b"x: " + b"y" * 900_000, b"content-length: 2"], b"{}"),
    "two hosts": ([b"host: y", b"content-length: 2"], b"{}"),
}


@pytest.mark.parametrize("path", ROUTES, ids=["messages", "ingest"])
@pytest.mark.parametrize("form", ODD)
def test_odd_request_does_not_affect_the_next(service: Service, form: str, path: str) -> None:
    lines, body = ODD[form]
    statuses, _ = answers(service, request(path, *lines, body=body + HIDDEN), 2)
    assert statuses == [401, 200]  # the headers hold no token and no key


ENDLESS = {
    "request line": b"GET /?",
    "name of a header": b"GET / HTTP/1.1\r\n",
    "header": b"GET / HTTP/1.1\r\nx: ",
    "trailer": request(PATH, CHUNKED, b"x-api-key: none", body=b"1\r\n{\r\n0\r\nx: "),
    "extension of a chunk": request(PATH, CHUNKED, b"x-api-key: none", body=b"1;a="),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_input_is_cut_off(service: Service, name: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(ENDLESS[name])
        sent = 0
        try:
            while sent < 30_000_000:
                sent += connection.send(b"a" * 100_000)
        except OSError:
            pass  # the service closed the connection
    assert sent < 20_000_000  # the kernel buffers some bytes that the service does not read


@pytest.mark.parametrize("name", list(ENDLESS)[:3])
def test_endless_head_is_400(service: Service, name: str) -> None:
    statuses, is_closed = answers(service, ENDLESS[name] + b"a" * 1_000_001, 1)
    assert (statuses, is_closed) == ([400], True)


@pytest.mark.parametrize("missing", [1, 900])
def test_incomplete_body_gets_no_answer(service: Service, missing: int) -> None:
    body = json.dumps({"channel_id": CHANNEL, "content": "never whole"}).encode()
    lines = [f"content-length: {len(body) + missing}".encode(), b"authorization: Bearer " + token(MATTY).encode()]
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(request(BASE, *lines, body=body))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_slow_bodies_do_not_delay_others(service: Service, client: httpx.Client) -> None:
    body = json.dumps({"channel_id": CHANNEL, "content": "slow"}).encode()
    lines = [f"content-length: {len(body)}".encode(), b"authorization: Bearer " + token(MATTY).encode()]
    slow = [socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(request(BASE, *lines, body=body[:10]))
        began = time.monotonic()
        assert client.post(BASE, json={"channel_id": CHANNEL, "content": "quick"}).status_code == 201
        assert time.monotonic() - began < SECONDS
        slow[0].sendall(body[10:])
        assert slow[0].recv(12) == b"HTTP/1.1 201"
    finally:
        for connection in slow:
            connection.close()


NASTY = {
    "deep": b"[" * 450_000 + b"]" * 450_000,
    "deep objects": b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
    "wide": b"{" + b",".join(b'"k%d":1' % number for number in range(70_000)) + b"}",
    "one key 70,000 times": b"{" + b",".join([b'"content":"x"'] * 70_000) + b"}",
    "a number of 900,000 digits": b'{"content":' + b"9" * 900_000 + b"}",
    "an exponent": b'{"limit": 1e999999999}',
    "half a surrogate": b'{"content": "\\ud83d"}',
    "a NUL": b'{"content": "\\u0000"}',
    "NaN": b'{"content": NaN}',
    "a BOM and nothing": b"\xef\xbb\xbf",
    "UTF-16": '{"content": "x"}'.encode("utf-16"),
    "900,000 escapes": b'{"content": "' + b"\\u0041" * 150_000 + b'"}',
    "zeros": bytes(1_000_000),
}


@pytest.mark.parametrize("path", [BASE, f"{BASE}/11c0f3a2-5d1e-4a7b-8c3d-000000000001/react"], ids=["create", "react"])
@pytest.mark.parametrize("name", NASTY)
def test_hostile_json_is_400(client: httpx.Client, name: str, path: str) -> None:
    reply = client.post(path, content=NASTY[name], headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["success"]) == (400, False)


def test_gzip_bomb_is_refused(client: httpx.Client) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert client.post(BASE, content=gzip.compress(bytes(500_000_000), 1), headers=headers).status_code == 413
    assert client.post(BASE, content=gzip.compress(bytes(50_000_000)), headers=headers).status_code == 400


def form(parts: int, name: str) -> bytes:
    """Return a form with this many small parts."""
    part = f"--edge\r\ncontent-disposition: form-data; {name}\r\n\r\nx\r\n"
    return part.encode() * parts + b"--edge--\r\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(100_000, 'name="field"'), 400),
        (form(100_000, 'name="files"; filename="a.txt"'), 413),
        (b"--edge\r\n" + b"x: y\r\n" * 200_000 + b"\r\n\r\n--edge--\r\n", 400),
        (b"--edge\r\n" * 200_000, 400),
        (b"\r\n" * 1_000_000, 400),
        (form(1, 'name="field"')[:-6], 400),
    ],
    ids=["100,000 fields", "100,000 files", "200,000 headers", "200,000 edges", "empty lines", "no end"],
)
def test_form_with_too_many_parts_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    headers = {"content-type": "multipart/form-data; boundary=edge"}
    assert client.post(f"{BASE}/upload", content=body, headers=headers).status_code == status
