"""The words that WhatsApp writes for itself, in the languages of words.toml."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib.resources import files

from threadline_import.whatsapp.header import MARKS, SPACES

NOUNS = ("image", "video", "audio", "sticker", "gif", "document", "contact")
_INVISIBLE = re.compile(f"[{MARKS}]")
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
    """Check whether a plain text begins with a phrase, or contains one that may stand anywhere."""
    return text.startswith(_starts(key)) or any(phrase in text for phrase in _contained(key))


@cache
def media_noun(label: str) -> str | None:
    """Return the kind of media in a label such as "image omitted"; None if it is no such label."""
    for words in _languages().values():
        for stem in words.get("omitted", "").split("|"):
            if not stem or plain(stem) not in label:
                continue
            rest = label.replace(plain(stem), " ", 1)
            if noun := _noun(words, rest, exactly=True):
                return noun
    return None


@cache
def any_noun(label: str) -> str | None:
    """Return the kind of media that a label names in any language, among other words."""
    for words in _languages().values():
        if noun := _noun(words, label, exactly=False):
            return noun
    return None


def _noun(words: dict[str, str], text: str, *, exactly: bool) -> str | None:
    wanted = text.strip(" :,。は이가을를은는-")
    found = [
        (len(noun), kind)
        for kind in NOUNS
        for noun in map(plain, words.get(kind, "").split("|"))
        if noun and (noun == wanted or (not exactly and _has_word(text, noun)))
    ]
    return max(found)[1] if found else None


def _has_word(text: str, word: str) -> bool:
    if not word.isascii() and not any(unicodedata.category(letter)[0] == "L" and letter.isalpha() for letter in word):
        return word in text
    # Scripts without spaces have no ends of words.
    if any("\u0e00" <= letter <= "\u0eff" or "\u3040" <= letter <= "\u9fff" for letter in word):
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
