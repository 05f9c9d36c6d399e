"""The upscaler: convolutions on a small picture, whose last maps are the pixels of a larger one."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model


class Upscaler(Model):
    """Convolutions with a ``kernel`` on pictures (N, C, h, w), and z (N, C rh rw) from C r² maps, r = ``factor``.

    ``channels`` lists the maps of each hidden convolution. The r² maps of a channel are the pixels of r × r blocks
    (pixel shuffle). One activation for all, or a list over the hidden layers. Lecture: L4. Shi et al. (2016).
    ValueError: rows that are no pictures, or a list of kernels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        activation: Any,
        factor: int,
        kernel: int = 3,
        **parts: Any,
    ):
        if len(shape) != 3:
            raise ValueError(f"model=upscaler expects pictures (C, h, w); the data's shape is {tuple(shape)}")
        if not isinstance(kernel, int):
            raise ValueError(f"model.kernel={kernel}: expected one whole number, for all convolutions")
        layers: list[nn.Module] = []
        maps = [shape[0], *channels]
        for k, f in enumerate(one_a_layer(activation, len(channels))):
            layers += [nn.Conv2d(maps[k], maps[k + 1], kernel, padding=kernel // 2), f()]
        layers.append(nn.Conv2d(maps[-1], shape[0] * factor**2, kernel, padding=kernel // 2))
        network = nn.Sequential(*layers, nn.PixelShuffle(factor), nn.Flatten())
        super().__init__(network, shape=shape, outputs=outputs, **parts)
