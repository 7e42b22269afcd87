"""Realtime sends events to users who may read them, and to no others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from realtime import AsyncRealtimeClient

from tests.supabase.target import Target, User
from tests.support.ingest import conversation, message

Heard = asyncio.Queue[tuple[str, Any]]


@asynccontextmanager
async def listening(target: Target, user: User, topic: str, *events: str) -> AsyncIterator[Heard]:
    """Yield what a user receives on a private topic, after the answer to the join."""
    heard: Heard = asyncio.Queue()
    socket = AsyncRealtimeClient(f"{target.url}/realtime/v1", target.publishable_key, auto_reconnect=False)
    try:
        await socket.set_auth(user.token)
        channel = socket.channel(topic, {"config": {"private": True}})
        for event in events:
            channel.on_broadcast(event, lambda sent: heard.put_nowait((sent["event"], sent["payload"])))
        await channel.subscribe(lambda status, _: heard.put_nowait((status.value, None)))
        yield heard
    finally:
        await socket.close()


async def hear(target: Target, user: User, topic: str, event: str, act: Callable[[], object]) -> Any:
    """Return the payload of the event that an action causes."""
    async with asyncio.timeout(30), listening(target, user, topic, event) as heard:
        assert await heard.get() == ("SUBSCRIBED", None)
        await asyncio.to_thread(act)
        name, payload = await heard.get()
    assert name == event
    return payload


async def try_to_join(target: Target, user: User, topic: str) -> str:
    async with asyncio.timeout(30), listening(target, user, topic) as heard:
        return (await heard.get())[0]


def test_member_receives_messages_and_non_member_cannot_join(service_target: Target) -> None:
    owner, stranger = service_target.sign_up(), service_target.sign_up()
    channel_id = service_target.create_channel(owner)

    def say() -> None:
        body = {"channel_id": channel_id, "content": "Hello"}
        assert service_target.messages(owner, "POST", "", body).status_code == 201

    topic = f"channel:{channel_id}"
    assert asyncio.run(hear(service_target, owner, topic, "message.created", say))["content"] == "Hello"
    assert asyncio.run(try_to_join(service_target, stranger, topic)) == "CHANNEL_ERROR"


def test_connection_owner_receives_conversation_broadcasts(door: Target) -> None:
    connection = door.connect(door.sign_up())
    topic = f"inbox:{connection.user.id}"
    payload = asyncio.run(
        hear(door, connection.user, topic, "conversation.created", lambda: connection.results(conversation(message())))
    )
    assert [each["content"] for each in payload["messages"]] == ["Content of m1"]
