"""What the service writes to its log: a JSON object a line, each with the id of the request that it is about.

Never in it: bodies, headers, query strings, paths as they were asked for; nor texts of errors, which may quote these.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# What no line of ours tells need not be found out for each (Logging HOWTO, "Optimization").
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# Of the request that this task serves; the worker's own calls have none.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# What fits into Postgres's application_name behind our own, and cannot break a line of anybody's log.
_SANE = re.compile(r"[A-Za-z0-9._-]{1,50}")


def choose_request_id(given: str | None) -> str:
    """Return the id that a caller gave its request if it is sane (`[A-Za-z0-9._-]`, 50 at most), else a new one."""
    return given if given and _SANE.fullmatch(given) else str(uuid.uuid4())


_encode = json.JSONEncoder(ensure_ascii=False).encode


class JsonFormatter(logging.Formatter):
    """Makes a line of JSON of a record: time, level, logger, message, request_id, and the fields that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Of an exception it tells the type and where it was raised, not what it says."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := request_id.get():
            line["request_id"] = known
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            line["error"] = kind.__name__
            line["stack"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
        return _encode(line)


CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "threadline.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # These two log what they send and where, at a level below.
    "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
}
