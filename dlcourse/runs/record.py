"""Logging of every run: metrics.jsonl and timing.jsonl; stops when a loss becomes NaN or infinite."""

import json
import math
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.errors import Diverged
from dlcourse.runs.callback import Callback
from dlcourse.runs.directory import RunDirectory


class Record(Callback):
    """Logs training loss and learning rate every ``log_every_n_steps``, and timing; stops at a NaN or infinite loss.

    Losses stay on the device until they are logged, so that a step needs no copy to the host.
    """

    def __init__(self, run: RunDirectory):
        self.run = run
        self.losses: list[Tensor] = []
        self.samples = 0  # that this process has trained on, with repetitions
        self.seconds_before_resume = 0.0  # seconds of training before a resume
        self.started = 0.0

    def state_dict(self) -> dict[str, Any]:
        losses = torch.stack(self.losses).tolist() if self.losses else []
        return {"losses": losses, "rows": self.samples, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = [torch.tensor(loss) for loss in state_dict["losses"]]
        self.samples, self.seconds_before_resume = state_dict["rows"], state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training and validation so far, those before a resume included."""
        return self.seconds_before_resume + time.monotonic() - self.started

    def on_save_checkpoint(self, trainer: pl.Trainer, *_: Any) -> None:
        self.check(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.losses = [loss.to(pl_module.device) for loss in self.losses]

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"])
        self.samples += len(batch.x)
        if len(self.losses) >= trainer.log_every_n_steps * trainer.accumulate_grad_batches:  # type: ignore[attr-defined]
            values = self.check(trainer)
            self.losses.clear()
            # Lightning passes the loss divided by the number of accumulated batches.
            row = {"epoch": trainer.current_epoch, "train/loss_step": math.fsum(values) / len(values)}
            row["train/loss_step"] *= trainer.accumulate_grad_batches
            row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
            for logger in trainer.loggers:
                logger.log_metrics(row, step=trainer.global_step)

    def check(self, trainer: pl.Trainer) -> list[float]:
        """The losses since they were last logged, on the host; Diverged names the step of one that is not finite."""
        values = torch.stack(self.losses).tolist() if self.losses else []
        for k, value in enumerate(values):
            if not math.isfinite(value):
                step = trainer.global_step - (len(values) - 1 - k) // trainer.accumulate_grad_batches
                self._raise_diverged(trainer, f"the training loss is {value}", step)
        return values

    def _raise_diverged(self, trainer: pl.Trainer, what: str, step: int) -> None:
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        where = f"at step {step} (epoch {trainer.current_epoch}, lr={lr:g})"
        raise Diverged(f"diverged: {what} {where}", "Try a lower optimizer.lr", step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self.check(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            for key, value in trainer.callback_metrics.items():
                if not math.isfinite(value):
                    self._raise_diverged(trainer, f"{key} is {float(value)}", trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check(trainer)
        if trainer.is_global_zero:
            row = {"step": trainer.global_step, "epoch": trainer.current_epoch, "seconds": round(self.seconds, 3)}
            with open(self.run.path / "timing.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
