"""The HTTP service, put together. The only place that knows all parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from threadline import errors
from threadline.database import Database
from threadline.routes.health import health
from threadline.routes.ingest import ingest
from threadline.routes.messages import messages
from threadline.settings import Settings
from threadline.tokens import Verifier


def create_app(settings: Settings, extra_routes: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """Make the ASGI application.

    Args:
        settings: of this process.
        extra_routes: what else is served on the same port; the local stack adds its stand-ins here.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with Database(settings) as database:
            app.state.database = database
            yield

    async def provide_database() -> Database:
        return app.state.database

    verifier = Verifier(settings)

    app = Litestar(
        route_handlers=[health, ingest, messages, *extra_routes],
        lifespan=[lifespan],
        dependencies={
            "database": Provide(provide_database),
            "verifier": Provide(lambda: verifier, sync_to_thread=False, use_cache=True),
            "settings": Provide(lambda: settings, sync_to_thread=False, use_cache=True),
        },
        exception_handlers=errors.handlers,
        # Routes bound the bodies that they read themselves, since a limit counts decompressed bytes.
        request_max_body_size=None,
        openapi_config=None,
    )
    return app
