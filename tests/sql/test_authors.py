"""Authors: profiles that Supabase clients embed, and names in events, search, deliveries and lists."""

import json
from typing import Any

import pytest

from tests.support import schema
from tests.support.calls import ask, call, send
from tests.support.database import Db, rows, value
from tests.support.realtime import broadcasts
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, NAME_OF_MATTY, TWIN

TWIN_PICTURE = "https://x.example/twin.png"
TWINS = {"display_name": "Matty's twin", "avatar_url": TWIN_PICTURE}
PICTURE = "https://lh3.example.com/a.png"
NEW_USER = """
insert into auth.users (id, aud, role, email, raw_user_meta_data)
values (gen_random_uuid(), 'authenticated', 'authenticated', 'ada@example.com', %s) returning id
"""


def named(payload: dict[str, Any]) -> dict[str, Any]:
    """Return what a payload says of its author."""
    return {key: payload.get(key) for key in ("display_name", "avatar_url")}


@pytest.mark.parametrize("table", ["messages", "message_reactions", "channel_members", "message_pins"])
def test_clients_embed_the_profile(db: Db, table: str) -> None:
    # PostgREST embeds user_profiles by the one foreign key to it.
    query = """
        select count(*) from pg_constraint
        where contype = 'f' and conrelid = %s::regclass and confrelid = 'public.user_profiles'::regclass
        """
    assert value(db, query, f"public.{table}") == 1


def test_deleted_user_leaves_messages_without_author(db: Db) -> None:
    said = send(db, who=BOB)
    call(db, "add_reaction", BOB, id=MESSAGE, emoji="wave")
    db.execute("delete from auth.users where id = %s", (BOB,))
    assert rows(db, "select user_id, content from public.messages where id = %s", said) == [(None, "Hello")]
    assert rows(db, "select from public.message_reactions where user_id = %s", BOB) == []
    assert rows(db, "select from public.channel_members where user_id = %s", BOB) == []


@pytest.mark.parametrize(
    ("known", "picture"),
    [
        ({"picture": PICTURE}, PICTURE),
        ({"avatar_url": "https://x.example/b.png", "picture": PICTURE}, "https://x.example/b.png"),
        ({"avatar_url": "javascript:alert(1)", "picture": PICTURE}, PICTURE),
        ({"picture": f"{'https://':x<2000}"}, f"{'https://':x<2000}"),
        ({"picture": f"{'https://':x<2001}"}, None),
    ],
    ids=["picture", "both", "bad avatar", "just fits", "too long"],
)
def test_picture_comes_from_either_claim(db: Db, known: dict[str, str], picture: str | None) -> None:
    user_id = value(db, NEW_USER, json.dumps(known))
    assert value(db, "select avatar_url from public.user_profiles where user_id = %s", user_id) == picture


def test_migration_keeps_name_and_picture_of_users(db: Db) -> None:
    user_id = value(db, NEW_USER, json.dumps({"full_name": "Ada L.", "picture": PICTURE}))
    db.execute("delete from public.user_profiles where user_id = %s", (user_id,))
    text = (schema.ROOT / "sql" / "200_channels.sql").read_text()
    db.execute(text[text.index("insert into public.user_profiles (user_id, display_name, avatar_url)\nselect") :])
    query = "select display_name, avatar_url from public.user_profiles where user_id = %s"
    assert rows(db, query, user_id) == [("Ada L.", PICTURE)]


def test_events_name_the_author(db: Db) -> None:
    db.execute("update public.ai_twins set avatar_url = %s", (TWIN_PICTURE,))
    db.execute("update public.user_profiles set avatar_url = %s where user_id = %s", (PICTURE, CAROL))
    db.execute("delete from realtime.messages where true")
    said = send(db)
    call(db, "edit_message", MATTY, id=said, content="edited")
    call(db, "pin_message", BOB, id=said)
    send(db, ai_twin_id=TWIN)
    call(db, "add_reaction", MATTY, id=MESSAGE, emoji="wave")
    db.execute("delete from public.channel_members where user_id = %s", (CAROL,))
    told = [(event, named(payload)) for event, payload in broadcasts(db, f"channel:{CHANNEL}")]
    assert told == [
        ("message.created", NAME_OF_MATTY),
        ("message.updated", NAME_OF_MATTY),
        ("message.pinned", NAME_OF_MATTY),
        ("message.created", TWINS),
        ("reaction.added", NAME_OF_MATTY),
        ("member.left", {"display_name": "Carol Lindqvist", "avatar_url": PICTURE}),
    ]


def test_event_of_a_deleted_user_has_no_name(db: Db) -> None:
    send(db, who=BOB)
    db.execute("delete from auth.users where id = %s", (BOB,))
    events = call(db, "list_channel_events", MATTY, channel_id=CHANNEL, limit=1000).data
    assert "Bob Okafor" not in json.dumps(events)


def test_search_hits_name_the_author(db: Db) -> None:
    db.execute("update public.ai_twins set avatar_url = %s", (TWIN_PICTURE,))
    send(db, "zebra by Matty")
    send(db, "zebra by the twin", ai_twin_id=TWIN)
    hits = call(db, "search_messages", BOB, query="zebra").data
    assert [(hit["ai_twin_id"], named(hit)) for hit in hits] == [(TWIN, TWINS), (None, NAME_OF_MATTY)]


def test_search_names_authors_who_left(db: Db) -> None:
    send(db, "zebra", who=BOB)
    db.execute("delete from public.channel_members where user_id = %s", (BOB,))
    assert call(db, "search_messages", CAROL, query="zebra").data[0]["display_name"] == "Bob Okafor"
    assert call(db, "search_messages", MALLORY, query="zebra").data == []


def test_delivery_names_the_author(db: Db) -> None:
    ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example.com/")
    send(db, who=MATTY)
    (delivery,) = ask(db, None, "claim_deliveries")
    assert named(json.loads(delivery["body"])) == NAME_OF_MATTY


def test_my_channels_name_the_last_author(db: Db) -> None:
    send(db)
    (channel,) = [each for each in call(db, "list_my_channels", BOB).data if each["id"] == CHANNEL]
    assert channel["last_message"]["display_name"] == "Matty Squarzoni"
