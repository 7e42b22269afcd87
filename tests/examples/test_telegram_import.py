import json
from pathlib import Path

import pytest
from telegram_import import Export, flat, interpret, load, main, mend, own_id, parse
from threadline_client import ImporterError, read_text

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "telegram_result.json"
MISSING = "(File not included. Change data exporting settings to download.)"


def message(number: int = 1, sender: str | int = "user7", **other: object) -> dict:
    return {
        "id": number,
        "type": "message",
        "date": "2025-12-31T23:30:00",
        "date_unixtime": "1767220200",
        "from": str(sender).title(),
        "from_id": sender,
        "text": "hi",
        "text_entities": [{"type": "plain", "text": "hi"}],
        **other,
    }


def chat(*messages: dict, kind: str = "personal_chat", number: int = 7, name: str | None = "Ada") -> dict:
    return {"name": name, "type": kind, "id": number, "messages": list(messages)}


def account(*chats: dict, **other: object) -> dict:
    return {"about": "Here is the data you requested.", "chats": {"about": "", "list": list(chats)}, **other}


def sent(found: Export) -> list[dict]:
    return [message for conversation in found.conversations for message in conversation["messages"]]


# Messages


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": "hi"}, ("text", "hi")),
        ({"photo": "photos/a.jpg", "text": "our cat"}, ("image", "our cat")),
        ({"photo": "photos/a.jpg", "text": ""}, ("image", "a.jpg")),
        ({"photo": MISSING, "text": ""}, ("image", "photo")),
        ({"file": MISSING, "media_type": "voice_message", "mime_type": "audio/ogg"}, ("audio", "voice message")),
        ({"file": MISSING, "media_type": "video_message", "mime_type": "video/mp4"}, ("video", "video message")),
        ({"file": MISSING, "media_type": "sticker", "sticker_emoji": "🎉"}, ("image", "🎉")),
        ({"file": "a/b.mp4", "media_type": "animation", "mime_type": "video/mp4"}, ("video", "b.mp4")),
        ({"file": "a/b.mp3", "media_type": "audio_file", "mime_type": "audio/mpeg"}, ("audio", "b.mp3")),
        ({"file": "a/b.mp4", "media_type": "video_file", "mime_type": "video/mp4"}, ("video", "b.mp4")),
        ({"file": "a/b.png", "mime_type": "image/png"}, ("image", "b.png")),
        ({"file": "a/b (final)", "mime_type": "application/pdf"}, ("file", "b (final)")),
        ({"file": f"b.pdf {MISSING}", "mime_type": "application/pdf"}, ("file", "file")),
        ({"file": MISSING, "file_name": "b.pdf"}, ("file", "b.pdf")),
        ({"file": "(File unavailable, please try again later)"}, ("file", "file")),
        ({"location_information": {"latitude": 52.5, "longitude": -13.4}}, ("location", "52.5,-13.4")),
        ({"place_name": "Café", "address": "Street 1"}, ("location", "Café, Street 1")),
        ({"location_information": None}, ("location", "")),
        (
            {"contact_information": {"first_name": "Bo", "last_name": "", "phone_number": "+1 555"}},
            ("text", "Contact: Bo +1 555"),
        ),
        (
            {"poll": {"question": "When?", "answers": [{"text": "now"}, {"text": "later"}]}},
            ("text", "Poll: When? (now / later)"),
        ),
    ],
)
def test_message_types_and_texts_are_parsed(fields: dict, expected: tuple[str, str]) -> None:
    assert interpret(message(**{"text": "", **fields})) == expected


def test_text_entities_become_plain_text_with_links() -> None:
    parts = [
        "See ",
        {"type": "bold", "text": "this"},
        {"type": "text_link", "text": " page", "href": "https://example.org/a"},
        {"type": "mention_name", "text": " Bo", "user_id": 5},
        ".",
    ]
    assert flat(parts) == "See this page (https://example.org/a) Bo."
    assert flat("plain") == "plain"
    assert flat([]) == ""


