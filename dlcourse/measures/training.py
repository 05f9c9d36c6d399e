"""What is measured while a model trains: the effective rate of adaptive optimizers, the test set after each epoch."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.errors import Refused
from dlcourse.measures import log
from dlcourse.runs.callback import Callback
from dlcourse.tasks.answers import forward_batches


class EffectiveRate(Callback):
    """η/(√s + ε) of Adagrad, or √(u + ε)/√(s + ε) of AdaDelta: what the gradient is multiplied with, the median over w.

    s is the sum, or the running mean, of squared gradients, u that of squared steps. A row ``rate`` an epoch;
    ``measure/first_rate`` (after the first epoch) and ``measure/last_rate``. Lecture: L15, L16.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rates": self.rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rates = state_dict["rates"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        rates = []
        for group in optimizer.param_groups:
            for p in group["params"]:
                state = optimizer.state[p]
                if "sum" in state:
                    rates.append(group["lr"] / (state["sum"].sqrt() + group["eps"]))
                elif "acc_delta" in state:
                    squares = (state[name] + group["eps"] for name in ("acc_delta", "square_avg"))
                    rates.append(group["lr"] * next(squares).sqrt() / next(squares).sqrt())
                else:
                    raise Refused(f"{type(optimizer).__name__} has no effective rate that is measured here")
        self.rates.append(float(torch.cat([rate.flatten() for rate in rates]).median()))
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, "rate": self.rates[-1]}, step=trainer.global_step)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log(trainer, pl_module, {"measure/first_rate": self.rates[0], "measure/last_rate": self.rates[-1]})


class EachEpochTest(Callback):
    """The test accuracy after each epoch, a row ``test_each/acc``, and of the best epoch ``measure/best_epoch_acc``.

    ``lost_classes``: of how many classes the tested model finds less than a tenth of the test rows.
    As books and papers often read it. It chooses the epoch by the test set, so it is higher than what new rows would
    give: dlcourse's own figure is test/acc, of the epoch that validation chooses.
    """

    def __init__(self) -> None:
        self.found: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"found": self.found}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.found = state_dict["found"]

    @staticmethod
    def _right(model: Any, rows: Any) -> Tensor:
        """Whether the model finds the class of each row (N,), 1 or 0."""
        return (model.task.predicted_class(forward_batches(model, rows.x).z) == rows.y).float()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        rows = trainer.datamodule.sets["test"]  # type: ignore[attr-defined]
        self.found.append(float(self._right(pl_module, rows).mean()))
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, "test_each/acc": self.found[-1]}, trainer.global_step)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rows = trainer.datamodule.sets["test"]  # type: ignore[attr-defined]
        right = self._right(pl_module, rows)
        lost = sum(bool(right[rows.y == k].mean() < 0.1) for k in rows.y.unique())
        log(trainer, pl_module, {"measure/best_epoch_acc": max(self.found), "measure/lost_classes": float(lost)})
