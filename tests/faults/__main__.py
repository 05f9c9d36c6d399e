"""Faults, against dlcourse and a plain Lightning script: python -m tests.faults   (--help)"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from datetime import date
from pathlib import Path

from dlcourse.cli import guarded
from dlcourse.config.groups import CHECKOUT

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in every process
os.environ.setdefault("WANDB_MODE", "offline")


def main(words: list[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", nargs="*", default=[""], help="those whose names begin so (all)")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="instead: kill N runs at random, resume each")
    parser.add_argument("--of", metavar="KIND", help="with --kills: of runs with masks, boxes, noise, codes or layers")
    parser.add_argument(
        "--examples", type=int, metavar="N", help="instead: N random inputs for each reader and the gate"
    )
    parser.add_argument(
        "--fuzz", type=int, metavar="N", help="instead: N random tables, and N folders of pictures, all known"
    )
    parser.add_argument("--cost", action="store_true", help="instead: what a run that nothing befalls pays for it")
    parser.add_argument("--json", type=Path, help="where the result is kept as well")
    given = parser.parse_args(words)
    if count := given.examples or given.fuzz:
        files = ["test_properties.py"] if given.examples else ["test_tables.py", "test_pictures.py"]
        test = [sys.executable, "-m", "pytest", "-q", "-m", "slow", *(f"tests/faults/{file}" for file in files)]
        code = subprocess.run(test, cwd=CHECKOUT, env={**os.environ, "DLCOURSE_EXAMPLES": str(count)}).returncode
        if given.fuzz and not code:
            print(f"{count:,} tables and {count:,} folders of pictures were read as they are, or refused")
        return code
    from scripts.benchmarks.measure import machine
    from tests.faults.matrix import ROWS, RUNS, cost, kill, matrix, table
    from tests.faults.subjects import KINDS, Dlcourse, PlainLightning, Subject

    if given.cost:
        found = cost(["data=mnist", "model=cnn", "trainer.max_epochs=2", "logger=none", "callbacks=none"])
        print("\n".join(f"{name}: {seconds:.3f} s" for name, seconds in found.items()))
        return 0
    subjects: list[Subject] = [Dlcourse()] if given.kills else [Dlcourse(), PlainLightning()]
    runs = RUNS
    if given.of and not (given.kills and given.of in KINDS):
        parser.error(f"--of {given.of}: expected {', '.join(KINDS)}, with --kills")
    if given.of:
        subjects, runs = [KINDS[given.of]], [{}]
    rows = [kill(k, runs) for k in range(given.kills)] or [r for r in ROWS if r.id.startswith(tuple(given.rows))]
    result = matrix(rows, subjects, lambda line: print(line, file=sys.stderr, flush=True))
    if given.json:
        command = " ".join(["python", "-m", "tests.faults", *words])
        told = {"date": f"{date.today()}", "command": command, "machine": machine(), "rows": result}
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    print(table(result, subjects))
    wrong = [row["id"] for row in result if (row["dlcourse"], row["codes"]["dlcourse"]) != (row["wanted"], row["code"])]
    if wrong:
        print(f"not as they should be: {', '.join(wrong)}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(guarded(main))
