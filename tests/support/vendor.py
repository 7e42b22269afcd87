"""`make vendor`: makes one small file of the console's libraries, as console/vendor/package-lock.json names them.

It also copies supabase-js for examples/chat, and writes vendor.json: the version and licence of each package that a
file contains, and the sha256 of each file.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from threadline_devstack import npm

from tests.support.schema import ROOT

FOLDER = ROOT / "console" / "vendor"
LIST = FOLDER / "vendor.json"
LOCK = FOLDER / "package-lock.json"
BUNDLE, LICENSES = "console/vendor/libraries.js", "console/vendor/LICENSES.txt"
COPIES = {
    "examples/chat/vendor/supabase.js": "@supabase/supabase-js/dist/umd/supabase.js",
    "examples/chat/vendor/supabase.LICENSE.txt": "@supabase/supabase-js/LICENSE",
}
# What the console imports. esbuild leaves out what no line uses.
ENTRY = """
export { RealtimeClient } from "@supabase/realtime-js";
export { default as htm } from "htm";
export { h, render } from "preact";
export { useCallback, useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
"""
ESBUILD = (
    *("--bundle", "--minify", "--format=esm", "--target=es2022", "--outfile=bundle.js"),
    *("--legal-comments=none", "--metafile=parts.json", "--log-level=warning"),
)
TERSER = ("bundle.js", "--compress", "passes=3", "--mangle", "--module")  # 3 % smaller than esbuild alone


def listed() -> dict[str, Any]:
    """Return vendor.json."""
    return json.loads(LIST.read_text(encoding="utf-8"))


def locked() -> dict[str, dict[str, Any]]:
    """Return the packages of the lock, by name."""
    packages = json.loads(LOCK.read_text(encoding="utf-8"))["packages"]
    return {path.removeprefix("node_modules/"): entry for path, entry in packages.items() if path}


def digest(content: bytes) -> str:
    """Return the sha256 of a file as vendor.json has it."""
    return hashlib.sha256(content).hexdigest()


def install(folder: Path) -> Path:
    """Install the packages of the lock into a folder, and return where they are."""
    for name in ("package.json", LOCK.name):
        shutil.copy(FOLDER / name, folder)
    if problem := npm.ci(folder):
        sys.exit(problem)
    return folder / "node_modules"


def bundle(folder: Path) -> list[str]:
    """Write the bundle, and return the packages that are in it."""
    (folder / "entry.js").write_text(ENTRY, encoding="utf-8")
    programs = folder / "node_modules" / ".bin"
    for command in (
        [programs / "esbuild", "entry.js", *ESBUILD],
        [programs / "terser", *TERSER, "--output", ROOT / BUNDLE],
    ):
        subprocess.run(command, cwd=folder, check=True)
    (made,) = json.loads((folder / "parts.json").read_text(encoding="utf-8"))["outputs"].values()
    used = [path for path, part in made["inputs"].items() if part["bytesInOutput"] > 0]
    return sorted(name for name in locked() if any(path.startswith(f"node_modules/{name}/") for path in used))


def main() -> None:
    """Write all files again."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        modules = install(folder)
        parts = bundle(folder)
        for copy, source in COPIES.items():
            shutil.copy(modules / source, ROOT / copy)
        texts = [(part, next(modules.glob(f"{part}/LICENSE*")).read_text(encoding="utf-8")) for part in parts]
    licenses = "\n".join(f"{part} {locked()[part]['version']}\n\n{text.strip()}\n" for part, text in texts)
    (ROOT / LICENSES).write_text(licenses, encoding="utf-8")
    packages = [*parts, "@supabase/supabase-js"]
    content = {
        "packages": {part: {key: locked()[part][key] for key in ("version", "license")} for part in packages},
        "sha256": {path: digest((ROOT / path).read_bytes()) for path in (BUNDLE, LICENSES, *COPIES)},
    }
    LIST.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
