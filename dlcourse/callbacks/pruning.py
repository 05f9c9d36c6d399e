"""Ends a trial early when the pruner of a search decides so."""

from typing import Any

import lightning.pytorch as pl

from dlcourse.internals import open_trial
from dlcourse.runs.callback import Callback


class Pruned(Exception):
    """Ends a trial that was pruned; this is not an error."""

    code, status = 0, "pruned"


class Pruning(Callback):
    """Reports ``metric`` to an Optuna study after each epoch, and asks its pruner whether to stop.

    ``trial``: the trial's number in the study; one that the study has closed (a finished run, extended) is not pruned.
    """

    def __init__(self, storage: str, study: str, trial: int, metric: str, pruner: Any):
        self.storage, self.study, self.number, self.metric, self.pruner = storage, study, trial, metric, pruner
        self.trial: Any = None

    def load_trial(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(storage=self.storage, study_name=self.study, pruner=self.pruner)
        self.trial = open_trial(study, self.number)

    def should_prune(self, value: float, epoch: int) -> bool:
        """Report the metric of an epoch; whether the pruner ends the trial."""
        if self.trial is None:
            return False
        self.trial.report(value, epoch)
        return bool(self.trial.should_prune())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.load_trial()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or not trainer.is_last_batch:  # once an epoch, even with several validations
            return
        pruned = self.should_prune(float(trainer.callback_metrics[self.metric]), trainer.current_epoch)
        if trainer.strategy.broadcast(pruned):
            raise Pruned(f"pruned after epoch {trainer.current_epoch + 1}")
