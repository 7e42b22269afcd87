"""Tells what an entry of WhatsApp is: by WhatsApp's own marks first, by its words second."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from threadline_import.model import LeftOut
from threadline_import.whatsapp.header import MARKS, SPACES
from threadline_import.whatsapp.words import any_noun, begins, contains, is_sentence, media_noun, phrases, plain

MEDIA = "\n"  # stands for media where the id is made; no text is like it
EXTENSIONS = {
    "image": "jpg jpeg png gif webp heic heif tif tiff bmp",
    "video": "mp4 mov 3gp avi mkv webm m4v",
    "audio": "opus m4a mp3 aac amr ogg oga wav flac caf",
    "contact": "vcf",
}
NOUN_KINDS = {"gif": "video", "document": "file"}
LONGEST_PHRASE = 240

_M = f"[{MARKS}]"
MARK = re.compile(_M)
EDITED = re.compile(rf"[ \n]?(?P<mark>{_M}*)<(?P<note>{_M}?[^<>:\n]+)>{_M}*$")
# <Media omitted> in any language, but not <div> and not <a href="...">.
OMITTED_ANDROID = re.compile(
    rf"{_M}*<(?P<label>(?=[^>]*(?: |[^\x00-\x7f]))[^<>\n=/:]+)>{_M}*(?:\n(?P<caption>.*))?$", re.DOTALL
)
ATTACHED_IPHONE = re.compile(
    rf"(?P<caption>.*?)[ \n]?(?P<mark>{_M}*)<(?P<note>[^<>:：\n]+)[:：] ?(?P<name>[^<>\n]+\.\w{{1,8}}){_M}*>{_M}*$",
    re.DOTALL,
)
ATTACHED_ANDROID = re.compile(
    rf"(?P<mark>{_M}*)(?P<name>[^\n]+?\.\w{{0,8}}) \((?P<note>[^()\n]+)\){_M}*(?:\n(?P<caption>.*))?$", re.DOTALL
)
OWN_FILE_NAME = re.compile(r"\d{8}-[A-Z]|[A-Z]{3}-\d{8}-WA\d|\d{4}-\d\d-\d\d-[A-Z]+-\d")
PLACE = re.compile(
    r"https?://(?:maps\.google\.[a-z.]+/(?:maps)?\?q=|(?:www\.)?google\.[a-z.]+/maps\?q=|maps\.apple\.com/\?|"
    r"(?:www\.)?foursquare\.com/v/)\S+$"
)


@dataclass(frozen=True)
class Body:
    """What a message says, and the part that its id is made of."""

    kind: str
    content: str
    identity: str
    file_name: str | None = None
    is_edited: bool = False
    is_attached: bool = False  # the export has the file, under file_name


def interpret(text: str, author: str, *, is_line_marked: bool, is_notice_signer: bool = False) -> Body | LeftOut:
    """Tell what a person's entry is: a body, or the reason to leave it out."""
    text = text.strip(f"{SPACES} \n\r")
    is_marked = bool(text) and text[0] in MARKS
    said = plain(text) if len(text) <= LONGEST_PHRASE else ""
    if not text.strip(f"{MARKS}{SPACES} \n"):
        return LeftOut("empty messages")
    if said and (reason := _left_out(said, author, is_marked=is_marked, has_mark=MARK.search(text) is not None)):
        return LeftOut(reason)
    if is_notice_signer and is_marked:
        return LeftOut("notices")
    edited = EDITED.search(text)
    is_edited = bool(edited and edited.start() and _is_edited_note(edited))
    if is_edited:
        text = text[: edited.start()]  # type: ignore[union-attr]
    content = text.strip(f"{MARKS}{SPACES} \n")
    if body := _media(text, is_line_marked=is_line_marked, is_edited=is_edited):
        return body
    if _is_place(content) or plain(content) in phrases("live"):
        return Body("location", content, content)
    if _is_poll(content):
        return Body("poll", MARK.sub("", content), content)
    return Body("text", content, content, is_edited=is_edited)


def is_notice(text: str, author: str) -> bool:
    """Check whether a text that begins with a mark is a notice. Notices about a person begin with the name."""
    said = plain(text)
    return (
        begins(said, "encrypted")
        or contains(said, "encrypted")
        or begins(said, "notice")
        or (contains(said, "notice") and said.startswith(plain(author)))
    )


