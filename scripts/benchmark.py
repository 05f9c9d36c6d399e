"""Measure what dlcourse costs, beside others: python scripts/benchmark.py NAME   (--help lists the names)"""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path

from benchmarks import gpu
from benchmarks.measure import measure, python, table
from benchmarks.rows import PEERS, ROWS, Plan

from dlcourse.cli import guarded
from dlcourse.config.groups import CHECKOUT
from dlcourse.runs.files import write_json


def benchmark(words: list[str]) -> int:
    gpu_help = f"gpu: on a CUDA device, in at most six minutes: {', '.join(gpu.SECTIONS)}"
    parser = ArgumentParser(prog="benchmark.py", description=__doc__)
    parser.add_argument(
        "name",
        nargs="?",
        choices=[*ROWS, "gpu"],
        help="; ".join([*(f"{n}: {r.__doc__}" for n, r in ROWS.items()), gpu_help]).replace("%", "%%"),
    )
    parser.add_argument("--seeds", "--rounds", type=int, dest="rounds", help="how often everything runs, a seed each")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="which of them take part (all)")
    parser.add_argument("--whole", action="store_true", help="peers train their whole schedules")
    parser.add_argument(
        "--small", action="store_true", help="seconds instead of minutes; the measurements mean nothing"
    )
    parser.add_argument("--json", type=Path, help="where the result is kept (runs/benchmarks/NAME_TIME.json)")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of a result that was kept")
    given = parser.parse_args(words)
    if given.show:
        result = json.loads(given.show.read_text("utf-8"))
        print((gpu.table if "sections" in result else table)(result))
        return 0
    if not given.name:
        parser.error(f"which benchmark? {', '.join([*ROWS, 'gpu'])}")
    kept = given.json or Path("runs/benchmarks") / f"{given.name}_{datetime.now():%Y-%m-%d_%H-%M-%S}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if given.name == "gpu":
        result = gpu.check(given.small, tell)
        write_json(kept, result)
        print(f"{gpu.table(result)}\n\nresult: {kept}")
        return int(any(each["failure"] for each in result["sections"].values()))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(python("-m", "scripts.benchmarks.prepare", folder), cwd=CHECKOUT, check=True)
        row = ROWS[given.name](Plan(given.rounds, given.peers, given.small, given.whole, Path(folder)))
        result = measure(given.name, row, tell)
    write_json(kept, result)
    print(f"{table(result)}\n\nresult: {kept}")
    return 0


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(guarded(benchmark))
