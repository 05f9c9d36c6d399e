"""What each column of a table is: numbers as people write them, dates or words, as all of its cells say.

Imports neither torch nor lightning.
"""

from typing import Any, NamedTuple

from dlcourse.data.facts import literal
from dlcourse.data.table_file import TableFile
from dlcourse.errors import Refused

NUMBER, DATE, CATEGORY, EMPTY = "number", "date", "category", "empty"
LARGEST = (2 - 2**-23) * 2.0**127  # of float32
MANY_ROWS = 20
NEARLY_ALL = 0.9  # a text that differs in more of many rows says nothing about other rows

# One number, as a regular expression of RE2.
_SIGN, _EXPONENT, _SPACE = r"[-+]?", r"([eE][-+]?\d+)?", r"[ '’\x{a0}\x{202f}]"
WHOLE = rf"{_SIGN}\d+"
POINT = rf"{_SIGN}(\d+\.?\d*|\.\d+){_EXPONENT}"
WITH_POINT = rf"{POINT}|{_SIGN}\d{{1,3}}(,\d{{3}})+(\.\d*)?|{_SIGN}\d{{1,3}}({_SPACE}\d{{3}})+(\.\d*)?"
WITH_COMMA = (
    rf"{WHOLE}|{_SIGN}(\d+,\d*|,\d+){_EXPONENT}|{_SIGN}\d{{1,3}}(\.\d{{3}})+(,\d*)?"
    rf"|{_SIGN}\d{{1,3}}({_SPACE}\d{{3}})+(,\d*)?"
)
LEADING_ZERO = rf"{_SIGN}0\d+"  # a code: 01 is not 1
UNITS = r"[$€£¥₹%]|USD|EUR|GBP|CHF|JPY"
#: Dates, by what is said of them.
DATES = {
    "day.month.year": "%d.%m.%Y",
    "day/month/year": "%d/%m/%Y",
    "month/day/year": "%m/%d/%Y",
    "year/month/day": "%Y/%m/%d",
}
ISO = r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}.*)?"
DAY = 86400e6  # microseconds


class Reading(NamedTuple):
    """How cells are read, where a person says so."""

    decimal: str | None = None  # the decimal mark: . or ,
    day_first: bool | None = None  # of 01/02/2024
    max_categories: int = 100


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


def read_column(table: TableFile, at: int, reading: Reading) -> Column:
    """The column number ``at`` of a table. Refused: numbers among text, or what can be read in two ways."""
    cell, kind = f"c{at}", table.types[at]
    present, distinct = table.one(f"count({cell})", f"count(distinct {cell})")
    column = Column(table.names[at], EMPTY, cell, table.rows, table.rows - present, distinct)
    if not present:
        return column
    if kind in ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"):
        return _ranged(table, column._replace(kind=DATE, value=f"epoch_us({cell}::timestamp) / {DAY}"), cell)
    if kind == "BOOLEAN":
        return _words(table, column._replace(value=f"{cell}::varchar"), "")
    if kind != "VARCHAR":
        return _number(table, column, f"{cell}::double", "")
    coded = table.one(f"count(*) filter (ltrim({cell}, '+-') like '0_%' and {_matches(cell, LEADING_ZERO)})")[0]
    if coded:
        return _words(table, column, "codes: some begin with 0")
    plain = f"try_cast({cell} as double) is not null and {_matches(cell, POINT)}"
    if reading.decimal != "," and table.one(f"count(*) filter ({plain})")[0] == present:
        return _number(table, column, f"{cell}::double", "")
    return _written_number(table, column, reading) or _date(table, column, reading) or _words(table, column, "")


def words_of(table: TableFile, column: Column, reading: Reading) -> list[str]:
    """The different words of a category. Refused: text that differs in nearly every row; too many words."""
    present = column.rows - column.missing
    if column.distinct >= MANY_ROWS and column.distinct > NEARLY_ALL * present:
        raise Refused(
            f"{table.path}: the text in column '{column.name}' is different in {column.distinct:,} of {present:,} "
            f"rows, so nothing can be\nlearned from it; leave it out with data.ignore=[{column.name}]"
        )
    if column.distinct > reading.max_categories:
        raise Refused(
            f"{table.path}: column '{column.name}' has {column.distinct:,} different words, each of them an input;\n"
            f"leave it out with data.ignore=[{column.name}], or set data.max_categories={column.distinct}"
        )
    found = table.all(f"select distinct {column.value} as v from t where v is not null order by v")
    return [literal(table.path, word) for (word,) in found]


def read_as(table: TableFile, at: int, kind: str, reading: Reading) -> Column:
    """The column number ``at``, which must be of a kind, as in the table that was trained on. Refused: other cells."""
    column = read_column(table, at, reading)
    if column.kind == kind or column.kind == EMPTY:
        return column
    if kind == CATEGORY:
        return column._replace(kind=CATEGORY, value=f"c{at}::varchar")
    fits = _matches(f"c{at}::varchar", f"{WITH_POINT}|{WITH_COMMA}" if kind == NUMBER else ISO)
    row, text = row_of(table, f"c{at} is not null and not {fits}", f"c{at}")
    holds = "numbers" if kind == NUMBER else "dates"
    raise Refused(f"{table.path}, row {row}: column '{column.name}' holds {holds}, but here '{text}'; correct it")


def row_of(table: TableFile, condition: str, cell: str) -> tuple[int, str]:
    """The number of the first row with a condition, as a spreadsheet counts them, and its cell."""
    query = f"select row_number() over () as row, {cell} as cell, {condition} as found from t"
    row, text = table.all(f"select row, cell from ({query}) where found limit 1")[0]
    return row + 1, str(text)


