"""POST /api/v2/messages/summarize. Who may have a summary, and when a new one is made: `sql/270_summaries.sql`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from litestar import post
from litestar.types import ASGIApp

from threadline.database import Database, Reply
from threadline.routes.messages import HttpRequest, answer, call
from threadline.summarizer import PROMPT_VERSION, Summarizer, SummaryFailedError
from threadline.tokens import Verifier

GRACE = 30  # seconds that a claim outlives the slowest answer: time to store it
PAUSE = 0.5  # seconds between two looks for what somebody else is having made


@post("/api/v2/messages/summarize")
async def summarize(request: HttpRequest, database: Database, verifier: Verifier, summarizer: Summarizer) -> ASGIApp:
    """Summarise the newest messages of a channel."""
    begun = await call(
        "begin_summary",
        request,
        database,
        verifier,
        model=summarizer.model,
        prompt_version=str(PROMPT_VERSION),
        claim_seconds=str(summarizer.timeout + GRACE),
        is_configured=json.dumps(summarizer.is_configured),
    )
    if begun.status not in {201, 202}:
        return answer(begun)
    task = json.loads(begun.body)["data"]
    reply = await _make(task, database, summarizer) if begun.status == 201 else None
    reply = reply or await _wait(task["id"], database, summarizer.timeout + GRACE / 2)
    return answer(replace(reply, headers={**begun.headers, **reply.headers}))


async def _make(task: dict[str, Any], database: Database, summarizer: Summarizer) -> Reply | None:
    """Have the summary made and stored; None when it failed, which is then found as by those who wait for it."""
    outcome: dict[str, Any]
    try:
        summary = await summarizer.summarize(task["messages"])
    except SummaryFailedError as error:
        outcome = {"failure": {"status": error.status, "code": error.code, "message": error.message}}
    else:
        scope = task["scope"]
        outcome = {
            "answer": {
                "summary": summary.text,
                **scope,
                "citations": summary.citations,
                "model": summary.model,
                "truncated": scope["truncated"] or summary.is_cut,
            }
        }
    outcome.update({key: task[key] for key in ("id", "claim", "user_id")})
    reply = await _call("finish_summary", outcome, database)
    return reply if "answer" in outcome else None


async def _wait(summary_id: str, database: Database, patience: float) -> Reply:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + patience
    while True:
        is_last = clock.time() > deadline
        reply = await _call("poll_summary", {"id": summary_id, "is_last": is_last}, database)
        if reply.status != 202:
            return reply
        await asyncio.sleep(PAUSE)


async def _call(function: str, argument: dict[str, Any], database: Database) -> Reply:
    # As the service itself: no client may store a summary, nor is what is done here a request of the caller's.
    return await database.call(function, role="service_role", headers={}, body=json.dumps(argument).encode())
