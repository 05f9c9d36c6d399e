"""How the decision boundary of a classifier of points in the plane moves while it trains."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from dlcourse.runs.callback import Callback
from dlcourse.tasks.answers import forward_batches, grid


class Boundary(Callback):
    """RUN/boundary.jsonl: the class at ``grid``² places around the training rows, before training, after epochs
    1, 2, 4, 8, … and after the last; the report draws them side by side.

    A row: epochs trained, the plane's left, right, lower and upper end, and a line of class numbers for each height.
    Only of up to ten classes whose inputs are two numbers; of other data there is none. Lecture: L1, L6.
    """

    def __init__(self, grid: int = 60):
        self.grid = grid
        self.drawn = -1  # epochs, of the last row

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.drawn = state_dict["drawn"]

    def draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epochs: int) -> None:
        if epochs <= self.drawn or not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        task: Any = pl_module.task
        if tuple(data.shape) != (2,) or task.classes is None or len(task.classes) > 10:
            return
        places, extent = grid(data.sets["train"].x, self.grid)
        classes = task.predicted_class(forward_batches(pl_module, places).z).reshape(self.grid, self.grid)
        row = {"epochs": epochs, "extent": extent, "classes": ["".join(map(str, line)) for line in classes.tolist()]}
        with open(Path(trainer.default_root_dir) / "boundary.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.drawn = epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.draw(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        if epochs & (epochs - 1) == 0:  # a power of two
            self.draw(trainer, pl_module, epochs)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.draw(trainer, pl_module, trainer.current_epoch)
