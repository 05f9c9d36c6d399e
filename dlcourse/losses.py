"""Losses on logits: each owns the output function of z, the weighted input of the last layer.

A loss compares z (M, K) with a target of M rows: samples, pixels or tokens, whatever the task hands it. The target is
``class_numbers`` (M,) in 0 … K − 1, or in the shape of z: ``bits`` 0 and 1, ``unit_values`` in [0, 1], any ``values``.
Beside a code z the target is ``groups`` (M,): rows of one number belong together, however many numbers there are.
t is the target in the shape of z: one-hot rows for class numbers, itself otherwise. Shapes never broadcast.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

OUTPUTS = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, -1)}


class Loss(nn.Module):
    """A mean over rows, and what it was divided by; ``output(z)`` is what the unit outputs.

    ``forward(z, target, weight)``: the weight (M,) of each row, or None for 1. Returns the mean C = Σ w_m C_m / Σ w_m
    and its divisor, so that C · divisor adds up over batches and processes. ``target_forms``: the targets that it
    accepts. ``probabilities`` is true where output(z) lies in [0, 1] and fits the probability of each class.
    ``compares_rows`` is true where the cost of a row depends on the other rows of its batch.
    ``balanced`` is true where it weighs classes by the training rows: the model hands these to ``fit``, once, and
    ``counts`` (2, K), the rows with t = 0 and those with t = 1 of each output, is a buffer that checkpoints contain.
    ValueError: z and a target whose shapes do not belong together.
    """

    target_forms: Sequence[str] = ("class_numbers", "bits", "unit_values", "values")
    probabilities = False
    compares_rows = False
    balanced = False
    counts: Tensor

    def __init__(self, target_forms: Sequence[str] | None = None):
        super().__init__()
        self.target_forms = tuple(target_forms or self.target_forms)

    def output(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        raise NotImplementedError

    def expect(self, outputs: int) -> None:
        """Make room for the ``counts`` of a balanced loss; whole numbers, which no precision rounds."""
        if self.balanced:
            self.register_buffer("counts", torch.ones(2, outputs, dtype=torch.long))

    def fit(self, target: Tensor, weight: Tensor | None = None) -> None:
        """Count the training rows (M,) or (M, K) that have a weight. ValueError: targets that are not 0 and 1."""
        target = target if weight is None else target[weight > 0]
        if target.ndim > 1 and not bool(((target == 0) | (target == 1)).all()):
            raise ValueError("balanced counts zeros and ones, and the targets have other values: give numbers instead")
        ones = target.long().sum(0) if target.ndim > 1 else torch.bincount(target, minlength=self.counts.shape[1])
        self.counts.copy_(torch.stack([len(target) - ones, ones]))

    def weights(self, z: Tensor) -> Tensor | None:
        """The weight of each class or output in the cost, as given or as ``counts`` say; None where all are 1."""
        return None

    def remarks(self, names: Sequence[str]) -> list[str]:
        """What to say of outputs with these names after ``fit``."""
        return []

    def check(self, z: Tensor, target: Tensor) -> None:
        numbers = not target.is_floating_point() and target.ndim == z.ndim - 1
        if z.ndim != 2 or target.shape != (z.shape[:1] if numbers else z.shape):
            raise ValueError(
                f"z has shape {tuple(z.shape)}, the target {tuple(target.shape)}: they must be equal (M, K), or the "
                "target (M,) whole numbers 0 … K−1"
            )

    def as_outputs(self, z: Tensor, target: Tensor) -> Tensor:
        """t: one-hot for class numbers, else the target itself."""
        self.check(z, target)
        if target.ndim < z.ndim:
            target = target[:, None] == torch.arange(z.shape[1], device=z.device)
        return target.to(z.dtype)


def mean_over_rows(costs: Tensor, weight: Tensor | None) -> tuple[Tensor, int | Tensor]:
    """Σ w_m C_m / Σ w_m of costs (M,), and Σ w_m; 0 where all weights are 0."""
    if weight is None:
        return costs.mean(), len(costs)
    weight = weight.to(costs.dtype)
    return weighted_mean(costs, weight, weight.sum())


def weighted_mean(costs: Tensor, weight: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Σ w_m C_m / ``total``, and the total; 0 where that is 0."""
    return (weight * costs).sum() / total.clamp_min(torch.finfo(total.dtype).tiny), total


