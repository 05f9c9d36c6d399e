"""Report sections for reconstruction: originals beside reconstructions, and the code of two units."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dlcourse.plots import codes as plots
from dlcourse.plots.pictures import data_uri, is_picture, stacked
from dlcourse.plots.section import Cell, Plot, Section, Table, draw
from dlcourse.tasks.base import PART, Predictions
from dlcourse.tasks.class_sections import input_names
from dlcourse.tasks.predictions import eval_mode

PICTURES = 16  # test rows that are shown with their reconstruction
ROWS = 10
INPUTS = 8


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    """Test samples and their reconstructions, as pictures or numbers; the code's plane if it has two units."""
    section = Section("test", "On the test set", "Test samples and their reconstructions.")
    show(section, model, data, {"test samples": data.sets["test"].x, "their reconstructions": predictions.a})
    code = getattr(model, "code", None)
    if code == 2:
        section.plots.append(plane(model, data))
    if is_picture(data.shape) and code:
        section.plots += decoded(model, data, code)
    return [section]


def decoded(model: Any, data: Any, code: int) -> list[Plot]:
    """Pictures of the decoder: between pairs of test samples, over the plane of two units, and of drawn codes."""
    x = data.sets["test"].x[:PICTURES].to(model.device)
    steps = torch.linspace(0, 1, PICTURES, device=model.device)[:, None, None]
    with eval_mode(model):
        h, pairs = model.encode(x), min(4, len(x) // 2)
        between = h[:pairs] + steps * (h[pairs : 2 * pairs] - h[:pairs])  # (steps, pairs, code)
        plots = [
            sheet(model, between.transpose(0, 1), "Between two test samples", "Decoded on the way between two codes.")
        ]
        if hasattr(model, "draw"):
            plots.append(new_samples(model, data))
            if code == 2:
                levels = torch.distributions.Normal(0, 1).icdf(torch.linspace(0.02, 0.98, 15))
                across, up = torch.meshgrid(levels, levels.flip(0), indexing="xy")
                grid = torch.stack([across, up], 2).to(h)
                plots.append(
                    sheet(model, grid, "The plane of codes", "Decoded at quantiles of N(0, 1) from 2 to 98 %.")
                )
    return plots


def sheet(model: Any, codes: Tensor, alt: str, caption: str, told: tuple[Tensor, ...] = ()) -> Plot:
    """What codes (rows, columns, code) are decoded to, as a sheet of pictures; ``told``: of which classes."""
    pictures = model.output(model.decode(codes.flatten(0, 1).to(model.mean.dtype), *told)).unflatten(0, codes.shape[:2])
    return page(model, list(pictures.float().cpu()), alt, caption)


def new_samples(model: Any, data: Any) -> Plot:
    """Samples of new codes, a class a column if the decoder is told classes, above the nearest training pictures."""
    columns, classes = PICTURES, ""
    told: tuple[Tensor, ...] = ()
    if model.classes:
        columns, classes = model.classes, ", a class a column"
        told = (torch.eye(columns, device=model.device).repeat(4, 1),)
    codes = model.draw(4 * columns, data.seed, *told)
    samples = model.output(model.decode(codes.to(model.mean.dtype), *told)).float().cpu()
    known = nearest(samples, data.sets["train"].x)
    lines = [line for pair in zip(samples.split(columns), known.split(columns), strict=True) for line in pair]
    caption = f"Decoded from new codes{classes}; below each the nearest training picture, by pixels."
    return page(model, lines, "New samples", caption)


def nearest(samples: Tensor, known: Tensor) -> Tensor:
    """For each sample (M, *shape) the nearest of the known ones (N, *shape), by pixels, (M, *shape)."""
    found = []
    for rows in samples.split(100):
        distances = [torch.cdist(rows.flatten(1), part.flatten(1).float()) for part in known.split(PART)]
        found.append(known[torch.cat(distances, 1).argmin(1)])
    return torch.cat(found).float()


def page(model: Any, lines: Sequence[Tensor], alt: str, caption: str) -> Plot:
    """Lines of pictures from 0 to white, or over their own range if the task knows no white."""
    white = model.task.white
    values = torch.cat([rows.flatten() for rows in lines])
    low, high = (float(values.min()), float(values.max())) if white is None else (0.0, white)
    return Plot(alt, caption, uri=data_uri(stacked(lines, low, high)))


def denoising_sections(model: Any, data: Any) -> list[Section]:
    """Test samples, their copies with noise, and what the model makes of the copies."""
    batch = data.sets["test"].first(PICTURES)._replace(seed=data.seed).to(model.device)
    noisy, _ = model.task.prepare_batch(batch)
    with eval_mode(model):
        denoised = model.output(model.task.answer(model, noisy))
    section = Section("test", "On the test set", "Test samples, their copies with noise, and the copies denoised.")
    lines = {"test samples": batch.x, "with noise": noisy, "denoised": denoised}
    show(section, model, data, {name: rows.float().cpu() for name, rows in lines.items()})
    return [section]


def super_resolution_sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    """Test pictures, their small copies enlarged without and with the model."""
    batch = data.sets["test"].first(PICTURES)
    small, _ = model.task.prepare_batch(batch.to(model.device))
    lines = {"test pictures": batch.x, "small copies": small.repeat_interleave(model.task.factor, -1)}
    lines["small copies"] = lines["small copies"].repeat_interleave(model.task.factor, -2)
    lines |= {"enlarged by bicubic interpolation": model.task.bicubic(small), "by the model": predictions.a}
    section = Section("test", "On the test set", "Test pictures, and their small copies enlarged again.")
    show(section, model, data, {name: rows.float().cpu() for name, rows in lines.items()})
    return [section]


def show(section: Section, model: Any, data: Any, lines: Mapping[str, Tensor]) -> None:
    """Add lines of pictures, one below the other; of other data a table with several numbers in a cell."""
    if is_picture(data.shape):
        pictures = [rows[:PICTURES].float() for rows in lines.values()]
        section.plots.append(page(model, pictures, "Pictures", f"From above: {', '.join(lines)}."))
        return
    values = [rows.flatten(1)[:ROWS, :INPUTS].tolist() for rows in lines.values()]
    table = []
    for row, cells in enumerate(zip(*values, strict=True)):
        texts = [" → ".join(f"{number:.4g}" for number in cell) for cell in zip(*cells, strict=True)]
        table.append([Cell(row, str(row)), *map(Cell, cells[0], texts)])
    section.text += f" In each cell: {' → '.join(lines)}."
    section.table = Table(["row", *input_names(data, data.sets["test"].x[0].numel())[:INPUTS]], table)


def plane(model: Any, data: Any) -> Plot:
    """The code of each test sample, in the colours of the classes."""
    test = data.sets["test"]
    with eval_mode(model):
        code = model.encode(test.x.to(model.device)).float().cpu().numpy()
    classes = test.y.numpy() if data.y == "classes" else torch.zeros(len(code), dtype=torch.long).numpy()
    numbered = [f"class {k}" for k in range(int(classes.max()) + 1)]
    names = (data.classes or numbered) if data.y == "classes" else ["test samples"]
    caption = "The code of each test sample; the model was trained without the classes."
    return draw("The code's plane", partial(plots.code_plane, code, classes, names), caption)
