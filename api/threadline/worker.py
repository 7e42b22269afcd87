"""Posts messages to the webhooks of digital twins, and reports the outcome to the outbox in the database.

`sql/312_delivery_worker.sql` decides which delivery is next, what it holds and when to retry; `sql/310_webhooks.sql`
signs it. This module connects, and checks where it connects to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpcore

from threadline import __version__
from threadline.database import Database, DatabaseUnavailableError
from threadline.housekeeper import housekeeping
from threadline.settings import Settings
from threadline.storage import Storage

logger = logging.getLogger(__name__)

CONCURRENCY = 20  # deliveries under way at once
POLL = 1.0  # seconds between two looks into the outbox
PAUSE = 5.0  # seconds until the next look when Postgres fails
GRACE = 3.0  # seconds for deliveries under way when the process must end
ANSWER_MAX_BYTES = 16_384  # read from an answer, only to free the connection for the next request
READ_MAX_BYTES = 32_768  # of one answer with its heads, because httpcore reads heads of 100 Continue without end
UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA has opened for the internet
DOCUMENTATION = ipaddress.ip_network("3fff::/20")  # RFC 9637; Python before 3.13 takes it for global
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # leads to the IPv4 address in its last four bytes


class PrivateAddressError(Exception):
    """A host name has only addresses outside of the public internet."""


class LongAnswerError(Exception):
    """A webhook sends more than the worker reads."""


class Worker:
    """Claims deliveries and posts them. Many workers may run at once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._timeout = settings.webhook_timeout
        self._allow_private = settings.webhook_allow_private
        self._http = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            max_connections=CONCURRENCY,
            keepalive_expiry=30,
            network_backend=BoundedNetwork(
                httpcore.AnyIOBackend() if settings.webhook_allow_private else PublicNetwork()
            ),
        )
        self._under_way: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._must_end = False

    async def run(self) -> None:
        """Deliver until `stop` is called."""
        async with self._http:
            while not self._must_end:
                self._wake.clear()
                pause = await self._start_deliveries()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=GRACE)
            # A cancelled delivery is repeated when its lease ends.
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def stop(self) -> None:
        """Make `run` return when the deliveries under way have ended, at the latest after GRACE."""
        self._must_end = True
        self._wake.set()

    async def _start_deliveries(self) -> float:
        """Claim and start as many deliveries as there is room for. Return after how many seconds to look again."""
        room = CONCURRENCY - len(self._under_way)
        if room == 0:
            return POLL
        try:
            # A lease outlasts every attempt, so that two workers never post the same delivery at once.
            claimed = await self._database.ask("claim_deliveries", limit=room, lease_seconds=3 * self._timeout)
        except Exception as error:  # noqa: BLE001 - such as a database without this function yet
            if not isinstance(error, DatabaseUnavailableError):  # which the call has logged
                logger.error("Cannot claim deliveries, will retry: %s", type(error).__name__)
            return PAUSE
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._end_delivery)
        return POLL

    def _end_delivery(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        # Look again at once: there is room, and the queue may have a next delivery.
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            logger.error("Cannot record a delivery, will repeat it: %s", type(error).__name__)

    async def _deliver(self, delivery: dict[str, Any]) -> None:
        status, error = await self._post(delivery["url"], delivery["headers"], delivery["body"])
        named = {"id": delivery["id"], "lease": delivery["lease"]}
        await self._database.ask("finish_delivery", **named, status=status, error=error)

    async def _post(self, url: str, headers: dict[str, str], body: str) -> tuple[int | None, str | None]:
        """Send one request. Return the status of the answer, if any, and what went wrong, if anything."""
        if not (self._allow_private or url.startswith("https://")):
            return None, "The URL of the webhook must begin with https://."
        headers = {**headers, "user-agent": f"threadline/{__version__}"}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("POST", url, headers=list(headers.items()), content=body.encode()) as answer,
            ):
                await _skim(answer)
        except PrivateAddressError:
            return None, "The webhook has a private address. Use a public one."
        except LongAnswerError:
            return None, "The webhook sent too much before its answer."
        except (TimeoutError, httpcore.TimeoutException):
            return None, "The webhook did not answer in time."
        except (httpcore.ConnectError, OSError):
            return None, "The webhook could not be reached."
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return None, "The webhook closed the connection or does not speak HTTP."
        except ValueError:
            return None, "The URL of the webhook is not valid."
        # A redirect counts as a failure, because the webhook has not taken the message.
        return answer.status, None if 200 <= answer.status < 300 else f"The webhook answered {answer.status}."


class PublicNetwork(httpcore.AnyIOBackend):
    """Connects only to public addresses, so that a webhook cannot reach the internal network."""

    async def connect_tcp(self, host: str, port: int, *options: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """Resolve a name once and connect to a checked address: a second lookup could return another one."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [address for *_, (address, *_) in found if is_public(address)]
        if not addresses:
            raise PrivateAddressError
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError):
                return await super().connect_tcp(address, port, *options, **named)
        return await super().connect_tcp(addresses[-1], port, *options, **named)


class BoundedNetwork(httpcore.AsyncNetworkBackend):
    """Connects as another backend does, and bounds what one answer may send."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(self, *target: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        """Connect, and bound the answers."""
        return BoundedStream(await self._backend.connect_tcp(*target, **options))


class BoundedStream(httpcore.AsyncNetworkStream):
    """Raises LongAnswerError when an answer is longer than READ_MAX_BYTES. Each request begins a new count."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = READ_MAX_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - of the base class
        """Read what is left at most."""
        if not self._left:
            raise LongAnswerError
        data = await self._stream.read(min(max_bytes, self._left), timeout=timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write a part of a request."""
        self._left = READ_MAX_BYTES
        await self._stream.write(buffer, timeout=timeout)

    async def start_tls(self, *options: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """Return the encrypted stream, with the same bound."""
        return BoundedStream(await self._stream.start_tls(*options, **named))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream knows of itself."""
        return self._stream.get_extra_info(info)


def is_public(address: str) -> bool:
    """Return whether an address, and each IPv4 address inside of it, belongs to the public internet."""
    outer = ipaddress.ip_address(address)
    if isinstance(outer, ipaddress.IPv4Address):
        return _is_global(outer)
    if outer.ipv4_mapped:
        return _is_global(outer.ipv4_mapped)
    if outer in NAT64:
        return _is_global(ipaddress.IPv4Address(outer.packed[-4:]))
    # Everything else outside of this range has no place on the internet, whatever forms of IPv4 it holds.
    inner = [each for each in (outer.sixtofour, *(outer.teredo or ())) if each is not None]
    return outer in UNICAST and outer not in DOCUMENTATION and all(map(_is_global, [outer, *inner]))


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


async def _skim(answer: httpcore.Response) -> None:
    size = 0
    with suppress(LongAnswerError):  # its status has arrived
        async for chunk in answer.aiter_stream():
            size += len(chunk)
            if size > ANSWER_MAX_BYTES:
                return


@asynccontextmanager
async def delivering(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Deliver during the block, unless the settings leave that to other processes."""
    if not settings.deliver:
        yield
        return
    worker = Worker(database, settings)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def deliver(settings: Settings, signals: Iterable[int]) -> None:
    """Deliver until the process gets one of the signals."""
    async with (
        Database(settings) as database,
        aclosing(Storage(settings)) as storage,
        housekeeping(database, storage, settings),
    ):
        worker = Worker(database, settings)
        for number in signals:
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        await worker.run()
