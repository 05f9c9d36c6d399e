"""The multi-layer perceptron."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model


class MLP(Model):
    """Dense layers a^l = f(w^l a^(l−1) + b^l), then z = w^L a^(L−1) + b^L.

    ``hidden`` lists the widths; ``norm`` is ``batch``, ``layer`` or null, before the activation; ``dropout`` in [0, 1)
    silences that share of each hidden layer's units during training. Lecture: L6, L18.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int],
        activation: Any,
        dropout: float = 0.0,
        norm: str | None = None,
        **parts: Any,
    ):
        norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        if norm is not None and norm not in norms:
            raise ValueError(f"model.norm={norm}: expected batch, layer or null")
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for units, f in zip(hidden, one_a_layer(activation, len(hidden)), strict=True):
            layers.append(nn.Linear(width, units))
            if norm is not None:
                layers.append(norms[norm](units))
            layers.append(f())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, outputs))
        super().__init__(nn.Sequential(*layers), shape=shape, outputs=outputs, **parts)
