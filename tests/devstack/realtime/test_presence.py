"""Presence."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from threadline_devstack.realtime.presence import Diff, Presence

from tests.devstack.realtime.wire import ANN, BOB, Client, Server, token

Start = Callable[..., AbstractAsyncContextManager[Server]]


def on(key: str = "") -> dict[str, object]:
    return {"key": key, "enabled": True}


async def track(client: Client, topic: str, ref: str, **payload: object) -> dict[str, object]:
    await client.push(f"realtime:{topic}", "presence", {"type": "presence", "event": "track", "payload": payload}, ref)
    return (await client.answer(ref))["payload"]


def names(diff: Diff) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    def plain(metas: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, list[str]]:
        return {key: [meta["name"] for meta in entry["metas"]] for key, entry in metas.items()}

    return plain(diff.joins), plain(diff.leaves)


def test_presence_members_can_share_a_key() -> None:
    presence = Presence()
    presence.track("phone", "ann", {"name": "a"})
    presence.track("laptop", "ann", {"name": "b"})
    assert [meta["name"] for meta in presence.state()["ann"]["metas"]] == ["a", "b"]
    assert names(presence.untrack("phone")) == ({}, {"ann": ["a"]})
    assert presence.untrack("phone") is None
    assert [meta["name"] for meta in presence.state()["ann"]["metas"]] == ["b"]


def test_new_presence_replaces_the_old() -> None:
    presence = Presence()
    first = presence.track("phone", "ann", {"name": "a"})
    assert presence.track("phone", "ann", {"name": "a"}) is None
    second = presence.track("phone", "ann", {"name": "b"})
    assert names(second) == ({"ann": ["b"]}, {"ann": ["a"]})
    assert second.joins["ann"]["metas"][0]["phx_ref_prev"] == first.joins["ann"]["metas"][0]["phx_ref"]


@pytest.mark.anyio
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_presence_reaches_every_member(server: Start, vsn: str) -> None:
    async with server() as running, running.client(vsn) as one, running.client(vsn) as watcher:
        await watcher.join("room", presence=on())
        assert (await watcher.event("presence_state"))[0]["payload"] == {}
        async with running.client(vsn) as two:
            await one.join("room", presence=on("one"))
            await two.join("room", presence=on("two"))
            assert await track(one, "room", "2", x=1) == {"status": "ok", "response": {}}
            await track(two, "room", "2", x=2)
            await one.push("realtime:room", "presence", {"event": "untrack"}, "3")
            await one.answer("3")
        diffs = [frame["payload"] for frame in await watcher.event("presence_diff", 4)]
        assert [(list(diff["joins"]), list(diff["leaves"])) for diff in diffs] == [
            (["one"], []),
            (["two"], []),
            ([], ["one"]),
            ([], ["two"]),
        ]
        assert diffs[0]["joins"]["one"]["metas"][0]["x"] == 1


@pytest.mark.anyio
async def test_later_member_gets_the_presence_state(server: Start) -> None:
    async with server() as running, running.client() as one, running.client() as two:
        await one.join("room", presence=on("one"))
        await track(one, "room", "2", x=1)
        await two.join("room", presence=on())
        state = (await two.event("presence_state"))[0]["payload"]
        assert [meta["x"] for meta in state["one"]["metas"]] == [1]


@pytest.mark.anyio
async def test_policies_decide_presence_in_private_channels(server: Start) -> None:
    async with server() as running, running.client() as ann, running.client() as bob:
        await ann.join("den", token(ANN), private=True, presence=on("ann"))
        await bob.join("den", token(BOB), private=True, presence=on("bob"))
        assert (await track(ann, "den", "2", x=1))["status"] == "ok"
        assert (await track(bob, "den", "2", x=1))["status"] == "error"
        assert [list(frame["payload"]["joins"]) for frame in await bob.event("presence_diff")] == [["ann"]]


@pytest.mark.anyio
async def test_first_track_enables_presence(server: Start) -> None:
    async with server() as running, running.client() as ann:
        await ann.join("den", token(ANN), private=True)
        assert (await track(ann, "den", "2", x=1))["status"] == "ok"
        await ann.event("presence_diff")
        await ann.join("loud", token(ANN), ref="3", private=True)  # broadcasts only
        assert (await track(ann, "loud", "4", x=1))["status"] == "error"


@pytest.mark.anyio
async def test_too_many_presence_calls_end_the_channel(server: Start) -> None:
    async with server(presence_calls=2) as running, running.client() as client:
        await client.join("room", presence=on("me"))
        for number in range(2):
            await track(client, "room", f"t{number}", x=number)
        await client.push("realtime:room", "presence", {"event": "track", "payload": {"x": 3}}, "t3")
        await client.event("phx_close")
        assert (await client.event("system"))[0]["payload"]["message"] == "Client presence rate limit exceeded"


@pytest.mark.anyio
async def test_presence_takes_only_objects(server: Start) -> None:
    async with server() as running, running.client() as client:
        await client.join("room", presence=on("me"))
        await client.push("realtime:room", "presence", {"event": "track", "payload": [1]}, "2")
        assert (await client.answer("2"))["payload"] == {
            "status": "error",
            "response": {"reason": "Presence track payload must be a map"},
        }
