"""A multirun: one run directory a trial, and a table of them all."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dlcourse.config import CHECKOUT, parse
from dlcourse.errors import Refused
from dlcourse.rundir import from_here, write


class Grid:
    """The trials that Hydra's sweeper names, one after another; one that fails is a row, and the others go on.

    The directory's name is a hash of the words, so that the same command finds what is finished and continues the rest.
    """

    def __init__(self, words: list[str], name: str = "sweep"):
        given = {override.key_or_group: str(override.value()) for override in parse(words)}
        digest = hashlib.sha256("\0".join(sorted(words)).encode()).hexdigest()[:8]
        folder = Path(given.get("paths.runs_dir", "runs"), "sweeps", f"{given.get('sweep', name)}_{digest}")
        self.folder = Path(given.get("sweep_dir", folder)).expanduser().resolve()
        self.rows: list[dict[str, Any]] = []

    def trial(self, cfg: DictConfig) -> None:
        """One job of the multirun; ``cfg`` is Hydra's, and what counts is its words, which pass the gate like any."""
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        words = [str(word) for word in hydra.overrides.task if not str(word).startswith("sweep_dir=")]
        path = self.folder / f"{int(hydra.job.num):04d}"
        row = {"trial": int(hydra.job.num), "words": words, "run": str(path)}
        try:
            row |= {"status": "finished", **self._run(words, path)}
        except (Refused, Exception) as error:
            code = getattr(error, "code", 1)
            if isinstance(code, int) and code > 128:  # interrupted: so is the sweep
                raise
            row |= {"status": "failed", "exit_code": code, "reason": str(error).splitlines()[0] if str(error) else ""}
            print(f"trial {row['trial']} failed: {row['reason']}", file=sys.stderr, flush=True)
        self.rows.append(row)
        write(self.folder / "sweep.jsonl", "".join(json.dumps(row) + "\n" for row in self.rows))

    def _run(self, words: list[str], path: Path) -> dict[str, Any]:
        from dlcourse.gate import admit
        from dlcourse.restore import continuation
        from dlcourse.training import finished, train

        self.folder.mkdir(parents=True, exist_ok=True)
        if (path / "metrics.json").exists():
            return finished(path) or {}
        composed = admit([*words, f"run_dir={path}"])
        if "wandb" in composed.cfg.logger and composed.cfg.logger.group is None:
            composed.cfg.logger.group = self.folder.name
        if str(composed.cfg.trainer.strategy).startswith(("ddp", "fsdp")):
            # Lightning starts the other processes by the same command line, so such a trial has one of its own.
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, f"run_dir={path}", "resume=auto"]
            if code := subprocess.run(command).returncode:
                raise Refused(f"its process ended with {code}", code)
            return finished(path) or {}
        found = continuation([f"run_dir={path}", "resume=auto"])
        return train(*found).metrics if found else train(composed).metrics

    def finish(self) -> int:
        """Print the table; 0 if a trial finished, 2 if every one was refused, else 1."""
        from tabulate import tabulate

        done = [row for row in self.rows if row["status"] == "finished"]
        figures = sorted({key for row in done for key in row if key.startswith("test/")})
        columns = ["trial", "words", "status", *figures]
        table = [[row.get(key) for key in columns] for row in self.rows]
        for cells, row in zip(table, self.rows, strict=True):
            cells[1] = " ".join(row["words"])
        print(tabulate(table, headers=columns, floatfmt=".4f"))
        print(f"sweep: {from_here(self.folder)}", flush=True)
        if done:
            return 0
        return 2 if all(row.get("exit_code") == 2 for row in self.rows) else 1
