"""`make vendor`: fetches the libraries of the console from npm, as console/vendor/vendor.json names them.

It writes the files, and into vendor.json the sha512 of each package and the sha256 of each file.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from threadline_devstack import npm

from tests.support.schema import ROOT

FOLDER = ROOT / "console" / "vendor"
LIST = FOLDER / "vendor.json"
# A browser knows no bare names without an import map, which would be an inline script.
RENAMED = {b'"preact"': b'"./preact.js"'}
COMMENT = b"//# sourceMappingURL="


def listed() -> dict[str, dict[str, Any]]:
    """Return the packages of vendor.json."""
    return json.loads(LIST.read_text(encoding="utf-8"))


def digest(content: bytes) -> str:
    """Return the sha256 of a file as vendor.json has it."""
    return hashlib.sha256(content).hexdigest()


def integrity(archive: bytes) -> str:
    """Return the sha512 of a package as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode()}"


def adapt(name: str, content: bytes) -> bytes:
    """Return a file as the console serves it: with relative imports and without its map; texts end with a line."""
    if name.endswith(".js"):
        for bare, relative in RENAMED.items():
            content = content.replace(b"from" + bare, b"from" + relative)
        content = b"\n".join(line for line in content.split(b"\n") if not line.startswith(COMMENT))
    return content.rstrip(b"\n") + b"\n"


def fetch(package: str, version: str) -> bytes:
    """Return the archive of a package from npm."""
    found = shutil.which("npm")
    program = [found] if found else npm.program_of_wheel()
    if program is None:
        sys.exit("There is no npm: install it, or run `make up` once, which installs one.")
    with TemporaryDirectory() as folder:
        subprocess.run([*program, "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True)
        (archive,) = Path(folder).iterdir()
        return archive.read_bytes()


def main() -> None:
    """Write all files again."""
    packages = listed()
    for package, entry in packages.items():
        archive = FOLDER / "package.tgz"
        archive.write_bytes(fetch(package, entry["version"]))
        entry["integrity"] = integrity(archive.read_bytes())
        entry["sha256"] = {}
        with tarfile.open(archive) as opened:
            for name, path in entry["files"].items():
                content = adapt(name, opened.extractfile(f"package/{path}").read())
                (FOLDER / name).write_bytes(content)
                entry["sha256"][name] = digest(content)
        archive.unlink()
    LIST.write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
