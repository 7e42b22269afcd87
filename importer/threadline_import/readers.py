"""Knows the readers, and tells which one reads a file.

Packages add readers to the entry points `threadline.readers`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from threadline_import.chatlab import ChatLab
from threadline_import.jsonl import JSONLines
from threadline_import.model import ImportRefusedError, Reader
from threadline_import.signal import SignalDesktop, SignalExport, refuse_by_name
from threadline_import.signal_cli import SignalCli
from threadline_import.sources import Source
from threadline_import.telegram import Telegram
from threadline_import.wechat import ChatLog, WeChatMsg, WeFlow
from threadline_import.whatsapp import WhatsApp

ENTRY_POINTS = "threadline.readers"
# In this order: a text file is WhatsApp's only if nothing else claims it.
READERS: dict[str, type[Reader]] = {
    "telegram": Telegram,
    "jsonl": JSONLines,
    "signal-export": SignalExport,
    "signal-cli": SignalCli,
    "signal-desktop": SignalDesktop,
    "wechatmsg": WeChatMsg,
    "chatlab": ChatLab,
    "weflow": WeFlow,
    "chatlog": ChatLog,
    "whatsapp": WhatsApp,
}
# Files that people try, and what to do instead.
REFUSED = {
    ".html": "an HTML page. In Telegram Desktop choose the format Machine-readable JSON",
    ".htm": "an HTML page. Export as JSON or text",
    ".crypt14": "an encrypted backup of WhatsApp. Use Export chat in the chat's menu",
    ".crypt15": "an encrypted backup of WhatsApp. Use Export chat in the chat's menu",
    ".db": "a database. Export it with a tool that writes JSON or CSV",
    ".sqlite": "a database. Export it with a tool that writes JSON or CSV",
    ".pdf": "a PDF. Export the chat as text",
    ".rar": "a .rar. Unpack it",
    ".7z": "a .7z. Unpack it",
}


def find_reader(source: Source, wanted: str | None) -> Reader:
    """Return the reader that the user names, or the one that recognizes the file."""
    if wanted:
        return _named(wanted)
    refuse_by_name(source)
    suffix = Path(source.member or source.path.name).suffix.lower()
    if suffix in REFUSED:
        raise ImportRefusedError(f"{source} is {REFUSED[suffix]}.")
    installed = [point.load() for point in entry_points(group=ENTRY_POINTS)]
    for kind in [*installed, *READERS.values()]:
        reader = kind()
        if reader.recognizes(source):
            return reader
    start = " ".join(source.head()[:80].split())
    raise ImportRefusedError(
        f"{source} is in no format that the importer knows ({', '.join(READERS)}). It begins with: {start}"
    )


def _named(wanted: str) -> Reader:
    if wanted in READERS:
        return READERS[wanted]()
    module, _, name = wanted.partition(":")
    if not name:
        raise ImportRefusedError(f"{wanted} is no reader. Choose one of {', '.join(READERS)}, or MODULE:CLASS.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(import_module(module), name)()
    except (ImportError, AttributeError) as problem:
        raise ImportRefusedError(f"The reader {wanted} cannot be loaded: {problem}.") from problem
