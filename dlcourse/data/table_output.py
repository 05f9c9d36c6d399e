"""Predictions as a table: CSV or Parquet, beside the columns that they are for."""

import csv
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from dlcourse.data.table_file import SETTINGS, TableFile
from dlcourse.errors import Refused


def write_table(
    path: Path,
    columns: Mapping[str, np.ndarray],
    table: TableFile | None = None,
    faults: Mapping[int, str] | None = None,
) -> None:
    """Write columns of equal length to a .csv or .parquet file, after the columns of the table that they belong to.

    ``faults``: why rows of the table have none, by position from 0 on; a column ``error`` says so. The rows keep their
    order; a column without a name is left out, and cells that stand for missing values are empty. A name that the table
    has already, in upper or lower case, gets a number. ``path`` is complete or not there.
    """
    connection = table.connection if table is not None else duckdb.connect(config=SETTINGS)
    if faults:
        columns = {name: _with_gaps(values, faults) for name, values in columns.items()}
        reasons = np.full(len(next(iter(columns.values()))), None, dtype=object)
        reasons[[*faults]] = [*faults.values()]
        columns |= {"error": reasons}
    own = {f"p{k}": values for k, values in enumerate(columns.values())}
    selected = {f"t.c{k}": name for k, name in enumerate(table.names if table is not None else []) if name}
    taken = {name.casefold() for name in selected.values()}
    for key, name in zip(own, columns, strict=True):
        numbered = [name, *(f"{name} {n}" for n in range(2, len(taken) + 3))]
        selected[f"o.{key}"] = next(each for each in numbered if each.casefold() not in taken)
        taken.add(selected[f"o.{key}"].casefold())
    if path.suffix == ".parquet" and len(taken) < len(selected):  # DuckDB would rename them
        raise Refused(f"output={path}: two columns differ in upper and lower case only; write output=FILE.csv")
    joined = "own o" if table is None else "t positional join own o"
    rows, whole = (path.with_name(f".{path.name}.{os.getpid()}{end}") for end in ("", ".whole"))
    connection.register("own", own)  # type: ignore[arg-type]
    try:
        listed = ", ".join(f"{cell} as {_name(name)}" for cell, name in selected.items())
        form = "format parquet" if path.suffix == ".parquet" else "format csv, header false"
        place = str(rows).replace("'", "''")
        connection.execute(f"copy (select {listed} from {joined}) to '{place}' ({form})")
        if path.suffix == ".csv":  # DuckDB would rename columns in the header, too
            with whole.open("w", newline="", encoding="utf-8") as file, rows.open(encoding="utf-8", newline="") as read:
                csv.writer(file, lineterminator="\n").writerow(selected.values())
                shutil.copyfileobj(read, file)
            whole.replace(rows)
        rows.replace(path)
    finally:
        connection.unregister("own")
        for part in (rows, whole):
            part.unlink(missing_ok=True)


def _with_gaps(values: np.ndarray, gaps: Collection[int]) -> np.ma.MaskedArray:
    """The values in their order, with missing ones at these positions."""
    count = len(values) + len(gaps)
    whole = np.ma.masked_all(count, dtype=values.dtype)
    whole[np.delete(np.arange(count), [*gaps])] = values
    return whole


def _name(name: Any) -> str:
    return '"' + str(name).replace('"', '""') + '"'
