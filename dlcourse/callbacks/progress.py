"""Progress of a run: a bar in a terminal, otherwise a line every few seconds."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
from tqdm import tqdm

from dlcourse.runs.callback import Callback


class Progress(Callback, pl.callbacks.ProgressBar):
    """One bar for the whole training; without a terminal, a line at most every ``seconds``."""

    def __init__(self, seconds: float = 5.0):
        super().__init__()
        self.seconds = seconds
        self.bar: tqdm | None = None
        self.last_printed = 0.0

    def disable(self) -> None:
        self.seconds = float("inf")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last_printed = time.monotonic()
        if sys.stderr.isatty() and trainer.is_global_zero and self.seconds < float("inf"):
            steps = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
            total = int(steps) if steps < float("inf") else None
            done = trainer.global_step * trainer.accumulate_grad_batches
            self.bar = tqdm(total=total, initial=done, unit="batch", mininterval=0.2, dynamic_ncols=True)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Training metrics are available only after the hooks at the end of the epoch.
        if trainer.current_epoch and (self.bar is not None or time.monotonic() - self.last_printed >= self.seconds):
            self._show(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._show(trainer, trainer.current_epoch)
        self._close()

    def _show(self, trainer: pl.Trainer, epochs: int) -> None:
        """Show the metrics after this many epochs, without those of single classes or targets."""
        shown = sorted((k, v) for k, v in trainer.callback_metrics.items() if not k.rpartition("/")[2].isdigit())
        metrics = {k: f"{float(v):.4g}" for k, v in shown}
        if self.bar is not None:
            self.bar.set_postfix({"epoch": epochs, **metrics})
        elif trainer.is_global_zero and self.seconds < float("inf"):
            self.last_printed = time.monotonic()
            line = "  ".join(f"{key} {value}" for key, value in metrics.items())
            print(f"epoch {epochs}/{trainer.max_epochs}  {line}", flush=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
