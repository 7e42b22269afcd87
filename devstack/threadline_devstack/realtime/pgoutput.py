"""The messages of the plugin pgoutput, protocol version 1, as objects.

See "Logical Replication Message Formats" in the manual of PostgreSQL. Values are texts, as each type's output function
writes them; null is None.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Kind = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
Row = dict[str, str | None]


@dataclass(frozen=True)
class Column:
    """A column of a published table, as it was at the time of the change."""

    name: str
    type_oid: int
    type_modifier: int
    is_identity: bool


@dataclass(frozen=True)
class Relation:
    """A table, as it was at the time of the changes that follow."""

    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Begin:
    """The start of a committed transaction; `xid` is the lower 32 bits of its id."""

    lsn: int
    committed_at: datetime
    xid: int


@dataclass(frozen=True)
class End:
    """The end of a transaction; the next one begins at or after this position."""

    next_lsn: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a row, or the truncation of a table.

    Args:
        kind: what happened.
        schema: where the table is.
        table: its name; a partition's own one, unless the publication says `publish_via_partition_root`.
        columns: those that are published, in the table's order.
        record: the row after an INSERT or UPDATE, else None. A large value that an UPDATE did not touch is not in the
            stream: it is taken from the old row where the replica identity has it, and else is missing here.
        old_record: what is known of the row before an UPDATE or DELETE, else None: the columns of the replica
            identity, all of them when that is FULL.

    """

    kind: Kind
    schema: str
    table: str
    columns: tuple[Column, ...]
    record: Row | None
    old_record: Row | None


class _Reader:
    """Takes one message apart, from left to right."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple:
        values = layout.unpack_from(self._message, self._at)
        self._at += layout.size
        return values

    def text(self) -> str:
        end = self._message.index(0, self._at)
        value = self._message[self._at : end].decode()
        self._at = end + 1
        return value

    def row(self, columns: tuple[Column, ...]) -> Row:
        """Return the values in the stream; an untouched large value is missing."""
        (count,) = self.take(_COUNT)
        message, at = self._message, self._at
        row: Row = {}
        for column in columns[:count]:
            kind = message[at]
            at += 1
            if kind == _TEXT:
                start = at + _LENGTH.size
                at = start + _LENGTH.unpack_from(message, at)[0]
                row[column.name] = message[start:at].decode()
            elif kind == _NULL:
                row[column.name] = None
        self._at = at
        return row


_TAG = struct.Struct("!c")
_BEGIN = struct.Struct("!qqi")
_COMMIT = struct.Struct("!Bqqq")
_OID = struct.Struct("!I")
_COUNT = struct.Struct("!h")
_LENGTH = struct.Struct("!i")
_COLUMN_FLAGS = struct.Struct("!B")
_COLUMN_TYPE = struct.Struct("!Ii")
_TRUNCATE = struct.Struct("!iB")
_TEXT, _NULL = b"tn"  # kinds of values


class Decoder:
    """Decodes the messages of one stream. It remembers the tables, because Postgres describes each once."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}

    def decode(self, message: bytes) -> list[Begin | End | Change]:
        """Decode a message: no object for a description, several for a truncation of several tables."""
        reader = _Reader(message)
        (tag,) = reader.take(_TAG)
        match tag:
            case b"B":
                lsn, microseconds, xid = reader.take(_BEGIN)
                return [Begin(lsn, EPOCH + timedelta(microseconds=microseconds), xid)]
            case b"C":
                return [End(reader.take(_COMMIT)[2])]
            case b"R":
                relation = _relation(reader)
                self._relations[relation.oid] = relation
                return []
            case b"I" | b"U" | b"D":
                return [_change(tag, self._relations[reader.take(_OID)[0]], reader)]
            case b"T":
                count, _ = reader.take(_TRUNCATE)
                relations = [self._relations[reader.take(_OID)[0]] for _ in range(count)]
                return [Change("TRUNCATE", each.schema, each.table, each.columns, None, None) for each in relations]
            case _:  # types by name, origins, and messages that applications write into the log
                return []


def _relation(reader: _Reader) -> Relation:
    (oid,) = reader.take(_OID)
    schema, table = reader.text(), reader.text()
    reader.take(_TAG)  # the kind of replica identity: each column says whether it belongs to it
    columns = []
    for _ in range(reader.take(_COUNT)[0]):
        (flags,) = reader.take(_COLUMN_FLAGS)
        name = reader.text()
        columns.append(Column(name, *reader.take(_COLUMN_TYPE), is_identity=bool(flags & 1)))
    return Relation(oid, schema or "pg_catalog", table, tuple(columns))


def _change(tag: bytes, relation: Relation, reader: _Reader) -> Change:
    old: Row | None = None
    new: Row | None = None
    (part,) = reader.take(_TAG)
    if part in (b"O", b"K"):
        old = reader.row(relation.columns)
        if part == b"K":  # columns outside the key come as null
            old = _identity(relation, old)
        if tag == b"U":
            reader.take(_TAG)
    if tag != b"D":
        new = reader.row(relation.columns)
    if tag == b"U":
        # Without an old row the key did not change.
        old = old if old is not None else _identity(relation, new)
        new = {**old, **new}
    kind: Kind = {b"I": "INSERT", b"U": "UPDATE", b"D": "DELETE"}[tag]
    return Change(kind, relation.schema, relation.table, relation.columns, new, old)


def _identity(relation: Relation, row: Row) -> Row:
    return {column.name: row[column.name] for column in relation.columns if column.is_identity and column.name in row}
