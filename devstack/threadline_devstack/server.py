"""The HTTP server of the stack."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import uvicorn
from threadline.protocol import Protocol
from uvicorn.server import ServerState

from threadline_devstack.errors import StackError
from threadline_devstack.process import signals_handled_by

GRACE = 3  # seconds for open requests when the stack stops
PATIENCE = 20  # seconds for the head of a request


class HttpServer(uvicorn.Server):
    """Serves an application on a reserved port until a signal comes, or until `must_end` says so."""

    def __init__(
        self,
        application: object,
        accept: Callable[[set[Any]], asyncio.Protocol],
        *,
        on_ready: Callable[[], None],
        must_end: Callable[[], bool],
    ) -> None:
        """Take the application and its stand-ins.

        Args:
            application: for HTTP.
            accept: returns the protocol of a WebSocket connection; it takes the set of the connections that
                the server closes when it stops. It bypasses ASGI, so that many clients get one and the same frame.
            on_ready: what to do once it answers.
            must_end: what to ask every second.
        """

        def websocket(server_state: ServerState, **_: object) -> asyncio.Protocol:
            return accept(server_state.connections)

        super().__init__(
            uvicorn.Config(
                application,
                http=partial(Protocol, patience=PATIENCE),
                ws=websocket,
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,  # a request line may carry an API key in its query string
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE,
                callback_notify=self._look_around,
                timeout_notify=1,
            )
        )
        self._on_ready = on_ready
        self._must_end = must_end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and say so; raise StackError when it does not start."""
        try:
            await super().startup(sockets)
        except SystemExit as error:
            raise StackError("The HTTP API did not start; the reason is above.") from error
        self._on_ready()

    async def _look_around(self) -> None:
        self.should_exit = self.should_exit or self._must_end()

    def capture_signals(self) -> AbstractContextManager[None]:
        """Stop at SIGHUP too, and do not raise the signal again at the end as uvicorn would."""
        return signals_handled_by(self.handle_exit)
