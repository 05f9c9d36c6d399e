"""Curves over the steps of training, and the loss on a plane."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import EngFormatter

from dlcourse.plots.drawing import COLOURS, INK, Drawing, evenly_chosen, plottable
from dlcourse.plots.values import DASHED

#: Lines by name: their steps and values, None where a value is not finite.
Series = Mapping[str, tuple[Sequence[int], Sequence[float | None]]]


def curves(series: Series, label: str, best: int | None, log: bool = False) -> Drawing:
    """Lines over training steps. ``best``: the step to mark; ``log``: use a logarithmic axis where it helps."""
    styles = {"train": (COLOURS[1], 1.6), "validation": (COLOURS[0], 1.6), "train, by step": (COLOURS[1] + "66", 0.9)}
    with Drawing(label, 3.2, 2.6) as drawing:
        axes = drawing.axes
        numbers = {key: (np.array(steps), plottable(values)) for key, (steps, values) in series.items()}
        for key, (steps, values) in numbers.items():
            colour, width = styles.get(key, (COLOURS[2], 1.6))
            chosen = evenly_chosen(len(steps))
            marker = "o" if len(steps) == 1 else None
            axes.plot(steps[chosen], values[chosen], color=colour, lw=width, label=key, marker=marker, markersize=3)
        finite = np.concatenate([values[np.isfinite(values)] for _, values in numbers.values()])
        if log and len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            label += " (log scale)"
        elif len(finite) and 0 < finite.min() == finite.max():
            axes.set_ylim(0, 2 * finite.max())
        if best is not None:
            axes.axvline(best, **DASHED, label="best")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 150k
        axes.set_xlabel("step")
        axes.set_title(label, loc="left", color=INK)
        if len(numbers) + (best is not None) > 1:
            axes.legend()
    return drawing


def landscape(coordinates: Sequence[float], loss: Sequence[Sequence[float]]) -> Drawing:
    """The loss on a plane around the trained weights, which are at its centre; contours at equal ratios."""
    with Drawing("landscape", 4.0, 3.4) as drawing:
        axes, heights = drawing.axes, np.log10(np.maximum(plottable(loss), 1e-12))
        contours = axes.contourf(coordinates, coordinates, heights, levels=24, cmap="Blues_r")
        axes.contour(coordinates, coordinates, heights, levels=12, colors="white", linewidths=0.5)
        axes.plot(0, 0, "o", ms=5, color=COLOURS[1])
        bar = drawing.figure.colorbar(contours, ax=axes)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{10**value:.2g}")
        axes.set_xlabel("α")
        axes.set_ylabel("β")
        axes.set_title("Loss (log scale)", loc="left", color=INK)
        axes.grid(False)
    return drawing
