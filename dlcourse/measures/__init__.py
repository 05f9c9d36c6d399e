"""What the lecture claims of a trained model, as figures beside those of the test."""

from typing import Any

import lightning.pytorch as pl
import torch

from dlcourse.runs.callback import Callback
from dlcourse.tasks.answers import eval_mode


class Measure(Callback):
    """Figures of the model with its best weights, logged as ``measure/NAME`` when it is tested.

    ``figures(model, data)`` gives them by name; names that end in numbers, ``gradient/1``, ``gradient/2``, are drawn
    as one line. Every figure is a finite number, as everything else that a run leaves.
    """

    def figures(self, model: Any, data: Any) -> dict[str, float]:
        raise NotImplementedError

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Some are differentiated, beside a test that is not.
        with eval_mode(pl_module), torch.inference_mode(False), torch.enable_grad():
            found = self.figures(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        log(trainer, pl_module, {f"measure/{name}": value for name, value in found.items()})


def log(trainer: pl.Trainer, pl_module: pl.LightningModule, figures: dict[str, float]) -> None:
    """To metrics.json, and as a row to the loggers."""
    pl_module.log_dict(figures, logger=False)
    for logger in trainer.loggers:
        logger.log_metrics({"epoch": trainer.current_epoch, **figures}, step=trainer.global_step)
