"""Splits a script into its statements, as psql and the Supabase CLI do."""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Literals and comments, which may hold a semicolon, and the words that begin and end a body. A word is matched
# whole, so that the quote in `note'x'` or the dollars in `a$b$c` are not mistaken for the start of a literal.
PIECE = re.compile(
    r"""
      --[^\n]*
    | /\*
    | [eE]'(?:[^'\\]|\\.|'')*'?
    | '[^']*'?
    | "[^"]*"?
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$(?:.*?\$(?P=tag)\$|.*)
    | [^\W\d][\w$]*
    | \S
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


class Statement(NamedTuple):
    """One statement with the comments before it, without its semicolon."""

    text: str
    first_line: int  # of the text
    code_line: int  # of the first thing in it that is not a comment


def split(script: str) -> Iterator[Statement]:
    """Yield the statements of a script; a comment alone is not a statement."""
    begin, line = 0, 1
    code = None
    for position, piece in [*pieces(script), (len(script), ";")]:
        if piece != ";":
            code = position if code is None else code
            continue
        if code is not None:
            text = script[begin:position]
            blank = len(text) - len(text.lstrip())
            first_line = line + text.count("\n", 0, blank)
            yield Statement(text.strip(), first_line, line + text.count("\n", 0, code - begin))
        line += script.count("\n", begin, position + 1)
        begin, code = position + 1, None


def pieces(script: str) -> Iterator[tuple[int, str]]:
    """Yield place and text of what is not a comment, leaving out semicolons inside ( ) and BEGIN ATOMIC ... END."""
    end, parentheses, bodies, previous = 0, 0, 0, ""
    while found := PIECE.search(script, end):
        end, piece = found.end(), found.group().lower()
        if piece == "/*":
            end = end_of_comment(script, end)
            continue
        if piece.startswith("--"):
            continue
        if (piece == "atomic" and previous == "begin") or (piece == "case" and bodies):
            bodies += 1
        elif piece == "end" and bodies:
            bodies -= 1
        parentheses = max(0, parentheses + (piece == "(") - (piece == ")"))
        previous = piece
        if piece != ";" or not (parentheses or bodies):
            yield found.start(), piece


def end_of_comment(script: str, end: int) -> int:
    """Return the end of the block comment that opens before `end`; comments nest."""
    depth = 1
    while depth and (edge := COMMENT_EDGE.search(script, end)):
        depth += 1 if edge.group() == "/*" else -1
        end = edge.end()
    return len(script) if depth else end
