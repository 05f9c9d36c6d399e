"""The autoencoder: an encoder to a few units, and a decoder back."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.activations import one_a_layer
from dlcourse.models.base import Model


class Autoencoder(Model):
    """h = encoder(x) of ``code`` units, z = decoder(h) (N, Π shape); the units of the code are linear.

    ``hidden`` lists the encoder's dense widths, the decoder has them in reverse. With ``channels`` the pictures pass
    convolutions of stride 2 first, one a number of maps, and transposed ones at the end. One activation for all, or a
    list over the encoder's hidden layers, convolutions first. Without hidden layers, with mse and output=identity, the
    code spans the plane of the principal components. The dense layers of both may get ``beside`` further numbers of a
    sample. Lecture: L4. Hinton and Salakhutdinov (2006).
    ValueError: channels for data that are not pictures, or whose size cannot be halved that often.
    """

    numbers_per_unit = 1  # that the encoder puts out for a unit of the code

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int],
        code: int,
        activation: Any,
        channels: Sequence[int] = (),
        beside: int = 0,
        **parts: Any,
    ):
        factories = one_a_layer(activation, len(channels) + len(hidden))
        f_maps, f_hidden = factories[: len(channels)], factories[len(channels) :]
        down, up, inner = halved(shape, channels, f_maps) if channels else ([], [], tuple(shape))
        widths = [prod(inner), *hidden]
        encoder: list[nn.Module] = [*down, nn.Flatten()]
        widths[0] += beside
        for width, units, f in zip(widths, hidden, f_hidden, strict=False):
            encoder += [nn.Linear(width, units), f()]
        encoder.append(nn.Linear(widths[-1], self.numbers_per_unit * code))
        decoder: list[nn.Module] = []
        for width, units, f in zip([code + beside, *hidden[::-1]], hidden[::-1], f_hidden[::-1], strict=False):
            decoder += [nn.Linear(width, units), f()]
        decoder.append(nn.Linear(widths[1] if hidden else code + beside, prod(inner)))
        if up:
            decoder += [f_maps[-1](), nn.Unflatten(1, inner), *up, nn.Flatten()]
        network = nn.Sequential(OrderedDict(encoder=nn.Sequential(*encoder), decoder=nn.Sequential(*decoder)))
        super().__init__(network, shape=shape, outputs=outputs, **parts)
        self.code = code

    def encode(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """The codes (N, code) of raw inputs x (N, *shape); ``beside`` (N, beside), by default zeros."""
        encoder: Any = self.network.encoder
        dense = next(k for k, part in enumerate(encoder) if isinstance(part, nn.Linear))
        rows = encoder[:dense](self.standardised(x))
        return encoder[dense:](widened(rows, beside, encoder[dense].in_features))

    def decode(self, h: Tensor, beside: Tensor | None = None) -> Tensor:
        """Logits z (N, Π shape) of codes h (N, code); ``beside`` (N, beside), by default zeros."""
        decoder: Any = self.network.decoder
        return decoder(widened(h, beside, decoder[0].in_features))


def widened(rows: Tensor, beside: Tensor | None, width: int) -> Tensor:
    """Rows (N, …) with the numbers beside them, or with zeros up to the width."""
    if rows.shape[1] == width:
        return rows
    if beside is None:
        return nn.functional.pad(rows, (0, width - rows.shape[1]))
    return torch.cat([rows, beside.to(rows)], 1)


def halved(
    shape: Sequence[int], channels: Sequence[int], activations: Sequence[Any]
) -> tuple[list[nn.Module], list[nn.Module], tuple[int, int, int]]:
    """Convolutions of stride 2 down to (maps, h, w), and the transposed ones back up."""
    parts = 2 ** len(channels)
    if len(shape) != 3 or shape[1] % parts or shape[2] % parts:
        raise ValueError(
            f"model.channels={list(channels)} halves pictures (C, H, W) {len(channels)} times; the data's shape is "
            f"{tuple(shape)}: fewer channels, or model.channels=[]"
        )
    maps, layers = [shape[0], *channels], range(len(channels))
    down = [part for k in layers for part in (nn.Conv2d(maps[k], maps[k + 1], 3, 2, 1), activations[k]())]
    up: list[nn.Module] = []
    for k in reversed(layers):
        up.append(nn.ConvTranspose2d(maps[k + 1], maps[k], 4, 2, 1))
        up += [activations[k - 1]()] if k else []
    return down, up, (maps[-1], shape[1] // parts, shape[2] // parts)
