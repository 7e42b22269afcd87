"""How WhatsApp has written dates and times, by language and phone. All chats are invented."""

from pathlib import Path

import pytest

from tests.importer.reading import lines, read, refusal, shop

LRM, RLM, NNBSP, NBSP, THIN = "\u200e", "\u200f", "\u202f", "\u00a0", "\u2009"
EVENING = "2024-03-18 21:05:00"
SECONDS = "2024-03-18 21:05:09"

# name: first line up to the author, second line (another day), the first line's time
LAYOUTS = {
    "android en_GB": ("18/03/2024, 21:05 - ", "19/03/2024, 08:00 - ", EVENING),
    "android en_US": ("3/18/24, 9:05 PM - ", "3/19/24, 8:00 AM - ", EVENING),
    "android en_US with thin space": (f"3/18/24, 9:05{NNBSP}PM - ", f"3/19/24, 8:00{NNBSP}AM - ", EVENING),
    "android en_IN": ("18/03/24, 9:05 pm - ", "19/03/24, 8:00 am - ", EVENING),
    "android en_CA": ("2024-03-18, 9:05 p.m. - ", "2024-03-19, 8:00 a.m. - ", EVENING),
    "android en_ZA": ("2024/03/18, 21:05 - ", "2024/03/19, 08:00 - ", EVENING),
    "android de": ("18.03.24, 21:05 - ", "19.03.24, 08:00 - ", EVENING),
    "android de before 2018": ("18.03.24, 21:05 Uhr - ", "19.03.24, 08:00 Uhr - ", EVENING),
    "android fr": ("18/03/2024, 21:05 - ", "19/03/2024, 08:00 - ", EVENING),
    "android fr with a word": ("18/03/2024 à 21:05 - ", "19/03/2024 à 08:00 - ", EVENING),
    "android fr_CH": ("18.03.24 à 21:05 - ", "19.03.24 à 08:00 - ", EVENING),
    "android es": ("18/3/24, 21:05 - ", "19/3/24, 8:00 - ", EVENING),
    "android es_MX": (f"18/03/24 9:05{NBSP}p.{NBSP}m. - ", f"19/03/24 8:00{NBSP}a.{NBSP}m. - ", EVENING),
    "android es_CO": ("18/03/2024 9:05 p. m. - ", "19/03/2024 8:00 a. m. - ", EVENING),
    "android pt_BR": ("18/03/2024 21:05 - ", "19/03/2024 08:00 - ", EVENING),
    "android pt_PT": ("18/03/24, 21:05 - ", "19/03/24, 08:00 - ", EVENING),
    "android it": ("18/03/24, 21:05 - ", "19/03/24, 08:00 - ", EVENING),
    "android it_CH": ("18.03.24, 21:05 - ", "19.03.24, 08:00 - ", EVENING),
    "android nl": ("18-03-2024 21:05 - ", "19-03-2024 08:00 - ", EVENING),
    "android da": ("18.03.2024 21.05 - ", "19.03.2024 08.00 - ", EVENING),
    "android sv": ("2024-03-18 21:05 - ", "2024-03-19 08:00 - ", EVENING),
    "android sv 12 hours": ("2024-03-18 9:05 em - ", "2024-03-19 8:00 fm - ", EVENING),
    "android nb": ("18.03.2024, 21:05 - ", "19.03.2024, 08:00 - ", EVENING),
    "android fi": ("18.3.2024 klo 21.05 - ", "19.3.2024 klo 8.00 - ", EVENING),
    "android pl": ("18.03.2024, 21:05 - ", "19.03.2024, 08:00 - ", EVENING),
    "android cs": ("18.03.24 21:05 - ", "19.03.24 8:00 - ", EVENING),
    "android sk": ("18. 3. 2024 21:05 - ", "19. 3. 2024 8:00 - ", EVENING),
    "android sl": ("18. 03. 24 21:05 - ", "19. 03. 24 08:00 - ", EVENING),
    "android hr": ("18. 03. 2024. 21:05 - ", "19. 03. 2024. 08:00 - ", EVENING),
    "android hu": ("2024. 03. 18. 21:05 - ", "2024. 03. 19. 8:00 - ", EVENING),
    "android bg": ("18.03.24 г., 21:05 ч. - ", "19.03.24 г., 8:00 ч. - ", EVENING),
    "android ru": ("18.03.2024, 21:05 - ", "19.03.2024, 08:00 - ", EVENING),
    "android ru with a word": ("18.03.2024 в 21:05 - ", "19.03.2024 в 08:00 - ", EVENING),
    "android el": ("18/3/24, 9:05 μ.μ. - ", "19/3/24, 8:00 π.μ. - ", EVENING),
    "android tr": ("18.03.2024 21:05 - ", "19.03.2024 08:00 - ", EVENING),
    "android ar": (f"18{RLM}/3{RLM}/2024، 9:05 م - ", f"19{RLM}/3{RLM}/2024، 8:00 ص - ", EVENING),
    "android ar_EG": (f"١٨{RLM}/٣{RLM}/٢٠٢٤، ٩:٠٥ م - ", f"١٩{RLM}/٣{RLM}/٢٠٢٤، ٨:٠٠ ص - ", EVENING),
    "android fa": ("۱۴۰۲/۱۲/۲۸،\u200f ۲۱:۰۵ - ", "۱۴۰۲/۱۲/۲۹،\u200f ۸:۰۰ - ", EVENING),
    "android he": ("18.3.2024, 21:05 - ", "19.3.2024, 8:00 - ", EVENING),
    "android hi": ("18/03/24, 9:05 pm - ", "19/03/24, 8:00 am - ", EVENING),
    "android mr": ("१८/०३/२४, ९:०५ PM - ", "१९/०३/२४, ८:०० AM - ", EVENING),
    "android bn": ("১৮/৩/২৪, ৯:০৫ PM - ", "১৯/৩/২৪, ৮:০০ AM - ", EVENING),
    "android ta": ("18/3/24, பிற்பகல் 9:05 - ", "19/3/24, முற்பகல் 8:00 - ", EVENING),
    "android th": ("18/3/2567 21:05 - ", "19/3/2567 08:00 - ", EVENING),
    "android id": ("18/03/24 21.05 - ", "19/03/24 08.00 - ", EVENING),
    "android ms": ("18/03/2024, 9:05 PTG - ", "19/03/2024, 8:00 PG - ", EVENING),
    "android vi": ("21:05, 18/03/2024 - ", "08:00, 19/03/2024 - ", EVENING),
    "android vi 12 hours": ("9:05 CH, 18/03/2024 - ", "8:00 SA, 19/03/2024 - ", EVENING),
    "android zh_CN": ("2024/3/18 晚上9:05 - ", "2024/3/19 上午8:00 - ", EVENING),
    "android zh_TW": ("2024/3/18 下午9:05 - ", "2024/3/19 上午8:00 - ", EVENING),
    "android zh with words": ("2024年3月18日 21:05 - ", "2024年3月19日 08:00 - ", EVENING),
    "android ja": ("2024/03/18 21:05 - ", "2024/03/19 8:00 - ", EVENING),
    "android ko": ("2024. 3. 18. 오후 9:05 - ", "2024. 3. 19. 오전 8:00 - ", EVENING),
    "android ko with words": ("2024년 3월 18일 오후 9:05 - ", "2024년 3월 19일 오전 8:00 - ", EVENING),
    "iphone en_GB": ("[18/03/2024, 21:05:09] ", "[19/03/2024, 08:00:00] ", SECONDS),
    "iphone en_US": (f"[3/18/24, 9:05:09{NNBSP}PM] ", f"[3/19/24, 8:00:00{NNBSP}AM] ", SECONDS),
    "iphone en_US marked": (f"{LRM}[3/18/24, 9:05:09 PM] ", "[3/19/24, 8:00:00 AM] ", SECONDS),
    "iphone de": ("[18.03.24, 21:05:09] ", "[19.03.24, 08:00:00] ", SECONDS),
    "iphone fr": ("[18/03/2024 21:05:09] ", "[19/03/2024 08:00:00] ", SECONDS),
    "iphone es_MX": ("[18/03/24, 9:05:09 p.m.] ", "[19/03/24, 8:00:00 a.m.] ", SECONDS),
    "iphone da": ("[18.03.2024 kl. 21.05.09] ", "[19.03.2024 kl. 08.00.00] ", SECONDS),
    "iphone fi": ("[18.3.2024 klo 21.05.09] ", "[19.3.2024 klo 8.00.00] ", SECONDS),
    "iphone sv": ("[2024-03-18, 21:05:09] ", "[2024-03-19, 08:00:00] ", SECONDS),
    "iphone ar": (f"[١٨{RLM}/٣{RLM}/٢٠٢٤، ٩:٠٥:٠٩ م] ", f"[١٩{RLM}/٣{RLM}/٢٠٢٤، ٨:٠٠:٠٠ ص] ", SECONDS),
    "iphone zh_TW": (f"[2024/3/18{THIN}下午9:05:09] ", f"[2024/3/19{THIN}上午8:00:00] ", SECONDS),
    "iphone ja": ("[2024/03/18 21:05:09] ", "[2024/03/19 8:00:00] ", SECONDS),
    "iphone Japanese calendar": ("[R6/3/18 21:05:09] ", "[R6/3/19 8:00:00] ", SECONDS),
    "iphone Japanese calendar en_US": ("[3/18/R6, 21:05:09] ", "[3/19/R6, 8:00:00] ", SECONDS),
    "android before 2014": ("21:05, 18 Mar 2024 - ", "08:00, 19 March 2024 - ", EVENING),
    "iphone Buddhist calendar": ("[18/3/2567 BE, 21:05:09] ", "[19/3/2567 BE, 08:00:00] ", SECONDS),
    "iphone Minguo calendar": ("[民國113/3/18 下午9:05:09] ", "[民國113/3/19 上午8:00:00] ", SECONDS),
    "iphone vi": ("[21:05:09, 18/3/24] ", "[08:00:00, 19/3/24] ", SECONDS),
    "iphone before 2016": ("18/03/24 21:05:09: ", "19/03/24 08:00:00: ", SECONDS),
    "iphone before 2016 12 hours": ("3/18/24, 9:05:09 PM: ", "3/19/24, 8:00:00 AM: ", SECONDS),
    "web copy": ("[21:05, 18/03/2024] ", "[08:00, 19/03/2024] ", EVENING),
    "web copy 12 hours": ("[9:05 PM, 3/18/2024] ", "[8:00 AM, 3/19/2024] ", EVENING),
    "day between year and month": ("2024-18-03, 21:05 - ", "2024-19-03, 08:00 - ", EVENING),
    "long dash": ("18/03/2024, 21:05 – ", "19/03/2024, 08:00 – ", EVENING),
}


