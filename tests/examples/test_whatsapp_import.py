import re
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from threadline_client import ImporterError, read_text
from whatsapp_import import Chat, clean_name, conversation, date_order, main, moment, parse, zone_of

DATA = Path(__file__).parents[2] / "examples" / "data"
ANDROID, IPHONE = DATA / "whatsapp_android_en.txt", DATA / "whatsapp_ios_de.txt"
TODAY = date(2026, 11, 22)
LRM, NARROW = "\u200e", "\u202f"


def read(text: str, order: str | None = "dmy") -> Chat:
    return parse(text, order=order, zone=UTC, today=TODAY)


def bodies(text: str) -> list[tuple[str, str]]:
    return [(message.body.type, message.body.content) for message in read(text).messages]


def android(said: str) -> str:
    return f"31/12/25, 22:30 - Ada: {said}"


def iphone(said: str) -> str:
    return f"[31.12.25, 22:30:05] Ada: {said}"


def arabic(text: str) -> str:
    """Replace digits with Arabic-Indic ones."""
    return re.sub("[0-9]", lambda digit: chr(0x660 + int(digit[0])), text)


def ids(text: str, order: str = "dmy") -> list[str]:
    chat = read(text, order)
    return [message["id"] for message in conversation(chat, chat.authors[0], "x", "g")["messages"]]


# How times are written


