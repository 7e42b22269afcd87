"""Each error becomes one answer, and each log record one line without its secrets."""

import json
import logging
import runpy
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest
from litestar.exceptions import HTTPException
from multipart import MultipartError
from threadline import errors, logs
from threadline.database import DatabaseUnavailableError
from threadline.shares import TooManyAtOnceError
from threadline.storage import (
    StorageRefusedError,
    StorageUnavailableError,
)
from threadline.tokens import InvalidTokenError


def told(error: Exception, path: str) -> tuple[int, dict, dict]:
    scope = {"type": "http", "path": path, "path_template": "/found/{id:str}"}
    request = SimpleNamespace(url=SimpleNamespace(path=path), method="POST", scope=scope)
    response = errors.answer(request, error)
    return response.status_code, response.content, dict(response.headers)


class FailedError(ValueError):
    """An error of the driver."""

    sqlstate = "XX000"


API, ELSEWHERE = "/api/v2/messages", "/functions/v1/messaging-ingest"
ANSWERS = [
    (HTTPException("No", status_code=400), 400, "invalid_request"),
    (HTTPException("No", status_code=404), 404, "not_found"),
    (HTTPException("No", status_code=405, headers={"allow": "POST"}), 405, "method_not_allowed"),
    (HTTPException("No", status_code=408), 408, "body_too_slow"),
    (HTTPException("No", status_code=413), 413, "body_too_large"),
    (HTTPException("No", status_code=415), 415, "unsupported_media_type"),
    (HTTPException("No", status_code=418), 418, "refused"),
    (HTTPException("No", status_code=413, extra={"code": "too_many_files", "field": "files"}), 413, "too_many_files"),
    (InvalidTokenError("No"), 401, "invalid_token"),
    (DatabaseUnavailableError("x"), 503, "unavailable"),
    (TooManyAtOnceError(), 429, "too_many_at_once"),
    (MultipartError("x"), 400, "invalid_form"),
    (StorageRefusedError(404), 404, "file_not_found"),
    (StorageRefusedError(413), 413, "file_too_large"),
    (StorageRefusedError(400), 403, "storage_refused"),
    (StorageUnavailableError(), 503, "storage_unavailable"),
    (FailedError("canary"), 500, "internal_error"),
    (HTTPException("No", status_code=400, extra=[{"key": "x"}]), 400, "invalid_request"),
]
MESSAGES = {
    "unavailable": "Service temporarily unavailable",
    "too_many_at_once": "You have too many requests under way. Wait for their answers.",
    "invalid_form": "The body is not a valid form. Send multipart/form-data.",
    "file_not_found": "The file is no longer in Storage. Upload it again.",
    "file_too_large": "The file is too large for Storage. Upload a smaller one.",
    "storage_refused": "Storage does not permit this. Ask the operator.",
    "storage_unavailable": "Storage cannot be reached. Try again later.",
    "internal_error": "Internal server error",
}


@pytest.mark.parametrize(("error", "status", "code"), ANSWERS, ids=range(len(ANSWERS)))
def test_error_becomes_an_answer(caplog: pytest.LogCaptureFixture, error: Exception, status: int, code: str) -> None:
    found, content, headers = told(error, API)
    described = content["error"]
    assert (found, described["code"], content["success"]) == (status, code, False)
    assert described.get("field") == ("files" if code == "too_many_files" else None)
    assert headers.get("retry-after") == ("5" if status in {429, 503} else None)
    assert headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert headers.get("allow") == ("POST" if status == 405 else None)
    assert caplog.messages == (["POST /found/{id} failed: FailedError XX000"] if status == 500 else [])
    assert content["meta"]["timestamp"].endswith("Z")
    assert len(content["meta"]["timestamp"]) == len("2024-02-15T09:00:00.000Z")
    message = described["message"]
    assert message == MESSAGES.get(code, "No")
    found, content, headers = told(error, ELSEWHERE)
    is_full = isinstance(error, TooManyAtOnceError)
    assert found == (503 if is_full else status)
    assert content == {"error": "Service temporarily unavailable" if is_full else message}
    assert headers["access-control-allow-origin"] == "*"
    assert "canary" not in json.dumps(content)
    assert told(error, "/api/v2")[:2] == (found, content)


def fail() -> None:
    raise ValueError("canary")


def test_log_line_is_json_for_programs_and_text_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "é %s", ("x",), None)
    record.created, record.fields = 1_707_987_600.5, {"duration_ms": 12.6, "status": 200}
    token = logs.request_id.set("r1")
    try:
        line = logs.JsonFormatter().format(record)
    finally:
        logs.request_id.reset(token)
    assert "é" in line
    assert line == json.dumps(json.loads(line), ensure_ascii=False)
    assert json.loads(line) == {
        "time": "2024-02-15T09:00:00.500+00:00", "level": "warning", "logger": "a.b", "message": "é x",
        "request_id": "r1", "duration_ms": 12.6, "status": 200,
    }  # fmt: skip
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert logs.TextFormatter().format(record) == "18:00:00  WARNING é x  13 ms"
    finally:
        monkeypatch.undo()
        time.tzset()
    clock = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
    record.exc_info = None, None, None
    assert "error" not in json.loads(logs.JsonFormatter().format(record))
    assert logs.TextFormatter().format(record) == f"{clock}  WARNING é x  13 ms"
    try:
        fail()
    except ValueError as error:
        plain = logging.LogRecord("a", logging.INFO, "f", 1, "failed", (), (ValueError, error, error.__traceback__))
    found = json.loads(logs.JsonFormatter().format(plain))
    assert ("request_id" in found, found["error"], len(found["stack"])) == (False, "ValueError", 2)
    assert found["stack"][0].endswith(" test_log_line_is_json_for_programs_and_text_for_people")
    text = logs.TextFormatter().format(plain)
    assert "  failed\nValueError\n  " in text
    assert "canary" not in text + json.dumps(found)
    assert [logs.choose_request_id(given) for given in ("a.B_9-", "x" * 50)] == ["a.B_9-", "x" * 50]
    assert len(logs.choose_request_id("x" * 51)) == len(logs.choose_request_id(None)) == 36
    assert UUID(logs.choose_request_id(None)).version == 4
    assert len({logs.choose_request_id(None)[:8] for _ in range(3)}) == 3
    plain.fields, plain.exc_info = {"duration_ms": 0.0}, None
    assert logs.TextFormatter().format(plain).endswith("  failed  0 ms")
    levels = {name: known["level"] for name, known in logs.CONFIG["loggers"].items()}
    assert levels == {"httpx": "WARNING", "httpcore": "WARNING"}
    assert (logs.CONFIG["root"]["level"], logs.CONFIG["disable_existing_loggers"]) == ("INFO", False)


@pytest.mark.parametrize(
    ("error", "output", "form"), [(None, True, "json"), (False, True, "json"), (True, False, "text")]
)
def test_log_goes_to_stderr_in_the_form_for_its_reader(
    monkeypatch: pytest.MonkeyPatch, error: bool | None, output: bool, form: str
) -> None:
    def stream(is_terminal: bool | None) -> SimpleNamespace | None:
        return None if is_terminal is None else SimpleNamespace(isatty=lambda: is_terminal)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream(error))
        patch.setattr(sys, "stdout", stream(output))
        config = runpy.run_path(logs.__file__)["CONFIG"]
    assert config["handlers"] == {"stderr": {"class": "logging.StreamHandler", "formatter": form}}
