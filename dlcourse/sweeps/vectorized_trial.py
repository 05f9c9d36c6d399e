"""One of the trials that are trained together: its rows, its best, its end, and the directory it leaves."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dlcourse.config.compose import Composed
from dlcourse.runs.checkpoint_file import AtomicIO
from dlcourse.runs.checkpoints import BEST
from dlcourse.runs.directory import RunDirectory
from dlcourse.runs.files import write_json

ONE_AT_A_TIME = threading.Lock()  # W&B takes a second logger of a process for another name of the first


class VectorizedTrial:
    """What is known of one trial while it trains with the others, and what it leaves at the end."""

    def __init__(self, composed: Composed, path: Path, tree: dict[str, Any]):
        from hydra.utils import instantiate

        self.composed, self.path, self.tree = composed, path, tree
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, float] = {}
        self.status, self.code = "running", 0
        self.reason: str | None = None
        self.epochs = self.steps = 0
        nodes = tree["callbacks"]
        self.stopping = instantiate(nodes["early_stopping"]) if nodes.get("early_stopping") else None
        self.pruning = instantiate(nodes["pruning"]) if nodes.get("pruning") else None
        if self.pruning is not None:
            self.pruning.load_trial()

    def state_dict(self) -> dict[str, Any]:
        kept = ("best", "status", "code", "reason", "epochs", "steps")
        stopping = self.stopping.state_dict() if self.stopping else None
        # The rows as one text: torch.save looks at every number of theirs on its own.
        return {key: getattr(self, key) for key in kept} | {"stopping": stopping, "rows": json.dumps(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        stopping, rows = state.pop("stopping"), state.pop("rows")
        vars(self).update(state, rows=json.loads(rows))
        if self.stopping is not None:
            self.stopping.load_state_dict(stopping)

    def end(self, status: str, code: int = 0, reason: str | None = None) -> None:
        self.status, self.code, self.reason = status, code, reason

    def log(self, epoch: int, figures: dict[str, float]) -> None:
        self.rows.append({"step": self.steps, "epoch": epoch, **figures})

    def publish(
        self,
        weights: dict[str, Tensor],
        test: Mapping[str, float],
        cost: Mapping[str, Any],
        place: dict[str, Any],
    ) -> None:
        """Write the run directory: rows, best weights and final figures, as any run leaves them; no page of its own.

        Trials may do so side by side. ``cost`` is what the training of all together took, with the data's note if it
        has one; ``place`` where it was.
        """
        run = RunDirectory.create(self.composed)
        write_json(self.path / "environment.json", place)
        if test:
            self.log(self.epochs, dict(test))
        try:
            self.tell_loggers()
            if self.best:
                parts = {"model": self.tree["model"], "data": self.tree["data"], "choice": self.composed.choices}
                at = {"epoch": self.best["epoch"], "global_step": self.best["step"]}
                checkpoint = {"state_dict": weights, **at, "hyper_parameters": parts}
                AtomicIO().save_checkpoint(checkpoint, self.path / "checkpoints" / BEST)
            if self.status == "finished":
                best = {name: value for name, value in self.best.items() if "/" in name}
                facts = {"best_epoch": self.best["epoch"], "epochs": self.epochs, "steps": self.steps, **cost}
                run.status("finished", 0)
                write_json(self.path / "metrics.json", {**test, **best, **facts})
            else:
                run.status(self.status, self.code, self.reason)
        finally:
            run.release()

    def tell_loggers(self) -> None:
        """All rows to each logger, which is closed before another trial's begins."""
        with ONE_AT_A_TIME:
            loggers = self.loggers()
            try:
                for logger in loggers:
                    logger.log_hyperparams({**self.tree, "choice": self.composed.choices})
                    for row in self.rows:
                        figures = {key: value for key, value in row.items() if key != "step"}
                        logger.log_metrics(figures, step=row["step"])
                    logger.save()
            finally:
                for logger in loggers:
                    if hasattr(logger, "close"):
                        logger.close(self.code)

    def loggers(self) -> list[Any]:
        """metrics.jsonl, and what the configuration names; W&B's runs are grouped by the sweep."""
        from hydra.utils import instantiate

        from dlcourse.runs.loggers import MetricsFile

        nodes = [node for node in self.tree["logger"].values() if isinstance(node, dict) and "_target_" in node]
        group = {"group": self.path.parent.name}
        grouped = [{**node, **group} if node.get("group", "") is None else node for node in nodes]
        return [MetricsFile(self.path / "metrics.jsonl"), *map(instantiate, grouped)]
