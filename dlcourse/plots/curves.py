"""Figures of the report: curves, and what suits the task of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ticker import EngFormatter

from dlcourse.plots.drawing import COLOURS, INK, SOFT, Drawing, sane, thin
from dlcourse.report.predictions import Map

#: Lines by name: their steps and values, None where a value is not finite.
Series = Mapping[str, tuple[Sequence[int], Sequence[float | None]]]
DASHED: dict[str, Any] = {"color": SOFT, "lw": 0.9, "ls": (0, (3, 3))}


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


def confusion(counts: np.ndarray, names: Sequence[str]) -> Drawing:
    """Counts by true class (down) and predicted class (across), shaded by their share of the true class."""
    n = len(names)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(counts / counts.sum(1, keepdims=True))
    short = [name if len(name) <= 16 else name[:15] + "…" for name in names]
    longest = 0.08 * max(map(len, short))
    upright = longest < max(0.34, 1.8 / n)
    side = min(5.0, max(2.0, 0.36 * n))  # inches of the matrix itself
    with Drawing("confusion", side + 0.6 + longest, side + (0.7 if upright else 0.6 + longest)) as drawing:
        axes = drawing.axes
        lines = {"edgecolors": "white", "lw": 0.6} if n <= 30 else {"rasterized": True}
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1.15, **lines)
        axes.grid(False)
        axes.set_frame_on(False)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        places = np.arange(0, n, max(1, n // 30))
        axes.set_xticks(places + 0.5, [short[k] for k in places], rotation=0 if upright else 90)
        axes.set_yticks(places + 0.5, [short[k] for k in places])
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for i, j in zip(*counts.nonzero(), strict=True) if n <= 30 else ():
            colour = "white" if share[i, j] > 0.55 else INK
            axes.text(j + 0.5, i + 0.5, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=9 - n // 12)
    return drawing


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


def boundary(regions: Map, x: np.ndarray, true: np.ndarray, wrong: np.ndarray, names: Sequence[str]) -> Drawing:
    """The plane (N, 2) in the colours of the predicted classes, paler where less sure; the test points on it."""
    palette = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(names))])
    n = len(names)
    sure = ((regions.sure[..., None] - 1 / n) / (1 - 1 / n)).clip(0, 1)
    with Drawing("boundary", 4.8, 3.8) as drawing:
        axes, some = drawing.axes, thin(len(x))
        colours = 1 - (0.12 + 0.28 * sure) * (1 - palette[regions.classes])
        axes.imshow(colours, extent=regions.extent, origin="lower", aspect="auto", interpolation="bilinear")
        edges = np.where(wrong[some, None], [[0.1, 0.1, 0.1, 1]], [[1, 1, 1, 0.8]])
        size = 14 if len(x) > 200 else 36
        axes.scatter(*x[some].T, c=palette[true[some]], s=size, edgecolors=edges, lw=0.6, rasterized=len(x) > 500)
        for k, name in enumerate(names if n <= 10 else ()):
            axes.scatter([], [], color=palette[k], s=20, label=name)
        axes.set_xlabel("x₁")
        axes.set_ylabel("x₂")
        axes.grid(False)
        if n <= 10:
            axes.legend(title="true class", loc="center left", bbox_to_anchor=(1, 0.5), alignment="left")
    return drawing


def moving(maps: Sequence[dict[str, Any]], x: np.ndarray, true: np.ndarray) -> Drawing:
    """The plane's classes after some epochs, side by side, with the rows (N, 2) on them."""
    palette = np.array([to_rgb(colour) for colour in COLOURS])
    some = thin(len(x))
    with Drawing("moving", min(10.0, 1.9 * len(maps)), 2.1 * -(-len(maps) // 5)) as drawing:
        drawing.axes.remove()
        panels = drawing.figure.subplots(-(-len(maps) // 5), min(5, len(maps)), squeeze=False).flatten()
        for axes, one in zip(panels, maps, strict=False):
            classes = np.array([[int(c) for c in line] for line in one["classes"]])
            axes.imshow(1 - 0.4 * (1 - palette[classes]), extent=one["extent"], origin="lower", aspect="auto")
            axes.scatter(*x[some].T, c=palette[true[some]], s=2, lw=0, rasterized=True)
            axes.set_title(f"{one['epochs']} epoch{'s' * (one['epochs'] != 1)}", color=INK, fontsize=9)
        for axes in panels:
            axes.set_axis_off()
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
