"""Plots of the quantities that a claim speaks of, in the trials of its study."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from dlcourse.config.claims import Expectation
from dlcourse.config.overrides import number_or_text
from dlcourse.plots import comparison
from dlcourse.plots.section import Plot, draw

MAX_PLOTS = 3


def claim_plots(
    expect: Sequence[Any], rows: Sequence[dict[str, Any]], overrides: Sequence[dict[str, str]]
) -> list[Plot]:
    """A plot for each group of metrics that the expectations compare, by the settings that they tell apart.

    ``rows``: the metrics of the trials; ``overrides``: those of each, by key.
    """
    plots = []
    for names, keys in compared(expect)[:MAX_PLOTS]:
        shown = [(row, each) for row, each in zip(rows, overrides, strict=True) if _has(row, names)]
        keys = keys or ["seed"]
        if not shown or all(key not in each for _, each in shown for key in keys):
            continue
        settings: list[Any] = [" ".join(each.get(key, "–") for key in keys) for _, each in shown]
        if len(keys) == 1:
            settings = [number_or_text(setting) for setting in settings]
        metrics = {name: [float(row[name]) for row, _ in shown] for name in names}
        caption = f"{', '.join(names)} of each run, by {', '.join(keys)}; the line joins the means over seeds."
        plots.append(draw(", ".join(names), partial(comparison.arms, settings, ", ".join(keys), metrics), caption))
    return plots


def compared(expect: Sequence[Any]) -> list[tuple[list[str], list[str]]]:
    """The metrics that belong together since an expectation compares them, and the keys that tell the runs apart."""
    groups: list[tuple[dict[str, None], dict[str, None]]] = []
    for text in expect:
        metrics = Expectation(text).metrics
        names = dict.fromkeys(name for name, _ in metrics)
        keys = dict.fromkeys(word.partition("=")[0] for _, words in metrics for word in words)
        for group in [group for group in groups[::-1] if group[0].keys() & names.keys()]:
            groups.remove(group)
            names, keys = group[0] | names, group[1] | keys
        groups.append((names, keys))
    return [([*names], [*keys]) for names, keys in groups]


def _has(row: dict[str, Any], names: Sequence[str]) -> bool:
    return all(isinstance(row.get(name), int | float) for name in names)
