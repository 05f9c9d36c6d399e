"""Numbers in the cells of a column, as people write them: with units, decimal commas, marks between thousands."""

import re
from collections.abc import Iterable

from dlcourse.data.table_column import MANY_ROWS, NUMBER, Column, Reading, matches, quoted, ranged, row_of
from dlcourse.data.table_file import TableFile
from dlcourse.errors import Refused

LARGEST = (2 - 2**-23) * 2.0**127  # of float32
# One number, as a regular expression of RE2.
_SIGN, _EXPONENT, _SPACE = r"[-+]?", r"([eE][-+]?\d+)?", r"[ '’\x{a0}\x{2009}\x{202f}]"
WHOLE = rf"{_SIGN}\d+"
_GROUP = r"[1-9]\d{0,2}"  # before the first mark between thousands
POINT = rf"{_SIGN}(\d+\.?\d*|\.\d+){_EXPONENT}"
WITH_POINT = rf"{POINT}|{_SIGN}{_GROUP}(,\d{{3}})+(\.\d*)?|{_SIGN}{_GROUP}({_SPACE}\d{{3}})+(\.\d*)?"
GROUPED_BY_POINTS = rf"{_SIGN}{_GROUP}(\.\d{{3}})+"
WITH_COMMA = (
    rf"{_SIGN}(\d+,?\d*|,\d+){_EXPONENT}|{GROUPED_BY_POINTS}(,\d*)?"
    rf"|{_SIGN}{_GROUP}({_SPACE}\d{{3}})+(,\d*)?"
)
LEADING_ZERO = rf"{_SIGN}0\d+"  # a code: 01 is not 1
UNITS = r"[$€£¥₹%]|USD|EUR|GBP|CHF|JPY"
SAME_QUANTITY = [
    {*words.split()}
    for words in ("mg g kg t oz lb lbs", "mm cm m km in ft mi", "ms s min h d", "ml cl l L", "°C °F K", "W kW MW")
]


def written_number(table: TableFile, column: Column, reading: Reading) -> Column | None:
    """Numbers with a unit, with marks between thousands or with a decimal comma; None if few of the cells are that."""
    cell, present = column.value, column.rows - column.missing
    units = units_with([reading.known[1:]])
    if not reading.known[1:] or not table.one(f"bool_or({as_number(cell, units)})")[0]:
        units = _units(table, cell)
    bare = without_unit(cell, units)
    as_point, as_comma = matches(bare, WITH_POINT), matches(bare, WITH_COMMA)
    numbers, points, commas, with_comma, with_point = table.one(
        f"count(*) filter ({as_point} or {as_comma})",
        f"count(*) filter ({as_point})",
        f"count(*) filter ({as_comma})",
        f"count(*) filter (contains({bare}, ','))",
        f"count(*) filter (contains({bare}, '.'))",
    )
    if 2 * numbers < present:
        return None
    known = reading.known[:1] if reading.known and points == commas == present else None
    decimal = reading.decimal or known or _decimal(table, column, present, points, commas, with_comma)
    fits = as_comma if decimal == "," else as_point
    if (commas if decimal == "," else points) < present:
        row, text = row_of(table, f"{cell} is not null and not {fits}", cell)
        raise Refused(
            f"{table.path}, row {row}: column '{column.name}' holds numbers, but here '{text}'; correct it, set "
            f"data.decimal,\nor, if it stands for a missing value, name it in data.na_values"
        )
    value = f"{with_plain_point(bare, decimal)}::double"
    grouped = with_point if decimal == "," else with_comma
    grouped += table.one(f"count(*) filter (regexp_matches({bare}, '{quoted(_SPACE)}'))")[0]
    unit = _unit(table, column, units)
    accounts = table.one(f"bool_or({cell} like '(%')")[0]
    said = [
        f"{unit} (17% is 17)" if unit == "%" else unit,
        "decimal comma" * (decimal == "," and with_comma > 0),
        "thousands marks" * (grouped > 0),
        "(5) is -5" * accounts,
    ]
    return number(table, column, value, ", ".join(filter(None, said)), f"{decimal}{unit}")


def _decimal(table: TableFile, column: Column, present: int, points: int, commas: int, with_comma: int) -> str:
    """The decimal mark that all cells can have; of 1,720 alone, which can have both, a point where commas separate."""
    name = column.name
    if points < present and commas < present:
        return "." if points >= commas else ","
    if points == commas and with_comma and table.separator != ",":
        raise Refused(
            f"{table.path}: in column '{name}' the comma may be a decimal mark or between thousands; set "
            "data.decimal=',' or data.decimal=."
        )
    return "." if points == present else ","


