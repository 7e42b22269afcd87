"""Servers in front of Postgres that speak TLS, or refuse it; and certificates for them."""

import asyncio
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# The C library resolves this name to 127.0.0.1, so a test server answers to a host that is not called loopback.
AWAY = "127.1"
TLS_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
DEMAND_PASSWORD = b"R" + (8).to_bytes(4) + (3).to_bytes(4)


@dataclass
class Authority:
    """A certificate authority, and a server certificate of it. `root` is the file that clients need."""

    root: Path
    chain: Path

    @classmethod
    def create(cls, folder: Path, name: str = AWAY) -> "Authority":
        """Write both into a folder, the server certificate for `name`."""
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Test Root", name)]
        now = datetime.datetime.now(datetime.UTC)

        def sign(place: int, extension: x509.ExtensionType) -> bytes:
            builder = x509.CertificateBuilder(
                names[0],
                names[place],
                keys[place].public_key(),
                x509.random_serial_number(),
                now - datetime.timedelta(days=1),
                now + datetime.timedelta(days=1),
            ).add_extension(extension, critical=False)
            return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        root, chain = folder / "root.crt", folder / "server.pem"
        root.write_bytes(sign(0, x509.BasicConstraints(ca=True, path_length=None)))
        key = keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(sign(1, x509.SubjectAlternativeName([x509.DNSName(name)])) + key)
        return cls(root, chain)


@dataclass
class Front:
    """A server on the loopback interface. `heard` is what clients sent in clear, after their requests for TLS.

    `protocol` is what the last one named inside of TLS, which some proxies need to find the way.
    """

    port: int = 0
    heard: bytes = b""
    connections: int = 0
    protocol: str | None = None


@contextmanager
def answering(authority: Authority | None = None, target: int = 0) -> Iterator[Front]:
    """Run a server for the block: with an authority TLS in front of the port `target`.

    Without one it refuses TLS and asks all clients for their password in clear text.
    """
    front, loop = Front(), asyncio.new_event_loop()
    writers: list[asyncio.StreamWriter] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if authority else None
    if context:
        context.load_cert_chain(authority.chain)
        context.set_alpn_protocols(["postgresql"])

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        front.connections += 1
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            start = await reader.readexactly(8)
            if start == TLS_REQUEST and context:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(context)
                front.protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
                await _forward(reader, writer, target)
            else:
                if start == TLS_REQUEST:
                    writer.write(b"N")
                    start = b""
                front.heard += start
                while data := await reader.read(65536):
                    front.heard += data
                    writer.write(DEMAND_PASSWORD)
        writer.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(handle, "127.0.0.1", 0)

    server = loop.run_until_complete(start())
    front.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end_tasks(writers), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_tasks(writers: list[asyncio.StreamWriter]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for writer in writers:
        # Python 3.11.2 has no protocol any more for a transport that was closed twice.
        with suppress(AttributeError):
            writer.transport.abort()
    await asyncio.sleep(0.05)  # until the loop has closed the sockets


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    source, sink = await asyncio.open_connection("127.0.0.1", target)

    async def pump(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await one.read(65536):
                other.write(data)
                await other.drain()
        other.close()

    try:
        await asyncio.gather(pump(reader, sink), pump(source, writer))
    finally:
        sink.transport.abort()
