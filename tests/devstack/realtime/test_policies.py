"""Private channels: policies on `realtime.messages` decide, and nothing else."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from threadline_devstack import keys

from tests.devstack.realtime.wire import ANN, BOB, Server, token

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio

OUTSIDER = "44444444-4444-4444-8444-444444444444"
DENIED = "Unauthorized: You do not have permissions to read from this Channel topic: "


@pytest.mark.parametrize("access_token", [token(OUTSIDER), token(OUTSIDER, role="anon"), keys.ANON_KEY])
async def test_non_member_cannot_read_or_write(server: Start, access_token: str) -> None:
    async with server() as running, running.client() as member, running.client() as outsider:
        await member.join("den", token(ANN), private=True, broadcast={"ack": True})
        refused = await outsider.join("den", access_token, private=True)
        assert refused == {"status": "error", "response": {"reason": DENIED + "den"}}
        # The public channel of that name is another one.
        assert (await outsider.join("den", access_token, ref="2"))["status"] == "ok"
        await outsider.broadcast("den", "forged", {}, ref="3")
        await member.broadcast("den", "secret", {}, ref="4")
        await member.answer("4")
        await running.sql(
            "select realtime.send('{}', 'secret', 'den', true), realtime.send('{}', 'open', 'den', false)"
        )
        heard = await outsider.event("broadcast")
        assert [frame["payload"]["event"] for frame in heard] == ["open"]
        assert {frame["payload"]["event"] for frame in await member.settle() if frame["event"] == "broadcast"} == {
            "secret"
        }


async def test_reader_without_write_right_cannot_broadcast(server: Start) -> None:
    async with server() as running, running.client() as ann, running.client() as bob:
        await ann.join("den", token(ANN), private=True)
        assert (await bob.join("den", token(BOB), private=True, broadcast={"ack": True}))["status"] == "ok"
        await bob.broadcast("den", "forged", {}, ref="2")
        await bob.push("realtime:den", "presence", {"event": "track", "payload": {"name": "bob"}}, ref="3")
        assert (await bob.answer("3"))["payload"]["status"] == "error"
        await ann.broadcast("den", "genuine", {}, ref="2")
        assert [frame["payload"]["event"] for frame in await bob.event("broadcast")] == ["genuine"]
        assert not [frame for frame in await ann.settle() if frame["event"] in ("broadcast", "presence_diff")]
        assert not [frame for frame in bob.frames if frame["ref"] == "2"]  # as in Realtime, without a word


async def test_removed_member_cannot_join_again(server: Start) -> None:
    async with server() as running, running.client() as client:
        await running.sql(f"insert into rooms values ('club', '{ANN}', true, '{{broadcast}}')")
        assert (await client.join("club", token(ANN), private=True))["status"] == "ok"
        await running.sql(f"delete from rooms where topic = 'club' and member = '{ANN}'")
        refused = await client.join("club", token(ANN), ref="2", private=True)
        assert refused["response"]["reason"] == DENIED + "club"
        await running.sql("select realtime.send('{}', 'secret', 'club', true)")
        async with running.client() as witness:  # when it receives the later one, the first has arrived too
            await witness.join("club", token(ANN))
            await running.sql("select realtime.send('{}', 'later', 'club', false)")
            await witness.event("broadcast")
        assert not [frame for frame in await client.settle() if frame["event"] == "broadcast"]


async def test_next_token_ends_the_channel_of_a_removed_member(server: Start) -> None:
    async with server() as running, running.client() as client:
        await running.sql(f"insert into rooms values ('pub', '{ANN}', true, '{{broadcast}}')")
        await client.join("pub", token(ANN), private=True)
        await running.sql(f"delete from rooms where topic = 'pub' and member = '{ANN}'")
        await client.push("realtime:pub", "access_token", {"access_token": token(ANN, seconds=90_000)})
        await client.event("phx_close")


async def test_unreadable_extension_is_withheld(server: Start) -> None:
    presence = {"key": "ann", "enabled": True}
    async with server() as running, running.client() as client:
        await client.join("quiet", token(ANN), private=True, presence=presence, broadcast={"self": True})
        await client.join("loud", token(ANN), ref="2", private=True, presence=presence, broadcast={"self": True})
        await running.sql("select realtime.send('{}', 'hush', 'quiet', true), realtime.send('{}', 'hey', 'loud', true)")
        assert [frame["payload"]["event"] for frame in await client.event("broadcast")] == ["hey"]
        states = [frame for frame in await client.settle() if frame["event"] == "presence_state"]
        assert [frame["topic"] for frame in states] == ["realtime:quiet"]


async def test_losing_a_read_right_ends_the_channel(server: Start) -> None:
    async with server() as running, running.client() as client:
        await running.sql(f"insert into rooms values ('bar', '{ANN}', true, '{{broadcast,presence}}')")
        await client.join("bar", token(ANN), private=True, presence={"key": "", "enabled": True})
        await running.sql("update rooms set extensions = '{presence}' where topic = 'bar'")
        await client.push("realtime:bar", "access_token", {"access_token": token(ANN, seconds=90_000)})
        told = (await client.event("system"))[0]["payload"]["message"]
        assert told == "You no longer have permission to read from this Channel topic: bar"


async def test_new_token_with_more_rights_takes_effect(server: Start) -> None:
    async with server() as running, running.client() as client:
        await running.sql(f"insert into rooms values ('inn', '{ANN}', true, '{{presence}}')")
        await client.join("inn", token(ANN), private=True, presence={"key": "", "enabled": True})
        await running.sql("update rooms set extensions = '{broadcast,presence}' where topic = 'inn'")
        await client.push("realtime:inn", "access_token", {"access_token": token(ANN, seconds=90_000)})
        await client.settle()
        await running.sql("select realtime.send('{}', 'e', 'inn', true)")
        await client.event("broadcast")


@pytest.mark.parametrize("access_token", [token(ANN), token(ANN, role="no_such_role")])
async def test_failing_policy_allows_nothing(server: Start, access_token: str) -> None:
    async with server() as running, running.client() as client:
        refused = await client.join("faulty", access_token, private=True)
        assert refused["response"]["reason"] == DENIED + "faulty"
        assert (await client.join("den", token(ANN), ref="2", private=True))["status"] == "ok"


async def test_token_cannot_select_a_superuser_role(server: Start) -> None:
    async with server() as running, running.client() as client:
        refused = await client.join("den", token(OUTSIDER, role="supabase_admin"), private=True)
        assert refused["response"]["reason"] == DENIED + "den"


async def test_service_role_can_do_everything(server: Start) -> None:
    async with server() as running, running.client() as service, running.client() as member:
        await member.join("den", token(ANN), private=True)
        assert (await service.join("den", keys.SERVICE_ROLE_KEY, private=True))["status"] == "ok"
        await service.broadcast("den", "notice", {})
        await member.event("broadcast")


async def test_policy_checks_leave_no_rows(server: Start) -> None:
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        await client.broadcast("den", "e", {})
        await client.settle()
        assert await running.value("select count(*) from realtime.messages where event is null") == 0
