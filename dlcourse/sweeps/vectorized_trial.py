"""One of the trials that are trained together, and its run directory."""

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

ONE_AT_A_TIME = threading.Lock()  # W&B treats a second logger in a process as the first one renamed


class VectorizedTrial:
    """The state of one trial while it trains with the others; writes its run directory at the end."""

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
        saved = ("best", "status", "code", "reason", "epochs", "steps")
        stopping = self.stopping.state_dict() if self.stopping else None
        # The log rows as one string: torch.save would pickle each number separately.
        return {key: getattr(self, key) for key in saved} | {"stopping": stopping, "rows": json.dumps(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        stopping, rows = state.pop("stopping"), state.pop("rows")
        vars(self).update(state, rows=json.loads(rows))
        if self.stopping is not None:
            self.stopping.load_state_dict(stopping)

    def end(self, status: str, code: int = 0, reason: str | None = None) -> None:
        self.status, self.code, self.reason = status, code, reason

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        self.rows.append({"step": self.steps, "epoch": epoch, **metrics})

    def publish(
        self,
        weights: dict[str, Tensor],
        test: Mapping[str, float],
        cost: Mapping[str, Any],
        environment: dict[str, Any],
    ) -> None:
        """Write the run directory like that of any run, but without a report; safe to call from several threads.

        ``cost``: duration and speed of training all trials together, and the data's note if it has one;
        ``environment``: the contents of environment.json.
        """
        run = RunDirectory.create(self.composed)
        write_json(self.path / "environment.json", environment)
        if test:
            self.log(self.epochs, dict(test))
        try:
            self.log_history()
            if self.best:
                hyper_parameters = {
                    "model": self.tree["model"],
                    "data": self.tree["data"],
                    "choice": self.composed.choices,
                }
                best_position = {"epoch": self.best["epoch"], "global_step": self.best["step"]}
                checkpoint = {"state_dict": weights, **best_position, "hyper_parameters": hyper_parameters}
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

    def log_history(self) -> None:
        """Log all rows to each logger; only one trial's loggers are open at a time."""
        with ONE_AT_A_TIME:
            loggers = self.loggers()
            try:
                for logger in loggers:
                    logger.log_hyperparams({**self.tree, "choice": self.composed.choices})
                    for row in self.rows:
                        metrics = {key: value for key, value in row.items() if key != "step"}
                        logger.log_metrics(metrics, step=row["step"])
                    logger.save()
            finally:
                for logger in loggers:
                    if hasattr(logger, "close"):
                        logger.close(self.code)

    def loggers(self) -> list[Any]:
        """metrics.jsonl and the loggers of the configuration; W&B's runs are grouped by the sweep."""
        from hydra.utils import instantiate

        from dlcourse.runs.loggers import MetricsFile

        nodes = [node for node in self.tree["logger"].values() if isinstance(node, dict) and "_target_" in node]
        group = {"group": self.path.parent.name}
        grouped = [{**node, **group} if node.get("group", "") is None else node for node in nodes]
        return [MetricsFile(self.path / "metrics.jsonl"), *map(instantiate, grouped)]
