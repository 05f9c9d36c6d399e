"""Reads a table as other libraries do: python -m scripts.benchmarks.peers.table pandas|polars FILE

The columns become one float32 array, without its last column, as for training; nothing is checked or divided.
"""

import json
import sys
import time
from pathlib import Path


def main(library: str, file: str) -> None:
    start = time.process_time()
    csv = Path(file).suffix == ".csv"
    if library == "pandas":
        import pandas as pd

        table = pd.read_csv(file) if csv else pd.read_parquet(file)
        x = table.iloc[:, :-1].to_numpy(dtype="float32")
    else:
        import polars as pl

        frame = pl.read_csv(file) if csv else pl.read_parquet(file)
        x = frame[:, :-1].to_numpy().astype("float32")
    version = sys.modules[library].__version__
    print(json.dumps({"rows": len(x), "cpu": time.process_time() - start, "version": version}))


if __name__ == "__main__":
    main(*sys.argv[1:])
