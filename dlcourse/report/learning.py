"""Report plots about training: learning curves, layers, and data that callbacks recorded."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dlcourse.measures.diagnosis import QUANTILES
from dlcourse.plots import classes, curves
from dlcourse.plots.comparison import line
from dlcourse.plots.section import Plot, draw
from dlcourse.runs.files import read_rows, series

#: Metrics of the diagnostics by layer: name, title and caption.
LAYERS = {
    "gradient": ("Gradient", "‖∂C/∂w‖ of each layer, before training and after each epoch."),
    "update": ("Step", "‖Δw‖/‖w‖ of the first step of each epoch."),
    "dead": ("Dead units", "The share of units whose activation has slope 0 for every sample."),
    "saturated": ("Saturated units", "The share of activations where the function is flat."),
}


def training_curves(rows: list[dict[str, Any]], monitor: str, mode: str, chosen: Sequence[str] = ()) -> list[Plot]:
    """Loss, accuracy (or R²), the chosen metrics and the learning rate over steps; the best validation is marked."""

    def over_steps(**keys: str) -> curves.Series:
        points = {name: [(row["step"], row[key]) for row in rows if key in row] for name, key in keys.items()}
        return {name: ([s for s, _ in pairs], [v for _, v in pairs]) for name, pairs in points.items() if pairs}

    sign = -1 if mode == "max" else 1
    with_monitor = [row for row in rows if isinstance(row.get(monitor), int | float)]
    best = min(with_monitor, key=lambda row: sign * row[monitor], default=None)
    caption = best and f"Best {monitor}: {best[monitor]:.4g} at step {best['step']:,}, epoch {best['epoch'] + 1}."
    panels = {
        "Loss": over_steps(**{"train, by step": "train/loss_step", "train": "train/loss", "validation": "val/loss"}),
        "Accuracy": over_steps(train="train/acc", validation="val/acc"),
        "R²": over_steps(train="train/r2", validation="val/r2"),
        **{name: over_steps(validation=f"val/{name}") for name in chosen},
        "Learning rate": over_steps(rate="lr"),
    }
    plots = []
    for label, lines in panels.items():
        if lines:
            best_step = best["step"] if best and label != "Learning rate" else None
            make = partial(curves.curves, lines, label, best_step, log=label == "Loss")
            plots.append(draw(f"{label} over the steps of training", make, caption or "" if label == "Loss" else ""))
    return plots


def layer_plots(rows: Sequence[dict[str, Any]]) -> list[Plot]:
    """What callbacks=diagnostics logged for each layer over the steps, and quantiles of activations at the end."""
    history = [(row["step"], series(row)) for row in rows if "gradient/1" in row]
    plots = []
    for key, (title, caption) in LAYERS.items():
        lines: dict[str, dict[int, float]] = {}
        for step, by_layer in history:
            for layer, value in by_layer.get(key, {}).items():
                lines.setdefault(f"layer {layer}", {})[step] = value
        if lines:
            plots.append(draw(f"{title} by layer", partial(line, lines, title, "step"), caption))
    if history and "activation/p50" in history[-1][1]:
        quantiles = {f"{name[1:].lstrip('0')} %": history[-1][1][f"activation/{name}"] for name in QUANTILES}
        caption = "Quantiles of each hidden layer's activations after the last epoch."
        plots.append(draw("Activations by layer", partial(line, quantiles, "Activations", "layer"), caption))
    return plots


def callback_plots(run_dir: Path, data: Any) -> list[Plot]:
    """Plots of other files that callbacks wrote: the moving decision boundary, the loss landscape."""
    plots = []
    if data is not None and (maps := read_rows(run_dir / "boundary.jsonl")):
        latest = {each["epochs"]: each for each in maps}  # a resumed run records some again
        rows = data.sets["train"]
        make = partial(classes.boundary_over_epochs, [*latest.values()], rows.x.numpy(), rows.y.numpy())
        plots.append(
            draw("Decision boundary during training", make, "Training samples on the predicted class of each point.")
        )
    if (path := run_dir / "landscape.json").exists():
        grid = json.loads(path.read_text("utf-8"))
        caption = "Around the trained weights (orange), along two random directions as long as each unit's weights."
        plots.append(draw("Loss landscape", partial(curves.landscape, grid["places"], grid["loss"]), caption))
    return plots
