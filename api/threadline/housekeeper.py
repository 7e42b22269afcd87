"""Removes what need not be kept, now and then, beside the requests. What that is, the database decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from threadline.database import Database
from threadline.settings import Settings
from threadline.storage import Storage

logger = logging.getLogger(__name__)

LIMIT = 1000  # rows of each kind, or files, a round: so that none takes long, and Storage removes no more at once
CLEAN_PAUSE = 300.0  # seconds between two rounds
SWEEP_PAUSE = 3600.0


async def clean(database: Database) -> float:
    """Have rows removed that are out of date (`sql/84_clean_up.sql`), and return after how many seconds to go on.

    Where pg_cron does the same, one of the two finds nothing to do.
    """
    removed = await database.ask("clean_up", limit=LIMIT)
    return 1.0 if LIMIT in removed.values() else CLEAN_PAUSE


async def sweep(database: Database, storage: Storage) -> float:
    """Remove files that nothing leads to (`sql/70_attachments.sql`), and return after how many seconds to go on.

    Raises:
        DatabaseUnavailableError, StorageRefusedError, StorageUnavailableError: what is left is found again next time.
    """
    if paths := (await database.ask("sweep_attachments", limit=LIMIT))["paths"]:
        await storage.acting_for_itself().remove(paths)
    return SWEEP_PAUSE


@asynccontextmanager
async def housekeeping(database: Database, storage: Storage, settings: Settings) -> AsyncIterator[None]:
    """Clean and sweep for the length of the block, where this process does such work and has the keys that it takes."""
    tasks = []
    if settings.deliver:
        tasks.append(asyncio.create_task(_repeat(partial(clean, database))))
    if settings.deliver and settings.supabase_url and settings.supabase_secret_key:
        tasks.append(asyncio.create_task(_repeat(partial(sweep, database, storage))))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(work: Callable[[], Awaitable[float]]) -> None:
    while True:
        pause = CLEAN_PAUSE
        try:
            pause = await work()
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be over in a few minutes
            logger.warning("What need not be kept stays for now: %s", type(error).__name__)
        await asyncio.sleep(pause)
