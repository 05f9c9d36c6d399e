"""Outputs of a model in evaluation mode, without gradients, a batch at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.metrics import real
from dlcourse.tasks.base import Predictions, logits

BATCH = 512


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients; afterwards each module has its old mode again."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def forward_batches(model: Any, x: Tensor) -> Predictions:
    """The outputs of a model for raw inputs x (N, *shape), on the CPU: float32, or float64 where the data needs it."""
    first = next(model.parameters())
    with eval_mode(model):
        dtype = x.dtype if x.dtype == torch.float64 else first.dtype
        z = [logits(model.task.answer(model, part.to(first.device, dtype))) for part in x.split(BATCH)]
        a = [real(model.output(part)).cpu() for part in z]
        return Predictions(torch.cat([part.float().cpu() for part in z]), torch.cat(a), model.loss.probabilities)


def grid(x: Tensor, side: int) -> tuple[Tensor, tuple[float, float, float, float]]:
    """``side``² grid points (N, 2) around x (N, 2), row by row from below; left, right, lower and upper ends."""
    low, high = x.float().amin(0), x.float().amax(0)
    border = ((high - low) * 0.08).clamp_min(0.3)
    (x0, y0), (x1, y1) = (low - border).tolist(), (high + border).tolist()
    across, up = torch.meshgrid(torch.linspace(x0, x1, side), torch.linspace(y0, y1, side), indexing="xy")
    return torch.stack((across.flatten(), up.flatten()), 1), (x0, x1, y0, y1)
