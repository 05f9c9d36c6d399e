"""Rows of a table that a trained model cannot predict, and why, while all others can be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcourse.data.table_column import CATEGORY, DATE, NUMBER, literal_of, matches, place
from dlcourse.data.table_dates import ISO_SAID, values_of
from dlcourse.data.table_facts import find
from dlcourse.data.table_file import TableFile, shown
from dlcourse.data.table_numbers import (
    LARGEST,
    WITH_COMMA,
    WITH_POINT,
    as_number,
    units_with,
    with_plain_point,
    without_unit,
)
from dlcourse.data.table_words import DROP_ROWS, INDICATOR, REFUSE, Words

CELL = "\0"  # in what is said of a row


def faults_of(table: TableFile, columns: Sequence[Mapping[str, Any]], words: Words) -> dict[int, str]:
    """Why rows cannot be predicted, by their position from 0 on; of several faults in a row the first."""
    found: dict[int, str] = {}
    for column in columns:
        at = find(table, column["name"])
        for condition, reason in _conditions(table, at, column, words):
            query = f"select row_number() over () - 1 as k, c{at}::varchar as cell, {condition} as found from t"
            for row, text in table.all(f"select k, cell from ({query}) where found order by k"):
                found.setdefault(row, reason.replace(CELL, str(text)))
    return dict(sorted(found.items()))


def _conditions(table: TableFile, at: int, column: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """The SQL conditions of rows with a fault in a column, and what is said of them; CELL stands for the cell."""
    name, cell = str(column["name"]), f"c{at}"
    kind, text = column["kind"], table.types[at] == "VARCHAR"
    if words.missing in (REFUSE, DROP_ROWS) or words.missing == INDICATOR and not column.get("indicator"):
        yield f"{cell} is null", f"column '{name}' is missing"
    if kind == CATEGORY and words.unseen == REFUSE:
        known = shown(column["vocabulary"])
        unknown = f"{cell} is not null and {place(f'{cell}::varchar', column['vocabulary'])} is null"
        yield unknown, f"'{CELL}' in column '{name}' is unknown; known: {known}"
    if kind == NUMBER and table.types[at] in ("DOUBLE", "FLOAT"):
        yield (
            f"{cell} is not null and not {_is_float32(cell)}",
            f"{CELL} in column '{name}' is no number or too large",
        )
    if kind == NUMBER and text:
        units = units_with([column.get("form", "")[1:]])
        yield f"{cell} is not null and not {as_number(cell, units)}", f"'{CELL}' in column '{name}' is no number"
        yield from _numbers_otherwise(table, cell, name, column.get("form", ""), words)
    if kind == DATE and text:
        dates = values_of(cell)
        none = " and ".join(f"({value}) is null" for value in dates.values())
        yield f"{cell} is not null and {none}", f"'{CELL}' in column '{name}' is no date"
        orders = {said: f"({value}) is not null" for said, value in dates.items()}
        said = _form(table, orders, column.get("form") or ISO_SAID, f"not ({none})")
        yield f"not ({none}) and not {orders[said]}", f"'{CELL}' in column '{name}' is no date as {said}"


def _numbers_otherwise(table: TableFile, cell: str, name: str, form: str, words: Words) -> Iterator[tuple[str, str]]:
    """Numbers with another decimal mark or unit than the column has, and those that are too large."""
    units = units_with([form[1:]])
    bare, is_number = without_unit(cell, units), as_number(cell, units)
    marks = {".": matches(bare, WITH_POINT), ",": matches(bare, WITH_COMMA)}
    decimal = words.decimal or _form(table, marks, form[:1] or ".", is_number)
    sign = {".": "point", ",": "comma"}[decimal]
    yield f"{is_number} and not {marks[decimal]}", f"'{CELL}' in column '{name}' is no number with a decimal {sign}"
    unit = f"regexp_extract({cell}, '{units}')"
    if form or table.one(f"bool_or({unit} = '') filter ({is_number})")[0]:
        given = f"'{CELL}' in column '{name}' has another unit than in the training table ({form[1:] or 'none'})"
        yield f"{is_number} and {unit} <> {literal_of(form[1:])}", given
    value = with_plain_point(bare, decimal)
    yield f"{marks[decimal]} and not {_is_float32(value)}", f"'{CELL}' in column '{name}' is too large"


def _form(table: TableFile, forms: Mapping[str, str], trained: str, present: str) -> str:
    """The form that cells are to have: that of the training table, or another that all have, if they have not that."""
    fit = table.one(*(f"bool_and({fits}) filter ({present})" for fits in forms.values()))
    fitting = [each for each, all_fit in zip(forms, fit, strict=True) if all_fit]
    return trained if trained in fitting or not fitting else fitting[0]


def _is_float32(value: str) -> str:
    return f"(abs(try_cast({value} as double)) <= {LARGEST!r})"
