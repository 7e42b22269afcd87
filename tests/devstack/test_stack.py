"""`threadline up` and the commands beside it, as processes."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import jwt
import psutil
import psycopg
import pytest
from click.testing import CliRunner
from threadline.__main__ import main
from threadline_devstack import binaries
from threadline_devstack.account import Account
from threadline_devstack.binaries import SHARED
from threadline_devstack.home import Home
from threadline_devstack.postgres import Server

from tests.support.schema import ROOT
from tests.support.stack import READY, RunningStack, free_ports, new_home, remove_home, survivors

MIGRATION = "create table public.notes (body text not null);\n"
SEED = """
insert into auth.users (id, aud, role, email, raw_app_meta_data)
values (gen_random_uuid(), 'authenticated', 'authenticated', 'ada@example.com', '{"provider": "email"}');
insert into public.notes values ('from the seed');
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child at its parent's death")


def write_project(folder: Path, **migrations: str) -> Path:
    (folder / "supabase" / "migrations").mkdir(parents=True)
    for name, text in {"20260101000000_notes": MIGRATION, **migrations}.items():
        (folder / "supabase" / "migrations" / f"{name}.sql").write_text(text)
    (folder / "seed.sql").write_text(SEED)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Supabase project."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def only_stack(project: Path) -> Iterator[RunningStack]:
    """The stack that most tests share."""
    with RunningStack(project) as running:
        yield running


@pytest.fixture
def stack(only_stack: RunningStack) -> RunningStack:
    """A running stack. A test may end it; the next test starts it again on the same home."""
    if only_stack.process.poll() is not None:
        only_stack.start()
    return only_stack


def notes(running: RunningStack) -> list[str]:
    with psycopg.connect(running.database_url()) as connection:
        return [body for (body,) in connection.execute("select body from public.notes order by body")]


def add_note(running: RunningStack, body: str) -> None:
    with psycopg.connect(running.database_url()) as connection:
        connection.execute("insert into public.notes values (%s)", [body])


def is_healthy(running: RunningStack) -> bool:
    with urlopen(f"{running.api_url}/health", timeout=5) as answer:
        return answer.status == 200


def test_up_prints_urls_keys_and_a_first_call(stack: RunningStack) -> None:
    assert is_healthy(stack)
    assert f"Project URL: {stack.api_url}\n" in stack.output
    assert "Publishable key: sb_publishable_" in stack.output
    [call] = [line for line in stack.output.splitlines() if line.startswith("curl ")]
    assert f"{stack.api_url}/functions/v1/messaging-ingest" in call
    assert "x-api-key: your-api-secret" in call
    assert json.loads(call[call.index("{") : call.rindex("}") + 1])["connection_id"] == "wa_business_123"


def test_root_page_names_every_part(stack: RunningStack) -> None:
    with urlopen(stack.api_url, timeout=5) as answer:
        page = answer.read().decode()
    assert set(re.findall(r"<code>(/\w+/v1)</code>", page)) == {"/rest/v1", "/auth/v1", "/storage/v1", "/realtime/v1"}


def test_up_shows_each_request_without_its_query(stack: RunningStack) -> None:
    with urlopen(f"{stack.api_url}/health?apikey=hunter2", timeout=5):
        pass
    assert re.search(r"^[\d:]{8}  GET /health 200  \d+ ms$", stack.output, re.MULTILINE)
    assert "hunter2" not in stack.output


def test_status_prints_the_formats_of_the_supabase_cli(stack: RunningStack) -> None:
    as_json = json.loads(stack.run("status", "--output", "json").stdout)
    as_env = stack.run("status", "-o", "env").stdout
    assert dict(re.findall(r'^(\w+)="(.*)"$', as_env, re.MULTILINE)) == as_json
    assert as_json["API_URL"] == stack.api_url
    assert as_json["DB_URL"] == stack.database_url()
    assert as_json.keys() == {
        "ANON_KEY", "API_URL", "DB_URL", "JWT_SECRET", "PUBLISHABLE_KEY", "SECRET_KEY", "SERVICE_ROLE_KEY",
    }  # fmt: skip
    assert as_json["PUBLISHABLE_KEY"] in stack.run("status").stdout


def test_token_prints_a_token_and_nothing_else(stack: RunningStack) -> None:
    printed = stack.run("token", "ADA@example.com")
    claims = jwt.decode(printed.stdout.strip(), options={"verify_signature": False})
    assert printed.stderr == ""
    assert claims["email"] == "ada@example.com"
    assert claims["iss"] == f"{stack.api_url}/auth/v1"
    assert claims["app_metadata"] == {"provider": "email"}