@pytest.mark.parametrize(
    ("line", "order", "expected"),
    [
        (f"12/31/25, 10:30{NARROW}PM - Ada: hi", None, "2025-12-31 22:30:00"),
        ("12/31/25, 10:30 PM - Ada: hi", None, "2025-12-31 22:30:00"),
        ("31/12/2025, 12:05 am - Ada: hi", None, "2025-12-31 00:05:00"),
        ("31/12/2025, 12:05 p. m. - Ada: hi", None, "2025-12-31 12:05:00"),
        ("31/12/2025, 1:05 a.\u00a0m. - Ada: hi", None, "2025-12-31 01:05:00"),
        ("31/12/2025 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("31.12.25, 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("31-12-25 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("31/12/2025 à 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("2025-12-31, 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("25/12/31, 22:30 - Ada: hi", None, "2025-12-31 22:30:00"),
        ("[31.12.25, 22:30:05] Ada: hi", None, "2025-12-31 22:30:05"),
        pytest.param(f"[12/31/25, 10:30:05{NARROW}PM] Ada: hi", None, "2025-12-31 22:30:05", id="iPhone, PM"),
        pytest.param(f"{LRM}[31/12/2025, 22:30:05] Ada: hi", None, "2025-12-31 22:30:05", id="iPhone, LRM"),
        ("[31.12.2025 klo 22.30.05] Ada: hi", None, "2025-12-31 22:30:05"),
        pytest.param("[2025/12/31 下午10:30:05] Ada: hi", None, "2025-12-31 22:30:05", id="Chinese"),
        pytest.param("2025/12/31 午前0:05 - Ada: hi", None, "2025-12-31 00:05:00", id="Japanese"),
        pytest.param("2025. 12. 31. 오전 10:30 - Ada: hi", None, "2025-12-31 10:30:00", id="Korean"),
        pytest.param("۲۰۲۵/۱۲/۳۱،\u200f ۲۲:۳۰ - Ada: hi", None, "2025-12-31 22:30:00", id="Persian"),
        pytest.param(arabic("31\u200f/12\u200f/2025، 10:30 م - Ada: hi"), None, "2025-12-31 22:30:00", id="Arabic"),
        pytest.param(
            arabic("\u200f[31\u200f/12\u200f/2025، 10:30:05 ص] Ada: hi"),
            None,
            "2025-12-31 10:30:05",
            id="Arabic iPhone",
        ),
        ("01/02/26, 22:30 - Ada: hi", "dmy", "2026-02-01 22:30:00"),
        ("01/02/26, 22:30 - Ada: hi", "mdy", "2026-01-02 22:30:00"),
        ("26/01/02, 22:30 - Ada: hi", "ymd", "2026-01-02 22:30:00"),
    ],
)
def test_times_are_parsed(line: str, order: str | None, expected: str) -> None:
    [message] = read(line, order).messages
    assert (str(message.at), message.author, message.body.content) == (f"{expected}+00:00", "Ada", "hi")


def test_date_order_is_detected_from_the_whole_file() -> None:
    early = [("3", "4", "25")] * 1000
    assert date_order([*early, ("13", "4", "25")], TODAY) == "dmy"
    assert date_order([*early, ("3", "14", "25")], TODAY) == "mdy"
    assert date_order([("11", "12", "2026"), ("11", "10", "2026")], TODAY) == "mdy", "11 December is to come"
    assert date_order([("31", "12", "25")], TODAY) == "dmy", "2031 is to come"
    assert date_order([("22", "11", "2026"), ("23", "11", "2026")], TODAY) == "dmy", "a phone may be ahead"


def test_ambiguous_date_order_is_rejected() -> None:
    with pytest.raises(ImporterError, match=r"such as 3/4/25, can be read as dmy or mdy; .*--date-order"):
        read("3/4/25, 22:30 - Ada: a\n5/6/25, 22:30 - Ada: b", None)
    with pytest.raises(ImporterError, match="dmy or mdy or ymd"):
        read("10.11.12, 22:30 - Ada: a", None)


def test_contradicting_dates_are_rejected() -> None:
    with pytest.raises(ImporterError, match=r"No order .* suits all dates .*13/1/25"):
        read("13/1/25, 22:30 - Ada: a\n1/13/25, 22:30 - Ada: b", None)


def test_lines_against_a_given_order_are_counted() -> None:
    chat = read("13/1/25, 22:30 - Ada: a\n1/13/25, 22:30 - Ada: b\nmore\n\n13/1/25, 25:30 - Ada: c\n")
    assert [message.body.content for message in chat.messages] == ["a"]
    assert chat.unreadable == ["line 2: 1/13/25, 22:30 - Ada: b", "line 3: more", "line 5: 13/1/25, 25:30 - Ada: c"]


def test_invalid_12_hour_clock_time_is_counted() -> None:
    assert len(read("13/1/25, 13:30 PM - Ada: a\n13/1/25, 1:30 PM - Ada: b").unreadable) == 1


def test_local_times_are_parsed_in_their_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer, winter = datetime(2025, 7, 1, 12), datetime(2025, 12, 1, 12)
    assert moment(summer, berlin, None) == datetime(2025, 7, 1, 10, tzinfo=UTC)
    assert moment(winter, berlin, None) == datetime(2025, 12, 1, 11, tzinfo=UTC)
    assert moment(winter, None, None) == winter.astimezone(UTC), "None is this machine's zone"


def test_repeated_autumn_hour_keeps_file_order() -> None:
    lines = ["2:10", "2:50", "2:05", "2:50", "3:01", "2:55"]
    chat = parse("\n".join(f"26.10.25, {time} - Ada: x" for time in lines), order="dmy", zone=ZoneInfo("Europe/Berlin"))
    utc = [f"{message.at:%H:%M}" for message in chat.messages]
    assert utc == ["00:10", "00:50", "01:05", "01:50", "02:01", "00:55"], "the last one is out of order"


def test_unknown_zone_is_reported() -> None:
    assert zone_of(None) is None
    for name in ("Mars/Olympus", "../etc/passwd"):
        with pytest.raises(ImporterError, match="is not a time zone"):
            zone_of(name)


# Extent of a message


def test_message_continues_until_the_next_dated_line() -> None:
    text = f"{android('one')}\n\ntwo: 3/4\n\u2028still two\x0b\x85\n{android('three')}\n"
    assert bodies(text) == [("text", "one\n\ntwo: 3/4\n\u2028still two"), ("text", "three")]
    assert bodies(text.replace("\n", "\r\n")) == bodies(text)


def test_pasted_line_of_another_layout_is_text() -> None:
    pasted = "[31.12.25, 22:30:05] Bo: hello"
    assert bodies(android(f"look\n{pasted}")) == [("text", f"look\n{pasted}")]
    assert bodies(iphone("look\n31/12/25, 22:30 - Bo: hello"))[0][1].endswith("Bo: hello")


def test_lines_before_the_first_message_are_counted() -> None:
    chat = read(f"sent from my phone\n\n{android('hi')}")
    assert chat.unreadable == ["line 1: sent from my phone"]
    assert len(chat.messages) == 1


def test_unrelated_file_is_rejected() -> None:
    for text in ("", "Dear Ada,\nhello\n", "12/31/25 dentist - 10:30: call"):
        with pytest.raises(ImporterError, match="No line of the file looks like"):
            read(text)


def test_colon_in_a_message_does_not_start_an_author() -> None:
    assert bodies(android("see: https://example.org:80")) == [("text", "see: https://example.org:80")]


@pytest.mark.parametrize(
    "line",
    [
        "31/12/25, 22:30 - Messages and calls are end-to-end encrypted. Learn more.",
        '31/12/25, 22:30 - Ada changed the subject from "A: b" to "C: d"',
        "31/12/25, 22:30 - Ada hat die Gruppe „Umzug: Haus“ erstellt.",
        '31/12/25, 22:30 - Ada changed the subject from "A" to "B: c"',
        f"31/12/25, 22:30 - {LRM}: hi",
        "31/12/25, 22:30 - Missed voice call",
        f"[31.12.25, 22:30:05] Umzug: {LRM}Du hast Ada hinzugefügt.",
        f"[31.12.25, 22:30:05] Ada: {LRM}Verpasster Sprachanruf. {LRM}Zum Zurückrufen tippen",
    ],
)
def test_notices_are_skipped_and_counted(line: str) -> None:
    chat = read(line)
    assert chat.messages == []
    assert chat.skipped == {"notices": 1}


@pytest.mark.parametrize(
    "said",
    [
        "This message was deleted",
        "You deleted this message",
        "This message was deleted by admin Bo",
        f"{LRM}This message was deleted.",
        f"{LRM}Diese Nachricht wurde gelöscht.",
        "Mensagem apagada",
    ],
)
def test_deleted_messages_are_skipped_and_counted(said: str) -> None:
    assert read(android(said)).skipped == {"deleted messages": 1}
    assert read(iphone(said)).skipped == {"deleted messages": 1}


def test_empty_messages_are_skipped_and_counted() -> None:
    assert read("31/12/25, 22:30 - Ada:").skipped == {"empty messages": 1}
    assert read(f"[31.12.25, 22:30:05] Ada: {LRM}").skipped == {"empty messages": 1}


@pytest.mark.parametrize(
    "said", ["Drop it <This message was edited>", f"Drop it {LRM}<Diese Nachricht wurde bearbeitet.>"]
)
def test_edit_marker_is_not_part_of_the_text(said: str) -> None:
    for line in (android(said), iphone(said)):
        [message] = read(line).messages
        assert message.body.content == "Drop it"
        assert message.body.edited


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        (f"~{NARROW}Tobi", "Tobi"),
        ("~ Tobi", "Tobi"),
        ("\u202a+49\u00a0171\u00a0392\u20110042\u202c", "+49 171 392-0042"),
        pytest.param(f"{LRM}\u2068مریم\u2069", "مریم", id="isolated Persian name"),
        ('Bob "The Builder" Jones', 'Bob "The Builder" Jones'),
    ],
)
def test_names_are_cleaned(written: str, name: str) -> None:
    assert clean_name(written) == name
    assert read(f"31/12/25, 22:30 - {written}: hi").authors == [name]


# Media


@pytest.mark.parametrize(
    ("said", "kind", "content", "file_name"),
    [
        ("IMG-20251231-WA0001.jpg (file attached)", "image", None, "IMG-20251231-WA0001.jpg"),
        (f"{LRM}IMG-20251231-WA0001.jpg (file attached)\nOur\ncat", "image", "Our\ncat", "IMG-20251231-WA0001.jpg"),
        ("STK-20251231-WA0001.webp (Datei angehängt)", "image", None, "STK-20251231-WA0001.webp"),
        ("VID-20251231-WA0001.mp4 (fayl qoşuldu)", "video", None, "VID-20251231-WA0001.mp4"),
        ("PTT-20251231-WA0001.opus (archivo adjunto)", "audio", None, "PTT-20251231-WA0001.opus"),
        ("Frame invoice.pdf (file attached)", "file", None, "Frame invoice.pdf"),
        ("AUD-20190101-WA0000. (file attached)", "file", None, "AUD-20190101-WA0000."),
        (f"{LRM}Bo.vcf (plik dołączony)", "file", None, "Bo.vcf"),
        ("<Media omitted>", "file", None, None),
        ("<رسانه حذف شد>", "file", None, None),
        ("<Medien ausgeschlossen>\nUnsere Katze", "file", "Unsere Katze", None),
        ("<View once voice message omitted>", "file", None, None),
    ],
    ids=[
        "photo",
        "photo with text",
        "German sticker",
        "Azerbaijani video",
        "Spanish voice message",
        "document",
        "audio",
        "Polish contact",
        "omitted",
        "omitted in Persian",
        "omitted in German with text",
        "view once",
    ],
)
def test_android_media_are_recognized(said: str, kind: str, content: str | None, file_name: str | None) -> None:
    [message] = read(android(said)).messages
    assert (message.body.type, message.body.file_name) == (kind, file_name)
    assert message.body.content == (content or file_name or said)


@pytest.mark.parametrize(
    ("said", "kind", "content", "file_name"),
    [
        (f"{LRM}<attached: 00000004-PHOTO-2025-12-31.jpg>", "image", None, "00000004-PHOTO-2025-12-31.jpg"),
        ("<attached: 00000004-AUDIO-2025-12-31.opus>", "audio", None, "00000004-AUDIO-2025-12-31.opus"),
        (f"Our\ncat {LRM}<Anhang: 00000004-cat.mov>", "video", "Our\ncat", "00000004-cat.mov"),
        (f"A.pdf • {LRM}2 Seiten {LRM}<Anhang: 00000004-A.pdf>", "file", f"A.pdf • {LRM}2 Seiten", "00000004-A.pdf"),
        (f"{LRM}<附件\uff1a00000004-PHOTO-2025.jpg>", "image", None, "00000004-PHOTO-2025.jpg"),
        (f"{LRM}image omitted", "image", "image omitted", None),
        (f"{LRM}Bild weggelassen", "image", "Bild weggelassen", None),
        (f"{LRM}sticker omitted", "image", "sticker omitted", None),
        (f"{LRM}GIF omitted", "video", "GIF omitted", None),
        (f"{LRM}vidéo absente", "video", "vidéo absente", None),
        (f"{LRM}áudio ocultado", "audio", "áudio ocultado", None),
        (f"{LRM}لم يتم إدراج الصورة", "image", "لم يتم إدراج الصورة", None),
        (f"{LRM}Contact card omitted", "file", "Contact card omitted", None),
        (f"Our cat {LRM}image omitted", "image", "Our cat", None),
    ],
    ids=[
        "photo", "voice message", "German video with text", "German document", "Chinese photo", "omitted image",
        "omitted German image", "omitted sticker", "omitted GIF", "omitted French video", "omitted Portuguese audio",
        "omitted Arabic image", "omitted contact", "omitted image with text",
    ],
)  # fmt: skip
def test_iphone_media_are_recognized(said: str, kind: str, content: str | None, file_name: str | None) -> None:
    [message] = read(iphone(said)).messages
    assert (message.body.type, message.body.content, message.body.file_name) == (
        kind,
        content or file_name,
        file_name,
    )


def test_iphone_media_in_an_unknown_language_are_files() -> None:
    assert bodies(f"{LRM}{iphone(f'{LRM}görüntü dahil edilmedi')}") == [("file", "görüntü dahil edilmedi")]


@pytest.mark.parametrize(
    "said",
    [
        "report.pdf (draft)",
        "image omitted",
        "<div>",
        '<a href="x y">',
        "mail me <ada: ada@example.org>",
        "I <3 you, you <3 me",
        f"{LRM}ABSTIMMUNG:\nPizza?\n{LRM}OPTION: ja ({LRM}3 Stimmen)",
    ],
)
def test_text_that_resembles_media_stays_text(said: str) -> None:
    for line in (android(said), iphone(said)):
        assert bodies(line) == [("text", said.strip(LRM))]


@pytest.mark.parametrize(
    "said",
    [
        "location: https://maps.google.com/?q=52.3667,4.8945",
        "Standort: https://maps.google.com/?q=-52.3667,-4.8945",
        "Location: Café Central (Herrengasse 14): https://foursquare.com/v/abc",
        "live location shared",
    ],
)
def test_locations_are_parsed(said: str) -> None:
    assert bodies(android(said)) == [("location", said)]
    assert bodies(iphone(f"{LRM}{said}")) == [("location", said)]


# Message ids


@pytest.mark.parametrize(("sample", "order"), [(ANDROID, "mdy"), (IPHONE, "dmy")])
def test_later_export_keeps_the_ids_of_the_earlier_one(sample: Path, order: str) -> None:
    lines = sample.read_bytes().decode().splitlines(keepends=True)
    whole = ids("".join(lines), order)
    assert len(set(whole)) == len(whole)
    for end in range(8, len(lines)):
        earlier = ids("".join(lines[:end]), order)
        # The last message may end in the middle, which a real export never does.
        assert earlier[:-1] == whole[: len(earlier) - 1]


def test_export_that_starts_later_has_the_same_ids() -> None:
    lines = [android(said) for said in ("ok", "two", "three")]
    assert ids("\n".join(lines))[1:] == ids("\n".join(lines[1:]))


def test_equal_messages_of_one_minute_get_distinct_ids() -> None:
    assert [name.rsplit("-")[-1] for name in ids("\n".join([android("ok")] * 3))] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("with_media", "without_media"),
    [
        (android("IMG-20251231-WA0001.jpg (file attached)\nOur cat"), android("<Media omitted>\nOur cat")),
        (android("plan.pdf (file attached)\nplan"), android("<Media omitted>")),
        (iphone(f"cat {LRM}<attached: 00000004-PHOTO-2025.jpg>"), iphone(f"cat {LRM}image omitted")),
        (iphone("hi"), iphone("hi").replace("Ada", "Ada Lovelace")),
        (iphone("hi"), iphone(f"hi {LRM}<This message was edited>")),
    ],
    ids=["Android photo", "Android document", "iPhone photo", "renamed sender", "edited message"],
)
def test_same_message_in_another_layout_has_the_same_id(with_media: str, without_media: str) -> None:
    assert ids(with_media) == ids(without_media)


