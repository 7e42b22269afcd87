"""The mappings of examples/webhooks: webhooks as the platforms document them, through the door, into threads."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import Sender
from tests.support.schema import ROOT
from tests.support.service import Service
from tests.support.sessions import session

PLATFORMS = {
    "whatsapp_cloud": "whatsapp",
    "baileys": "whatsapp",
    "twilio": "whatsapp",
    "telegram": "telegram",
    "signal_cli": "signal",
    "wechat": "wechat",
}
LONGEST = 80
ARRIVED_AT = "2026-02-02T03:00:00Z"
GIVEN = Path(__file__).parent / "webhooks"

THREADS = """
select json_build_object(
    'conversation', conversation.external_conversation_id,
    'kind', conversation.kind,
    'participant', conversation.participant_identifier,
    'name', conversation.participant_name,
    'identifiers', array(
        select known.kind || ' ' || known.value from public.conversation_identifiers as known
        where known.conversation_id = conversation.id and known.value <> conversation.participant_identifier
        order by known.kind, known.value
    ),
    'waiting', (
        select count(*) from public.conversation_updates as known
        where known.conversation_id = conversation.id and not exists (
            select from public.conversation_messages as stored
            where stored.conversation_id = conversation.id and stored.external_id = known.external_id
                and known.sender in ('', stored.sender)
        )
    ),
    'messages', conversation.messages
)
from public.conversations as conversation
where conversation.user_id = %s
order by conversation.external_conversation_id
"""

PARTICIPANTS = """
select conversation.external_conversation_id, json_object_agg(
    known.identifier, concat_ws(' ', case when known.has_left then 'left' else 'joined' end, known.name, (
        select string_agg(extra.value ->> 'value', ' ') from jsonb_array_elements(known.identifiers) as extra
    ))
    order by known.identifier
)
from public.conversations as conversation
inner join private.group_participants as known on conversation.id = known.conversation_id
where conversation.user_id = %s
group by conversation.id
"""


def to_conversations(name: str, webhook: Any) -> list[dict[str, Any]]:
    """Call the mapping of an example for one webhook."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "webhooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if name == "wechat":
        archived = isinstance(webhook, dict)
        return module.archive_to_conversations(webhook) if archived else module.to_conversations(webhook, "wxapp")
    return module.to_conversations(webhook, *([ARRIVED_AT] if name in ("twilio", "telegram") else []))


def read_threads(sender: Sender) -> list[dict[str, Any]]:
    """Return the conversations of a sender as they are stored."""
    with session(sender.database_url) as connection:
        return [thread for (thread,) in connection.execute(THREADS, [sender.user_id])]


def read_participants(sender: Sender) -> dict[str, dict[str, str]]:
    """Return who is or was in each group of a sender, and what is known of them."""
    with session(sender.database_url) as connection:
        return dict(connection.execute(PARTICIPANTS, [sender.user_id]).fetchall())


@pytest.fixture(params=PLATFORMS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a mapping."""
    return request.param


@pytest.fixture
def webhooks(name: str) -> list[Any]:
    """The webhooks that are sent, in the form of the platform's documentation, with invented people."""
    return json.loads((GIVEN / f"{name}.json").read_text())


@pytest.fixture
def sender(name: str, cluster: TestCluster, service_database: str, service: Service) -> Sender:
    """A connection of the platform."""
    return Sender.create(service.client, cluster.url(service_database, "postgres"), PLATFORMS[name])


def send(sender: Sender, name: str, webhooks: list[Any]) -> None:
    """Send each webhook in a request of its own."""
    for webhook in webhooks:
        if conversations := to_conversations(name, webhook):
            results = sender.post(*conversations).json()["results"]
            assert not [one for one in results if one["status"].startswith("error") or "conflicting_message_ids" in one]


def test_webhooks_become_threads(name: str, webhooks: list[Any], sender: Sender) -> None:
    send(sender, name, webhooks)
    expected = json.loads((GIVEN / f"{name}.threads.json").read_text())
    assert read_threads(sender) == expected
    send(sender, name, webhooks)
    assert read_threads(sender) == expected


def test_webhooks_in_reverse_order_become_the_same(name: str, webhooks: list[Any], sender: Sender) -> None:
    send(sender, name, webhooks[::-1])
    expected = json.loads((GIVEN / f"{name}.threads.json").read_text())
    found = read_threads(sender)
    if name == "twilio":
        # Its webhooks have no times, therefore their arrival is the order.
        found, expected = [[sorted(map(str, one["messages"])) for one in threads] for threads in (found, expected)]
    assert found == expected


@pytest.mark.parametrize("step", [1, -1], ids=["in order", "reversed"])
def test_webhooks_say_who_is_in_a_group(name: str, webhooks: list[Any], sender: Sender, step: int) -> None:
    send(sender, name, webhooks[::step])
    assert read_participants(sender) == json.loads((GIVEN / "participants.json").read_text())[name]


def test_mapping_is_short(name: str) -> None:
    assert len((ROOT / "examples" / "webhooks" / f"{name}.py").read_text().splitlines()) <= LONGEST
