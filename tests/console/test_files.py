"""The files of the console: unchanged libraries, no HTML from texts, strict headers, every way to serve them."""

import asyncio
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from click.testing import CliRunner, Result
from threadline.__main__ import main
from threadline.app import create_app
from threadline.routes import console
from threadline.routes.console import NOT_CONFIGURED, NOT_PUBLIC, configure, headers_for, paths, read
from threadline.settings import Settings
from threadline_devstack import keys

from tests.support import vendor
from tests.support.cluster import free_port
from tests.support.forking import PROGRAM
from tests.support.schema import ROOT
from tests.support.service import DEFAULTS, serving
from tests.support.stack import RunningStack

NOWHERE = "postgresql://authenticator:postgres@127.0.0.1:1/postgres"
OURS = sorted((ROOT / "console").glob("*.*"))
TYPES = {
    ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain",
}  # fmt: skip
PROJECT = {"url": "https://ref.supabase.co", "key": "sb_publishable_x"}
SECRET_KEYS = ("sb_secret_y", keys.SERVICE_ROLE_KEY)
MOST = 84_500  # bytes of all files, each compressed (decision 0018); the libraries are 23,000 of them


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
    assert sum(lines.values()) <= 2_650


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
    media = "'self' blob: http://local:54321 https:"
    policy = [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
        "connect-src 'self' http://local:54321 https://chat.example ws://local:54321 wss://chat.example",
        *(f"img-src {media}", f"media-src {media}", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    ]
    assert headers_for({"url": "http://local:54321", "service": "https://chat.example/api/"}) == {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "no-cache",
        "vary": "accept-encoding",
    }
    for nothing in (None, "../", "ftp://local", "https:local"):
        assert "connect-src 'self' ; img-src 'self' blob: https:;" in headers_for({"url": nothing})[
            "content-security-policy"
        ]  # fmt: skip


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
            assert answer.headers["content-type"].partition(";")[0] == TYPES[path.suffix]
            assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]
        packed = get("/console/app.js").headers
        plain = get("/console/app.js", headers={"accept-encoding": "br"})
        assert (packed["content-encoding"], plain.content) == ("gzip", paths()["app.js"].read_bytes())
        assert "content-encoding" not in plain.headers
        known = get("/console/app.js", headers={"if-none-match": packed["etag"]})
        assert (known.status_code, known.content) == (304, b"")
        assert re.fullmatch('"[0-9a-f]{32}"', packed["etag"])
        assert {each.get("etag") for each in (packed, plain.headers, known.headers)} == {packed["etag"]}
        assert known.headers["content-security-policy"] == page.headers["content-security-policy"]
        for name in ("vendor/vendor.json", "..%2fapp.py", "vendor", "nothing.js"):
            assert get(f"/console/{name}").status_code == 404
        assert 'href="console/"' in get("/").text


def test_changed_file_has_another_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, tags = tmp_path / "a.js", []
    monkeypatch.setattr(console, "paths", lambda: {"a.js": file})
    for content in ("old", "new"):
        file.write_text(content)
        os.utime(file, ns=(0, len(tags)))
        tags.append(read(file, len(tags)).tag)
        sent = console.send(SimpleNamespace(headers={}), "a.js", {})
        assert (sent.content, sent.headers["etag"]) == (content.encode(), tags[-1])
    assert len(set(tags)) == 2


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
@pytest.mark.parametrize(("setting", "is_served"), [("0", False), ("1", True)])
def test_setting_turns_the_console_off(setting: str, is_served: bool) -> None:
    app = create_app(Settings.from_environment({"DATABASE_URL": NOWHERE, "THREADLINE_CONSOLE": setting}))
    assert any(route.path.startswith("/console") for route in app.routes) == is_served
    root = next(route for route in app.routes if route.path == "/")
    with ThreadPoolExecutor() as pool:  # because Playwright runs a loop in this thread
        page = pool.submit(asyncio.run, root.route_handlers[0].fn()).result()
    assert ("/console/" in page.content) == is_served


@pytest.mark.parametrize("given", [{"supabase_url": PROJECT["url"]}, {"supabase_key": "k"}], ids=["no key", "no URL"])
def test_missing_setting_is_named(given: dict[str, str]) -> None:
    assert configure(Settings("postgresql://x/y", **given)) == {"error": NOT_CONFIGURED}


@pytest.mark.parametrize("key", SECRET_KEYS, ids=["new", "legacy"])
def test_secret_key_is_never_told_to_browsers(key: str) -> None:
    told = configure(Settings(NOWHERE, supabase_url=PROJECT["url"], supabase_key=key))
    assert told == {"error": NOT_PUBLIC}
    assert configure(Settings(NOWHERE, supabase_url=PROJECT["url"], supabase_key=keys.ANON_KEY))["key"] == keys.ANON_KEY


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
    folder = tmp_path / "new" / "folder"
    said = subprocess.run([*command, "--out", folder], check=True, capture_output=True, text=True).stdout
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {*paths(), "config.json"}
    assert {f"follow/{path.name}" for path in (ROOT / "packages" / "follow-js").glob("*.js")} < written
    assert json.loads((folder / "config.json").read_text()) == PROJECT
    assert said == f"Wrote {len(written)} files into {folder}. Serve them from any host.\n"


def test_command_refuses_the_secret_key() -> None:
    for key in SECRET_KEYS:
        result = CliRunner().invoke(main, ["console", "--url", PROJECT["url"], "--key", key])
        assert (result.exit_code, "publishable key" in result.stderr) == (1, True)


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
def test_command_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[set[str], dict[str, object]]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **more: served.append(({each.path for each in app.routes}, more)))

    def run(*options: str, **environment: str) -> Result:
        unset = {"SUPABASE_URL": None, "SUPABASE_PUBLISHABLE_KEY": None}
        return CliRunner().invoke(main, ["console", *options], env={**unset, **environment})

    project = {"SUPABASE_URL": f"{PROJECT['url']}/", "SUPABASE_PUBLISHABLE_KEY": PROJECT["key"]}
    assert run("--service", "https://s.example", "--out", str(tmp_path), **project).exit_code == 0
    assert json.loads((tmp_path / "config.json").read_text()) == {**PROJECT, "service": "https://s.example"}
    assert run("--out", str(tmp_path), **project).exit_code == 0
    assert json.loads((tmp_path / "config.json").read_text()) == PROJECT
    assert run("--out", str(tmp_path / "app.js"), **project).exit_code == 2
    for name in project:
        assert run(**{**project, name: None}).exit_code == 2
    assert served == []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port} of 127.0.0.1 cannot be used" in run("--port", port, **project).output
    assert served == []
    said = run("--port", port, **project).output
    address = f"http://127.0.0.1:{port}/console/"
    assert said == f"The console of {PROJECT['url']}: {address}\nCtrl-C ends it.\n"
    paths = {"/console", "/console/config.json", "/console/{path:path}"}
    assert served == [(paths, {"host": "127.0.0.1", "port": int(port), "log_level": "warning"})]


def test_up_prints_the_address(stack: RunningStack) -> None:
    assert f"Console: {stack.api_url}/console/" in stack.output
