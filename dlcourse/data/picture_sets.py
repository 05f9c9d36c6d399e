"""A person's own pictures, in the sets that they are given in: what their files have in common."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.cache import is_large, kept_as, key_of, stored_pixels
from dlcourse.data.facts import describe
from dlcourse.data.picture_file import BYTE, READING, SQUEEZE, Conversion, Source, pixels
from dlcourse.data.stored import Stored, at
from dlcourse.errors import Refused


class Given(NamedTuple):
    """The pictures of a set, the class of each, and the files that they are in; ``where`` in these, if it matters."""

    pictures: Iterable[Source]
    classes: Sequence[str]
    files: Sequence[Path]
    where: tuple[Any, ...] = ()


class PictureSets(Data):
    """Pictures, each (channels, size, size), of the sets that a subclass is ``given``.

    Pictures that are equal are in one set; one of a given test set, or validation set, is left out of training.
    A reader of facts has looked at the files and says how they become pixels, 0 … ``white`` in ``dtype``;
    ``described`` is what it found of each class, ``said`` of all. ``ground``: the colour that transparent pictures are
    laid on. ``resize``: of those that are not square, see `Conversion`.
    ``cache``: a folder where the pixels of large data are kept, see `dlcourse.data.cache`; None: all are in memory.
    """

    def __init__(
        self,
        *,
        path: str,
        size: int,
        channels: int,
        white: float = 255,
        ground: str | None = None,
        dtype: str = BYTE,
        resize: str = SQUEEZE,
        described: Sequence[Mapping[str, Any]] = (),
        said: Sequence[str] = (),
        cache: str | None = None,
        fingerprint: Mapping[str, str] | None = None,
        **facts: Any,
    ):
        super().__init__(white=white, **facts)
        self.path, self.size, self.channels = Path(path), size, channels
        self.fingerprint, self.cache = fingerprint, cache
        self.conversion = Conversion(ground, white, dtype, resize)
        self.described = describe(described, said)

    def given(self) -> dict[str, Given]:
        """The sets ``train``, and ``val`` and ``test`` where they are given."""
        raise NotImplementedError

    def arrays(self) -> tuple[Split, Split | None]:
        sets, known = self.given(), self.classes or []
        if unknown := [name for each in sets.values() for name in dict.fromkeys(each.classes) if name not in known]:
            raise Refused(f"{self.path}: the class {unknown[0]} is unknown; known: {', '.join(known)}")
        return self._apart({name: self._read(each) for name, each in sets.items()})

    def _read(self, given: Given) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, class numbers, and a 64-bit number for each picture, the same for equal pixels."""
        number = {name: k for k, name in enumerate(self.classes or [])}
        y = torch.tensor([number[name] for name in given.classes], dtype=torch.long)
        dtype, count = self.conversion.dtype, len(y)
        found = (pixels(each, self.shape, self.conversion) for each in given.pictures)
        if self.cache is not None and is_large(given.files, count, math.prod(self.shape) * np.dtype(dtype).itemsize):
            name = kept_as(given.files, self.shape, self.conversion, PIL.__version__, READING, *given.where)
            mapped, keys = stored_pixels(Path(self.cache, f"{name}.npy"), count, self.shape, dtype, found)
            x: Any = Stored(torch.from_numpy(mapped), torch.arange(count))
            return x, y, torch.from_numpy(keys)
        whole, keys = np.empty((count, *self.shape), dtype), np.empty(count, np.int64)
        for k, values in zip(range(count), found, strict=True):
            whole[k] = values
            keys[k] = key_of(whole[k])
        return torch.from_numpy(whole), y, torch.from_numpy(keys)

    def _apart(self, found: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> tuple[Split, Split | None]:
        """The given sets without what is in a later one, test last; what was found of equal pictures is noted."""
        parts: dict[str, tuple[Tensor, Tensor]] = {}
        seen, notes = torch.empty(0, dtype=torch.int64), []
        for name, title in (("test", "test"), ("val", "validation"), ("train", "training")):
            if name in found:
                x, y, keys = found[name]
                in_both = torch.isin(keys, seen)
                if count := int(in_both.sum()):
                    x, y, keys = at(x, ~in_both), y[~in_both], keys[~in_both]
                    notes.append(f"{count:,} {title} pictures are left out, a later set has them too")
                if not len(y):
                    raise Refused(f"{self.path}: every {title} picture is in a later set too; add others")
                parts[name], seen = (x, y), torch.cat([seen, keys])
        self.keys, (_, y) = keys, parts["train"]
        alike = len(keys.unique())
        if repeated := len(keys) - alike:
            notes.append(f"{repeated:,} pictures repeat the pixels of another and are in its set")
        if doubtful := len(torch.stack([keys, y], 1).unique(dim=0)) - alike:
            notes.append(f"{doubtful:,} pictures are in two classes")
        self.note, self.val = "; ".join(notes) or None, parts.get("val")
        return parts["train"], parts.get("test")
