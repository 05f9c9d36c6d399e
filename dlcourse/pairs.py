"""Pairs of samples: how similar their codes are, and whether that tells the pairs of one class from the others."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

MOST = 2000  # samples that are paired, of more evenly spaced ones: two million pairs


class Pairs(NamedTuple):
    """Pairs i < j of samples: their positions (P,), the cosine of their codes (P,), whether their class is the same."""

    first: Tensor
    second: Tensor
    similarity: Tensor
    same: Tensor


def all_pairs(codes: Tensor, y: Tensor) -> Pairs:
    """Every pair of two samples with codes (N, …) and classes (N,), none with itself; of many samples MOST are paired.

    ValueError: all pairs are of one class, or none is.
    """
    rows = torch.arange(len(y)) if len(y) <= MOST else torch.linspace(0, len(y) - 1, MOST).long()
    unit = F.normalize(codes[rows].flatten(1).double())
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    same = y[rows][first] == y[rows][second]
    if not len(same) or bool(same.all()) or not bool(same.any()):
        kind = "no pair is" if not bool(same.any()) else "all pairs are"
        raise ValueError(f"{kind} of one class among these {len(rows)} samples: verification needs both kinds of pairs")
    return Pairs(rows[first], rows[second], (unit @ unit.T)[first, second], same)


class Roc(NamedTuple):
    """Over all thresholds of similarity: shares of pairs of two classes that are accepted, and of one class."""

    false_accepts: np.ndarray
    true_accepts: np.ndarray

    @property
    def auc(self) -> float:
        """The chance that a pair of one class is more similar than a pair of two classes."""
        return float(np.trapezoid(self.true_accepts, self.false_accepts))

    @property
    def eer(self) -> float:
        """The equal error rate: false accepts where they are as many as false rejects, 1 − true accepts, in shares."""
        return float(np.interp(0, self.false_accepts - (1 - self.true_accepts), self.false_accepts))


def roc(pairs: Pairs) -> Roc:
    """The receiver operating characteristic of verification by similarity."""
    from sklearn.metrics import roc_curve

    false_accepts, true_accepts, _ = roc_curve(pairs.same.numpy(), pairs.similarity.numpy(), drop_intermediate=False)
    return Roc(false_accepts, true_accepts)


class PairAUC(Metric):
    """The area under the ROC of all pairs of the samples seen, from codes (N, K) and class numbers (N,)."""

    codes: list[Tensor]
    y: list[Tensor]

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.add_state("codes", default=[], dist_reduce_fx="cat")
        self.add_state("y", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.codes.append(preds)
        self.y.append(target)

    def compute(self) -> Tensor:
        pairs = all_pairs(dim_zero_cat(self.codes).cpu(), dim_zero_cat(self.y).cpu())
        return torch.tensor(roc(pairs).auc)
