"""Clients that popular generators write from the OpenAPI document compile, and their calls succeed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadline.routes.service import document

from tests.support import tools
from tests.support.cluster import TestCluster
from tests.support.team import Running, running_service
from tests.support.tokens import token
from tests.support.world import CHANNEL, MATTY

PROGRAMS = Path(__file__).with_name("clients")
MODULES = tools.MODULES
OPTIONS = (
    *("--strict", "--noEmit", "--skipLibCheck", "--allowImportingTsExtensions"),
    *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"),
)
# Declares what the programs use of Node, without a package for it.
NODE = 'declare module "node:process" { const process: { argv: string[] }; export default process; }\n'
PYTHON = """
import sys
from threadline_client import AuthenticatedClient
from threadline_client.api.messages import create_message, get_message, list_messages, pin_message
from threadline_client.models import Error, NewMessage, NewMessageMetadataType0, PinMessageBody

url, token, channel = sys.argv[1:]
with AuthenticatedClient(url, token, raise_on_unexpected_status=True) as client:
    metadata = NewMessageMetadataType0.from_dict({"source": "api"})
    message = NewMessage(content="From Python", channel_id=channel, metadata=metadata)
    made = create_message.sync(client=client, body=message)
    pin_message.sync(made.data.id, client=client, body=PinMessageBody())
    page = list_messages.sync(client=client, channel_id=channel, limit=1)
    message = page.data[0]
    print(message.content, message.metadata["source"], message.metadata.pinned, page.meta.total > 0)
    refused = get_message.sync(channel, client=client)
    print(isinstance(refused, Error), refused.error.code)
"""


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the data of seed.sql."""
    with running_service(cluster, template, tmp_path_factory.mktemp("clients") / "log") as running:
        yield running


def run(*command: str | Path, folder: Path) -> str:
    """Run a program in a folder and return what it prints; fail with that if it fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # generators look for ruff there
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_openapi_python_client_compiles_and_calls(running: Running, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_bytes(document())
    generate = Path(sys.executable).with_name("openapi-python-client")
    said = run(generate, "generate", "--path", "schema.json", "--meta", "none", folder=tmp_path)
    # It skips the answers of the two exports, which are lines of JSON.
    assert (
        said.count("WARNING") == said.count("application/x-ndjson (") == said.count("WARNING parsing GET /api/v2/exp")
    )
    run(sys.executable, "-m", "compileall", "-q", "threadline_client", folder=tmp_path)
    program = tmp_path / "program.py"
    program.write_text(PYTHON)
    printed = run(sys.executable, program, running.service.url, token(MATTY), CHANNEL, folder=tmp_path)
    assert printed.splitlines() == ["From Python api True True", "True message_not_found"]


@pytest.mark.parametrize(
    ("program", "generator", "printed"),
    [
        (
            "fetch.ts",
            ["openapi-typescript/bin/cli.js", "schema.json", "-o", "types.d.ts"],
            ["From TypeScript api true true", "message_not_found"],
        ),
        (
            "hey.ts",
            ["@hey-api/openapi-ts/bin/run.js", "-i", "schema.json", "-o", "hey", "-c", "@hey-api/client-fetch"],
            ["From Hey API api true", "message_not_found", "true"],
        ),
    ],
    ids=["openapi-typescript", "hey-api"],
)
def test_typescript_client_compiles_and_calls(
    running: Running, tmp_path: Path, program: str, generator: list[str], printed: list[str]
) -> None:
    if tools.deno() is None:
        pytest.skip(tools.why_not("deno"))
    (tmp_path / "schema.json").write_bytes(document())
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    (tmp_path / "node.d.ts").write_text(NODE)
    (tmp_path / "node_modules").symlink_to(MODULES)
    shutil.copy(PROGRAMS / program, tmp_path)
    deno = [tools.deno(), "run", "-A", "--no-lock", "--sloppy-imports", "--node-modules-dir=manual"]
    run(*deno, MODULES / generator[0], *generator[1:], folder=tmp_path)
    run(*deno, MODULES / "typescript" / "bin" / "tsc", *OPTIONS, "node.d.ts", program, folder=tmp_path)
    said = run(*deno, program, running.service.url, token(MATTY), CHANNEL, folder=tmp_path)
    assert said.splitlines() == printed
