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
        left = "(" if "(" in self.open or self.low == -math.inf else "["
        right = ")" if ")" in self.open or self.high == math.inf else "]"
        kind = "a whole number" if self.whole else "a number"
        also = "".join(f" or {'null' if value is None else value}" for value in self.special)
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}{also}"

    def contains(self, value: Any) -> bool:
        if value in self.special and not isinstance(value, bool):
            return True
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        return above and below and (not self.whole or value == int(value))


NONNEGATIVE, POSITIVE = Range(0), Range(0, open="(")
COUNT, NATURAL, SEED = Range(1, whole=True), Range(0, whole=True), Range(0, 2**32 - 1, whole=True)
SHARE, UNIT = Range(0, 1, open=")"), Range(0, 1)  # a share is below 1

#: The keys of each range: every number that a user sets. Each item of a list must lie in the range.
KEYS: dict[Range, tuple[str, ...]] = {
    COUNT: (
        *(
            "data.size",
            "data.features",
            "data.films",
            "data.most",
            "task.factor",
            "task.stride",
            "task.most",
        ),
        *("model.code", "model.width", "model.depth", "model.steps", "model.factor", "model.units"),
        "activation.num_parameters",
        *("metrics.calibration_error.n_bins", "metrics.top_k.top_k"),
        *("optimizer.ns_steps", "optimizer.max_iter", "optimizer.history_size", "scheduler.step_size"),
        *("callbacks.diagnostics.rows", "callbacks.landscape.rows", "callbacks.early_stopping.patience"),
        *("sweep.workers", "sweep.n_trials", "trainer.num_nodes", "trainer.accumulate_grad_batches"),
        *("trainer.check_val_every_n_epoch", "trainer.log_every_n_steps"),
    ),
    COUNT._replace(as_list="must"): ("model.hidden", "model.channels"),
    COUNT._replace(as_list="may"): ("model.blocks", "model.kernel", "model.pool", "model.stride"),
    COUNT._replace(special=(None,)): ("model.size", "model.pool_stride", "data.labelled", "data.train_samples"),
    COUNT._replace(special=("full",)): ("data.batch_size",),
    COUNT._replace(special=(-1, None)): ("trainer.max_epochs",),
    COUNT._replace(special=(-1,)): ("trainer.max_steps",),
    NATURAL: (
        *("data.augment.pixels", "data.augment.padding", "data.fold", "model.classes", "model.epochs_per_layer"),
        *("scheduler.total_iters", "scheduler.patience", "scheduler.cooldown"),
    ),
    NATURAL._replace(special=(None,)): ("model.padding",),
    SEED: ("seed",),
    SEED._replace(special=(None,)): ("data.split_seed",),
    Range(-1, whole=True): ("callbacks.summary.max_depth",),
    Range(0, 64, whole=True): ("data.num_workers",),
    Range(2, whole=True): ("data.n_samples", "data.n_test_samples"),
    Range(2, whole=True, special=(None,)): ("data.folds",),
    Range(2, 1000, whole=True): ("callbacks.boundary.grid",),
    Range(3, 1000, whole=True): ("callbacks.landscape.points",),
    POSITIVE: (
        *("data.std", "data.turns", "metrics.psnr.data_range", "init.std", "init.gain", "loss.delta"),
        *("loss.temperature", "loss.scale"),
        *("optimizer.lr", "optimizer.adamw_lr", "optimizer.eps", "scheduler.gamma", "callbacks.landscape.reach"),
        *("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.limit_test_batches"),
        "trainer.val_check_interval",
    ),
    POSITIVE._replace(special=(None,)): ("trainer.gradient_clip_val", "data.white"),
    NONNEGATIVE: (
        *("data.noise", "task.noise", "model.beta", "loss.alpha", "loss.beta", "loss.size_weight"),
        *("callbacks.progress.seconds", "callbacks.early_stopping.min_delta"),
        *("optimizer.weight_decay", "optimizer.lr_decay", "optimizer.initial_accumulator_value"),
        *("optimizer.tolerance_grad", "optimizer.tolerance_change", "scheduler.threshold", "scheduler.min_lr"),
    ),
    POSITIVE._replace(special=("balanced", None), as_list="may"): ("loss.class_weights", "loss.pos_weight"),
    SHARE: (
        *("data.factor", "data.augment.scale", "model.dropout", "model.masked", "loss.label_smoothing"),
        *("optimizer.momentum", "optimizer.rho", "optimizer.alpha"),
    ),
    SHARE._replace(as_list="pair"): ("optimizer.betas",),
    UNIT: (
        *("data.augment.translate", "optimizer.dampening", "task.threshold"),
        *("scheduler.warmup", "scheduler.start", "scheduler.final"),
    ),
    Range(0, 1, open="("): ("scheduler.factor", "metrics.map.iou"),
    Range(0, 1, open="()"): ("data.val_fraction", "loss.prior"),
    Range(0, 180): ("data.augment.degrees",),
    Range(0, math.pi, open=")"): ("loss.margin",),
    Range(1, 4, whole=True): ("task.turns",),
    Range(1, 2, whole=True): ("task.flips",),
    Range(special=(None,)): ("callbacks.early_stopping.stopping_threshold",),
    Range(): ("activation.negative_slope", "activation.alpha", "activation.init", "init.a"),
}
RANGES = {key: allowed for allowed, keys in KEYS.items() for key in keys}


def check_range(key: str, value: Any, allowed: Range) -> None:
    is_list = OmegaConf.is_list(value)
    if allowed.as_list == "pair" and not (is_list and len(value) == 2):
        raise Refused(f"{key}={value}: expected two in a list, each {allowed}")
    if not is_list and allowed.as_list == "must":
        raise Refused(f"{key}={value}: expected a list, as '{key}=[{value}]'")
    for item in value if is_list and allowed.as_list != "never" else [value]:
        if not allowed.contains(item):
            raise Refused(f"{key}={item}: expected {allowed}")
