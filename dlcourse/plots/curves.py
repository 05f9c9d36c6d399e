"""Curves over the steps of training, and the loss on a plane."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import EngFormatter

from dlcourse.plots.drawing import COLOURS, INK, Drawing, sane, thin
from dlcourse.plots.values import DASHED

#: Lines by name: their steps and values, None where a value is not finite.
Series = Mapping[str, tuple[Sequence[int], Sequence[float | None]]]


def curves(series: Series, label: str, best: int | None, log: bool = False) -> Drawing:
    """Lines over steps, the one of each step faint. ``best``: the step that is marked; ``log``: where it helps."""
    looks = {"train": (COLOURS[1], 1.6), "validation": (COLOURS[0], 1.6), "train, by step": (COLOURS[1] + "66", 0.9)}
    with Drawing(label, 3.2, 2.6) as drawing:
        axes = drawing.axes
        numbers = {key: (np.array(steps), sane(values)) for key, (steps, values) in series.items()}
        for key, (steps, values) in numbers.items():
            colour, width = looks.get(key, (COLOURS[2], 1.6))
            some = thin(len(steps))
            mark = "o" if len(steps) == 1 else None
            axes.plot(steps[some], values[some], color=colour, lw=width, label=key, marker=mark, markersize=3)
        known = np.concatenate([values[np.isfinite(values)] for _, values in numbers.values()])
        if log and len(known) and known.min() > 0 and known.max() > 30 * known.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            label += " (log scale)"
        elif len(known) and 0 < known.min() == known.max():
            axes.set_ylim(0, 2 * known.max())
        if best is not None:
            axes.axvline(best, **DASHED, label="best")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 150k
        axes.set_xlabel("step")
        axes.set_title(label, loc="left", color=INK)
        if len(numbers) + (best is not None) > 1:
            axes.legend()
    return drawing


def landscape(places: Sequence[float], loss: Sequence[Sequence[float]]) -> Drawing:
    """The loss on a plane around the weights, which are at its middle; lines of equal loss, the ratio the same."""
    with Drawing("landscape", 4.0, 3.4) as drawing:
        axes, heights = drawing.axes, np.log10(np.maximum(sane(loss), 1e-12))
        drawn = axes.contourf(places, places, heights, levels=24, cmap="Blues_r")
        axes.contour(places, places, heights, levels=12, colors="white", linewidths=0.5)
        axes.plot(0, 0, "o", ms=5, color=COLOURS[1])
        bar = drawing.figure.colorbar(drawn, ax=axes)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{10**value:.2g}")
        axes.set_xlabel("α")
        axes.set_ylabel("β")
        axes.set_title("Loss (log scale)", loc="left", color=INK)
        axes.grid(False)
    return drawing
