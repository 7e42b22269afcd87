"""Takes the beginning of a dated line apart by its structure, whatever the language and the phone."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from threadline_import.whatsapp.calendars import ERAS

MARK = "\u200e"  # stands for each invisible mark
MARKS = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u200b\u2060"
SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t"
LONGEST = 90  # characters that a header can have

# One character for one, so that places in the plain text are places in the line.
_PLAIN = {
    **{ord(mark): MARK for mark in MARKS},
    **{ord(space): " " for space in SPACES},
    **{ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2212"},
    **{ord(wide): narrow for wide, narrow in zip("／：．［］，،、", "/:.[],,,", strict=True)},
}
_M = r"[ \u200e]*"
_YEAR = r"(?P<era>[RrHh]?)(?P<c>\d{1,4})"
_DATE = rf"(?P<a>\d{{1,4}}){_M}(?P<s1>[./年-]|년){_M}(?P<b>\d{{1,2}}){_M}(?P<s2>[./月-]|월){_M}{_YEAR}"
# Android wrote the name of the month until 2014: 19:23, 28 Aug 2013
_NAMED_DATE = r"(?P<a>\d{1,2})(?P<s1> )(?P<b>[^\W\d_]{3,12})\.?(?P<s2> )(?P<era>)(?P<c>\d{4})"
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
_WORD = r"[^\d\[\]:/]{,24}?"
_START = r"(?P<mark>\u200e*)(?P<bracket>\[)?[ \u200e]*"
_END = r"(?P<end>(?(bracket)\]|(?: - | -$|: |:$)))"
DATE_FIRST = re.compile(
    rf"{_START}(?P<before>[RrHh]|令和|平成|民[國国])? ?{_DATE}(?P<between>{_WORD}){_TIME}(?P<after>{_WORD}){_END}"
)
TIME_FIRST = re.compile(rf"{_START}{_TIME}(?P<between>{_WORD}){_DATE}(?P<after>{_WORD}){_END}")
NAMED_MONTH = re.compile(rf"{_START}{_TIME}(?P<between>{_WORD}){_NAMED_DATE}(?P<after>{_WORD}){_END}")
NO_YEAR = re.compile(rf"(?:[^\W\d_]{{3,12}}\.? \d{{1,2}}|\d{{1,2}} [^\W\d_]{{3,12}}\.?),? {_TIME}{_WORD} - ")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# What stands between a date and a time, and says nothing about the hour.
_LATIN = "à às as a la las um klo kl om at ve lúc godz ora ore u h uhr vid den ob da kell plkst val mu saat pukul"
FILLERS = {*_LATIN.split(" "), "в", "у", "о", "г", "ч", "р", "όρα", "στις", "日", "일", "年", "นาฬิกา", "น", "เวลา"}
BUDDHIST = {"be", "พศ", "พุทธศักราช", "佛曆", "佛历"}
PERSIAN = {"ap", "هش", "خورشیدی", "شمسی"}
COMMON = {"ad", "ce", "คศ", "م‌", "میلادی"}
ISLAMIC = {"ah", "هـ", "ه", "هجري"}
# Before the year, in the calendars of Japan and Taiwan.
ERA_PREFIXES = {"R": "reiwa", "令和": "reiwa", "H": "heisei", "平成": "heisei", "民國": "minguo", "民国": "minguo"}


@dataclass(frozen=True)
class Header:
    """The dated beginning of a line; `rest` is where the text begins."""

    layout: tuple[object, ...]  # how the time is written, which one phone does the same way all through one file
    date: tuple[str, str, str]
    era: str
    hour: int
    minute: int
    second: int
    rest: int
    is_marked: bool


class UnknownTimeError(ValueError):
    """A time of day that does not exist, or that can be two."""


@cache
def _periods() -> dict[str, list[int]]:
    text = files(__package__).joinpath("periods.json").read_text(encoding="utf-8")
    return json.loads(text)


@cache
def plain_word(word: str) -> str:
    """Return a word as the table of periods has it."""
    letters = unicodedata.normalize("NFKC", word).casefold()
    return "".join(letter for letter in letters if unicodedata.category(letter)[0] in "LMN")


def flatten(text: str) -> str:
    """Replace marks, spaces, dashes and digits of all scripts, one character for one."""
    if text.isascii():
        return text
    return "".join(_flat(character) for character in text)


@cache
def _flat(character: str) -> str:
    if ord(character) in _PLAIN:
        return _PLAIN[ord(character)]
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return character


def find_header(line: str) -> Header | None:
    """Read the header of a line, or return None if the line goes on with a message."""
    start = line[:LONGEST]
    head = flatten(start)
    found = DATE_FIRST.match(head) or TIME_FIRST.match(head) or NAMED_MONTH.match(head)
    if not found or (found["s1"] != found["s2"] and found["s1"] in "./-"):
        return None
    words = _words(found["between"], found["after"])
    if words is None:
        return None
    period, era = words
    era = era or ERA_PREFIXES.get((found.groupdict().get("before") or "").upper(), "")
    if int(found["hour"]) > 12:
        period = ()  # 下午14:56 and "14:56 PM" say the hour already
    hour = _hour(int(found["hour"]), period)
    rest = found.end()
    while rest < len(line) and (line[rest] in SPACES or line[rest] == " ") and rest < found.end() + 1:
        rest += 1
    layout = (
        found.re is not DATE_FIRST,
        found["s1"],
        found["second"] is not None,
        bool(words[0]),
        found["end"].strip(),
    )
    return Header(
        layout,
        (found["a"], _month(found["b"]), _year(found["c"], found["era"])),
        era,
        hour,
        int(found["minute"]),
        int(found["second"] or 0),
        rest,
        MARK in found["mark"],
    )


def _month(written: str) -> str:
    """Return a month as a number; an unknown name becomes 0, so that its line is listed and not taken for text."""
    if written.isdecimal():
        return written
    name = written.casefold()[:3]
    return str(MONTHS.index(name) + 1) if name in MONTHS else "0"


def _year(written: str, prefix: str) -> str:
    """Return a year behind the prefix of a Japanese era with four digits."""
    return str(int(written) + ERAS[ERA_PREFIXES[prefix.upper()]]) if prefix else written


def _words(*texts: str) -> tuple[tuple[int, ...], str] | None:
    """Return the hours that a word allows and the era; None if a word is neither."""
    period: tuple[int, ...] = ()
    era = ""
    for text in texts:
        found = _understand(text)
        if found is None:
            return None
        period = period or found[0]
        era = era or found[1]
    return period, era


@cache
def _understand(text: str) -> tuple[tuple[int, ...], str] | None:
    text = text.replace(MARK, " ").strip(" ,.-")
    if not text:
        return (), ""
    parts = [part for part in re.split(r"[ ,]+", text) if part.strip(".-")]
    # "p. m." and "μ. μ." are one word, "г., в" are two.
    for candidate in [(tuple(parts),), (tuple(parts[:1]), tuple(parts[1:])), tuple((part,) for part in parts)]:
        period: tuple[int, ...] = ()
        era = ""
        for group in candidate:
            word = plain_word("".join(group))
            if word in _periods():
                period = tuple(_periods()[word])
            elif known := _era(word):
                era = known
            elif word and word not in FILLERS and word not in COMMON:
                break
        else:
            return period, era
    return None


def _era(word: str) -> str:
    if word in BUDDHIST:
        return "buddhist"
    if word in PERSIAN:
        return "persian"
    if word in ISLAMIC:
        return "islamic"
    return ""


def _hour(hour: int, period: tuple[int, ...]) -> int:
    """Return the hour of 24; -1 where the word leaves it open or the hour does not exist."""
    if not period:
        return hour if hour < 24 else -1
    candidates = (hour % 12, hour % 12 + 12)
    fits = [candidate for candidate in candidates if candidate in period]
    if len(fits) == 1:
        return fits[0]
    if fits:
        return -1
    # "晚上6:05" is a little before the evening of CLDR.
    distance, nearest = min((min(_apart(hour, known) for known in period), hour) for hour in candidates)
    return nearest if distance <= 2 else -1


def _apart(one: int, other: int) -> int:
    return min(abs(one - other), 24 - abs(one - other))
