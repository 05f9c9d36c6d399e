"""SIGINT, SIGTERM and SIGUSR1: stop after the current step, with the state saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from dlcourse.callbacks import Callback
from dlcourse.callbacks.checkpoints import Checkpoints

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """A run that was asked to stop; it can go on from its last checkpoint. ``code`` is 128 + the signal."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.code = 128 + signum


@contextmanager
def stoppable() -> Iterator[None]:
    """Before and after the training loop a signal ends the run at once; what is on the disk stays as it is."""

    def handle(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    if threading.current_thread() is not threading.main_thread():
        yield  # whoever runs us there has handlers of their own
        return
    before = {signum: signal.signal(signum, handle) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class Interrupt(Callback):
    """The first signal asks, the second one stops at once (the last checkpoint stays intact)."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.received = 0
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def handle(signum: int, frame: FrameType | None) -> None:
            if self.received:
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)
            self.received = signum
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signum)  # type: ignore[arg-type]

        # Only now: Lightning registers a SIGTERM handler of its own after on_fit_start.
        if threading.current_thread() is threading.main_thread():
            self.before = {signum: signal.signal(signum, handle) for signum in SIGNALS}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        while self.before:
            signal.signal(*self.before.popitem())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.received:
            raise Interrupted(self.received)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)

    def _asked(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self.received)
        return trainer.strategy.reduce_boolean_decision(bool(self.received), all=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._asked(trainer) and self.checkpoints.can_save(trainer):
            self.checkpoints.save_last(trainer)
            raise Interrupted(self.received or signal.SIGTERM)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked(trainer):
            trainer.should_stop = True  # the checkpoint of the end of this epoch is written after this hook
