"""Reconstruction: the input itself is the target."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dlcourse.metrics import exact
from dlcourse.tasks.base import PART, Batch, Predictions, Task

if TYPE_CHECKING:
    from PIL.Image import Image

    from dlcourse.plots.section import Section


class Reconstruction(Task):
    """Reproduce the inputs x (N, *shape) from z (N, P), P = Π shape. y is not used. Lecture: L4.

    The target of a picture is x / ``white``, in 0 … 1; of other data (``white`` null) it is standardised by column,
    (x − x̄)/s over the training set. Logs ``mse`` = mean (target − a)², in these units.
    ValueError: a picture with values outside 0 … white.
    """

    x_mean: Tensor
    x_std: Tensor
    learns_from_y = False

    def __init__(self, *, shape: Sequence[int], white: float | None, **facts: Any):
        super().__init__(**facts)
        self.shape, self.white = tuple(shape), white
        if white is None:
            self.register_buffer("x_mean", torch.zeros(self.outputs))
            self.register_buffer("x_std", torch.ones(self.outputs))

    def fit(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        if self.white is None:
            rows = x.flatten(1).double()
            std = rows.std(0, correction=0)
            self.x_mean = self.x_mean.to(torch.promote_types(self.x_mean.dtype, rows.dtype)).copy_(rows.mean(0))
            self.x_std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def check(self, x: Tensor, y: Tensor) -> None:
        for k, part in enumerate(x.split(PART) if self.white is not None else ()):
            low, high = part.flatten(1).amin(1), part.flatten(1).amax(1)
            if len(bad := ((low < 0) | (high > self.white)).nonzero()):
                row = int(bad[0])
                values = f"{float(low[row]):g} … {float(high[row]):g}"
                found = f"the picture of row {k * PART + row} has values {values}"
                raise ValueError(f"{found}, expected 0 … {self.white:g}")

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        rows = batch.x.flatten(1)
        rows = rows if rows.is_floating_point() else rows.float()
        return batch.x, self.in_target_units(rows)

    def postprocess(self, a: Tensor) -> Tensor:
        """The reconstructed rows (N, *shape), in the units of x."""
        rows = a * self.x_std + self.x_mean if self.white is None else a * self.white
        return rows.unflatten(-1, self.shape)

    def in_target_units(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        return (rows - self.x_mean).to(self.x_std.dtype) / self.x_std if self.white is None else rows / self.white

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        return {"sq": (exact(self.in_target_units(read(output))) - exact(target)).square().mean(1)}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"mse": sums["sq"] / sums["n"]}

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """In the target's units, in the shape of the rows (N, *shape)."""
        return self.in_target_units(predictions.a).unflatten(1, self.shape), target.unflatten(1, self.shape)

    def draw(self, x: Tensor, predictions: Predictions, white: float) -> "list[Image] | None":
        """The reconstructed pictures."""
        from dlcourse.plots.pictures import is_picture, stacked

        if not is_picture(self.shape):
            return None
        return [stacked([row[None]], 0.0, self.white or white) for row in predictions.a]

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.reconstruction_sections import sections

        return sections(model, data, predictions)
