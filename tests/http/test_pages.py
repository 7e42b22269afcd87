"""`/` says what runs here, and `/docs` shows the OpenAPI document in a browser, from files of the package alone."""

import asyncio
import gzip
import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from threadline import __version__
from threadline.routes.console import NOT_CONFIGURED
from threadline.routes.pages import ASSETS, CONSOLE, FOLDER, LINKS, PARTS, root

from tests.support import tools
from tests.support.contract import operations
from tests.support.service import Service

# As in swagger-ui-dist 5.35.0 of npm.
HASHES = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
SAFE = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "x-content-type-options": "nosniff",
}


def test_root_says_what_runs_here(service: Service) -> None:
    reply = service.client.get("/")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"Threadline {__version__} runs here" in reply.text
    assert re.findall(r"<td><code>(?:<a .*?>)?(/[^<]*)", reply.text) == [path for path, _ in (CONSOLE, *PARTS)]
    assert set(re.findall(r"<a [^>]*>(/[^<]*)</a>", reply.text)) == LINKS
    assert {name: reply.headers[name] for name in SAFE} == SAFE
    for path in LINKS:
        assert f'href="{path[1:]}"' in reply.text
        assert service.client.get(path).status_code == 200


@pytest.mark.parametrize(("has_console", "first"), [(True, [CONSOLE]), (False, [])])
def test_root_lists_other_parts_last(has_console: bool, first: list[tuple[str, str]]) -> None:
    show = root([("/more", "<b> & more")], has_console=has_console).fn
    page = asyncio.run(show()).content
    paths = [path for path, _ in (*first, *PARTS, ("/more", ""))]
    assert re.findall(r"<td><code>(?:<a .*?>)?(/[^<]*)", page) == paths
    assert "<td><code>/more</code></td><td>&lt;b&gt; &amp; more</td>" in page


def test_console_without_a_project_says_what_it_needs(service: Service) -> None:
    reply = service.client.get("/console/config.json")
    assert (reply.status_code, reply.json()) == (503, {"error": NOT_CONFIGURED})


def test_docs_load_only_files_of_the_package(service: Service) -> None:
    reply = service.client.get("/docs")
    assert {name: reply.headers[name] for name in SAFE} == SAFE
    files = re.findall(r'(?:src|href)="(.+?)"', reply.text)
    assert {f"docs/{name}" for name in ASSETS} == set(files)
    for name, media_type in ASSETS.items():
        answer = service.client.get(f"/docs/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{media_type}; charset=utf-8")


@pytest.mark.parametrize("name", HASHES)
def test_swagger_ui_is_the_published_one(service: Service, name: str) -> None:
    for encoding, expected in (("br, gzip", "gzip"), ("identity", None)):
        answer = service.client.get(f"/docs/{name}", headers={"accept-encoding": encoding})
        assert answer.headers.get("content-encoding") == expected
        kept = {**SAFE, "cache-control": "max-age=3600", "vary": "accept-encoding"}
        assert {name: answer.headers.get(name) for name in kept} == kept
        assert hashlib.sha256(answer.content).hexdigest() == HASHES[name]
    assert hashlib.sha256(gzip.decompress((FOLDER / f"{name}.gz").read_bytes())).hexdigest() == HASHES[name]


@pytest.mark.parametrize("name", ["docs.html", "NOTICE.txt", "..%2fapp.py", "swagger-ui.css.gz"])
def test_other_files_are_not_served(service: Service, name: str) -> None:
    assert service.client.get(f"/docs/{name}").status_code == 404


def test_browser_shows_every_call(service: Service, tmp_path: Path) -> None:
    if (chromium := tools.chromium()) is None:
        pytest.skip(tools.why_not("chromium"))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    result = subprocess.run(
        [*command, "--virtual-time-budget=20000", f"{service.url}/docs"], capture_output=True, text=True, timeout=90
    )
    shown = set(re.findall(r'data-path="(.+?)"', result.stdout))
    assert shown == {path for _, path in operations()}, result.stderr[-2000:]
