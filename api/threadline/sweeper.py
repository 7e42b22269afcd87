"""Removes files that nothing leads to from Storage. Which those are, `sql/70_attachments.sql` decides."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from threadline.database import Database, DatabaseUnavailableError
from threadline.settings import Settings
from threadline.storage import Storage

logger = logging.getLogger(__name__)

START = 60  # seconds before the first look: the local stack serves its Storage itself, and not at once
PAUSE = 3600  # seconds between two looks
LIMIT = 1000  # files a look; Storage removes no more at once


async def sweep(database: Database, storage: Storage) -> None:
    """Remove what failed uploads left, and what was uploaded long ago for messages that never came or were deleted.

    Raises:
        DatabaseUnavailableError, StorageRefusedError, StorageUnavailableError: what is left is found again next time.
    """
    body = json.dumps({"limit": LIMIT}).encode()
    reply = await database.call("sweep_attachments", role="service_role", headers={}, body=body)
    if reply.status != 200:
        raise DatabaseUnavailableError(f"sweep_attachments answered {reply.status}")
    if paths := json.loads(reply.body)["data"]["paths"]:
        await storage.acting_for_itself().remove(paths)


@asynccontextmanager
async def sweeping(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Sweep now and then for the length of the block, where this process works and has the key that it takes."""
    if not (settings.deliver and settings.supabase_url and settings.supabase_secret_key):
        yield
        return
    running = asyncio.create_task(_run(database, settings))
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _run(database: Database, settings: Settings) -> None:
    storage = Storage(settings)
    try:
        await asyncio.sleep(START)
        while True:
            try:
                await sweep(database, storage)
            except Exception as error:  # noqa: BLE001 - whatever it was, it may be over in an hour
                logger.warning("Files that nothing leads to stay for now: %s", type(error).__name__)
            await asyncio.sleep(PAUSE)
    finally:
        await storage.close()
