"""The HTTP service, put together. The only place that knows all parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from threadline import errors
from threadline.cors import allow_browsers
from threadline.database import Database
from threadline.housekeeper import housekeeping
from threadline.observer import observe
from threadline.routes.exports import exports
from threadline.routes.health import health
from threadline.routes.ingest import ingest
from threadline.routes.messages import messages
from threadline.routes.metrics import show_metrics
from threadline.routes.schema import schema
from threadline.routes.summaries import summarize
from threadline.routes.uploads import uploads
from threadline.settings import Settings
from threadline.storage import Storage
from threadline.summarizer import Summarizer
from threadline.tokens import Verifier
from threadline.worker import delivering


def create_app(settings: Settings, extra_routes: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """Make the ASGI application.

    Args:
        settings: of this process.
        extra_routes: what else is served on the same port; the local stack adds its stand-ins here.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with (
            Database(settings) as database,
            aclosing(storage),
            aclosing(summarizer),
            delivering(database, settings),
            housekeeping(database, storage, settings),
        ):
            app.state.update(database=database, verifier=verifier, settings=settings)
            yield

    async def provide_database() -> Database:
        return app.state.database

    verifier = Verifier(settings)
    storage = Storage(settings)
    summarizer = Summarizer(settings)

    app = Litestar(
        route_handlers=[
            health,
            schema,
            show_metrics,
            ingest,
            messages,
            uploads,
            summarize,
            exports,
            *extra_routes,
        ],
        lifespan=[lifespan],
        dependencies={
            "database": Provide(provide_database),
            "verifier": Provide(lambda: verifier, sync_to_thread=False, use_cache=True),
            "storage": Provide(lambda: storage, sync_to_thread=False, use_cache=True),
            "summarizer": Provide(lambda: summarizer, sync_to_thread=False, use_cache=True),
            "settings": Provide(lambda: settings, sync_to_thread=False, use_cache=True),
        },
        exception_handlers={Exception: errors.answer},
        # Routes bound the bodies that they read themselves, since a limit counts decompressed bytes.
        request_max_body_size=None,
        openapi_config=None,
        # The command that runs it says how to log.
        logging_config=None,
    )
    # Around the routes, since those that Litestar adds for OPTIONS have no middleware.
    app.asgi_handler = allow_browsers(app.asgi_handler)
    # Around everything, so that what no route takes is seen, too.
    app.asgi_handler = observe(app.asgi_handler)
    return app
