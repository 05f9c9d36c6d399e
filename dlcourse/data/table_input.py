"""A column of a table as inputs: a number, a date and its parts, or the words of a category.

Imports neither torch nor lightning.
"""

from collections.abc import Mapping
from typing import Any

from dlcourse.data.table_column import CATEGORY, DATE, EMPTY, NUMBER, Column
from dlcourse.data.table_file import TableFile
from dlcourse.data.table_reading import check_missing, read_column, words_of
from dlcourse.data.table_words import INDICATOR, Words
from dlcourse.errors import Refused


def read_input(table: TableFile, at: int, said: Words) -> tuple[Column, dict[str, Any] | None, str]:
    """A column, how the data turns it into inputs (None: it is left out), and what becomes of it, in words.

    Refused: a column that cannot be read, or has missing values without a policy.
    """
    column = read_column(table, at, said.reading)
    if why := _why_left_out(table, at, column):
        return column, None, why
    vocabulary = words_of(table, column, said.reading) if column.kind == CATEGORY else None
    entry: dict[str, Any] = {"name": column.name, "kind": column.kind, "vocabulary": vocabulary, "form": column.form}
    entry |= {"float64": True} if needs_float64(table, column) else {}
    entry |= {"parts": [*said.date_parts]} if column.kind == DATE and said.date_parts else {}
    parts = f", with its place in the {' and the '.join(entry['parts'])}" if "parts" in entry else ""
    becomes = f"{width(entry)} input{'s' * (width(entry) > 1)}{parts}"
    if column.missing:
        check_missing(table, at, said.missing)
        entry |= {"indicator": True} if said.missing == INDICATOR else {}
        becomes += ", and 1 where missing" if said.missing == INDICATOR else f", missing: {said.missing}"
    return column, entry, becomes


def width(column: Mapping[str, Any]) -> int:
    """The number of inputs that a column becomes."""
    return len(column["vocabulary"] or "1") + 2 * len(column.get("parts", ())) + bool(column.get("indicator"))


def needs_float64(table: TableFile, column: Column) -> bool:
    """Whether float32 may lose more than 6e-5 of the standard deviation of a column of numbers or dates."""
    if column.kind not in (NUMBER, DATE):
        return False
    value = f"({column.value})::double"
    return bool(table.one(f"max(abs({value})) > 1024 * stddev_samp({value}) and stddev_samp({value}) > 0")[0])


def _why_left_out(table: TableFile, at: int, column: Column) -> str:
    """Why a column is left out; empty if it is an input. Refused: values in a column without a name."""
    if column.kind == EMPTY:
        return "left out: no values"
    if not column.name and "row number" in column.said:
        return "left out: counts the rows"
    if not column.name:
        raise Refused(f"{table.path}: column {at + 1} has no name; name it, or remove it if it only counts the rows")
    return ""