def test_message_has_the_ingest_format() -> None:
    found = parse(chat(message(41, edited="2025-12-31T23:31:00", reply_to_message_id=40, file="a/b.pdf")))
    assert sent(found) == [
        {
            "id": "41",
            "direction": "inbound",
            "type": "file",
            "content": "hi",
            "sent_at": "2025-12-31T22:30:00.000Z",
            "file_name": "b.pdf",
            "edited": True,
            "reply_to": "40",
        }
    ]


def test_messages_of_one_second_keep_the_order_of_the_file() -> None:
    times = [one["sent_at"] for one in sent(parse(chat(message(9), message(10), message(11))))]
    assert [time[-8:] for time in times] == [":00.000Z", ":00.001Z", ":00.002Z"]


def test_service_entries_are_skipped_and_counted() -> None:
    service = {"id": 2, "type": "service", "date_unixtime": "1", "actor": "Ada", "action": "phone_call", "text": ""}
    found = parse(chat(message(1), service, {"id": 3, "type": "unsupported"}, message(4, text="")))
    assert [one["id"] for one in sent(found)] == ["1"]
    assert found.skipped == {"service messages": 1, "unsupported messages": 1, "empty messages": 1}


def test_unreadable_entries_are_counted() -> None:
    old = message(2)
    del old["date_unixtime"]
    found = parse(chat(message(1), old, message(3, date_unixtime="soon"), "?", message(5, photo=7), {"id": 6}))
    assert [one["id"] for one in sent(found)] == ["1"]
    assert len(found.unreadable) == 5
    assert found.unreadable[0] == "message 2 of Ada (KeyError: 'date_unixtime')"


# Authors


def test_private_chat_names_the_participant() -> None:
    found = parse(chat(message(1, "user7"), message(2, "user1"), message(3, 7), message(4, 1)))
    assert [one["direction"] for one in sent(found)] == ["inbound", "outbound", "inbound", "outbound"]
    assert not any("author" in one for one in sent(found))


def test_group_export_identifies_you_by_personal_information() -> None:
    group = chat(message(1), message(2, "user1"), kind="private_group", number=9)
    found = parse(account(group, personal_information={"user_id": 1}))
    assert [(one["direction"], one["author"]) for one in sent(found)] == [("inbound", "User7"), ("outbound", "User1")]


def test_private_chat_answers_identify_you() -> None:
    group = chat(message(1, "user5"), kind="private_group", number=9)
    assert own_id(account(group, chat(message(1)), chat(message(2), message(3, "user1")))) == "user1"
    assert own_id(account(group)) is None


def test_unknown_self_asks_the_user() -> None:
    group = chat(message(1), message(2, "user1"), kind="public_supergroup", number=9, name="Trip")
    with pytest.raises(ImporterError, match="Say who you are in Trip with --me"):
        parse(group)
    for me in ("user1", "User1"):
        assert [one["direction"] for one in sent(parse(group, me=me))] == ["inbound", "outbound"]


def test_deleted_account_in_a_group_keeps_its_id() -> None:
    group = chat(message(1, **{"from": None}), kind="private_supergroup", number=9)
    assert sent(parse(group, me="user1"))[0]["author"] == "user7"


# Chats


@pytest.mark.parametrize(
    ("kind", "peer"),
    [
        ("personal_chat", "user9"),
        ("bot_chat", "user9"),
        ("private_group", "chat9"),
        ("private_supergroup", "channel9"),
        ("public_supergroup", "channel9"),
    ],
)
def test_conversation_id_is_the_chat_id(kind: str, peer: str) -> None:
    [conversation] = parse(chat(message(1), kind=kind, number=9), me="user1").conversations
    del conversation["messages"]
    assert conversation == {
        "external_conversation_id": f"telegram:{peer}",
        "participant_identifier": f"telegram:{peer}",
        "participant_name": "Ada",
    }