def _written_number(table: TableFile, column: Column, reading: Reading) -> Column | None:
    """Numbers with a unit, with marks between thousands or with a decimal comma; None if few of the cells are that."""
    cell, present = column.value, column.rows - column.missing
    bare = rf"regexp_replace({cell}, '^({_SIGN})({UNITS})\s*|\s*({UNITS})$', '\1', 'g')"
    as_point, as_comma = _matches(bare, WITH_POINT), _matches(bare, WITH_COMMA)
    number, points, commas, with_comma, with_point = table.one(
        f"count(*) filter ({as_point} or {as_comma})",
        f"count(*) filter ({as_point})",
        f"count(*) filter ({as_comma})",
        f"count(*) filter (contains({bare}, ','))",
        f"count(*) filter (contains({bare}, '.'))",
    )
    if 2 * number < present:
        return None
    decimal = reading.decimal or _decimal(table, column, present, points, commas, with_comma)
    fits = as_comma if decimal == "," else as_point
    if (commas if decimal == "," else points) < present:
        row, text = row_of(table, f"{cell} is not null and not {fits}", cell)
        raise Refused(
            f"{table.path}, row {row}: column '{column.name}' holds numbers, but here '{text}'; correct it, set "
            f"data.decimal,\nor, if it stands for a missing value, name it in data.na_values"
        )
    marks = f"{_SPACE}|{'[.]' if decimal == ',' else ','}"
    value = f"replace(regexp_replace({bare}, '{_quoted(marks)}', '', 'g'), ',', '.')::double"
    grouped = with_point if decimal == "," else with_comma
    grouped += table.one(f"count(*) filter (regexp_matches({bare}, '{_quoted(_SPACE)}'))")[0]
    said = [
        _unit(table, column),
        "decimal comma" * (decimal == "," and with_comma > 0),
        "thousands marks" * (grouped > 0),
    ]
    return _number(table, column, value, ", ".join(filter(None, said)))


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


def _unit(table: TableFile, column: Column) -> str:
    """The unit that all numbers have. Refused: different ones, or some without."""
    query = f"select regexp_extract({column.value}, '{UNITS}') as unit, count(*) from t"
    found = table.all(f"{query} where {column.value} is not null group by unit order by unit")
    if len(found) > 1:
        units = ", ".join(f"{count:,} with {unit or 'none'}" for unit, count in found)
        raise Refused(
            f"{table.path}: the numbers of column '{column.name}' have different units ({units}); correct them"
        )
    unit = str(found[0][0])
    return f"{unit} (17% is 17)" if unit == "%" else unit


def _number(table: TableFile, column: Column, value: str, said: str) -> Column:
    cell = column.value
    least, most, whole = table.one(f"min({value})", f"max({value})", f"bool_and({value} = trunc({value}))")
    if not (abs(least) <= LARGEST and abs(most) <= LARGEST):
        row, text = row_of(table, f"not (abs({value}) <= {LARGEST!r})", cell)
        raise Refused(f"{table.path}, row {row}: column '{column.name}' is {text}; correct it or remove the row")
    present = column.rows - column.missing
    if whole and column.distinct == present >= MANY_ROWS and most - least == present - 1:
        said = f"{said}, looks like a row number".removeprefix(", ")
    return _ranged(table, column._replace(kind=NUMBER, value=value, said=said), value)


def _date(table: TableFile, column: Column, reading: Reading) -> Column | None:
    """Dates and times, in days; None if a cell is none. Refused: 01/02/2024, where no cell says which is the day."""
    cell, present = column.value, column.rows - column.missing
    if table.one(f"count(*) filter ({_matches(cell, ISO)})")[0] == present:
        value = f"epoch_us(try_cast({cell} as timestamp)) / {DAY}"
        if table.one(f"count({value})")[0] == present:
            return _ranged(table, column._replace(kind=DATE, value=value, said="year-month-day"), cell)
    found = {}
    for said, form in DATES.items():
        forms = ", ".join(f"'{form}{time}'" for time in ("", " %H:%M", " %H:%M:%S"))
        value = f"epoch_us(try_strptime({cell}, [{forms}])) / {DAY}"
        if table.one(f"count({value})")[0] == present:
            found[said] = value
    if not found:
        return None
    if len(found) > 1 and reading.day_first is None:
        raise Refused(
            f"{table.path}: the dates of column '{column.name}' may be {' or '.join(found)}; set data.day_first=true "
            "or data.day_first=false"
        )
    wanted = "day" if reading.day_first else "month"
    said = min(found, key=lambda each: not each.startswith(wanted))
    return _ranged(table, column._replace(kind=DATE, value=found[said], said=said), found[said])


def _words(table: TableFile, column: Column, said: str) -> Column:
    query = (
        f"select {column.value} as v, count(*) as n from t where v is not null group by v order by n desc, v limit 4"
    )
    words = [literal(table.path, str(word)) for word, _ in table.all(query)]
    return column._replace(kind=CATEGORY, shown=", ".join(words[:3]) + ", …" * (len(words) > 3), said=said)


def _ranged(table: TableFile, column: Column, of: str) -> Column:
    least, most = (_short(bound) for bound in table.one(f"min({of})", f"max({of})"))
    return column._replace(shown=least if least == most else f"{least} … {most}")


def _short(bound: Any) -> str:
    return f"{bound:.10g}" if isinstance(bound, float) else str(bound)


def _matches(cell: str, pattern: str) -> str:
    return f"regexp_full_match({cell}, '{_quoted(pattern)}')"


def _quoted(pattern: str) -> str:
    return pattern.replace("'", "''")
