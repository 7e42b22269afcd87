"""The files of the console: unchanged libraries, no HTML from texts, strict headers, every way to serve them."""

import gzip
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from threadline.app import create_app
from threadline.routes.console import NOT_CONFIGURED, configure, headers_for, paths, read
from threadline.settings import Settings

from tests.support import vendor
from tests.support.cluster import free_port
from tests.support.forking import PROGRAM
from tests.support.schema import ROOT
from tests.support.service import DEFAULTS, serving
from tests.support.stack import RunningStack

NOWHERE = "postgresql://authenticator:postgres@127.0.0.1:1/postgres"
OURS = sorted((ROOT / "console").glob("*.*"))
PROJECT = {"url": "https://ref.supabase.co", "key": "sb_publishable_x"}
MOST = 83_500  # bytes of all files, each compressed (decision 0018); the libraries are 23,000 of them


def test_libraries_are_those_of_the_list() -> None:
    listed, locked = vendor.listed(), vendor.locked()
    assert {path: vendor.digest((ROOT / path).read_bytes()) for path in listed["sha256"]} == listed["sha256"]
    for name, entry in listed["packages"].items():
        assert entry == {key: locked[name][key] for key in ("version", "license")}
        assert locked[name]["integrity"].startswith("sha512-")
    served = {f"console/{name}" for name in paths() if name.startswith("vendor/")}
    assert served == {vendor.BUNDLE, vendor.LICENSES}


def test_console_stays_small() -> None:
    sizes = {name: len(gzip.compress(path.read_bytes(), 9)) for name, path in paths().items() if path.suffix != ".txt"}
    assert sum(sizes.values()) <= MOST, sizes
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in OURS if path.suffix == ".js"}
    assert max(lines.values()) <= 250, lines
    assert sum(lines.values()) <= 2_570


@pytest.mark.parametrize("file", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_text_becomes_html(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|dangerously|eval\(|new Function", text)
    assert "style=" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_page_has_no_inline_script_and_no_other_host() -> None:
    page = (ROOT / "console" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?! src=)", page) == []
    assert re.findall(r'(?:src|href)="(?!vendor/|\w+\.)', page) == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy


def test_header_names_the_project_alone() -> None:
    policy = headers_for({"url": "http://local:54321", "service": "https://chat.example/api/"})[
        "content-security-policy"
    ]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    (calls,) = re.findall(r"connect-src ([^;]+);", policy)
    assert set(calls.split()) == {
        *("'self'", "http://local:54321", "ws://local:54321", "https://chat.example", "wss://chat.example")
    }
    assert "frame-ancestors 'none'" in policy
    assert "trusted-types 'none'" in policy


def test_service_serves_the_console_of_its_project(tmp_path: Path) -> None:
    environment = {**DEFAULTS, "SUPABASE_URL": PROJECT["url"], "SUPABASE_PUBLISHABLE_KEY": PROJECT["key"]}
    with serving(NOWHERE, tmp_path / "log", **environment) as service:
        get = service.client.get
        moved = get("/console")
        assert (moved.status_code, moved.headers["location"]) == (302, "console/")
        page = get("/console/")
        assert page.headers["content-type"].startswith("text/html")
        config = get("/console/config.json")
        assert config.json() == {**PROJECT, "service": "../"}
        assert config.headers["content-security-policy"] == page.headers["content-security-policy"]
        for name, path in paths().items():
            answer = get(f"/console/{name}")
            assert answer.content == path.read_bytes()
            assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]
        known = get("/console/app.js", headers={"if-none-match": get("/console/app.js").headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
        for name in ("vendor/vendor.json", "..%2fapp.py", "vendor", "nothing.js"):
            assert get(f"/console/{name}").status_code == 404
        assert 'href="console/"' in get("/").text


def test_changed_file_has_another_tag(tmp_path: Path) -> None:
    tags = []
    for content in ("old", "new"):
        (tmp_path / "a.js").write_text(content)
        tags.append(read(tmp_path / "a.js", len(tags)).tag)
    assert len(set(tags)) == 2


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
@pytest.mark.parametrize(("setting", "is_served"), [("0", False), ("1", True)])
def test_setting_turns_the_console_off(setting: str, is_served: bool) -> None:
    app = create_app(Settings.from_environment({"DATABASE_URL": NOWHERE, "THREADLINE_CONSOLE": setting}))
    assert any(route.path.startswith("/console") for route in app.routes) == is_served


def test_missing_key_is_named() -> None:
    assert configure(Settings("postgresql://x/y", supabase_url=PROJECT["url"])) == {"error": NOT_CONFIGURED}


def test_command_serves_the_console_of_a_project() -> None:
    port = free_port()
    command = [PROGRAM, "console", "--url", PROJECT["url"], "--key", PROJECT["key"], "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert f"http://127.0.0.1:{port}/console/" in process.stdout.readline()
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/console/config.json")
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        process.terminate()
    assert answer.json() == PROJECT


def test_command_writes_files_for_a_static_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "threadline", "console", "--url", PROJECT["url"], "--key", PROJECT["key"]]
    subprocess.run([*command, "--out", tmp_path], check=True, capture_output=True)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {*paths(), "config.json"}
    assert json.loads((tmp_path / "config.json").read_text()) == PROJECT


def test_command_refuses_the_secret_key() -> None:
    command = [PROGRAM, "console", "--url", PROJECT["url"], "--key", "sb_secret_x"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, "publishable key" in result.stderr) == (1, True)


def test_up_prints_the_address(stack: RunningStack) -> None:
    assert f"Console: {stack.api_url}/console/" in stack.output
