"""The style of the report's plots, and matplotlib's SVG made ready for an HTML page."""

import io
import re
import warnings
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ["#2f6db3", "#d9772b", "#3c9a6a", "#b8444f", "#7b5ea7", "#8c6d4f", "#d178a8", "#6f7b86", "#b5a02f", "#33a5b8"]
INK, SOFT, FAINT = "#1f2937", "#4b5563", "#8a919b"
POINTS = 2000  # more cannot be distinguished and make the page large
HUGE = 1e30  # larger values do not fit on an axis
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": "#e7eaee",
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $x$
    "figure.dpi": 72,
    "savefig.dpi": 150,
}


class Drawing:
    """A plot of w × h inches: ``with Drawing(…) as drawing:``, plot on ``drawing.axes``, then read ``svg``."""

    def __init__(self, name: str, w: float = 3.6, h: float = 2.7):
        self.name, self.width, self.height, self.svg = name, w, h, ""

    def __enter__(self) -> "Drawing":
        # The salt keeps the SVG ids unique within the page, and the page reproducible.
        self._style = matplotlib.rc_context({**STYLE, "svg.hashsalt": self.name})
        self._style.__enter__()
        self.figure = Figure(figsize=(self.width, self.height), layout="constrained")
        self.axes: Any = self.figure.add_subplot()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self.svg = self._draw()
        finally:
            self._style.__exit__(*error)

    def _draw(self) -> str:
        out = io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the browser's fonts have the glyphs that this one lacks
            FigureCanvasSVG(self.figure).print_svg(out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        svg = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r'<g id="\w+_\d+">', "<g>", svg)  # not unique in a page with several plots
        svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'Segoe UI', Arial, sans-serif", svg)
        return re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"| version="1.1"', "", svg, count=3)


def plottable(values: Any) -> np.ndarray:
    """Values with those too large for an axis replaced by NaN, which leaves a gap."""
    array = np.array(values, dtype=float)
    return np.where(np.abs(array) < HUGE, array, np.nan)


def evenly_chosen(count: int) -> slice | np.ndarray:
    """At most POINTS of ``count`` positions, evenly spaced."""
    return slice(None) if count <= POINTS else np.linspace(0, count - 1, POINTS).astype(int)
