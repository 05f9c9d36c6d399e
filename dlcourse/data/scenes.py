"""Scenes of several handwritten digits, and where each of them is."""

from typing import Any

import torch
from torch import Tensor

from dlcourse.data.base import Split
from dlcourse.data.images import Mnist
from dlcourse.errors import Refused
from dlcourse.noise import uniform

TRAIN, TEST = 1, 2  # the seeds of scenes are constants: no choice of seed changes them
INK = 128  # of 255: a pixel at least as light belongs to its digit
GAP = 2  # pixels between two digits: their centres are then in different cells of 4 × 4
TRIES = 100  # layouts of a scene, until its digits do not touch; then they stand one below the other


class Scenes(Mnist):
    """Pictures (N, 1, H, W), uint8, of one to ``most`` MNIST digits that do not touch, on black.

    y is, as ``data.y`` says, ``boxes`` (N, most, 5) [x1, y1, x2, y2, digit] in pixels around each digit's ink, padded
    with class −1, or ``masks`` (N, H, W): 0 for background, 1 + digit for ink. ``n_samples`` scenes for training and
    validation are made of MNIST's training digits, ``n_test_samples`` of its test digits. Each digit is in one scene at
    most, so that the digits of validation are in no training scene. Scene k is the same for any number of scenes.
    ``half``: ``left`` or ``right``, where the centres of all boxes are in training and validation; null: anywhere.
    Refused: more scenes than there are digits for, or pictures in which they have no room. Lecture: L7.
    """

    def __init__(self, *, n_samples: int, n_test_samples: int, most: int = 3, half: str | None = None, **facts: Any):
        super().__init__(**facts)
        if self.y not in ("boxes", "masks"):
            raise ValueError(f"data.y={self.y}: scenes have boxes or masks")
        if half not in (None, "left", "right"):
            raise ValueError(f"data.half={half}: expected left, right or null")
        self.n_samples, self.n_test_samples, self.most, self.half = n_samples, n_test_samples, most, half

    def digits(self) -> tuple[Split, Split]:
        """Pictures (M, 1, h, w), uint8, and classes (M,) of single digits for training, and for testing."""
        return super().arrays()

    def arrays(self) -> tuple[Split, Split]:
        train, test = self.digits()
        return self.scenes(train, self.n_samples, TRAIN, self.half), self.scenes(test, self.n_test_samples, TEST)

    def test_scenes(self, half: str) -> Split:
        """The test scenes with the same digits, all their centres in one half of the picture."""
        return self.scenes(self.digits()[1], self.n_test_samples, TEST, half)

    def scenes(self, digits: Split, n: int, seed: int, half: str | None = None) -> Split:
        """n scenes, as x and y."""
        pictures, classes = digits[0][:, 0], digits[1]
        index = torch.arange(n)
        counts = 1 + (self.most * uniform(seed, 0, index, 1)[:, 0]).long()
        if (needed := int(counts.sum())) > len(classes):
            raise Refused(f"data={self.name}: {n} scenes need {needed} digits, there are {len(classes)}; make fewer")
        order = uniform(seed, 0, torch.arange(len(classes)), 2)[:, 1].argsort(stable=True)
        there = torch.arange(self.most) < counts[:, None]  # (n, most)
        chosen = torch.zeros(n, self.most, dtype=torch.long)
        chosen[there] = order[:needed]
        tight = boxes_of_ink(pictures)  # (M, 4), inside the digit's own picture
        boxes = self._placed(tight[chosen], there, seed, half)
        corners = boxes[..., :2] - tight[chosen][..., :2]  # of the digits' pictures
        x, mask = self._pasted(pictures, classes, chosen, corners, there)
        if self.y == "masks":
            return x[:, None], mask
        y = torch.cat([boxes, classes[chosen][..., None]], 2).float()
        return x[:, None], y.where(there[..., None], torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0]))

    def _placed(self, tight: Tensor, there: Tensor, seed: int, half: str | None) -> Tensor:
        """A place for each digit: boxes (n, most, 4) in the picture that do not touch: the first layout that fits."""
        _, height, width = self.shape
        w, h = (tight[..., 2 + k] - tight[..., k] for k in (0, 1))
        low, high = torch.zeros_like(w), (width - w).clamp_min(0)  # of x1; the centre is x1 + w/2
        if half == "left":
            high = torch.minimum(high, (width - w - 1) // 2)
        if half == "right":
            low = (width - w + 1) // 2
        boxes = torch.zeros(*w.shape, 4, dtype=torch.long)
        open_ones = torch.arange(len(w))  # the scenes that have no layout yet
        for attempt in range(1, TRIES + 1):
            u = uniform(seed, attempt, open_ones, 2 * self.most).unflatten(1, (2, self.most))
            x1 = low[open_ones] + (u[:, 0] * (high - low + 1)[open_ones]).long()
            y1 = (u[:, 1] * (height - h + 1).clamp_min(1)[open_ones]).long()
            if attempt == TRIES:
                tall = (h + GAP)[open_ones] * there[open_ones]
                room = (height + GAP - tall.sum(1)).clamp_min(0)
                y1 = tall.cumsum(1) - tall + (u[:, 1] * (room + 1)[:, None]).long().sort(1).values
            boxes[open_ones] = torch.stack([x1, y1, x1 + w[open_ones], y1 + h[open_ones]], 2)
            outside = (there & ((boxes[..., 2] > width) | (boxes[..., 3] > height))).any(1)
            open_ones = open_ones[touching(boxes[open_ones], there[open_ones]) | outside[open_ones]]
        if len(open_ones):
            scene, size = int(open_ones[0]), f"{height} × {width} pixels"
            raise Refused(f"data={self.name}: scene {scene} has no room for its digits in {size}")
        return boxes

    def _pasted(
        self, pictures: Tensor, classes: Tensor, chosen: Tensor, corners: Tensor, there: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scenes (n, H, W) and their masks: the lighter of two pixels, and ink's class + 1, of all digits."""
        n, (height, width) = len(chosen), self.shape[1:]
        across, down = torch.arange(pictures.shape[2]), torch.arange(pictures.shape[1])
        x, mask = (torch.zeros(n, height * width, dtype=torch.uint8) for _ in range(2))
        for k in range(self.most):
            rows = there[:, k].nonzero()[:, 0]
            patch = pictures[chosen[rows, k]].flatten(1)
            right, below = corners[rows, k, 0, None] + across, corners[rows, k, 1, None] + down
            inside = ((below >= 0) & (below < height))[:, :, None] & ((right >= 0) & (right < width))[:, None, :]
            place = (below.clamp(0, height - 1)[:, :, None] * width + right.clamp(0, width - 1)[:, None, :]).flatten(1)
            patch = patch * inside.flatten(1)
            number = (patch >= INK) * (classes[chosen[rows, k], None] + 1).to(torch.uint8)
            for canvas, values in ((x, patch), (mask, number)):
                canvas[rows] = canvas[rows].scatter_reduce(1, place, values, "amax")
        return x.unflatten(1, (height, width)), mask.unflatten(1, (height, width))


def boxes_of_ink(pictures: Tensor) -> Tensor:
    """[x1, y1, x2, y2] (M, 4) around the ink of pictures (M, h, w)."""
    ink = pictures >= INK
    ends = []
    for axis in (1, 2):  # columns, then rows
        seen = ink.any(axis).to(torch.uint8)
        ends.append((seen.argmax(1), seen.shape[1] - seen.flip(1).argmax(1)))
    (x1, x2), (y1, y2) = ends
    return torch.stack([x1, y1, x2, y2], 1)


def touching(boxes: Tensor, there: Tensor) -> Tensor:
    """Whether two boxes of a scene, (n, K, 4), are closer than the gap; ``there`` (n, K): which are boxes at all."""
    low, high = boxes[..., :2] - GAP, boxes[..., 2:] + GAP
    found = torch.zeros(len(boxes), dtype=torch.bool)
    for k in range(boxes.shape[1]):
        for m in range(k):
            near = ((low[:, k] < boxes[:, m, 2:]) & (boxes[:, m, :2] < high[:, k])).all(1)
            found |= near & there[:, k] & there[:, m]
    return found