def test_ids_sort_by_time_and_file_order() -> None:
    chat = read("\n".join(android(said) for said in "dcba") + "\n01/01/26, 00:00 - Ada: e")
    messages = conversation(chat, "Ada", "Bo")["messages"]
    assert "".join(message["content"] for message in sorted(messages, key=lambda one: one["sent_at"])) == "dcbae"
    assert [message["sent_at"] for message in messages][::2] == [
        "2025-12-31T22:30:00.000Z",
        "2025-12-31T22:30:00.002Z",
        "2026-01-01T00:00:00.000Z",
    ]
    assert max(messages, key=lambda one: one["id"])["content"] == "e"


# The conversation


def test_private_chat_is_converted() -> None:
    chat = read(f"{android('hi')}\n{android('hello').replace('Ada', 'Bo')}")
    whole = conversation(chat, "Bo")
    assert [message["direction"] for message in whole.pop("messages")] == ["inbound", "outbound"]
    assert whole == {
        "external_conversation_id": "whatsapp-export:Ada",
        "participant_identifier": "Ada",
        "participant_name": "Ada",
    }
    assert conversation(chat, "Bo", "+15550100")["participant_identifier"] == "+15550100"
    assert conversation(chat, "Bo", external_id="wa-7")["external_conversation_id"] == "wa-7"


