"""Predictions as a table: CSV or Parquet, beside the columns that they are for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from dlcourse.data.table_file import SETTINGS, TableFile


def write_table(path: Path, columns: Mapping[str, np.ndarray], table: TableFile | None = None) -> None:
    """Write columns of equal length to a .csv or .parquet file, after the columns of the table that they belong to.

    The rows keep their order. A name that the table has already gets a number. ``path`` is complete or not there.
    """
    connection = table.connection if table is not None else duckdb.connect(config=SETTINGS)
    own = {f"p{k}": np.asarray(values) for k, values in enumerate(columns.values())}
    there = table.names if table is not None else []
    selected = [f"t.c{k} as {_name(name)}" for k, name in enumerate(there) if name]
    for key, name in zip(own, columns, strict=True):
        unique = next(
            each for n in range(1, len(there) + 2) if (each := name if n == 1 else f"{name} {n}") not in there
        )
        selected.append(f"o.{key} as {_name(unique)}")
    joined = "own o" if table is None else "t positional join own o"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    connection.register("own", own)  # type: ignore[arg-type]
    try:
        form = "format parquet" if path.suffix == ".parquet" else "format csv, header"
        place = str(temporary).replace("'", "''")
        connection.execute(f"copy (select {', '.join(selected)} from {joined}) to '{place}' ({form})")
        temporary.replace(path)
    finally:
        connection.unregister("own")
        temporary.unlink(missing_ok=True)


def _name(name: Any) -> str:
    return '"' + str(name).replace('"', '""') + '"'
