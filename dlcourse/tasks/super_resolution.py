"""Super-resolution: reconstruct a picture from a smaller copy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dlcourse.tasks.base import Batch, Predictions
from dlcourse.tasks.reconstruction import Reconstruction

if TYPE_CHECKING:
    from dlcourse.plots.section import Section


class SuperResolution(Reconstruction):
    """Reproduce pictures x (N, C, H, W) from the means of their blocks of ``factor`` × ``factor`` pixels.

    The target is `Reconstruction`'s. Lecture: L4. Dong et al. (2014).
    ValueError: data that are not pictures, or whose height or width is no multiple of the factor.
    """

    def __init__(self, *, factor: int, input_shape: Sequence[int], **facts: Any):
        super().__init__(**facts)
        self.factor, self.input_shape = factor, tuple(input_shape)
        if len(self.shape) != 3 or self.shape[1] % factor or self.shape[2] % factor:
            raise ValueError(
                f"task.factor={factor} makes pictures (C, H, W) smaller; the data's shape is {self.shape}: choose "
                "picture data, or a factor that divides height and width"
            )

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        x, target = super().prepare_batch(batch)
        return avg_pool2d(x.to(target.dtype), self.factor), target

    def bicubic(self, inputs: Tensor) -> Tensor:
        """Small pictures enlarged by PyTorch's bicubic interpolation (a = −0.75), for comparison; within 0 … white."""
        large = interpolate(inputs, scale_factor=self.factor, mode="bicubic", align_corners=False)
        return large if self.white is None else large.clamp(0, self.white)

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.reconstruction_sections import super_resolution_sections

        return super_resolution_sections(model, data, predictions)
