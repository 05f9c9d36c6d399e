"""Denoising: reconstruct the input from a copy with noise."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from dlcourse.noise import normal
from dlcourse.tasks.base import Batch, Predictions
from dlcourse.tasks.reconstruction import Reconstruction

if TYPE_CHECKING:
    from dlcourse.plots.section import Section


class Denoising(Reconstruction):
    """Reproduce x (N, *shape) from x + ε, ε ~ N(0, σ²) for each value; the target is `Reconstruction`'s.

    ``noise``: σ, in units of white for pictures, of a column's deviation for other data. ε is a function of seed,
    epoch and sample; in validation and test it is the same in every epoch.
    Lecture: L4. Vincent et al. (2008).
    """

    def __init__(self, *, noise: float, **facts: Any):
        super().__init__(**facts)
        self.noise = noise

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        x, target = super().prepare_batch(batch)
        unit = self.x_std if self.white is None else self.white
        epsilon = self.noise * unit * normal(batch.seed, batch.epoch, batch.index, self.outputs).to(target.dtype)
        return x + epsilon.unflatten(1, self.shape), target

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.reconstruction_sections import denoising_sections

        return denoising_sections(model, data)
