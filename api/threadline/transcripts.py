"""What the model reads and writes: a transcript as a document of blocks, and the statements that cite them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anthropic.types import Message

# A client that renders a summary as HTML or Markdown must not load an address with what other messages say in it.
# Brackets stay as they are, unless a link or the address of one could follow.
_MARKUP = (
    (re.compile(r"<(?=[A-Za-z/!?])"), "\u2039"),
    (re.compile(r"!+(?=\[)"), ""),
    (re.compile(r"\](?=[(:])"), "] "),
)


@dataclass(frozen=True)
class Statement:
    """A piece of a summary, and the ids of the messages that the model cites for it."""

    text: str
    citations: list[str]


@dataclass(frozen=True)
class Block:
    """A block of a document that the model can cite: its text, and the ids of the messages that it stands for."""

    text: str
    ids: list[str]


def read_statements(answer: Message, blocks: Sequence[Block]) -> list[Statement]:
    """Return the pieces of an answer, each with the messages of the blocks that it cites."""
    statements = []
    for piece in answer.content:
        if piece.type == "text":
            ids = [
                each
                for citation in piece.citations or ()
                if citation.type == "content_block_location"
                for block in blocks[citation.start_block_index : citation.end_block_index]
                for each in block.ids
            ]
            statements.append(Statement(piece.text, list(dict.fromkeys(ids))))
    return statements


def merge_answers(answers: Sequence[Message], parts: Sequence[list[Block]]) -> Iterator[Block]:
    """Return the statements about all parts as blocks."""
    for number, (answer, part) in enumerate(zip(answers, parts, strict=True), start=1):
        for statement in read_statements(answer, part):
            if statement.text.strip():
                yield Block(_line({"part": number, "summary": statement.text.strip()}), statement.citations)


def break_markup(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Break HTML tags, and Markdown images and links: a message may have made the model write one."""
    before = ""
    for statement in statements:
        text = _without_markup(statement.text)
        # A link may begin in one statement and end in the next.
        if _without_markup(before[-1:] + text) != before[-1:] + text:
            text = f" {text}"
        before = text or before
        yield Statement(text, statement.citations)


def _without_markup(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


def strip_ends(statements: Iterable[Statement]) -> list[Statement]:
    """Remove white space at both ends, and statements without text there."""
    found = list(statements)
    while found and not found[0].text.strip():
        found.pop(0)
    while found and not found[-1].text.strip():
        found.pop()
    if found:
        found[0] = Statement(found[0].text.lstrip(), found[0].citations)
        found[-1] = Statement(found[-1].text.rstrip(), found[-1].citations)
    return found


def _line(values: dict[str, Any]) -> str:
    # Escaped, so that no message can close a tag around its document.
    return json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")


def render_document(blocks: Iterable[Block]) -> dict[str, Any]:
    """Return a document whose blocks the model can cite. The API keeps it apart from the task."""
    content = [{"type": "text", "text": block.text} for block in blocks]
    return {"type": "document", "source": {"type": "content", "content": content}, "citations": {"enabled": True}}


def list_threads(messages: Sequence[dict[str, Any]]) -> list[list[Block]]:
    """Return the blocks of each thread. A message without replies is a thread too."""
    numbers: dict[str, int] = {}
    roots: dict[str, str] = {}
    threads: dict[str, list[Block]] = {}
    for number, message in enumerate(messages, start=1):
        parent = message["parent_id"]
        numbers[message["id"]] = number
        # Replies to a parent that is older than the transcript stay together too.
        root = roots.get(parent, parent) or message["id"]
        roots[message["id"]] = root
        values = {"n": number, "at": message["at"], "from": message["author"], "text": message["content"]}
        if parent is not None:
            values["in_reply_to"] = numbers.get(parent, "an earlier message")
        threads.setdefault(root, []).append(Block(_line(values), [message["id"]]))
    return list(threads.values())


def divide(threads: Iterable[list[Block]], limit: int) -> Iterator[list[Block]]:
    """Group blocks into parts of at most `limit` bytes. Only a thread or a block that is longer is divided."""
    part: list[Block] = []
    size = 0
    for thread in threads:
        whole = _size(thread) <= limit
        for piece in [thread] if whole else [[cut] for block in thread for cut in _cut(block, limit)]:
            if part and size + _size(piece) > limit:
                yield part
                part, size = [], 0
            part.extend(piece)
            size += _size(piece)
    yield part


def _cut(block: Block, limit: int) -> Iterator[Block]:
    """Cut a block into blocks of at most `limit` bytes, which stand for the same messages."""
    text, start = block.text.encode(), 0
    while start < len(text):
        piece = text[start : start + limit - 1].decode(errors="ignore")  # without a character that is cut
        yield Block(piece, block.ids)
        start += len(piece.encode())


def _size(blocks: Iterable[Block]) -> int:
    return sum(len(block.text.encode()) + 1 for block in blocks)
