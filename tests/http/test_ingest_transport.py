"""The HTTP side of ingest: method, media type, encoding, size, and clients that break the protocol."""

import gzip
import json
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import Service

LIMIT = 10_000_000
TOO_LARGE = {"error": f"Request body too large: at most {LIMIT} bytes"}
NOT_GZIP = {"error": "Request body is not valid gzip"}
MB_50 = 50_000_000


def body_of(sender: Sender, *names: str) -> bytes:
    """Return a request with one conversation of these messages."""
    return json.dumps(sender.request(conversation(*map(message, names or ["m1"])))).encode()


def head(sender: Sender, *lines: str) -> bytes:
    """Return the head of a request as bytes."""
    first = (f"POST {PATH} HTTP/1.1", "content-type: application/json", f"x-api-key: {sender.secret}")
    return "\r\n".join((*first, *lines, "", "")).encode("latin-1")


def test_two_keys_are_no_key(sender: Sender) -> None:
    headers = [("content-type", "application/json"), ("x-api-key", sender.secret), ("x-api-key", "another")]
    reply = sender.client.post(PATH, content=body_of(sender), headers=headers)
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_other_method_is_405_with_allow(stranger: Sender, method: str) -> None:
    reply = stranger.client.request(method, PATH)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert method == "HEAD" or reply.json() == {"error": "Method not allowed"}


@pytest.mark.parametrize(
    "kind", [None, "", ";", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_other_media_type_is_415(stranger: Sender, kind: str | None) -> None:
    reply = stranger.send(body_of(stranger), content_type=kind)
    assert (reply.status_code, reply.json()) == (415, {"error": "Content-Type must be application/json"})


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/json;"]
)
def test_media_type_can_have_parameters_and_capitals(sender: Sender, kind: str) -> None:
    assert sender.send(body_of(sender), content_type=kind).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_gzipped_body_is_accepted(sender: Sender, encoding: str) -> None:
    assert sender.send(gzip.compress(body_of(sender)), content_encoding=encoding).json()["processed"] == 1
    assert sender.stored() == {"chat": ["m1"]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda zipped: b"",
        lambda zipped: b"garbage",
        lambda zipped: zipped[:-1],
        lambda zipped: zipped[:20],
        lambda zipped: zipped[:-8] + bytes(8),
        lambda zipped: zipped + b"garbage",
        lambda zipped: zipped + gzip.compress(b" "),
        lambda zipped: zlib.compress(gzip.decompress(zipped)),
    ],
    ids=["empty", "garbage", "truncated", "begun", "checksum", "trailing", "another member", "zlib"],
)
def test_broken_gzip_is_400(sender: Sender, spoil: object) -> None:
    reply = sender.send(spoil(gzip.compress(body_of(sender))), content_encoding="gzip")
    assert (reply.status_code, reply.json()) == (400, NOT_GZIP)
    assert sender.stored() == {}


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encoding_is_415(stranger: Sender, encoding: str) -> None:
    reply = stranger.send(body_of(stranger), content_encoding=encoding)
    assert (reply.status_code, reply.json()) == (415, {"error": "Content-Encoding must be gzip or identity"})


