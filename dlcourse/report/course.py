"""The course as one page: each experiment's claim, what was expected, what was obtained, and the command."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dlcourse.config.claims import Verdict, judge
from dlcourse.config.groups import CHECKOUT, CONF
from dlcourse.config.own_text import quoted
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Plot, draw
from dlcourse.report.claim import claim_plots
from dlcourse.report.html import number, template
from dlcourse.report.sweep import finite, metric_by_step, training_plots, trial_overrides
from dlcourse.runs.files import read_rows, series, write, write_json

#: Parts of the library that do not affect the metrics of a run.
UNRELATED = ("plots", "report", "cli.py")


@dataclass
class Experiment:
    """A file of conf/experiment with a claim, and the directory of its run or of its trials."""

    name: str
    yaml: dict[str, Any]
    folder: Path

    @property
    def is_study(self) -> bool:
        return "hydra" in self.yaml

    @property
    def is_long(self) -> bool:
        return "long" in self.yaml.get("tags", [])

    @property
    def overrides(self) -> list[str]:
        return [f"experiment={self.name}"]

    @property
    def command(self) -> str:
        return " ".join(["python train.py", *self.overrides])

    def run(self) -> int:
        """Start it, or resume it if it was interrupted; returns the exit code."""
        if self.is_study:
            workers = self.yaml.get("sweep", {}).get("workers") or os.cpu_count() or 1
            location = [quoted("sweep_dir", self.folder), f"sweep.workers={workers}"]
        else:
            location = [quoted("run_dir", self.folder), "resume=auto"]
        overrides = [*self.overrides, "logger=csv", *location]
        started, note = time.monotonic(), {"code": code_hash(self.name)}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.note_path, note)
        code = subprocess.run([sys.executable, str(CHECKOUT / "train.py"), *overrides]).returncode
        if self.rows:
            write_json(
                self.note_path, {**note, "date": f"{date.today()}", "seconds": round(time.monotonic() - started)}
            )
        return code

    @property
    def note_path(self) -> Path:
        """A file beside its directory: the hash of the code that started it, and how long it took."""
        return self.folder.with_name(f"{self.name}.json")

    @property
    def note(self) -> dict[str, Any]:
        return json.loads(self.note_path.read_text("utf-8")) if self.note_path.exists() else {}

    @property
    def is_current(self) -> bool:
        """Whether it finished with the current code."""
        return bool(self.rows) and self.note.get("code") == code_hash(self.name)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The metrics of the run, or of each trial; empty while some are missing."""
        if not self.is_study:
            path = self.folder / "metrics.json"
            return [json.loads(path.read_text("utf-8"))] if path.exists() else []
        rows = read_rows(self.folder / "sweep.jsonl")
        ended = {"finished", "failed", "pruned"}
        return rows if all(row["status"] in ended for row in rows) else []

    @property
    def verdicts(self) -> list[Verdict]:
        return judge(self.yaml.get("expect", []), self.rows)

    @property
    def is_met(self) -> bool:
        return bool(self.rows) and all(verdict.met for verdict in self.verdicts)

    def plots(self) -> list[Plot]:
        """Plots of its runs: what the claim speaks of, the validation loss over training, numbered measurements."""
        if not self.is_study:
            lines = {"val/loss": metric_by_step(self.folder, "val/loss"), **(series(self.rows[0]) if self.rows else {})}
            return [
                draw(name, partial(line, {"": values}, name, "step" if name == "val/loss" else None))
                for name, values in lines.items()
                if values
            ]
        overrides_of_trials, _, parameters = trial_overrides(self.rows)
        pairs = zip(self.rows, overrides_of_trials, strict=True)
        done = [(row, each) for row, each in pairs if finite(row.get("val/loss")) is not None]
        own = claim_plots(self.yaml.get("expect", []), self.rows, overrides_of_trials)
        return [*own, *training_plots(self.folder, done, parameters, "val/loss")]


def experiments(folder: Path) -> list[Experiment]:
    """The experiments with a claim, in the order of the lecture."""
    found = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        yaml: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
        if yaml.get("claim"):
            found.append(Experiment(path.stem, yaml, folder.resolve() / path.stem))
    return sorted(found, key=lambda each: (_lecture_order(each.yaml["lecture"][0]), each.name))


def _lecture_order(row: str) -> tuple[int, str]:
    """Sort key: L8b after L8a and before L9."""
    digits = "".join(c for c in row if c.isdigit())
    return int(digits), row[1 + len(digits) :]


def code_hash(name: str) -> str:
    """A hash of all that affects an experiment's metrics: the library, and conf/ without the other experiments."""
    digest = hashlib.sha256()
    library = CHECKOUT / "dlcourse"
    for path in sorted([*library.rglob("*.py"), *CONF.rglob("*.yaml")]):
        relative = path.relative_to(CHECKOUT).as_posix()
        is_unrelated = path.is_relative_to(library) and path.relative_to(library).parts[0] in UNRELATED
        if not is_unrelated and (path.parent.name != "experiment" or path.stem == name):
            digest.update(f"{relative}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def course(chosen: list[Experiment], keep: bool, tell: Callable[[str], None]) -> None:
    """Run each experiment without results of this code (``keep``: of any code); ``tell`` shows the progress."""
    for k, each in enumerate(chosen, 1):
        is_kept = each.is_current or keep and bool(each.rows)
        tell(f"{k}/{len(chosen)}  {each.name}" + ("  kept" if is_kept else ""))
        if is_kept:
            continue
        if each.folder.exists() and each.note.get("code") != code_hash(each.name):  # started with other code
            shutil.rmtree(each.folder)
        code = each.run()
        if code in (130, 143):
            raise KeyboardInterrupt


def build_course(chosen: list[Experiment], path: Path) -> Path:
    """Write the page of the course."""
    entries = []
    for each in chosen:
        report = each.folder / "report.html"
        entries.append(
            {
                "name": each.name,
                "lecture": each.yaml["lecture"],
                "claim": each.yaml["claim"],
                "command": each.command,
                "verdicts": each.verdicts,
                "status": "met" if each.is_met else "not met" if each.rows else "not run",
                "plots": each.plots()[:3] if each.rows else [],
                "report": os.path.relpath(report, path.parent) if report.exists() else None,
                "runs": len(each.rows),
                "seconds": number(each.note.get("seconds")),
                "date": each.note.get("date"),
                "old": bool(each.rows) and not each.is_current,
            }
        )
    write(path, template("course.html.j2").render(title="The lecture, run", experiments=entries))
    return path
