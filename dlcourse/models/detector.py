"""A detector of centres: convolutions from a picture to a map of cells."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model
from dlcourse.models.cnn import check_norm


class Detector(Model):
    """Pictures (N, C, H, W) to z (N, H/stride, W/stride, outputs), the same function of what surrounds each cell.

    ``channels`` lists the maps of convolutions of 3 × 3 with ``norm`` and activation; the first log₂ ``stride`` have
    stride 2. ``head``: ``convolution`` of 1 × 1; for comparison ``unshared``, the same with weights of its own for each
    cell, or ``dense``, ``units`` that see the whole map and give all cells (as in Redmon et al. 2016).
    ``norm``: batch or null. One activation for all, or a list over the convolutions and the dense units.
    Lecture: L7. Zhou, Wang and Krähenbühl (2019).
    ValueError: data that are not pictures, or whose sides the stride does not divide.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        activation: Any,
        stride: int = 4,
        head: str = "convolution",
        units: int = 256,
        norm: str | None = "batch",
        **parts: Any,
    ):
        check_norm(norm)
        if head not in ("convolution", "unshared", "dense"):
            raise ValueError(f"model.head={head}: expected convolution, unshared or dense")
        halvings = stride.bit_length() - 1 if isinstance(stride, int) else -1
        if stride != 2**halvings or halvings > len(channels):
            raise ValueError(
                f"model.stride={stride}: expected a power of 2 with a convolution for each halving; "
                f"model.channels={list(channels)} has {len(channels)}"
            )
        if len(shape) != 3 or shape[1] % stride or shape[2] % stride:
            raise ValueError(
                f"model=detector expects pictures (C, H, W) in cells of {stride} × {stride}, found {shape}"
            )
        layers: list[nn.Module] = []
        maps = [shape[0], *channels]
        factories = one_a_layer(activation, len(channels) + (head == "dense"))
        for k, f in enumerate(factories[: len(channels)]):
            step = 2 if k < halvings else 1
            layers.append(nn.Conv2d(maps[k], maps[k + 1], 3, step, 1, bias=norm is None))  # batch norm has its own
            layers += [nn.BatchNorm2d(maps[k + 1]), f()] if norm else [f()]
        cells = (shape[1] // stride, shape[2] // stride)
        if head == "convolution":
            layers.append(nn.Conv2d(maps[-1], outputs, 1))
        elif head == "unshared":
            layers.append(Unshared(maps[-1], outputs, cells))
        else:
            layers += [nn.Flatten(), nn.Linear(maps[-1] * prod(cells), units), factories[-1]()]
            layers += [nn.Linear(units, outputs * prod(cells)), nn.Unflatten(1, (outputs, *cells))]
        super().__init__(nn.Sequential(*layers), shape=shape, outputs=outputs, **parts)

    def forward(self, x: Tensor) -> Tensor:
        """z (N, H/stride, W/stride, outputs) of raw inputs x (N, C, H, W)."""
        maps: Tensor = super().forward(x)
        return maps.permute(0, 2, 3, 1)


class Unshared(nn.Module):
    """A convolution of 1 × 1 whose weights are not shared across space: each cell of (h, w) has its own."""

    def __init__(self, maps: int, outputs: int, cells: tuple[int, int]):
        super().__init__()
        self.cells, bound = cells, maps**-0.5  # as nn.Conv2d begins
        self.weight = nn.Parameter(torch.empty(prod(cells), outputs, maps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, prod(cells)))

    def forward(self, maps: Tensor) -> Tensor:
        z = torch.einsum("ncp,pkc->nkp", maps.flatten(2), self.weight) + self.bias
        return z.unflatten(2, self.cells)
