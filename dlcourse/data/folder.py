"""The user's own pictures: a folder of class folders."""

from pathlib import Path
from typing import Any

import torch

from dlcourse.data.base import Data, Split
from dlcourse.data.folder_facts import pictures
from dlcourse.data.picture import picture
from dlcourse.errors import Refused


class ImageFolder(Data):
    """Pictures PATH/CLASS/*.png|jpg, each resized to (channels, size, size), uint8 0 … 255."""

    def __init__(self, *, path: str, size: int, channels: int, **facts: Any):
        super().__init__(**facts)
        self.path, self.size, self.channels = Path(path), size, channels

    def arrays(self) -> tuple[Split, None]:
        files = pictures(self.path)
        known = self.classes or []
        if unknown := [name for name in files if name not in known]:
            raise Refused(f"{self.path / unknown[0]}: the class is unknown; known: {', '.join(known)}")
        x = torch.stack([picture(file, self.shape) for group in files.values() for file in group])
        y = torch.tensor([known.index(name) for name, group in files.items() for _ in group])
        return (x, y), None
