"""Drawings of values: predicted against true ones, residuals, a fitted curve."""

from typing import Any

import numpy as np

from dlcourse.plots.drawing import COLOURS, SOFT, Drawing, sane, thin

DASHED: dict[str, Any] = {"color": SOFT, "lw": 0.9, "ls": (0, (3, 3))}


def against(y: np.ndarray, a: np.ndarray) -> Drawing:
    """Predicted values a over true values y, (N, K) each, with the line on which they agree."""
    y, a = sane(y), sane(a)
    with Drawing("against", 3.2, 3.0) as drawing:
        axes = drawing.axes
        both = np.concatenate([y[np.isfinite(y)], a[np.isfinite(a)]])
        if len(both):
            axes.axline((both.mean(), both.mean()), slope=1, **DASHED)
        _points(axes, y, a)
        axes.set_xlabel("true value")
        axes.set_ylabel("predicted value")
    return drawing


def residuals(y: np.ndarray, a: np.ndarray) -> Drawing:
    """How often a − y, predicted less true, takes which value."""
    error = sane(a - y)
    with Drawing("residuals", 3.2, 3.0) as drawing:
        drawing.axes.hist(error[np.isfinite(error)], bins=30, color=COLOURS[0] + "b3", edgecolor="white", lw=0.6)
        drawing.axes.axvline(0, **DASHED)
        drawing.axes.set_xlabel("predicted − true")
        drawing.axes.set_ylabel("test rows")
        drawing.axes.grid(False, axis="x")
    return drawing


def fit(x: np.ndarray, y: np.ndarray, line: tuple[np.ndarray, np.ndarray]) -> Drawing:
    """Test points (N,), (N, K) and the fitted curve through them."""
    with Drawing("fit", 3.2, 3.0) as drawing:
        _points(drawing.axes, np.repeat(x[:, None], y.shape[1], 1), y)
        for k, values in enumerate(sane(line[1]).T):
            drawing.axes.plot(line[0], values, color=COLOURS[(k + 1) % len(COLOURS)], lw=2, label="model")
        drawing.axes.set_xlabel("x")
        drawing.axes.set_ylabel("y")
        drawing.axes.legend()
    return drawing


def _points(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Test rows, a colour for each of K outputs."""
    some = thin(len(x))
    for k, (across, up) in enumerate(zip(x.T, y.T, strict=True)):
        label = "test rows" if x.shape[1] == 1 else f"output {k}"
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "s": 9, "lw": 0, "alpha": 0.45}
        axes.scatter(across[some], sane(up)[some], label=label, rasterized=len(x) > 500, **look)
