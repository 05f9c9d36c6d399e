"""Measurements during training: the effective rate of adaptive optimizers, test accuracy after each epoch."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.errors import Refused
from dlcourse.measures import log
from dlcourse.runs.callback import Callback
from dlcourse.tasks.predictions import forward_batches


class EffectiveRate(Callback):
    """The factor of the gradient, η/(√s + ε) for Adagrad or η√(u + ε)/√(s + ε) for AdaDelta; the median over w.

    s is the sum, or the running mean, of squared gradients, u that of squared steps; Adagrad's ``lr_decay`` is left
    out. Logs ``rate`` once an epoch, and ``measure/first_rate`` (after the first epoch) and ``measure/last_rate``.
    Lecture: L15, L16.
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
                    raise Refused(f"{type(optimizer).__name__} has no effective rate that can be measured")
        self.rates.append(float(torch.cat([rate.flatten() for rate in rates]).median()))
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, "rate": self.rates[-1]}, step=trainer.global_step)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log(trainer, pl_module, {"measure/first_rate": self.rates[0], "measure/last_rate": self.rates[-1]})


class EachEpochTest(Callback):
    """The test accuracy after each epoch, logged as ``test_each/acc``, and its maximum ``measure/best_epoch_acc``.

    ``lost_classes``: the number of classes with an accuracy below 0.1. Books and papers often report the maximum, but
    it selects the epoch on the test set, so it is too high for new data; dlcourse's own metric is ``test/acc``, at the
    epoch that validation selects.
    """

    def __init__(self) -> None:
        self.accuracies: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"found": self.accuracies}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracies = state_dict["found"]

    @staticmethod
    def _is_correct(model: Any, test: Any) -> Tensor:
        """Whether the class of each sample is predicted correctly (N,), 1 or 0."""
        return (model.task.predicted_class(forward_batches(model, test.x).z) == test.y).float()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        test = trainer.datamodule.sets["test"]  # type: ignore[attr-defined]
        self.accuracies.append(float(self._is_correct(pl_module, test).mean()))
        for logger in trainer.loggers:
            logger.log_metrics(
                {"epoch": trainer.current_epoch, "test_each/acc": self.accuracies[-1]}, trainer.global_step
            )

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        test = trainer.datamodule.sets["test"]  # type: ignore[attr-defined]
        correct = self._is_correct(pl_module, test)
        lost_classes = sum(bool(correct[test.y == k].mean() < 0.1) for k in test.y.unique())
        log(
            trainer,
            pl_module,
            {"measure/best_epoch_acc": max(self.accuracies), "measure/lost_classes": float(lost_classes)},
        )
