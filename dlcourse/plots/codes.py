"""Drawings of codes: the plane that two units span."""

from collections.abc import Sequence

import numpy as np

from dlcourse.plots.drawing import COLOURS, Drawing, thin


def plane(code: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> Drawing:
    """Rows at the places (N, 2) of their codes, in the colours of their classes (N,)."""
    with Drawing("code", 4.8, 3.8) as drawing:
        axes, some = drawing.axes, thin(len(code))
        places, numbers = code[some], classes[some]
        for k, name in enumerate(names):
            rows = places[numbers == k]
            colour = COLOURS[k % len(COLOURS)]
            axes.scatter(rows[:, 0], rows[:, 1], s=8, lw=0, color=colour, label=name, rasterized=len(places) > 500)
        axes.set_xlabel("code 1")
        axes.set_ylabel("code 2")
        if 1 < len(names) <= 10:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return drawing
