"""The metrics that ``metrics=`` adds to the task's own, from torchmetrics or a person's package."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor, distributed

from dlcourse.errors import Refused


class ChosenMetrics:
    """Metrics of one pass over the validation or test rows, equal on every process and exact on any number of them.

    Each batch, as the task makes it ``comparable``, goes to the metrics of all processes, so that each has seen every
    row, whatever a metric keeps of them; a process with no rows left adds none. ``predict`` makes predictions of
    outputs. A metric of K numbers, one a class or target, is logged as their mean, and ``NAME/1`` … ``NAME/K``.
    Refused: a batch that a metric does not take, and a value that is neither one number nor a row of them.
    A value that is NaN or infinite, as a correlation with a constant, is not logged, and a warning says so.
    """

    def __init__(self, metrics: Mapping[str, Any], task: Any, predict: Callable[[Any], Any]):
        self.metrics, self.task, self.predict = dict(metrics), task, predict
        for metric in self.metrics.values():
            metric.sync_on_compute = False  # update() passes it the samples of all processes

    def update(self, output: Any, target: Any) -> None:
        """Add a batch of each process."""
        if not self.metrics:
            return
        device = (target if isinstance(target, Tensor) else target[0]).device
        preds, wanted = self.task.comparable(self.predict(output), target)
        if isinstance(preds, Tensor) and preds.dtype in (torch.float16, torch.bfloat16):
            preds = preds.float()
        for part in _of_all_processes(preds, wanted):
            preds, wanted = move_data_to_device(part, device)
            if len(wanted):
                for name, metric in self.metrics.items():
                    _call(name, metric.to(device).update, preds, wanted)

    def check(self, output: Any, target: Any) -> None:
        """Refuse now, with a few samples, what a metric would refuse after the first epoch."""
        self.update(output, target)
        for metric in self.metrics.values():
            metric.reset()

    def compute(self, needed: str = "") -> dict[str, Tensor]:
        """The metrics by name, then reset; non-finite ones are dropped except the one that is ``needed``."""
        found = {}
        for name, metric in self.metrics.items():
            value = _call(name, metric.compute)
            metric.reset()
            if not isinstance(value, Tensor) or value.ndim > 1:
                shown = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise Refused(f"metrics.{name}: expected one number or a row of them, got {shown}")
            found[name] = value.float().mean()
            if value.numel() > 1:
                found |= {f"{name}/{k}": each for k, each in enumerate(value.float(), 1)}
        for name in [name for name, value in found.items() if name != needed and not value.isfinite()]:
            rank_zero_warn(f"metrics.{name} is {float(found.pop(name))}: it is not logged")
        return found


def _of_all_processes(preds: Any, target: Any) -> list[Any]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return [(preds, target)]
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, move_data_to_device((preds, target), "cpu"))
    return parts


def _call(name: str, method: Callable[..., Any], *values: Any) -> Any:
    try:
        return method(*values)
    except torch.OutOfMemoryError:  # a RuntimeError, but not the metric's
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise Refused(f"metrics.{name}: {str(error).splitlines()[0] or type(error).__name__}") from error
