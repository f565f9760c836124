"""Building blocks of SQL statements: rows, parameters, columns by field name, keyset pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from ..models import CursorKey, Order

Row = tuple[Any, ...]
T = TypeVar("T", bound=msgspec.Struct)

# The assets with the ids in the parameter, a JSON array. CROSS JOIN keeps SQLite from starting with another index.
BY_IDS = "(SELECT value AS id FROM json_each(?)) chosen CROSS JOIN assets a ON a.id = chosen.id"
MOST_PARAMETERS = 999  # of a statement, as SQLite before 3.32 has it
ROW_COST = 15  # how many ids can be compared in the time in which SQLite reads one asset's row


def json_array(values: Iterable[Any]) -> str:
    """Encode values as a JSON array, which a statement reads with ``json_each``.

    One text parameter serves any number of values, so the statement stays the same and prepared.
    """
    return msgspec.json.encode(list(values)).decode()


class Columns(Generic[T]):
    """The SQL expression of each field of a struct, by the field's name.

    Raises TypeError, when the module is imported, for a field without an expression and for an unknown one.
    """

    def __init__(self, kind: type[T], /, **expressions: str) -> None:
        fields = kind.__struct_fields__
        if set(fields) != expressions.keys():
            raise TypeError(f"{kind.__name__}: the columns differ from the fields: {set(fields) ^ expressions.keys()}")
        self._kind = kind
        self.count = len(fields)  # rows may go on with other columns
        self.sql = ", ".join(expressions[name] for name in fields)

    def read(self, row: Sequence[Any]) -> T:
        """Make the struct of a row that begins with ``sql``."""
        return self._kind(*row[: self.count])

    def read_all(self, rows: Iterable[Sequence[Any]]) -> list[T]:
        """Make the structs of rows."""
        return [self.read(row) for row in rows]


def insert_into(table: str, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the statement that inserts a row, and its parameters."""
    names = ", ".join(values)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", [*values.values()]


class Statement(NamedTuple):
    """A statement with its parameters. With ``is_many`` it is run once for each row of these."""

    sql: str
    parameters: Iterable[Any] = ()
    is_many: bool = False


def statements(*texts: str) -> tuple[Statement, ...]:
    """Return statements without parameters."""
    return tuple(map(Statement, texts))


def insertion(
    table: str, rows: Sequence[Row], *, column: Sequence[object] = (), or_ignore: bool = False
) -> Iterator[Statement]:
    """Yield statements that insert rows by the thousand. ``table`` names its columns, if it has more than the rows.

    ``column`` has a further value for each row, which becomes its last one: that saves a copy of every row. With
    ``or_ignore``, rows whose keys are there already are left out.

    Each statement has many rows: between two statements the thread would wait for the interpreter lock, behind those
    that walk folders and read files.
    """
    if not rows:
        return
    insert = f"INSERT{' OR IGNORE' if or_ignore else ''} INTO {table} VALUES"
    width = len(rows[0])
    at_once = MOST_PARAMETERS // (width + bool(column))
    whole = len(rows) - len(rows) % at_once
    if whole:
        parts = (
            [*chain.from_iterable(rows[at : at + at_once]), *column[at : at + at_once]]
            for at in range(0, whole, at_once)
        )
        yield Statement(f"{insert} {_placeholders(width, at_once, has_column=bool(column))}", parts, is_many=True)
    if whole < len(rows):
        rest = rows[whole:]
        if column:
            rest = [(*row, last) for row, last in zip(rest, column[whole:], strict=True)]
        yield Statement(f"{insert} {_placeholders(width, 1, has_column=bool(column))}", rest, is_many=True)


@cache
def _placeholders(width: int, count: int, *, has_column: bool) -> str:
    """Return those of some rows whose values come one row after another, and then the column's."""
    numbers = [[*range(width * at + 1, width * (at + 1) + 1)] for at in range(count)]
    if has_column:
        for at, row in enumerate(numbers, 1):
            row.append(width * count + at)
    return ", ".join(f"({', '.join(f'?{number}' for number in row)})" for row in numbers)


def order_by(key: str, row_id: str, order: Order) -> str:
    """Return the clause that sorts by a key, with the row id as tie-break."""
    return f"ORDER BY {key} {order.upper()}, {row_id} {order.upper()}"


def after_key(key: str, row_id: str, order: Order, after: CursorKey | None) -> tuple[str, list[Any]]:
    """Return the condition, to be appended to others, that starts a page behind a row in this order; and parameters."""
    if after is None:
        return "", []
    # A comparison of row values is a range of the index by key and id, which one with OR is not.
    sign = "<" if order == "desc" else ">"
    return f" AND ({key}, {row_id}) {sign} (?, ?)", [after.value, after.row_id]
