"""Plots of a sweep: its progress, and the effect of each hyperparameter on the metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import EngFormatter, NullFormatter

from dlcourse.plots.drawing import COLOURS, INK, SOFT, Drawing, plottable

Line = Mapping[int, float]  # value at each step or layer
LOG_RATIO = 100.0  # ratio of the ends above which an axis is logarithmic
MIN_TICK_DISTANCE = 0.06  # fraction of the axis: closer tick labels would overlap


def needs_log_scale(values: Sequence[Any]) -> bool:
    """Whether numbers are positive and spread so far that they need a logarithmic axis."""
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return len(numbers) == len(values) > 1 and min(numbers) > 0 and max(numbers) >= LOG_RATIO * min(numbers)


def axis_positions(values: Sequence[Any]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Positions of values on an axis from 0 to 1, and its ticks; text is evenly spaced, in alphabetical order."""
    numeric = all(isinstance(v, int | float) for v in values)
    distinct = sorted(set(values)) if numeric else sorted({str(v) for v in values})
    if not numeric or len(distinct) < 2:
        at = {value: k / max(1, len(distinct) - 1) for k, value in enumerate(distinct)}
        found = np.array([at[v if numeric else str(v)] for v in values], dtype=float)
        return found, [(position, f"{value:g}" if numeric else str(value)[:14]) for value, position in at.items()]
    scale = np.log10 if needs_log_scale(values) else np.asarray
    low, high = scale(distinct[0]), scale(distinct[-1])
    ticks = [(float((scale(value) - low) / (high - low)), f"{value:.3g}") for value in distinct]
    apart = all(b - a > MIN_TICK_DISTANCE for (a, _), (b, _) in zip(ticks, ticks[1:], strict=False))
    return (scale(np.array(values, dtype=float)) - low) / (high - low), ticks if apart else [ticks[0], ticks[-1]]


def use_log_scale(axes: Any, which: str) -> None:
    """Make axis ``which`` (x or y) logarithmic, with plain numbers."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def line(lines: Mapping[str, Line], name: str, across: str | None = None) -> Drawing:
    """A metric over steps, or over the numbers at the end of its names; a line for each group of runs.

    ``across``: what is counted; the layers of gradients, else the outputs that training, validation or test compare.
    """
    of_outputs = name.startswith(("train/", "val/", "test/"))
    across = across or ("layer" if name.endswith("gradient") else "output" if of_outputs else "number")
    with Drawing(f"line {name}", 3.6, 2.8) as drawing:
        axes = drawing.axes
        for k, (key, values) in enumerate(lines.items()):
            look = {"ms": 3.5 if len(values) < 30 else 0, "color": COLOURS[k % len(COLOURS)], "label": key}
            axes.plot([*values], plottable([*values.values()]), "o-", **look)
        all_values = [value for values in lines.values() for value in values.values()]
        if all_values and min(all_values) > 0 and max(all_values) > 30 * min(all_values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if across != "step":
            positions = sorted({position for values in lines.values() for position in values})
            if needs_log_scale(positions):
                use_log_scale(axes, "x")
            axes.set_xticks(positions)
        else:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 150k
        axes.set_xlabel(across)
        axes.set_title(name, loc="left", color=INK)
        if len(lines) > 1:
            axes.legend()
    return drawing


def arms(settings: Sequence[Any], key: str, metrics: Mapping[str, Sequence[float]]) -> Drawing:
    """Metrics of each trial by its setting of ``key``, with a line through the means of each metric."""
    at, ticks = axis_positions(settings)
    with Drawing(f"arms {' '.join(metrics)}", max(3.6, 0.5 * len(ticks)), 2.8) as drawing:
        axes = drawing.axes
        for k, (name, values) in enumerate(metrics.items()):
            colour, found = COLOURS[k % len(COLOURS)], plottable(values)
            axes.plot(at, found, "o", ms=4, color=colour + "99")
            places = np.unique(at)
            means = [float(np.mean(found[at == place])) for place in places]
            axes.plot(places, means, color=colour, lw=1.2, label=name)
        if needs_log_scale([float(v) for values in metrics.values() for v in plottable(values)]):
            use_log_scale(axes, "y")
        wide = sum(len(text) for _, text in ticks) > 40
        axes.set_xticks(*zip(*ticks, strict=True), **({"rotation": 30, "ha": "right"} if wide else {}))
        axes.margins(x=0.1)
        axes.set_xlabel(key)
        if len(metrics) > 1:  # the names may be too long for a title
            axes.legend()
        else:
            axes.set_title(*metrics, loc="left", color=INK)
    return drawing


def history(trials: Sequence[int], values: Sequence[float], name: str, mode: str) -> Drawing:
    """The metric of each trial, and the best so far."""
    with Drawing(f"history {name}", 4.4, 2.8) as drawing:
        axes, best = drawing.axes, np.minimum.accumulate if mode == "min" else np.maximum.accumulate
        order = np.argsort(trials)
        steps, found = np.array(trials)[order], plottable(values)[order]
        axes.plot(steps, found, "o", ms=4, color=COLOURS[0] + "99")
        axes.step(steps, best(found), where="post", color=COLOURS[1], label="best so far")
        if needs_log_scale([float(v) for v in found]):
            use_log_scale(axes, "y")
        axes.set_xlabel("trial")
        axes.set_title(name, loc="left", color=INK)
        axes.legend()
    return drawing


def parallel(
    columns: Mapping[str, Sequence[Any]], values: Sequence[float], rows: Sequence[int], name: str, mode: str
) -> Drawing:
    """Parallel coordinates: a line for each trial; better ones are darker and in front."""
    axes_of = {key: axis_positions([column[k] for k in rows]) for key, column in columns.items()}
    axes_of[name] = axis_positions([float(values[k]) for k in rows])
    rank = np.argsort(np.argsort([values[k] for k in rows])) / max(1, len(rows) - 1)
    good = 1 - rank if mode == "min" else rank
    with Drawing("parallel", max(4.4, 1.5 * len(axes_of)), 3.2) as drawing:
        axes, across = drawing.axes, np.arange(len(axes_of))
        lines = np.stack([found for found, _ in axes_of.values()], 1)
        for k in np.argsort(good):
            axes.plot(across, lines[k], color=colormaps["Blues"](0.25 + 0.75 * good[k]), lw=1.2, zorder=2 + good[k])
        for x, (_, ticks) in zip(across, axes_of.values(), strict=True):
            axes.axvline(x, color=SOFT, lw=0.8, zorder=1)
            for y, text in ticks:
                axes.text(x + 0.03, y, text, fontsize=7.5, color=INK, va="center", zorder=5)
        axes.set_xticks(across, list(axes_of))
        axes.set_yticks([])
        axes.grid(False)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(-0.1, len(axes_of) - 0.6)
    return drawing


def importance(columns: Mapping[str, Sequence[Any]], values: Sequence[float], rows: Sequence[int]) -> Drawing:
    """The share of the metric's variance that each hyperparameter explains."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    distributions: dict[str, BaseDistribution] = {}
    chosen = {key: [column[k] for k in rows] for key, column in columns.items()}
    for key, column in chosen.items():
        if all(isinstance(v, int | float) for v in column):
            distributions[key] = FloatDistribution(float(min(column)), float(max(column)), log=needs_log_scale(column))
            chosen[key] = [float(v) for v in column]
        else:
            chosen[key] = [str(v) for v in column]
            distributions[key] = CategoricalDistribution(sorted(set(chosen[key])))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for position, k in enumerate(rows):
        params = {key: column[position] for key, column in chosen.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=values[k]))
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    with Drawing("importance", 4.4, 0.9 + 0.32 * len(shares)) as drawing:
        axes = drawing.axes
        names = list(shares)[::-1]
        bars = axes.barh(names, [shares[key] for key in names], color=COLOURS[0])
        axes.bar_label(bars, fmt="%.2f", padding=3, color=SOFT, fontsize=8)
        axes.set_xlim(0, 1.1)
        axes.grid(axis="y")
    return drawing


