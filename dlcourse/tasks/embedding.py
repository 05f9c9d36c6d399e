"""Embedding: a code for each sample, by which two samples are compared."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dlcourse.tasks.base import Batch, Predictions, Task, logits

if TYPE_CHECKING:
    from dlcourse.plots.section import Section


class Embedding(Task):
    """A code z (N, K) for each sample, that is similar for samples of one class, y (N,). Lecture: L19.

    Read as a = z/‖z‖, so that the product of two codes is their cosine. Training compares codes with each other or with
    a centre for each class, by the loss; the classes are not an output, so samples of classes that training has not
    seen have codes too. Made-up classes: with ``turns`` = 2 or 4 each picture is given in all its turns by 360°/turns,
    with ``flips`` = 2 also each of them left to right. Version k of class y, turns first, is of the class
    y · turns · flips + k of ``groups``; validation and test losses are of all versions, too. With ``flips`` = 2 the
    answer for a picture is the sum of its code and its mirror image's, each of length 1: training tells them apart, but
    to compare samples it does not matter from which side they were taken.
    Whether two samples belong together is a figure of pairs, not of rows: metrics=pair_auc, and the measures
    ``Verification`` and ``Identification``.
    ValueError: turns of what is not a square picture, flips of what is no picture; a set with one class, or a class
    with one row.
    """

    def __init__(
        self, *, classes: Sequence[str] | None, turns: int = 1, flips: int = 1, groups: int | None = None, **facts: Any
    ):
        super().__init__(**facts)
        if turns not in (1, 2, 4):
            raise ValueError(f"task.turns={turns}: expected 1, 2 or 4, the turns of a picture that are told apart")
        if flips not in (1, 2):
            raise ValueError(f"task.flips={flips}: expected 1, or 2, a picture and its mirror image told apart")
        self.names = None if classes is None else [str(name) for name in classes]
        self.turns, self.flips, self.groups = turns, flips, groups

    @property
    def versions(self) -> int:
        """How many rows are made of a sample."""
        return self.turns * self.flips

    def check(self, x: Tensor, y: Tensor) -> None:
        if self.turns > 1 and (x.ndim != 4 or x.shape[2] != x.shape[3]):
            raise ValueError(f"task.turns={self.turns} turns square pictures (C, H, H), found {tuple(x.shape[1:])}")
        if self.flips > 1 and x.ndim != 4:
            raise ValueError(f"task.flips={self.flips} flips pictures (C, H, W), found {tuple(x.shape[1:])}")

    def check_set(self, y: Tensor, index: Tensor) -> None:
        classes, counts = y.unique(return_counts=True)
        if len(classes) < 2:
            raise ValueError("has rows of one class only; pairs of two classes need at least two")
        if bool((counts == 1).any()):
            alone = int(classes[counts == 1][0])
            row = int(index[y == alone][0])
            name = str(alone) if self.names is None else self.names[alone]
            raise ValueError(f"has only row {row} of class {name}; a pair of one class needs two rows")

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Inputs (N · versions, *shape) and groups (N · versions,): each row in all its versions, one after another."""
        if self.versions == 1:
            return batch.x, batch.y
        quarters = [k * 4 // self.turns for k in range(self.turns)]
        turned = [batch.x.rot90(quarter, (2, 3)) for quarter in quarters]
        if self.flips == 2:
            turned += [x.flip(3) for x in turned]
        numbers = torch.arange(self.versions, device=batch.y.device)
        return torch.stack(turned, 1).flatten(0, 1), (batch.y[:, None] * self.versions + numbers).flatten()

    @property
    def has_own_answer(self) -> bool:
        return self.flips == 2

    def answer(self, model: Any, inputs: Tensor) -> Any:
        if self.flips == 1:
            return model(inputs)
        return sum(F.normalize(logits(model(x))) for x in (inputs, inputs.flip(3)))

    def postprocess(self, a: Tensor) -> Tensor:
        """Codes (N, K) of length 1."""
        return F.normalize(a)

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, K) and class numbers (N,) of the samples as they are, without their other versions."""
        return predictions.a[:: self.versions], target[:: self.versions] // self.versions

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The code, its units separated by tabs."""
        return ("\t".join(f"{value:.6g}" for value in row) for row in predictions.a.tolist())

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.embedding_sections import sections

        return sections(model, data, predictions)
