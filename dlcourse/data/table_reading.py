"""What each column of a table is: numbers as people write them, dates or words, as all of its cells say.

Imports neither torch nor lightning.
"""

from collections.abc import Sequence

from dlcourse.data.facts import literal
from dlcourse.data.table_column import (
    CATEGORY,
    DATE,
    EMPTY,
    MANY_ROWS,
    NUMBER,
    Column,
    Reading,
    count,
    matches,
    ranged,
    row_of,
)
from dlcourse.data.table_dates import DAY, ISO_SAID, date
from dlcourse.data.table_file import TableFile
from dlcourse.data.table_numbers import LEADING_ZERO, POINT, WITH_COMMA, WITH_POINT, number, written_number
from dlcourse.data.table_words import POLICIES
from dlcourse.errors import Refused

PLURAL = {NUMBER: "numbers", DATE: "dates", CATEGORY: "words"}
WHOLE_TYPES = ("INTEGER", "BIGINT", "SMALLINT", "TINYINT", "HUGEINT")
NEARLY_ALL = 0.9  # a text that differs in more of many rows says nothing about other rows


def read_column(table: TableFile, at: int, reading: Reading) -> Column:
    """The column number ``at`` of a table. Refused: numbers among text, or what can be read in two ways."""
    cell, kind = f"c{at}", table.types[at]
    column = count(table, at)
    if column.missing == column.rows:
        return column
    if kind.startswith(("DATE", "TIMESTAMP")):
        value = f"epoch_us({cell}) / {DAY}"
        return ranged(table, column._replace(kind=DATE, value=value, form=ISO_SAID), cell)
    if kind == "BOOLEAN":
        return _words(table, column._replace(value=f"{cell}::varchar"), "")
    if not kind.endswith("]") and kind.startswith(
        ("DECIMAL", "DOUBLE", "FLOAT", "UINT", "USMALL", "UTINY", "UBIG", "UHUGE", *WHOLE_TYPES)
    ):
        return number(table, column, f"{cell}::double", "", "")
    if kind != "VARCHAR":
        name = column.name
        raise Refused(
            f"{table.path}: column '{name}' is of type {kind}, which is no number, date or text; leave it out "
            f"with data.ignore=[{name}]"
        )
    coded = table.one(f"count(*) filter (ltrim({cell}, '+-') like '0_%' and {matches(cell, LEADING_ZERO)})")[0]
    if coded and not reading.known.startswith((".", ",")):
        return _words(table, column, "codes: some begin with 0")
    present = column.rows - column.missing
    plain = table.one(f"count(*) filter (try_cast({cell} as double) is not null and {matches(cell, POINT)})")[0]
    is_plain = plain == present and reading.decimal != ","
    if is_plain and reading.known.startswith(","):  # 1.500 may be 1500, as in the training table
        is_plain = table.one(f"count(*) filter ({matches(cell, WITH_COMMA)})")[0] < present
    if is_plain:
        return number(table, column, f"{cell}::double", "", ".")
    return written_number(table, column, reading) or date(table, column, reading) or _words(table, column, "")


def read_as(table: TableFile, at: int, kind: str, form: str, reading: Reading) -> Column:
    """The column number ``at``, read as in the table that was trained on. Refused: cells of another kind or form."""
    cell = f"c{at}"
    if kind == CATEGORY:
        return count(table, at)._replace(kind=CATEGORY, value=f"{cell}::varchar")
    column = read_column(table, at, reading._replace(known=form))
    place, name = f"{table.path}: column '{table.names[at]}'", table.names[at]
    if column.kind == EMPTY:
        return column
    if kind == NUMBER and column.kind == CATEGORY:
        amount = f"try_cast({cell}::varchar as double)"
        if table.one(f"count({amount})")[0] == column.rows - column.missing:  # 01, 02: the numbers are meant
            return number(table, column, amount, "", ".")
        text = f"{cell}::varchar"
        fits = f"{matches(text, f'{WITH_POINT}|{WITH_COMMA}')} and not {matches(text, LEADING_ZERO)}"
        row, text = row_of(table, f"{cell} is not null and not ({fits})", cell)
        raise Refused(f"{table.path}, row {row}: column '{name}' holds numbers, but here '{text}'; correct it")
    if kind != column.kind:
        raise Refused(f"{place} holds {PLURAL[kind]}, but here {PLURAL[column.kind]}: {column.shown}; correct it")
    if kind == NUMBER and form and column.form[1:] != form[1:]:
        units = " and ".join(f"'{each[1:]}'" if each[1:] else "none" for each in (form, column.form))
        raise Refused(f"{place}: its numbers have another unit than in the training table ({units}); correct them")
    if kind == DATE and column.form != form and "/" in form and "/" in column.form:
        raise Refused(f"{place} has dates as {column.form}, and in the training table as {form}; correct them")
    return column


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


def _words(table: TableFile, column: Column, said: str) -> Column:
    query = (
        f"select {column.value} as v, count(*) as n from t where v is not null group by v order by n desc, v limit 4"
    )
    words = [literal(table.path, str(word)) for word, _ in table.all(query)]
    return column._replace(kind=CATEGORY, shown=", ".join(words[:3]) + ", …" * (len(words) > 3), said=said)


def check_missing(table: TableFile, at: int, missing: str, ways: Sequence[str] = POLICIES[1:]) -> None:
    """Refused: a column with a missing value, where data.missing does not say what becomes of it."""
    if missing not in ways and table.one(f"count(c{at})")[0] < table.rows:
        row, _ = row_of(table, f"c{at} is null", f"c{at}")
        way = f"set data.missing={ways[0]}" + f" ({', '.join(ways[1:])})" * (len(ways) > 1) if ways else "fill it in"
        raise Refused(f"{table.path}, row {row}: column '{table.names[at]}' is missing; {way}, or remove the row")
