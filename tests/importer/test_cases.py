"""Small files of the field study, each with what is right, written by hand."""

import pytest

from tests.importer.reading import CASES, UTC, lines, read, refusal, shop

RIGHT = {
    "wa_01_ios_arabic_rlm": [
        "- notices",
        "2024-03-27 21:41:35 < text: مرحبا",
        "2024-03-27 21:41:55 < image:",
        "- deleted messages",
        "- deleted messages",
    ],
    "wa_02_old_iphone": [
        "2015-06-13 10:59:59 < audio:",
        "2015-06-13 17:56:34 < text: Text me when you can",
        "2015-06-14 18:55:51 > text: Sure",
    ],
    "wa_04_time_first": [
        "- notices",
        "2024-03-27 21:41:35 < text: xin chào",
        "2024-03-27 21:41:55 > text: hello",
    ],
    "wa_05_web_copy": ["2024-05-15 00:29:00 < text: Hello", "2024-05-16 00:30:00 > text: So nice you are here"],
    "wa_06_thin_space_zh": ["2024-10-30 15:50:46 < text: 你好", "2024-10-31 15:51:02 > text: 你好！"],
    "wa_07_android_placeholders": [
        "- media without a name",
        "- calls",
        "- calls",
        "- messages that the phone was waiting for",
        "2024-03-14 10:04:00 > text: hello",
    ],
    "wa_08_android_deleted_cs": ["- deleted messages", "- deleted messages", "2024-03-28 13:46:00 < text: ahoj"],
    "wa_09_ios_media_ja": [
        "2024-03-27 21:41:55 < image:",
        "2024-03-27 21:44:47 < audio:",
        "2024-03-28 21:50:09 < file: plan.pdf",
        "2024-03-28 21:51:00 > text: ok",
    ],
    "wa_10_ios_person_lrm": [
        "2024-03-30 10:00:00 < text: How about Saturday?",
        "2024-03-30 10:00:30 < text: +49 171 3920042 is my number",
        "2024-03-31 10:01:00 > text: fine",
    ],
    "wa_11_locations": [
        "2024-03-30 10:00:00 < location: Location: https://maps.google.ru/?q=55.75,37.61",
        "2024-03-31 10:01:00 > text: ok",
    ],
    "wa_12_android_place": [
        "2024-03-13 21:46:00 < location: Café Central / Herrengasse 14, Wien / https://foursquare.com/v/4b0588",
        "2024-03-14 10:01:00 > text: ok",
    ],
    "wa_13_words_for_pm": ["2024-02-14 15:45:00 < text: hai", "2024-02-15 09:05:00 > text: ok"],
    "wa_14_words_for_pm_el": ["2024-02-14 15:45:00 < text: γεια", "2024-02-15 09:05:00 > text: ok"],
    "wa_15_no_space_after_colon": ["2024-07-19 02:28:09 < text: Hey", "2024-07-19 02:28:37 > text: Hi"],
    "wa_16_bom_in_the_middle": ["2024-01-29 12:24:00 < text: hi", "2024-01-29 12:26:00 > text: hello"],
    "wa_17_buddhist_era": ["2024-03-18 14:56:01 < text: hello", "2024-03-19 14:57:01 > text: hi"],
    "wa_18_thai_years": ["2024-03-27 14:56:00 < text: hello", "2024-03-28 14:57:00 > text: hi"],
    "wa_19_jalali": ["2024-03-24 14:56:00 < text: salam", "2024-04-08 14:57:00 > text: hi"],
}


@pytest.mark.parametrize("name", RIGHT)
def test_whatsapp_case_is_read_right(name: str) -> None:
    others, [conversation] = read(CASES / f"{name}.txt", shop())
    assert others == []
    assert lines(conversation) == RIGHT[name]


def test_old_iphone_group_is_read_with_its_name() -> None:
    file = CASES / "wa_03_old_iphone_12h.txt"
    assert "This is a group" in refusal(file, shop())
    _, [conversation] = read(file, shop(group="Team"))
    assert lines(conversation) == [
        "- notices",
        "2016-07-21 17:13:36 < text: Here is the plan",
        "2016-07-22 17:18:44 > text: Perfect",
    ]


def test_quiet_group_is_refused_without_its_name() -> None:
    file = CASES / "wa_20_quiet_group.txt"
    assert refusal(file, shop()) == "This is a group (Bo, Our Group). Give its name with --group."
    _, [conversation] = read(file, shop(group="Our Group"))
    assert [line[:1] for line in lines(conversation)] == ["-", "-", "2", "2"]
    assert [entry.author for entry in conversation.entries[2:]] == ["Bo", "Shop"]


def test_two_customers_of_one_name_get_two_threads() -> None:
    found = [
        read(CASES / f"wa_two_johns_{name}.txt", shop(participants={None: number}))[1][0]
        for name, number in [("a", "+1 555 201 0001"), ("b", "+1 555 201 0002")]
    ]
    assert [conversation.id for conversation in found] == [
        "whatsapp-export:15552010001",
        "whatsapp-export:15552010002",
    ]


def test_renamed_contact_stays_in_one_thread() -> None:
    options = shop(participants={None: "+1 555 201 0003"})
    [before], [after] = (read(CASES / f"wa_renamed_{number}.txt", options)[1] for number in (1, 2))
    assert before.id == after.id == "whatsapp-export:15552010003"
    ids = [{entry.id for entry in conversation.entries} for conversation in (before, after)]
    assert (len(ids[0]), len(ids[0] | ids[1])) == (2, 3)


def test_number_that_the_file_contradicts_is_refused() -> None:
    reason = refusal(CASES / "wa_renamed_1.txt", shop(participants={None: "+1 555 201 0009"}))
    assert reason == "The file is the chat with +1 555 201 0003, not with +1 555 201 0009. Correct --participant."


@pytest.mark.parametrize("name", ["wa_18_thai_years", "wa_19_jalali"])
def test_implausible_date_order_is_refused(name: str) -> None:
    order = "mdy" if name == "wa_18_thai_years" else "dmy"
    assert "are no days from 2009 to today" in refusal(CASES / f"{name}.txt", shop(date_order=order))


def test_old_telegram_export_needs_a_zone() -> None:
    file = CASES / "tg_old_export.json"
    assert "--timezone" in refusal(file, shop(me=None, zone=None))
    _, [conversation] = read(file, shop(me=None, zone=UTC))
    assert lines(conversation) == [
        "2020-03-01 09:30:00 < text: Is the bike ready?",
        "2020-03-01 09:31:10 > text: Tomorrow at ten.",
    ]
    assert not any(entry.details.get("edited") for entry in conversation.entries)


def test_misspelt_name_in_a_telegram_group_is_refused() -> None:
    file = CASES / "tg_group_me.json"
    assert "Maya wrote nothing in this group" in refusal(file, shop(me="Maya"))
    _, [conversation] = read(file, shop(me="Maya Okafor"))
    assert [entry.is_mine for entry in conversation.entries] == [False, True]


def test_photo_without_its_file_is_the_same_message() -> None:
    [first], [second] = (read(CASES / f"tg_photo_export_{number}.json", shop(me=None))[1] for number in (1, 2))
    assert first.entries == second.entries
    assert lines(first)[0] == "2024-02-15 09:00:00 < image:"  # date_unixtime; "date" is local
