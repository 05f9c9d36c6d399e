"""Films: handwritten digits that move."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dlcourse.data.base import Split
from dlcourse.data.images import Mnist
from dlcourse.errors import Refused
from dlcourse.noise import uniform

TRAIN, TEST = 1, 2  # the seeds of the films are constants: no choice of seed changes the rows
SIDE, FRAMES, STEP = 28, 10, 3  # pixels of the picture's side, frames, pixels that a digit moves in one of them
#: The steps down and to the right of each class, in the order of the class names.
DIRECTIONS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def shuffled(films: Tensor, seed: int) -> Tensor:
    """The frames of each film in a random order of its own."""
    order = uniform(seed, 1, torch.arange(len(films)), films.shape[2]).argsort(1)
    return torch.stack([film[:, frames] for film, frames in zip(films, order, strict=True)])


#: What a film shows instead of its frames, in as many frames: the controls.
SHOWN: dict[str, Callable[[Tensor, int], Tensor]] = {
    "frames": lambda films, seed: films,
    "first": lambda films, seed: films[:, :, :1].expand_as(films).clone(),
    "mean": lambda films, seed: films.float().mean(2, keepdim=True).round().to(films.dtype).expand_as(films).clone(),
    "shuffled": shuffled,
}


class MovingDigits(Mnist):
    """Films (N, 1, 10, 28, 28), uint8, of a digit that moves in one of eight directions; y is the direction.

    A digit of MNIST, 14 × 14, moves three pixels a frame over the sides of the picture to the opposite ones, so that
    no border gives the direction away; start and direction are uniform. ``films``: number of films from MNIST's
    training set; as many, but at most 2,000, come from its test set. ``show``: ``frames``, or as a control ``first``
    (the first frame ten times), ``mean`` (the mean of all ten times) or ``shuffled`` (in a random order of each film).
    Lecture: L7.
    """

    def __init__(self, *, films: int, show: str, **facts: Any):
        super().__init__(**facts)
        self.films, self.show = films, show
        if show not in SHOWN:
            raise ValueError(f"data.show={show}: expected one of {', '.join(SHOWN)}")

    def arrays(self) -> tuple[Split, Split]:
        (digits, _), (test_digits, _) = super().arrays()
        if self.films > len(digits):
            raise Refused(f"data.films={self.films}: each film shows another digit, and MNIST has {len(digits):,}")
        return self._films(digits[: self.films], TRAIN), self._films(test_digits[: min(self.films, 2000)], TEST)

    def _films(self, digits: Tensor, seed: int) -> Split:
        small = torch.zeros(len(digits), SIDE, SIDE, dtype=torch.uint8)
        small[:, :14, :14] = avg_pool2d(digits.float(), 2).round().to(torch.uint8)[:, 0]
        start_and_class = uniform(seed, 0, torch.arange(len(digits)), 3)
        y = (start_and_class[:, 2] * len(DIRECTIONS)).long()
        place = (start_and_class[:, :2] * SIDE).long()
        steps = torch.tensor(DIRECTIONS)[y] * STEP
        films = torch.empty(len(digits), 1, FRAMES, SIDE, SIDE, dtype=torch.uint8)
        pixels = torch.arange(SIDE)
        rows = torch.arange(len(digits))[:, None, None]
        for frame in range(FRAMES):
            down, right = (place + frame * steps).T
            from_row = (pixels - down[:, None]) % SIDE
            from_column = (pixels - right[:, None]) % SIDE
            films[:, 0, frame] = small[rows, from_row[:, :, None], from_column[:, None, :]]
        return SHOWN[self.show](films, seed), y
