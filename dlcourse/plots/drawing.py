"""The look of the report's figures, and how matplotlib's SVG comes to stand in a page."""

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
POINTS = 2000  # more are not told apart, and make the page heavy
HUGE = 1e30  # beyond it an axis has no room
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
    """A figure with one set of axes, w × h inches: ``with Drawing(…) as drawing:`` draw on its axes, then ``svg``."""

    def __init__(self, name: str, w: float = 3.6, h: float = 2.7):
        self.name, self.width, self.height, self.svg = name, w, h, ""

    def __enter__(self) -> "Drawing":
        # The salt keeps the marks of this figure apart from those of the others in the page, and the page the same.
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
            warnings.simplefilter("ignore")  # a glyph that this font lacks is drawn by the browser's
            FigureCanvasSVG(self.figure).print_svg(out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        svg = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r'<g id="\w+_\d+">', "<g>", svg)  # not unique in a page of several figures
        svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'Segoe UI', Arial, sans-serif", svg)
        return re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"| version="1.1"', "", svg, count=3)


def sane(values: Any) -> np.ndarray:
    """Numbers that an axis can hold; the others become gaps."""
    array = np.array(values, dtype=float)
    return np.where(np.abs(array) < HUGE, array, np.nan)


def thin(count: int) -> slice | np.ndarray:
    """At most POINTS of ``count`` places, evenly."""
    return slice(None) if count <= POINTS else np.linspace(0, count - 1, POINTS).astype(int)
