"""Rows of a table that a trained model cannot predict, and why, while all others can be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcourse.data.table_column import CATEGORY, DATE, NUMBER, place
from dlcourse.data.table_dates import values_of
from dlcourse.data.table_facts import find
from dlcourse.data.table_file import TableFile, shown
from dlcourse.data.table_numbers import as_number
from dlcourse.data.table_words import DROP_ROWS, INDICATOR, REFUSE, Words


def faults_of(table: TableFile, columns: Sequence[Mapping[str, Any]], words: Words) -> dict[int, str]:
    """Why rows cannot be predicted, by their position from 0 on; of several faults in a row the first."""
    found: dict[int, str] = {}
    for column in columns:
        at = find(table, column["name"])
        for condition, reason in _conditions(table, at, column, words):
            query = f"select row_number() over () - 1 as k, c{at}::varchar as cell, {condition} as found from t"
            for row, text in table.all(f"select k, cell from ({query}) where found order by k"):
                found.setdefault(row, reason.format(text=text))
    return dict(sorted(found.items()))


def _conditions(table: TableFile, at: int, column: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """The SQL conditions of rows with a fault in a column, and what is said of them; ``{text}`` is the cell."""
    name, cell = str(column["name"]).replace("{", "{{").replace("}", "}}"), f"c{at}"
    kind, text = column["kind"], table.types[at] == "VARCHAR"
    if words.missing in (REFUSE, DROP_ROWS) or words.missing == INDICATOR and not column.get("indicator"):
        yield f"{cell} is null", f"column '{name}' is missing"
    if kind == CATEGORY and words.unseen == REFUSE:
        known = shown(column["vocabulary"]).replace("{", "{{").replace("}", "}}")
        unknown = f"{cell} is not null and {place(f'{cell}::varchar', column['vocabulary'])} is null"
        yield unknown, f"'{{text}}' in column '{name}' is unknown; known: {known}"
    if kind == NUMBER and text:
        yield f"{cell} is not null and not {as_number(cell)}", f"'{{text}}' in column '{name}' is no number"
    if kind == DATE and text:
        dates = " and ".join(f"({value}) is null" for value in values_of(cell).values())
        yield f"{cell} is not null and {dates}", f"'{{text}}' in column '{name}' is no date"
