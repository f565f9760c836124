"""Building blocks of SQL statements: rows, parameters, columns by field name, keyset pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from ..models import CursorKey, Order

Row = tuple[Any, ...]
T = TypeVar("T", bound=msgspec.Struct)

# The assets with the ids in the parameter, a JSON array. CROSS JOIN keeps SQLite from starting with another index.
BY_IDS = "(SELECT value AS id FROM json_each(?)) chosen CROSS JOIN assets a ON a.id = chosen.id"
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
