"""Writes threadline_import/whatsapp/periods.json from CLDR: `uv run --with babel importer/generate_periods.py`.

The file maps each word for a part of the day ("PM", "下午", "μ.μ.") to the hours that it can stand for.
"""

import json
import unicodedata
from collections import defaultdict
from pathlib import Path

from babel import Locale, localedata

TARGET = Path(__file__).parent / "threadline_import" / "whatsapp" / "periods.json"
HALVES = {"am": range(12), "pm": range(12, 24), "midnight": (0, 12), "noon": (12,)}
# Older versions of CLDR and of the apps wrote these.
MORNING = ["pg", "fm", "முற்பகல்", "पूर्वाह्न", "মপূ", "পূর্বাহ্ণ", "పూర్వాహ్న", "ಪೂರ್ವಾಹ್ನ", "પૂર્વાહ્ન", "მშ", "vorm", "matin"]
AFTERNOON = ["ptg", "em", "பிற்பகல்", "अपराह्न", "মউ", "অপরাহ্ণ", "అపరాహ్న", "ಅಪರಾಹ್ನ", "અપરાહ્ન", "nachm", "soir"]
OLDER = {**{word: range(12) for word in MORNING}, **{word: range(12, 24) for word in AFTERNOON}}


def plain(word: str) -> str:
    """Return a word as the reader compares it: without spaces, dots and invisible marks."""
    letters = unicodedata.normalize("NFKC", word).casefold()
    return "".join(letter for letter in letters if unicodedata.category(letter)[0] in "LMN")


def hours_of(locale: Locale, period: str) -> set[int]:
    """Return the hours that a period covers in a locale."""
    if period in HALVES:
        return set(HALVES[period])
    rules = locale.day_period_rules.get(None, {}).get(period, [])
    found: set[int] = set()
    for rule in rules:
        if "at" in rule:
            found.add(rule["at"] // 3600)
        else:
            start, end = rule["from"] // 3600, rule["before"] // 3600
            found |= set(range(start, end)) if start < end else set(range(start, 24)) | set(range(end))
    return found


def main() -> None:
    """Collect the words of all locales; am and pm win where another locale uses the word for less."""
    halves: dict[str, set[int]] = defaultdict(set)
    others: dict[str, set[int]] = defaultdict(set)
    for name in localedata.locale_identifiers():
        locale = Locale.parse(name)
        for context in locale.day_periods.values():
            for width, periods in context.items():
                for period, text in periods.items():
                    word = plain(text)
                    if width == "narrow" and len(word) < 2 and word.isascii():
                        continue
                    table = halves if period in ("am", "pm") else others
                    table[word] |= hours_of(locale, period)
    table = {**others, **{plain(word): set(hours) for word, hours in OLDER.items()}, **halves}
    table.pop("", None)
    usable = {word: sorted(hours) for word, hours in sorted(table.items()) if hours and not word.isdecimal()}
    lines = ",\n".join(f"{json.dumps(word, ensure_ascii=False)}: {json.dumps(hours)}" for word, hours in usable.items())
    TARGET.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
