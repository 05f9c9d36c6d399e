"""SIGINT, SIGTERM and SIGUSR1: stop after the current step and save the state."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, distributed

from dlcourse.errors import Interrupted
from dlcourse.internals import batch_stands_alone
from dlcourse.runs.callback import Callback
from dlcourse.runs.checkpoints import Checkpoints

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """The signals call ``handle``; but not in another thread, since signal handlers belong to the main thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    old_handlers = {signum: signal.signal(signum, handle) for signum in SIGNALS if in_main_thread}
    try:
        yield
    finally:
        for signum, handler in old_handlers.items():
            signal.signal(signum, handler)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Outside the training loop a signal ends the run at once; the files on disk stay intact."""
    raise Interrupted(signum)


def stop_process_monitor(trainer: pl.Trainer) -> None:
    """Stop Lightning's monitoring of the processes it started: all of them are about to stop.

    It kills this process within five seconds after another exits with a nonzero code, but the first process may need
    longer to write the last checkpoint, the status and the report.
    """
    getattr(trainer.strategy.launcher, "procs", []).clear()


class Interrupt(Callback):
    """The first signal stops after the step, a second one at once (the last checkpoint stays intact)."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.received = 0
        self.handlers = ExitStack()
        self.group: Any = None  # process group on the CPU, if there are several processes
        self.pending_reduce: tuple[Any, Tensor] | None = None  # pending all-reduce of the received signals

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1:
            self.group = distributed.new_group(backend="gloo")

        def handle(signum: int, frame: FrameType | None) -> None:
            if self.received:
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)
            # Not forwarded: the other processes learn of it at their next step, and a terminal signals them too.
            self.received = signum

        # Not earlier: Lightning registers its own SIGTERM handler after on_fit_start.
        self.handlers.enter_context(handled_by(handle))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.handlers.close()
        self._stop_signal()
        self.received = self._stop_signal()  # the same on all processes: none may start the test while another stops
        if self.pending_reduce is not None:
            self.pending_reduce[0].wait()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.received:
            stop_process_monitor(trainer)
            raise Interrupted(self.received)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.handlers.close()
        stop_process_monitor(trainer)

    def _stop_signal(self) -> int:
        """The signal to stop, or 0: the same on all processes.

        The all-reduce of one step runs while the next is computed, so that no step waits for it.
        """
        if self.group is None:
            return self.received
        stop_signal = 0
        if self.pending_reduce is not None:
            work, flag = self.pending_reduce
            work.wait()
            stop_signal = int(flag)
        flag = torch.tensor([self.received])
        self.pending_reduce = distributed.all_reduce(flag, distributed.ReduceOp.MAX, self.group, async_op=True), flag
        return stop_signal

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if (signum := self._stop_signal()) and batch_stands_alone(trainer):
            stop_process_monitor(trainer)
            self.checkpoints.save_last(trainer)
            raise Interrupted(signum)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._stop_signal() and not trainer.should_stop:  # otherwise it ends anyway: a resume must not continue it
            # The checkpoint at the end of this epoch is written after this hook.
            trainer.should_stop = self.checkpoints.stopped_by_signal = True
