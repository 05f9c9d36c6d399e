"""The callback that writes checkpoints and remembers the best weights."""

import re
import sys
import time
from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, Timer

from dlcourse.errors import Refused
from dlcourse.internals import batch_stands_alone, dump_checkpoint
from dlcourse.runs.callback import Callback
from dlcourse.runs.checkpoint_file import BEST, LAST, load, random_state, set_random_state
from dlcourse.runs.directory import RunDirectory


class Checkpoints(Callback, Checkpoint):
    """``last.ckpt`` after the first epoch, then at most once a second, at the end, and by ``every``; ``best.ckpt``.

    Best is the lowest (``mode=min``) or highest ``monitor``, at the first validation that reaches it. Its weights are
    written (without the optimizer's state) with the next ``last.ckpt``, or at once if that is over a second old.
    """

    def __init__(self, run: RunDirectory, monitor: str, mode: str, every: str | None, hyper_parameters: dict[str, Any]):
        self.run, self.monitor, self.mode = run, monitor, mode
        self.hyper_parameters = hyper_parameters
        amount, unit = re.fullmatch(r"([\d.]+)([a-z]+)", every).groups() if every else ("inf", "s")  # type: ignore[union-attr]
        self.every_steps = int(float(amount)) if unit == "steps" else None
        self.every_seconds = float(amount) * {"s": 1, "m": 60, "h": 3600, "steps": float("inf")}[unit]
        self.best: dict[str, float] = {}
        self.old_hyper_parameters: dict[str, Any] = {}  # those of the checkpoint that the run resumed from
        self.state_at_stop: dict[str, Any] | None = None  # in mid-epoch, where a longer run would continue
        self.pending_best: dict[str, Any] | None = None  # the best weights, until they are written
        self.stopped_by_signal = False  # whether a signal, and nothing else, ends training after this epoch
        self.saved_step = 0
        self.saved_at = -float("inf")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Broadcast the run directory from the first process to the others."""
        self.run.path = trainer.strategy.broadcast(self.run.path)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_save_checkpoint(self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["hyper_parameters"] = self.hyper_parameters
        checkpoint["rng"] = random_state()
        checkpoint["stopped"] = self._stopped(trainer)
        checkpoint["rows"] = trainer.loggers[0].rows if trainer.loggers else 0  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":
            set_random_state(checkpoint["rng"])
            trainer.should_stop = checkpoint["stopped"] == "early"
            self.old_hyper_parameters = checkpoint["hyper_parameters"]["model"]
            self.saved_step = checkpoint["global_step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the hyperparameters that a resume changes again, after Lightning has restored the old values."""
        if any(timer.time_remaining() <= 0 for timer in self._timers(trainer)):
            trainer.should_stop = True
        if self.best and not self._has_best():
            self.best = {}
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        if changed := self._changed("optimizer"):
            model: Any = pl_module
            old_groups, new_groups = model.build_optimizer(**changed).param_groups, model.build_optimizer().param_groups
            groups = trainer.optimizers[0].param_groups
            for group, old, new in zip(groups, old_groups, new_groups, strict=True):
                lr = group["lr"] * new["lr"] / old["lr"]  # a schedule may have lowered it
                group.update({key: new[key] for key in new if key != "params" and new[key] != old[key]})
                group.update(lr=lr, initial_lr=new["lr"])
            for scheduler in schedulers:
                scheduler.base_lrs = [group["initial_lr"] for group in groups]
        for key, value in self._changed("scheduler").items():
            for attributes in map(vars, schedulers):
                if attributes.get(key) == value:
                    attributes[key] = self.hyper_parameters["model"]["scheduler"][key]

    def _changed(self, part: str) -> dict[str, Any]:
        """The old values of what a resume changes."""
        old, new = self.old_hyper_parameters.get(part, {}), self.hyper_parameters["model"][part]
        return {key: value for key, value in old.items() if new[key] != value}

    def _has_best(self) -> bool:
        """Whether best.ckpt can be read and is not from steps after the checkpoint, which a resumed run repeats."""
        try:
            return load(self.run.checkpoints / BEST)["global_step"] <= self.best["step"]
        except Refused as refusal:
            print(f"{refusal}: the best weights will be selected again", file=sys.stderr)
            return False

    def save_last(self, trainer: pl.Trainer) -> None:
        self.write_best(trainer)
        trainer.save_checkpoint(self.run.checkpoints / LAST)
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()

    def remember_best(self, trainer: pl.Trainer, metrics: dict[str, float]) -> None:
        self.best = {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics}
        weights = dump_checkpoint(trainer, weights_only=True)
        self.pending_best = {**deepcopy(weights), "hyper_parameters": self.hyper_parameters}

    def write_best(self, trainer: pl.Trainer) -> None:
        if self.pending_best is not None:
            trainer.strategy.save_checkpoint(self.pending_best, self.run.checkpoints / BEST)
            self.pending_best = None

    def last_is_a_second_old(self, trainer: pl.Trainer) -> bool:
        """Whether ``last.ckpt`` is at least a second old, by the first process's clock."""
        return trainer.strategy.broadcast(time.monotonic() - self.saved_at >= 1)

    def _stopped(self, trainer: pl.Trainer) -> str:
        """Why training stopped: ``early`` (stopping), ``time`` (trainer.max_time), or empty for other reasons."""
        if not trainer.should_stop or self.stopped_by_signal or self._at_last_step(trainer):
            return ""
        return "time" if any(timer.time_remaining() <= 0 for timer in self._timers(trainer)) else "early"

    @staticmethod
    def _timers(trainer: pl.Trainer) -> list[Any]:
        """The timers of ``trainer.max_time``."""
        return [each for each in trainer.callbacks if isinstance(each, Timer) and each.time_remaining() is not None]  # type: ignore[attr-defined]

    @staticmethod
    def _at_last_step(trainer: pl.Trainer) -> bool:
        return 0 < trainer.max_steps <= trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._at_last_step(trainer):
            trainer.should_stop = True  # otherwise Lightning would end without validating the last steps
        in_mid_epoch = trainer.should_stop and not trainer.is_last_batch
        if in_mid_epoch and self.state_at_stop is None and self._stopped(trainer) != "early":
            # A longer run continues from here, in mid-epoch, although Lightning ends the epoch now.
            self.state_at_stop = dump_checkpoint(trainer)
        due = False
        if self.every_steps is not None:
            due = trainer.global_step // self.every_steps > self.saved_step // self.every_steps
        elif self.every_seconds < float("inf"):
            due = trainer.strategy.broadcast(time.monotonic() - self.saved_at >= self.every_seconds)
        if due and batch_stands_alone(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and self.monitor.startswith("val/"):
            self.update_best(trainer)

    def update_best(self, trainer: pl.Trainer) -> None:
        """Remember the weights if the monitored metric improved."""
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/") or k == self.monitor}
        if self.monitor not in logged:
            return
        score, old_score = logged[self.monitor], self.best.get(self.monitor)
        if old_score is not None and (score >= old_score if self.mode == "min" else score <= old_score):
            return
        self.remember_best(trainer, logged)
        if self.last_is_a_second_old(trainer):
            self.write_best(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.monitor.startswith("train/"):  # logged by an earlier hook
            self.update_best(trainer)
        if self.state_at_stop is None and self.last_is_a_second_old(trainer):
            self.save_last(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.best:  # stopped before the first validation: take the last weights
            self.remember_best(trainer, {})
        self.write_best(trainer)
        if self.state_at_stop is None:
            self.save_last(trainer)
        else:
            trainer.strategy.save_checkpoint(self.state_at_stop, self.run.checkpoints / LAST)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.write_best(trainer)
