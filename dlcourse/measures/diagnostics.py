"""Rows about the layers, once an epoch: gradients, steps, dead and saturated units, the spread of activations."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.measures import log
from dlcourse.measures.diagnosis import gradients, hidden, some, units, verdicts, weights_of
from dlcourse.runs.callback import Callback
from dlcourse.runs.files import series
from dlcourse.tasks.answers import eval_mode


class Diagnostics(Callback):
    """Before training and after each epoch, on ``rows`` training rows, by layer l (hidden layers for the last three).

    ``gradient/l`` ‖∂C/∂w‖; ``update/l`` ‖Δw‖/‖w‖ of the epoch's first step; ``dead/l``, ``saturated/l`` shares of units
    that pass no gradient; ``activation/p05/l`` … ``p95/l`` quantiles (in W&B ``activations/l``, histograms). When the
    model is tested: ``measure/gradient/l`` and ``measure/gradient_ratio`` (first layer by last) before training,
    ``measure/dead`` and ``measure/saturated`` (of the worst layer) at its end; and what stands out, in words.
    Lecture: L8b – L8e.
    """

    def __init__(self, rows: int = 256):
        self.rows = rows
        self.told: list[dict[str, float]] = []  # the first row, and the last
        self.before: list[Tensor] = []  # the weights before the epoch's first step
        self.updates: dict[str, float] = {}  # of that step

    def state_dict(self) -> dict[str, Any]:
        return {"told": self.told, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.told, self.updates = state_dict["told"], state_dict["updates"]

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batch = trainer.datamodule.sets["train"].first(self.rows).to(pl_module.device)  # type: ignore[attr-defined]
        layers = hidden(pl_module, batch)
        with eval_mode(pl_module):  # an activation that draws would draw the training's random numbers
            found = {**gradients(pl_module, batch), **self.updates, **units(layers)}
            activations = {f"activations/{layer}": some(f(z)) for layer, (f, z) in enumerate(layers, 1)}
        self.told = [*self.told[:1], found]
        for logger in trainer.loggers:
            if hasattr(logger, "log_histograms"):
                logger.log_histograms(activations, trainer.global_step)
            logger.log_metrics({"epoch": trainer.current_epoch, **found}, step=trainer.global_step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.told:
            self.look(trainer, pl_module)

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.before = [w.detach().clone() for w in weights_of(pl_module)]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            pairs = zip(weights_of(pl_module), self.before, strict=True)
            ratios = torch.stack([(w.detach() - old).norm() / old.norm().clamp_min(1e-12) for w, old in pairs]).tolist()
            self.updates = {f"update/{layer}": ratio for layer, ratio in enumerate(ratios, 1)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.look(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.told:
            return
        norms, last = series(self.told[0])["gradient"], series(self.told[-1])
        found = {f"measure/gradient/{layer}": norm for layer, norm in norms.items()}
        found["measure/gradient_ratio"] = norms[1] / max(norms[len(norms)], 1e-30)
        for name in ("dead", "saturated"):
            if shares := last.get(name):
                found[f"measure/{name}"] = max(shares.values())
        log(trainer, pl_module, found)
        if trainer.is_global_zero:
            for sentence in verdicts(self.told):
                print(sentence, flush=True)
