"""The servers under test and their faults: killed stack, service and worker, cut connections, a full disk."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from threadline_devstack.keys import JWT_SECRET
from threadline_devstack.postgres import read_pid_file

from tests.faults.clients import Arena, Client, Listener, open_arena, read_log
from tests.faults.history import History, Outcome, Stored
from tests.support.database import rows, value
from tests.support.disk import filled, refusal, small_disk
from tests.support.event_log import EVENT_CLOCK, inconsistencies
from tests.support.ingest import Sender
from tests.support.line import Line
from tests.support.service import Service, crash_postgres, serving
from tests.support.stack import RunningStack, remove_home, survivors
from tests.support.twin import Webhook, until, webhook, working

# Triggers that faults switch on. Without a small disk to fill, new rows fail as on a full disk
# (SQLSTATE 53100).
SWITCHES = """
create schema faults;
create table faults.switches (is_disk_full boolean not null default false);
insert into faults.switches default values;
-- A deleted message keeps nothing, so its mark is kept here.
create table faults.marks (message_id uuid primary key, mark text);
create function faults.keep_mark() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into faults.marks values (new.id, new.metadata ->> 'mark');
    return null;
end
$$;
create trigger z_keep_mark after insert on public.messages for each row execute function faults.keep_mark();
create function faults.refuse_rows() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if (select switch.is_disk_full from faults.switches as switch) then
        raise disk_full using message = 'could not extend file: No space left on device';
    end if;
    return new;
end
$$;
create trigger a_full_disk before insert on public.message_events
for each row execute function faults.refuse_rows();
create trigger a_full_disk before insert on public.conversation_messages
for each row execute function faults.refuse_rows();
update private.settings
set requests_per_minute = 100000000, twin_retry_seconds = 0, twin_max_attempts = 100000;
"""
STORED = """
select
    message.id::text, kept.mark, message.seq, message.content, message.deleted_at is not null,
    exists (select from public.message_pins as pin where pin.message_id = message.id),
    array(select mark.emoji from public.message_reactions as mark where mark.message_id = message.id)
from public.messages as message inner join faults.marks as kept on kept.message_id = message.id
where message.channel_id = %s order by message.seq
"""
INGESTED = """
select thread.external_conversation_id, stored.external_id
from public.conversation_messages as stored inner join public.conversations as thread
    on stored.conversation_id = thread.id
