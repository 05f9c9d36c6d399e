"""Records how the decision boundary of a 2-D classifier changes during training."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from dlcourse.runs.callback import Callback
from dlcourse.tasks.predictions import forward_batches, grid


class Boundary(Callback):
    """RUN/boundary.jsonl: the predicted class on a ``grid`` × ``grid`` lattice around the training samples, before
    training, after epochs 1, 2, 4, 8, … and after the last; the report plots them side by side.

    A line: epochs trained; left, right, lower and upper end of the plane; a string of class numbers for each row
    of the grid.
    Only for data with two inputs and up to ten classes; for other data there is no file. Lecture: L1, L6.
    """

    def __init__(self, grid: int = 60):
        self.grid = grid
        self.last_epochs = -1  # epochs trained at the last line

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.last_epochs}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.last_epochs = state_dict["drawn"]

    def record(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epochs: int) -> None:
        if epochs <= self.last_epochs or not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        task: Any = pl_module.task
        if tuple(data.shape) != (2,) or task.classes is None or len(task.classes) > 10:
            return
        points, extent = grid(data.sets["train"].x, self.grid)
        classes = task.predicted_class(forward_batches(pl_module, points).z).reshape(self.grid, self.grid)
        row = {"epochs": epochs, "extent": extent, "classes": ["".join(map(str, line)) for line in classes.tolist()]}
        with open(Path(trainer.default_root_dir) / "boundary.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.last_epochs = epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        if epochs & (epochs - 1) == 0:  # a power of two
            self.record(trainer, pl_module, epochs)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record(trainer, pl_module, trainer.current_epoch)
