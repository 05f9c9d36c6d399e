"""Measurements for the lecture's claims about a trained model, logged with the test metrics."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import lightning.pytorch as pl
import torch

from dlcourse.errors import Refused
from dlcourse.runs.callback import Callback
from dlcourse.tasks.predictions import eval_mode


class Measure(Callback):
    """Measurements of the model with its best weights, logged as ``measure/NAME`` when it is tested.

    ``measure(model, data)`` returns them by name; names that end in numbers, ``gradient/1``, ``gradient/2``, are
    plotted as one line. Every value must be finite, like all metrics of a run.
    Refused, before training: a model that lacks what the measure ``needs``, and what ``check`` refuses.
    """

    #: Names of attributes that the model must have, such as ``encode`` or ``task.factor``.
    needs: Sequence[str] = ()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for name in self.needs:
            try:
                attrgetter(name)(pl_module)
            except AttributeError:
                given = f"{type(pl_module).__name__} with {type(pl_module.task).__name__}"
                raise Refused(
                    f"{type(self).__name__} measures models with {name}, which {given} is without; choose another "
                    "model or task, or leave the measure out of callbacks"
                ) from None
        self.check(pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def check(self, model: Any, data: Any) -> None:
        """Refused: a model or data for which the measure has no value."""

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        raise NotImplementedError

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Some need gradients, which are off during the test.
        with eval_mode(pl_module), torch.inference_mode(False), torch.enable_grad():
            values = self.measure(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        log(trainer, pl_module, {f"measure/{name}": value for name, value in values.items()})


def log(trainer: pl.Trainer, pl_module: pl.LightningModule, values: dict[str, float]) -> None:
    """Add measurements to metrics.json, and log them."""
    pl_module.log_dict(values, logger=False)
    for logger in trainer.loggers:
        logger.log_metrics({"epoch": trainer.current_epoch, **values}, step=trainer.global_step)