def test_group_keeps_the_authors() -> None:
    chat = read("\n".join(android("hi").replace("Ada", name) for name in ("Ada", "Bo", "Cy")))
    with pytest.raises(ImporterError, match=r"This is a group \(Ada, Cy\); give its name with --group"):
        conversation(chat, "Bo")
    whole = conversation(chat, "Bo", group="Trip")
    assert whole["participant_name"] == whole["participant_identifier"] == "Trip"
    assert [message["author"] for message in whole["messages"]] == ["Ada", "Bo", "Cy"]


@pytest.mark.parametrize("me", [None, "Eve", ""])
def test_unknown_self_is_requested(me: str | None) -> None:
    with pytest.raises(ImporterError, match="Say which of these names is yours with --me: Ada"):
        conversation(read(android("hi")), me)


def test_silent_participant_is_requested() -> None:
    with pytest.raises(ImporterError, match="--participant"):
        conversation(read(android("hi")), "Ada")
    assert conversation(read(android("hi")), "Ada", "+15550100")["participant_name"] == "+15550100"


def test_chat_with_only_notices_is_rejected() -> None:
    with pytest.raises(ImporterError, match="no message"):
        conversation(read("31/12/25, 22:30 - Missed voice call"), "Ada")


# The samples, and the script as a whole


