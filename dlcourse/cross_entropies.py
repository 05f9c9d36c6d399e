"""Cross-entropies: losses whose output is a probability, of each output by itself or of one class among several."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dlcourse.losses import Loss, mean_over_rows, weighted_mean

BALANCED = "balanced"  # weights that are found from the training rows


class BCE(Loss):
    """Binary cross-entropy: C = −mean [p t ln a + (1 − t) ln(1 − a)], a = σ(z), over rows and outputs.

    p = ``pos_weight``: null for 1, a number, one for each output, or ``balanced``: n₀/n₁ of each output, the training
    rows with t = 0 and with t = 1, so that both weigh the same; 1 where there are rows of one kind only.
    ``label_smoothing`` ε in [0, 1): t becomes (1 − ε) t + ε/2.
    Computed from z, so it stays finite where a rounds to 0 or 1. Class numbers are one-hot: one sigmoid a class.
    Lecture: L10.
    """

    target_forms = ("class_numbers", "bits", "unit_values")
    probabilities = True
    pos_weight: Tensor | None

    def __init__(
        self,
        pos_weight: float | Sequence[float] | str | None = None,
        label_smoothing: float = 0.0,
        target_forms: Sequence[str] | None = None,
    ):
        super().__init__(target_forms)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.balanced = pos_weight == BALANCED
        numbers = [pos_weight] if isinstance(pos_weight, int | float) else pos_weight
        self.register_buffer("pos_weight", given_weights("pos_weight", numbers, "output"), persistent=False)

    def output(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)

    def weights(self, z: Tensor) -> Tensor | None:
        """p, (K,) or (1,); None for 1."""
        if self.balanced:
            zeros, ones = self.counts.to(torch.promote_types(z.dtype, torch.float32))
            return torch.where((zeros > 0) & (ones > 0), zeros / ones.clamp_min(1), torch.ones_like(ones)).to(z.dtype)
        p = self.pos_weight
        if p is not None and len(p) not in (1, z.shape[1]):
            raise ValueError(f"pos_weight has {len(p)} numbers for {z.shape[1]} outputs")
        return None if p is None else p.to(z.dtype)

    def remarks(self, names: Sequence[str]) -> list[str]:
        alike = (self.counts == 0).any(0).nonzero()[:, 0].tolist() if self.balanced else []
        told = [f"{names[k]} is the same in all training rows" for k in alike]
        return [f"loss.pos_weight=balanced: {each}, and its weight is 1" for each in told]

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        t, p = self.as_outputs(z, target), self.weights(z)
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * t + self.label_smoothing / 2
        if weight is None:
            return F.binary_cross_entropy_with_logits(z, t, pos_weight=p), len(z)
        costs = F.binary_cross_entropy_with_logits(z, t, reduction="none", pos_weight=p)
        return mean_over_rows(costs.mean(1), weight)


class CrossEntropy(Loss):
    """Multi-class cross-entropy: C = −Σ_m v_y ln a_y / Σ_m v_y, a = softmax(z), v = ``class_weights`` (null: all 1).

    ``class_weights``: a number for each class, or ``balanced``: v_k = N/(C n_k), of n_k training rows of class k, N in
    all, and C classes that have any; a class without a training row has the weight 0 (King and Zeng 2001).
    ``label_smoothing`` ε in [0, 1): the target becomes (1 − ε)·one-hot + ε/C (Szegedy et al. 2016).
    Computed from z, so it stays finite where a rounds to 0. Lecture: L11.
    """

    target_forms = ("class_numbers",)
    probabilities = True
    class_weights: Tensor | None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        target_forms: Sequence[str] | None = None,
    ):
        super().__init__(target_forms)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.balanced = class_weights == BALANCED
        self.register_buffer("class_weights", given_weights("class_weights", class_weights, "class"), persistent=False)

    def output(self, z: Tensor) -> Tensor:
        return torch.softmax(z, -1)

    def weights(self, z: Tensor) -> Tensor | None:
        """v (C,); None where all are 1."""
        if self.balanced:
            n = self.counts[1].to(torch.promote_types(z.dtype, torch.float32))
            present = (n > 0).to(n.dtype)
            return (present * n.sum() / (present.sum() * n.clamp_min(1))).to(z.dtype)
        v = self.class_weights
        if v is not None and len(v) != z.shape[1]:
            raise ValueError(f"class_weights has {len(v)} numbers for {z.shape[1]} classes")
        return None if v is None else v.to(z.dtype)

    def remarks(self, names: Sequence[str]) -> list[str]:
        absent = (self.counts[1] == 0).nonzero()[:, 0].tolist() if self.balanced else []
        told = [f"no training row is of class {names[k]}" for k in absent]
        return [f"loss.class_weights=balanced: {each}, and its weight is 0" for each in told]

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, int | Tensor]:
        self.check(z, target)
        if target.ndim == z.ndim:
            raise ValueError(
                f"the target is {target.dtype} {tuple(target.shape)}: expected whole numbers (M,), 0 … C−1"
            )
        v = self.weights(z)
        w = None if v is None else v[target]
        if weight is None and not self.balanced:
            mean = F.cross_entropy(z, target, v, label_smoothing=self.label_smoothing)
            return mean, len(z) if w is None else w.sum()
        costs = F.cross_entropy(z, target, v, label_smoothing=self.label_smoothing, reduction="none")
        weight = torch.ones_like(costs) if weight is None else weight.to(z.dtype)  # all rows may have the weight 0
        return weighted_mean(costs, weight, (weight if w is None else weight * w).sum())


def checked_smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing={label_smoothing}: must be at least 0 and below 1")
    return label_smoothing


def given_weights(key: str, numbers: Sequence[float] | str | None, what: str) -> Tensor | None:
    """The numbers of the configuration as a buffer, which is not learned and not saved; None without any."""
    if numbers is None or numbers == BALANCED:
        return None
    if not isinstance(numbers, Sequence) or isinstance(numbers, str):
        raise ValueError(f"{key}={numbers}: expected {BALANCED}, or a number for each {what}")
    if not all(v > 0 for v in numbers):
        raise ValueError(f"{key}={list(numbers)}: each must be above zero")
    return torch.tensor(list(numbers), dtype=torch.get_default_dtype())