def is_group_notice(text: str) -> bool:
    """Check whether a notice can only stand in a group."""
    said = plain(text)
    return any(phrase in said for phrase in phrases("evidence"))


def _left_out(said: str, author: str, *, is_marked: bool, has_mark: bool) -> str | None:
    if said in phrases("deleted") or said.startswith("this message was deleted by admin"):
        return "deleted messages"
    if said == "null":
        return "media without a name"
    if is_sentence(said, "waiting") or (has_mark and begins(said, "waiting")):
        return "messages that the phone was waiting for"
    if said in phrases("call") or (has_mark and begins(said, "call")) or (is_marked and begins(said, "called")):
        return "calls"
    if is_marked and "\n" not in said and is_notice(said, author):
        return "notices"
    return None


def _is_edited_note(found: re.Match[str]) -> bool:
    # A marked note at the end is an edit, unless it says that media are left out.
    note = plain(found["note"])
    return note in phrases("edited") or (bool(found["mark"]) and media_noun(note) is None and any_noun(note) is None)


def _media(text: str, *, is_line_marked: bool, is_edited: bool) -> Body | None:
    """Read media. They have no part in the id: how they are written depends on whether they are exported too."""
    attached = ATTACHED_ANDROID.match(text) or ATTACHED_IPHONE.match(text)
    if attached and _is_written_by_whatsapp(attached):
        name = attached["name"].strip(f"{MARKS} ")
        body = _body(_kind_of_name(name), attached["caption"], name, is_edited=is_edited)
        return replace(body, is_attached=True)
    if omitted := OMITTED_ANDROID.match(text):
        label = plain(omitted["label"])
        return _body(media_noun(label) or _certain_noun(label), omitted["caption"], None, is_edited=is_edited)
    # An iPhone puts the label last, behind a mark, and marks the whole line too.
    before, label = _split_label(text)
    noun = media_noun(plain(label))
    if noun is None and is_line_marked and label and len(label) < 60 and label != text:
        noun = any_noun(plain(label)) or "document"
    if noun is None:
        return None
    caption = before.strip(f"{MARKS}{SPACES} \n")
    file_name = caption if noun == "document" and re.search(r"\.\w{1,8}$", caption) else None
    return _body(noun, before, file_name, is_edited=is_edited)


def _split_label(text: str) -> tuple[str, str]:
    """Split a text at its last mark; without a mark all of it is the label."""
    trimmed = text.rstrip(f"{MARKS} ")
    places = [found.start() for found in MARK.finditer(trimmed)]
    if not places:
        return "", trimmed
    label = trimmed[places[-1] + 1 :]
    return ("", trimmed) if "\n" in label else (trimmed[: places[-1]], label)


def _certain_noun(label: str) -> str:
    return any_noun(label) or "document"


def _body(noun: str, caption: str | None, file_name: str | None, *, is_edited: bool) -> Body:
    said = (caption or "").strip(f"{MARKS}{SPACES} \n")
    return Body(NOUN_KINDS.get(noun, noun), said, MEDIA, file_name, is_edited)


def _is_written_by_whatsapp(attached: re.Match[str]) -> bool:
    """Tell an attachment from the same characters typed by a person."""
    if attached["mark"] or OWN_FILE_NAME.match(attached["name"].lstrip(MARKS)):
        return True
    return plain(attached["note"]) in phrases("attached")


def _kind_of_name(name: str) -> str:
    extension = name.rpartition(".")[2].lower()
    if re.match(r"(?:\d{8}-STICKER|STK-)", name):
        return "sticker"
    return next((kind for kind, known in EXTENSIONS.items() if extension in known.split()), "file")


def _is_place(content: str) -> bool:
    lines = content.split("\n")
    found = PLACE.search(lines[-1])
    if not found or len(lines) > 3:
        return False
    label = lines[-1][: found.start()].strip(f"{MARKS}{SPACES} ")
    # A place is a label and a link, or two lines and a link; a sentence with a link is a text.
    return not label or (label.endswith((":", "：")) and len(label) <= 24)


def _is_poll(content: str) -> bool:
    first, *options = MARK.sub("", content).split("\n")
    return len(options) >= 3 and first.rstrip().endswith((":", "：")) and plain(first.strip(" :：")) in phrases("poll")
