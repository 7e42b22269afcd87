"""Imports a WhatsApp chat export (the .txt file of "Export chat") through messaging-ingest.

python whatsapp_import.py "WhatsApp Chat with Ada.txt" --me "My Name" --connection wa_1 --dry-run

The file says little: local wall-clock times, names as the phone's address book has them, no message ids. So:

* The order of day and month is found from all dates of the file; where they allow two, the importer refuses.
* A message's id is its time in UTC, a hash of its text, and a number among equals, so a later export of the
  same chat adds only what is new. Names are no part of it: they change whenever a contact is renamed.
* Messages of one minute (iPhone: second) are sent a millisecond apart, which keeps the order of the file.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from threadline_client import ImporterError, add_arguments, deliver, read_text, report, run, sent_at

FIRST_DAY = date(2009, 1, 1)  # WhatsApp is not older, so no date of an export is
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}  # where year, month and day stand

MEDIA = "\n"  # stands for media where the id is made; no text is like it
LRM = "\u200e"  # the invisible mark that WhatsApp puts before words of its own
MARKS = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_M = f"[{MARKS}]*"
_GAP = f"[ \u00a0\u202f{MARKS}]*"
_AM = r"a\.?[ \u00a0\u202f]?m\.?|ص|ق\.ظ\.?|上午|午前|오전"
_PM = r"p\.?[ \u00a0\u202f]?m\.?|م|ب\.ظ\.?|下午|午後|오후"

# 12/31/25, 10:30 PM - rest | [31.12.25, 22:30:05] rest | and what other languages make of the two
HEADER = re.compile(
    rf"(?P<marked>{_M})(?P<bracket>\[)?{_M}"
    rf"(?P<first>\d{{1,4}}){_M}(?P<separator>[./-]){_GAP}(?P<second>\d{{1,2}}){_M}(?P=separator){_GAP}"
    rf"(?P<third>\d{{1,4}})\.?{_M}[,،]?{_GAP}(?:(?:à|às|klo|kl\.|um|в){_GAP})?"
    rf"(?:(?:(?P<am1>{_AM})|(?P<pm1>{_PM})){_GAP})?"
    rf"(?P<hour>\d{{1,2}})[:.](?P<minute>\d{{2}})(?:[:.](?P<seconds>\d{{2}}))?"
    rf"(?:{_GAP}(?:(?P<am2>{_AM})|(?P<pm2>{_PM})))?{_M}"
    r"(?(bracket)\]|[ \u00a0]-)[ \u00a0](?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
AUTHOR = re.compile(r"(?P<author>.+?):(?: (?P<text>.*)|$)", re.DOTALL)

EXTENSIONS = {
    "image": "jpg jpeg png gif webp heic",
    "video": "mp4 mov 3gp avi mkv webm",
    "audio": "opus m4a mp3 aac amr ogg wav",
}
# What an iPhone calls media that the export leaves out; anything else is a file.
WORDS = {
    "image": "image imagen imagem immagine bild afbeelding изображение الصورة sticker стикер",
    "video": "video vídeo vidéo видео الفيديوهات gif",
    "audio": "audio áudio аудио الصوتية",
}
OMITTED_IPHONE = re.compile(
    rf"(?P<caption>.*?)[ \n]?{LRM}(?P<label>[^{LRM}\n]{{,40}}"
    r"\b(?:omitted|(?:weg|aus)gelassen|omitid[oa]|omis|absente|manquante?|retiré|omess[oa]|esclus[oa]|"
    rf"não revelad[oa]|ocultad[oa]|weggelaten|отсутствует|не добавлен)|لم يتم إدراج [^\n]+)$",
    re.IGNORECASE | re.DOTALL,
)
# <Media omitted> in any language, but not <div> and not <a href="...">.
OMITTED_ANDROID = re.compile(r"(?P<label><(?=[^>]*(?: |[^\x00-\x7f]))[^<>\n=/]+>)(?:\n(?P<caption>.*))?$", re.DOTALL)
ATTACHED_IPHONE = re.compile(
    rf"(?P<caption>.*?)[ \n]?(?P<mark>{LRM})?<(?P<note>[^<>:\uff1a\n]+)[:\uff1a] ?(?P<name>[^<>\n]+)>$",
    re.DOTALL,
)
ATTACHED_ANDROID = re.compile(
    rf"(?P<mark>{LRM})?(?P<name>[^\n]+?\.\w{{0,5}}) \((?P<note>[^()\n]+)\)(?:\n(?P<caption>.*))?$",
    re.DOTALL,
)
ATTACHED_NOTE = re.compile(
    r"file attached|Datei angehängt|archivo adjunto|fichier joint|file allegato|arquivo anexado|"
    r"ficheiro anexado|bestand bijgevoegd|файл добавлен"
)
OWN_FILE_NAME = re.compile(r"\d{8}-|[A-Z]{3}-\d{8}-WA\d|\d{4}-\d\d-\d\d-[A-Z]+-\d")
LOCATION = re.compile(
    r"(?:.*:\s)?https://(?:maps\.google\.com/\?q=|maps\.apple\.com/\?|foursquare\.com/v/)\S+$|"
    r"live location shared$",
    re.DOTALL,
)
DELETED = re.compile(
    r"This message was deleted(?: by admin .+)?|You deleted this message|Diese Nachricht wurde gelöscht|"
    r"Du hast diese Nachricht gelöscht|Se eliminó este mensaje|Eliminaste este mensaje|"
    r"Ce message a été supprimé|Vous avez supprimé ce message|Questo messaggio è stato eliminato|"
    r"Hai eliminato questo messaggio|(?:Esta )?mensagem (?:foi )?apagada|(?:Você )?apagou esta mensagem|"
    r"Dit bericht is verwijderd|U hebt dit bericht verwijderd|Данное сообщение удалено|"
    r"Вы удалили данное сообщение|تم حذف هذه الرسالة",
    re.IGNORECASE,
)
EDITED = re.compile(
    rf"[ \n]?(?:{LRM}<[^<>:\n]+>|<(?:This message was edited|Diese Nachricht wurde bearbeitet|"
    r"Se editó este mensaje|Ce message a été modifié|Questo messaggio è stato modificato|"
    r"(?:Esta )?mensagem (?:foi )?editada|Dit bericht is bewerkt|Данное сообщение изменено)\.?>)$",
    re.IGNORECASE,
)


@dataclass
class Entry:
    """One dated entry of the file: its first line taken apart, and the lines as they are."""

    number: int
    header: re.Match[str]
    lines: list[str]

    @property
    def layout(self) -> tuple[bool, str, bool, bool]:
        """How the time is written, which one phone does the same way all through one file."""
        found = self.header
        return found["bracket"] is not None, found["separator"], found["seconds"] is not None, _is_12h(found)

    @property
    def date(self) -> tuple[str, str, str]:
        """The three numbers of the date, in the order of the file."""
        return self.header["first"], self.header["second"], self.header["third"]

    def taken_apart(self) -> tuple[str | None, str]:
        """Return author and text; a notice has the author None."""
        said = AUTHOR.match(self.header["rest"])
        # Only a notice has its first colon inside quotes: Ada changed the subject to "Trip: Rome"
        if not said or len(re.findall('["“”«»„]', said["author"])) % 2:
            return None, self.header["rest"]
        return clean_name(said["author"]) or None, "\n".join([said["text"] or "", *self.lines[1:]])


@dataclass(frozen=True)
class Body:
    """What a message says: a type of the contract, the text, and the part that its id is made of."""

    type: str
    content: str
    identity: str
    file_name: str | None = None
    edited: bool = False


@dataclass(frozen=True)
class Message:
    """A message with its moment in UTC."""

    at: datetime
    author: str
    body: Body


@dataclass
class Chat:
    """A parsed export: the messages, what was left out on purpose, and what could not be read."""

    messages: list[Message] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    @property
    def authors(self) -> list[str]:
        """Everybody who wrote, in the order of their first message."""
        return list(dict.fromkeys(message.author for message in self.messages))


def parse(text: str, *, order: str | None = None, zone: tzinfo | None = None, today: date | None = None) -> Chat:
    """Read an export; `zone` is where the phone's clock was, None for this machine's zone."""
    chat = Chat()
    entries = split(text, chat.unreadable)
    if not entries:
        raise ImporterError("No line of the file looks like a WhatsApp message.")
    order = order or date_order((entry.date for entry in entries), today or date.today())
    previous: datetime | None = None
    for entry in entries:
        try:
            at = previous = moment(wall_time(entry, order), zone, previous)
        except ValueError:
            _unreadable(chat.unreadable, entry.number, entry.lines)
            continue
        author, said = entry.taken_apart()
        body = interpret(author, said, entry.header)
        if author and isinstance(body, Body):
            chat.messages.append(Message(at, author, body))
        else:
            chat.skipped[str(body)] += 1
    return chat


def split(text: str, unreadable: list[str]) -> list[Entry]:
    """Cut the file into entries; lines before the first one are added to `unreadable`."""
    # Not splitlines(): U+2028 and other breaks are no end of a line here, they are part of a message.
    lines = text.replace("\r\n", "\n").split("\n")
    dated = [Entry(n, header, [line]) for n, line in enumerate(lines) if (header := HEADER.match(line))]
    if not dated:
        return []
    usual = Counter(entry.layout for entry in dated).most_common(1)[0][0]
    # A dated line in another layout is pasted text.
    entries = [entry for entry in dated if entry.layout == usual]
    _unreadable(unreadable, 0, lines[: entries[0].number])
    ends = [entry.number for entry in entries[1:]] + [len(lines)]
    for entry, end in zip(entries, ends, strict=True):
        entry.lines = lines[entry.number : end]
    return entries


def _unreadable(unreadable: list[str], number: int, lines: list[str]) -> None:
    unreadable.extend(f"line {n}: {line}" for n, line in enumerate(lines, number + 1) if line.strip())


def clean_name(name: str) -> str:
    """Remove invisible marks from a name, and the ~ of senders outside the address book."""
    plain = re.sub(f"[{MARKS}]", "", name)
    for typographic, typed in {"\u00a0": " ", "\u202f": " ", "\u2011": "-"}.items():
        plain = plain.replace(typographic, typed)
    return plain.strip().removeprefix("~").strip()


def date_order(dates: Iterable[tuple[str, str, str]], today: date) -> str:
    """Find the one order of day, month and year that suits every date of the file, or refuse."""
    dates = list(dict.fromkeys(dates))
    fits = [order for order in ORDERS if all(_fits(parts, order, today) for parts in dates)]
    if len(fits) == 1:
        return fits[0]
    example = "/".join(dates[0])
    if fits:
        raise ImporterError(
            f"All dates of the file, such as {example}, can be read as {' or '.join(fits)}; "
            f"say which it is with --date-order."
        )
    raise ImporterError(
        f"No order of day, month and year suits all dates of the file; the first date is {example}. "
        f"Choose one with --date-order; lines with other dates are left out."
    )


def _fits(parts: tuple[str, str, str], order: str, today: date) -> bool:
    try:
        # The phone may be a day ahead of this machine.
        return FIRST_DAY <= calendar_day(parts, order) <= today + timedelta(days=1)
    except ValueError:
        return False


def calendar_day(parts: tuple[str, str, str], order: str) -> date:
    """Read a date as written; ValueError if there is no such day in this order."""
    year, month, day = (parts[place] for place in ORDERS[order])
    if len(year) not in (2, 4):
        raise ValueError(f"{year} is not a year")
    return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))


def wall_time(entry: Entry, order: str) -> datetime:
    """Read the local time that an entry begins with; ValueError if there is no such time."""
    header, day = entry.header, calendar_day(entry.date, order)
    hour = int(header["hour"])
    if _is_12h(header):
        if hour > 12:
            raise ValueError(f"{hour} is not an hour of a 12-hour clock")
        hour = hour % 12 + (12 if header["pm1"] or header["pm2"] else 0)
    return datetime(day.year, day.month, day.day, hour, int(header["minute"]), int(header["seconds"] or 0))


def _is_12h(header: re.Match[str]) -> bool:
    return any(header[name] for name in ("am1", "pm1", "am2", "pm2"))


def moment(wall: datetime, zone: tzinfo | None, previous: datetime | None) -> datetime:
    """Turn a wall-clock time into UTC; the line before decides which of two equal hours in autumn it is."""

    def utc(local: datetime) -> datetime:
        return (local.replace(tzinfo=zone) if zone else local).astimezone(UTC)

    at = utc(wall)
    if previous and at < previous <= (second_pass := utc(wall.replace(fold=1))):
        return second_pass
    return at


def interpret(author: str | None, text: str, header: re.Match[str]) -> Body | str:
    """Tell what an entry is: a body, or the reason to leave it out."""
    if author is None:
        return "notices"
    text = text.strip()
    if DELETED.fullmatch(text.strip(f"{LRM}. ")):
        return "deleted messages"
    edited = EDITED.search(text)
    if edited and edited.start():
        text = text[: edited.start()]
    content = text.strip(f"{LRM} \n")
    if body := _media(text, edited=bool(edited)):
        return body
    if not content:
        return "empty messages"
    if LOCATION.match(content):
        return Body("location", content, content)
    # An iPhone signs its notices with a name too. It also marks the whole line of media.
    if header["bracket"] and text.startswith(LRM) and "\n" not in text:
        return Body("file", content, MEDIA) if LRM in header["marked"] else "notices"
    return Body("text", content, content, edited=bool(edited))


def _media(text: str, *, edited: bool) -> Body | None:
    """Read media. It has no part in the id: how it is written depends on whether the media are exported too."""
    attached = ATTACHED_ANDROID.match(text) or ATTACHED_IPHONE.match(text)
    if attached and _is_written_by_whatsapp(attached):
        name = label = attached["name"].strip(f"{LRM} ")
        kind = _kind(EXTENSIONS, name.rpartition(".")[2])
        caption = attached["caption"]
    elif omitted := OMITTED_ANDROID.match(text) or OMITTED_IPHONE.match(text):
        name, label, caption = None, omitted["label"], omitted["caption"]
        kind = _kind(WORDS, label)
    else:
        return None
    said = (caption or "").strip(f"{LRM} \n")
    return Body(kind, said or label, MEDIA, name, edited)


def _is_written_by_whatsapp(attached: re.Match[str]) -> bool:
    """Tell an attachment from the same characters typed by a person."""
    return bool(attached["mark"] or OWN_FILE_NAME.match(attached["name"]) or ATTACHED_NOTE.fullmatch(attached["note"]))


def _kind(words: dict[str, str], text: str) -> str:
    for kind, known in words.items():
        if re.search(rf"\b(?:{known.replace(' ', '|')})\b", text, re.IGNORECASE):
            return kind
    return "file"


def conversation(
    chat: Chat,
    me: str | None,
    participant: str | None = None,
    group: str | None = None,
    external_id: str | None = None,
) -> dict:
    """Build the conversation as the endpoint takes it; what `me` wrote is outbound."""
    if not chat.messages:
        raise ImporterError("The file has no message, only notices of WhatsApp.")
    me = clean_name(me or "")
    if me not in chat.authors:
        raise ImporterError(f"Say which of these names is yours with --me: {', '.join(chat.authors)}.")
    others = [author for author in chat.authors if author != me]
    if len(others) > 1 and not group:
        raise ImporterError(f"This is a group ({', '.join(others)}); give its name with --group.")
    name = group or (others[0] if others else participant)
    if not name:
        raise ImporterError("No other side writes in this file. Name it with --participant.")
    return {
        "external_conversation_id": external_id or f"whatsapp-export:{name}",
        "participant_identifier": participant or name,
        "participant_name": name,
        "messages": list(_messages(chat.messages, me, with_author=bool(group))),
    }


def _messages(messages: list[Message], me: str, *, with_author: bool) -> Iterator[dict]:
    seen: Counter[datetime] = Counter()
    equals: Counter[str] = Counter()
    for message in messages:
        digest = hashlib.sha256(message.body.identity.encode("utf-8", "replace")).hexdigest()[:12]
        key = f"{message.at:%Y%m%dT%H%M%SZ}-{digest}"
        equals[key] += 1
        extras = {
            "author": message.author if with_author else None,
            "file_name": message.body.file_name,
            "edited": message.body.edited,
        }
        yield {
            "id": f"{key}-{equals[key]}",
            "direction": "outbound" if message.author == me else "inbound",
            "type": message.body.type,
            "content": message.body.content,
            "sent_at": sent_at(message.at, seen),
            **{name: value for name, value in extras.items() if value},
        }


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Import a WhatsApp chat export (.txt).")
    parser.add_argument("file", help="the exported .txt file; unpack the .zip of an iPhone first")
    parser.add_argument("--me", metavar="NAME", help="your name in the file; what it wrote is outbound")
    parser.add_argument("--participant", metavar="PHONE", help="number of the other side (default: its name)")
    parser.add_argument("--group", metavar="NAME", help="name of the group, if the chat is one")
    parser.add_argument("--conversation", metavar="ID", help="external_conversation_id (default: by the name)")
    parser.add_argument("--date-order", choices=list(ORDERS), help="only where the file leaves it open")
    parser.add_argument("--timezone", metavar="IANA", help="of the phone's clock (default: this machine's)")
    add_arguments(parser)
    return parser.parse_args(argv)


def zone_of(name: str | None) -> tzinfo | None:
    """Find a time zone by its IANA name, None for this machine's."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as problem:
        raise ImporterError(
            f"{name} is not a time zone known here, such as Europe/Berlin; Windows needs pip install tzdata."
        ) from problem


def main(argv: list[str] | None = None) -> int:
    """Import one export and answer the exit code."""
    arguments = arguments_of(argv)
    zone = zone_of(arguments.timezone)
    chat = parse(read_text(arguments.file), order=arguments.date_order, zone=zone)
    whole = conversation(chat, arguments.me, arguments.participant, arguments.group, arguments.conversation)
    where = arguments.timezone or f"of this machine ({datetime.now().astimezone().tzname()})"
    print(f"Time zone: {where}; --timezone changes it.")
    report([whole], chat.skipped, chat.unreadable)
    return deliver("whatsapp", [whole], arguments)


if __name__ == "__main__":
    sys.exit(run(main))
