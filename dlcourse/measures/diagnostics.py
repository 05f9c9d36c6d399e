"""Logs statistics of the layers once an epoch: gradients, steps, dead and saturated units, activations."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.measures import log
from dlcourse.measures.diagnosis import gradients, hidden_layers, layer_warnings, subsample, unit_statistics, weights_of
from dlcourse.runs.callback import Callback
from dlcourse.runs.files import series
from dlcourse.tasks.predictions import eval_mode


class Diagnostics(Callback):
    """Before training and after each epoch, on ``rows`` training samples, for layer l (the last three: hidden layers).

    ``gradient/l`` ‖∂C/∂w‖; ``update/l`` ‖Δw‖/‖w‖ of the epoch's first step; ``dead/l``, ``saturated/l`` shares of units
    that pass no gradient; ``activation/p05/l`` … ``p95/l`` quantiles (in W&B ``activations/l``, histograms). When the
    model is tested: ``measure/gradient/l`` and ``measure/gradient_ratio`` (first layer by last) before training,
    ``measure/dead`` and ``measure/saturated`` (of the worst layer) after it; and prints warnings.
    Lecture: L8b – L8e.
    """

    def __init__(self, rows: int = 256):
        self.rows = rows
        self.first_and_last: list[dict[str, float]] = []  # statistics before training and at last
        self.old_weights: list[Tensor] = []  # weights before the first step of the epoch
        self.updates: dict[str, float] = {}  # of that step

    def state_dict(self) -> dict[str, Any]:
        return {"told": self.first_and_last, "updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first_and_last, self.updates = state_dict["told"], state_dict["updates"]

    def log_layers(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batch = trainer.datamodule.sets["train"].first(self.rows).to(pl_module.device)  # type: ignore[attr-defined]
        layers = hidden_layers(pl_module, batch)
        with eval_mode(pl_module):  # a random activation would consume random numbers of the training
            statistics = {**gradients(pl_module, batch), **self.updates, **unit_statistics(layers)}
            activations = {f"activations/{layer}": subsample(f(z)) for layer, (f, z) in enumerate(layers, 1)}
        self.first_and_last = [*self.first_and_last[:1], statistics]
        for logger in trainer.loggers:
            if hasattr(logger, "log_histograms"):
                logger.log_histograms(activations, trainer.global_step)
            logger.log_metrics({"epoch": trainer.current_epoch, **statistics}, step=trainer.global_step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.first_and_last:
            self.log_layers(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        if batch_idx == 0:
            self.old_weights = [w.detach().clone() for w in weights_of(pl_module)]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            pairs = zip(weights_of(pl_module), self.old_weights, strict=True)
            ratios = [(w.detach() - old_w).norm() / old_w.norm().clamp_min(1e-12) for w, old_w in pairs]
            self.updates = {f"update/{layer}": r for layer, r in enumerate(torch.stack(ratios).tolist(), 1)}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.log_layers(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.first_and_last:
            return
        norms, last = series(self.first_and_last[0])["gradient"], series(self.first_and_last[-1])
        statistics = {f"measure/gradient/{layer}": norm for layer, norm in norms.items()}
        statistics["measure/gradient_ratio"] = norms[1] / max(norms[len(norms)], 1e-30)
        for name in ("dead", "saturated"):
            if shares := last.get(name):
                statistics[f"measure/{name}"] = max(shares.values())
        log(trainer, pl_module, statistics)
        if trainer.is_global_zero:
            for warning in layer_warnings(self.first_and_last):
                print(warning, flush=True)
