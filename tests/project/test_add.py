"""`threadline add`, `remove` and `sql` on the files of a project."""

import asyncio
import tomllib
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click import ClickException
from click.testing import CliRunner
from threadline.__main__ import main
from threadline.project import folder as folder_module
from threadline.project import shipped
from threadline.project.database import list_taken_names

from tests.support.own_project import (
    CONFIG,
    NEXT_VERSION,
    list_migrations,
    make_project,
    read_files,
    ship_another,
    succeed,
    threadline,
)
from tests.support.schema import ROOT

OURS = {
    "supabase/config.toml",
    "supabase/functions/messaging-ingest/deno.json",
    "supabase/functions/messaging-ingest/index.ts",
}
OWN = "20200101000000_own.sql"


def test_add_writes_its_files_and_no_others(tmp_path: Path) -> None:
    folder = make_project(tmp_path, {OWN: "create table shops ();"})
    before = read_files(folder)
    said = succeed(folder, "add")
    after = read_files(folder)
    changed = {path for path in after if after[path] != before.get(path)}
    migrations = {path for path in changed if "migrations" in path}
    assert (changed - migrations, before.keys() - after.keys()) == (OURS, set())
    assert list_migrations(folder) == ["own.sql", "threadline_initial.sql", "threadline_policies.sql"]
    for path in migrations:
        assert after[path].startswith(b"-- Threadline ")
        assert b"by `make migration`; change it there." not in after[path]
    assert all(f"  {'change' if path in before else 'create'}  {path}" in said for path in changed)
    assert "  npx supabase@3 db push --remote\n  npx supabase@3 functions deploy messaging-ingest\n" in said
    assert tomllib.loads(after["supabase/config.toml"].decode())["functions"]["messaging-ingest"] == {
        "verify_jwt": False
    }


