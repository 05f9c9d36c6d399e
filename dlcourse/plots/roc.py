"""The receiver operating characteristic: what is found against what is raised in error."""

from collections.abc import Mapping
from typing import Any

from dlcourse.plots.drawing import COLOURS, FAINT, Drawing, evenly_chosen


def roc_curves(curves: Mapping[str, tuple[Any, Any]], across: str, up: str, width: float = 4.4) -> Drawing:
    """Curves by name, each two rows of shares in 0 … 1: of errors (across) and of what is found (up)."""
    with Drawing("roc", width, 3.4) as drawing:
        axes = drawing.axes
        axes.plot([0, 1], [0, 1], "--", color=FAINT, lw=0.8)
        for k, (name, (errors, found)) in enumerate(curves.items()):
            chosen = evenly_chosen(len(errors))
            axes.plot(errors[chosen], found[chosen], color=COLOURS[k % len(COLOURS)], label=name)
        axes.set_xlim(-0.01, 1)
        axes.set_ylim(0, 1.01)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.legend(loc="lower right")
    return drawing
