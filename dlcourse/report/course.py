"""The lecture as one page: each experiment's claim, what was expected, what was obtained, and the command."""

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
from dlcourse.config.overrides import word
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Figure, draw
from dlcourse.report.html import number, template
from dlcourse.report.sweep import by_steps, curves, finite, said_of
from dlcourse.runs.files import read_rows, series, write, write_json

#: Of the library, what no figure of a run depends on.
ASIDE = ("plots", "report", "cli.py")


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
    def words(self) -> list[str]:
        return [f"experiment={self.name}"]

    @property
    def command(self) -> str:
        return " ".join(["python train.py", *self.words])

    def run(self) -> int:
        """Begin it, or go on with it where it was stopped; the exit code of its command."""
        if self.is_study:
            workers = self.yaml.get("sweep", {}).get("workers") or os.cpu_count() or 1
            place = [word("sweep_dir", self.folder), f"sweep.workers={workers}"]
        else:
            place = [word("run_dir", self.folder), "resume=auto"]
        words = [*self.words, "logger=csv", *place]
        began, note = time.monotonic(), {"code": code_hash(self.name)}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.note_path, note)
        code = subprocess.run([sys.executable, str(CHECKOUT / "train.py"), *words]).returncode
        if self.rows:
            write_json(self.note_path, {**note, "date": f"{date.today()}", "seconds": round(time.monotonic() - began)})
        return code

    @property
    def note_path(self) -> Path:
        """Beside its directory: the code that it was begun on, and how long it took."""
        return self.folder.with_name(f"{self.name}.json")

    @property
    def note(self) -> dict[str, Any]:
        return json.loads(self.note_path.read_text("utf-8")) if self.note_path.exists() else {}

    @property
    def is_current(self) -> bool:
        """Whether it was run to its end on this code."""
        return bool(self.rows) and self.note.get("code") == code_hash(self.name)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The figures of the run, or of each trial; none while some are missing."""
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

    def figures(self) -> list[Figure]:
        """What its runs draw: the course of training by group, and numbered measures."""
        if not self.is_study:
            found = {"val/loss": by_steps(self.folder, "val/loss"), **(series(self.rows[0]) if self.rows else {})}
            return [
                draw(name, partial(line, {"": values}, name, "step" if name == "val/loss" else "layer"))
                for name, values in found.items()
                if values
            ]
        said, _, parameters = said_of(self.rows)
        pairs = zip(self.rows, said, strict=True)
        done = [(row, each) for row, each in pairs if finite(row.get("val/loss")) is not None]
        return curves(self.folder, done, parameters, "val/loss")


def experiments(folder: Path) -> list[Experiment]:
    """Those with a claim, in the order of the lecture."""
    found = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        yaml: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
        if yaml.get("claim"):
            found.append(Experiment(path.stem, yaml, folder.resolve() / path.stem))
    return sorted(found, key=lambda each: (_place(each.yaml["lecture"][0]), each.name))


def _place(row: str) -> tuple[int, str]:
    """L8b after L8a and before L9."""
    digits = "".join(c for c in row if c.isdigit())
    return int(digits), row[1 + len(digits) :]


def code_hash(name: str) -> str:
    """Of all that an experiment's figures depend on: the library, and conf/ but for the other experiments."""
    found = hashlib.sha256()
    library = CHECKOUT / "dlcourse"
    for path in sorted([*library.rglob("*.py"), *CONF.rglob("*.yaml")]):
        inside = path.relative_to(CHECKOUT).as_posix()
        aside = path.is_relative_to(library) and path.relative_to(library).parts[0] in ASIDE
        if not aside and (path.parent.name != "experiment" or path.stem == name):
            found.update(f"{inside}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def course(chosen: list[Experiment], keep: bool, tell: Callable[[str], None]) -> None:
    """Run each that has no figures of this code yet (``keep``: of any code)."""
    for k, each in enumerate(chosen, 1):
        known = each.is_current or keep and bool(each.rows)
        tell(f"{k}/{len(chosen)}  {each.name}" + ("  kept" if known else ""))
        if known:
            continue
        if each.folder.exists() and each.note.get("code") != code_hash(each.name):  # begun, or finished, on other code
            shutil.rmtree(each.folder)
        code = each.run()
        if code in (130, 143):
            raise KeyboardInterrupt


def build_course(chosen: list[Experiment], path: Path) -> Path:
    """Write the page."""
    shown = []
    for each in chosen:
        report = each.folder / "report.html"
        shown.append(
            {
                "name": each.name,
                "lecture": each.yaml["lecture"],
                "claim": each.yaml["claim"],
                "command": each.command,
                "verdicts": each.verdicts,
                "status": "met" if each.is_met else "not met" if each.rows else "not run",
                "figures": each.figures()[:3] if each.rows else [],
                "report": os.path.relpath(report, path.parent) if report.exists() else None,
                "runs": len(each.rows),
                "seconds": number(each.note.get("seconds")),
                "date": each.note.get("date"),
                "old": bool(each.rows) and not each.is_current,
            }
        )
    write(path, template("course.html.j2").render(title="The lecture, run", experiments=shown))
    return path
