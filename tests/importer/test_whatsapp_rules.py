"""The rules behind the reader of WhatsApp: dates, hours, names, labels and ids. All chats are invented."""

from datetime import date
from pathlib import Path

import pytest
from threadline_import.model import Unreadable
from threadline_import.sources import Source
from threadline_import.whatsapp import WhatsApp
from threadline_import.whatsapp.calendars import is_plausible, persian, read_day
from threadline_import.whatsapp.header import find_header, flatten, plain_word
from threadline_import.whatsapp.kinds import interpret, is_group_notice, is_notice
from threadline_import.whatsapp.scan import clean_name, scan, split_author
from threadline_import.whatsapp.words import any_noun, is_sentence, media_noun, plain

from tests.importer.reading import NUMBER, fields, lines, read, refusal, refused, shop

M = "\u200e"


def header(text: str) -> tuple | None:
    found = find_header(text)
    return found and (found.date, found.era, found.hour, found.minute, found.second, text[found.rest :])


HEADERS = [
    ("18/03/2024, 21:05 - Ada", (("18", "03", "2024"), "", 21, 5, 0, "Ada")),
    ("18/03/2024, 21:05 -   Ada", (("18", "03", "2024"), "", 21, 5, 0, " Ada")),
    ("[18/03/2024, 21:05:09]\u00a0Ada", (("18", "03", "2024"), "", 21, 5, 9, "Ada")),
    ("[18/03/2024, 21:05:09]Ada", (("18", "03", "2024"), "", 21, 5, 9, "Ada")),
    ("18/03.2024, 21:05 - Ada", None),
    ("18-03.2024, 21:05 - Ada", None),
    ("18.03-2024, 21:05 - Ada", None),
    ("18/03/2024, 21:05 someday - Ada", None),
    ("18/03/2024, 12:05 am - Ada", (("18", "03", "2024"), "", 0, 5, 0, "Ada")),
    ("18/03/2024, 12:05 pm - Ada", (("18", "03", "2024"), "", 12, 5, 0, "Ada")),
    ("18/03/2024, 13:05 AM - Ada", (("18", "03", "2024"), "", 13, 5, 0, "Ada")),
    ("18/03/2024, 14:05 PM - Ada", (("18", "03", "2024"), "", 14, 5, 0, "Ada")),
    ("18/03/2024, 14:05 AM - Ada", (("18", "03", "2024"), "", 14, 5, 0, "Ada")),
    ("18/03/2024, 23:59 - Ada", (("18", "03", "2024"), "", 23, 59, 0, "Ada")),
    ("18/03/2024, 24:00 - Ada", (("18", "03", "2024"), "", -1, 0, 0, "Ada")),
    ("2024/3/18 晚上6:05 - Ada", (("2024", "3", "18"), "", 18, 5, 0, "Ada")),
    ("2024/3/18 晚上3:05 - Ada", (("2024", "3", "18"), "", -1, 5, 0, "Ada")),
    ("2024/3/18 晚上1:05 - Ada", (("2024", "3", "18"), "", 1, 5, 0, "Ada")),
    ("2024/3/18 中午3:05 - Ada", (("2024", "3", "18"), "", -1, 5, 0, "Ada")),
    ("2024/3/18 中午2:05 - Ada", (("2024", "3", "18"), "", 14, 5, 0, "Ada")),
    ("[18/3/2567 พ.ศ., 21:05:09] Ada", (("18", "3", "2567"), "buddhist", 21, 5, 9, "Ada")),
    ("[28/12/1402 شمسی, 21:05:09] Ada", (("28", "12", "1402"), "persian", 21, 5, 9, "Ada")),
    ("[8/9/1445 AH, 21:05:09] Ada", (("8", "9", "1445"), "islamic", 21, 5, 9, "Ada")),
    (f"[18/3/2567 BE{M}เวลา 21:05:09] Ada", (("18", "3", "2567"), "buddhist", 21, 5, 9, "Ada")),
    ("[18/3/2567 BE p. m. 9:05:09] Ada", (("18", "3", "2567"), "buddhist", 21, 5, 9, "Ada")),
    ("[18/3/2567 BE à PM 9:05:09] Ada", (("18", "3", "2567"), "buddhist", 21, 5, 9, "Ada")),
    ("18/03/2024, 12:05 midnight - Ada", (("18", "03", "2024"), "", -1, 5, 0, "Ada")),
    ("[18/3/2024 AD, 21:05:09] Ada", (("18", "3", "2024"), "", 21, 5, 9, "Ada")),
    ("[r6/3/18 21:05:09] Ada", (("6", "3", "18"), "reiwa", 21, 5, 9, "Ada")),
    ("[平成30/3/18 21:05:09] Ada", (("30", "3", "18"), "heisei", 21, 5, 9, "Ada")),
    ("[3/18/h30, 21:05:09] Ada", (("3", "18", "2018"), "", 21, 5, 9, "Ada")),
    ("[3/18/H30, 21:05:09] Ada", (("3", "18", "2018"), "", 21, 5, 9, "Ada")),
    ("21:05, 18 Dec 2013 - Ada", (("18", "12", "2013"), "", 21, 5, 0, "Ada")),
    ("21:05, 18 Dez. 2013 - Ada", (("18", "0", "2013"), "", 21, 5, 0, "Ada")),
    ("18/03/2024, 21:05 - ", (("18", "03", "2024"), "", 21, 5, 0, "")),
    ("18/03/2024, 21:05 -", (("18", "03", "2024"), "", 21, 5, 0, "")),
    ("18/03/24 21:05:09:", (("18", "03", "24"), "", 21, 5, 9, "")),
    ("x 18/03/2024, 21:05 - Ada", None),
]


