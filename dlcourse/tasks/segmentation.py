"""Segmentation: a class for each pixel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dlcourse.metrics import exact
from dlcourse.tasks.base import Batch, Predictions, logits
from dlcourse.tasks.supervised import Classification

if TYPE_CHECKING:
    from PIL.Image import Image

    from dlcourse.plots.section import Section


class Segmentation(Classification):
    """One of C classes per pixel, y (N, H, W) in 0 … C − 1; z (N, H, W, C), and the class is argmax z. Lecture: L7.

    The loss compares pixels: M = N · H · W rows. Logs ``acc``, the share of pixels whose class is right, and ``iou``,
    the mean of ``iou/k``, class k = 1 … C: |T ∩ P| / |T ∪ P| of the pixels T that have the class and the pixels P that
    are predicted to, both of all samples together. A class that is in neither is left out (torchmetrics' macro mean).
    """

    samples_shown = 12
    of_converted = "masks and numbers of pixels are of the converted pictures"

    def __init__(self, *, shape: Sequence[int], **facts: Any):
        super().__init__(**facts)
        self.places = tuple(shape[1:])

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.x, batch.y.long()

    def loss_inputs(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor, None]:
        return logits(output).flatten(0, -2), target.flatten(), None

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        """``pixels`` (N, C, C): the pixels of each sample by true and by predicted class."""
        pairs = (target * self.outputs + logits(output).max(-1).indices).flatten(1)
        counts = torch.zeros(len(target), self.outputs**2, dtype=torch.long, device=target.device)
        return {"pixels": counts.scatter_add(1, pairs, torch.ones_like(pairs)).unflatten(1, (self.outputs, -1))}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        pixels = exact(sums["pixels"])
        both = pixels.diagonal(dim1=-2, dim2=-1)
        either = pixels.sum(-1) + pixels.sum(-2) - both
        iou = both / either
        found = {"acc": both.sum(-1) / pixels.sum((-2, -1)), "iou": iou.nanmean(-1)}
        present = (either > 0).flatten(0, -2).all(0) if either.ndim > 1 else either > 0
        return found | {f"iou/{k + 1}": iou[..., k] for k in present.nonzero()[:, 0].tolist()}

    def predicted_class(self, z: Tensor) -> Tensor:
        """The predicted class of each pixel, (N, H, W), for z (N, H, W, C)."""
        return z.argmax(-1)

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C, H, W) and class numbers (N, H, W)."""
        a = predictions.a if predictions.probabilities else predictions.z.softmax(-1)
        return a.movedim(-1, 1), target

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The classes of a picture, those of most pixels first, and how many pixels each has."""
        for mask in self.predicted_class(predictions.z):
            counts = torch.bincount(mask.flatten(), minlength=self.outputs)
            order = counts.argsort(descending=True, stable=True).tolist()
            yield "\t".join(f"{self.classes[k]}={counts[k]}" for k in order if counts[k])

    def draw(self, x: Tensor, predictions: Predictions, white: float) -> "list[Image]":
        """The masks, as pictures whose pixels are class numbers."""
        from dlcourse.plots.scenes import mask_picture

        return [mask_picture(mask) for mask in self.predicted_class(predictions.z)]

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.scene_sections import mask_sections

        return mask_sections(self, data, predictions)
