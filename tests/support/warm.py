"""What the fork server imports before it forks: see forking.py."""

import gc
from importlib import import_module

from threadline.app import create_app
from threadline.settings import Settings

# What a service, a worker and a stack import before they are ready.
for name in (
    *("threadline.__main__", "threadline.protocol", "threadline.start", "threadline.worker"),
    *("threadline_devstack.auth.api", "threadline_devstack.data_api", "threadline_devstack.gateway"),
    *("threadline_devstack.realtime.service", "threadline_devstack.requests", "threadline_devstack.server"),
    *("threadline_devstack.storage.api", "logging.config", "uvicorn.logging", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.lifespan.on", "uvloop"),
):
    import_module(name)
# The first application imports more, and fills caches of Litestar.
create_app(Settings(database_url="", jwt_secret="unused"))
gc.collect()
gc.freeze()