def _units(table: TableFile, cell: str) -> str:
    """The pattern of units, and of the words behind the numbers of this column: kg in 1.5 kg; all of one quantity."""
    end = rf"regexp_extract({_signed(cell)}, '[\pL°µ][^\d.,]*[23]?$')"
    query = f"select distinct {end} as word from t where word <> '' limit {max(map(len, SAME_QUANTITY)) + 1}"
    words = [str(word) for (word,) in table.all(query) if not re.fullmatch(r"[eE][-+]?\d", word)]  # 1,5e3
    if not words or len(words) > 1 and not any({*words} <= quantity for quantity in SAME_QUANTITY):
        return UNITS
    units = units_with(words)
    bare = without_unit(cell, units)
    numbers, codes = table.one(f"bool_and({as_number(cell, units)})", f"bool_or({matches(bare, LEADING_ZERO)})")
    return units if numbers and not codes else UNITS


def units_with(words: Iterable[str]) -> str:
    """The pattern of units and these words."""
    longest_first = sorted(filter(None, words), key=len, reverse=True)
    return "|".join([*(quoted(re.escape(word)) for word in longest_first), UNITS])


def _unit(table: TableFile, column: Column, units: str) -> str:
    """The unit that all numbers have. Refused: different ones, or some without."""
    query = f"select regexp_extract({column.value}, '{units}') as unit, count(*) from t"
    found = table.all(f"{query} where {column.value} is not null group by unit order by unit")
    if len(found) > 1:
        counts = ", ".join(f"{count:,} with {unit or 'none'}" for unit, count in found)
        raise Refused(
            f"{table.path}: the numbers of column '{column.name}' have different units ({counts}); correct them"
        )
    return str(found[0][0])


def without_unit(cell: str, units: str = UNITS) -> str:
    """The SQL expression of a number without the unit before or behind it; (5) is -5, as accounts write it."""
    return rf"regexp_replace({_signed(cell)}, '^({_SIGN})({units})\s*|\s*({units})$', '\1', 'g')"


def _signed(cell: str) -> str:
    return rf"regexp_replace(replace({cell}, '−', '-'), '^\(([^-+()]*)\)$', '-\1')"


def with_plain_point(bare: str, decimal: str) -> str:
    """The SQL expression of a number without marks between thousands, and with a decimal point."""
    marks = f"{_SPACE}|{'[.]' if decimal == ',' else ','}"
    return f"replace(regexp_replace({bare}, '{quoted(marks)}', '', 'g'), ',', '.')"


def as_number(cell: str, units: str = UNITS) -> str:
    """The SQL condition of a cell that is a number in some way of writing them."""
    return matches(without_unit(cell, units), f"{WITH_POINT}|{WITH_COMMA}")


def could_be_thousands(table: TableFile, column: Column) -> bool:
    """Whether the points of a column of numbers may stand between thousands, as in 1.720."""
    if not column.form.startswith("."):
        return False
    cell = f"c{table.names.index(column.name)}::varchar"
    bare = without_unit(cell, units_with([column.form[1:]]))
    other, grouped = table.one(
        f"count(*) filter (not {matches(bare, WITH_COMMA)})",
        f"count(*) filter ({matches(bare, GROUPED_BY_POINTS)})",
    )
    return other == 0 and grouped > 0


def number(table: TableFile, column: Column, value: str, said: str, form: str) -> Column:
    """The column as numbers, each the SQL expression ``value``. Refused: some that float32 cannot hold."""
    cell = column.value
    least, most, whole = table.one(f"min({value})", f"max({value})", f"bool_and({value} = trunc({value}))")
    if not (abs(least) <= LARGEST and abs(most) <= LARGEST):
        row, text = row_of(table, f"not (abs({value}) <= {LARGEST!r})", cell)
        raise Refused(f"{table.path}, row {row}: column '{column.name}' is {text}; correct it or remove the row")
    present = column.rows - column.missing
    if whole and column.distinct == present >= MANY_ROWS and most - least == present - 1:
        said = f"{said}, looks like a row number".removeprefix(", ")
    return ranged(table, column._replace(kind=NUMBER, value=value, said=said, form=form), value)
