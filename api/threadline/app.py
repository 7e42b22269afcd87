"""Builds the HTTP service from its parts. No other module knows all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from litestar import Litestar
from litestar.types import ControllerRouterHandler

from threadline import errors
from threadline.cors import allow_browsers
from threadline.database import Database
from threadline.housekeeper import housekeeping
from threadline.observer import observe
from threadline.routes.calls import calls
from threadline.routes.console import configure, console
from threadline.routes.exports import exports
from threadline.routes.ingest import ingest
from threadline.routes.pages import root, show_asset, show_docs
from threadline.routes.service import health, schema, show_metrics
from threadline.routes.summaries import summarize, summarize_conversation
from threadline.routes.uploads import uploads
from threadline.settings import Settings
from threadline.spool import Spool
from threadline.storage import Storage
from threadline.summarizer import Summarizer
from threadline.tokens import Verifier
from threadline.worker import delivering


def create_app(
    settings: Settings,
    extra_routes: Sequence[ControllerRouterHandler] = (),
    extra_parts: Sequence[tuple[str, str]] = (),
    console_extras: Mapping[str, Any] | None = None,
) -> Litestar:
    """Return the ASGI application.

    `extra_routes` are served beside our own, and `extra_parts` is what `/` says of them. `console_extras` go into the
    config.json of the console.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with (
            Database(settings) as database,
            aclosing(Storage(settings)) as storage,
            aclosing(Summarizer(settings)) as summarizer,
            delivering(database, settings),
            housekeeping(database, storage, settings),
        ):
            app.state.update(settings=settings, verifier=Verifier(settings), spool=Spool(settings))
            app.state.update(database=database, storage=storage, summarizer=summarizer)
            yield

    pages = console({**configure(settings), **(console_extras or {})}) if settings.console else []
    app = Litestar(
        route_handlers=[
            *(root(extra_parts, has_console=settings.console), show_docs, show_asset, health, schema, show_metrics),
            *(ingest, calls, uploads, summarize, summarize_conversation, exports),
            *pages,
            *extra_routes,
        ],
        lifespan=[lifespan],
        exception_handlers={Exception: errors.answer},
        # The routes limit bodies themselves, because they count decompressed bytes.
        request_max_body_size=None,
        openapi_config=None,
        # `threadline serve` configures logging.
        logging_config=None,
    )
    # Wrapped instead of added as middleware: Litestar runs no middleware for its own OPTIONS routes.
    app.asgi_handler = allow_browsers(app.asgi_handler)
    # Outermost, so that it also sees requests without a route.
    app.asgi_handler = observe(app.asgi_handler)
    return app