@pytest.mark.parametrize(("text", "right"), HEADERS, ids=range(len(HEADERS)))
def test_header_is_taken_apart(text: str, right: tuple | None) -> None:
    assert header(text) == right


def test_header_ends_within_its_limit() -> None:
    assert find_header("[18/" + " " * 68 + "03/2024, 21:05:09] Ada")
    assert not find_header("[18/" + " " * 69 + "03/2024, 21:05:09] Ada")
    assert find_header(f"{M}[18/03/2024, 21:05:09] Ada").is_marked
    assert not find_header(f"[{M}18/03/2024, 21:05:09] Ada").is_marked
    assert flatten("\u0661\u2013\uff0f\u202f\u200f") == f"1-/ {M}"
    assert flatten("5 m\u00b2") == "5 m\u00b2"  # a digit, but none of a number
    assert (plain_word("P.\u00a0M."), plain_word("ＰＭ")) == ("pm", "pm")


DAYS = [
    (("18", "03", "2024", ""), "dmy", date(2024, 3, 18)),
    (("03", "18", "24", ""), "mdy", date(2024, 3, 18)),
    (("2024", "18", "03", ""), "ydm", date(2024, 3, 18)),
    (("113", "3", "18", ""), "ymd", date(2024, 3, 18)),
    (("98", "3", "18", ""), "ymd", date(2098, 3, 18)),
    (("098", "3", "18", ""), "ymd", date(2009, 3, 18)),
    (("150", "3", "18", ""), "ymd", date(2061, 3, 18)),
    (("151", "3", "18", ""), "ymd", None),
    (("097", "3", "18", ""), "ymd", None),
    (("18", "3", "113", ""), "dmy", None),
    (("18", "3", "4", ""), "dmy", None),
    (("6", "3", "18", "reiwa"), "ymd", date(2024, 3, 18)),
    (("30", "3", "18", "heisei"), "ymd", date(2018, 3, 18)),
    (("113", "3", "18", "minguo"), "ymd", date(2024, 3, 18)),
    (("98", "3", "18", "minguo"), "ymd", date(2009, 3, 18)),
    (("8", "9", "1445", "islamic"), "dmy", None),
    (("18", "3", "2567", ""), "dmy", date(2024, 3, 18)),
    (("18", "3", "67", "buddhist"), "dmy", date(2024, 3, 18)),
    (("1", "1", "2552", ""), "dmy", date(2009, 1, 1)),
    (("1", "1", "2551", ""), "dmy", date(2551, 1, 1)),
    (("1", "1", "2700", ""), "dmy", date(2157, 1, 1)),
    (("1", "1", "2701", ""), "dmy", date(2701, 1, 1)),
    (("28", "12", "1402", ""), "dmy", date(2024, 3, 18)),
    (("28", "12", "02", "persian"), "dmy", date(2024, 3, 18)),
    (("1", "1", "1387", ""), "dmy", date(2008, 3, 20)),
    (("1", "1", "1386", ""), "dmy", date(1386, 1, 1)),
    (("1", "1", "1472", ""), "dmy", date(2093, 3, 20)),
    (("1", "1", "1473", ""), "dmy", date(1473, 1, 1)),
    (("31", "2", "2024", ""), "dmy", None),
]


