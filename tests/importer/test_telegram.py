import json
from pathlib import Path

import pytest
from threadline_import.model import ImportRefusedError, LeftOut, Options, Refusal
from threadline_import.readers import find_reader
from threadline_import.send import batches
from threadline_import.sources import Source
from threadline_import.wire import render_updates

from tests.importer.reading import UTC, lines, read, refusal
from tests.support.ingest import Sender


def message(number: int, sender: str, **fields: object) -> dict:
    names = {"user11": "Ann", "user22": "Maya Okafor", "user33": "Bo"}
    at = 1_707_987_600 + number * 60
    return {
        "id": number, "type": "message", "date": "2024-02-15T10:00:00", "date_unixtime": str(at),
        "from": names.get(sender), "from_id": sender, "text": "", **fields,
    }  # fmt: skip


def chat(*messages: dict, kind: str = "personal_chat", number: int = 11, name: str | None = "Ann") -> dict:
    return {"name": name, "type": kind, "id": number, "messages": list(messages)}


def write(folder: Path, export: dict) -> Path:
    file = folder / "result.json"
    file.write_text(json.dumps(export, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


KINDS = [
    ({"text": "hi"}, "text: hi"),
    ({"text": ["see ", {"type": "text_link", "text": "this", "href": "https://example.com"}]},
     "text: see this (https://example.com)"),
    ({"photo": "photos/1.jpg"}, "image:"),
    ({"file": "stickers/a.webp", "media_type": "sticker", "sticker_emoji": "👍"}, "sticker: 👍"),
    ({"file": "v.ogg", "media_type": "voice_message"}, "audio:"),
    ({"file": "r.mp4", "media_type": "video_message"}, "video:"),
    ({"file": "a.mp4", "media_type": "animation"}, "animation:"),
    ({"file": "plan.pdf", "mime_type": "application/pdf", "text": "the plan"}, "file: the plan"),
    ({"file": "p.png", "mime_type": "image/png"}, "image:"),
    ({"location_information": {"latitude": 1.5, "longitude": 2.5}}, "location: 1.5,2.5"),
    ({"place_name": "Café", "address": "Herrengasse 14"}, "location: Café, Herrengasse 14"),
    ({"contact_information": {"first_name": "Bo", "last_name": "", "phone_number": "+1 555"}},
     "contact: Contact: Bo +1 555"),
    ({"poll": {"question": "When?", "answers": [{"text": "ten"}, {"text": "one"}]}}, "poll: Poll: When? (ten / one)"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "right"), KINDS, ids=range(len(KINDS)))
def test_message_gets_its_kind(tmp_path: Path, fields: dict, right: str) -> None:
    _, [conversation] = read(write(tmp_path, chat(message(1, "user11", **fields))), Options())
    assert lines(conversation)[0][22:] == right


def test_details_of_a_message_are_kept(tmp_path: Path) -> None:
    recent = [{"from": "Ann", "from_id": "user11", "date": "2024-02-15T10:09:00"}]
    said = message(
        2, "user22", text="yes", edited="2024-02-15T10:05:00", edited_unixtime="1707987900", reply_to_message_id=1,
        forwarded_from="Bo", date="2024-02-15T10:02:00",
        reactions=[{"type": "emoji", "count": 1, "emoji": "👍", "recent": recent}],
    )  # fmt: skip
    _, [conversation] = read(write(tmp_path, chat(message(1, "user11", text="?"), said)), Options())
    details = {name: value for name, value in conversation.entries[1].details.items() if value}
    assert details == {
        "edited_at": "2024-02-15T09:05:00.000Z",
        "reply_to": "1",
        "forwarded": True,
        "forwarded_from": "Bo",
    }
    assert [entry.is_mine for entry in conversation.entries] == [False, True]
    assert render_updates(conversation.entries[1]) == [
        {"message_id": "2", "type": "reaction", "at": "2024-02-15T09:09:00.000Z", "by": "user11", "emoji": ["👍"]}
    ]


def test_account_gives_every_chat_its_own_conversation(tmp_path: Path) -> None:
    export = {
        "about": "Here is the data you requested.",
        "personal_information": {"user_id": 22, "first_name": "Maya"},
        "contacts": {"about": "", "list": [{"user_id": 11, "phone_number": "+1 555 201 0001"}]},
        "chats": {
            "about": "",
            "list": [
                chat(message(1, "user11", text="hi"), message(2, "user22", text="hello")),
                chat(
                    message(3, "user33", text="who?"),
                    message(4, "user22", text="I"),
                    kind="private_supergroup",
                    number=99,
                ),
                chat(message(5, "channel5", text="news"), kind="private_channel", number=5),
                chat(kind="bot_chat", number=6),
                chat(message(7, "user44", text="bye"), number=44, name=None),
            ],
        },
        "left_chats": {"list": [chat(message(8, "user33", text="old"), kind="private_group", number=7, name="Old")]},
    }
    others, found = read(write(tmp_path, export), Options())
    assert [(one.id, one.participant, one.name) for one in found] == [
        ("telegram:user11", "+1 555 201 0001", "Ann"),
        ("telegram:channel99", "telegram:channel99", "Ann"),
        ("telegram:user44", "telegram:user44", "Deleted account"),
        ("telegram:chat7", "telegram:chat7", "Old"),
    ]
    assert [entry.is_mine for entry in found[1].entries] == [False, True]
    assert [entry.author for entry in found[1].entries] == ["Bo", "Maya Okafor"]
    assert [entry.sender for entry in found[1].entries] == ["user33", "user22"]
    assert [one.is_group for one in found] == [False, True, False, True]
    assert others == [LeftOut("chats of type private_channel"), LeftOut("chats without a message")]


def test_one_chat_of_an_account_is_taken(tmp_path: Path) -> None:
    chats = [chat(message(1, "user11", text="hi")), chat(message(2, "user33", text="ho"), number=33, name="Bo")]
    file = write(tmp_path, {"personal_information": {"user_id": 22}, "chats": {"list": chats}})
    assert [one.name for one in read(file, Options(chat="Bo"))[1]] == ["Bo"]
    with pytest.raises(ImportRefusedError, match="no chat with the name or id Cy"):
        read(file, Options(chat="Cy"))


def test_service_takes_groups_reactions_and_edits(tmp_path: Path, sender: Sender) -> None:
    recent = [{"from": "Ann", "from_id": "user11", "date": "2024-02-15T10:09:00"}]
    first = message(1, "user11", text="?", poll={"question": "When?", "answers": [{"text": "ten"}]})
    said = message(2, "user22", text="yes", reactions=[{"emoji": "👍", "count": 1, "recent": recent}])
    edited = {**said, "text": "yes!", "edited": "2024-02-15T10:05:00", "edited_unixtime": "1707987900"}
    answers = []
    for last in (said, edited, edited):
        file = write(tmp_path, chat(first, last, kind="private_supergroup", name="Team"))
        [source] = [Source(file)]
        [batch] = batches(find_reader(source, None).read(source, Options(me="user22")))
        answers += sender.post(*batch.conversations).json()["results"]
    assert [answer["status"] for answer in answers] == ["created", "updated", "no_new_messages"]
    assert not any(answer.get("conflicting_message_ids") for answer in answers)


def test_chat_of_two_strangers_asks_who_you_are(tmp_path: Path) -> None:
    file = write(tmp_path, chat(message(1, "user33", text="hi"), message(2, "user44", text="ho")))
    assert refusal(file, Options()).startswith("This chat does not say who you are. Say it with --me, one of:")
    _, [conversation] = read(file, Options(me="user44"))
    assert [entry.is_mine for entry in conversation.entries] == [False, True]


def test_group_exported_alone_asks_who_you_are(tmp_path: Path) -> None:
    file = write(tmp_path, chat(message(1, "user11", text="hi"), kind="private_group"))
    assert refusal(file, Options()).startswith("A group exported alone does not say who you are.")


def test_service_messages_and_calls_are_left_out(tmp_path: Path) -> None:
    created = {"id": 1, "type": "service", "action": "topic_created", "title": "Bikes", "date_unixtime": "1707987600"}
    call = {"id": 2, "type": "service", "action": "phone_call", "date_unixtime": "1707987600"}
    file = write(
        tmp_path,
        chat(created, call, message(3, "user11", text="hi", reply_to_message_id=1), kind="private_supergroup"),
    )
    _, [conversation] = read(file, Options(me="user11"))
    assert lines(conversation)[:2] == ["- service messages", "- calls"]
    assert conversation.entries[2].details["topic"] == "Bikes"


def test_message_without_a_time_is_not_understood(tmp_path: Path) -> None:
    broken = message(2, "user11", text="?", date_unixtime="soon")
    _, [conversation] = read(write(tmp_path, chat(message(1, "user11", text="hi"), broken)), Options())
    assert lines(conversation)[1] == "? message 2 of Ann"


def test_export_that_ends_in_the_middle_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, chat(message(1, "user11", text="hi")))
    file.write_text(file.read_text()[:-20])
    with pytest.raises(ImportRefusedError, match=r"not a whole result\.json"):
        read(file, Options())


def test_faults_of_the_app_are_repaired(tmp_path: Path) -> None:
    file = write(tmp_path, chat(message(1, "user11", text="TAB"), message(2, "user11", text="ok", document_id="ID")))
    file.write_text(file.read_text().replace("TAB", r"a\x0Bb \\x41").replace('"ID"', "5368324170671202286x"))
    _, [conversation] = read(file, Options())
    assert [entry.text for entry in conversation.entries] == ["a\x0bb \\x41", "ok"]


def test_name_after_the_messages_is_found(tmp_path: Path) -> None:
    export = chat(message(1, "user11", text="hi"))
    file = write(tmp_path, {"type": export["type"], **{key: export[key] for key in ("messages", "id", "name")}})
    assert find_reader(Source(file), None).title == "Telegram Desktop export"
    assert read(file, Options())[1][0].name == "Ann"


def test_equal_seconds_keep_the_order_of_the_file(tmp_path: Path) -> None:
    said = [message(number, "user11", text=str(number), date_unixtime="1707987600") for number in (9, 10, 11)]
    entries = read(write(tmp_path, chat(*said)), Options(zone=UTC))[1][0].entries
    assert [entry.id for entry in sorted(entries, key=lambda entry: entry.at)] == ["9", "10", "11"]


def test_refusal_of_a_group_leaves_the_other_chats(tmp_path: Path) -> None:
    chats = [chat(message(1, "user11", text="hi"), kind="private_group"), chat(message(2, "user11", text="hi"))]
    others, found = read(write(tmp_path, {"chats": {"list": chats}}), Options())
    assert (len([other for other in others if isinstance(other, Refusal)]), len(found)) == (1, 1)
