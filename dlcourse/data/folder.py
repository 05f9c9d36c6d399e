"""A person's own pictures: a folder of class folders."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.cache import is_large, kept_as, key_of, stored_pixels
from dlcourse.data.facts import describe
from dlcourse.data.folder_files import Listing, files_of_before, list_folder
from dlcourse.data.picture_file import BYTE, READING, SQUEEZE, Conversion, pixels
from dlcourse.data.stored import Stored, at
from dlcourse.errors import Refused


class OwnPictures(Data):
    """Pictures of the class folders in PATH, and of the folders below them, each (channels, size, size).

    The folders train, val (valid, validation) and test are the sets, where they hold class folders. Pictures that are
    equal are in one set; one of a given test set, or validation set, is left out of training.
    ``dlcourse.data.folder_facts.folder_facts`` looks at the files and says how they become pixels, 0 … ``white`` in
    ``dtype``; ``described`` is what it found of each class, ``said`` of all. ``ground``: the colour that transparent
    pictures are laid on. ``resize``: of those that are not square, see `Conversion`.
    ``cache``: a folder where the pixels of large data are kept, see `dlcourse.data.cache`; None: all are in memory.
    ``as_before``: the files and pixels that runs of before read.
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
        as_before: bool = False,
        **facts: Any,
    ):
        super().__init__(white=white, **facts)
        self.path, self.size, self.channels, self.as_before = Path(path), size, channels, as_before
        self.fingerprint, self.cache = fingerprint, cache
        self.conversion = Conversion(ground, white, dtype, resize)
        self.described = describe(described, said)

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self.path)

    def own_files(self) -> dict[str, list[Path]]:
        return self._listing.by_folder(self.path)

    def arrays(self) -> tuple[Split, Split | None]:
        sets = {"train": files_of_before(self.path)} if self.as_before else self._listing.sets
        known = self.classes or []
        if unknown := [name for classes in sets.values() for name in classes if name not in known]:
            raise Refused(f"{self.path}: the class {unknown[0]} is unknown; known: {', '.join(known)}")
        found = {name: self._read(classes) for name, classes in sets.items()}
        if self.as_before:
            return found["train"][:2], None
        return self._apart(found)

    def _read(self, classes: Mapping[str, Sequence[Path]]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, class numbers, and a 64-bit number for each picture, the same for equal pixels."""
        files = [file for group in classes.values() for file in group]
        y = torch.tensor(
            [k for name, group in classes.items() for k in [(self.classes or []).index(name)] * len(group)]
        )
        dtype = self.conversion.dtype
        if self.cache is not None and is_large(files, math.prod(self.shape) * np.dtype(dtype).itemsize):
            name = kept_as(files, self.shape, self.conversion, PIL.__version__, READING)
            mapped, keys = stored_pixels(
                Path(self.cache, f"{name}.npy"), len(files), self.shape, dtype, lambda k: self._pixels(files[k])
            )
            x: Any = Stored(torch.from_numpy(mapped), torch.arange(len(files)))
            return x, y, torch.from_numpy(keys)
        whole, keys = np.empty((len(files), *self.shape), dtype), np.empty(len(files), np.int64)
        for k, file in enumerate(files):
            whole[k] = self._pixels(file)
            keys[k] = key_of(whole[k])
        return torch.from_numpy(whole), y, torch.from_numpy(keys)

    def _pixels(self, file: Path) -> np.ndarray:
        return pixels(file, self.shape, self.conversion)

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
                    raise Refused(
                        f"{self._listing.folders[name]}: every {title} picture is in a later set too; add others"
                    )
                parts[name], seen = (x, y), torch.cat([seen, keys])
        self.keys, (_, y) = keys, parts["train"]
        alike = len(keys.unique())
        if repeated := len(keys) - alike:
            notes.append(f"{repeated:,} pictures repeat the pixels of another and are in its set")
        if doubtful := len(torch.stack([keys, y], 1).unique(dim=0)) - alike:
            notes.append(f"{doubtful:,} pictures are in two classes")
        self.note, self.val = "; ".join(notes) or None, parts.get("val")
        return parts["train"], parts.get("test")
