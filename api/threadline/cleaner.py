"""Has the database remove what need not be kept. What that is, `sql/84_clean_up.sql` decides.

Where pg_cron does the same, one of the two finds nothing to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from threadline.database import Database
from threadline.settings import Settings

logger = logging.getLogger(__name__)

PAUSE = 300  # seconds between two rounds
LIMIT = 1000  # rows of each kind a round, so that none takes long


async def clean(database: Database) -> bool:
    """Have one round done, and return whether there may be more to remove."""
    reply = await database.call("clean_up", role="service_role", headers={}, body=json.dumps({"limit": LIMIT}).encode())
    return reply.status == 200 and LIMIT in json.loads(reply.body)["data"].values()


@asynccontextmanager
async def cleaning(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Clean now and then for the length of the block, where this process does such work at all."""
    if not settings.deliver:
        yield
        return
    running = asyncio.create_task(_run(database))
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _run(database: Database) -> None:
    while True:
        has_more = False
        try:
            has_more = await clean(database)
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be over in a few minutes
            logger.warning("What is out of date stays for now: %s", type(error).__name__)
        await asyncio.sleep(1 if has_more else PAUSE)