def write(folder: Path, text: str) -> Path:
    file = folder / "chat.txt"
    file.write_text(text, encoding="utf-8", newline="")
    return file


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_read(tmp_path: Path, name: str) -> None:
    first, second, at = LAYOUTS[name]
    file = write(tmp_path, f"{first}Ada: Is it ready?\nThanks\n{second}Shop: Yes: at ten\n")
    others, [conversation] = read(file, shop())
    assert others == []
    assert lines(conversation) == [
        f"{at} < text: Is it ready? / Thanks",
        "2024-03-19 08:00:00 > text: Yes: at ten",
    ]


def test_windows_line_ends_are_no_part_of_a_text(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeff18/03/2024, 21:05 - Ada: one\r\ntwo\r\n19/03/2024, 08:00 - Shop: three\r\n")
    assert lines(read(file, shop())[1][0])[0].endswith("one / two")


def test_line_separator_in_a_message_stays(tmp_path: Path) -> None:
    file = write(tmp_path, "18/03/2024, 21:05 - Ada: one\u2028two\n19/03/2024, 08:00 - Shop: ok\n")
    assert read(file, shop())[1][0].entries[0].text == "one\u2028two"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "chat.txt"
    file.write_bytes("\ufeff18/03/2024, 21:05 - Ada: hé\n19/03/2024, 08:00 - Shop: ok\n".encode(encoding))
    assert lines(read(file, shop())[1][0])[0] == f"{EVENING} < text: hé"


def test_pasted_chat_in_another_layout_stays_text(tmp_path: Path) -> None:
    text = "18/03/2024, 21:05 - Ada: look\n[1/2/24, 10:00:00] Bo: hi\n19/03/2024, 08:00 - Shop: ok\n"
    assert lines(read(write(tmp_path, text), shop())[1][0])[0].endswith("look / [1/2/24, 10:00:00] Bo: hi")


@pytest.mark.parametrize(
    "start",
    [
        "[21:05, 18/03/2024]",
        "[18/03/2024, 21:05:09]",
        "[18/03/2024, 9:05 PM]",
        "18/03/2024, 21:05 -",
        "[18-03-2024, 21:05]",
    ],
    ids=range(5),
)
def test_one_line_in_another_layout_is_pasted(tmp_path: Path, start: str) -> None:
    said = "".join(f"[{day}/03/2024, 21:05] Ada: hi\n" for day in range(13, 25))
    _, [found] = read(write(tmp_path, f"{said}{start} Bo: yes\n[25/03/2024, 08:00] Shop: ok\n"), shop())
    assert lines(found)[11] == f"2024-03-24 21:05:00 < text: hi / {start} Bo: yes"


def test_most_usual_layout_is_that_of_the_file(tmp_path: Path) -> None:
    said = "[1/2/24, 10:00:00] Bo: hi\n18/03/2024, 21:05 - Ada: hi\n19/03/2024, 08:00 - Shop: ok\n"
    found = lines(read(write(tmp_path, said), shop())[1][0])
    assert found == ["? line 1", f"{EVENING} < text: hi", "2024-03-19 08:00:00 > text: ok"]


def test_both_clocks_of_one_phone_are_read(tmp_path: Path) -> None:
    said = "".join(f"{day}/03/24, 9:05 PM - Ada: hi\n{day}/03/24, 22:05:09 - Shop: ho\n" for day in range(13, 20))
    found = lines(read(write(tmp_path, said), shop())[1][0])
    assert (len(found), found[1]) == (14, "2024-03-13 22:05:09 > text: ho")


def test_both_clocks_of_one_phone_tell_dates_and_names(tmp_path: Path) -> None:
    said = "".join(f"{day:02}/03/24, 9:05 PM - Shop: hi\n" for day in range(1, 6))
    said += "13/03/24, 22:05 - Ada: ho\n14/03/24, 22:05 - Ada:ho\n"
    found = lines(read(write(tmp_path, said), shop())[1][0])
    assert (found[0], found[-1]) == ("2024-03-01 21:05:00 > text: hi", "2024-03-14 22:05:00 < text: ho")


def test_colon_in_a_first_message_is_no_part_of_the_name(tmp_path: Path) -> None:
    said = "".join(
        f"{day}/03/2024, 21:05 - Ada: {text}\n" for day, text in ((13, "note: milk"), (14, "hi"), (15, "ho"))
    )
    [found] = read(write(tmp_path, f"{said}16/03/2024, 08:00 - Shop: ok\n"), shop())[1]
    assert (found.name, found.entries[0].text) == ("Ada", "note: milk")


def test_name_is_what_both_clocks_of_a_phone_show(tmp_path: Path) -> None:
    said = "".join(f"{day}/03/24, 22:05 - Ada: hi\n" for day in range(13, 20)) + "19/03/24, 22:06 - Shop: ho\n"
    said += "20/03/24, 9:05 PM - Ada: note: milk\n"
    assert lines(read(write(tmp_path, said), shop())[1][0])[-1] == "2024-03-20 21:05:00 < text: note: milk"


def test_polls_of_one_sender_are_no_part_of_the_name(tmp_path: Path) -> None:
    said = "".join(f"{day}/03/2024, 21:05 - Ada: POLL:\nWhen?\nten\none\n" for day in range(13, 17))
    [chat] = read(write(tmp_path, f"{said}19/03/2024, 08:00 - Shop: ho\n"), shop())[1]
    assert {line.split(": ", 1)[1] for line in lines(chat)} == {"POLL: / When? / ten / one", "ho"}


def test_month_in_another_language_is_listed(tmp_path: Path) -> None:
    text = "".join(f"21:05, {day} Mar 2014 - Ada: hi\n" for day in range(1, 29))
    file = write(tmp_path, f"{text}08:00, 2 Paź 2014 - Shop: ok\n")
    assert lines(read(file, shop())[1][0])[-1] == "? line 29"


def test_day_stands_before_the_name_of_its_month(tmp_path: Path) -> None:
    file = write(tmp_path, "21:05, 5 Mar 2014 - Ada: hi\n08:00, 6 Mar 2014 - Shop: ok\n")
    assert lines(read(file, shop())[1][0])[0] == "2014-03-05 21:05:00 < text: hi"


def test_dates_without_a_year_are_refused_by_name(tmp_path: Path) -> None:
    for written in ("18 Mar 21:05 - ", "Mar 18, 9:05 PM - "):
        assert "Its dates have no year" in refusal(write(tmp_path, f"{written}Ada: hi\n"), shop())


def test_few_wrong_dates_do_not_hide_the_order(tmp_path: Path) -> None:
    said = "".join(f"21/03/20, 10:{minute:02} - Ada: hi\n" for minute in range(40))
    file = write(tmp_path, f"{said}21/03/39, 10:50 - Ada: from the future\n21/03/20, 11:00 - Shop: ok\n")
    assert [line for line in lines(read(file, shop())[1][0]) if line[0] == "?"] == ["? line 41"]


def test_name_with_a_colon_is_one_name(tmp_path: Path) -> None:
    said = "".join(f"{day}/03/2024, 21:05 - Dr: Ada: number {day}\n" for day in (18, 19, 20))
    _, [conversation] = read(write(tmp_path, f"{said}21/03/2024, 08:00 - Shop: ok\n"), shop())
    assert (conversation.name, lines(conversation)[0]) == ("Dr: Ada", f"{EVENING} < text: number 18")


@pytest.mark.parametrize(
    "said",
    [
        f"{LRM}<attached: 0000000{{}}-PHOTO.jpg>",
        "<attached: 0000000{}-PHOTO.jpg>",
        "Location: https://maps.google.com/?q=1,{}",
    ],
)
def test_label_of_whatsapp_is_no_part_of_a_name(tmp_path: Path, said: str) -> None:
    text = "".join(f"[{day}/03/2024, 21:05:00] Ada: {said.format(day)}\n" for day in (18, 19, 20))
    _, [conversation] = read(write(tmp_path, f"{text}[21/03/2024, 08:00:00] Shop: ok\n"), shop())
    assert conversation.name == "Ada"


def test_colon_in_a_quoted_subject_is_no_name(tmp_path: Path) -> None:
    text = '18/03/2024, 21:05 - Ada changed the subject to "Trip: Rome"\n19/03/2024, 08:00 - Shop: ok\n'
    assert lines(read(write(tmp_path, text), shop(group="Trip"))[1][0])[0] == "- notices"


def test_ambiguous_dates_are_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "01/02/2024, 21:05 - Ada: hi\n02/02/2024, 08:00 - Shop: ok\n")
    assert refusal(file, shop()) == (
        "All dates of the file, such as 01/02/2024, can be read as dmy or mdy. Say which it is with --date-order."
    )
    assert lines(read(file, shop(date_order="dmy"))[1][0])[0].startswith("2024-02-01")
    assert lines(read(file, shop(date_order="mdy"))[1][0])[0].startswith("2024-01-02")


