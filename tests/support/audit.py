"""Ask OSV, the open database of vulnerabilities, about every locked package: `make audit`.

One request covers Python and Node; the services of pip and npm know one language and need an installation.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.schema import ROOT

# This lock contains those of the service and the devstack; a test checks that.
PYTHON = ROOT / "tests" / "requirements.lock"
NPM = ROOT / "devstack" / "node.lock"  # installed where there is no npm
NODE = tuple(ROOT / folder / "package-lock.json" for folder in ("tests", "devstack", "console/vendor"))
OSV = "https://api.osv.dev/v1/querybatch"
PATIENCE = 30.0  # seconds

Package = tuple[str, str, str]  # ecosystem, name, version


def pins(lock: Path) -> dict[str, str]:
    """Return the versions in a lock of Python packages, by name."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def packages() -> list[Package]:
    """Return every locked package, for Python and for Node."""
    python, node = pins(PYTHON) | pins(NPM), modules()
    return [
        *(("PyPI", name, version) for name, version in python.items()),
        *(("npm", path.rpartition("node_modules/")[2], each["version"]) for path, each in node.items()),
    ]


def modules() -> dict[str, dict[str, Any]]:
    """Return every locked package of Node, by its path."""
    locks = [json.loads(lock.read_text(encoding="utf-8"))["packages"] for lock in NODE]
    return {path: each for lock in locks for path, each in lock.items() if path}


def weaknesses(asked: list[Package], url: str) -> dict[Package, list[str]]:
    """Return the ids of known vulnerabilities by package; raise httpx.HTTPError without OSV."""
    queries = [
        {"package": {"ecosystem": ecosystem, "name": name}, "version": version} for ecosystem, name, version in asked
    ]
    reply = httpx.post(url, json={"queries": queries}, timeout=PATIENCE).raise_for_status()
    answers = zip(asked, reply.json()["results"], strict=True)
    return {package: [each["id"] for each in answer["vulns"]] for package, answer in answers if answer.get("vulns")}


def main(url: str = OSV) -> int:
    """Print the vulnerabilities and return 1 if there are any; offline, say that nothing was audited."""
    asked = packages()
    try:
        known = weaknesses(asked, url)
    except httpx.HTTPError as error:
        print(f"Not audited: {url} is out of reach ({error}).")
        return 0
    for (ecosystem, name, version), ids in sorted(known.items()):
        print(f"{ecosystem} {name} {version}: {', '.join(ids)}")
    print(f"{len(asked)} packages, {len(known)} of them with known weaknesses.")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
