"""SIGINT, SIGTERM and SIGUSR1: stop after the current step, with the state saved."""

import signal
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from dlcourse.callbacks.checkpoints import Checkpoints


class Interrupted(Exception):
    """A run that was asked to stop, and has saved where it stands; ``code`` is 128 + the signal, as 130 or 143."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


class Interrupt(pl.Callback):
    """The first signal asks, the second one stops at once (the last checkpoint stays intact)."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.received = 0
        self.before: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def handle(signum: int, frame: FrameType | None) -> None:
            if self.received:
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)
            self.received = signum
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signum)  # type: ignore[arg-type]

        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            try:
                self.before[signum] = signal.signal(signum, handle)
            except ValueError:  # not the main thread: whoever runs us there has handlers of their own
                return

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        while self.before:
            signal.signal(*self.before.popitem())

    def _asked(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self.received)
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last step of an epoch is followed by its validation, and then by on_train_epoch_end.
        if not trainer.is_last_batch and self._asked(trainer):
            self.checkpoints.save_last(trainer)
            raise Interrupted(self.received or signal.SIGTERM)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked(trainer):
            trainer.should_stop = True  # the checkpoint of the end of this epoch is written after this hook