def weigh_processes(loss: Tensor, divisor: int | Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
    """A loss whose mean over all processes, each with its own sum of weights, is the mean over their rows by weight."""
    if not isinstance(divisor, Tensor) or not (distributed.is_available() and distributed.is_initialized()):
        return loss
    total, rest = divisor.clone(), sum(auxiliary.values())
    distributed.all_reduce(total)
    share = divisor * distributed.get_world_size() / total.clamp_min(torch.finfo(total.dtype).tiny)
    return (loss - rest) * share + rest


class Distance(Loss):
    """Compares a = output(z) with t, entry by entry; the mean runs over rows and outputs.

    output: ``identity``, ``sigmoid``, or ``softmax``, which is for class numbers only.
    """

    def __init__(self, output: str, target_forms: Sequence[str] | None = None):
        super().__init__(target_forms)
        if output not in OUTPUTS:
            raise ValueError(f"output={output}: one of {', '.join(OUTPUTS)}")
        self.output_name = output
        self.probabilities = output != "identity"

    def output(self, z: Tensor) -> Tensor:
        return OUTPUTS[self.output_name](z)

    def distance(self, a: Tensor, t: Tensor, reduction: str) -> Tensor:
        raise NotImplementedError

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        t = self.as_outputs(z, target)
        if self.output_name == "softmax" and target.ndim == z.ndim:
            raise ValueError("output=softmax is for class numbers; here output is identity or sigmoid")
        a = self.output(z)
        if weight is None:
            return self.distance(a, t, "mean"), len(z)
        return mean_over_rows(self.distance(a, t, "none").mean(1), weight)


class MSE(Distance):
    """Mean squared error: C = mean (t − a)². On a linear unit its minimum is ordinary least squares. Lecture: L9."""

    def distance(self, a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.mse_loss(a, t, reduction=reduction)


class MAE(Distance):
    """Mean absolute error: C = mean |t − a|; gentler on outliers, its minimum is the median. Lecture: beyond L9."""

    def distance(self, a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.l1_loss(a, t, reduction=reduction)


class Huber(Distance):
    """Squared near the target, linear far away, with r = t − a and δ = ``delta``.

    C = mean of r²/2 if |r| < δ else δ(|r| − δ/2).
    Lecture: beyond L9. Huber (1964).
    """

    def __init__(self, output: str, delta: float = 1.0, target_forms: Sequence[str] | None = None):
        super().__init__(output, target_forms)
        if not delta > 0:
            raise ValueError(f"delta={delta}: must be above zero")
        self.delta = delta

    def distance(self, a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.huber_loss(a, t, reduction=reduction, delta=self.delta)


class Margin(Loss):
    """Judges m = s·z with s = 2t − 1 in {−1, +1}, one against the rest for class numbers.

    Costs are summed over outputs and averaged over rows. The output is the threshold unit's, 1 if z > 0 else 0:
    a decision, not a probability.
    """

    target_forms = ("class_numbers", "bits")

    def output(self, z: Tensor) -> Tensor:
        return torch.gt(z, 0).to(z.dtype)

    def cost(self, m: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        m = (2 * self.as_outputs(z, target) - 1) * z
        return mean_over_rows(self.cost(m).sum(1), weight)


class Perceptron(Margin):
    """The perceptron criterion: C = mean Σ max(0, −m).

    With SGD, batch 1 and η = 1 its gradient is the learning rule: a mistake adds s·x to w and s to b, anything else
    adds nothing. A tie m = 0 is a mistake too, or weights of zero would never move. Lecture: L1. Rosenblatt (1958).
    """

    def cost(self, m: Tensor) -> Tensor:
        # relu(−m) has the same values but no gradient at the tie.
        return torch.where(m > 0, torch.zeros_like(m), -m)


class Hinge(Margin):
    """The support vector machine's loss: C = mean Σ max(0, 1 − m); right answers too must clear a margin of 1.

    Lecture: beyond L1. Cortes and Vapnik (1995).
    """

    def cost(self, m: Tensor) -> Tensor:
        return torch.relu(1 - m)