def slice_plot(key: str, column: Sequence[Any], values: Sequence[float], name: str) -> Drawing:
    """The metric against one hyperparameter."""
    rows = [k for k, value in enumerate(column) if value is not None]
    settings, found = [column[k] for k in rows], plottable([values[k] for k in rows])
    with Drawing(f"piece {key}", 3.2, 2.6) as drawing:
        axes = drawing.axes
        if all(isinstance(v, int | float) for v in settings):
            axes.plot(settings, found, "o", ms=4, color=COLOURS[0] + "99")
            if needs_log_scale(settings):
                use_log_scale(axes, "x")
        else:
            at, ticks = axis_positions(settings)
            axes.plot(at, found, "o", ms=4, color=COLOURS[0] + "99")
            axes.set_xticks([position for position, _ in ticks], [text for _, text in ticks])
            axes.margins(x=0.15)
        if needs_log_scale([float(v) for v in found]):
            use_log_scale(axes, "y")
        axes.set_xlabel(key)
        axes.set_title(name, loc="left", color=INK)
    return drawing


def pareto_front(rows: Sequence[Mapping[str, Any]], objectives: Mapping[str, str]) -> Drawing:
    """Two objectives against each other, with the Pareto front."""
    (one, mode), (two, other) = list(objectives.items())[:2]
    signs = np.array([1 if m == "min" else -1 for m in (mode, other)])
    points = plottable([[row.get(one, np.nan), row.get(two, np.nan)] for row in rows])
    points = points[np.isfinite(points).all(1)]
    costs = points * signs
    undominated = [k for k, c in enumerate(costs) if not ((costs <= c).all(1) & (costs < c).any(1)).any()]
    best = points[sorted(undominated, key=lambda k: points[k, 0])]
    with Drawing("front", 4.4, 3.2) as drawing:
        axes = drawing.axes
        axes.plot(*points.T, "o", ms=4, color=COLOURS[0] + "99")
        axes.plot(*best.T, "o-", ms=5, color=COLOURS[1], label="Pareto front")
        axes.set_xlabel(one)
        axes.set_ylabel(two)
        axes.legend()
    return drawing
