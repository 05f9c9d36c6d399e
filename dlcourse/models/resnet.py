"""The residual network: blocks that add what they learn to what they are given."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model
from dlcourse.models.cnn import check_norm, one_a_block


class ResNet(Model):
    """Pictures (N, C, H, W) through blocks x ↦ f(x + F(x)), then the mean of each map and a linear layer to z.

    F is two convolutions of 3 × 3 with ``norm``, batch or null, and f between them. ``channels`` lists the maps of each
    stage, ``blocks`` how many blocks each has, one number for all or a list. The first block of each stage but the
    first has half the places on a side; there x passes a convolution of 1 × 1 with norm. The gradient reaches every
    block by way of the sums, however many there are; ``shortcut=false`` leaves the sums out: a plain network with the
    same layers. One activation for all, or a list: the first convolution, then the blocks.
    Lecture: L18. He, Zhang, Ren and Sun (2016), section 4.2.
    ValueError: data that are not pictures, or smaller than the stages need.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        activation: Any,
        blocks: int | Sequence[int] = 1,
        shortcut: bool = True,
        norm: str | None = "batch",
        **parts: Any,
    ):
        check_norm(norm)
        halvings = len(channels) - 1
        if len(shape) != 3 or not channels or min(shape[1:]) < 2**halvings:
            raise ValueError(
                f"model.channels={list(channels)} halves pictures (C, H, W) {halvings} times; the data's shape is "
                f"{tuple(shape)}: fewer channels, or other data"
            )
        counts = one_a_block("blocks", blocks, len(channels), "stages")
        f = iter(one_a_layer(activation, 1 + sum(counts)))
        maps = channels[0]
        layers: list[nn.Module] = [convolution(shape[0], maps, 3, 1, norm), next(f)()]
        for stage, count in enumerate(counts):
            for k in range(count):
                stride = 2 if stage and not k else 1
                layers.append(Residual(maps, channels[stage], stride, next(f), shortcut, norm))
                maps = channels[stage]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps, outputs))
        super().__init__(network, shape=shape, outputs=outputs, **parts)


class Residual(nn.Module):
    """f(x + F(x)) from ``inputs`` maps to ``maps``; without ``shortcut`` f(F(x))."""

    def __init__(self, inputs: int, maps: int, stride: int, activation: Any, shortcut: bool, norm: str | None):
        super().__init__()
        first, second = convolution(inputs, maps, 3, stride, norm), convolution(maps, maps, 3, 1, norm)
        self.change = nn.Sequential(first, activation(), second)
        self.kept: nn.Module | None = None
        if shortcut:
            same = inputs == maps and stride == 1
            self.kept = nn.Identity() if same else convolution(inputs, maps, 1, stride, norm)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        change = self.change(x)
        z: Tensor = self.activation(change if self.kept is None else self.kept(x) + change)
        return z


def convolution(inputs: int, maps: int, kernel: int, stride: int, norm: str | None) -> nn.Sequential:
    """A convolution, which keeps the size if its stride is 1, and batch norm if any, which then has the bias."""
    conv = nn.Conv2d(inputs, maps, kernel, stride, kernel // 2, bias=norm is None)
    return nn.Sequential(conv) if norm is None else nn.Sequential(conv, nn.BatchNorm2d(maps))
