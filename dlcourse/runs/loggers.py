"""Loggers that write files of the run directory: metrics.jsonl of every run, and Lightning's metrics.csv."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger


class MetricsFile(Logger):
    """metrics.jsonl: a JSON object per line with step, epoch and metrics, flushed before the next step."""

    name, version = "metrics.jsonl", ""  # type: ignore[assignment]

    def __init__(self, path: Path):
        super().__init__()
        self.file = open(path, "a+", encoding="utf-8", buffering=1)  # noqa: SIM115  (stays open during the run)
        self.file.seek(0)
        self.rows = sum(1 for _ in self.file)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml holds the configuration."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) for key, value in metrics.items() if key != "epoch"}
        row = {"step": step, "epoch": int(metrics.get("epoch", 0))}
        row |= {key: value if math.isfinite(value) else None for key, value in values.items()}  # type: ignore[misc]
        self.file.write(json.dumps(row) + "\n")
        self.rows += 1

    def close(self, code: int) -> None:
        self.file.close()


class Csv(CSVLogger):
    """Lightning's metrics.csv; its hparams.yaml, rewritten every hundred rows, only points to config.yaml."""

    def log_hyperparams(self, params: Any) -> None:  # type: ignore[override]
        super().log_hyperparams({"configuration": "config.yaml"})
