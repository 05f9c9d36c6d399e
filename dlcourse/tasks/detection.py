"""Detection: a box and a class for each object in a picture."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dlcourse.tasks.base import Predictions, Task, logits

if TYPE_CHECKING:
    from PIL.Image import Image

    from dlcourse.plots.section import Section

CORNERS, NUMBER = slice(0, 4), 4  # of a target box [x1, y1, x2, y2, class]
SPREAD = 6.0  # of the heat around a centre: its deviation is √(width · height) / 6


class Detection(Task):
    """Boxes y (N, B, 5) [x1, y1, x2, y2, class] in pixels, padded with class −1, in any number for each picture.

    A cell is ``stride`` × ``stride`` pixels; z (N, H/stride, W/stride, K + 4) holds for each cell the heat of K classes
    and a box, see `Centres`. A picture may be without boxes. An object is found in the cells whose heat is the largest
    of the 3 × 3 around it; ``most`` of them are kept for a picture, by their heat. No box is suppressed by another.
    ``threshold``: the score of a box that is shown or written. ``names``: of the classes.
    Logs the loss; ``metrics=map`` adds the mean average precision. Lecture: L7. Zhou, Wang and Krähenbühl (2019).
    ValueError: two boxes whose centres are in the same cell, or no box at all.
    """

    samples_shown = 12

    def __init__(
        self,
        *,
        shape: Sequence[int],
        names: Sequence[str] | None,
        stride: int = 4,
        most: int = 20,
        threshold: float = 0.3,
        **facts: Any,
    ):
        super().__init__(**facts)
        if len(shape) != 3 or shape[1] % stride or shape[2] % stride:
            raise ValueError(f"task.stride={stride}: does not divide pictures of shape {tuple(shape)} into cells")
        self.shape, self.stride, self.most, self.threshold = tuple(shape), stride, most, threshold
        self.places = (shape[1] // stride, shape[2] // stride)
        self.names = [str(name) for name in names or range(self.outputs - 4)]

    def check(self, x: Tensor, y: Tensor) -> None:
        there = y[..., NUMBER] >= 0
        if not bool(there.any()):
            raise ValueError("no row has a box, so there is nothing to find")
        cell = self.cells(y).where(there, -1 - torch.arange(y.shape[1]))  # the missing ones are all different
        same = (cell[:, :, None] == cell[:, None, :]).sum((1, 2)) > y.shape[1]
        if len(rows := same.nonzero()):
            size = f"{self.stride} × {self.stride} pixels"
            raise ValueError(
                f"two boxes of row {int(rows[0])} have their centres in the same cell of {size}; a smaller task.stride "
                "tells them apart"
            )

    def cells(self, y: Tensor) -> Tensor:
        """The cell (N, B) in which the centre of each box is, row by row of the map."""
        j, i = ((y[..., k] + y[..., k + 2]) / (2 * self.stride) for k in (0, 1))
        height, width = self.places
        return i.floor().clamp(0, height - 1).long() * width + j.floor().clamp(0, width - 1).long()

    def maps(self, y: Tensor) -> Tensor:
        """The target of each cell, (N, h, w, K + 4): heat, and where a box has its centre, offset and size in cells.

        Heat falls off around a centre as exp(−d²/2σ²) of the distance d in cells, σ = √(width · height)/6.
        """
        (height, width), classes = self.places, self.outputs - 4
        there, cell = y[..., NUMBER] >= 0, self.cells(y)
        i, j = cell // width, cell % width
        corners = y[..., CORNERS] / self.stride
        middle, size = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
        down, across = (torch.arange(n, device=y.device) for n in self.places)
        distance = ((down - i[..., None]) ** 2)[..., :, None] + ((across - j[..., None]) ** 2)[..., None, :]
        variance = (size.prod(-1) / SPREAD**2).clamp_min(1e-6)[..., None, None]
        heat = (-distance / (2 * variance)).exp() * there[..., None, None]  # (N, B, h, w)
        number = y[..., NUMBER].clamp_min(0).long()[..., None].expand(*y.shape[:2], height * width)
        of_classes = torch.zeros(len(y), classes, height * width, dtype=y.dtype, device=y.device)
        of_classes = of_classes.scatter_reduce(1, number, heat.flatten(2), "amax")
        offset = middle - torch.stack([j, i], -1)
        elsewhere = height * width  # where the padding goes
        place = torch.where(there, cell, elsewhere)[..., None].expand(*y.shape[:2], 4)
        boxes = torch.zeros(len(y), elsewhere + 1, 4, dtype=y.dtype, device=y.device)
        boxes = boxes.scatter(1, place, torch.cat([offset, size], -1))[:, :elsewhere]
        return torch.cat([of_classes.transpose(1, 2), boxes], 2).unflatten(1, self.places)

    def loss_inputs(self, output: Any, target: Tensor) -> tuple[Tensor, Tensor, None]:
        return logits(output).flatten(0, 2), self.maps(target).flatten(0, 2), None

    def postprocess(self, a: Tensor) -> Tensor:
        """For each cell, (N, h, w, K + 4): the heat of each class, and the box [x1, y1, x2, y2] in pixels."""
        height, width = self.places
        i, j = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        middle = a[..., -4:-2] + torch.stack([j, i], -1).to(a)
        half = a[..., -2:].clamp_min(0) / 2
        corners = torch.cat([middle - half, middle + half], -1) * self.stride
        across, down = (corners[..., k::2].clamp(0, self.shape[2 - k]) for k in (0, 1))
        return torch.cat([a[..., :-4], torch.stack([across, down], -1).flatten(-2)], -1)

    def detections(self, a: Tensor) -> Tensor:
        """The best peaks of predictions (N, h, w, K + 4) as [x1, y1, x2, y2, class, score], (N, most, 6), best first.

        A score of 0 stands for none.
        """
        heat = a[..., :-4].permute(0, 3, 1, 2)
        peaks = (heat * (heat == F.max_pool2d(heat, 3, 1, 1))).flatten(2)  # (N, K, cells)
        classes, cells = peaks.shape[1:]
        score, which = peaks.flatten(1).topk(min(self.most, classes * cells))
        boxes = a[..., -4:].flatten(1, 2).gather(1, (which % cells)[..., None].expand(*which.shape, 4))
        return torch.cat([boxes, (which // cells)[..., None].to(a), score[..., None]], 2)

    def found(self, a: Tensor) -> list[Tensor]:
        """The boxes of each picture whose score reaches the threshold, (B, 6)."""
        return [boxes[boxes[:, 5] >= self.threshold] for boxes in self.detections(a)]

    def comparable(self, predictions: Predictions, target: Tensor) -> tuple[list[dict[str, Tensor]], Any]:
        """Boxes, scores and labels of each picture, and its true boxes and labels."""
        preds = [
            {"boxes": boxes[:, CORNERS], "scores": boxes[:, 5], "labels": boxes[:, NUMBER].long()}
            for boxes in (each[each[:, 5] > 0] for each in self.detections(predictions.a.float()))
        ]
        true = (boxes[boxes[:, NUMBER] >= 0] for boxes in target)
        return preds, [{"boxes": boxes[:, CORNERS], "labels": boxes[:, NUMBER].long()} for boxes in true]

    def enlarge(self, predictions: Predictions, factors: Tensor) -> Predictions:
        """The boxes in the pixels of the files."""
        a, by = predictions.a, factors.flip(1).repeat(1, 2)[:, None, None]
        return predictions._replace(a=torch.cat([a[..., :-4], a[..., -4:] * by.to(a)], -1))

    def format_predictions(self, predictions: Predictions) -> Iterable[str]:
        """The boxes of a picture as JSON: [{"class": …, "score": …, "box": [x1, y1, x2, y2]}, …], best first."""
        for boxes in self.found(predictions.a):
            listed = [
                {"class": self.names[int(number)], "score": round(score, 4), "box": [round(v, 2) for v in corners]}
                for *corners, number, score in boxes.tolist()
            ]
            yield json.dumps(listed, ensure_ascii=False)

    def draw(self, x: Tensor, predictions: Predictions, white: float) -> "list[Image]":
        """The pictures, enlarged, with the predicted boxes."""
        from dlcourse.tasks.scene_sections import with_boxes

        return [with_boxes(self, row, white, boxes) for row, boxes in zip(x, self.found(predictions.a), strict=True)]

    def visualize(self, model: Any, data: Any, predictions: Predictions) -> "list[Section]":
        from dlcourse.tasks.scene_sections import box_sections

        return box_sections(self, data, predictions)
