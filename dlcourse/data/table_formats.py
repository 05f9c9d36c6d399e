"""Formats of tables, each of which becomes the table t of DuckDB: text with separated cells, Parquet, workbooks."""

import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import duckdb

from dlcourse.data.facts import literal
from dlcourse.data.table_encoding import as_utf8
from dlcourse.data.table_lines import SEPARATORS, layout_of, with_plain_names, without_comments
from dlcourse.errors import Refused

TEXT, PARQUET, EXCEL = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"), (".parquet",), (".xlsx",)
NO_HIVE = "hive_partitioning = false"  # a folder named x=7 is no column

Found = tuple[list[str], str, list[str]]  # names of the columns, separator, what there is to say


class Writing(NamedTuple):
    """How a table is written, where a person says so; None: as it is found."""

    separator: str | None = None
    encoding: str | None = None
    comment: str | None = None  # how lines begin that are left out
    header: bool = True  # the first line names the columns
    sheet: str | None = None
    na_values: tuple[str, ...] = ()  # cells that stand for a missing value, as empty ones do, in any case

    def clean(self, column: str, kind: str = "VARCHAR") -> str:
        """The SQL expression of a cell: null where a value is missing, text without space around it."""
        cell = f"trim({column})" if kind == "VARCHAR" else column
        words = ", ".join(_text(word.strip().lower()) for word in ("", *self.na_values))
        missing = [f"lower({cell}) in ({words})"] * (kind == "VARCHAR")
        missing += [f"isnan({cell})"] * (kind in ("DOUBLE", "FLOAT") and "nan" in map(str.lower, self.na_values))
        if numbers := [word for word in self.na_values if re.fullmatch(r"[-+]?\d+(\.\d*)?", word.strip())]:
            missing.append(f"try_cast({cell}::varchar as double) in ({', '.join(numbers)})")  # -999.0 is -999
        return f"case when {' or '.join(missing)} then null else {cell} end" if missing else cell

    def names(self, file: str, first: list[str]) -> list[str]:
        """The names of the columns; column1, column2, … where the first line has values."""
        return [literal(file, name.strip()) if self.header else f"column{k}" for k, name in enumerate(first, 1)]


def read_text(files: list[str], connection: duckdb.DuckDBPyConnection, writing: Writing) -> Found:
    """Cells separated by commas, semicolons, tabs, bars or spaces, in any encoding; .gz is unpacked."""
    said: list[str] = []
    names: list[str] = []
    separator = ""
    with tempfile.TemporaryDirectory() as folder:
        for k, file in enumerate(files):
            readable = as_utf8(file, writing.encoding, Path(folder, f"{k}.csv"), said)
            if writing.comment is not None:
                readable = without_comments(readable, writing.comment, Path(folder, f"{k} comments.csv"), said)
            layout = layout_of(readable, file, writing.separator, writing.comment is not None)
            if k and separator != layout.separator:
                raise Refused(
                    f"{file} is separated by {layout.separator!r}, {files[0]} by {separator!r}; set "
                    "data.separator, or give files that are written alike"
                )
            separator = layout.separator
            _same(files[0], names, file, found := writing.names(file, layout.first))
            names = found
            given = {"quote": '"', "escape": '"', "auto_detect": False, "strict_mode": True, "delim": separator}
            if layout.plain:
                given |= {"header": writing.header, "skip": layout.skip}
            else:
                readable = with_plain_names(readable, layout, writing.header, Path(folder, f"{k} names.csv"))
                given |= {"header": True, "skip": 0}
            columns = {f"c{n}": "VARCHAR" for n in range(len(names))}
            cells = ", ".join(f"{writing.clean(column)} as {column}" for column in columns)
            arguments = "".join(f", {key} = ${key}" for key in (*given, "columns"))
            connection.execute(
                f"{'insert into t' if k else 'create table t as'} select {cells} from read_csv($file{arguments})",
                {"file": _escaped(readable), "columns": columns, **given},
            )
    if separator != ",":
        said.append(f"cells are separated by {SEPARATORS.get(separator, repr(separator))}")
    if layout.skip:
        said.append(f"lines before the names of the columns that were left out: {layout.skip}")
    return names, separator, list(dict.fromkeys(said))