where thread.user_id = %s
"""
LEFTOVERS = """
select 'slot ' || slot_name from pg_replication_slots where not active
union all
select 'idle since ' || state_change || ': ' || application_name from pg_stat_activity
where state like 'idle in transaction%%' and state_change < now() - interval '2 seconds'
union all
select 'waiting since ' || query_start || ': ' || application_name from pg_stat_activity
where wait_event_type = 'Lock' and query_start < now() - interval '2 seconds'
union all
select 'prepared ' || gid from pg_prepared_xacts
"""
PATIENCE = 60.0
# Seconds until a Postgres that neither serves nor ends is killed, as an operator would do: if its
# recovery finds no room to write, Postgres 18 does not always end.
HANGING = 20.0
VERBS, ENOUGH = ("create", "ingest", "look", "edit"), 3  # each run needs at least this many acknowledged calls
DISK = 400  # megabytes; Postgres takes half
FAULTS = (
    *("kill_service", "kill_worker", "crash_postgres", "kill_postgres", "cut_lines", "fill_disk", "forbid_writing"),
    "move_clock",
    *([] if refusal() else ["exhaust_log"]),
)


class World:
    """A running stack with a service and a worker that tests may kill, within its `with` block.

    Postgres writes to a small disk if the machine can mount one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = ExitStack()

    def __enter__(self) -> "World":
        with self._opened:
            enter = self._opened.enter_context
            self.disk = None if refusal() else enter(small_disk(DISK))
            if self.disk:
                self._opened.callback(remove_home, self.disk)
            # The stack runs Postgres and Realtime but no worker, which would keep its leases in a
            # crash of Postgres for half a minute.
            self.stack = enter(RunningStack(home=self.disk, environment={"THREADLINE_DELIVER": "0"}))
            self.postmaster = self._find_postmaster()
            self.url = self.stack.database_url("supabase_admin")
            with psycopg.connect(self.url) as db:
                db.execute(SWITCHES)
            self.hook: Webhook = enter(webhook())
            self._service = ExitStack()
            self._worker = ExitStack()
            enter(self._service)
            enter(self._worker)
            self.service = self._start_service(None)
            self.worker = self._start_worker()
            self.line = Line(self.service.port)
            self._opened.callback(self.line.close)
            self.socket_line = Line(self.stack.port)
            self._opened.callback(self.socket_line.close)
            self._opened = self._opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _start_service(self, port: int | None) -> Service:
        login = self.stack.database_url("authenticator")
        started = serving(login, self._folder / "service.log", port=port, JWT_SECRET=JWT_SECRET)
        return self._service.enter_context(started)

    def _start_worker(self) -> Any:
        return self._worker.enter_context(working(self.stack.database_url("authenticator"), self._folder / "work.log"))

    def kill_service(self) -> None:
        """Kill the service with SIGKILL and start another."""
        self.service.process.kill()
        self._service.close()
        self.service = self._start_service(self.service.port)

    def kill_worker(self) -> None:
        """Kill the worker with SIGKILL and start another."""
        self.worker.kill()
        self._worker.close()
        self.worker = self._start_worker()

    def crash_postgres(self) -> None:
        """Kill a session with SIGKILL, so that Postgres ends all sessions and recovers from WAL."""
        with suppress(psycopg.OperationalError, TypeError, ProcessLookupError):  # no session existed at this moment
            crash_postgres(self.url)
        self._wait_for_postgres()

    def kill_postgres(self) -> None:
        """Kill the Postgres server with SIGKILL and start it on the same data without any cleaning up."""
        self.postmaster.kill()
        self._wait_for_postgres()

    def _find_postmaster(self) -> psutil.Process:
        return psutil.Process(int(read_pid_file(self.stack.home / "postgres")[0]))

    def _wait_for_postgres(self) -> None:
        began, is_ended = time.monotonic(), False
        while time.monotonic() < began + PATIENCE:
            if not is_ended and time.monotonic() > began + HANGING:
                self.postmaster.kill()
                is_ended = True
            if not survivors([self.postmaster], seconds=0):
                # The rest of the stack would notice within a second and stop.
                self.stack.kill()
                self.stack.start()
                self.postmaster = self._find_postmaster()
            with suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            time.sleep(0.02)
        raise AssertionError("Postgres did not come back.")

    def cut_lines(self) -> None:
        """Cut all client connections in mid-request."""
        self.line.cut()
        self.socket_line.cut()

    def fill_disk(self) -> None:
        """Fill the disk for a while; without a disk of our own, reject new rows."""
        if self.disk:
            with filled(self.disk):
                time.sleep(0.4)
            self._wait_for_postgres()  # if WAL needed more room at that moment
            return
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("update faults.switches set is_disk_full = true")
            time.sleep(0.2)
            db.execute("update faults.switches set is_disk_full = false")

    def exhaust_log(self) -> None:
        """Leave no room for WAL, so that Postgres stops."""
        with filled(self.disk), suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as db:
            while True:
                db.execute("select pg_switch_wal() from pg_logical_emit_message(true, 'fault', 'something to write')")
        self._wait_for_postgres()

    def forbid_writing(self) -> None:
        """Make the database read-only for a while, as Supabase does when the disk is nearly full."""
        # The session that undoes this must be able to write.
        with psycopg.connect(self.url, autocommit=True, options="-c default_transaction_read_only=off") as db:
            for setting in ("on", "off"):
                db.execute(f"alter system set default_transaction_read_only = {setting}")
                db.execute("select pg_reload_conf()")
                time.sleep(0.2)

    def move_clock(self) -> None:
        """Set the clock of events an hour back for a while, then an hour ahead, then right."""
        with psycopg.connect(self.url, autocommit=True) as db:
            for hours in (-1, 1, 0):
                db.execute(EVENT_CLOCK.format(by=f"{hours} hours"))
                time.sleep(0.1)

    def leftovers(self) -> list[str]:
        """Return leftovers: replication slots of dead processes and idle transactions."""
        with psycopg.connect(self.url) as db:
            return rows(db, LEFTOVERS)

    def play(
        self,
        clients: int,
        seconds: float,
        seed: int,
        faults: Sequence[str] = FAULTS,
        listening: Callable[[Arena], Any] | None = None,
    ) -> tuple[History, Outcome, list[str]]:
        """Run clients during faults; return their history, the final state, and the faults.

        Args:
            clients: how many, an even number: two are one user.
            seconds: how long; slightly longer, because calls with a key are repeated until they succeed.
            seed: of the calls and faults; the scheduling of threads still varies.
            faults: what may happen; each comes before any comes again.
            listening: a `with` block that gives a growing list of events, beside a listener of ours.
        """
        arena, sender, twin_id = open_arena(self.service.client, self.url, self.hook.url, clients // 2)
        # The twin fails one of ten deliveries.
        self.hook.answer = lambda _: random.choice([*[200] * 9, 503])
        history, is_over, happened = History(), threading.Event(), []
        url = f"http://127.0.0.1:{self.line.port}"
        members = [Client(number, url, arena, seed, history, is_over) for number in range(clients)]
        with ExitStack() as opened:
            heard = {"catching up": opened.enter_context(Listener(url, arena)).heard}
            if listening:
                heard["socket"] = opened.enter_context(listening(arena))
            threads = [threading.Thread(target=member.run) for member in members]
            for thread in threads:
                thread.start()
            try:
                happened = self._do_harm(seconds, seed, faults, history)
            finally:
                is_over.set()
                for thread in threads:
                    thread.join(PATIENCE)
            log = self._settle(arena, twin_id, heard.get("socket"))
        return history, self._outcome(arena, sender, twin_id, log, heard), happened

    def _do_harm(self, seconds: float, seed: int, faults: Sequence[str], history: History) -> list[str]:
        chance, happened, bag = random.Random(seed), [], []
        began = time.monotonic()

        def is_enough() -> bool:
            # A slow machine needs longer until the final state is complete.
            answered = Counter(call.verb for call in [*history.calls] if call.status in {200, 201})
            return len(happened) >= len(faults) and all(answered[verb] >= ENOUGH for verb in VERBS)

        while time.monotonic() - began < seconds or not is_enough():
            assert time.monotonic() - began < seconds + PATIENCE, "Hardly anything was answered."
            time.sleep(chance.uniform(0.1, 0.6))
            bag = bag or chance.sample(faults, len(faults))
            happened.append(bag.pop())
            getattr(self, happened[-1])()
        return happened

    def _settle(self, arena: Arena, twin_id: str, heard: list[Any] | None) -> list[dict[str, Any]]:
        """Wait until the twin and all listeners have every event, or time out; return the event log."""
        pending = "select count(*) from public.twin_deliveries where ai_twin_id = %s and state = 'pending'"
        with suppress(AssertionError), psycopg.connect(self.url, autocommit=True) as db:
            until(lambda: value(db, pending, twin_id) == 0, PATIENCE)
        with httpx.Client(base_url=self.service.url, timeout=20, verify=False) as http:
            log = read_log(http, arena)
        if heard is not None:
            with suppress(AssertionError):
                until(lambda: len(heard) >= len(log), PATIENCE)
        return log

    def _outcome(
        self, arena: Arena, sender: Sender, twin_id: str, log: list[dict[str, Any]], heard: dict[str, list[Any]]
    ) -> Outcome:
        with psycopg.connect(self.url) as db:
            messages = [Stored(*row[:6], frozenset(row[6])) for row in db.execute(STORED, (arena.channel_id,))]
            wrong = inconsistencies(db, arena.channel_id) + [str(each) for each in sender.inconsistencies()]
            ingested = db.execute(INGESTED, (sender.user_id,)).fetchall()
        told = [each for each in self.hook.taken if each.queue == (twin_id, arena.channel_id)]
        return Outcome(
            messages,
            log,
            heard,
            ingested,
            [(each.message["id"], each.message["seq"]) for each in told],
            wrong,
        )
