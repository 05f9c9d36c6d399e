"""The classifiers of torchvision, with random weights or trained ones."""

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision import models

from dlcourse.errors import ForwardFailed
from dlcourse.models.base import Model
from dlcourse.models.pretrained import Pretrained, fill

SIZES = (32, 64, 96, 128, 224, 256, 299, 384)  # of pictures: those that a refusal tries before it proposes one


class Torchvision(Model):
    """torchvision's classifier ``name`` for pictures (C, H, W) of one or three channels; its last layer fits the data.

    A grey picture is given to the network three times, as red, green and blue, so that trained filters see what they
    were trained on. ``size``: pictures are scaled to size × size before the network; null: they are as the data has
    them. ``weights``: null; the name of weights of torchvision, as IMAGENET1K_V1 or DEFAULT; or a file with a
    state_dict. The last layer always starts from random weights. With weights, pixels are standardised by the mean and
    deviation that they were trained with (a file: those of the weights of its name, else of DEFAULT), not by the
    data's. ``freeze``: only the last layer trains; the network before it stays in evaluation mode, so that batch
    normalisation keeps its running statistics and dropout is off. ``white``: the value of a white pixel, which is 1
    for the weights. The auxiliary outputs of GoogLeNet and Inception v3 are left out.

    ``init`` applies only to layers without loaded weights; with ``default`` they keep torchvision's own initialisation.
    Lecture: L7, L18. Yosinski et al. (2014), How transferable are features in deep neural networks?
    ValueError: an unknown name, rows that are no such pictures, a size that the network cannot take.
    """

    standardised_by_weights = False
    frozen_but_last = False

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        name: str,
        weights: str | None = None,
        freeze: bool = False,
        size: int | None = None,
        white: float | None = None,
        **parts: Any,
    ):
        check_name(name)
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"model=torchvision expects pictures (1, H, W) or (3, H, W); the data's shape is {tuple(shape)}"
            )
        if not isinstance(freeze, bool):
            raise ValueError(f"model.freeze={freeze}: expected true or false")
        pretrained = None if weights is None else Pretrained.find(name, str(weights))
        if pretrained and white is None:
            raise ValueError(
                f"model.weights={weights} needs pixels in 0 … 1: set data.white, the value of a white pixel "
                "(for data=own: +data.white=255)"
            )
        height, width = (size, size) if size else shape[1:]
        try:
            net = network_of(name, outputs, height, pretrained is not None)
            if freeze:
                net.requires_grad_(False)
                last_layer(net).requires_grad_(True)
            network = nn.Sequential(OrderedDict(pictures=Pictures(size, size is not None and size < min(shape[1:]))))
            network.add_module("net", net)
            super().__init__(network, shape=shape, outputs=outputs, **parts)
        except (AssertionError, ForwardFailed):
            fitting = next((side for side in SIZES if takes(name, side)), None)
            if fitting is None or height == width and takes(name, height):
                raise
            raise ValueError(
                f"model.name={name} cannot take pictures of {height} × {width}: model.size={fitting} scales them"
            ) from None
        self.pretrained, self.frozen_but_last, self.seen = pretrained, freeze, (height, width)
        if pretrained and white is not None:
            self.mean, self.std = (value[:, None, None] * white for value in pretrained.moments())
            self.standardised_by_weights = True
        self.train()

    @property
    def of_the_data(self) -> list[str]:
        own = ("mean", "std") if self.standardised_by_weights else ()
        return [name for name in super().of_the_data if name not in own]

    def train(self, mode: bool = True) -> "Torchvision":
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


def check_name(name: str) -> None:
    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(str(name), known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"model.name={name}: torchvision has no such classifier{meant}\nThere are: {', '.join(known)}")


def network_of(name: str, outputs: int, side: int, trained: bool) -> nn.Module:
    """The network for pictures of side × side: without auxiliary outputs, with its own way to draw first weights.

    ``trained``: it will get weights of torchvision. Those of GoogLeNet and Inception v3 come from TensorFlow, and want
    pixels in −1 … 1 (``transform_input``).
    """
    arguments = {"aux_logits": False, "init_weights": True, "transform_input": trained, "image_size": side}
    kind = get_type_hints(models.get_model_builder(name))["return"]
    taken = {key: value for key, value in arguments.items() if key in signature(kind).parameters}
    net = models.get_model(name, weights=None, num_classes=outputs, **taken)
    for layer in net.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False  # hooks must see an activation's input unchanged
    return net


def last_layer(net: nn.Module) -> nn.Module:
    """The layer that makes the outputs: of those with parameters, the last one."""
    return [layer for layer in net.modules() if next(layer.parameters(recurse=False), None) is not None][-1]


def takes(name: str, side: int) -> bool:
    """Whether a network takes pictures of side × side; shapes are followed, nothing is computed."""
    try:
        with torch.device("meta"), torch.no_grad():
            network_of(name, 2, side, False).eval()(torch.zeros(2, 3, side, side))
    except Exception:  # whatever it says of a size that it cannot take
        return False
    return True
