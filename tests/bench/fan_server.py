"""`python -m tests.bench.fan_server realtime PORT DATABASE_URL`, or `bare PORT`: the two servers that fan out.

Bare uses `broadcast()` of the library `websockets`: it sends each incoming text to all clients.
"""

import asyncio
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from threadline_devstack.gateway import Gateway
from threadline_devstack.keys import SigningKey
from threadline_devstack.realtime.limits import Limits
from threadline_devstack.realtime.service import Realtime
from websockets.asyncio.server import ServerConnection, broadcast, serve

WITHOUT_END = 1 << 40


async def run_realtime(port: int, database_url: str) -> None:
    with TemporaryDirectory() as folder:
        key = SigningKey.of(Path(folder) / "key.json")
        limits = Limits(events_per_second=WITHOUT_END, joins_per_second=WITHOUT_END)
        realtime = Realtime(database_url, Gateway(key), limits)
        connections: set[object] = set()
        server = await asyncio.get_running_loop().create_server(
            lambda: realtime.accept(connections), "127.0.0.1", port, backlog=2048
        )
        await server.serve_forever()


async def run_bare(port: int) -> None:
    clients: set[ServerConnection] = set()

    async def echo(client: ServerConnection) -> None:
        clients.add(client)
        try:
            async for text in client:
                broadcast(clients, text)
        finally:
            clients.discard(client)

    async with serve(echo, "127.0.0.1", port, compression=None, ping_interval=None, backlog=2048):
        await asyncio.Future()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    name, port, *database_url = sys.argv[1:]
    uvloop.run(run_realtime(int(port), *database_url) if name == "realtime" else run_bare(int(port)))
