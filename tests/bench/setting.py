"""Start everything that is measured on this machine: Threadline and its alternatives."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from threadline_devstack import keys

from tests.bench import programs
from tests.bench.world import ARRAY, ROWS, Target, World
from tests.support import cluster as clusters
from tests.support import tools
from tests.support.ingest import PATH, Sender
from tests.support.schema import ROOT
from tests.support.service import serving

# On top of the local stack's settings and the defaults, such as fsync = on: room for all data,
# and no automatic checkpoint.
SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "8GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "min_wal_size": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
}
SERVICE, EDGE = "threadline", "threadline, Edge Function"
NAIVE_DIRECT, NAIVE_JS = "naive, direct", "naive, supabase-js"
EDGE_FUNCTION = ROOT / "supabase" / "functions" / "messaging-ingest" / "index.ts"

# Half of the participants of a load are among them, as in the reference.
PEOPLE = """
insert into public.people (user_id, full_name, phone)
select %(user_id)s, 'Contact ' || number, '+1555' || lpad(number::text, 7, '0') from generate_series(0, 999) as number
"""
# What the Data API needs to read and write the reference's tables.
GRANTS = """
grant usage on schema naive to authenticated, service_role;
grant select on all tables in schema naive to authenticated;
grant all on all tables in schema naive to service_role;
"""


# A script that gets SIGTERM also ends its children.
ENDING = """
import os, runpy, signal, sys
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@contextmanager
def running(reference: Path | None, synapse: Path | None = None) -> Iterator[World]:
    """Run every available target for the block, and the reference if its folder is given.

    Args:
        reference: a folder with `naive/`, `synapse_bench.py` and `xmpp_bench.py`.
        synapse: a Python that has Matrix Synapse and what the two scripts need.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/tmp", prefix="threadline-bench-")))
        with clusters.running(folder, None, SETTINGS):
            pass  # some settings hold from the next start on
        cluster = stack.enter_context(clusters.running(folder, None, SETTINGS))
        database = cluster.create()
        cluster.prepare(database)
        postgres_url, login_url = cluster.url(database, "postgres"), cluster.url(database, "authenticator")
        admin = stack.enter_context(psycopg.connect(cluster.url(database), autocommit=True))
        if reference:
            with psycopg.connect(postgres_url) as connection:
                connection.execute((reference / "naive" / "schema.sql").read_text(encoding="utf-8"))
                connection.execute(GRANTS)

        service = stack.enter_context(serving(login_url, folder / "service.log", JWT_SECRET=keys.JWT_SECRET))
        sender = Sender.create(service.client, postgres_url)
        admin.execute(PEOPLE, {"user_id": sender.user_id})
        ours = Target(SERVICE, str(service.client.base_url), PATH, sender.connection_id, sender.secret, ROWS)

        data_api, omissions = None, []
        if program := tools.postgrest():
            schemas = "public,naive" if reference else "public"
            data_api = stack.enter_context(programs.postgrest(program, login_url, schemas))
        else:
            omissions.append(f"Left out: what needs a Data API. {tools.why_not('postgrest')}")
        targets = [ours]
        if deno := tools.deno():
            targets += start_functions(stack, deno, ours, data_api)
            if reference:
                targets += start_reference(stack, deno, reference, admin, postgres_url, data_api)
        else:
            omissions.append(f"Left out: what needs Deno. {tools.why_not('deno')}")
        peers = dict(find_peers(reference, synapse, omissions)) if reference else {}
        yield World(
            admin,
            targets,
            sender.user_id,
            postgres_url,
            login_url,
            partial(new_database, cluster),
            data_api,
            omissions,
            peers,
        )


def new_database(cluster: clusters.TestCluster) -> str:
    """Prepare one more database, and return its name."""
    database = cluster.create()
    cluster.prepare(database)
    return database


def start_functions(stack: ExitStack, deno: Path, ours: Target, data_api: str | None) -> Iterator[Target]:
    """Threadline's other door, for the same connection."""
    if data_api:
        told = {"SUPABASE_URL": data_api, "SUPABASE_SERVICE_ROLE_KEY": keys.SERVICE_ROLE_KEY}
        url = stack.enter_context(programs.function(deno, EDGE_FUNCTION, **told))
        yield replace(ours, name=EDGE, url=url)


def start_reference(
    stack: ExitStack, deno: Path, reference: Path, admin: psycopg.Connection, database_url: str, data_api: str | None
) -> Iterator[Target]:
    """Run a typical integrator's function: on a direct connection, and with supabase-js."""
    row = admin.execute("select connection_id, api_secret from naive.messaging_connections").fetchone()
    ways = {NAIVE_DIRECT: {"DATA": "pg", "DSN": database_url}}
    if data_api:
        ways[NAIVE_JS] = {"DATA": "supabase", "SUPABASE_URL": data_api, "SUPABASE_KEY": keys.SERVICE_ROLE_KEY}
    for name, told in ways.items():
        url = stack.enter_context(programs.function(deno, reference / "naive" / "ingest.ts", **told))
        yield Target(name, url, "/", *row, ARRAY)


def find_peers(
    reference: Path, synapse: Path | None, omissions: list[str]
) -> Iterator[tuple[str, Sequence[str | Path]]]:
    """Return the other messaging systems available here, each with the command that measures it."""
    if not synapse:
        omissions.append("Left out: Matrix Synapse and Prosody, whose scripts need --synapse.")
        return
    small = ("--repeats", "1", "--listeners", "1", "--rounds", "1")
    script = (synapse, "-c", ENDING)
    yield "Matrix Synapse", (*script, reference / "synapse_bench.py", "--synapse-python", synapse, *small)
    if prosody := shutil.which("prosody"):
        yield "Prosody", (*script, reference / "xmpp_bench.py", "--prosody", prosody, *small)
    else:
        omissions.append("Left out: Prosody, which is not on the PATH.")
