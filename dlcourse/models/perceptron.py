"""The perceptron: threshold units without hidden layers."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from dlcourse.models.base import Model


class Perceptron(Model):
    """Output 1 if z = Σ_j w_j x_j + b > 0, else 0 (b is minus the threshold); one unit or one a class.

    With ``loss=perceptron optimizer=perceptron_rule init=zeros`` training is Rosenblatt's rule: each mistake adds
    ±x to w, and on separable data there are at most (R/γ)² of them (Novikoff 1962).
    Lecture: L1. McCulloch and Pitts 1943; Rosenblatt 1958.
    """

    def __init__(self, shape: Sequence[int], outputs: int, **parts: Any):
        super().__init__(
            nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), outputs)), shape=shape, outputs=outputs, **parts
        )
