"""How the weights w and biases b of every linear and convolutional layer start; transposed convolutions keep their own.

Each function changes a network in place and draws from torch's global generator. n_in is the number of inputs of one
unit: the columns of a dense layer, channels (of a group) × kernel of a convolution; n_out is the number of units that
see an input: the rows of a dense layer, all output channels × kernel of a convolution.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def default(network: nn.Module) -> None:
    """Leave what PyTorch drew: w and b uniform in ±1/√n_in for both kinds of layer."""


def zeros(network: nn.Module) -> None:
    """w = 0, b = 0: every hidden unit of a layer then stays equal to its neighbours, so only a single layer learns."""
    for w, b in _layers(network):
        nn.init.zeros_(w)
        _zero(b)


def gaussian(network: nn.Module, std: float = 1.0, fan_in: bool = True) -> None:
    """w ~ N(0, std²/n_in) with fan_in, else N(0, std²); b ~ N(0, std²) either way.

    std = 1 without fan_in saturates wide sigmoid layers at the start; with it z keeps a spread of order one.
    Nielsen, Neural Networks and Deep Learning (2015), chapter 1 (without) and chapter 3 (with).
    """
    if std < 0:
        raise ValueError(f"std={std}: a standard deviation is zero or more")
    for w, b in _layers(network):
        nn.init.normal_(w, std=std / _n_in(w) ** 0.5 if fan_in else std)
        if b is not None:
            nn.init.normal_(b, std=std)


def xavier(network: nn.Module, gain: float = 1.0) -> None:
    """w uniform in ±gain·√(6/(n_in + n_out)), b = 0: keeps the variance of signals and gradients for tanh and sigmoid.

    Glorot and Bengio (2010), equation 16.
    """
    for w, b in _layers(network):
        nn.init.xavier_uniform_(w, gain=gain)
        _zero(b)


def sigmoid_as_tanh(network: nn.Module) -> None:
    """The start of a network of sigmoids that computes what one of tanh computes with Xavier's start.

    σ(z) = (1 + tanh(z/2))/2, so W' = 4W and b' = 2b − ½ Σ_j W'_j, with b = 0; the first layer, whose inputs are no
    activations, has W' = 2W and b' = 0, the last one, whose outputs are none, W' = 2W. Exact for dense layers, and for
    convolutions away from padded edges. Lecture: L8b, L18.
    """
    layers = list(_layers(network))
    for k, (w, b) in enumerate(layers):
        nn.init.xavier_uniform_(w, gain=(1 if k == 0 else 2) * (1 if k == len(layers) - 1 else 2))
        if b is not None:
            b.data = torch.zeros_like(b) if k == 0 else -w.data.flatten(1).sum(1) / 2


def zero_last(network: nn.Module) -> None:
    """What PyTorch drew, but w = 0 and b = 0 in the last layer: the output starts at 0, whatever comes in.

    The last layer's first step fits the targets to the features that there are; from weights that fit nothing it would
    first have to unlearn these. Zhang, Dauphin and Ma (2019).
    """
    *_, (w, b) = _layers(network)
    nn.init.zeros_(w)
    _zero(b)


def he(network: nn.Module, a: float = 0.0) -> None:
    """w ~ N(0, 2/((1 + a²)·n_in)), b = 0: makes up for the half of z that ReLU drops; a is leaky ReLU's slope.

    He et al. (2015), equations 10 and 15.
    """
    for w, b in _layers(network):
        nn.init.kaiming_normal_(w, a=a)
        _zero(b)


def _layers(network: nn.Module) -> Iterator[tuple[Tensor, Tensor | None]]:
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            yield layer.weight, layer.bias


def _n_in(w: Tensor) -> int:
    return w[0].numel()


def _zero(b: Tensor | None) -> None:
    if b is not None:
        nn.init.zeros_(b)
