"""The words that WhatsApp writes for itself, in the languages of words.toml."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib.resources import files

from threadline_import.whatsapp.header import MARKS, SPACES

LONGEST_LABEL = 60
PARTICLES = "は이가을를은는 "  # between the noun and the verb
NOUNS = ("image", "video", "audio", "sticker", "gif", "document", "contact")
_INVISIBLE = re.compile(f"[{MARKS}\u064b-\u0652]")  # marks, and the vowels of Arabic, which are written or not
_SPACES = re.compile(f"[{SPACES} ]+")


def plain(text: str) -> str:
    """Return a text as the lists have it."""
    visible = _SPACES.sub(" ", _INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
    return visible.replace("\u2019", "'").casefold().strip(" .。।．！!")


@cache
def _languages() -> dict[str, dict[str, str]]:
    return tomllib.loads(files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))


@cache
def phrases(key: str) -> frozenset[str]:
    """Return the phrases of all languages under a key."""
    found = (words.get(key, "") for words in _languages().values())
    return frozenset(plain(phrase) for line in found for phrase in line.split("|") if phrase)


@cache
def _starts(key: str) -> tuple[str, ...]:
    return tuple(phrase for phrase in phrases(key) if not phrase.startswith("*"))


@cache
def _contained(key: str) -> tuple[str, ...]:
    return tuple(phrase[1:] for phrase in phrases(key) if phrase.startswith("*"))


def begins(text: str, key: str) -> bool:
    """Check whether a plain text begins with a phrase."""
    return text.startswith(_starts(key))


def contains(text: str, key: str) -> bool:
    """Check whether a plain text has a phrase that may stand anywhere in it."""
    return any(phrase in text for phrase in _contained(key))


def is_sentence(text: str, key: str) -> bool:
    """Check whether a plain text is a phrase, or begins with a phrase and a full stop."""
    return text in phrases(key) or text.partition(".")[0] in phrases(key) or text.partition("。")[0] in phrases(key)


@cache
def _media_words() -> list[tuple[list[str], dict[str, str]]]:
    """Return for each language the words for "left out", and the nouns with their kinds."""
    return [
        (
            [plain(stem) for stem in words.get("omitted", "").split("|") if stem],
            {plain(noun): kind for kind in NOUNS for noun in words.get(kind, "").split("|") if noun},
        )
        for words in _languages().values()
    ]


@cache
def _any_stem() -> re.Pattern[str]:
    stems = {stem for known, _ in _media_words() for stem in known}
    return re.compile("|".join(map(re.escape, sorted(stems))))


def media_noun(label: str) -> str | None:
    """Return the kind of media in a label such as "image omitted"; None if it is no such label."""
    if len(label) > LONGEST_LABEL or not _any_stem().search(label):
        return None
    for stems, nouns in _media_words():
        for stem in stems:
            if stem not in label:
                continue
            rest = label.replace(stem, " ", 1).strip(" :,-")
            if noun := nouns.get(rest) or nouns.get(rest.rstrip(PARTICLES)):
                return noun
    return None


def any_noun(label: str) -> str | None:
    """Return the kind of media that a label names in any language, among other words."""
    if len(label) > LONGEST_LABEL:
        return None
    found = [(len(noun), kind) for _, nouns in _media_words() for noun, kind in nouns.items() if _has_word(label, noun)]
    return max(found)[1] if found else None


def _has_word(text: str, word: str) -> bool:
    # Scripts without spaces have no ends of words.
    if any("\u0e00" <= letter <= "\u0eff" or "\u3040" <= letter <= "\u9fff" for letter in word):
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
