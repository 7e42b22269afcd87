"""Published tables, and what channels receive of their changes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from threadline_devstack.realtime.changes import Delivery, Subscriptions
from threadline_devstack.realtime.feed import CHANGES_PUBLICATION, follow

from tests.devstack.realtime.wire import ANN, BOB

PATIENCE = 30.0
SETTING = f"""
create table public.notes (
    id bigint primary key, owner uuid, name text, n int, secret text, flag boolean, amount numeric, code varchar(5)
);
alter table public.notes enable row level security;
grant select (id, owner, name, n, flag, amount, code) on public.notes to authenticated;
grant select on public.notes to service_role;
create policy own on public.notes for select to authenticated using ((select auth.uid()) = owner);
create table public.open_notes (id int primary key, name text);
grant select on public.open_notes to authenticated;
create table public.keyless (name text);
alter table public.keyless replica identity full;
grant select on public.keyless to authenticated;
create table public.hidden (id int primary key, name text);
grant select (name) on public.hidden to authenticated;
create table public.faulty (id int primary key, owner uuid);
alter table public.faulty enable row level security;
grant select on public.faulty to authenticated;
create policy faulty on public.faulty for select to authenticated
    using (case when (select auth.uid()) = '{BOB}' then 1 / (select 0) = 1 else true end);
create type public.mood as enum ('glad', 'sad');
create table public.kinds (
    id int primary key, bytes bytea, mood public.mood, span interval, at timestamptz, day date, doc jsonb, docs json,
    list text[], moods public.mood[], big bigint, exact numeric, approximate float8, letters char(3), net inet,
    place text, "100%s "" of" text
);
grant select on public.kinds to authenticated;
create table public.unpublished (id int primary key);
alter publication supabase_realtime add table
    public.notes, public.open_notes, public.keyless, public.hidden, public.faulty, public.kinds;
"""
REMOVAL = """
drop table public.notes, public.open_notes, public.keyless, public.hidden, public.faulty, public.kinds,
    public.unpublished;
drop type public.mood;
"""


def claims(sub: str = ANN, role: str = "authenticated", **more: Any) -> dict[str, Any]:
    return {"sub": sub, "role": role, **more}


def asking(table: str, event: str = "*", **more: Any) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": table, **more}


class Heard:
    """What channels receive, commit by commit."""

    def __init__(self, subscriptions: Subscriptions, commits: AsyncIterator[Any]) -> None:
        self._subscriptions = subscriptions
        self._commits = commits

    async def next(self) -> list[Delivery]:
        """What the next commit causes."""
        async with asyncio.timeout(PATIENCE):
            return await self._subscriptions.match(await anext(self._commits))

    async def data(self, channel: str) -> list[dict[str, Any]]:
        """What one channel receives of the next commit."""
        return [
            json.loads(delivery.data)
            for delivery in await self.next()
            if channel in [name for name, _ in delivery.recipients]
        ]


@asynccontextmanager
async def hearing(url: str, subscriptions: Subscriptions) -> AsyncIterator[Heard]:
    async with asyncio.timeout(PATIENCE), follow(url, [CHANGES_PUBLICATION]) as commits:
        yield Heard(subscriptions, commits)


def names(deliveries: list[Delivery]) -> list[str]:
    return sorted(channel for delivery in deliveries for channel, _ in delivery.recipients)
