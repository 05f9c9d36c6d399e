"""The classifiers of torchvision, with random weights or trained ones."""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import torch
from filelock import FileLock
from torch import Tensor, nn
from torchvision import models

from dlcourse.errors import ENVIRONMENT, UNWRITABLE, ForwardFailed, Refused
from dlcourse.models.pretrained import Pretrained, file_of
from dlcourse.models.transfer import Transfer, size_seen

SIZES = (32, 64, 96, 128, 224, 256, 299, 384)  # of pictures: those that a refusal tries before it proposes one
TIMEOUT = 20  # seconds without an answer


class Torchvision(Transfer):
    """torchvision's classifier ``name`` for pictures (C, H, W) of one or three channels; its last layer fits the data.

    ``weights``: null; the name of weights of torchvision, as IMAGENET1K_V1 or DEFAULT; or a file with a state_dict,
    whose pixels are prepared as for the weights of its name, else for DEFAULT. The auxiliary outputs of GoogLeNet and
    Inception v3 are left out. ``freeze``, ``size``, ``white``: see ``Transfer``. Lecture: L7, L18.
    ValueError: an unknown name, rows that are no such pictures, a size that the network cannot take.
    """

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
        height, width = size_seen(shape, size)
        pretrained = None if weights is None else OfTorchvision.find(name, str(weights))
        parts |= {"shape": shape, "outputs": outputs, "freeze": freeze, "size": size, "white": white}
        try:
            super().__init__(network_of(name, outputs, height, pretrained is not None), pretrained, **parts)
        except (AssertionError, ForwardFailed):
            fitting = next((side for side in SIZES if takes(name, side)), None)
            if fitting is None or height == width and takes(name, height):
                raise
            raise ValueError(
                f"model.name={name} cannot take pictures of {height} × {width}: model.size={fitting} scales them"
            ) from None


@dataclass(frozen=True)
class OfTorchvision(Pretrained):
    """Weights of torchvision; for a file those whose pixels are prepared as the file's."""

    weights: models.WeightsEnum

    @classmethod
    def find(cls, network: str, word: str) -> "OfTorchvision":
        """ValueError: torchvision has no weights of that name."""
        known = models.get_model_weights(network)
        problem = f"torchvision has no weights of that name for {network}"
        file = file_of(word, [*known.__members__, "DEFAULT"], problem)
        if file is None:
            return cls(word, None, known[word])
        of_name = [each for each in known if each.url.rpartition("/")[2] == file.name]
        return cls(word, file, (of_name or [known["DEFAULT"]])[0])

    @property
    def side(self) -> int:
        return int(self.weights.transforms().crop_size[0])

    def moments(self) -> tuple[Tensor, Tensor]:
        preparation = self.weights.transforms()
        return torch.tensor(preparation.mean), torch.tensor(preparation.std)

    def fetch(self) -> Any:
        """Kept where torch.hub keeps such files. By one process at a time: the others find the file.

        check_hash compares the SHA-256 in its name.
        """
        url, patience = self.weights.url, socket.getdefaulttimeout()
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        file = folder / url.rpartition("/")[2]
        socket.setdefaulttimeout(TIMEOUT)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{file}.lock"):
                return self.weights.get_state_dict(
                    progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
                )
        except Exception as error:
            if file.exists():  # fetched now or long ago
                raise self.unusable(file, error, "; remove it to have it fetched again") from None
            if not isinstance(error, OSError):  # another hash than its name's
                raise self.unusable(file, error) from None
            if error.errno in UNWRITABLE:
                raise
            raise Refused(
                f"model.weights={self.word}: {url} cannot be fetched ({getattr(error, 'reason', error)})\n"
                f"Fetch it where there is a network, and put it into {folder}, or name it: model.weights=FILE",
                ENVIRONMENT,
            ) from None
        finally:
            socket.setdefaulttimeout(patience)


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


def takes(name: str, side: int) -> bool:
    """Whether a network takes pictures of side × side; shapes are followed, nothing is computed."""
    try:
        with torch.device("meta"), torch.no_grad():
            network_of(name, 2, side, False).eval()(torch.zeros(2, 3, side, side))
    except Exception:  # whatever it says of a size that it cannot take
        return False
    return True
