"""What classifiers of pictures share that may start from weights which were trained elsewhere."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from dlcourse.models.base import Model
from dlcourse.models.pretrained import Pretrained, fill


class Transfer(Model):
    """A network ``net`` for pictures of three channels (N, 3, H, W), on pictures (C, H, W) of one channel or three.

    A grey picture is given to the network three times, as red, green and blue, so that trained filters see what they
    were trained on. ``size``: pictures are scaled to size × size before the network; null: they are as the data has
    them. ``pretrained``: the weights that it starts from, or None; the last layer always starts from random ones. With
    weights, pixels are standardised by the mean and deviation that they were trained with, not by the data's.
    ``freeze``: only the last layer trains; the network before it stays in evaluation mode, so that batch normalisation
    keeps its running statistics and dropout is off. ``white``: the value of a white pixel, which is 1 for the weights.

    ``init`` applies only to layers without loaded weights; with ``default`` they keep the network's own initialisation.
    Lecture: L7, L18. Yosinski et al. (2014), How transferable are features in deep neural networks?
    ValueError: rows that are no such pictures, weights without a ``white``.
    """

    standardised_by_weights = False
    frozen_but_last = False

    def __init__(
        self,
        net: nn.Module,
        pretrained: Pretrained | None,
        *,
        shape: Sequence[int],
        freeze: bool,
        size: int | None,
        white: float | None,
        **parts: Any,
    ):
        seen = size_seen(shape, size)
        if not isinstance(freeze, bool):
            raise ValueError(f"model.freeze={freeze}: expected true or false")
        if pretrained and white is None:
            raise ValueError(
                f"model.weights={pretrained.word} needs pixels in 0 … 1: set data.white, the value of a white pixel "
                "(for data=own: +data.white=255)"
            )
        if freeze:
            net.requires_grad_(False)
            last_layer(net).requires_grad_(True)
        network = nn.Sequential(OrderedDict(pictures=Pictures(size, size is not None and size < min(shape[1:]))))
        network.add_module("net", net)
        super().__init__(network, shape=shape, **parts)
        self.pretrained, self.frozen_but_last, self.seen = pretrained, freeze, seen
        if pretrained and white is not None:
            self.mean, self.std = (value[:, None, None] * white for value in pretrained.moments())
            self.standardised_by_weights = True
        self.train()

    @property
    def of_the_data(self) -> list[str]:
        own = ("mean", "std") if self.standardised_by_weights else ()
        return [name for name in super().of_the_data if name not in own]

    def train(self, mode: bool = True) -> "Transfer":
        super().train(mode)
        if self.frozen_but_last:
            self.network.eval()
        return self

    def load_pretrained(self) -> str | None:
        if self.pretrained is None:
            return None
        net: Any = self.network.net
        line, trained = fill(net, last_layer(net), self.pretrained), self.pretrained.side
        if self.seen != (trained, trained):
            height, width = self.seen
            line += f"; trained on pictures of {trained} × {trained}, here they are {height} × {width} (model.size)"
        return line


class Pictures(nn.Module):
    """Pictures (N, 1 or 3, H, W) to three channels, and to ``size`` × ``size``, bilinearly; null leaves the size."""

    def __init__(self, size: int | None, smaller: bool):
        super().__init__()
        self.size, self.smaller = size, smaller

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)
        if self.size is None or x.shape[2:] == (self.size, self.size):
            return x
        return interpolate(x, (self.size, self.size), mode="bilinear", antialias=self.smaller)


def size_seen(shape: Sequence[int], size: int | None) -> tuple[int, int]:
    """The height and width of the pictures that the network gets. ValueError: rows of another shape than pictures'."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"the model expects pictures (1, H, W) or (3, H, W); the data's shape is {tuple(shape)}; try model=mlp"
        )
    return (size, size) if size else (shape[1], shape[2])


def last_layer(net: nn.Module) -> nn.Module:
    """The layer that makes the outputs: of those with parameters, the last one."""
    return [layer for layer in net.modules() if next(layer.parameters(recurse=False), None) is not None][-1]
