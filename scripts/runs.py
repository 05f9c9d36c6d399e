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

FIGURES = ("loss", "acc", "r2", "mae")
COLUMNS = ("run", "words", "status", *(f"{stage}/{name}" for stage in ("val", "test") for name in FIGURES))


def runs(words: list[str]) -> int:
    given = parse_script_overrides(words, "format", "paths.runs_dir")
    root = Path(str(given.text("paths.runs_dir", "runs")))
    if given.text("format", "table") not in ("table", "csv"):
        raise Refused(f"format={given.text('format')}: expected table or csv")
    rows = [row(path.parent) for path in sorted(root.rglob("status.json"))]
    if given.text("format") == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        used = [name for name in COLUMNS if any(name in entry for entry in rows)]
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
