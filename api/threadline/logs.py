"""The log: one JSON object per line, with the id of its request; in a terminal, a line for people.

It never holds bodies, headers, query strings or raw paths, nor texts of errors, because they may quote those.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

# No line shows these, so do not collect them (Logging HOWTO, "Optimization").
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# The id of the request that this task serves; calls of the worker have no id.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# Fits into application_name of Postgres behind our own name, and cannot break a log line.
_SANE = re.compile(r"[A-Za-z0-9._-]{1,50}")


def choose_request_id(given: str | None) -> str:
    """Return the caller's request id if it has 1 to 50 characters of `[A-Za-z0-9._-]`, else a new one."""
    if given and _SANE.fullmatch(given):
        return given
    # A UUID of version 4. uuid4() takes ten times as long, because it asks the kernel for randomness.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON: time, level, logger, message, request_id, and its own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. For an exception it has the type and the stack, not the text."""
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
        return msgspec.json.format(msgspec.json.encode(line), indent=0).decode()  # as json.dumps() does it, but faster


class TextFormatter(logging.Formatter):
    """Formats a record for people: time, level if it is not INFO, message, duration of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. For an exception it has the type and the stack, not the text."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        line = f"{time}  {level}{record.getMessage()}"
        if (duration := getattr(record, "fields", {}).get("duration_ms")) is not None:
            line += f"  {duration:.0f} ms"
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            stack = [f"\n  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
            line += f"\n{kind.__name__}{''.join(stack)}"
        return line


CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "threadline.logs.JsonFormatter"},
        "text": {"()": "threadline.logs.TextFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "text" if sys.stderr and sys.stderr.isatty() else "json",
        }
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # At INFO these two log URLs and headers.
    "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
}
