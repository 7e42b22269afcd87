"""Conversations arrive while people are added, changed and deleted; each conversation ends with the right person."""

import json
import random
from functools import partial

import psycopg

from tests.support.ingest import Sender, conversation, in_parallel, message

# Three numbers, each in several spellings.
NUMBERS = [
    [f"+49 151 2345 67{digit}8", f"004915123456 7{digit}8", f"0151 2345 67{digit}8", f"+49 (151) 2345-67{digit}8"]
    for digit in range(3)
]
ROUNDS = 40
INSERT = "insert into public.people (full_name, phone) values (%s, %s)"


def as_owner(connection: psycopg.Connection, sender: Sender, statement: str, *parameters: object) -> None:
    """Run a statement as the signed-in user in its own transaction, like the Data API."""
    with connection.transaction():
        claims = json.dumps({"sub": sender.user_id, "role": "authenticated"})
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        connection.execute(statement, parameters)


def any_number(chance: random.Random) -> str:
    return chance.choice(chance.choice(NUMBERS))


def change_contacts(sender: Sender, seed: int) -> None:
    chance = random.Random(seed)
    with psycopg.connect(sender.database_url, autocommit=True) as connection:
        for number in range(ROUNDS):
            name = f"contact {seed} {chance.randrange(3)}"
            if chance.random() < 0.1:
                as_owner(connection, sender, "delete from public.people")
            elif chance.random() < 0.4:
                as_owner(connection, sender, "delete from public.people where full_name = %s", name)
            elif chance.random() < 0.5:
                phone = chance.choice([None, any_number(chance)])
                as_owner(connection, sender, "update public.people set phone = %s where full_name = %s", phone, name)
            else:
                both = [name, any_number(chance), f"contact {seed} {number}", any_number(chance)]
                as_owner(connection, sender, f"{INSERT}, (%s, %s)", *both)


def deliver(sender: Sender, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(ROUNDS):
        chats = [
            conversation(
                message(f"{seed} {number}", sent_at=f"2026-02-01T10:{number:02}:0{seed % 10}Z"),
                external_id=f"chat {chance.randrange(25)}",
                participant_identifier=any_number(chance),
            )
            for _ in range(2)
        ]
        assert sender.post(*chats).status_code == 200


def test_concurrent_changes_keep_matches_correct(sender: Sender) -> None:
    in_parallel(
        [partial(deliver, sender, seed) for seed in range(6)]
        + [partial(change_contacts, sender, seed) for seed in range(3)]
    )
    assert sender.inconsistencies() == []
    assert len({one for chat in sender.stored().values() for one in chat}) == 6 * ROUNDS


def test_concurrent_person_and_first_message_match(sender: Sender) -> None:
    with psycopg.connect(sender.database_url, autocommit=True) as connection:
        for number in range(25):
            phone = f"+49 160 90000{number:03}"
            chat = conversation(message(), external_id=phone, participant_identifier=phone)
            in_parallel([partial(sender.post, chat), partial(as_owner, connection, sender, INSERT, phone, phone)])
        matched = connection.execute(
            """
            select count(*) from public.conversations as conversation
            inner join public.people as person
                on conversation.person_id = person.id and conversation.external_conversation_id = person.full_name
            where conversation.user_id = %s
            """,
            [sender.user_id],
        ).fetchone()
    assert matched == (25,)
    assert sender.inconsistencies() == []