def test_order_in_which_the_file_is_sorted_is_taken(tmp_path: Path) -> None:
    days = ["05/01", "09/01", "03/02", "08/02", "02/03", "07/03", "01/04", "06/04"]
    said = "".join(f"{day}/2024, 10:00 - {'Ada' if place % 2 else 'Shop'}: hi\n" for place, day in enumerate(days))
    assert lines(read(write(tmp_path, said), shop())[1][0])[-1].startswith("2024-04-06")


def test_date_in_the_future_is_not_understood(tmp_path: Path) -> None:
    said = "".join(f"{day}/03/2024, 10:00 - Ada: hi\n" for day in range(1, 29))
    file = write(tmp_path, f"{said}18/03/2062, 10:00 - Ada: from the future\n28/03/2024, 11:00 - Shop: ok\n")
    assert [line for line in lines(read(file, shop())[1][0]) if line.startswith("?")] == ["? line 29"]


def test_lines_before_the_first_message_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path, "Exported by hand\n \n18/03/2024, 21:05 - Ada: hi\n19/03/2024, 08:00 - Shop: ok\n")
    assert lines(read(file, shop())[1][0])[:2] == ["? line 1", f"{EVENING} < text: hi"]


def test_repeated_hour_in_autumn_goes_forward(tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    # The last one came late, from before the clock was set back.
    clock = {"02:50": "00:50", "02:51": "00:51", "02:10": "01:10", "03:30": "02:30", "02:20": "00:20"}
    text = "".join(f"27/10/2024, {wall} - {name}: hi\n" for wall in clock for name in ("Ada", "Shop"))
    _, [conversation] = read(write(tmp_path, text), shop(zone=ZoneInfo("Europe/Amsterdam"), date_order="dmy"))
    assert [line[:16] for line in lines(conversation)] == [f"2024-10-27 {at}" for at in clock.values() for _ in "12"]


def test_equal_messages_of_one_minute_stay_apart(tmp_path: Path) -> None:
    file = write(tmp_path, "18/03/2024, 21:05 - Ada: hi\n" * 3 + "19/03/2024, 08:00 - Shop: ok\n")
    entries = read(file, shop())[1][0].entries[:3]
    assert len({entry.id for entry in entries}) == 3
    assert [entry.at.microsecond for entry in entries] == [0, 1000, 2000]


def test_missing_number_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "18/03/2024, 21:05 - Ada: hi\n19/03/2024, 08:00 - Shop: ok\n")
    assert '--participant "Ada=' in refusal(file, shop(participants={}))
    assert "country code" in refusal(file, shop(participants={"Ada": "06 12345678"}))


