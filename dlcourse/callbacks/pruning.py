"""Ends a trial early when a search's pruner gives it up."""

from typing import Any

import lightning.pytorch as pl

from dlcourse.internals import open_trial
from dlcourse.runs.callback import Callback


class Pruned(Exception):
    """The end of a trial that was given up; nothing went wrong."""

    code, status = 0, "pruned"


class Pruning(Callback):
    """Reports ``metric`` to an Optuna study after each validation, and asks its pruner whether to go on.

    ``trial`` is the trial's number in the study; one that the study has closed (a run made longer by hand) runs on.
    """

    def __init__(self, storage: str, study: str, trial: int, metric: str, pruner: Any):
        self.storage, self.study, self.number, self.metric, self.pruner = storage, study, trial, metric, pruner
        self.trial: Any = None

    def begin(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.load_study(storage=self.storage, study_name=self.study, pruner=self.pruner)
        self.trial = open_trial(study, self.number)

    def gives_up(self, value: float, epoch: int) -> bool:
        """Report the figure that an epoch reached, and whether the pruner ends the trial there."""
        if self.trial is None:
            return False
        self.trial.report(value, epoch)
        return bool(self.trial.should_prune())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.begin()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or not trainer.is_last_batch:  # once an epoch, however often it validates
            return
        pruned = self.gives_up(float(trainer.callback_metrics[self.metric]), trainer.current_epoch)
        if trainer.strategy.broadcast(pruned):
            raise Pruned(f"pruned after epoch {trainer.current_epoch + 1}")
