"""Deletes expired rows and unused files from time to time. SQL decides which."""

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

LIMIT = 1000  # rows of each kind, or files, per round: short transactions, and Storage removes no more at once
INDEX_LIMIT = 50  # ingest requests per round
INDEX_PAUSE = 2.0
CLEAN_PAUSE = 300.0  # seconds between two rounds
SWEEP_PAUSE = 3600.0


async def clean(database: Database) -> float:
    """Delete expired rows (`sql/420_clean_up.sql`) and return after how many seconds to continue."""
    removed = await database.ask("clean_up", limit=LIMIT)
    return 1.0 if max(removed.values(), default=0) >= LIMIT else CLEAN_PAUSE


async def index(database: Database) -> float:
    """Index messages for search (`sql/263_conversation_search.sql`) and return after how many seconds to continue."""
    done = await database.ask("index_conversations", limit=INDEX_LIMIT)
    return 0.1 if done["indexed"] >= INDEX_LIMIT or done["reindexed"] > 0 else INDEX_PAUSE


async def sweep(database: Database, storage: Storage) -> float:
    """Remove unused files (`sql/250_files.sql`) and return after how many seconds to continue.

    If Storage fails, the next sweep finds the same files again.
    """
    if paths := (await database.ask("sweep_attachments", limit=LIMIT))["paths"]:
        await storage.acting_for_itself().remove(paths)
    return SWEEP_PAUSE


@asynccontextmanager
async def housekeeping(database: Database, storage: Storage, settings: Settings) -> AsyncIterator[None]:
    """Clean and sweep during the block, if this process delivers; sweeping also needs the secret key."""
    tasks = []
    if settings.deliver:
        tasks.append(asyncio.create_task(_repeat(partial(clean, database))))
        tasks.append(asyncio.create_task(_repeat(partial(index, database))))
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
        except Exception as error:  # noqa: BLE001 - every error may be over in a few minutes
            logger.warning("Cleanup failed, will retry in %.0f seconds: %s", pause, type(error).__name__)
        await asyncio.sleep(pause)
