"""Messages and updates, split, repeated and shuffled over requests of two connections, end in the same state.

A few lines of Python are the model of that state. It shares no code with the SQL.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.sql.test_ingest_algebra import OTHER, PROPERTY, add_connection
from tests.support.calls import ingest
from tests.support.database import Db, value
from tests.support.ingest import conversation, message
from tests.support.world import WHATSAPP

TIMES = [f"2026-02-01T11:0{minute}:00.000Z" for minute in range(4)]
IDS = ["m1", "m2", "m3"]
ACTORS = [None, "@ann", "@bea"]
RECEIPTS = ["played", "read", "delivered", "failed"]
STATE = """
select jsonb_build_object(
    'messages', c.messages, 'count', c.message_count, 'last', c.last_message_at, 'preview', c.last_message_preview
)
from public.conversations as c
"""
FIELDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "edited": st.fixed_dictionaries(
        {"content": st.sampled_from(["x", "y", "\u00e4"])}, optional={"media_url": st.sampled_from(["u1", "u2"])}
    ),
    "deleted": st.just({}),
    "reaction": st.fixed_dictionaries({"emoji": st.sampled_from([None, "a", "b", ["a", "b"]])}),
    "media": st.fixed_dictionaries({"media_url": st.sampled_from(["u1", "u2", "u3"])}),
    "failed": st.fixed_dictionaries({}, optional={"reason": st.sampled_from(["r", "s"])}),
    "pinned": st.just({}),
    "unpinned": st.just({}),
} | {name: st.just({}) for name in ("delivered", "read", "played")}


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    type_ = draw(st.sampled_from(list(FIELDS)))
    by = draw(st.sampled_from(ACTORS)) if type_ not in ("edited", "deleted", "media") else None
    given = {"message_id": draw(st.sampled_from(IDS)), "type": type_, "at": draw(st.sampled_from(TIMES))}
    # Only `sequence` decides between updates of one moment, so that the model needs no rule of its own for that.
    return given | ({"by": by} if by else {}) | draw(FIELDS[type_]) | {"sequence": draw(st.integers(1, 10**6))}


def first_version(name: str) -> dict[str, Any]:
    return message(name, content=f"text of {name}", sent_at=f"2026-02-01T10:0{name[1]}:00.000Z")


def version(name: str, minute: int) -> dict[str, Any]:
    """Return the message as its platform sends it again after an edit."""
    return {**first_version(name), "content": f"edited {minute}", "edited_at": f"2026-02-01T11:0{minute}:30.000Z"}


@st.composite
def journeys(draw: st.DrawFn) -> tuple[set[str], list[Any], list[Any], list[dict[str, Any]]]:
    """Draw which messages come, their later versions, updates, and conversations that hold them all in any order."""
    present = draw(st.sets(st.sampled_from(IDS), min_size=1))
    versions = draw(st.lists(st.builds(version, st.sampled_from(sorted(present)), st.integers(0, 3)), max_size=2))
    drawn = draw(st.lists(updates(), max_size=7, unique_by=lambda one: one["sequence"]))
    facts = [("messages", first_version(name)) for name in sorted(present)]
    facts += [("messages", one) for one in versions] + [("updates", one) for one in drawn]
    facts = draw(st.permutations(facts + draw(st.lists(st.sampled_from(facts), max_size=4))))
    pieces: list[dict[str, Any]] = [conversation(updates=[])]
    for kind, one in facts:
        if draw(st.booleans()):
            pieces.append(conversation(updates=[]))
        pieces[-1][kind].append(one)
    return present, versions, drawn, pieces


def latest(given_updates: list[dict[str, Any]], *types: str) -> dict[str, Any] | None:
    found = [one for one in given_updates if one["type"] in types]
    return max(found, key=lambda one: (one["at"], one["sequence"]), default=None)


def model(name: str, versions: list[dict[str, Any]], given_updates: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that these versions and updates produce."""
    own = [one for one in given_updates if one["message_id"] == name]
    result = first_version(name)
    if gone := latest(own, "deleted"):
        kept = {field: result[field] for field in ("id", "direction", "type", "sent_at")}
        return {**kept, "content": "", "deleted": True, "deleted_at": gone["at"]}
    edits = [(one["edited_at"], 0, one) for one in versions if one["id"] == name]
    edits += [(one["at"], one["sequence"], one) for one in own if one["type"] == "edited"]
    for at, _, edit in sorted(edits, key=lambda one: one[:2]):
        result = edit if "id" in edit else {**result, "content": edit["content"]}
        result = {**result, "edited_at": at}
    urls = [one for one in own if "media_url" in one]
    if url := latest(urls, "media", "edited"):
        result = {**result, "media_url": url["media_url"]}
    actors = {one.get("by") for one in own}
    if receipts := [one for one in own if one["type"] in RECEIPTS]:
        best = min((one["type"] for one in receipts), key=RECEIPTS.index)
        receipt = latest(receipts, best)
        assert receipt
        result |= {"status": best, "status_at": receipt["at"]}
        result |= {"failure": receipt["reason"]} if "reason" in receipt else {}
    if any(one["type"] == "reaction" for one in own):
        current = [latest([one for one in own if one.get("by") == by], "reaction") for by in actors]
        result["reactions"] = [
            {"emoji": emoji, "at": one["at"], **({"by": one["by"]} if "by" in one else {})}
            for one in sorted(filter(None, current), key=lambda one: (one["at"], one.get("by", "")))
            for emoji in ([one["emoji"]] if isinstance(one["emoji"], str) else one["emoji"] or [])
        ]
    if pin := latest(own, "pinned", "unpinned"):
        result["pinned"] = pin["type"] == "pinned"
        result |= {"pinned_at": pin["at"]} if result["pinned"] else {}
    return result


@PROPERTY
@given(journey=journeys())
def test_every_order_of_updates_ends_in_the_same_state(db: Db, journey: Any) -> None:
    present, versions, drawn, pieces = journey
    with db.transaction(force_rollback=True):
        add_connection(db)
        for number, piece in enumerate(pieces):
            (result,) = ingest(db, piece, connection=(WHATSAPP, OTHER)[number % 2]).body["results"]
            assert not result["status"].startswith("error")
            assert "conflicting_message_ids" not in result
        expected = [model(name, versions, drawn) for name in sorted(present)]
        last = expected[-1]
        assert value(db, STATE) == {
            "messages": expected,
            "count": len(expected),
            "last": last["sent_at"].replace(".000Z", "+00:00"),
            "preview": last["content"] or "Deleted message",
        }
        for piece in pieces:
            (result,) = ingest(db, piece).body["results"]
            assert (result["status"], result["messages_added"]) == ("no_new_messages", 0)


@PROPERTY
@given(journey=journeys())
def test_one_request_ends_in_the_state_of_many(db: Db, journey: Any) -> None:
    *_, pieces = journey
    states = []
    for requests in ([pieces], [[piece] for piece in pieces], [[piece] for piece in reversed(pieces)]):
        with db.transaction(force_rollback=True):
            for request in requests:
                ingest(db, *request)
            states.append(value(db, STATE))
    assert states[0] == states[1] == states[2]
