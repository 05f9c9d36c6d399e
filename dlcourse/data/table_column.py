"""One column of a table: what it is known to be, how it is to be read, and questions about its cells."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from dlcourse.data.table_file import TableFile
from dlcourse.errors import one_line

NUMBER, DATE, CATEGORY, EMPTY = "number", "date", "category", "empty"
MANY_ROWS = 20


class Reading(NamedTuple):
    """How cells are read, where a person says so."""

    decimal: str | None = None  # the decimal mark: . or ,
    day_first: bool | None = None  # of 01/02/2024
    max_categories: int = 100
    known: str = ""  # how the column of the training table was read; decides what can be read in two ways


class Column(NamedTuple):
    """A column as it was read.

    ``value``: the SQL expression of a row's value: a number (of a date the days since 1970-01-01), or a word; null
    where it is missing. ``distinct``: how many values differ; ``shown``: the range of numbers and dates, or frequent
    words. ``said``: what was taken off the numbers, or how they look.
    """

    name: str
    kind: str
    value: str
    rows: int
    missing: int = 0
    distinct: int = 0
    shown: str = ""
    said: str = ""
    form: str = ""  # the decimal mark of numbers, and their unit; the order of dates


def count(table: TableFile, at: int) -> Column:
    """The column number ``at`` with the number of its missing and different values, not read further."""
    present, distinct = table.one(f"count(c{at})", f"count(distinct c{at})")
    return Column(table.names[at], EMPTY, f"c{at}", table.rows, table.rows - present, distinct)


def row_of(table: TableFile, condition: str, cell: str) -> tuple[int, str]:
    """The number of the first row with a condition, as a spreadsheet counts them, and its cell."""
    query = f"select row_number() over () as row, {cell} as cell, {condition} as found from t"
    row, text = table.all(f"select row, cell from ({query}) where found limit 1")[0]
    return row - 1 + table.first_row, one_line(text)


def ranged(table: TableFile, column: Column, of: str) -> Column:
    least, most = (_short(bound) for bound in table.one(f"min({of})", f"max({of})"))
    return column._replace(shown=least if least == most else f"{least} … {most}")


def _short(bound: Any) -> str:
    return f"{bound:.10g}" if isinstance(bound, float) else str(bound)


def matches(cell: str, pattern: str) -> str:
    return f"regexp_full_match({cell}, '{quoted(pattern)}')"


def quoted(pattern: str) -> str:
    return pattern.replace("'", "''")


def literal_of(text: str | None) -> str:
    """A text, or null, as SQL writes it."""
    return "null" if text is None else f"'{quoted(text)}'"


def place(value: str, words: Sequence[str]) -> str:
    """The SQL expression of the place of a word in a list, from 0 on; null for another."""
    return f"(list_position([{', '.join(map(literal_of, words))}], {value}) - 1)"
