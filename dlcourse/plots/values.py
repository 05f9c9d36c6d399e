"""Plots for regression: predicted against true values, residuals, a fitted curve."""

from typing import Any

import numpy as np

from dlcourse.plots.drawing import COLOURS, SOFT, Drawing, evenly_chosen, plottable

DASHED: dict[str, Any] = {"color": SOFT, "lw": 0.9, "ls": (0, (3, 3))}


def predicted_against_true(y: np.ndarray, a: np.ndarray) -> Drawing:
    """Predicted values a against true values y, (N, K) each, with the line a = y."""
    y, a = plottable(y), plottable(a)
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
    """A histogram of the residuals a − y."""
    error = plottable(a - y)
    with Drawing("residuals", 3.2, 3.0) as drawing:
        drawing.axes.hist(error[np.isfinite(error)], bins=30, color=COLOURS[0] + "b3", edgecolor="white", lw=0.6)
        drawing.axes.axvline(0, **DASHED)
        drawing.axes.set_xlabel("predicted − true")
        drawing.axes.set_ylabel("test samples")
        drawing.axes.grid(False, axis="x")
    return drawing


def fit(x: np.ndarray, y: np.ndarray, line: tuple[np.ndarray, np.ndarray]) -> Drawing:
    """Test samples x (N,), y (N, K) and the fitted curve."""
    with Drawing("fit", 3.2, 3.0) as drawing:
        _points(drawing.axes, np.repeat(x[:, None], y.shape[1], 1), y)
        for k, values in enumerate(plottable(line[1]).T):
            drawing.axes.plot(line[0], values, color=COLOURS[(k + 1) % len(COLOURS)], lw=2, label="model")
        drawing.axes.set_xlabel("x")
        drawing.axes.set_ylabel("y")
        drawing.axes.legend()
    return drawing


def _points(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    """Test samples, a colour for each of K outputs."""
    chosen = evenly_chosen(len(x))
    for k, (across, up) in enumerate(zip(x.T, y.T, strict=True)):
        label = "test samples" if x.shape[1] == 1 else f"output {k}"
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "s": 9, "lw": 0, "alpha": 0.45}
        axes.scatter(across[chosen], plottable(up)[chosen], label=label, rasterized=len(x) > 500, **look)
