"""Write `supabase/types/`, the TypeScript and Python types of the Data API: `make types`."""

import os
import subprocess
import sys
import tempfile

from tests.support import schema, tools
from tests.support.cluster import data_folder, running

FOLDER = schema.ROOT / "supabase" / "types"
LANGUAGES = {"database.ts": "typescript", "database.py": "python"}
HEADERS = {
    "database.ts": "// Written by `make types` from the database; use it as createClient<Database>(…).\n",
    "database.py": '"""Written by `make types` from the database: models of rows, and what may be written."""\n',
}


def generate(url: str) -> dict[str, str]:
    """Generate the files from a database with the migrations; raise RuntimeError if a tool fails."""
    files = {name: HEADERS[name] + _run_cli(url, language) for name, language in LANGUAGES.items()}
    files["database.ts"] = _format(files["database.ts"])
    return files


def _run_cli(url: str, language: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return _output(tools.supabase(folder, "gen", "types", f"--lang={language}", "--schema=public", url=url))


def _format(code: str) -> str:
    """Format the output of the CLI like the Edge Function."""
    command = [tools.deno(), "fmt", "--line-width=120", "--ext=ts", "-"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {"HOME": folder, "PATH": os.environ["PATH"], "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
        return _output(
            subprocess.run(
                command,
                cwd=folder,
                env=environment,
                input=code,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        )


def _output(result: subprocess.CompletedProcess[str]) -> str:
    if result.returncode:
        raise RuntimeError(result.stderr)
    return result.stdout


def main() -> None:
    """Write the files from a throw-away database."""
    for tool in ("supabase", "deno"):
        if tools.find(tool) is None:
            sys.exit(tools.why_not(tool))
    with data_folder() as folder, running(folder, None) as cluster:
        database = cluster.create()
        cluster.prepare(database)
        FOLDER.mkdir(exist_ok=True)
        for name, text in generate(cluster.url(database, "postgres")).items():
            (FOLDER / name).write_text(text, encoding="utf-8")
            print(f"supabase/types/{name}")


if __name__ == "__main__":
    main()