@pytest.mark.parametrize(("written", "order", "right"), DAYS, ids=range(len(DAYS)))
def test_day_is_read_in_its_calendar(written: tuple, order: str, right: date | None) -> None:
    if right:
        assert read_day(written, order) == right
        return
    with pytest.raises(ValueError, match=r"."):
        read_day(written, order)
    assert not is_plausible(written, order, date(2024, 1, 1))


PERSIAN = {
    (1300, 1, 1): date(1921, 3, 21), (1403, 12, 30): date(2025, 3, 20), (1402, 12, 29): date(2024, 3, 19),
    (1402, 11, 30): date(2024, 2, 19),
    (1402, 6, 31): date(2023, 9, 22), (1402, 7, 1): date(2023, 9, 23), (1402, 8, 1): date(2023, 10, 23),
    (1399, 12, 30): date(2021, 3, 20), (1408, 12, 30): date(2030, 3, 20), (1472, 1, 1): date(2093, 3, 20),
}  # fmt: skip
NO_PERSIAN = [
    (1299, 1, 1), (1473, 1, 1), (1402, 0, 1), (1402, 13, 1), (1402, 1, 0), (1402, 1, 32), (1402, 7, 31),
    (1402, 12, 30), (1404, 12, 30), (1402, 11, 31),
]  # fmt: skip


def test_persian_days_are_those_of_the_calendar() -> None:
    assert {written: persian(*written) for written in PERSIAN} == PERSIAN
    leap = {1, 5, 9, 13, 17, 22, 26, 30}
    for year in range(1300, 1472):
        days = (persian(year + 1, 1, 1) - persian(year, 1, 1)).days
        assert days == (366 if year % 33 in leap else 365)
    for written in NO_PERSIAN:
        with pytest.raises(ValueError, match="is no date of the Persian calendar"):
            persian(*written)


def test_message_is_from_2009_to_tomorrow() -> None:
    today = date(2024, 3, 18)
    days = ["31/12/2008", "01/01/2009", "19/03/2024", "20/03/2024"]
    found = [is_plausible((*day.split("/"), ""), "dmy", today) for day in days]
    assert found == [False, True, True, False]


AUTHORS = [
    ("Ada: hi", ("Ada", "hi")),
    ("Ada:hi", ("Ada", "hi")),
    ("Dr: Ada: hi", ("Dr: Ada", "hi")),
    (f"~\u202fAda{M}: {M}hi", ("Ada", f"{M}hi")),
    ("Bo:hi", ("", "Bo:hi")),
    ("Bo: hi", ("Bo", "hi")),
    ("Bo:", ("Bo", "")),
    ("Bo:\nhi", ("Bo", "\nhi")),
    ("Ada: B: hi", ("Ada: B", "hi")),
    ('Bo "B" L: hi', ('Bo "B" L', "hi")),
    ("Bo:see http://x", ("", "Bo:see http://x")),
    (f"Bo:{M}hi", ("Bo", f"{M}hi")),
    ("Bo:\u00a0hi", ("Bo", "\u00a0hi")),
    ("Bo\uff1a hi", ("Bo", "hi")),
    (": hi", (None, "hi")),
    ("see https://x", (None, "see https://x")),
    ("You added Bo:x", (None, "You added Bo:x")),
    ("meet at 10:30", (None, "meet at 10:30")),
    ("a name of 26 characters ab:x", (None, "a name of 26 characters ab:x")),
    ("a name of 25 characters a:x", ("", "a name of 25 characters a:x")),
    ('Ada called it "Trip: Rome"', (None, 'Ada called it "Trip: Rome"')),
    ("Ada\nBo: hi", (None, "Ada\nBo: hi")),
    ("x" * 101 + ": hi", (None, "x" * 101 + ": hi")),
    ("x" * 100 + ": hi", ("x" * 100, "hi")),
]


@pytest.mark.parametrize(("text", "right"), AUTHORS, ids=range(len(AUTHORS)))
def test_author_stands_before_the_text(text: str, right: tuple) -> None:
    assert split_author(text, frozenset({"Ada", "Ada: B", "Dr: Ada"})) == right