def test_body_of_the_maximum_size_is_accepted(sender: Sender) -> None:
    body = body_of(sender)
    assert sender.send(body + b" " * (LIMIT - len(body))).status_code == 200
    assert sender.send(gzip.compress(body + b" " * (LIMIT - len(body))), content_encoding="gzip").status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_body_over_the_maximum_is_413(sender: Sender, encoding: str) -> None:
    body = body_of(sender).ljust(LIMIT + 1)
    reply = sender.send(gzip.compress(body) if encoding == "gzip" else body, content_encoding=encoding)
    assert (reply.status_code, reply.json()) == (413, TOO_LARGE)
    assert sender.stored() == {}


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_httpx_receives_the_413_for_50_mb(stranger: Sender, kind: str) -> None:
    body = bytes(MB_50)
    reply = stranger.send(body if kind == "length" else (body[at : at + 65536] for at in range(0, MB_50, 65536)))
    assert (reply.status_code, reply.json()) == (413, TOO_LARGE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("option", ["content-type: application/json", "transfer-encoding: chunked", "expect:"])
def test_curl_receives_the_413_for_50_mb(stranger: Sender, tmp_path: Path, option: str) -> None:
    with (tmp_path / "body").open("wb") as file:
        file.truncate(MB_50)
    command = ["curl", "-sS", str(stranger.client.base_url.join(PATH)), "--data-binary", f"@{tmp_path}/body"]
    command += ["-H", "content-type: application/json", "-H", "x-api-key: any", "-H", option, "-w", "\n%{http_code}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (result.stdout, result.stderr) == (json.dumps(TOO_LARGE, separators=(",", ":")) + "\n413", "")


def bomb() -> bytes:
    """Return about ten megabytes of gzip that decompress to ten gigabytes of zeros."""
    compressor = zlib.compressobj(9, wbits=31)
    start = compressor.compress(bytes(LIMIT)) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(LIMIT)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return start + block * 1000


def endless() -> Iterator[bytes]:
    """Yield a good gzip member, then 30 MB of zeros."""
    yield gzip.compress(b"{}")
    for _ in range(600):
        yield bytes(50_000)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak memory of a process")
@pytest.mark.parametrize("attack", ["bomb", "endless"])
def test_gzip_body_takes_bounded_memory_and_time(stranger: Sender, service: Service, attack: str) -> None:
    body = bomb() if attack == "bomb" else endless()
    process = Path(f"/proc/{service.process.pid}")

    def memory(name: str) -> int:
        (line,) = (line for line in (process / "status").read_text().splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) // 1024

    (process / "clear_refs").write_text("5")  # reset the peak memory
    before, began = memory("VmRSS"), time.monotonic()
    reply = stranger.send(body, content_encoding="gzip")
    assert (reply.status_code, reply.json()) == ((413, TOO_LARGE) if attack == "bomb" else (400, NOT_GZIP))
    assert time.monotonic() - began < 5
    assert memory("VmHWM") - before < 60


def test_slow_bodies_do_not_delay_others(sender: Sender, service: Service) -> None:
    body = body_of(sender, "slow")
    slow = [
        socket.create_connection(("127.0.0.1", service.port)) for _ in range(40)
    ]  # more than the pool has connections
    try:
        for connection in slow:
            connection.sendall(head(sender, f"content-length: {len(body)}") + body[:10])
        began = time.monotonic()
        assert sender.send(body_of(sender, "quick")).status_code == 200
        assert sender.client.get("/health").status_code == 200
        assert time.monotonic() - began < 5
        for byte in body[10:30]:
            slow[0].sendall(bytes([byte]))
        slow[0].sendall(body[30:])
        assert slow[0].recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in slow:
            connection.close()
    assert sender.stored() == {"chat": ["quick", "slow"]}


def test_disconnect_during_the_body_logs_no_failure(sender: Sender, service: Service) -> None:
    before = service.failures
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head(sender, "content-length: 1000") + b"{")
    assert sender.post().status_code == 200
    assert (service.failures, sender.stored()) == (before, {})


@pytest.mark.parametrize(
    "lines",
    [[f"x-header-{number}: value" for number in range(10_000)], [f"x-header: {'v' * 100_000}"], ["x-header: \xff"]],
    ids=["10000 headers", "100 kB header", "not ASCII"],
)
def test_many_or_large_headers_are_accepted(sender: Sender, service: Service, lines: list[str]) -> None:
    body = body_of(sender)
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(head(sender, *lines, f"content-length: {len(body)}") + body)
        assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET\r\n\r\n",
        b"POST " + PATH.encode() + b" HTTP/1.1\r\nx-api-key: a\0b\r\n\r\n",
        b"POST " + PATH.encode() + b" HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST " + PATH.encode() + b" HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    ids=["TLS", "no HTTP", "NUL", "length", "smuggling"],
)
def test_malformed_http_is_400(service: Service, wrong: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(wrong)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_one_connection_serves_refused_and_good_requests(sender: Sender) -> None:
    for _ in range(3):
        assert sender.send(bytes(LIMIT + 1)).status_code == 413
        assert sender.send(b"{", content_type="text/plain").status_code == 415
        assert sender.send(body_of(sender)).status_code == 200


def test_concurrent_requests_are_not_mixed_up(sender: Sender) -> None:
    names = [f"m{number:03}" for number in range(100)]
    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda name: sender.post(conversation(message(name), external_id=name)), names))
    assert [reply.json()["results"][0]["status"] for reply in replies] == ["created"] * 100
    assert sender.stored() == {name: [name] for name in names}
