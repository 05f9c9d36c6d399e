"""Report sections for pictures with masks or boxes: true and predicted ones on test samples."""

from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from dlcourse.plots.pictures import data_uri
from dlcourse.plots.scenes import PREDICTED, TRUE, beside, boxed
from dlcourse.plots.section import Picture, Section
from dlcourse.tasks.base import Batch, Predictions


def value_of_white(data: Any, batch: Batch) -> float:
    """The value of white in the data's pictures, or the largest of the samples."""
    return float(data.white or batch.x.max() or 1)


def mask_sections(task: Any, data: Any, predictions: Predictions) -> list[Section]:
    """Each of some test samples beside its true and its predicted mask."""
    batch = data.sets["test"].first(task.samples_shown)
    predicted, white = task.predicted_class(predictions.z[: len(batch.x)]), value_of_white(data, batch)
    text = "Test samples: the picture, its true mask and the predicted one, and the share of pixels that are right."
    section = Section("test", "On the test set", text)
    for row, (x, y, mask) in enumerate(zip(batch.x, batch.y, predicted, strict=True)):
        image = beside(x, [y, mask], white)
        share = float((y == mask).float().mean())
        names = [task.classes[k] for k in torch.unique(mask).tolist()]
        lines = [(f"{share:.2%} right", "right" if share == 1 else ""), (", ".join(names), "")]
        alt = f"Test row {row}: picture, true mask, predicted mask"
        section.pictures.append(Picture(image, data_uri(image), alt, lines))
    return [section]


def with_boxes(task: Any, x: Tensor, white: float, predicted: Tensor, true: Tensor | None = None) -> Image:
    """A picture (C, H, W) with the predicted boxes (B, 6), named and scored, and the true ones (B, 5)."""
    drawn = [(box[:4], "", TRUE) for box in (true.tolist() if true is not None else [])]
    drawn += [(box[:4], f"{task.names[int(box[4])]} {box[5]:.2f}", PREDICTED) for box in predicted.tolist()]
    return boxed(x, white, drawn)


def box_sections(task: Any, data: Any, predictions: Predictions) -> list[Section]:
    """Some test samples with their true boxes and those that are predicted."""
    batch = data.sets["test"].first(task.samples_shown)
    white = value_of_white(data, batch)
    text = f"Test samples with their true boxes (green) and those predicted with a score of {task.threshold:g} or more."
    section = Section("test", "On the test set", text)
    found = task.found(predictions.a[: len(batch.x)])
    for row, (x, y, boxes) in enumerate(zip(batch.x, batch.y, found, strict=True)):
        there = [box for box in y.tolist() if box[4] >= 0]
        image = with_boxes(task, x, white, boxes, y[y[:, 4] >= 0])
        true, predicted = (sorted(task.names[int(box[4])] for box in each) for each in (there, boxes.tolist()))
        look = "right" if true == predicted else "wrong"
        lines = [(f"true {', '.join(true) or 'none'}", ""), (f"predicted {', '.join(predicted) or 'none'}", look)]
        alt = f"Test row {row}: {len(there)} true and {len(boxes)} predicted boxes"
        section.pictures.append(Picture(image, data_uri(image), alt, lines))
    return [section]
