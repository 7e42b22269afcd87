"""POST /api/v2/messages/summarize. `sql/270_summaries.sql` decides who gets one, and when it is new."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from litestar import post
from litestar.types import ASGIApp

from threadline.database import Database, Reply
from threadline.routes.http import HttpRequest, answer, call
from threadline.summarizer import PROMPT_VERSION, Summarizer, SummaryFailedError

GRACE = 30  # seconds by which a lease outlasts the slowest answer: time to store it
PAUSE = 0.5  # seconds between two looks for a summary that another request has under way


@post("/api/v2/messages/summarize")
async def summarize(request: HttpRequest) -> ASGIApp:
    """Summarise the newest messages of a channel."""
    return await _answer(request, await call("begin_summary", request, **_model(request)))


@post("/api/v2/conversations/{conversation_id:str}/summarize")
async def summarize_conversation(request: HttpRequest) -> ASGIApp:
    """Summarise the newest messages of a conversation of another platform."""
    return await _answer(request, await call("begin_conversation_summary", request, **_model(request)))


def _model(request: HttpRequest) -> dict[str, str]:
    summarizer: Summarizer = request.app.state.summarizer
    return {
        "model": summarizer.model,
        "prompt_version": str(PROMPT_VERSION),
        "lease_seconds": str(summarizer.timeout + GRACE),
        "is_configured": json.dumps(summarizer.is_configured),
    }


async def _answer(request: HttpRequest, begun: Reply) -> ASGIApp:
    database: Database = request.app.state.database
    summarizer: Summarizer = request.app.state.summarizer
    if begun.status not in {201, 202}:
        return answer(begun)
    task = begun.read()["data"]
    reply = await _make(task, database, summarizer) if begun.status == 201 else None
    reply = reply or await _wait(task["id"], database, summarizer.timeout + GRACE / 2)
    return answer(reply, {**begun.headers, **reply.headers})


async def _make(task: dict[str, Any], database: Database, summarizer: Summarizer) -> Reply | None:
    """Ask the model and store its answer. Return None if it failed: `poll_summary` reports the failure to everyone."""
    outcome: dict[str, Any] = {key: task[key] for key in ("id", "lease", "user_id")}
    try:
        summary = await summarizer.summarize(task["messages"])
    except SummaryFailedError as error:
        outcome["failure"] = {"status": error.status, "code": error.code, "message": error.message}
        outcome["is_paid"] = error.is_paid
    else:
        outcome["answer"] = {
            "summary": summary.text,
            **task["scope"],
            "statements": [{"text": each.text, "citations": each.citations} for each in summary.statements],
            "citations": summary.citations,
            "model": summary.model,
            "truncated": task["scope"]["truncated"] or summary.is_cut,
        }
    # As service_role: clients may not store summaries, and this call must not count against the caller's limit.
    reply = await database.call("finish_summary", body=outcome)
    return reply if "answer" in outcome else None


async def _wait(summary_id: str, database: Database, patience: float) -> Reply:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + patience
    while True:
        reply = await database.call("poll_summary", body={"id": summary_id, "is_last": clock.time() > deadline})
        if reply.status != 202:
            return reply
        await asyncio.sleep(PAUSE)
