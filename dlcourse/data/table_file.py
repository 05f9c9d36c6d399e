"""A table in a file, or in several: its columns by name, and figures of all rows. Read and asked by DuckDB.

Imports neither torch nor lightning.
"""

import glob
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from dlcourse.data.table_formats import (
    EXCEL,
    PARQUET,
    TEXT,
    Writing,
    read_parquet,
    read_sheet,
    read_text,
    reason,
)
from dlcourse.data.table_lines import MOST_COLUMNS
from dlcourse.errors import Refused

SHOWN = 20
AS_FOUND = Writing()
# No code is fetched, no file but those that are named is opened, and memory is given back after each question.
SETTINGS: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_file_cache": "false",
    "allocator_flush_threshold": "1MB",
    "allocator_bulk_deallocation_flush_threshold": "1MB",
}


class TableFile:
    """The table ``t`` of a DuckDB ``connection``, whose columns c0, c1, … have the ``names`` of the file.

    Cells are text without space around it, or have the ``types`` of a Parquet file; null where a value is missing.
    ``separator`` of a text file, else a comma; ``said``: what was found about the file, in sentences; ``first_row``:
    its number as a spreadsheet counts, 2 below a line of names.
    """

    def __init__(
        self,
        path: str,
        names: list[str],
        connection: duckdb.DuckDBPyConnection,
        separator: str,
        said: list[str],
        first_row: int,
    ):
        self.path, self.names, self.connection = path, names, connection
        self.separator, self.said, self.first_row = separator, said, first_row
        self.answers: dict[tuple[str, ...], tuple[Any, ...]] = {}
        self.types = [str(column[1]) for column in connection.execute("select * from t limit 0").description or ()]
        self.rows = int(self.one("count(*)")[0])

    def one(self, *selects: str) -> tuple[Any, ...]:
        """Figures of all rows, such as ``count(*)`` and ``min(c0)``; each is asked for once."""
        if selects not in self.answers:
            self.answers[selects] = self.all(f"select {', '.join(selects)} from t")[0]
        return self.answers[selects]

    def all(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        found: list[tuple[Any, ...]] = self.connection.execute(query).fetchall()
        return found

    def without(self, rows: Sequence[int]) -> "TableFile":
        """The same table without some rows, by their position from 0 on."""
        if not rows:
            return self
        rest = self.connection.cursor()
        rest.execute("create temp table left_out as select unnest($rows) as k", {"rows": [*rows]})
        numbered = "select *, row_number() over () - 1 as k from memory.main.t"
        rest.execute(f"create temp view t as select * exclude (k) from ({numbered}) where k not in (from left_out)")
        return TableFile(self.path, self.names, rest, self.separator, self.said, self.first_row)

    def array(self, expression: str) -> Any:
        """One value for each row, in the order of the file, as a NumPy array; masked where there are missing values."""
        return self.connection.execute(f"select {expression} as v from t").fetchnumpy()["v"]


def read_table(path: str | Path | Sequence[str], writing: Writing = AS_FOUND) -> TableFile:
    """The table in a file, or in several with the same columns (a list, or a pattern such as logs/*.csv).

    The last table is kept until its files change. Refused: no such file, another format, rows with too many or too few
    cells, names of columns that are doubled.
    """
    files = files_of(path)
    return _read(tuple((file, (stat := Path(file).stat()).st_mtime_ns, stat.st_size) for file in files), writing)


@lru_cache(1)
def _read(state: tuple[tuple[str, int, int], ...], writing: Writing) -> TableFile:
    files = [file for file, _, _ in state]
    path = files[0] if len(files) == 1 else f"{files[0]} … {Path(files[-1]).name}"
    if empty := [file for file, _, size in state if not size]:
        raise Refused(f"{empty[0]} is empty; its first line must name the columns")
    read = next((each for ends, each in READERS.items() if files[0].lower().endswith(ends)), read_text)
    connection = duckdb.connect(config=SETTINGS)
    try:
        names, separator, said = read(files, connection, writing)
        table = TableFile(path, names, connection, separator, said, 1 + writing.header)
    except duckdb.Error as error:
        raise Refused(f"{path}{reason(error)}") from None
    if len(names) > MOST_COLUMNS:
        raise Refused(f"{path} has {len(names):,} columns; up to {MOST_COLUMNS:,} are read")
    if doubled := [name for k, name in enumerate(names) if name and name in names[:k]]:
        raise Refused(f"{path}: two columns are named '{doubled[0]}'; rename one")
    return table


READERS = {PARQUET: read_parquet, EXCEL: read_sheet}


def files_of(path: str | Path | Sequence[str]) -> list[str]:
    """The files of a path, a list of paths, or a pattern. Refused: no such file, a folder, several formats."""
    patterns = [str(path)] if isinstance(path, str | Path) else [str(each) for each in path]
    found = [[each] if Path(each).exists() else sorted(glob.glob(each)) or [each] for each in patterns]
    files = [file for group in found for file in group]
    if repeated := [file for k, file in enumerate(files) if file in files[:k]]:
        raise Refused(f"data.path names {repeated[0]} twice; name each file once")
    if not files:
        raise Refused("data.path is an empty list; name a file")
    for file in files:
        if not Path(file).is_file():
            what = "a folder" if Path(file).is_dir() else "no regular file" if Path(file).exists() else "not there"
            raise Refused(f"{file} cannot be read: it is {what}; name a file ({', '.join((*TEXT, *PARQUET, *EXCEL))})")
    if len({Path(file).suffix.lower() for file in files}) > 1:
        raise Refused(f"data.path has files of several formats, {Path(files[0]).name} and others; name those of one")
    return files


def shown(words: Sequence[str]) -> str:
    """The first twenty entries of a list, as text."""
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