def test_name_is_cleaned_of_marks() -> None:
    assert clean_name(f"{M}~\u00a0Ada\u202fL\u2011K ") == "Ada L-K"
    assert clean_name("~Ada~") == "Ada~"
    assert split_author("Bo:hi", frozenset()) == (None, "Bo:hi")


SECRET = "Messages and calls are end-to-end encrypted."
BODIES = [
    (f"{M}{SECRET}".ljust(240, "x"), "notices", ""),
    (f"{M}{SECRET}".ljust(241, "x"), "text", SECRET.ljust(240, "x")),
    ("a  \n", "text", "a"),
    (f"{M}null", "media without a name", ""),
    ("This message was deleted by admin Bo.", "deleted messages", ""),
    ("You deleted this message", "deleted messages", ""),
    (f"{M}\u200f ", "empty messages", ""),
    ("Missed voice call", "calls", ""),
    ("Waiting for this message. More about it", "messages that the phone was waiting for", ""),
    (f"{M}Voice call. 4 min", "calls", ""),
    (f"{M}Messages and calls are end-to-end encrypted.", "notices", ""),
    (f"{M}Ada changed the group description", "notices", ""),
    (f"Ada changed the group description{M}", "text", "Ada changed the group description"),
    (f"\u00a0{M}Messages to this group are now secured with x", "notices", ""),
    (f"{M}You added Bo", "notices", ""),
    (f"{M}Bo changed the group description", "text", "Bo changed the group description"),
    (f"{M}Ada says hello", "text", "Ada says hello"),
    (f"{M}Ada changed the group description\nhere", "text", "Ada changed the group description\nhere"),
    (f"{M}Waiting for this message from Bo", "messages that the phone was waiting for", ""),
    ("Waiting for this message from Bo", "text", "Waiting for this message from Bo"),
    (f"Missed voice call{M} at ten", "calls", ""),
    ("Missed voice call at ten", "text", "Missed voice call at ten"),
    ("Voice call. 4 min", "text", "Voice call. 4 min"),
    (f"look {M}image omitted{M} ", "image", "look"),
    (f"look {M}here {M}image omitted", "image", f"look {M}here"),
    ("<see the image here>", "image", ""),
    ("<사진이 생략됨>", "image", ""),
    (f"fine {M}<the image here>", "text", f"fine {M}<the image here>"),
    (f"look <see: {M}00000012-PHOTO-2024.jpg>", "image", "look"),
    ("位置：https://maps.apple.com/?q=1", "location", "位置：https://maps.apple.com/?q=1"),
    (f"POLL:{M}\nWhen?\nten\none", "poll", "POLL:\nWhen?\nten\none"),
    ("投票：\nWhen?\nten\none", "poll", "投票：\nWhen?\nten\none"),
    ("Dates:\nWhen?\nten\none", "text", "Dates:\nWhen?\nten\none"),
    ("Live location shared", "location", "Live location shared"),
    ("<This message was edited>", "file", ""),
    ("<image omitted>\nlook", "image", "look"),
    ("look <note: 00000012-PHOTO-2024.jpg>", "image", "look"),
    (f"{M}any.jpg (x)", "image", ""),
    (f"POLL:\n{M}When?\nten\none", "poll", "POLL:\nWhen?\nten\none"),
    ("IMG-20240313-WA0001.JPEG (x)", "image", ""),
    ("plan.xyz (file attached)", "file", ""),
    ("a.mov (file attached)", "video", ""),
    ("a.flac (file attached)", "audio", ""),
    ("00000012-STICKER-2024-03-13-10-00-00.webp (file attached)", "sticker", ""),
    ("STK-20240313-WA0003.webp (file attached)", "sticker", ""),
    (f"look {M}<attached: 00000012-PHOTO-2024-03-13-10-00-00.jpg>", "image", "look"),
    ("look <attached: plan.pdf>", "text", "look <attached: plan.pdf>"),
    ("look <see: plan.pdf>", "text", "look <see: plan.pdf>"),
    ("2024-03-13-PHOTO-1.jpg (x)", "image", ""),
    ("<image omitted>", "image", ""),
    ("<nothing known here>", "file", ""),
    (f"2 pages {M}document omitted", "document", "2 pages"),
    (f"plan.pdf {M}document omitted", "document", "plan.pdf"),
    ("Location: https://maps.google.com/?q=1,2", "location", "Location: https://maps.google.com/?q=1,2"),
    ("https://www.google.com/maps?q=1,2", "location", "https://www.google.com/maps?q=1,2"),
    ("https://maps.apple.com/?q=1,2", "location", "https://maps.apple.com/?q=1,2"),
    ("Bar\nStreet 1\nhttps://foursquare.com/v/4b0", "location", "Bar\nStreet 1\nhttps://foursquare.com/v/4b0"),
    ("a\nb\nc\nhttps://foursquare.com/v/4b0", "text", "a\nb\nc\nhttps://foursquare.com/v/4b0"),
    ("abc def ghi jkl mno pqr: https://maps.apple.com/?q=1", "location",
     "abc def ghi jkl mno pqr: https://maps.apple.com/?q=1"),
    ("abc def ghi jkl mno pqrs: https://maps.apple.com/?q=1", "text",
     "abc def ghi jkl mno pqrs: https://maps.apple.com/?q=1"),
    ("POLL:\nWhen?\nten\none", "poll", "POLL:\nWhen?\nten\none"),
    ("POLL:\nWhen?\nten", "text", "POLL:\nWhen?\nten"),
    ("poll\nWhen?\nten\none", "text", "poll\nWhen?\nten\none"),
    (f"fine {M}<This message was edited>", "text", "fine"),
    (f"fine {M}<image omitted>", "text", f"fine {M}<image omitted>"),
    ("fine <This message was edited>", "text", "fine"),
]  # fmt: skip


