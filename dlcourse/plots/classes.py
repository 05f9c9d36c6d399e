"""Plots for classifiers: the confusion matrix, the decision boundary, and how it changed during training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from dlcourse.plots.drawing import COLOURS, INK, Drawing, evenly_chosen


@dataclass
class DecisionMap:
    """A decision map over ``extent``: the predicted ``classes`` and their ``confidence`` (0 … 1), (side, side) each."""

    extent: tuple[float, float, float, float]
    classes: np.ndarray
    confidence: np.ndarray


def confusion(counts: np.ndarray, names: Sequence[str]) -> Drawing:
    """Counts by true class (down) and predicted class (across), shaded by their share of the true class."""
    n = len(names)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(counts / counts.sum(1, keepdims=True))
    short = [name if len(name) <= 16 else name[:15] + "…" for name in names]
    longest = 0.08 * max(map(len, short))
    upright = longest < max(0.34, 1.8 / n)
    side = min(5.0, max(2.0, 0.36 * n))  # inches of the matrix itself
    with Drawing("confusion", side + 0.6 + longest, side + (0.7 if upright else 0.6 + longest)) as drawing:
        axes = drawing.axes
        cell_style = {"edgecolors": "white", "lw": 0.6} if n <= 30 else {"rasterized": True}
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1.15, **cell_style)
        axes.grid(False)
        axes.set_frame_on(False)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        labelled = np.arange(0, n, max(1, n // 30))
        axes.set_xticks(labelled + 0.5, [short[k] for k in labelled], rotation=0 if upright else 90)
        axes.set_yticks(labelled + 0.5, [short[k] for k in labelled])
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for i, j in zip(*counts.nonzero(), strict=True) if n <= 30 else ():
            colour = "white" if share[i, j] > 0.55 else INK
            cell = {"ha": "center", "va": "center", "color": colour, "fontsize": 9 - n // 12}
            axes.text(j + 0.5, i + 0.5, str(counts[i, j]), **cell).set_in_layout(False)  # measured one by one otherwise
    return drawing


def boundary(regions: DecisionMap, x: np.ndarray, true: np.ndarray, wrong: np.ndarray, names: Sequence[str]) -> Drawing:
    """The plane in the colours of the predicted classes, paler where less confident; test samples (N, 2) on it."""
    palette = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(names))])
    n = len(names)
    confidence = ((regions.confidence[..., None] - 1 / n) / (1 - 1 / n)).clip(0, 1)
    with Drawing("boundary", 4.8, 3.8) as drawing:
        axes, chosen = drawing.axes, evenly_chosen(len(x))
        colours = 1 - (0.12 + 0.28 * confidence) * (1 - palette[regions.classes])
        axes.imshow(colours, extent=regions.extent, origin="lower", aspect="auto", interpolation="bilinear")
        edges = np.where(wrong[chosen, None], [[0.1, 0.1, 0.1, 1]], [[1, 1, 1, 0.8]])
        size = 14 if len(x) > 200 else 36
        axes.scatter(*x[chosen].T, c=palette[true[chosen]], s=size, edgecolors=edges, lw=0.6, rasterized=len(x) > 500)
        for k, name in enumerate(names if n <= 10 else ()):
            axes.scatter([], [], color=palette[k], s=20, label=name)
        axes.set_xlabel("x₁")
        axes.set_ylabel("x₂")
        axes.grid(False)
        if n <= 10:
            axes.legend(title="true class", loc="center left", bbox_to_anchor=(1, 0.5), alignment="left")
    return drawing


def boundary_over_epochs(maps: Sequence[dict[str, Any]], x: np.ndarray, true: np.ndarray) -> Drawing:
    """The predicted classes of the plane after some epochs, side by side, with samples (N, 2) on them."""
    palette = np.array([to_rgb(colour) for colour in COLOURS])
    chosen = evenly_chosen(len(x))
    with Drawing("moving", min(10.0, 1.9 * len(maps)), 2.1 * -(-len(maps) // 5)) as drawing:
        drawing.axes.remove()
        panels = drawing.figure.subplots(-(-len(maps) // 5), min(5, len(maps)), squeeze=False).flatten()
        for axes, each in zip(panels, maps, strict=False):
            classes = np.array([[int(c) for c in line] for line in each["classes"]])
            axes.imshow(1 - 0.4 * (1 - palette[classes]), extent=each["extent"], origin="lower", aspect="auto")
            axes.scatter(*x[chosen].T, c=palette[true[chosen]], s=2, lw=0, rasterized=True)
            axes.set_title(f"{each['epochs']} epoch{'s' * (each['epochs'] != 1)}", color=INK, fontsize=9)
        for axes in panels:
            axes.set_axis_off()
    return drawing
