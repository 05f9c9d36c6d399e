"""The convolutional network, for sequences (C, T), pictures (C, H, W) and films (C, T, H, W)."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model

#: The layers for inputs of each number of dimensions.
DIMENSIONS: dict[int, tuple[Any, Any, Any, Any]] = {
    2: (nn.Conv1d, nn.MaxPool1d, nn.BatchNorm1d, nn.InstanceNorm1d),
    3: (nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.InstanceNorm2d),
    4: (nn.Conv3d, nn.MaxPool3d, nn.BatchNorm3d, nn.InstanceNorm3d),
}


class CNN(Model):
    """Blocks of convolution, normalisation, activation and max pooling, then dense layers.

    A kernel's weights are shared across space and time, so features are found wherever they are. ``channels`` lists
    the maps of each block, ``hidden`` the dense widths after them. One activation for all, or a list over blocks and
    hidden layers; one ``kernel``, ``stride`` and ``pool``, or a list over blocks. ``padding`` zeros on every side, null
    for ⌊kernel/2⌋: an odd kernel with stride 1 then keeps the size. Windows of ``pool`` places are ``pool_stride``
    apart, null for as many as they are wide; with fewer they overlap (Krizhevsky et al. 2012). ``dropout`` in [0, 1)
    silences that share of each dense layer's inputs during training. ``instance_norm`` first brings each input to mean
    0 and deviation 1 of its own, so that exposure and contrast do not matter (Ulyanov et al. 2016). ReLU and leaky ReLU
    follow the pooling: the same result on fewer places.
    Lecture: L7, L18.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int],
        hidden: Sequence[int],
        activation: Any,
        kernel: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | None = None,
        pool: int | Sequence[int] = 2,
        pool_stride: int | None = None,
        dropout: float = 0.0,
        norm: str | None = "batch",
        instance_norm: bool = False,
        **parts: Any,
    ):
        if len(shape) not in DIMENSIONS:
            raise ValueError(
                "model=cnn expects sequences (C, T), pictures (C, H, W) or films (C, T, H, W); "
                f"the data's shape is {shape}; try model=mlp"
            )
        check_norm(norm)
        conv, pooling, batch_norm, norm_of_one = DIMENSIONS[len(shape)]
        f = iter(one_a_layer(activation, len(channels) + len(hidden)))
        maps, *size = shape
        layers: list[nn.Module] = []
        if instance_norm:
            layers.append(norm_of_one(maps))
        settings = {"kernel": kernel, "stride": stride, "pool": pool}
        each = [one_a_block(key, value, len(channels)) for key, value in settings.items()]
        for filters, k, s, window in zip(channels, *each, strict=True):
            p = k // 2 if padding is None else padding
            # Batch norm has a bias of its own.
            layers.append(conv(maps, filters, k, s, p, bias=norm is None))
            apart = (pool_stride or window) if window > 1 else 1
            size = [((n + 2 * p - k) // s + 1 - window) // apart + 1 for n in size]
            if min(size) < 1:
                raise ValueError(
                    f"model.channels={list(channels)} pools {list(shape)} down to nothing: "
                    "fewer channels entries, or a smaller model.pool, model.stride or model.kernel"
                )
            if norm is not None:
                layers.append(batch_norm(filters))
            a = next(f)()
            pooled = [pooling(window, apart)] if window > 1 else []
            # Pooling first is cheaper, with the same result.
            layers += [*pooled, a] if after_pooling(a) else [a, *pooled]
            maps = filters
        layers.append(nn.Flatten())
        width = maps * prod(size)
        for units in hidden:
            layers += [*_dropout(dropout), nn.Linear(width, units), next(f)()]
            width = units
        layers += [*_dropout(dropout), nn.Linear(width, outputs)]
        super().__init__(nn.Sequential(*layers), shape=shape, outputs=outputs, **parts)


def check_norm(norm: str | None) -> None:
    """ValueError: the normalisation of a convolution is neither batch nor null."""
    if norm not in ("batch", None):
        raise ValueError(f"model.norm={norm}: expected batch or null")


def after_pooling(f: nn.Module) -> bool:
    """Whether max f(z) = f(max z) to the last bit: f never falls. Gradients differ where rounding makes f(z) equal."""
    return type(f) is nn.ReLU or type(f) is nn.LeakyReLU and f.negative_slope >= 0


def one_a_block(key: str, value: int | Sequence[int], blocks: int, of: str = "convolutions") -> list[int]:
    """The kernels, strides or windows of the blocks: one number for all, or a list; ``of``: for what."""
    if isinstance(value, int):
        return [value] * blocks
    if len(value) != blocks:
        raise ValueError(f"model.{key} lists {len(value)} for {blocks} {of}")
    return list(value)


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []
