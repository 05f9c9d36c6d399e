"""Report sections for reconstruction: originals beside reconstructions, and the code of two units."""

from functools import partial
from typing import Any

import torch

from dlcourse.plots import codes as plots
from dlcourse.plots.pictures import data_uri, is_picture, stacked_pairs
from dlcourse.plots.section import Cell, Plot, Section, Table, draw
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.class_sections import input_names
from dlcourse.tasks.predictions import eval_mode

PICTURES = 16  # test rows that are shown with their reconstruction
ROWS = 10
INPUTS = 8


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    """Test samples and their reconstructions, as pictures or numbers; the code's plane if it has two units."""
    test, reconstructed = data.sets["test"], predictions.a
    section = Section("test", "On the test set", "Test samples and their reconstructions.")
    if is_picture(data.shape):
        x, white = test.x.float(), model.task.white
        low, high = (float(x.min()), float(x.max())) if white is None else (0.0, white)
        image = stacked_pairs(x[:PICTURES], reconstructed[:PICTURES], low, high)
        caption = f"The first {min(PICTURES, len(x))} test pictures, each above its reconstruction."
        section.plots.append(Plot("Originals and reconstructions", caption, uri=data_uri(image)))
    else:
        x, a = test.x.flatten(1)[:ROWS, :INPUTS].tolist(), reconstructed.flatten(1)[:ROWS, :INPUTS].tolist()
        names = input_names(data, test.x[0].numel())[:INPUTS]
        rows = [
            [
                Cell(row, str(row)),
                *(Cell(value, f"{value:.4g} → {back:.4g}") for value, back in zip(*both, strict=True)),
            ]
            for row, both in enumerate(zip(x, a, strict=True))
        ]
        section.table = Table(["row", *names], rows)
    if getattr(model, "code", None) == 2:
        with eval_mode(model):
            code = model.encode(test.x.to(model.device)).float().cpu().numpy()
        classes = test.y.numpy() if data.y == "classes" else torch.zeros(len(code), dtype=torch.long).numpy()
        numbered = [f"class {k}" for k in range(int(classes.max()) + 1)]
        names = (data.classes or numbered) if data.y == "classes" else ["test samples"]
        caption = "The code of each test sample; the model was trained without the classes."
        section.plots.append(draw("The code's plane", partial(plots.code_plane, code, classes, names), caption))
    return [section]
