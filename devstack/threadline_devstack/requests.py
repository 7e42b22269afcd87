"""Shows each request in the terminal of `threadline up`."""

import time

import click
from litestar.types import ASGIApp, Message, Receive, Scope, Send


def show_requests(app: ASGIApp) -> ASGIApp:
    """Wrap an application: a line with method, path, status and duration for each request."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status = time.perf_counter(), "aborted"

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        # Still percent-encoded, so it cannot break the line; without the query, which may hold an API key.
        path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        try:
            await app(scope, receive, send_observed)
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            click.echo(f"{time.strftime('%H:%M:%S')}  {scope['method']} {path} {status}  {milliseconds:.0f} ms")

    return middleware
