"""The user's own pictures: a folder of class folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.facts import describe
from dlcourse.data.folder_files import files_of_before, list_folder
from dlcourse.data.picture_file import BYTE, Conversion, pixels
from dlcourse.errors import Refused


class OwnPictures(Data):
    """Pictures of the class folders in PATH, and of the folders below them, each (channels, size, size).

    ``dlcourse.data.folder_facts.folder_facts`` looks at the files and says how they become pixels, 0 … ``white`` in
    ``dtype``; ``described`` is what it found of each class, ``said`` of all. ``ground``: the colour that transparent
    pictures are laid on. ``as_before``: the files and pixels that runs of before read.
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
        described: Sequence[Mapping[str, Any]] = (),
        said: Sequence[str] = (),
        as_before: bool = False,
        **facts: Any,
    ):
        super().__init__(white=white, **facts)
        self.path, self.size, self.channels, self.as_before = Path(path), size, channels, as_before
        self.conversion = Conversion(ground, white, dtype)
        self.described = describe(described, said)

    def arrays(self) -> tuple[Split, None]:
        files = files_of_before(self.path) if self.as_before else list_folder(self.path).classes
        known = self.classes or []
        if unknown := [name for name in files if name not in known]:
            raise Refused(f"{self.path / unknown[0]}: the class is unknown; known: {', '.join(known)}")
        y = torch.tensor([known.index(name) for name, group in files.items() for _ in group])
        return (self._pixels([file for group in files.values() for file in group]), y), None

    def _pixels(self, files: Sequence[Path]) -> Tensor:
        x = np.empty((len(files), *self.shape), self.conversion.dtype)
        for k, file in enumerate(files):
            x[k] = pixels(file, self.shape, self.conversion)
        return torch.from_numpy(x)