def test_second_add_changes_nothing(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    before = read_files(folder)
    assert succeed(folder, "add") == "Threadline is in this project already, at this version.\n"
    assert read_files(folder) == before


@pytest.mark.parametrize(
    ("options", "answer", "status", "sentence"),
    [
        (["--dry-run"], "", 0, "Nothing was written (--dry-run)."),
        ([], "", 1, "Error: Nothing was written. With --yes, this command does not ask."),
        ([], "n\n", 0, "Nothing was written."),
        ([], "\n", 0, "Nothing was written."),
    ],
    ids=["dry", "eof", "no", "enter"],
)
@pytest.mark.parametrize("command", ["add", "remove"])
def test_plan_without_consent_writes_nothing(
    tmp_path: Path, command: str, options: list[str], answer: str, status: int, sentence: str
) -> None:
    folder = make_project(tmp_path)
    if command == "remove":
        succeed(folder, "add")
    before = read_files(folder)
    result = threadline(folder, command, *options, answer=answer)
    assert (result.exit_code, "  change  supabase/config.toml: " in result.output) == (status, True)
    assert sentence in result.output.splitlines()
    assert "Done." not in result.output
    assert read_files(folder) == before


def test_yes_to_the_question_writes(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    assert threadline(folder, "add", answer="y\n").exit_code == 0
    assert list_migrations(folder)


def test_project_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path)
    (folder / "app" / "src" / "supabase").mkdir(parents=True)
    before = read_files(inner := make_project(folder / "inner"))
    succeed(folder / "app" / "src", "add")
    assert list_migrations(folder)
    assert read_files(inner) == before
    succeed(inner, "add")
    assert read_files(inner) != before
    monkeypatch.chdir(folder / "app" / "src")
    assert "in this project already" in CliRunner().invoke(main, ["add"]).output
    for place in ("missing", folder / "supabase" / "config.toml"):
        assert CliRunner().invoke(main, ["add", "--workdir", str(place)]).exit_code == 2


@pytest.mark.parametrize(
    ("newest", "initial", "policies"),
    [
        ("20991231235957", "20991231235958", "20991231235959"),
        ("20991231235958", "20991231235959", "21000101000000"),
        ("20991231235960", "20991231235961", "20991231235962"),
        ("99991231235959", "99991231235960", "99991231235961"),
    ],
    ids=["one minute", "two minutes", "no time", "the last time"],
)
def test_new_files_are_newer_than_every_other(tmp_path: Path, newest: str, initial: str, policies: str) -> None:
    folder = make_project(tmp_path, {f"{newest}_late.sql": "", "notes.txt": ""})
    succeed(folder, "add")
    names = [path.name for path in sorted((folder / "supabase" / "migrations").glob("*.sql"))]
    assert names == [f"{newest}_late.sql", f"{initial}_threadline_initial.sql", f"{policies}_threadline_policies.sql"]


def test_new_files_are_named_by_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LastSecond(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            assert tz is UTC
            return datetime(2099, 12, 31, 23, 59, 59, tzinfo=tz)

    monkeypatch.setattr(folder_module, "datetime", LastSecond)
    folder = make_project(tmp_path)
    succeed(folder, "add")
    versions = [path.name.partition("_")[0] for path in sorted((folder / "supabase" / "migrations").iterdir())]
    assert versions == ["20991231235959", "21000101000000"]


TAKEN = {
    "public.messages, public.people": ({OWN: "create table messages (); create view people as select 1;"}, CONFIG),
    "the schema private": ({OWN: "create schema private;"}, CONFIG),
    "the Storage bucket attachments": ({}, f"{CONFIG}\n[storage.buckets.attachments]\npublic = true\n"),
}


@pytest.mark.parametrize("names", TAKEN)
def test_add_refuses_a_project_that_uses_its_names(tmp_path: Path, names: str) -> None:
    folder = make_project(tmp_path, *TAKEN[names])
    before = read_files(folder)
    result = threadline(folder, "add", "--yes")
    assert result.exit_code == 1
    assert result.output == (
        f"Error: This project uses names that Threadline needs: {names}; "
        "rename them, or give Threadline a project of its own; nothing was written.\n"
    )
    assert read_files(folder) == before


def test_file_that_the_cli_skips_counts_for_nothing(tmp_path: Path) -> None:
    taken = "create table public.messages ();"
    folder = make_project(tmp_path, {"draft.sql": taken, "_draft.sql": taken})
    below = folder / "supabase" / "migrations" / "old"
    below.mkdir()
    (below / "9_old.sql").write_text(taken)
    succeed(folder, "add")


def test_own_files_are_read_in_the_order_of_the_cli(tmp_path: Path) -> None:
    later = "2021_own.sql"  # which is before 20200101000000 by its number, and behind it by its letters
    succeed(make_project(tmp_path, {OWN: "create table messages ();", later: "drop table messages;"}), "add")


def test_add_refuses_to_replace_a_function_of_the_user(tmp_path: Path) -> None:
    folder = make_project(tmp_path, {OWN: "create table shops ();"})
    own = folder / "supabase" / "functions" / "messaging-ingest"
    own.mkdir(parents=True)
    (own / "index.ts").write_text("// mine\n")
    before = read_files(folder)
    assert "is a function of your own" in threadline(folder, "add", "--yes").output
    assert read_files(folder) == before
    (own / "index.ts").write_bytes(b"\xff")
    assert "messaging-ingest/index.ts cannot be read (it is not UTF-8)" in threadline(folder, "add", "--yes").output
    (own / "index.ts").unlink()
    (own / "index.ts").mkdir()
    assert "messaging-ingest/index.ts cannot be read (Is a directory)" in threadline(folder, "add", "--yes").output


def test_lines_keep_their_ends(tmp_path: Path) -> None:
    folder = make_project(tmp_path, config=CONFIG.replace("\n", "\r\n"))
    succeed(folder, "add")
    written = (folder / "supabase" / "config.toml").read_bytes()
    assert written.count(b"\r\n") == written.count(b"\n")


@pytest.mark.parametrize(
    ("migrations", "config", "sentence"),
    [
        ({"9_own.sql": ""}, CONFIG, "after every time of today"),
        ({"8_own.sql": ""}, CONFIG, "after every time of today"),
        ({}, "[functions\n", "supabase/config.toml is not valid TOML"),
        ({}, "functions = { a = { enabled = true } }\n", "has a form that cannot be edited safely"),
    ],
    ids=["name", "short name", "toml", "form"],
)
def test_add_refuses_what_it_cannot_extend(
    tmp_path: Path, migrations: dict[str, str], config: str, sentence: str
) -> None:
    folder = make_project(tmp_path, migrations, config)
    before = read_files(folder)
    result = threadline(folder, "add", "--yes")
    assert (result.exit_code, sentence in result.output) == (1, True)
    assert read_files(folder) == before


def test_commands_need_a_project(tmp_path: Path) -> None:
    for command in ("add", "remove"):
        result = threadline(tmp_path, command)
        assert (result.exit_code, "There is no supabase/config.toml in" in result.output) == (1, True)


def test_commands_refuse_the_repository_of_threadline() -> None:
    for command in ("add", "remove"):
        result = threadline(ROOT, command, "--yes")
        assert (result.exit_code, "This is the repository of Threadline" in result.output) == (1, True)


def test_upgrade_adds_what_is_missing_after_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    (folder / "supabase" / "migrations" / "20991231000000_own.sql").write_text("create table shops ();")
    (folder / "supabase" / "functions" / "messaging-ingest" / "index.ts").write_text("// an older release\n")
    before = read_files(folder)
    ship_another(monkeypatch, "create table public.next ();\ncreate view public.messages as select 1;\n")
    said = succeed(folder, "add")
    assert "replace supabase/functions/messaging-ingest/index.ts" in said
    assert list_migrations(folder)[-2:] == ["own.sql", "threadline_next.sql"]
    changed = {path for path, content in before.items() if read_files(folder)[path] != content}
    assert changed == {"supabase/functions/messaging-ingest/index.ts"}
    monkeypatch.undo()
    assert f"schema version {NEXT_VERSION}, newer than" in threadline(folder, "add", "--yes").output


def test_upgrade_may_look_into_the_database_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_names(_: str) -> set[str]:
        return {"Threadline", "the Storage bucket attachments"}

    monkeypatch.setattr("threadline.project.database.list_taken_names", list_names)
    folder = make_project(tmp_path)
    refused = threadline(folder, "add", "--yes", "--database-url", "postgresql://x").output
    assert "The database has Threadline already, but supabase/migrations does not" in refused
    succeed(folder, "add")
    ship_another(monkeypatch, "create table public.next ();\n")
    succeed(folder, "add", "--database-url", "postgresql://x")
    assert list_migrations(folder)[-1] == "threadline_next.sql"


def test_upgrade_refuses_a_name_that_became_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path, {OWN: "create table next ();"})
    succeed(folder, "add")
    ship_another(monkeypatch, "create table public.next ();\n")
    assert "names that Threadline needs: public.next;" in threadline(folder, "add", "--yes").output


def test_names_are_read_from_the_given_database(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    ended: list[bool] = []

    class Connection:
        async def fetch(self, _: str) -> list[tuple[str]]:
            return [("public.people",), ("Threadline",)]

        def terminate(self) -> None:
            ended.append(True)

    async def connect(**options: Any) -> Connection:
        asked.append(options)
        if error:
            raise error
        return Connection()

    monkeypatch.setattr(asyncpg, "connect", connect)
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@127.0.0.1/service")
    given = "postgresql://x@127.0.0.1/given"
    error = None
    assert asyncio.run(list_taken_names(given)) == {"public.people", "Threadline"}
    wanted = {"dsn": given, "ssl": False, "timeout": 10, "command_timeout": 30, "statement_cache_size": 0}
    assert (asked, ended) == ([wanted], [True])
    for error in (OSError("x"), TimeoutError(), ValueError("x"), asyncpg.PostgresError(), asyncpg.InterfaceError("x")):
        with pytest.raises(ClickException, match=f"cannot be read \\({type(error).__name__}\\)"):
            asyncio.run(list_taken_names(given))


def test_upgrade_refuses_a_name_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def list_names(_: str) -> set[str]:
        return {"Threadline", "public.next", "public.other"}

    monkeypatch.setattr("threadline.project.database.list_taken_names", list_names)
    folder = make_project(tmp_path)
    succeed(folder, "add")
    ship_another(monkeypatch, "create table public.next ();\n")
    refused = threadline(folder, "add", "--yes", "--database-url", "postgresql://x").output
    assert "names that Threadline needs: public.next;" in refused


def test_add_completes_what_a_failure_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, whole = make_project(tmp_path / "a"), make_project(tmp_path / "b")
    succeed(whole, "add")
    replace, calls = Path.replace, []

    def fail_later(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_later)
    result = threadline(folder, "add", "--yes")
    assert (result.exit_code, "cannot be written (No space left on device)" in result.output) == (1, True)
    assert not any(name.endswith(".part") for name in read_files(folder))
    monkeypatch.undo()
    succeed(folder, "add")
    assert list_migrations(folder) == list_migrations(whole)
    contents = [list(read_files(each).values()) for each in (folder, whole)]
    assert contents[0] == contents[1]


def test_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    (folder / "supabase" / "functions").write_text("")
    said = threadline(folder, "add", "--yes").output
    assert said.endswith(
        "Error: supabase/functions/messaging-ingest/deno.json cannot be written (Not a directory); "
        "correct this and run the command again, which does what is missing.\n"
    )


def test_remove_takes_the_files_out_and_keeps_the_history(tmp_path: Path) -> None:
    folder = make_project(tmp_path, {OWN: ""})
    before = read_files(folder)
    succeed(folder, "add")
    said = succeed(folder, "remove")
    after = read_files(folder)
    assert {path: data for path, data in after.items() if path in before} == before
    assert list_migrations(folder) == [
        "own.sql", "threadline_initial.sql", "threadline_policies.sql", "threadline_remove.sql"
    ]  # fmt: skip
    assert not [path for path in after if "functions" in path]
    assert not (folder / "supabase" / "functions" / "messaging-ingest").exists()
    (path,) = [path for path in after if path.endswith("_threadline_remove.sql")]
    assert b"have rows" in after[path]
    assert "  npx supabase@3 functions delete messaging-ingest\n" in said
    assert succeed(folder, "remove") == "Threadline is not in the migrations of this project.\n"
    succeed(folder, "add")
    assert list_migrations(folder)[-2:] == ["threadline_initial.sql", "threadline_policies.sql"]


def test_remove_keeps_a_changed_function_file(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    changed = folder / "supabase" / "functions" / "messaging-ingest" / "index.ts"
    changed.write_text("// changed\n")
    assert "index.ts" not in succeed(folder, "remove")
    assert changed.read_text() == "// changed\n"


def test_remove_drops_data_only_by_the_project_name(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    for name in ("other", ""):
        refused = threadline(folder, "remove", "--yes", "--drop-data", name)
        assert (refused.exit_code, '--drop-data must name this project, which is "shop"' in refused.output) == (1, True)
    assert "threadline_remove.sql" not in list_migrations(folder)
    succeed(folder, "remove", "--drop-data", "shop")
    (path,) = (folder / "supabase" / "migrations").glob("*_threadline_remove.sql")
    assert "have rows" not in path.read_text()
    assert path.read_text().startswith(f"-- Threadline {shipped.newest_version()}, removed. Do not edit this file.\n")
    assert "\nset lock_timeout = '5s';\n" in path.read_text()


def test_project_without_a_name_is_named_by_no_other(tmp_path: Path) -> None:
    folder = make_project(tmp_path, config="[db]\n")
    succeed(folder, "add")
    refused = threadline(folder, "remove", "--yes", "--drop-data", "other")
    assert '--drop-data must name this project, which is ""' in refused.output
    succeed(folder, "remove", "--drop-data", "")
    (path,) = (folder / "supabase" / "migrations").glob("*_threadline_remove.sql")
    assert "have rows" not in path.read_text()


def test_remove_needs_the_version_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    ship_another(monkeypatch, "")
    assert "bring the project to it first" in threadline(folder, "remove", "--yes").output
    succeed(folder, "add")
    monkeypatch.undo()
    assert "bring the project to it first" in threadline(folder, "remove", "--yes").output


def test_sql_prints_what_add_writes(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    succeed(folder, "add")
    written = [path.read_text() for path in sorted((folder / "supabase" / "migrations").iterdir())]
    first, last = (each.version for each in shipped.migrations())
    for options, texts in (
        ([], written),
        (["--to", first], written[:1]),
        (["--from", first], written[1:]),
        (["--from", first, "--to", last], written[1:]),
        (["--from", last], []),
    ):
        assert run_sql(*options) == (0, "\n".join(texts))
    for option in ("--from", "--to"):
        for version in ("1", ""):
            said = f"Error: There is no schema version {version}; there is {first}, {last}.\n"
            assert run_sql(option, version)[1] == said


def run_sql(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["sql", *options])
    return result.exit_code, result.output