def test_participant_is_the_phone_number_if_exported() -> None:
    contacts = {"list": [{"user_id": 7, "phone_number": "+1 555 0100"}, {"date": "2025-12-02T10:00:00"}]}
    [conversation] = parse(account(chat(message(1), name=None), contacts=contacts)).conversations
    assert conversation["external_conversation_id"] == "telegram:user7"
    assert conversation["participant_identifier"] == conversation["participant_name"] == "+1 555 0100"


def test_channels_and_saved_messages_are_skipped() -> None:
    found = parse(
        account(
            chat(message(1), kind="public_channel"),
            chat(message(1), kind="saved_messages"),
            chat(message(1, text="")),
            {"type": "personal_chat", "id": 5},
            left_chats={"list": [chat(message(1), number=8)]},
        )
    )
    assert [one["external_conversation_id"] for one in found.conversations] == ["telegram:user8"]
    assert found.skipped == {
        "chats of type public_channel": 1,
        "chats of type saved_messages": 1,
        "chats without a message": 2,
        "empty messages": 1,
    }


def test_one_chat_of_an_account_can_be_selected() -> None:
    export = account(chat(message(1)), chat(message(1, "user8"), number=8, name="Bo"))
    for only in ("Bo", "8"):
        assert [one["participant_name"] for one in parse(export, only=only).conversations] == ["Bo"]
    with pytest.raises(ImporterError, match="no chat with the name or id Eve"):
        parse(export, only="Eve")


# The file


def test_control_characters_are_repaired() -> None:
    written = r'{"a": "tab\x0Bhere, \\x41 typed, \\\x01"}'
    assert json.loads(mend(written)) == {"a": "tab\x0bhere, \\x41 typed, \\\x01"}


def test_document_id_of_custom_emoji_is_repaired() -> None:
    written = """{
     "type": "custom_emoji",
     "document_id": video_files/sticker (2).webm
    }"""
    assert json.loads(mend(written))["document_id"] == "video_files/sticker (2).webm"
    for right in ('{\n "document_id": "a.webm",\n "b": 1\n}', '{"text": "\\"document_id\\": a"}'):
        assert mend(right) == right


@pytest.mark.parametrize("text", ["", '{"name": "Ada", "messages": [', "<html>", "[]"])
def test_unrelated_file_is_rejected(text: str) -> None:
    with pytest.raises(ImporterError, match=r"is not a (whole )?result\.json"):
        load(text)


@pytest.mark.parametrize("export", [{}, {"chats": {}}, {"chats": {"list": []}}])
def test_export_without_chats_is_rejected(export: dict) -> None:
    with pytest.raises(ImporterError, match="no chat"):
        parse(export)


def test_sample_is_converted() -> None:
    found = parse(load(read_text(str(SAMPLE))))
    assert [(one["participant_name"], len(one["messages"])) for one in found.conversations] == [
        ("Leo Brandt", 10),
        ("House 12 tenants", 5),
    ]
    assert {one["type"] for one in sent(found)} == {"text", "image", "audio", "video", "file", "location"}
    assert found.unreadable == []


def test_script_sends_an_account(endpoint, capsys) -> None:
    to = ["--connection", "tg_1", "--key", "secret", "--url", endpoint.url]
    assert main([str(SAMPLE), *to]) == 0
    [body] = endpoint.bodies
    assert (body["platform"], body["connection_id"]) == ("telegram", "tg_1")
    assert [one["participant_identifier"] for one in body["conversations"]] == [
        "+49 171 3920201",
        "telegram:channel1500700300",
    ]
    assert capsys.readouterr().out == (
        "Leo Brandt: 10 messages, 2025-12-29T15:01:00.000Z to 2025-12-29T15:26:40.000Z\n"
        "House 12 tenants: 5 messages, 2025-12-29T15:50:00.000Z to 2025-12-29T16:06:40.000Z\n"
        "Left out: 1 chats of type public_channel, 1 chats of type saved_messages, "
        "2 service messages, 1 unsupported messages\n"
        "Could not be read: 0\n"
        "Leo Brandt: created, 10 messages added\n"
        "House 12 tenants: created, 5 messages added\n"
    )
