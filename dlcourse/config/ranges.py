"""The range of every number that a person sets by hand."""

import math
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from dlcourse.errors import Refused


class Limit(NamedTuple):
    """The range of a number: low and high (excluded where ``open``), whole or not; words and lists accepted beside."""

    low: float = -math.inf
    high: float = math.inf
    open: str = ""  # which ends are excluded: "(", ")" or "()"
    whole: bool = False
    words: tuple[Any, ...] = ()
    listed: str = "never"  # or "may", "must", "pair": a list of such numbers, two of them

    def __str__(self) -> str:
        left, right = "(" if "(" in self.open else "[", ")" if ")" in self.open else "]"
        kind = "a whole number" if self.whole else "a number"
        also = "".join(f" or {'null' if word is None else word}" for word in self.words)
        left, right = "(" if self.low == -math.inf else left, ")" if self.high == math.inf else right
        return f"{kind} in {left}{self.low:g}, {self.high:g}{right}{also}"

    def admits(self, value: Any) -> bool:
        if value in self.words and not isinstance(value, bool):
            return True
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.whole and value != int(value):
            return False
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        return above and below


POSITIVE, SHARE = Limit(0, open="("), Limit(0, 1, open=")")


COUNT, COUNTS = Limit(1, whole=True), Limit(1, whole=True, listed="must")


#: Every numeric key that a person sets by hand, and its range. A list is judged item by item.
LIMITS: dict[str, Limit] = {
    "seed": Limit(0, 2**32 - 1, whole=True),
    "data.batch_size": Limit(1, whole=True, words=("full",)),
    "data.num_workers": Limit(0, 64, whole=True),
    "data.split_seed": Limit(0, 2**32 - 1, whole=True, words=(None,)),
    "data.val_fraction": Limit(0, 1, open="()"),
    "data.n_samples": Limit(2, whole=True),
    "data.noise": Limit(0),
    "data.std": POSITIVE,
    "data.turns": POSITIVE,
    "data.factor": SHARE,
    "data.size": COUNT,
    "data.features": COUNT,
    "data.augment.pixels": Limit(0, whole=True),
    "data.augment.padding": Limit(0, whole=True),
    "data.augment.degrees": Limit(0, 180),
    "data.augment.translate": Limit(0, 1),
    "data.augment.scale": SHARE,
    "model.hidden": COUNTS,
    "model.channels": COUNTS,
    "model.code": COUNT,
    "metrics.calibration_error.n_bins": COUNT,
    "metrics.psnr.data_range": POSITIVE,
    "metrics.top_k.top_k": COUNT,
    "model.kernel": COUNT._replace(listed="may"),
    "model.stride": COUNT._replace(listed="may"),
    "model.padding": Limit(0, whole=True, words=(None,)),
    "model.pool": COUNT,
    "model.dropout": SHARE,
    "model.size": COUNT._replace(words=(None,)),
    "activation.negative_slope": Limit(),
    "activation.alpha": Limit(),
    "activation.init": Limit(),
    "activation.num_parameters": COUNT,
    "init.std": POSITIVE,
    "init.gain": POSITIVE,
    "init.a": Limit(),
    "optimizer.lr": POSITIVE,
    "optimizer.adamw_lr": POSITIVE,
    "optimizer.momentum": SHARE,
    "optimizer.weight_decay": Limit(0),
    "optimizer.eps": POSITIVE,
    "optimizer.betas": SHARE._replace(listed="pair"),
    "optimizer.rho": SHARE,
    "optimizer.alpha": SHARE,
    "optimizer.dampening": Limit(0, 1),
    "optimizer.lr_decay": Limit(0),
    "optimizer.initial_accumulator_value": Limit(0),
    "optimizer.ns_steps": COUNT,
    "optimizer.max_iter": COUNT,
    "optimizer.history_size": COUNT,
    "optimizer.tolerance_grad": Limit(0),
    "optimizer.tolerance_change": Limit(0),
    "scheduler.step_size": COUNT,
    "scheduler.gamma": POSITIVE,
    "scheduler.factor": Limit(0, 1, open="("),
    "scheduler.total_iters": Limit(0, whole=True),
    "scheduler.patience": Limit(0, whole=True),
    "scheduler.cooldown": Limit(0, whole=True),
    "scheduler.threshold": Limit(0),
    "scheduler.min_lr": Limit(0),
    "scheduler.warmup": Limit(0, 1),
    "scheduler.start": Limit(0, 1),
    "scheduler.final": Limit(0, 1),
    "callbacks.progress.seconds": Limit(0),
    "callbacks.diagnostics.rows": COUNT,
    "callbacks.boundary.grid": Limit(2, 1000, whole=True),
    "callbacks.landscape.points": Limit(3, 1000, whole=True),
    "callbacks.landscape.reach": POSITIVE,
    "callbacks.landscape.rows": COUNT,
    "callbacks.summary.max_depth": Limit(-1, whole=True),
    "callbacks.early_stopping.patience": COUNT,
    "callbacks.early_stopping.min_delta": Limit(0),
    "loss.label_smoothing": SHARE,
    "loss.delta": POSITIVE,
    "loss.class_weights": Limit(0, words=(None,), listed="may"),
    "sweep.workers": COUNT,
    "sweep.n_trials": COUNT,
    "trainer.max_epochs": Limit(1, whole=True, words=(-1, None)),
    "trainer.max_steps": Limit(1, whole=True, words=(-1,)),
    "trainer.num_nodes": COUNT,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.gradient_clip_val": Limit(0, open="(", words=(None,)),
    "trainer.limit_train_batches": POSITIVE,
    "trainer.limit_val_batches": POSITIVE,
    "trainer.limit_test_batches": POSITIVE,
    "trainer.val_check_interval": POSITIVE,
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.log_every_n_steps": COUNT,
}


def check_number(key: str, value: Any, limit: Limit) -> None:
    is_list = OmegaConf.is_list(value)
    if limit.listed == "pair" and not (is_list and len(value) == 2):
        raise Refused(f"{key}={value}: expected two in a list, each {limit}")
    if not is_list and limit.listed == "must":
        raise Refused(f"{key}={value}: expected a list, as '{key}=[{value}]'")
    if is_list and limit.listed == "never":
        raise Refused(f"{key}={value}: expected {limit}")
    for item in value if is_list else [value]:
        if not limit.admits(item):
            raise Refused(f"{key}={item}: expected {limit}")
