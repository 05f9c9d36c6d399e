"""The parts of the report about the training: its curves, the layers, and what callbacks left to be drawn."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dlcourse.measures.diagnosis import QUANTILES
from dlcourse.plots import classes, curves
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Figure, draw
from dlcourse.runs.files import read_rows, series

#: Rows of the diagnostics, by layer: the name, what it is, and its caption.
LAYERS = {
    "gradient": ("Gradient", "‖∂C/∂w‖ of each layer, before training and after each epoch."),
    "update": ("Step", "‖Δw‖/‖w‖ of the first step of each epoch."),
    "dead": ("Dead units", "The share of units whose activation has no slope in any row."),
    "saturated": ("Saturated units", "The share of activations where the function is flat."),
}


def training_curves(rows: list[dict[str, Any]], monitor: str, mode: str, chosen: Sequence[str] = ()) -> list[Figure]:
    """Loss, accuracy (or R²), the chosen metrics and the learning rate over the steps, the best validation marked."""

    def over_steps(**keys: str) -> curves.Series:
        found = {name: [(row["step"], row[key]) for row in rows if key in row] for name, key in keys.items()}
        return {name: ([s for s, _ in pairs], [v for _, v in pairs]) for name, pairs in found.items() if pairs}

    sign = -1 if mode == "max" else 1
    judged = [row for row in rows if isinstance(row.get(monitor), int | float)]
    best = min(judged, key=lambda row: sign * row[monitor], default=None)
    told = best and f"Best {monitor}: {best[monitor]:.4g} at step {best['step']:,}, epoch {best['epoch'] + 1}."
    panels = {
        "Loss": over_steps(**{"train, by step": "train/loss_step", "train": "train/loss", "validation": "val/loss"}),
        "Accuracy": over_steps(train="train/acc", validation="val/acc"),
        "R²": over_steps(train="train/r2", validation="val/r2"),
        **{name: over_steps(validation=f"val/{name}") for name in chosen},
        "Learning rate": over_steps(rate="lr"),
    }
    drawn = []
    for label, lines in panels.items():
        if lines:
            marked = best["step"] if best and label != "Learning rate" else None
            make = partial(curves.curves, lines, label, marked, log=label == "Loss")
            drawn.append(draw(f"{label} over the steps of training", make, told or "" if label == "Loss" else ""))
    return drawn


def layers(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What callbacks=diagnostics wrote of the layers, over the steps; and the spread of activations at the end."""
    told = [(row["step"], series(row)) for row in rows if "gradient/1" in row]
    found = []
    for key, (title, caption) in LAYERS.items():
        lines: dict[str, dict[int, float]] = {}
        for step, by_layer in told:
            for layer, value in by_layer.get(key, {}).items():
                lines.setdefault(f"layer {layer}", {})[step] = value
        if lines:
            found.append(draw(f"{title} by layer", partial(line, lines, title, "step"), caption))
    if told and "activation/p50" in told[-1][1]:
        spread = {f"{name[1:].lstrip('0')} %": told[-1][1][f"activation/{name}"] for name in QUANTILES}
        caption = "Quantiles of each hidden layer's activations after the last epoch."
        found.append(draw("Activations by layer", partial(line, spread, "Activations"), caption))
    return found


def left(run_dir: Path, data: Any) -> list[Figure]:
    """What callbacks left beside the figures to be drawn: the boundary as it moved, the loss around the weights."""
    found = []
    if data is not None and (maps := read_rows(run_dir / "boundary.jsonl")):
        latest = {one["epochs"]: one for one in maps}  # a resume draws some again
        rows = data.sets["train"]
        make = partial(classes.moving, [*latest.values()], rows.x.numpy(), rows.y.numpy())
        found.append(draw("Decision boundary while training", make, "The training rows on the class of each place."))
    if (path := run_dir / "landscape.json").exists():
        told = json.loads(path.read_text("utf-8"))
        caption = "Around the trained weights (orange), along two random directions as long as each unit's weights."
        found.append(draw("Loss landscape", partial(curves.landscape, told["places"], told["loss"]), caption))
    return found
