"""Dates in the cells of a column, with or without a time; their value is in days since 1970-01-01."""

from dlcourse.data.table_column import DATE, Column, Reading, matches, ranged, row_of
from dlcourse.data.table_file import TableFile
from dlcourse.errors import Refused

#: Dates, by what is said of them.
DATES = {
    "day.month.year": "%d.%m.%Y",
    "day/month/year": "%d/%m/%Y",
    "month/day/year": "%m/%d/%Y",
    "year/month/day": "%Y/%m/%d",
}
ISO, ISO_SAID = r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?", "year-month-day"
LIKE_A_DATE = r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2}(\d{2})?)(\D.*)?"
TIMES = ("", " %H:%M", " %H:%M:%S")
DAY = 86400e6  # microseconds


def date(table: TableFile, column: Column, reading: Reading) -> Column | None:
    """Dates and times, in days; None if few cells are that. Refused: 01/02/2024, if no cell says which is the day."""
    cell, present = column.value, column.rows - column.missing
    values = values_of(cell)
    counts = dict(zip(values, table.one(*(f"count({value})" for value in values.values())), strict=True))
    found = [said for said, dates in counts.items() if dates == present]
    if not found:
        if 2 * table.one(f"count(*) filter ({matches(cell, LIKE_A_DATE)})")[0] < present:
            return None
        best = max(counts, key=lambda said: counts[said])
        row, text = row_of(table, f"{cell} is not null and ({values[best]}) is null", cell)
        raise Refused(
            f"{table.path}, row {row}: column '{column.name}' seems to hold dates, but here '{text}'; write all as "
            f"2024-01-31 or 2024-01-31 18:30:00,\nor leave the column out with data.ignore=[{column.name}]"
        )
    if len(found) > 1 and reading.known in found:
        found = [reading.known]
    if len(found) > 1 and reading.day_first is None:
        raise Refused(
            f"{table.path}: the dates of column '{column.name}' may be {' or '.join(found)}; set data.day_first=true "
            "or data.day_first=false"
        )
    wanted = "day" if reading.day_first else "month"
    said = min(found, key=lambda each: not each.startswith(wanted))
    value = f"({values[said]})"
    shown = cell if said == ISO_SAID else value
    return ranged(table, column._replace(kind=DATE, value=value, said=said, form=said), shown)


def values_of(cell: str) -> dict[str, str]:
    """The SQL expressions of a date in days, by the order that it is written in; null where it is none of that."""
    values = {ISO_SAID: f"case when {matches(cell, ISO)} then epoch_us(try_cast({cell} as timestamp)) / {DAY} end"}
    for said, form in DATES.items():
        forms = ", ".join(f"'{form}{time}'" for time in TIMES)
        in_four = matches(cell, r".*\d{4}( .*)?|\d{4}.*")  # digits of the year
        values[said] = f"case when {in_four} then epoch_us(try_strptime({cell}, [{forms}])) / {DAY} end"
    return values