def test_name_of_the_user_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "18/03/2024, 21:05 - Ada: hi\n19/03/2024, 08:00 - Shop: ok\n")
    assert len(read(file, shop(me=f" ~{NNBSP}Shop"))[1]) == 1
    assert refusal(file, shop(me="Shoop")) == "Say which of these names is yours with --me: Ada, Shop."


@pytest.mark.parametrize("names", [["Ada", "Bo", "Shop"], ["Ada"], ["Jo Ada", "Ada"]], ids=range(3))
def test_file_named_after_one_of_several_tells_nothing(tmp_path: Path, names: list[str]) -> None:
    file = tmp_path / f"WhatsApp Chat with {names[0]}.txt"
    file.write_text("".join(f"{day}/03/2024, 21:05 - {name}: hi\n" for day, name in enumerate(names, 18)))
    assert refusal(file, shop(me=None)).startswith("Say which of these names is yours")


def test_file_named_after_the_other_side_tells_the_user(tmp_path: Path) -> None:
    file = tmp_path / "WhatsApp Chat with Ada.txt"
    file.write_text("18/03/2024, 21:05 - Ada: hi\n19/03/2024, 08:00 - Shop: ok\n")
    assert [line[20:21] for line in lines(read(file, shop(me=None))[1][0])] == ["<", ">"]
    assert refusal(file, shop(me="Shoop")).startswith("Say which of these names is yours")
