"""Formats of tables, each of which becomes the table t of DuckDB: text with separated cells, Parquet, workbooks."""

import codecs
import csv
import gzip
import re
import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from dlcourse.data.facts import literal
from dlcourse.errors import Refused

TEXT, PARQUET, EXCEL = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"), (".parquet",), (".xlsx",)
MOST_COLUMNS = 10_000
PIECE = 1 << 20  # bytes that are looked at together
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}

Found = tuple[list[str], str, list[str]]  # names of the columns, separator, what there is to say


class Writing(NamedTuple):
    """How a table is written, where a person says so; None: as it is found."""

    separator: str | None = None
    encoding: str | None = None
    comment: str | None = None  # how lines begin that are left out
    header: bool = True  # the first line names the columns
    sheet: str | None = None
    na_values: tuple[str, ...] = ()  # cells that stand for a missing value, as empty ones do, in any case

    def clean(self, column: str) -> str:
        """The SQL expression of a cell of text: null where a value is missing."""
        words = ", ".join(_text(word.strip().lower()) for word in ("", *self.na_values))
        return f"case when lower(trim({column})) in ({words}) then null else trim({column}) end"

    def names(self, file: str, first: list[str]) -> list[str]:
        """The names of the columns; column1, column2, … where the first line has values."""
        return [literal(file, name.strip()) if self.header else f"column{k}" for k, name in enumerate(first, 1)]


def read_text(files: list[str], connection: duckdb.DuckDBPyConnection, writing: Writing) -> Found:
    """Cells separated by commas, semicolons, tabs, bars or spaces, in any encoding; .gz is unpacked."""
    said: list[str] = []
    names: list[str] = []
    options: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for k, file in enumerate(files):
            readable = _as_utf8(file, writing.encoding, Path(folder, f"{k}.csv"), said)
            options, first = _layout(connection, readable, writing)
            _same(files[0], names, file, found := writing.names(file, first))
            names = found
            columns = {f"c{n}": "VARCHAR" for n in range(len(names))}
            always = {"quote": '"', "escape": '"', "auto_detect": False, "strict_mode": True, "header": writing.header}
            given = {**always, **options, "columns": columns}
            cells = ", ".join(f"{writing.clean(column)} as {column}" for column in columns)
            arguments = "".join(f", {key} = ${key}" for key in given)
            connection.execute(
                f"{'insert into t' if k else 'create table t as'} select {cells} from read_csv($file{arguments})",
                {"file": _escaped(readable), **given},
            )
    if options["delim"] != ",":
        said.append(f"cells are separated by {SEPARATORS.get(options['delim'], repr(options['delim']))}")
    if options["skip"]:
        said.append(f"lines before the names of the columns that were left out: {options['skip']}")
    return names, options["delim"], list(dict.fromkeys(said))


def read_parquet(files: list[str], connection: duckdb.DuckDBPyConnection, writing: Writing) -> Found:
    """The columns of Parquet files, with their types; each is read when it is asked for."""
    source = f"read_parquet([{', '.join(_text(_escaped(file)) for file in files)}])"
    found = connection.execute(f"select * from {source} limit 0").description or ()
    columns = [(str(column[0]), str(column[1])) for column in found]
    cells = [_name(name) if kind != "VARCHAR" else writing.clean(_name(name)) for name, kind in columns]
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
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
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
    return f": {text.splitlines()[0]}"


def _same(first: str, names: list[str], file: str, found: list[str]) -> None:
    if names and found != names:
        raise Refused(f"{file} has the columns {', '.join(found[:20])}; {first} has {', '.join(names[:20])}")


def _layout(connection: duckdb.DuckDBPyConnection, file: str, writing: Writing) -> tuple[dict[str, Any], list[str]]:
    """What DuckDB must be told of a text file, and the cells of its first line.

    Lines at the start that are empty, begin with the comment sign or # or say ``sep=;`` are left out. The separator is
    the one that DuckDB's sniffer finds, if the first line has it, or else the most frequent one there.
    """
    sign = writing.comment or "#"
    separator, skip, first = writing.separator, 0, ""
    for line in _lines(file):
        first = line.strip("\r\n")
        if said := re.fullmatch(r'"?sep=(.)"?', first):
            separator = separator or said[1]
        elif first.strip() and not first.startswith(sign):
            break
        skip += 1
    else:
        raise Refused(f"{file} has no line that names the columns")
    if max(map(first.count, separator or SEPARATORS)) >= MOST_COLUMNS:
        raise Refused(f"{file}: its first line has more than {MOST_COLUMNS:,} cells; that many columns are not read")
    if separator is None:
        query = "select Delimiter from sniff_csv($file, all_varchar = true, skip = $skip)"
        separator = connection.execute(query, {"file": _escaped(file), "skip": skip}).fetchall()[0][0]
        if separator not in SEPARATORS or separator not in first:
            separator = max(SEPARATORS, key=first.count)
    cells = next(csv.reader(islice(_lines(file), skip, None), delimiter=separator, skipinitialspace=True), [])
    comment = {} if writing.comment is None else {"comment": writing.comment}
    return {"delim": separator, "skip": skip, **comment}, cells


def _as_utf8(file: str, encoding: str | None, copy: Path, said: list[str]) -> str:
    """The file itself if it is UTF-8, else a copy that is; Windows-1252 (Latin-1 and more) if nothing says so."""
    try:
        encoding = encoding or _encoding(file)
        if encoding == "utf-8":
            return file
        if encoding == "cp1252":
            said.append("the text is not UTF-8 and was read as Windows-1252; set data.encoding=… for another")
        with _opened(file) as stream, copy.open("w", encoding="utf-8", newline="") as out:
            for piece in codecs.getreader(encoding)(stream):
                out.write(piece)
    except (LookupError, UnicodeError) as error:
        raise Refused(f"{file}: data.encoding={encoding}: {error}; set the file's own, such as latin-1") from None
    except (OSError, EOFError) as error:
        raise Refused(f"{file} cannot be read: {error}; name a file") from None
    return str(copy)


def _encoding(file: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _opened(file) as stream:
        piece = stream.read(PIECE)
        if marked := [name for mark, name in BYTE_ORDER_MARKS.items() if piece.startswith(mark)]:
            return marked[0]
        if b"\0" in piece:
            raise Refused(f"{file} is no text: it has bytes of value 0; save the table as CSV, or set data.encoding=")
        try:
            while piece:
                decoder.decode(piece)
                piece = stream.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _lines(file: str) -> Any:
    with _opened(file) as stream:
        yield from codecs.getreader("utf-8")(stream)


def _opened(file: str) -> Any:
    return gzip.open(file, "rb") if file.endswith(".gz") else open(file, "rb")


def _escaped(file: str) -> str:
    """The name of a file, whose own ``*``, ``?`` and ``[`` are no pattern to DuckDB."""
    return re.sub(r"([*?[])", r"[\1]", file)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
