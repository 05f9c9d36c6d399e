"""Learning-rate schedules that know how long training lasts.

η(t) = η · factor(t/T), with t the steps taken so far and T = total_steps; η is the rate that each parameter group of
the optimizer was given. The rate after T stays that of T. Lecture: beyond the slides (the η of L12).
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class Scheduled(LRScheduler):
    """A rate in closed form: a subclass gives ``factor(s)`` for the share s = t/T in [0, 1] of training done.

    Steps are optimizer steps, not epochs. Raises ValueError when T is not a finite number of at least 1.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, last_epoch: int = -1):
        if not 1 <= total_steps < math.inf:
            raise ValueError(
                f"total_steps={total_steps}: {type(self).__name__} needs to know how long training lasts; "
                "set trainer.max_epochs or trainer.max_steps"
            )
        self.total_steps = total_steps
        super().__init__(optimizer, last_epoch)

    def factor(self, s: float) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[float | Tensor]:
        s = min(self.last_epoch / self.total_steps, 1.0)
        return [lr * self.factor(s) for lr in self.base_lrs]


class Cosine(Scheduled):
    """Half a cosine from 1 down to ``final`` (a share of η).

    factor(s) = final + (1 − final)·(1 + cos πs)/2. Loshchilov and Hutter (2017), without restarts.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, final: float = 0.0):
        self.final = final
        super().__init__(optimizer, total_steps)

    def factor(self, s: float) -> float:
        return _cosine(1.0, self.final, s)


class WarmupCosine(Scheduled):
    """A straight line from ``start`` up to 1 over the first ``warmup`` share of the steps, then Cosine over the rest.

    factor(s) = start + (1 − start)·s/warmup, then final + (1 − final)·(1 + cos π(s − warmup)/(1 − warmup))/2;
    warmup in [0, 1). Goyal et al. (2017) for the warm-up.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, start: float = 0.01, final: float = 0.0
    ):
        self.warmup, self.start, self.final = _share("warmup", warmup), start, final
        super().__init__(optimizer, total_steps)

    def factor(self, s: float) -> float:
        if s < self.warmup:
            return self.start + (1 - self.start) * s / self.warmup
        return _cosine(1.0, self.final, (s - self.warmup) / (1 - self.warmup))


class OneCycle(Scheduled):
    """Half a cosine from ``start`` up to 1 over the first ``warmup`` share of the steps, another down to ``final``.

    The peak is the optimizer's own η. Momentum is left alone, so that plain SGD stays plain; warmup in [0, 1).
    Smith and Topin (2018).
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: float = 0.3, start: float = 0.04, final: float = 4e-6
    ):
        self.warmup, self.start, self.final = _share("warmup", warmup), start, final
        super().__init__(optimizer, total_steps)

    def factor(self, s: float) -> float:
        if s < self.warmup:
            return _cosine(self.start, 1.0, s / self.warmup)
        return _cosine(1.0, self.final, (s - self.warmup) / (1 - self.warmup))


def _cosine(begin: float, end: float, s: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * s)) / 2


def _share(key: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{key}={value}: a share of the training steps, at least 0 and below 1")
    return value


def depends_on_total(scheduler: Callable[..., Any]) -> bool:
    """Whether a schedule's shape depends on the length of the whole run."""
    return "total_steps" in inspect.signature(getattr(scheduler, "func", scheduler)).parameters
