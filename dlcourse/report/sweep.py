"""A sweep as one HTML page: the best trial, a leaderboard, the effect of each hyperparameter, failed trials."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from dlcourse.config.claims import Verdict
from dlcourse.config.overrides import number_or_text
from dlcourse.plots import comparison
from dlcourse.plots.comparison import Line
from dlcourse.plots.section import Plot, draw
from dlcourse.report.claim import claim_plots
from dlcourse.report.html import command, number, template
from dlcourse.runs.files import read_rows, series, write

LEADERBOARD_ROWS = 50  # rows of the leaderboard
MAX_LINES = 10  # most groups of trials in one plot
MAX_SLICES = 8  # hyperparameters with a plot of their own
REPEATS = ("seed", "data.fold")  # keys whose values repeat a trial, to be averaged over
Row = dict[str, Any]


def build_sweep_report(
    folder: Path,
    rows: Sequence[Row],
    objectives: dict[str, str],
    overrides_of_sweep: Sequence[str],
    claim: tuple[str | None, Sequence[Verdict]] = (None, ()),
) -> Path:
    """Write FOLDER/report.html from the rows of sweep.jsonl; ``objectives`` maps metrics to min or max.

    ``claim``: an experiment's claim, and the verdicts on its expectations.
    A plot that fails is named on the page. OSError: the page cannot be written.
    """
    overrides, varied, parameters = trial_overrides(rows)
    metric, mode = next(iter(objectives.items()))
    sign = -1 if mode == "max" else 1
    done = [(row, each) for row, each in zip(rows, overrides, strict=True) if finite(row.get(metric)) is not None]
    best = min(
        (row for row, _ in done if row["status"] == "finished"), key=lambda row: sign * row[metric], default=None
    )
    metrics_shown = [
        *objectives,
        *sorted({k for row, _ in done for k in row if k.startswith("test/")} - set(objectives)),
    ]
    board = leaderboard([*done], parameters, metrics_shown, sign, folder)
    page = template("sweep.html.j2").render(
        title=f"Sweep of {', '.join(parameters) or 'one trial'}",
        counts=Counter(row["status"] for row in rows),
        command=shlex.join(["python", "train.py", "-m", *overrides_of_sweep]),
        best=best
        and {
            "trial": best["trial"],
            "link": link(folder, best),
            "summary": ", ".join(f"{name} {number(best[name])}" for name in metrics_shown if name in best),
            "command": command(best["words"]),
        },
        claim=claim[0],
        verdicts=claim[1],
        parameters=parameters,
        metrics=metrics_shown,
        board=board[:LEADERBOARD_ROWS],
        left_out=max(0, len(board) - LEADERBOARD_ROWS),
        plots=[
            *claim_plots([verdict.expected for verdict in claim[1]], rows, overrides),
            *training_plots(folder, done, parameters, metric),
            *trial_plots(done, parameters, objectives),
        ],
        unfinished=[
            {**row, "link": link(folder, row), "own": " ".join(f"{k}={v}" for k, v in each.items() if k in varied)}
            for row, each in zip(rows, overrides, strict=True)
            if row["status"] != "finished"
        ],
    )
    write(folder / "report.html", page)
    return folder / "report.html"


def trial_overrides(rows: Sequence[Row]) -> tuple[list[dict[str, str]], list[str], list[str]]:
    """The overrides of each trial by key, the keys in which trials differ, and those that are not for repetition."""
    overrides = [dict(override.split("=", 1) for override in row["words"] if "=" in override) for row in rows]
    keys = dict.fromkeys(key for each in overrides for key in each)
    varied = [key for key in keys if len({each.get(key) for each in overrides}) > 1]
    compared = [key for key in varied if key not in REPEATS]
    return overrides, varied, compared or [key for key in varied if key == "seed"]


def finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def link(folder: Path, row: Row) -> str:
    """The link to a trial: its report, or its folder."""
    return f"{row['run']}/report.html" if (folder / row["run"] / "report.html").exists() else f"{row['run']}/"


def leaderboard(
    done: Sequence[tuple[Row, dict[str, str]]],
    parameters: Sequence[str],
    metrics: Sequence[str],
    sign: int,
    folder: Path,
) -> list[dict[str, Any]]:
    """A row for each group of trials that differ only in REPEATS, the best mean first."""
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row, each in done:
        groups.setdefault(tuple(each.get(key) for key in parameters), []).append(row)

    def cell(rows: list[Row], key: str) -> str:
        values = [value for row in rows if (value := finite(row.get(key))) is not None]
        deviation = f" ± {number(stdev(values))}" if len(values) > 1 else ""
        return f"{number(mean(values))}{deviation}" if values else "–"

    ordered = sorted(groups.items(), key=lambda group: sign * mean(row[metrics[0]] for row in group[1]))
    return [
        {
            "parameters": ["–" if value is None else number(number_or_text(value)) for value in values],
            "metrics": [cell(rows, key) for key in metrics],
            "runs": [(row["trial"], link(folder, row)) for row in rows],
        }
        for values, rows in ordered
    ]


def training_plots(
    folder: Path, done: Sequence[tuple[Row, dict[str, str]]], parameters: Sequence[str], metric: str
) -> list[Plot]:
    """The metric over training steps, and numbered measurements: a line for trials that differ only in REPEATS."""
    groups: dict[str, list[Row]] = {}
    for row, each in done:
        groups.setdefault(" ".join(each.get(key, "–") for key in parameters), []).append(row)
    if not 1 < len(groups) <= MAX_LINES:
        return []
    lines: dict[str, dict[str, Line]] = {}
    for name, rows in groups.items():
        run_lines = [{metric: metric_by_step(folder / row["run"], metric), **series(row)} for row in rows]
        for key in dict.fromkeys(key for one in run_lines for key, line in one.items() if line):
            lines.setdefault(key, {})[name] = mean_line([one[key] for one in run_lines if key in one])
    by = f"By {', '.join(parameters)}{'; the mean over seeds' * any(len(rows) > 1 for rows in groups.values())}."
    return [
        draw(key, partial(comparison.line, lines[key], key, "step" if key == metric else None), by) for key in lines
    ]


def metric_by_step(run: Path, metric: str) -> Line:
    """The finite values of a metric of a run by step."""
    return {row["step"]: row[metric] for row in read_rows(run / "metrics.jsonl") if finite(row.get(metric)) is not None}


def mean_line(lines: Sequence[Line]) -> Line:
    """The mean of several lines, at the positions that all of them have."""
    return {
        position: mean(line[position] for line in lines)
        for position in lines[0]
        if all(position in line for line in lines)
    }


def trial_plots(
    done: Sequence[tuple[Row, dict[str, str]]], parameters: Sequence[str], objectives: dict[str, str]
) -> list[Plot]:
    """Plots of the trials that have a metric."""
    if len(done) < 2:
        return []
    metric, mode = next(iter(objectives.items()))
    values = [row[metric] for row, _ in done]
    columns = {key: [number_or_text(each[key]) if key in each else None for _, each in done] for key in parameters}
    numbers = [row["trial"] for row, _ in done]
    plots = [
        draw(
            f"{metric} by trial",
            lambda: comparison.history(numbers, values, metric, mode),
            "Every trial that has this metric, and the best so far.",
        )
    ]
    if len(parameters) > 1:
        complete = [k for k in range(len(done)) if all(column[k] is not None for column in columns.values())]
        if len(complete) > 1:
            plots.append(
                draw(
                    "Parallel coordinates",
                    lambda: comparison.parallel(columns, values, complete, metric, mode),
                    "A line for each trial through its hyperparameters to the metric; darker is better.",
                )
            )
        if len(complete) > 3 and len(set(values)) > 1:
            plots.append(
                draw(
                    "Importance of hyperparameters",
                    lambda: comparison.importance(columns, values, complete),
                    f"The share of the variance of {metric} that each explains (fANOVA, Hutter et al. 2014).",
                )
            )
    for key in parameters[:MAX_SLICES]:
        plots.append(
            draw(f"{metric} by {key}", lambda key=key: comparison.slice_plot(key, columns[key], values, metric))  # type: ignore[misc]
        )
    if len(objectives) > 1:
        second = list(objectives)[1]
        plots.append(
            draw(
                f"{metric} and {second}",
                lambda: comparison.pareto_front([row for row, _ in done], objectives),
                "Both objectives; the line joins the trials that no other trial beats in both.",
            )
        )
    return plots
