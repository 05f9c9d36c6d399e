"""Plots of scores and probabilities: precision against recall, and probability against frequency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcourse.plots.drawing import COLOURS, FAINT, Drawing, evenly_chosen

WIDTH = 3.2  # of a plot, inches: three of them side by side


def precision_recall_curves(curves: Mapping[str, tuple[Any, Any]], base: float | None) -> Drawing:
    """Curves by name: recall (across) and precision (up), shares in 0 … 1; ``base``: the precision of chance."""
    with Drawing("precision_recall", WIDTH, 3.4) as drawing:
        axes = drawing.axes
        if base is not None:
            axes.axhline(base, ls="--", color=FAINT, lw=0.8)
        for k, (name, (recall, precision)) in enumerate(curves.items()):
            chosen = evenly_chosen(len(recall))
            look = {"color": COLOURS[k % len(COLOURS)], "drawstyle": "steps-post", "label": name}
            axes.plot(recall[chosen], precision[chosen], **look)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: share that is found")
        axes.set_ylabel("precision: share of the found that is right")
        axes.legend(loc="lower left")
    return drawing


def reliability(bins: Sequence[tuple[float, float, int]], across: str, up: str) -> Drawing:
    """Bins of rows: their mean probability, the share in which it came true, and how many they are, by area."""
    with Drawing("reliability", WIDTH, 3.4) as drawing:
        axes = drawing.axes
        axes.plot([0, 1], [0, 1], "--", color=FAINT, lw=0.8)
        mean, share, count = (np.array(column) for column in zip(*bins, strict=True))
        axes.plot(mean, share, color=COLOURS[0], lw=1.2)
        axes.scatter(mean, share, s=12 + 160 * count / count.sum(), color=COLOURS[0], lw=0, zorder=3)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    return drawing
