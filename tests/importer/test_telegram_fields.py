"""What each field of a Telegram export becomes, message by message; people and texts are invented."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from threadline_import.model import Options
from threadline_import.sources import Source
from threadline_import.telegram import Telegram

from tests.importer.reading import fields, read, refused

AT = 1_707_987_600  # 2024-02-15 09:00:00
BERLIN = ZoneInfo("Europe/Berlin")


def message(text: object = "hi", **more: object) -> dict[str, object]:
    about = {"id": 7, "type": "message", "date": "2024-02-15T10:00:00", "date_unixtime": str(AT), "from": "Ann"}
    return {**about, "from_id": "user11", "text": text, **more}


def without(name: str, **more: object) -> dict[str, object]:
    return {key: value for key, value in message(**more).items() if key != name}


def write(folder: Path, *messages: object, **chat: object) -> Path:
    file = folder / "result.json"
    file.write_text(json.dumps({"name": "Ann", "type": "personal_chat", "id": 11, **chat, "messages": messages}))
    return file


RECENT = [{"from_id": "user33", "date": "2024-02-15T10:09:00"}]
MESSAGES = [
    (message(), {}),
    (message(from_id="user22"), {"mine": True}),
    (message(from_id=11), {}),
    (message(from_id=None), {}),
    (message(from_id=None, **{"from": None}), {}),
    (message(from_id=None, **{"from": "Maya"}), {"mine": True}),
    (message([{"type": "bold", "text": "a"}, "b"]), {"text": "ab"}),
    (message("", photo="photos/1.jpg"), {"text": "", "kind": "image", "file": "1.jpg"}),
    (message("look", photo="photos/1.jpg"), {"text": "look", "kind": "image", "file": "1.jpg"}),
    (message("", file="files/plan (File 1).pdf"), {"text": "", "kind": "file", "file_name": "plan (File 1).pdf"}),
    (message("", file="files/a.mp3", media_type="audio_file"), {"text": "", "kind": "audio", "file_name": "a.mp3"}),
    (message("", file="files/a.mp4", media_type="video_file"), {"text": "", "kind": "video", "file_name": "a.mp4"}),
    (message("", file="files/a", mime_type="audio/ogg"), {"text": "", "kind": "audio", "file_name": "a"}),
    (message("", file="files/a", mime_type="video/mp4"), {"text": "", "kind": "video", "file_name": "a"}),
    (message("", file="files/a", file_name="plan"), {"text": "", "kind": "file", "file_name": "plan"}),
    (message("", file="(File not included. Change data.)"), {"text": "", "kind": "file"}),
    (message("", file="plan (File)"), {"text": "", "kind": "file", "file_name": "plan (File)"}),
    (message("", location_information={"latitude": 1, "longitude": 2}, place_name="Bar", address="Herrengasse"),
     {"kind": "location", "text": "Bar, Herrengasse, 1,2"}),
    (message("here", place_name="Bar"), {"kind": "location", "text": "here"}),
    (message("", poll={"question": ["Wh", {"text": "en?"}], "answers": [{"text": ["te", "n"]}, {"text": "one"}]}),
     {"kind": "poll", "text": "Poll: When? (ten / one)"}),
    (message("", invoice_information={"title": ["Bi", "ke"]}), {"text": "Invoice: Bike"}),
    (message("", invoice_information={"currency": "CHF"}), {"text": "Invoice: "}),
    (message("pay", invoice_information={"title": "Bike"}), {"text": "pay"}),
    (message("", game_title="Chess"), {"text": "Game: Chess"}),
    (message("play", game_title="Chess"), {"text": "play"}),
    (message(edited="2024-02-15T10:00:00"), {"edited": True}),
    (message(edited="1970-01-01T00:00:00"), {}),
    (message(edited_unixtime=str(AT)), {"edited_at": "2024-02-15T09:00:00.000Z"}),
    (message([{"type": "link", "text": "a", "href": ""}]), {"text": "a"}),
    (message(reactions=[{"emoji": "👍", "recent": None}]), {}),
    (message(reply_to_message_id=3), {"reply_to": "3"}),
    (message(via_bot="@gif"), {"via_bot": "@gif"}),
    (message(forwarded_from=None), {"forwarded": True}),
    (message(reactions=[{"emoji": "👍", "recent": [{"from_id": "user33", "date": "2024-02-15T10:00:00"}]}]),
     {"reactions": [("user33", "👍", True)]}),
    (message(reactions=[{"emoji": "👍", "recent": RECENT}]), {"reactions": [("user33", "👍", False)]}),
    (message(reactions=[{"emoji": "👍"}, {"emoji": "", "recent": RECENT}]), {}),
    (message(reactions=[{"emoji": "👍", "recent": [{"date": "2024-02-15T10:09:00"}, {"from_id": "user33"}]}]), {}),
    (message(date_unixtime=str(1_375_315_200)), {"at": "00:00:00.000"}),
    (message(date_unixtime=str(1_375_315_199)), "? message 1 of Ann"),
    (message(""), "- empty messages"),
    (message(type="unsupported"), "- unsupported messages"),
    (message(type="service", action="phone_call"), "- calls"),
    ({"type": "message", "date_unixtime": str(AT), "date": "", "text": "?"}, "? message 1 of Ann"),
    ("no message", "? message 1 of Ann"),
    (message(date_unixtime=str(10**20)), "? message 1 of Ann"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "right"), MESSAGES, ids=range(len(MESSAGES)))
def test_message_of_telegram_is_read(tmp_path: Path, given: object, right: dict | str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"photo")
    _, [conversation] = read(write(tmp_path, given, message("later", id=8)), Options(), Telegram())
    base = {"id": "7", "at": "09:00:00.000", "kind": "text", "text": "hi"}
    whole = {name: value for name, value in {**base, **right}.items() if value} if isinstance(right, dict) else right
    assert fields(conversation.entries[0]) == whole


def test_wall_clock_of_an_old_export_is_in_the_zone(tmp_path: Path) -> None:
    recent = [{"from_id": "user33", "date": "2024-02-15T10:00:00"}]
    old = without("date_unixtime", reactions=[{"emoji": "👍", "recent": recent}])
    file = write(tmp_path, old, message("new"))
    assert "local time without a zone" in refused(Telegram(), file, Options())
    first, second = read(file, Options(zone=BERLIN), Telegram())[1][0].entries
    assert (first.at.hour, first.at.utcoffset().seconds, second.at.hour) == (10, 3600, 9)
    assert first.reactions[0].at.isoformat() == "2024-02-15T10:00:00+00:00"


@pytest.mark.parametrize("me", ["user22", "Maya"])
def test_owner_of_a_group_is_an_id_or_a_name(tmp_path: Path, me: str) -> None:
    said = [
        message("a", **{"from": "Bo", "from_id": "user33"}),
        message("b", **{"from": "Maya", "from_id": "user22"}),
        message("c", **{"from": None, "from_id": "user44"}),
    ]
    _, [team] = read(write(tmp_path, *said, type="private_group", name=None), Options(me=me), Telegram())
    assert [(one.author, one.sender, one.is_mine) for one in team.entries] == [
        ("Bo", "user33", False), ("Maya", "user22", True), ("user44", "user44", False),
    ]  # fmt: skip
    assert (team.id, team.participant, team.name) == ("telegram:chat11", "telegram:chat11", "telegram:chat11")


def test_reply_in_a_topic_has_its_title(tmp_path: Path) -> None:
    made = {"id": 5, "type": "service", "action": "topic_created", "title": "Bikes", "date_unixtime": str(AT)}
    said = message(reply_to_message_id=5), message(reply_to_message_id=6), message(reply_to_message_id="5")
    chat = write(tmp_path, made, *said, type="public_supergroup")
    _, [team] = read(chat, Options(me="user11"), Telegram())
    assert [entry.details["topic"] for entry in team.entries[1:]] == ["Bikes", None, None]
    assert team.id == "telegram:channel11"


def test_kinds_of_chats_stay_apart(tmp_path: Path) -> None:
    kinds = {
        "bot_chat": "user",
        "private_group": "chat",
        "private_supergroup": "channel",
        "public_supergroup": "channel",
    }
    for kind, peer in kinds.items():
        _, [found] = read(write(tmp_path, message(), type=kind), Options(me="user11"), Telegram())
        assert (found.id, found.is_group) == (f"telegram:{peer}11", peer != "user")
    others, found = read(write(tmp_path, message(), type="saved_messages"), Options(), Telegram())
    assert (found, others[0].kind) == ([], "chats of type saved_messages")
    others, found = read(write(tmp_path, {"type": "service", "id": 1}), Options(), Telegram())
    assert (found, others[0].kind) == ([], "chats without a message")


def account(folder: Path, *chats: dict[str, object], **more: object) -> Path:
    file = folder / "result.json"
    file.write_text(json.dumps({**more, "chats": {"about": "", "list": chats}}))
    return file


def chat(number: int, *messages: dict[str, object], **more: object) -> dict[str, object]:
    return {"name": f"Chat {number}", "type": "personal_chat", "id": number, **more, "messages": messages}


def test_owner_is_found_in_a_chat_of_two(tmp_path: Path) -> None:
    two = chat(11, message(), message(from_id="user22"))
    group = chat(9, message(from_id="user22"), message(from_id="user33"), type="private_group")
    broken = chat(8, type="private_group", members=["user5"])
    nameless = chat(
        7, message(from_id=None, **{"from": None}), message(from_id="user33", **{"from": None}), type="private_group"
    )
    others, _ = read(account(tmp_path, nameless), Options(), Telegram())
    assert others[0].reason.endswith("one of: deleted account (unknown), deleted account (user33).")
    file = account(tmp_path, group, two, broken, personal_information={"user_id": 0})
    _, found = read(file, Options(), Telegram())
    assert [[entry.is_mine for entry in one.entries] for one in found] == [[True, False], [False, True]]
    mixed = chat(11, message(from_id=None, **{"from": "Maya"}), message(), message(from_id="user22"))
    _, [found] = read(account(tmp_path, mixed), Options(), Telegram())
    assert [entry.is_mine for entry in found.entries] == [True, False, True]
    alone = chat(11, message(from_id=None, **{"from": None}), message())
    others, _ = read(account(tmp_path, group, alone, contacts=[]), Options(), Telegram())
    assert others[0].reason.startswith("A group exported alone does not say who you are.")
    crowd = chat(11, message(), message(from_id="user22"), message(from_id="user33"))
    others, _ = read(account(tmp_path, group, crowd), Options(), Telegram())
    assert others[1].where.endswith("result.json, Chat 11")
    assert others[1].reason == (
        "This chat does not say who you are. Say it with --me, one of: "
        "Ann (user11), Ann (user22), Ann (user33)."
    )  # fmt: skip


def test_me_comes_before_the_owner_of_the_file(tmp_path: Path) -> None:
    group = chat(9, message(from_id="user22"), message(from_id="user33"), type="private_group")
    two = chat(11, message(), message(from_id="user44"))
    file = account(tmp_path, group, two, personal_information={"user_id": 22})
    for me, mine in ((None, [True, False]), ("user33", [False, True])):
        assert [entry.is_mine for entry in read(file, Options(me=me), Telegram())[1][0].entries] == mine


def test_chat_is_chosen_by_its_name_or_number(tmp_path: Path) -> None:
    file = account(tmp_path, chat(11, message("a")), chat(12, message("b", from_id="user12")))
    for wanted in ("Chat 12", "12"):
        [found] = read(file, Options(chat=wanted), Telegram())[1]
        assert (found.name, found.entries[0].text) == ("Chat 12", "b")
    assert "no chat with the name or id 13" in refused(Telegram(), file, Options(chat="13"))
    assert "has no chat." in refused(Telegram(), account(tmp_path), Options())
    (tmp_path / "result.json").write_text('{"name": "Ann", "type": "personal_chat", "id": 11, "messages": {}}')
    assert "has no chat." in refused(Telegram(), tmp_path / "result.json", Options())


def test_contacts_without_a_number_are_left(tmp_path: Path) -> None:
    people = [{"user_id": 11}, {"phone_number": "+1 555"}, "odd", {"user_id": 12, "phone_number": "+1 555 201 0001"}]
    file = account(
        tmp_path, chat(11, message()), chat(12, message(from_id="user12")),
        personal_information={"user_id": 0}, contacts={"list": people}, sessions=[1, {"a": 2}],
    )  # fmt: skip
    assert [one.participant for one in read(file, Options(), Telegram())[1]] == ["telegram:user11", "+1 555 201 0001"]
    [named] = read(account(tmp_path, chat(11, message())), Options(conversation="c1"), Telegram())[1]
    assert named.id == "c1"


def test_conversation_that_is_not_read_does_not_shift_the_next(tmp_path: Path) -> None:
    bare = {"name": "Chat 10", "type": "personal_chat", "id": 10}  # without a list of messages
    file = account(tmp_path, bare, chat(11, message("a"), message("b")), chat(12, message("c", from_id="user12")))
    found = Telegram().read(Source(file), Options())
    assert next(next(found).entries).text == "a"
    assert [entry.text for entry in next(found).entries] == ["c"]
    file.write_text(json.dumps({"chats": {"list": {}}, "left_chats": {"list": [chat(11, message("d"))]}}))
    assert [entry.text for entry in read(file, Options(), Telegram())[1][0].entries] == ["d"]


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, message())
    file.write_bytes(file.read_bytes().replace(b"Ann", b"\xff"))
    assert "is not UTF-8 text" in refused(Telegram(), file, Options())


HEADS = [
    ('{"personal_information": {}', True),
    ('{"frequent_contacts": {}', True),
    ('\n {"left_chats": {}', True),
    ('{"name": "Ann", "type": "personal_chat"', True),
    ('{"type":"private_supergroup"', True),
    ('{"type": "public_channel"', True),
    ('{"type": "saved_messages"', True),
    ('{"type": "saved"', False),
    ('[{"type": "personal_chat"', False),
    ('{"chatlab": {}, "type": "private_group"', False),
]


@pytest.mark.parametrize(("head", "right"), HEADS, ids=range(len(HEADS)))
def test_export_of_telegram_is_known_by_its_head(tmp_path: Path, head: str, right: bool) -> None:
    (tmp_path / "result.json").write_text(head)
    assert Telegram().recognizes(Source(tmp_path / "result.json")) is right


def test_messages_of_one_second_keep_their_order(tmp_path: Path) -> None:
    _, [found] = read(write(tmp_path, message("a"), message("b", id=8)), Options(), Telegram())
    assert [entry.at.microsecond for entry in found.entries] == [0, 1000]


def test_large_group_names_twenty_of_its_people(tmp_path: Path) -> None:
    said = [message(from_id=f"user{number}") for number in range(30, 51)]
    gone = message(from_id="user30", **{"from": None})
    reason = refused(Telegram(), write(tmp_path, *said, gone, type="private_group"), Options())
    assert (reason[-13:], "one of: Ann (user30), " in reason) == ("Ann (user49).", True)


def test_writer_without_an_id_is_left_out_beside_others(tmp_path: Path) -> None:
    unknown = message(from_id=None, **{"from": None})
    _, [found] = read(write(tmp_path, unknown, message(), message(from_id="user22")), Options(), Telegram())
    assert [entry.is_mine for entry in found.entries] == [False, False, True]
    reason = refused(Telegram(), write(tmp_path, message(), unknown, type="private_group"), Options())
    assert reason.endswith("one of: Ann (user11).")
