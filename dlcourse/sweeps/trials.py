"""A sweep: a directory with a run directory for each trial, and a table of them all."""

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
from dlcourse.config.overrides import Overrides
from dlcourse.config.own_text import quoted
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.runs.directory import from_here, is_live
from dlcourse.runs.files import read_rows, write

#: Overrides of the command that no file records: every trial is given them.
COMMAND_ONLY = ("allow=", "hydra.searchpath=")
#: Keys of the sweep itself, not passed to trials: how many trials, how and where they run.
SWEEP_KEYS = (
    *("sweep_dir=", "sweep.", "sampler=", "pruner=", "hydra.", "hydra/", "debug.traceback=", "report="),
    "allow=",
)
ENDED = ("finished", "failed", "pruned")
INTERRUPTED = tuple(128 + signum for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))


def is_sweep_override(key: str) -> bool:
    """Whether a key belongs to the sweep and not to its trials."""
    return f"{key}=".startswith(SWEEP_KEYS)


class Sweep:
    """Trials 0, 1, 2 … below one folder: NNNN/ (run directories), sweep.jsonl, sweep.csv, report.html.

    The folder's name contains a hash of the overrides, so that the same command finds finished trials and runs the
    rest. The state of a trial is that of its directory: it is finished when metrics.json exists.
    """

    def __init__(self, overrides: Overrides, tree: dict[str, Any]):
        values = {override.key_or_group: str(override.value()) for override in overrides.parsed}
        hashed = [word for word in overrides.texts if not word.startswith(SWEEP_KEYS)]
        hashed += [
            f"{key}={values[key]}" for key in ("sampler", "pruner", "sweep.metric", "sweep.mode") if key in values
        ]
        digest = hashlib.sha256("\0".join(sorted(hashed)).encode()).hexdigest()[:8]
        name = f"{values.get('sweep') or values.get('experiment') or 'sweep'}_{digest}"
        self.folder = Path(tree["sweep_dir"] or Path(tree["paths"]["runs_dir"], "sweeps", name)).expanduser().resolve()
        self.overrides = overrides
        self.settings: dict[str, Any] = tree["sweep"]
        self.seed: int = tree["seed"]
        self.claim: str | None = tree.get("claim")
        self.expect: list[str] = list(tree.get("expect") or [])
        self.rows: dict[int, dict[str, Any]] = {}
        self.total: int | None = None  # number of trials of a search; None for a grid
        self.stopped = 0  # the signal that stopped the sweep
        self.extra_overrides: Callable[[int], list[str]] = lambda number: []  # those that a search adds to a trial
        self.on_trial_end: Callable[[int, dict[str, Any]], None] = lambda number, row: None

    def __getstate__(self) -> dict[str, Any]:
        """Only what ``trial`` needs, as a cluster's launcher pickles the sweep."""
        return {"folder": self.folder}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Create or find the folder and lock it: the same sweep must not run twice at a time."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(f"cannot write {error.filename}: {error.strerror}", ENVIRONMENT) from None
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Refused(f"{self.folder} is in use by a sweep that is still running", ENVIRONMENT) from None
        for row in read_rows(self.folder / "sweep.jsonl"):
            # Packages are allowed only on the command line, never by a file.
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
        """The number of the trial with these overrides: its old one, or the next free one."""
        for number, row in self.rows.items():
            if sorted(row["words"]) == sorted(words):
                return number
        return self.add(max(self.rows, default=-1) + 1, words)

    def add(self, number: int, words: list[str]) -> int:
        self.rows[number] = self.row(number, words)
        return number

    def job(self, number: int) -> list[str]:
        """The overrides with which any process, on any machine, runs a trial."""
        given = [word for word in self.overrides.texts if word.startswith(COMMAND_ONLY)]
        words = [*self.rows[number]["words"], *self.extra_overrides(number), *given]
        return [*words, quoted("run_dir", self.path(number)), "report=false"]

    def is_due(self, number: int) -> bool:
        """Whether a trial still has to run: it has not ended, or it failed and ``sweep.retry=failed``."""
        status = self.rows.get(number, {}).get("status")
        return status not in ENDED or status == "failed" and self.settings["retry"] == "failed"

    def begin(self, *numbers: int) -> None:
        for number in numbers:
            self.rows[number]["status"] = "running"
        self.write()

    def reset(self, *numbers: int) -> None:
        """Reset trials that were started but refused together to their state before."""
        for number in numbers:
            self.add(number, self.rows[number]["words"])
        self.write()

    def end(self, *numbers: int, code: int | None = None) -> None:
        """Record how trials ended; ``code`` is the exit code of their process, if there was one."""
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
            elif code and row["status"] == "running":  # so another process holds its lock
                reason = "a worker of an earlier start was still running; the same command continues it"
                row |= {"status": "interrupted", "exit_code": code, "reason": reason}
            elif code and row["status"] == "waiting":
                log = self.path(numbers[0]).with_suffix(".log").name  # the output of the process
                row |= {"status": "failed", "exit_code": code, "reason": f"its process ended with {code}: see {log}"}
            self.rows[number] = row
        self.write()
        done = sum(row["status"] in ENDED for row in self.rows.values())
        common = self.common()
        for number in numbers:
            row = self.rows[number]
            metrics = [f"{key} {row[key]:.4g}" for key in self.objectives() if isinstance(row.get(key), float)]
            result = ", ".join(metrics) or row["reason"] or ""
            own = " ".join(word for word in row["words"] if word not in common)
            print(f"{done}/{self.total or len(self.rows)}  trial {number} {row['status']}  {own}  {result}", flush=True)
            self.on_trial_end(number, row)

    def row(self, number: int, words: list[str]) -> dict[str, Any]:
        """The table row of a trial, from its directory."""
        path = self.path(number)
        status = json.loads(text(path / "status.json") or '{"status": "waiting", "exit_code": null, "reason": null}')
        if status["status"] == "running" and not is_live(path):
            status["status"] = "killed"
        metrics = json.loads(text(path / "metrics.json") or "{}")
        if metrics:
            status["status"] = "finished"
        reason = status["reason"] and status["reason"].splitlines()[0]
        return {"trial": number, "words": words, "run": path.name, **status, "reason": reason, **metrics}

    def objectives(self) -> dict[str, str]:
        """The metrics to optimise, and ``min`` or ``max`` for each."""
        chosen = (self.settings[key] for key in ("metric", "mode"))
        metrics, modes = ([value] if isinstance(value, str) else value for value in chosen)
        return dict(zip(metrics, modes, strict=True))

    def common(self) -> set[str]:
        """The overrides that all trials have."""
        return set.intersection(*(set(row["words"]) for row in self.rows.values())) if len(self.rows) > 1 else set()

    def write(self) -> None:
        rows = [self.rows[number] for number in sorted(self.rows)]
        write(self.folder / "sweep.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def finish(self) -> int:
        """Write the table and the report; returns 0 if a trial finished, 2 if all were refused, else 1."""
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
        """Write the report; an error there only prints a traceback, so that the table is still written."""
        from dlcourse.report.sweep import build_sweep_report

        try:
            claim = self.claim, judge(self.expect, rows)
            return build_sweep_report(self.folder, rows, self.objectives(), self.overrides.texts, claim)
        except Exception:
            traceback.print_exc()
            return None

    def trial(self, cfg: DictConfig) -> None:
        """Task for Hydra's own launchers; only the overrides of Hydra's ``cfg`` are used."""
        from hydra.core.hydra_config import HydraConfig

        from dlcourse.sweeps.attempt import attempt

        given = HydraConfig.get().overrides
        attempt([*map(str, given.task), *(word for word in map(str, given.hydra) if word.startswith(COMMAND_ONLY))])


def text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
