"""A plot of an autoencoder's code of two units."""

from collections.abc import Sequence

import numpy as np

from dlcourse.plots.drawing import COLOURS, Drawing, evenly_chosen


def code_plane(code: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> Drawing:
    """Samples at their codes (N, 2), in the colours of their classes (N,)."""
    with Drawing("code", 4.8, 3.8) as drawing:
        axes, chosen = drawing.axes, evenly_chosen(len(code))
        points, numbers = code[chosen], classes[chosen]
        for k, name in enumerate(names):
            points_of_class = points[numbers == k]
            colour = COLOURS[k % len(COLOURS)]
            axes.scatter(
                points_of_class[:, 0],
                points_of_class[:, 1],
                s=8,
                lw=0,
                color=colour,
                label=name,
                rasterized=len(points) > 500,
            )
        axes.set_xlabel("code 1")
        axes.set_ylabel("code 2")
        if 1 < len(names) <= 10:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return drawing
