"""A sweep: a directory of trials, each a run directory of its own, and what is known of them all."""

import csv
import hashlib
import json
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from dlcourse.config.claims import judge
from dlcourse.config.claims import table as judged
from dlcourse.config.overrides import Overrides, word
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.runs.directory import from_here, is_live
from dlcourse.runs.files import read_rows, write

#: What a person says with each command: no file keeps it, and every trial needs it.
GIVEN = ("allow=", "hydra.searchpath=")
#: Words of the sweep that are no trial's, and do not make it another sweep: how many trials, how, and where.
ITS_OWN = ("sweep_dir=", "sweep.", "sampler=", "pruner=", "hydra.", "hydra/", "debug.traceback=", "report=", "allow=")
ENDED = ("finished", "failed", "pruned")
INTERRUPTED = tuple(128 + signum for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))


def own(key: str) -> bool:
    """Whether a word is the sweep's own."""
    return f"{key}=".startswith(ITS_OWN)


class Sweep:
    """Trials 0, 1, 2 … below one folder: NNNN/ (run directories), sweep.jsonl, sweep.csv, report.html.

    The folder's name is a hash of the words, so that the same command finds what is finished and runs the rest.
    What a trial's own directory says is what counts: it is finished when metrics.json is there.
    """

    def __init__(self, overrides: Overrides, tree: dict[str, Any]):
        given = {override.key_or_group: str(override.value()) for override in overrides.parsed}
        kept = [word for word in overrides.words if not word.startswith(ITS_OWN)]
        kept += [f"{key}={given[key]}" for key in ("sampler", "pruner", "sweep.metric", "sweep.mode") if key in given]
        digest = hashlib.sha256("\0".join(sorted(kept)).encode()).hexdigest()[:8]
        name = f"{given.get('sweep') or given.get('experiment') or 'sweep'}_{digest}"
        self.folder = Path(tree["sweep_dir"] or Path(tree["paths"]["runs_dir"], "sweeps", name)).expanduser().resolve()
        self.overrides = overrides
        self.settings: dict[str, Any] = tree["sweep"]
        self.seed: int = tree["seed"]
        self.claim: str | None = tree.get("claim")
        self.expect: list[str] = list(tree.get("expect") or [])
        self.rows: dict[int, dict[str, Any]] = {}
        self.total: int | None = None  # how many trials a search may have; a grid's are all planned
        self.stopped = 0  # the signal that ended it
        self.more: Callable[[int], list[str]] = lambda number: []  # words that a search adds to a trial's
        self.told: Callable[[int, dict[str, Any]], None] = lambda number, row: None  # whom the end of a trial is told

    def __getstate__(self) -> dict[str, Any]:
        """Elsewhere, where a cluster's launcher sends it, only ``trial`` is called."""
        return {"folder": self.folder}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make or find the folder, and hold it: two of the same sweep would both begin the same trials."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(f"cannot write {error.filename}: {error.strerror}", ENVIRONMENT) from None
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Refused(f"{self.folder} belongs to a sweep that is still going", ENVIRONMENT) from None
        for row in read_rows(self.folder / "sweep.jsonl"):
            # A package is allowed by the person at the keyboard, never by a file.
            self.add(row["trial"], [word for word in row["words"] if not word.lstrip("+").startswith("allow=")])
        if done := sum(row["status"] in ENDED for row in self.rows.values()):
            print(f"{done} of {len(self.rows)} trials had ended before", flush=True)
        try:
            yield
        finally:
            lock.release()

    def path(self, number: int) -> Path:
        return self.folder / f"{number:04d}"

    def number(self, words: list[str]) -> int:
        """The number of the trial with these words: its old one, or the next that is free."""
        for number, row in self.rows.items():
            if sorted(row["words"]) == sorted(words):
                return number
        return self.add(max(self.rows, default=-1) + 1, words)

    def add(self, number: int, words: list[str]) -> int:
        self.rows[number] = self.row(number, words)
        return number

    def job(self, number: int) -> list[str]:
        """The words by which any process, here or elsewhere, runs a trial."""
        given = [word for word in self.overrides.words if word.startswith(GIVEN)]
        words = [*self.rows[number]["words"], *self.more(number), *given]
        return [*words, word("run_dir", self.path(number)), "report=false"]

    def is_due(self, number: int) -> bool:
        """Whether a trial is still to be run: it did not end, or it failed and is to be tried again."""
        status = self.rows.get(number, {}).get("status")
        return status not in ENDED or status == "failed" and self.settings["retry"] == "failed"

    def begin(self, *numbers: int) -> None:
        for number in numbers:
            self.rows[number]["status"] = "running"
        self.write()

    def wait(self, *numbers: int) -> None:
        """Trials that were begun, and refused as a whole, are as they were."""
        for number in numbers:
            self.add(number, self.rows[number]["words"])
        self.write()

    def end(self, *numbers: int, code: int | None = None) -> None:
        """Take down how trials ended; ``code`` is their process's exit code, where there was one."""
        for number in numbers:
            row = self.row(number, self.rows[number]["words"])
            if code is not None and code < 0 and row["status"] not in ENDED:
                killed = {
                    "status": "killed",
                    "exit_code": 128 - code,
                    "reason": f"killed by {signal.Signals(-code).name}",
                }
                row |= killed
            elif code in INTERRUPTED and row["status"] not in ENDED:
                row |= {
                    "status": "interrupted",
                    "exit_code": code,
                    "reason": "stopped; the same command continues it",
                }
            elif code and row["status"] == "running":  # and so its directory is held, by another process than that
                told = "a worker of an earlier start had not ended yet; the same command continues it"
                row |= {"status": "interrupted", "exit_code": code, "reason": told}
            elif code and row["status"] == "waiting":
                log = self.path(numbers[0]).with_suffix(".log").name  # of the process
                row |= {"status": "failed", "exit_code": code, "reason": f"its process ended with {code}: see {log}"}
            self.rows[number] = row
        self.write()
        done = sum(row["status"] in ENDED for row in self.rows.values())
        common = self.common()
        for number in numbers:
            row = self.rows[number]
            figures = [f"{key} {row[key]:.4g}" for key in self.objectives() if isinstance(row.get(key), float)]
            said = ", ".join(figures) or row["reason"] or ""
            own = " ".join(word for word in row["words"] if word not in common)
            print(f"{done}/{self.total or len(self.rows)}  trial {number} {row['status']}  {own}  {said}", flush=True)
            self.told(number, row)

    def row(self, number: int, words: list[str]) -> dict[str, Any]:
        """What a trial's directory says of it."""
        path = self.path(number)
        told = json.loads(text(path / "status.json") or '{"status": "waiting", "exit_code": null, "reason": null}')
        if told["status"] == "running" and not is_live(path):
            told["status"] = "killed"
        figures = json.loads(text(path / "metrics.json") or "{}")
        if figures:
            told["status"] = "finished"
        reason = told["reason"] and told["reason"].splitlines()[0]
        return {"trial": number, "words": words, "run": path.name, **told, "reason": reason, **figures}

    def objectives(self) -> dict[str, str]:
        """The figures that are looked for, and the direction in which each is better."""
        chosen = (self.settings[key] for key in ("metric", "mode"))
        metrics, modes = ([value] if isinstance(value, str) else value for value in chosen)
        return dict(zip(metrics, modes, strict=True))

    def common(self) -> set[str]:
        """The words that are every trial's."""
        return set.intersection(*(set(row["words"]) for row in self.rows.values())) if len(self.rows) > 1 else set()

    def write(self) -> None:
        rows = [self.rows[number] for number in sorted(self.rows)]
        write(self.folder / "sweep.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def finish(self) -> int:
        """Write table and page; 0 if a trial finished, 2 if every one was refused, else 1."""
        from tabulate import tabulate

        rows = [self.rows[number] for number in sorted(self.rows)]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with open(self.folder / "sweep.csv", "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows({**row, "words": " ".join(row["words"])} for row in rows)
        page = self.report(rows)
        done = [row for row in rows if row["status"] == "finished"]
        shown = [*self.objectives(), *sorted({key for row in done for key in row if key.startswith("test/")})]
        common = self.common()
        cells = [
            [row["trial"], " ".join(w for w in row["words"] if w not in common), row["status"], *map(row.get, shown)]
            for row in rows
        ]
        if self.expect:
            print(judged(self.claim, judge(self.expect, rows)))
        print(tabulate(cells, headers=["trial", "words", "status", *shown], floatfmt=".4g"))
        for row in rows:
            if row["status"] not in ("finished", "pruned", "waiting"):
                print(f"trial {row['trial']} {row['status']}: {row['reason']}", file=sys.stderr)
        print(f"sweep: {from_here(self.folder)}")
        if page is not None:
            print(f"report: {from_here(page)}", flush=True)
        if self.stopped:
            return 128 + self.stopped
        if done:
            return 0
        return 2 if rows and all(row["exit_code"] == 2 for row in rows) else 1

    def report(self, rows: list[dict[str, Any]]) -> Path | None:
        """Make the page; what goes wrong there must not cost the sweep its table."""
        from dlcourse.report.sweep import build_sweep_report

        try:
            claim = self.claim, judge(self.expect, rows)
            return build_sweep_report(self.folder, rows, self.objectives(), self.overrides.words, claim)
        except Exception:
            traceback.print_exc()
            return None

    def trial(self, cfg: DictConfig) -> None:
        """The task of Hydra's own launchers, wherever they run it; ``cfg`` is Hydra's, and what counts is its words."""
        from hydra.core.hydra_config import HydraConfig

        from dlcourse.sweeps.attempt import attempt

        said = HydraConfig.get().overrides
        attempt([*map(str, said.task), *(word for word in map(str, said.hydra) if word.startswith(GIVEN))])


def text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