def read_parquet(files: list[str], connection: duckdb.DuckDBPyConnection, writing: Writing) -> Found:
    """The columns of Parquet files, with their types; each is read when it is asked for."""
    source = f"read_parquet([{', '.join(_text(_escaped(file)) for file in files)}], {NO_HIVE})"
    found = connection.execute(f"select * from {source} limit 0").description or ()
    columns = [(str(column[0]), str(column[1])) for column in found]
    for file in files[1:]:
        other = connection.execute(
            f"select * from read_parquet({_text(_escaped(file))}, {NO_HIVE}) limit 0"
        ).description
        if columns != (theirs := [(str(column[0]), str(column[1])) for column in other or ()]):
            here, there = (", ".join(map(" ".join, each[:20])) for each in (columns, theirs))
            raise Refused(f"{file} has the columns {there}; {files[0]} has {here}")
    cells = [writing.clean(_name(name), kind) for name, kind in columns]
    connection.execute(
        f"create view t as select {', '.join(f'{cell} as c{k}' for k, cell in enumerate(cells))} from {source}"
    )
    return [literal(files[0], name) for name, _ in columns], ",", []


def read_sheet(files: list[str], connection: duckdb.DuckDBPyConnection, writing: Writing) -> Found:
    """The values of the first sheet of .xlsx files, or of the one that is named; results of formulas, as last saved."""
    if find_spec("openpyxl") is None:
        raise Refused(f"{files[0]}: .xlsx needs openpyxl: pip install -e '.[excel]'")
    import openpyxl

    names: list[str] = []
    said: list[str] = []
    for k, file in enumerate(files):
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise Refused(
                f"{file} is no readable workbook ({error}); save it as .xlsx, or name it by its format"
            ) from None
        if writing.sheet is not None and writing.sheet not in book.sheetnames:
            raise Refused(f"{file} has no sheet {writing.sheet}; it has {', '.join(book.sheetnames)}")
        sheet = writing.sheet or book.sheetnames[0]
        rows = [["" if cell is None else str(cell) for cell in row] for row in book[sheet].iter_rows(values_only=True)]
        lines = [row for row in rows if any(cell.strip() for cell in row)]
        if not lines:
            raise Refused(f"{file}: the sheet {sheet} is empty; its first line must name the columns")
        _same(files[0], names, file, found := writing.names(file, lines[0]))
        names = found
        columns = [f"c{n}" for n in range(len(names))]
        if not k:
            connection.execute(f"create table raw ({', '.join(f'{column} varchar' for column in columns)})")
        if below := lines[writing.header :]:
            connection.executemany(f"insert into raw values ({', '.join('?' * len(names))})", below)
        if len(book.sheetnames) > 1:
            said.append(f"the sheet {sheet} of {', '.join(book.sheetnames)}")
    cells = ", ".join(f"{writing.clean(f'c{n}')} as c{n}" for n in range(len(names)))
    connection.execute(f"create view t as select {cells} from raw")
    return names, ",", list(dict.fromkeys(said))


def reason(error: duckdb.Error) -> str:
    """DuckDB's reason in a line, without its advice, to be put behind the name of a file."""
    text = str(error)
    line = found[1] if (found := re.search(r"Line: (\d+)", text)) else "?"
    if counts := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        expected, cells = counts.groups()
        return f", row {line}: {cells} cells, but the header has {expected}; complete the row, or set data.comment="
    if "quote" in text and line != "?":
        return f", row {line}: a quoted cell has no end, or text after it; correct the quotes"
    if "invalid state" in text:
        return ": its rows end in different ways (CR LF, LF or CR), or a quote is open; save it again as CSV"
    return f": {text.splitlines()[0]}"


def _same(first: str, names: list[str], file: str, found: list[str]) -> None:
    if names and found != names:
        raise Refused(f"{file} has the columns {', '.join(found[:20])}; {first} has {', '.join(names[:20])}")


def _escaped(file: str) -> str:
    """The name of a file, whose own ``*``, ``?`` and ``[`` are no pattern to DuckDB."""
    return re.sub(r"([*?[])", r"[\1]", file)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
