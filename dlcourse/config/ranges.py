"""The range of every number that a user sets."""

import math
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from dlcourse.errors import Refused


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``, without the ends that are ``open``; ``whole``: only whole numbers.

    ``special`` values are accepted as well, and lists of numbers as ``as_list`` says.
    """

    low: float = -math.inf
    high: float = math.inf
    open: str = ""  # which ends are excluded: "(", ")" or "()"
    whole: bool = False
    special: tuple[Any, ...] = ()
    as_list: str = "never"  # or "may", "must", "pair": a list of such numbers, two of them

    def __str__(self) -> str:
        left, right = "(" if "(" in self.open else "[", ")" if ")" in self.open else "]"
        kind = "a whole number" if self.whole else "a number"
        also = "".join(f" or {'null' if value is None else value}" for value in self.special)
        left, right = "(" if self.low == -math.inf else left, ")" if self.high == math.inf else right
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}{also}"

    def contains(self, value: Any) -> bool:
        if value in self.special and not isinstance(value, bool):
            return True
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.whole and value != int(value):
            return False
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        return above and below


POSITIVE, SHARE = Range(0, open="("), Range(0, 1, open=")")
COUNT, COUNTS = Range(1, whole=True), Range(1, whole=True, as_list="must")

#: The range of each numeric key that a user sets. Each item of a list must lie in it.
RANGES: dict[str, Range] = {
    "seed": Range(0, 2**32 - 1, whole=True),
    "data.batch_size": Range(1, whole=True, special=("full",)),
    "data.num_workers": Range(0, 64, whole=True),
    "data.split_seed": Range(0, 2**32 - 1, whole=True, special=(None,)),
    "data.val_fraction": Range(0, 1, open="()"),
    "data.n_samples": Range(2, whole=True),
    "data.noise": Range(0),
    "data.std": POSITIVE,
    "data.turns": POSITIVE,
    "data.factor": SHARE,
    "data.size": COUNT,
    "data.features": COUNT,
    "data.augment.pixels": Range(0, whole=True),
    "data.augment.padding": Range(0, whole=True),
    "data.augment.degrees": Range(0, 180),
    "data.augment.translate": Range(0, 1),
    "data.augment.scale": SHARE,
    "model.hidden": COUNTS,
    "model.channels": COUNTS,
    "model.code": COUNT,
    "metrics.calibration_error.n_bins": COUNT,
    "metrics.psnr.data_range": POSITIVE,
    "metrics.top_k.top_k": COUNT,
    "model.kernel": COUNT._replace(as_list="may"),
    "model.stride": COUNT._replace(as_list="may"),
    "model.padding": Range(0, whole=True, special=(None,)),
    "model.pool": COUNT,
    "model.dropout": SHARE,
    "model.size": COUNT._replace(special=(None,)),
    "activation.negative_slope": Range(),
    "activation.alpha": Range(),
    "activation.init": Range(),
    "activation.num_parameters": COUNT,
    "init.std": POSITIVE,
    "init.gain": POSITIVE,
    "init.a": Range(),
    "optimizer.lr": POSITIVE,
    "optimizer.adamw_lr": POSITIVE,
    "optimizer.momentum": SHARE,
    "optimizer.weight_decay": Range(0),
    "optimizer.eps": POSITIVE,
    "optimizer.betas": SHARE._replace(as_list="pair"),
    "optimizer.rho": SHARE,
    "optimizer.alpha": SHARE,
    "optimizer.dampening": Range(0, 1),
    "optimizer.lr_decay": Range(0),
    "optimizer.initial_accumulator_value": Range(0),
    "optimizer.ns_steps": COUNT,
    "optimizer.max_iter": COUNT,
    "optimizer.history_size": COUNT,
    "optimizer.tolerance_grad": Range(0),
    "optimizer.tolerance_change": Range(0),
    "scheduler.step_size": COUNT,
    "scheduler.gamma": POSITIVE,
    "scheduler.factor": Range(0, 1, open="("),
    "scheduler.total_iters": Range(0, whole=True),
    "scheduler.patience": Range(0, whole=True),
    "scheduler.cooldown": Range(0, whole=True),
    "scheduler.threshold": Range(0),
    "scheduler.min_lr": Range(0),
    "scheduler.warmup": Range(0, 1),
    "scheduler.start": Range(0, 1),
    "scheduler.final": Range(0, 1),
    "callbacks.progress.seconds": Range(0),
    "callbacks.diagnostics.rows": COUNT,
    "callbacks.boundary.grid": Range(2, 1000, whole=True),
    "callbacks.landscape.points": Range(3, 1000, whole=True),
    "callbacks.landscape.reach": POSITIVE,
    "callbacks.landscape.rows": COUNT,
    "callbacks.summary.max_depth": Range(-1, whole=True),
    "callbacks.early_stopping.patience": COUNT,
    "callbacks.early_stopping.min_delta": Range(0),
    "loss.label_smoothing": SHARE,
    "loss.delta": POSITIVE,
    "loss.class_weights": Range(0, special=(None,), as_list="may"),
    "sweep.workers": COUNT,
    "sweep.n_trials": COUNT,
    "trainer.max_epochs": Range(1, whole=True, special=(-1, None)),
    "trainer.max_steps": Range(1, whole=True, special=(-1,)),
    "trainer.num_nodes": COUNT,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.gradient_clip_val": Range(0, open="(", special=(None,)),
    "trainer.limit_train_batches": POSITIVE,
    "trainer.limit_val_batches": POSITIVE,
    "trainer.limit_test_batches": POSITIVE,
    "trainer.val_check_interval": POSITIVE,
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.log_every_n_steps": COUNT,
}


def check_range(key: str, value: Any, allowed: Range) -> None:
    is_list = OmegaConf.is_list(value)
    if allowed.as_list == "pair" and not (is_list and len(value) == 2):
        raise Refused(f"{key}={value}: expected two in a list, each {allowed}")
    if not is_list and allowed.as_list == "must":
        raise Refused(f"{key}={value}: expected a list, as '{key}=[{value}]'")
    if is_list and allowed.as_list == "never":
        raise Refused(f"{key}={value}: expected {allowed}")
    for item in value if is_list else [value]:
        if not allowed.contains(item):
            raise Refused(f"{key}={item}: expected {allowed}")
