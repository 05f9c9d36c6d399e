"""SIGINT, SIGTERM and SIGUSR1: stop after the current step, with the state saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, distributed

from dlcourse.errors import Interrupted
from dlcourse.runs.callback import Callback
from dlcourse.runs.checkpoints import Checkpoints

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


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


def unwatch_processes(trainer: pl.Trainer) -> None:
    """End Lightning's watch over the processes that it started: all of them are about to stop.

    It kills this process within five seconds of the first that ends with another code than 0, and the last checkpoint,
    the status and the report, which the first process writes, can take longer than that.
    """
    getattr(trainer.strategy.launcher, "procs", []).clear()


class Interrupt(Callback):
    """The first signal asks, the second one stops at once (the last checkpoint stays intact)."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.received = 0
        self.stops = False  # whether it, and nothing else, ends the training with this epoch
        self.before: dict[int, Any] = {}
        self.group: Any = None  # for several processes: theirs, on the CPU
        self.question: tuple[Any, Tensor] | None = None  # whether any of them was asked to stop, on its way

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1:
            self.group = distributed.new_group(backend="gloo")

        def handle(signum: int, frame: FrameType | None) -> None:
            if self.received:
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)
            # Not handed on: the others learn of it at their next step, and a terminal has sent it to them already.
            self.received = signum

        # Only now: Lightning registers a SIGTERM handler of its own after on_fit_start.
        if threading.current_thread() is threading.main_thread():
            self.before = {signum: signal.signal(signum, handle) for signum in SIGNALS}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore_handlers()
        self._asked()
        self.received = self._asked()  # what all know now: none may go on to the test while another one stops
        if self.question is not None:
            self.question[0].wait()

    def _restore_handlers(self) -> None:
        while self.before:
            signal.signal(*self.before.popitem())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.received:
            unwatch_processes(trainer)
            raise Interrupted(self.received)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()
        unwatch_processes(trainer)

    def _asked(self) -> int:
        """The signal that asks to stop, or 0: the same on all processes.

        Several of them answer the question of one step while they compute the next, so that no step waits for it.
        """
        if self.group is None:
            return self.received
        answer = 0
        if self.question is not None:
            work, flag = self.question
            work.wait()
            answer = int(flag)
        flag = torch.tensor([self.received])
        self.question = distributed.all_reduce(flag, distributed.ReduceOp.MAX, self.group, async_op=True), flag
        return answer

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (signum := self._asked()) and self.checkpoints.can_save(trainer):
            unwatch_processes(trainer)
            self.checkpoints.save_last(trainer)
            raise Interrupted(signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._asked() and not trainer.should_stop:  # or it ends here anyway, and a resume must not train on
            # The checkpoint of the end of this epoch is written after this hook.
            trainer.should_stop = self.stops = True
