"""Supervised tasks: a class, one of two classes, several labels, or values for each sample."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.metrics import exact
from dlcourse.tasks.base import Batch, Predictions, Task, logits

if TYPE_CHECKING:
    from dlcourse.plots.section import Section


class Classification(Task):
    """One of C classes per sample, y (N,) in 0 … C − 1; z (N, C), and the class is argmax z. Lecture: L6, L8f, L11.

    Logs ``acc``, the share of samples whose class is right.
    """

    classes: list[str]

    def __init__(self, *, classes: Sequence[str] | None, **facts: Any):
        super().__init__(**facts)
        self.classes = [str(name) for name in classes or range(self.class_count or self.outputs)]

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        return {"correct": logits(output).max(1).indices == target}  # the first of equals, as argmax, and sooner

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"acc": sums["correct"] / sums["n"]}

    def predicted_class(self, z: Tensor) -> Tensor:
        return z.argmax(1)

    @property
    def output_names(self) -> list[str]:
        return self.classes if self.outputs == len(self.classes) else super().output_names

    def scores(self, predictions: Predictions) -> Tensor:
        """The score of each class (N, C): its probability if the loss has one, else z."""
        return predictions.a if predictions.probabilities else predictions.z

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C), softmax(z) if the loss has none, and class numbers (N,)."""
        return predictions.a if predictions.probabilities else predictions.z.softmax(1), target

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The class, and the probability (or the score) of each."""
        classes = self.predicted_class(predictions.z).tolist()
        for k, row in zip(classes, self.scores(predictions).tolist(), strict=True):
            named = zip(self.classes, row, strict=True)
            yield "\t".join([self.classes[k], *(f"{name}={value:.4f}" for name, value in named)])

    def as_columns(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """The class, and the probability (or the score) of each."""
        kind = "probability" if predictions.probabilities else "score"
        scores = self.scores(predictions).numpy()
        found = np.array(self.classes, dtype=object)[self.predicted_class(predictions.z).numpy()]
        return {"predicted": found, **{f"{kind} {name}": scores[:, k] for k, name in enumerate(self.classes)}}

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.class_sections import sections

        return sections(model, data, predictions)


class Binary(Classification):
    """One of two classes by one output z (N, 1): class 1 where z > 0. Lecture: L1, L2, L10."""

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.x, batch.y[:, None].float()

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        return {"correct": ((logits(output) > 0) == (target > 0.5)).flatten()}

    def predicted_class(self, z: Tensor) -> Tensor:
        return (z[:, 0] > 0).long()

    def scores(self, predictions: Predictions) -> Tensor:
        shown = super().scores(predictions)
        return torch.cat([1 - shown if predictions.probabilities else -shown, shown], 1)

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """The probability of class 1 (N,), σ(z) if the loss has none, and class numbers (N,)."""
        return (predictions.a if predictions.probabilities else predictions.z.sigmoid())[:, 0], target[:, 0].long()


class Multilabel(Task):
    """Any number of K labels per sample, y (N, K) of zeros and ones; label k if z_k > 0. Lecture: beyond L10.

    ``words``: what 0 and 1 are called of each label. Logs ``acc``, the share of labels that are right, and ``exact``,
    the share of samples with all labels right.
    """

    def __init__(self, *, labels: Sequence[str] | None, words: Sequence[Sequence[str]] | None = None, **facts: Any):
        super().__init__(**facts)
        self.labels = [str(name) for name in labels or range(self.outputs)]
        self.words = words or [("0", "1")] * self.outputs

    @property
    def output_names(self) -> list[str]:
        return self.labels

    def prepare_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.x, batch.y.float()

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        right = (logits(output) > 0) == (target > 0.5)
        return {"right": right, "whole": right.all(1)}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        n = sums["n"]
        return {"acc": (sums["right"] / n[..., None]).mean(-1), "exact": sums["whole"] / n}

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """The probability of each label, σ(z) if the loss has none, and zeros and ones, (N, K) both."""
        return predictions.a if predictions.probabilities else predictions.z.sigmoid(), target.long()

    def as_columns(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Of each label its word, 1 or 0 without any, and the probability (or the score) of the second."""
        kind = "probability" if predictions.probabilities else "score"
        shown = (predictions.a if predictions.probabilities else predictions.z).numpy()
        there, named = (predictions.z > 0).long().numpy(), [*enumerate(zip(self.labels, self.words, strict=True))]
        found = {f"predicted {name}": np.array(words, dtype=object)[there[:, k]] for k, (name, words) in named}
        return found | {f"{kind} {name}={words[1]}": shown[:, k] for k, (name, words) in named}

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.label_sections import sections

        return sections(model, data, predictions)

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The predicted labels, and the probability (or the score) of each."""
        shown = predictions.a if predictions.probabilities else predictions.z
        for z, row in zip(predictions.z.tolist(), shown.tolist(), strict=True):
            there = [name for name, value in zip(self.labels, z, strict=True) if value > 0]
            named = zip(self.labels, row, strict=True)
            yield "\t".join([",".join(there), *(f"{name}={value:.4f}" for name, value in named)])


class Regression(Task):
    """K values for each sample, y (N, K) in the data's own units. Lecture: L6, L9.

    With ``standardise=true`` the loss compares deviations from the training targets' mean, (y − ȳ)/s; the mean is
    float64 where the targets are. Logs ``mae`` in the target's units and ``r2`` = 1 − Σ(y − ŷ)² / Σ(y − ȳ)². Of several
    values ``mae/k`` and ``r2/k`` are those of target k, ``mae`` the mean of mae/k over the standard deviation of target
    k in the training set, ``r2`` the mean. ``r2`` is left out where a target is the same in all rows.
    """

    y_mean: Tensor
    y_std: Tensor

    def __init__(self, *, standardise: bool | float = True, **facts: Any):
        super().__init__(**facts)
        self.standardise = standardise is True
        self.register_buffer("y_mean", torch.zeros(self.outputs))
        self.register_buffer("y_std", torch.ones(self.outputs))

    def fit(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        if self.standardise:
            y = y if weight is None else y[weight > 0]
            std = y.std(0, correction=0)
            self.y_mean = self.y_mean.to(torch.promote_types(self.y_mean.dtype, y.dtype)).copy_(y.mean(0))
            self.y_std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def loss_inputs(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor, None]:
        return logits(output), self.in_target_units(target), None

    def in_target_units(self, values: Tensor) -> Tensor:
        return (values - self.y_mean).to(self.y_std.dtype) / self.y_std

    def postprocess(self, a: Tensor) -> Tensor:
        return a * self.y_std + self.y_mean

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[Tensor, Tensor]:
        """In the target's units, (N,) each of one value, (N, K) of several."""
        values = predictions.a, target
        return values if self.outputs > 1 else (values[0][:, 0], values[1][:, 0])

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The values, to six digits, or to a millionth of their deviation where that is more."""
        places = [max(0, 5 - math.floor(math.log10(std))) for std in self.y_std.tolist()]
        for row in predictions.a.tolist():
            few = [f"{value:.6g}" for value in row]
            many = [f"{value:.{n}f}" for value, n in zip(row, places, strict=True)]
            yield "\t".join(many if predictions.a.dtype == torch.float64 else few)

    def as_columns(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """The values; of several ``predicted 1``, ``predicted 2``, …"""
        values = predictions.a.numpy()
        several = self.outputs > 1
        return {f"predicted {k + 1}" if several else "predicted": values[:, k] for k in range(self.outputs)}

    def statistics(self, output: Any, target: Tensor, read: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        y, error = exact(target) - exact(self.y_mean), exact(target - read(output))
        return {"abs": error.abs(), "sq": error**2, "y": y, "yy": y**2}

    def metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        n = sums["n"][..., None]
        mae = sums["abs"] / n
        spread = sums["yy"] - sums["y"] ** 2 / n
        r2 = 1 - sums["sq"] / spread if bool((spread > 0).all()) else None
        several = self.outputs > 1
        found = {"mae": (mae / self.y_std.to(mae) if several else mae).mean(-1)}
        found |= {} if r2 is None else {"r2": r2.mean(-1)}
        for k in range(self.outputs) if several else ():
            found[f"mae/{k + 1}"] = mae[..., k]
            found |= {} if r2 is None else {f"r2/{k + 1}": r2[..., k]}
        return found

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.value_sections import sections

        return sections(model, data, predictions)