def test_android_sample_is_converted() -> None:
    chat = parse(read_text(str(ANDROID)), zone=ZoneInfo("Europe/Amsterdam"), today=TODAY)
    assert chat.authors == ["Maya Okafor", "Northside Cycles"]
    assert (chat.skipped, chat.unreadable) == ({"notices": 2, "deleted messages": 1}, [])
    kinds = [message.body.type for message in chat.messages]
    assert (len(kinds), set(kinds)) == (16, {"text", "image", "audio", "file", "location"})


def test_iphone_sample_is_converted() -> None:
    chat = parse(read_text(str(IPHONE)), zone=ZoneInfo("Europe/Berlin"), today=TODAY)
    assert chat.authors == ["Jonas Wieland", "Ayşe Demir", "+49 171 3920042", "Tobi"]
    assert (chat.skipped, chat.unreadable) == ({"notices": 4, "deleted messages": 1}, [])
    kinds = [message.body.type for message in chat.messages]
    assert (len(kinds), set(kinds)) == (12, {"text", "image", "audio", "video", "file", "location"})
    assert IPHONE.read_bytes().count(b"\r\n") == 17, "an iPhone ends its lines with CR LF"


def test_script_sends_a_chat(endpoint, capsys) -> None:
    options = ["--me", "Northside Cycles", "--participant", "+15550142", "--timezone", "Europe/Amsterdam"]
    to = ["--connection", "wa_1", "--key", "secret", "--url", endpoint.url]
    assert main([str(ANDROID), *options, *to]) == 0
    [sent] = endpoint.bodies
    assert (sent["platform"], sent["connection_id"]) == ("whatsapp", "wa_1")
    [whole] = sent["conversations"]
    assert whole["participant_identifier"] == "+15550142"
    assert whole["messages"][0] == {
        "id": "20251228T081400Z-9e6ea978bc36-1",
        "direction": "inbound",
        "type": "text",
        "content": "Hi! Do you still service old steel frames?",
        "sent_at": "2025-12-28T08:14:00.000Z",
    }
    assert "Maya Okafor: created, 16 messages added" in capsys.readouterr().out


def test_dry_run_shows_what_the_script_would_send(endpoint, capsys) -> None:
    options = ["--me", "Jonas Wieland", "--group", "Umzug", "--timezone", "Europe/Berlin"]
    assert main([str(IPHONE), *options, "--dry-run", "--url", endpoint.url]) == 0
    assert endpoint.requests == []
    assert capsys.readouterr().out == (
        "Time zone: Europe/Berlin; --timezone changes it.\n"
        "Umzug: 12 messages, 2025-12-30T17:04:40.000Z to 2025-12-31T23:00:00.000Z\n"
        "Left out: 1 deleted messages, 4 notices\n"
        "Could not be read: 0\n"
        "Nothing was sent (--dry-run).\n"
    )


def test_script_reports_the_local_time_zone(capsys) -> None:
    main([str(ANDROID), "--me", "Northside Cycles", "--dry-run"])
    assert capsys.readouterr().out.startswith("Time zone: of this machine (")
