"""The run directories as a table: python scripts/runs.py [format=csv] [paths.runs_dir=runs]"""

import csv
import json
import sys
from pathlib import Path

from tabulate import tabulate

from dlcourse.cli import guarded, parse_script_overrides
from dlcourse.errors import Refused
from dlcourse.runs.directory import is_live
from dlcourse.runs.files import read_overrides
from dlcourse.sweeps.trials import is_sweep_override

METRICS = ("loss", "acc", "r2", "mae")  # first, and in every CSV; then the others that the runs have
COLUMNS = ("run", "words", "status", *(f"{stage}/{name}" for stage in ("val", "test") for name in METRICS))


def runs(words: list[str]) -> int:
    given = parse_script_overrides(words, "format", "paths.runs_dir")
    root = Path(str(given.text("paths.runs_dir", "runs")))
    if given.text("format", "table") not in ("table", "csv"):
        raise Refused(f"format={given.text('format')}: expected table or csv")
    if "paths.runs_dir" in given and not root.is_dir():
        raise Refused(f"paths.runs_dir={root}: there is no such folder")
    rows = [row(path.parent) for path in sorted(root.rglob("status.json"))]
    others = {name for entry in rows for name in entry if name.startswith(("val/", "test/"))} - set(COLUMNS)
    columns = [*COLUMNS, *sorted(others)]
    if given.text("format") == "csv":
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        used = [name for name in columns if any(name in entry for entry in rows)]
        print(tabulate([[entry.get(name) for name in used] for entry in rows], headers=used, floatfmt=".4f"))
    return 0


def row(path: Path) -> dict[str, object]:
    """The table row of a run directory."""
    status = json.loads((path / "status.json").read_text("utf-8"))["status"]
    if status == "running" and not is_live(path):
        status = "killed"
    words = read_overrides(path)
    metrics = path / "metrics.json"
    values = json.loads(metrics.read_text("utf-8")) if metrics.exists() else {}
    chosen = [
        word for word in words if not is_sweep_override(word.partition("=")[0]) and not word.startswith("run_dir=")
    ]
    return {"run": str(path), "words": " ".join(chosen), "status": status, **values}


if __name__ == "__main__":
    sys.exit(guarded(runs))
