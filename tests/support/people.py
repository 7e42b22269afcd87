"""People and conversations in the database."""

from typing import Any

from tests.support.database import Db, value
from tests.support.world import BOB


def read_conversation(db: Db, external_id: str = "chat") -> dict[str, Any]:
    """Return a conversation with its messages, as JSON."""
    whole = "to_jsonb(c) || jsonb_build_object('messages', c.messages)"
    return value(db, f"select {whole} from public.conversations as c where external_conversation_id = %s", external_id)


def add_person(db: Db, phone: str | None, user_id: str = BOB) -> Any:
    """Add a person and return the id; `seed.sql` gives Bob none."""
    statement = "insert into public.people (user_id, full_name, phone) values (%s, 'Someone', %s) returning id"
    return value(db, statement, user_id, phone)


def add_conversation(db: Db, identifier: str, user_id: str = BOB, platform: str = "signal") -> Any:
    """Add a conversation without messages, for tests of its participant."""
    return value(
        db,
        """
        insert into public.conversations (user_id, platform, external_conversation_id, participant_identifier)
        values (%s, %s, gen_random_uuid(), %s) returning id
        """,
        user_id,
        platform,
        identifier,
    )


def person_of(db: Db, conversation_id: object) -> Any:
    """Return the id of the person that a conversation is matched to."""
    return value(db, "select person_id from public.conversations where id = %s", conversation_id)
