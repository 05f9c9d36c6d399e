"""Weights that were trained elsewhere: torchvision's by name, or a file's."""

import socket
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torchvision import models

from dlcourse.errors import CHECKPOINT, ENVIRONMENT, UNWRITABLE, Refused

TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True)
class Pretrained:
    """What ``model.weights=word`` names: weights of torchvision, or a file whose pixels are prepared as for them."""

    word: str
    weights: models.WeightsEnum
    file: Path | None

    @classmethod
    def find(cls, network: str, word: str) -> "Pretrained":
        """ValueError: torchvision has no weights of that name, or the file is not there."""
        known = models.get_model_weights(network)
        if word.isidentifier():
            names = [*known.__members__, "DEFAULT"]
            if word not in names:
                near = get_close_matches(word, names, n=1)
                raise ValueError(
                    f"model.weights={word}: torchvision has no weights of that name for {network}"
                    f"{f'; did you mean {near[0]}?' if near else ''}\nThere are: {', '.join(dict.fromkeys(names))}; "
                    "or a file name with its suffix"
                )
            return cls(word, known[word], None)
        file = Path(word)
        of_name = [each for each in known if each.url.rpartition("/")[2] == file.name]
        return cls(word, (of_name or [known["DEFAULT"]])[0], file)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (3,) of red, green and blue that the weights were trained with, of pixels in 0 … 1."""
        preparation = self.weights.transforms()
        return torch.tensor(preparation.mean), torch.tensor(preparation.std)

    @property
    def side(self) -> int:
        """The height and width of the pictures that torchvision's weights were trained with."""
        return int(self.weights.transforms().crop_size[0])

    def read(self) -> dict[str, Tensor]:
        """The state_dict; one that is not here yet is fetched, and kept where torch.hub keeps such files."""
        state = self._read_file(self.file) if self.file else self._fetch()
        if not isinstance(state, dict) or not state or not all(isinstance(w, Tensor) for w in state.values()):
            raise Refused(f"model.weights={self.word} holds no state_dict, names with a tensor each", CHECKPOINT)
        return state

    def _read_file(self, file: Path) -> Any:
        if not file.is_file():
            raise Refused(f"model.weights={self.word}: there is no such file")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch, zipfile and pickle say of it
            raise self._unusable(file, error) from None

    def _fetch(self) -> Any:
        """By one process at a time: the others find the file. check_hash compares the SHA-256 in its name."""
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
                raise self._unusable(file, error, "; remove it to have it fetched again") from None
            if not isinstance(error, OSError):  # another hash than its name's
                raise self._unusable(file, error) from None
            if error.errno in UNWRITABLE:
                raise
            raise Refused(
                f"model.weights={self.word}: {url} cannot be fetched ({getattr(error, 'reason', error)})\n"
                f"Fetch it where there is a network, and put it into {folder}, or name it: model.weights=FILE",
                ENVIRONMENT,
            ) from None
        finally:
            socket.setdefaulttimeout(patience)

    def _unusable(self, file: Path, error: Exception, way_out: str = "") -> Refused:
        found = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return Refused(f"model.weights={self.word}: {file} is no file of weights ({found}){way_out}", CHECKPOINT)


def fill(net: nn.Module, head: nn.Module, pretrained: Pretrained) -> str:
    """Load weights into a network of torchvision, except its last layer; the line returned says what stays random.

    Strict: a tensor that is missing or of another shape is refused by name. Only auxiliary outputs (names with ``aux``)
    may be there without a place here.
    """
    own = net.state_dict()
    last = next(name for name, layer in net.named_modules() if layer is head)
    state = pretrained.read()
    in_old_files = {name.replace(".", ""): name for name in own}  # DenseNet's say norm.1 where the network says norm1
    for name in [name for name in state if name not in own and name.replace(".", "") in in_old_files]:
        state[in_old_files[name.replace(".", "")]] = state.pop(name)
    unused = [name for name in state if name not in own and name.lower().startswith("aux")]
    for name in [*unused, *(name for name in state if name.startswith(f"{last}."))]:
        del state[name]
    wrong = [
        f"{name} is {tuple(w.shape)} there and {tuple(own[name].shape)} here"
        for name, w in state.items()
        if name in own and w.shape != own[name].shape
    ]
    wrong += [f"{name} holds numbers that are not finite" for name, w in state.items() if not w.isfinite().all()]
    if not wrong:
        missing, foreign = net.load_state_dict(state, strict=False)
        missing = [name for name in missing if not name.startswith(f"{last}.")]
        wrong += [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
        wrong += [f"only there: {', '.join(foreign[:3])}"] * bool(foreign)
    if wrong:
        raise Refused(f"model.weights={pretrained.word} does not fit model.name: {'; '.join(wrong[:3])}", CHECKPOINT)
    random = ", ".join(f"{last}.{name}" for name in head.state_dict())
    start = "starts" if len(head.state_dict()) == 1 else "start"
    return f"weights of {pretrained.word}; {random} {start} from random weights" + (
        f"; left out: {len(unused)} tensors of auxiliary outputs ({unused[0]} …)" if unused else ""
    )
