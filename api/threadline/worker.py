"""Forwarding to digital twins: posts what the outbox of `sql/311_deliveries.sql` holds, and says what became of it.

Which delivery is next, what is in it, its signature, when to try again: all of that is decided there. Here is what
only a process can do: connect, and look where it is connecting to.
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
POLL = 1.0  # seconds between two looks when there is nothing to do
PAUSE = 5.0  # seconds between two looks when Postgres is in trouble
GRACE = 3.0  # seconds that deliveries under way are given when the process is told to end
ANSWER_MAX_BYTES = 16_384  # of a webhook's answer, which nobody reads: it only frees the connection for the next one
# Leads to the IPv4 address in its last four bytes, where a network translates.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(Exception):
    """A host name leads nowhere but to addresses that are not of the public internet."""


class Worker:
    """Claims deliveries through the gateway and posts them. Any number of workers may run at once.

    Args:
        database: where the outbox is.
        settings: of this process.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._timeout = settings.webhook_timeout
        self._allow_private = settings.webhook_allow_private
        self._http = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            max_connections=CONCURRENCY,
            keepalive_expiry=30,
            network_backend=None if settings.webhook_allow_private else PublicNetwork(),
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
            # What is cut off here is delivered again when its lease has ended.
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def stop(self) -> None:
        """Let `run` return when what is under way has ended, or after a short while."""
        self._must_end = True
        self._wake.set()

    async def _start_deliveries(self) -> float:
        """Claim as much as there is room for, and return after how many seconds to look again."""
        room = CONCURRENCY - len(self._under_way)
        if room == 0:
            return POLL
        try:
            # A lease outlasts every attempt, so that no two workers send the same at once.
            claimed = await self._database.ask("claim_deliveries", limit=room, lease_seconds=3 * self._timeout)
        except DatabaseUnavailableError:
            return PAUSE
        except Exception as error:  # noqa: BLE001 - such as a database without this function yet
            logger.error("Forwarding to twins waits: %s", type(error).__name__)
            return PAUSE
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._end_delivery)
        return POLL

    def _end_delivery(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        # Its queue may have a next one, and there is room again.
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            logger.error("The end of a delivery could not be noted: %s", type(error).__name__)

    async def _deliver(self, delivery: dict[str, Any]) -> None:
        status, error = await self._post(delivery["url"], delivery["headers"], delivery["body"])
        named = {"id": delivery["id"], "lease": delivery["lease"]}
        await self._database.ask("finish_delivery", **named, status=status, error=error)

    async def _post(self, url: str, headers: dict[str, str], body: str) -> tuple[int | None, str | None]:
        """Send one request and return the status, if there was an answer, and what was wrong, if anything was."""
        if not (self._allow_private or url.startswith("https://")):
            return None, "The webhook must be https."
        headers = {**headers, "user-agent": f"threadline/{__version__}"}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("POST", url, headers=list(headers.items()), content=body.encode()) as answer,
            ):
                await _skim(answer)
        except PrivateAddressError:
            return None, "The webhook leads to a private address."
        except (TimeoutError, httpcore.TimeoutException):
            return None, "The webhook did not answer in time."
        except (httpcore.ConnectError, OSError):
            return None, "The webhook could not be reached."
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return None, "The connection to the webhook broke, or it does not speak HTTP."
        except ValueError:
            return None, "The URL of the webhook is not valid."
        # A redirect is not followed: whoever answers with one has not taken the message.
        return answer.status, None if 200 <= answer.status < 300 else f"The webhook answered {answer.status}."


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses of the public internet only, so that a webhook cannot reach what is inside."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve a name, and connect to an address that was looked at: asked again, it might lead elsewhere."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [address for *_, (address, *_) in found if is_public(address)]
        if not addresses:
            raise PrivateAddressError
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError):
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


def is_public(address: str) -> bool:
    """Whether an address, and each IPv4 address wrapped in it, is one of the public internet."""
    outer = ipaddress.ip_address(address)
    layers = [outer]
    if isinstance(outer, ipaddress.IPv6Address):
        wrapped = [outer.ipv4_mapped, outer.sixtofour, *(outer.teredo or ())]
        if outer in NAT64:
            wrapped.append(ipaddress.IPv4Address(outer.packed[-4:]))
        inner = [each for each in wrapped if each is not None]
        # A mapped address is the IPv4 address; what IPv6 says of the range as such does not count.
        layers = inner if outer.ipv4_mapped else [outer, *inner]
    return all(each.is_global and not each.is_multicast for each in layers)


async def _skim(answer: httpcore.Response) -> None:
    size = 0
    async for chunk in answer.aiter_stream():
        size += len(chunk)
        if size > ANSWER_MAX_BYTES:
            return


@asynccontextmanager
async def delivering(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Deliver for the length of the block, unless the settings say that others do."""
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