KINDS = {
    "image": "jpg jpeg png gif webp heic heif tif tiff bmp", "video": "mp4 mov 3gp avi mkv webm m4v", "contact": "vcf",
    "audio": "opus m4a mp3 aac amr ogg oga wav flac caf", "file": "pdf txt zip",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_attached_file_has_the_kind_of_its_name(kind: str) -> None:
    found = {interpret(f"a.{end} (file attached)", "Ada", is_line_marked=False).kind for end in KINDS[kind].split()}
    assert found == {kind}


@pytest.mark.parametrize(("text", "kind", "content"), BODIES, ids=range(len(BODIES)))
def test_body_gets_its_kind(text: str, kind: str, content: str) -> None:
    body = interpret(text, "Ada", is_line_marked=False)
    assert (body.kind, getattr(body, "content", "")) == ("file" if kind == "document" else kind, content)


def test_label_on_a_marked_line_is_media() -> None:
    def media(text: str, *, is_line_marked: bool = True) -> tuple:
        body = interpret(text, "Ada", is_line_marked=is_line_marked)
        return body.kind, body.content, body.file_name

    assert media(f"look {M}image unknownword") == ("image", "look", None)
    assert media(f"plan.pdf {M}no word known") == ("file", "plan.pdf", "plan.pdf")
    assert media(f"plan.numbers {M}document omitted") == ("file", "plan.numbers", "plan.numbers")
    assert media(f"see a.pdf {M}image omitted") == ("image", "see a.pdf", None)
    assert media(f"look {M}{'x' * 59}") == ("file", "look", None)
    assert media(f"look {M}{'x' * 60}") == ("text", f"look {M}{'x' * 60}", None)
    assert media(f"look {M}no word known", is_line_marked=False)[0] == "text"
    assert media(f"look {M}two\nlines")[0] == "text"
    edited = interpret(f"fine {M}<This message was edited>", "Ada", is_line_marked=False)
    assert (edited.is_edited, edited.identity) == (True, "fine")
    for said in ("fine (file attached)", f"{M}<attached: fine.jpg>", "<image omitted>"):
        noted = interpret(
            f"{said.replace('fine ', 'fine.jpg ')}{M} <This message was edited>", "Ada", is_line_marked=False
        )
        assert (noted.is_edited, noted.identity) == (True, "\n")
    attached = interpret(f"{M}<attached: 00000012-a.pdf>", "Ada", is_line_marked=False)
    assert (attached.is_attached, attached.file_name, attached.identity) == (True, "00000012-a.pdf", "\n")
    marked = interpret(f"look <see: {M}00000012-PHOTO-2024.jpg>", "Ada", is_line_marked=False)
    assert marked.file_name == "00000012-PHOTO-2024.jpg"
    assert interpret(f"{M}Joined", "Ada", is_line_marked=False, is_notice_signer=True).kind == "notices"
    assert interpret("Joined", "Ada", is_line_marked=False, is_notice_signer=True).kind == "text"


def test_words_are_known_in_the_form_of_the_lists() -> None:
    assert plain(f"{M}It\u2019s  \u00a0A. ") == "it's a"
    assert plain("ا\u064eب") == "اب"
    assert plain("Cafe\u0301 Straße!") == "café strasse"
    deleted = "this message was deleted"
    assert [is_sentence(text, "deleted") for text in (deleted, f"{deleted}. x", f"x. {deleted}")] == [True, True, False]
    assert is_sentence(f"{plain('此消息已删除')}。x", "deleted")
    assert [media_noun(label) for label in ("image omitted", "image: omitted", "bike omitted", "image")] == [
        "image", "image", None, None,
    ]  # fmt: skip
    assert media_noun("image omitted".ljust(61, "x")) is None
    assert [any_noun(label) for label in ("the image here", "imagery", "a video document", "写真です")] == [
        "image", None, "document", "image",
    ]  # fmt: skip
    assert is_notice("Messages and calls are end-to-end encrypted. Tap", "Ada")
    assert not is_notice("Bo changed the group description", "Ada")
    assert not is_notice("Did they say you were added", "Ada")
    assert is_group_notice(f"{M}Ada created group “Team”")
    assert is_group_notice("Ada Created\u202fgroup “Team”")
    assert not is_group_notice("Ada wrote")
    assert [any_noun(label) for label in ("selfimage", "มีรูปภาพนี้")] == [None, "image"]
    assert [any_noun("image".ljust(size)) for size in (60, 61)] == ["image", None]


def chat(folder: Path, *said: str, name: str = "chat.txt") -> Path:
    file = folder / name
    file.write_text("\n".join(said), encoding="utf-8")
    return file


def test_entry_has_the_fields_of_a_message(tmp_path: Path) -> None:
    file = chat(tmp_path, "18/03/2024, 21:05 - Ada: hi", "19/03/2024, 08:00 - Shop: ok", "19/03/2024, 08:01 - Ada:hm")
    (tmp_path / "hi").touch()
    _, [found] = read(file, shop(group="Team", conversation="c1"))
    assert (found.id, found.participant, found.name, found.is_group) == ("c1", "Team", "Team", True)
    assert [fields(entry) for entry in found.entries] == [
        {"id": "20240318T210500Z-8f434346648f-1", "at": "21:05:00.000", "kind": "text", "text": "hi", "author": "Ada"},
        {"id": "20240319T080000Z-2689367b205c-1", "at": "08:00:00.000", "kind": "text", "text": "ok", "author": "Shop",
         "mine": True},
        {"id": "20240319T080100Z-b82e2178ecf4-1", "at": "08:01:00.000", "kind": "text", "text": "hm", "author": "Ada"},
    ]  # fmt: skip
    assert read(file, shop(group="Team"))[1][0].id == "whatsapp-export:group:Team"


def test_time_that_does_not_exist_is_listed_line_by_line(tmp_path: Path) -> None:
    good = [f"{day}/03/2024, 21:05:00 - Ada: hi" for day in range(10, 29)]
    odd = [
        "28/03/2024, 24:05:00 - Ada: a",
        "more",
        " ",
        "28/03/2024, 21:60:00 - Ada: b",
        "28/03/2024, 21:05:60 - Ada: c",
    ]
    _, [found] = read(chat(tmp_path, *good, *odd, "29/03/2024, 21:05:00 - Shop: ok"), shop())
    assert [(one.where, one.text) for one in found.entries if isinstance(one, Unreadable)] == [
        ("line 20", f"{odd[0]} (no time of day)"), ("line 21", "more"), ("line 23", f"{odd[3]} (no time of day)"),
        ("line 24", f"{odd[4]} (no time of day)"),
    ]  # fmt: skip


def test_name_that_no_other_line_shows_is_listed(tmp_path: Path) -> None:
    said = "18/03/2024, 21:05 - Ada: hi  ", "more", "18/03/2024, 21:06 - Bo:hm", "19/03/2024, 08:00 - Shop: ok"
    first, second, _ = read(chat(tmp_path, *said), shop())[1][0].entries
    assert (first.text, second) == ("hi  \nmore", Unreadable("line 3", said[2]))


def test_name_that_the_user_gives_needs_no_other_line(tmp_path: Path) -> None:
    file = chat(tmp_path, "18/03/2024, 21:05 - Ada:hi", "19/03/2024, 08:00 - Shop:ok")
    _, [found] = read(file, shop(participants={"Ada": NUMBER}))
    assert [line[20:] for line in lines(found)] == ["< text: hi", "> text: ok"]


def test_chat_says_which_names_and_lines_are_marked(tmp_path: Path) -> None:
    said = [
        f"[18/03/2024, 21:05:00] Team: {M}Messages and calls are end-to-end encrypted.",
        f"[18/03/2024, 21:06:00] Team: {M}words of no list",
        f"{M}[18/03/2024, 21:07:00] Ada: look {M}no word known",
        "[19/03/2024, 08:00:00] Shop: ok",
    ]
    _, [found] = read(chat(tmp_path, *said), shop(group="Team"))
    assert [line[20:] or line for line in lines(found)] == ["- notices", "- notices", "< file: look", "> text: ok"]


def test_left_out_file_has_the_id_of_the_attached_one(tmp_path: Path) -> None:
    (tmp_path / "plan.pdf").touch()
    last = "[19/03/2024, 08:00:00] Shop: ok"
    start = f"{M}[18/03/2024, 21:05:00] Ada: "
    found = [
        fields(read(chat(tmp_path, f"{start}{said}", last), shop())[1][0].entries[0])
        for said in (f"plan.pdf {M}document omitted", f"plan.pdf {M}<attached: plan.pdf>")
    ]
    base = {
        "id": "20240318T210500Z-01ba4719c80b-1",
        "at": "21:05:00.000",
        "kind": "file",
        "text": "plan.pdf",
        "file_name": "plan.pdf",
    }
    assert found == [base, {**base, "file": "plan.pdf"}]


def test_number_of_the_other_side_is_checked(tmp_path: Path) -> None:
    def numbered(name: str, **said: object) -> str:
        file = chat(tmp_path, f"18/03/2024, 21:05 - {name}: hi", "19/03/2024, 08:00 - Shop: ok")
        others, found = read(file, shop(**said))
        return found[0].participant if found else others[0].reason

    assert numbered("Ada", participants={None: " +1 555 201 0001 "}) == NUMBER
    assert numbered("+1 555 201 0001", participants={}) == NUMBER
    assert "country code" in numbered("Ada", participants={None: "+1 555 201 0001 x"})
    assert "country code" in numbered("Ada", participants={None: "01 555 201 0001"})
    assert numbered("Ada", participants={None: "+49 1", "Ada": NUMBER}) == NUMBER
    assert numbered("+1 555 201 0001", participants={None: "+1 (555) 2010001"}) == "+1 (555) 2010001"
    assert "Say the phone number of +Ada" in numbered("+Ada", participants={})
    assert "Say the phone number of 01 555 201 0001" in numbered("01 555 201 0001", participants={})


def test_group_is_known_by_a_notice_of_any_line(tmp_path: Path) -> None:
    notices = [f"18/03/2024, 21:05 - Team: {M}Ada created group “Team”", f"18/03/2024, 21:06 - Team: {M}Ada left"]
    said = ["18/03/2024, 21:07 - Ada: hi", "19/03/2024, 08:00 - Shop: ok"]
    for order in (notices, notices[::-1]):
        reason = refusal(chat(tmp_path, *order, *said), shop())
        assert reason == "This is a group (Team, Ada). Give its name with --group."
    unsigned = ["18/03/2024, 21:05 - Ada created group “Team”", "18/03/2024, 21:06 - Ada left"]
    signed = [f"18/03/2024, 21:05 - Team: {M}You added Bo"]
    for notices, names in ((unsigned, "its notices say so"), (signed, "Team")):
        reason = refusal(chat(tmp_path, *notices, said[1]), shop())
        assert reason == f"This is a group ({names}). Give its name with --group."


def test_last_second_and_edited_messages_are_read(tmp_path: Path) -> None:
    said = f"[18/03/2024, 23:59:59] Ada: fine {M}<This message was edited>", "[19/03/2024, 08:00:00] Shop: ok"
    _, [found] = read(chat(tmp_path, *said), shop())
    edited = fields(found.entries[0])
    assert (edited.pop("id")[:16], edited) == (
        "20240318T235959Z", {"at": "23:59:59.000", "kind": "text", "text": "fine", "edited": True},
    )  # fmt: skip
    file = chat(tmp_path, "18/03/2024, 21:05 - Ada: hi")
    file.write_bytes(file.read_bytes() + b"\xff")
    assert "is not UTF-8 text" in refused(WhatsApp(), file, shop())


def test_chat_without_a_second_writer_has_the_name_of_its_file(tmp_path: Path) -> None:
    file = chat(tmp_path, "18/03/2024, 21:05 - Shop: hi", name="Ada.txt")
    assert read(file, shop())[1][0].name == "Ada"
    assert "only notices of WhatsApp" in refusal(chat(tmp_path, "18/03/2024, 21:05 - Ada left"), shop())
    assert (
        refused(WhatsApp(), chat(tmp_path, "no chat"), shop()) == "No line of the file looks like a WhatsApp message."
    )
    crowd = chat(tmp_path, "18/03/2024, 21:05 - Ada: a", "18/03/2024, 21:06 - Bo: b", "19/03/2024, 08:00 - Shop: ok")
    assert refusal(crowd, shop()) == "This is a group (Ada, Bo). Give its name with --group."


def sorted_days(months: int) -> list[str]:
    """Return days in the order of dmy; read as mdy, they go back at each month but the first."""
    return [f"{day:02}/{month:02}/2024" for month in range(1, months + 1) for day in (1, 2)]


ORDERS = [
    (["13-02-14", "14-02-13"], "refused"),
    (sorted_days(3), "refused"),
    (sorted_days(4), "2024-01-01"),
    (["05/05/2024", *sorted_days(5)], "refused"),
    (["05/05/2024", *sorted_days(6)], "2024-05-05"),
    (["01.02.2024", "02.02.2024"], "2024-02-01"),
    (["01.02.24", "02.02.24"], "2024-02-01"),
    (["2024-02-01", "2024-02-03"], "2024-02-01"),
    (["2024-02-01", "2024-02-01"], "2024-02-01"),
    (["01-02-03", "02-02-03", "03-02-03", "03-02-03"], "refused"),
    (["24-02-03", "24-02-04", "24-02-05"], "2024-02-03"),
    (["03-02-24", "04-02-24", "05-02-24"], "refused"),
    (["40/40/2024", "01/02/2024"], "refused"),
    (["13/02/2024"] * 19 + ["40/40/2024"], "2024-02-13"),
    (["13/02/2024"] * 18 + ["40/40/2024"], "refused"),
]


@pytest.mark.parametrize(("days", "right"), ORDERS, ids=range(len(ORDERS)))
def test_order_of_a_date_is_proved_by_the_file(tmp_path: Path, days: list[str], right: str) -> None:
    said = [f"{day}, 21:05 - {'Shop' if place else 'Ada'}: hi" for place, day in enumerate(days)]
    others, found = read(chat(tmp_path, *said), shop())
    assert (lines(found[0])[0][:10] if found else "refused") == right
    assert not others or "--date-order" in others[0].reason


def test_steps_back_are_counted_from_day_to_day(tmp_path: Path) -> None:
    days = ["01/02/2024", "1/2/2024", "40/02/2024", "31/01/2024", "31/01/2024", "01/02/2024", "31/01/2024"]
    found = scan(Source(chat(tmp_path, *(f"{day}, 21:05 - Ada: hi" for day in days))), shop())
    assert (found.steps_back("dmy"), found.steps_back("ymd")) == (2, 0)


def test_order_of_the_user_suits_half_of_the_dates(tmp_path: Path) -> None:
    days = ["13/02/2024", "02/13/2024", "02/14/2024"]
    said = [f"{day}, 21:05 - {'Shop' if place else 'Ada'}: hi" for place, day in enumerate(days)]
    assert len(read(chat(tmp_path, *said[:2]), shop(date_order="dmy"))[1]) == 1
    assert "are no days from 2009" in refusal(chat(tmp_path, *said), shop(date_order="dmy"))


def test_reader_looks_near_the_beginning(tmp_path: Path) -> None:
    first = "18/03/2024, 21:05 - Ada: hi"
    found = [
        WhatsApp().recognizes(Source(chat(tmp_path, *said)))
        for said in (["x"] * 399 + [first], ["x"] * 400 + [first], ["{", first], ["18 Mar, 21:05 - Ada: hi"])
    ]
    assert found == [True, False, False, True]