def test_token_for_an_unknown_address_prints_one_sentence(stack: RunningStack) -> None:
    result = stack.run("token", "eve@example.com", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Error: No user has the address eve@example.com.\n"


def test_a_second_up_on_the_same_home_is_refused(stack: RunningStack) -> None:
    result = stack.run("up", check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"process {stack.process.pid}, {stack.api_url}" in result.stderr
    assert is_healthy(stack)


def test_up_records_migrations_as_the_supabase_cli(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url()) as connection:
        history = connection.execute("select version, name, statements from supabase_migrations.schema_migrations")
        assert history.fetchall() == [("20260101000000", "notes", [MIGRATION.strip().rstrip(";")])]
        seeds = connection.execute("select path, length(hash) from supabase_migrations.seed_files")
        assert seeds.fetchall() == [("seed.sql", 64)]
        owner = connection.execute("select tableowner from pg_tables where tablename = 'notes'")
        assert owner.fetchone() == ("postgres",)


def test_database_treats_non_ascii_letters_as_letters(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url()) as connection:
        row = connection.execute("select upper('éàß'), 'É' ilike 'é', to_tsvector('simple', 'Élan')::text")
        assert row.fetchone() == ("ÉÀß", True, "'élan':1")


def test_postgres_log_omits_bound_parameters(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("create temporary table secrets (value text primary key)")
        connection.execute("insert into secrets values (%s)", ["hunter2"])
        with pytest.raises(psycopg.errors.UniqueViolation, match="hunter2"):
            connection.execute("insert into secrets values (%s)", ["hunter2"])
    assert "secrets_pkey" in stack.database_log
    assert "hunter2" not in stack.database_log


def test_home_files_are_readable_by_their_owner_only(stack: RunningStack) -> None:
    stack.run("token", "ada@example.com")
    files = [file for file in stack.home.rglob("*") if file.is_file() and not file.is_symlink()]
    assert {"superuser-password", "signing-key.json", "stack.json", "postgres.log"} <= {file.name for file in files}
    closed = {folder for folder in stack.home.rglob("*") if folder.is_dir() and folder.stat().st_mode & 0o077 == 0}
    readable = [file for file in files if file.stat().st_mode & 0o077 and closed.isdisjoint(file.parents)]
    assert [str(file.relative_to(stack.home)) for file in readable] == []


def test_stack_listens_on_loopback_only(stack: RunningStack) -> None:
    # Its keys are published.
    parts = [psutil.Process(stack.process.pid), *stack.children()]
    listening = [each.laddr for part in parts for each in part.net_connections("all") if each.status == "LISTEN"]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {stack.port, stack.database_port} <= {address.port for address in listening}
    with psycopg.connect(stack.database_url()) as connection:
        query = "select name, source from pg_settings where name in ('listen_addresses', 'unix_socket_directories')"
        # Neither `alter system` nor a file comes before the command line.
        assert {source for _, source in connection.execute(query)} == {"command line"}


def test_db_reset_rebuilds_a_running_database(stack: RunningStack) -> None:
    add_note(stack, "to be lost")
    uploaded = stack.home / "storage" / "1d2c7f2e-0000-4000-8000-000000000001"
    uploaded.parent.mkdir(exist_ok=True)
    uploaded.write_bytes(b"the bytes of an object that the new database does not know")
    with psycopg.connect(stack.database_url()) as client:
        stack.run("db", "reset")
        assert not uploaded.exists()
        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")
    assert notes(stack) == ["from the seed"]
    assert is_healthy(stack)


def test_db_reset_with_a_failing_migration_changes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    add_note(stack, "to be kept")
    broken = write_project(tmp_path, **{"20260102000000_broken": "select 1;\n\n-- Why?\nselect 1 / 0;\n"})
    result = stack.run("db", "reset", check=False, THREADLINE_PROJECT=str(broken))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "Error: 20260102000000_broken.sql, line 4: division by zero."
    assert "to be kept" in notes(stack)


def test_ctrl_c_keeps_data_and_ends_every_process(stack: RunningStack) -> None:
    add_note(stack, "of the first run")
    processes = stack.children()
    assert any("postgres" in process.name() for process in processes)
    assert stack.stop(signal.SIGINT) == 0
    assert survivors(processes, seconds=0) == []
    stack.start()
    assert "of the first run" in notes(stack)
    assert "Applying" not in stack.output


@needs_linux
def test_killed_stack_leaves_no_postgres_and_restarts(stack: RunningStack) -> None:
    processes = stack.children()
    stack.kill()
    assert survivors(processes) == []
    assert stack.run("status", check=False).stderr.startswith("Error: No stack runs in")
    stack.start()
    assert is_healthy(stack)


def test_up_stops_a_postgres_of_a_killed_stack(stack: RunningStack) -> None:
    postmaster = next(process for process in stack.children() if "postgres" in process.name())
    postmaster.suspend()  # so it does not notice that its parent dies
    stack.kill()
    stack.launch()
    time.sleep(0.5)
    assert stack.process.poll() is None
    postmaster.resume()
    stack.wait_for(READY)
    assert survivors([postmaster], seconds=0) == []


@needs_linux
def test_up_ends_sessions_of_a_killed_postgres(stack: RunningStack) -> None:
    add_note(stack, "before")
    with psycopg.connect(stack.database_url()) as busy, ThreadPoolExecutor(1) as thread:
        pid = busy.info.backend_pid
        busy.execute("set statement_timeout = '20s'")
        # It looks up from its work only when there is something to wait for.
        working = thread.submit(busy.execute, "do $$ begin loop end loop; end $$")
        while psutil.Process(pid).cpu_times().user < 0.05:
            time.sleep(0.01)
        os.kill(int((stack.home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        stack.kill()
        assert survivors([psutil.Process(pid)], seconds=0.2)
        stack.start()
        assert isinstance(working.exception(10), psycopg.OperationalError)
    assert "before" in notes(stack)


def test_stop_returns_when_the_stack_is_gone(stack: RunningStack) -> None:
    processes = stack.children()
    assert stack.run("stop").stdout == "Stopped.\n"
    assert survivors(processes, seconds=0) == []
    assert stack.process.wait(10) == 0
    again = stack.run("stop", check=False)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)


def test_stack_ends_when_postgres_ends(stack: RunningStack) -> None:
    processes = stack.children()
    next(process for process in processes if "postgres" in process.name()).kill()
    assert stack.process.wait(10) == 1
    assert stack.output.splitlines()[-1].startswith("Error: Postgres ended by itself")
    assert survivors(processes) == []


def test_signal_during_start_ends_every_process(stack: RunningStack, tmp_path: Path) -> None:
    stack.stop()
    slow = write_project(tmp_path, **{"20260104000000_slow": "select pg_sleep(60);\n"})
    for number in (signal.SIGINT, signal.SIGTERM):
        starting = RunningStack(slow, stack.home)
        starting.launch()
        starting.wait_for("slow.sql")
        processes = starting.children()
        assert starting.stop(number) == 0, starting.output
        assert "Traceback" not in starting.output
        assert survivors(processes, seconds=0) == []


def test_up_applies_new_files_and_reports_changed_ones(stack: RunningStack, tmp_path: Path) -> None:
    stack.stop()
    later = write_project(tmp_path, **{"20260103000000_later": "create table public.later ();\n"})
    (later / "seed.sql").write_text("select 1;\n")
    with RunningStack(later, stack.home) as running:
        assert "Applying migration 20260103000000_later.sql" in running.output
        assert "20260101000000_notes.sql" not in running.output
        assert "Note: seed.sql has changed since it was loaded" in running.output
    refused = stack.run("up", check=False)
    assert refused.returncode == 1
    assert "does not have: 20260103000000; `threadline db reset`" in refused.stderr
    assert stack.run("db", "reset").stdout == "The database is new.\n"


def test_up_refuses_a_database_of_another_postgres_version(stack: RunningStack) -> None:
    old = Path("/usr/lib/postgresql/15/bin")
    if not (old / "postgres").exists():
        pytest.skip("there is no Postgres 15 on this machine")
    stack.stop()
    result = stack.run("up", check=False, THREADLINE_PG_BIN=str(old))
    assert result.returncode == 1
    assert "is of Postgres 18 and this is Postgres 15" in result.stderr


def test_up_replaces_an_incomplete_database(project: Path) -> None:
    home = new_home()
    try:
        killed = RunningStack(project, home)
        killed.launch()
        while not list(home.glob("initdb-*/data/global")):
            assert killed.process.poll() is None, killed.output
        killed.kill()
        assert not (home / "postgres").exists()
        with RunningStack(project, home) as stack:
            assert notes(stack) == ["from the seed"]
        assert not list(home.glob("initdb-*"))
    finally:
        remove_home(home)


def refusal(project: Path, home: Path, **environment: str) -> str:
    """What `up` says that must not start, called here and not as a process because that is quicker."""
    port, database_port = free_ports()
    settings = {"PROJECT": project, "HOME": home, "PORT": port, "DB_PORT": database_port}
    variables = {f"THREADLINE_{name}": str(value) for name, value in settings.items()} | environment
    result = CliRunner().invoke(main, ["up"], env=variables)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    return result.stderr


@pytest.mark.parametrize("variable", ["THREADLINE_PORT", "THREADLINE_DB_PORT"])
def test_taken_port_prints_one_sentence(project: Path, variable: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refusal(project, tmp_path, **{variable: port})
    assert said == f"Error: Port {port} cannot be used (Address already in use); set {variable} to another.\n"
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "http", "THREADLINE_PORT must be a port number from 1 to 65535, not 'http'."),
        ("PROJECT", "/nowhere", "No Supabase project /nowhere: expected a folder with supabase/migrations in it."),
        ("HOME", "/dev/null", "/dev/null cannot be used (Not a directory); set THREADLINE_HOME."),
        ("PG_BIN", "/nowhere", "/nowhere holds no Postgres that runs on this machine."),
    ],
)
def test_wrong_setting_prints_one_sentence(
    project: Path, tmp_path: Path, variable: str, value: str, sentence: str
) -> None:
    assert refusal(project, tmp_path, **{f"THREADLINE_{variable}": value}) == f"Error: {sentence}\n"


@needs_root
def test_ordinary_user_can_run_the_stack(project: Path) -> None:
    project.chmod(0o755)
    home = new_home()
    shutil.chown(home, "nobody", "nogroup")
    environment = {"HOME": str(home), "PYTHONPATH": python_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    become = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    python = reachable_python(become, environment)
    readable = write_project(home / "project")
    shutil.chown(home / "project", "nobody")
    with RunningStack(readable, home / "data", environment, [*become, python, "-m", "threadline"]) as stack:
        assert is_healthy(stack)
        assert {process.username() for process in stack.children()} == {"nobody"}
        assert stack.stop(signal.SIGHUP) == 0
    remove_home(home)


@needs_root
def test_root_moves_data_out_of_a_closed_home(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = Home(closed / "home")
    # A removed home must not get back the database that lay elsewhere.
    elsewhere = SHARED / hashlib.sha256(os.fsencode(home.folder)).hexdigest()[:12] / "postgres"
    (elsewhere / "of an earlier home").mkdir(parents=True)
    with home.held(), Server(home, free_ports()[0]) as server:
        server.wait_until_ready()
    assert home.data.readlink() == elsewhere
    assert not (elsewhere / "of an earlier home").exists()
    assert closed.stat().st_mode & 0o777 == 0o700
    remove_home(home.folder)


@needs_root
def test_root_copies_programs_out_of_a_closed_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    everyone, unprivileged = new_home(), Account(65534, 65534)
    assert not unprivileged.can_enter(tmp_path)  # pytest's folders are their owner's alone
    monkeypatch.setattr(Account, "can_enter", lambda *_: False)
    monkeypatch.setattr(binaries, "SHARED", everyone / "shared")
    copied = binaries.find(unprivileged).folder
    assert copied.is_relative_to(everyone)
    assert subprocess.run([copied / "initdb", "--version"], **unprivileged.identity(), check=False).returncode == 0
    assert binaries.find(unprivileged).folder == copied
    remove_home(everyone)


def python_path() -> str:
    return os.pathsep.join(
        [str(ROOT / "api"), str(ROOT / "devstack"), *(path for path in sys.path if path.endswith("site-packages"))]
    )


def reachable_python(become: list[str], environment: dict[str, str]) -> str:
    """Return a Python that another user can run: ours, or the system's if ours is in a closed folder."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        check = [*become, candidate, "-c", "import threadline.app, threadline_devstack.commands"]
        with suppress(OSError):
            if (
                subprocess.run(check, env={**os.environ, **environment}, capture_output=True, check=False).returncode
                == 0
            ):
                return candidate
    pytest.skip('The user "nobody" can run no Python that has our packages.')
