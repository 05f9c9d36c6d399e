"""A sweep as one HTML page: the best trial, a leaderboard, what each parameter does, and what failed."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from dlcourse.config.claims import Verdict
from dlcourse.config.overrides import plain
from dlcourse.plots import comparison
from dlcourse.plots.comparison import Line
from dlcourse.plots.section import Figure, draw
from dlcourse.report.html import command, number, template
from dlcourse.runs.files import read_rows, series, write

LINES = 50  # of the leaderboard
LINES_DRAWN = 10  # groups of trials that a figure tells apart
SLICES = 8  # parameters that get a figure of their own
Row = dict[str, Any]


def build_sweep_report(
    folder: Path,
    rows: Sequence[Row],
    objectives: dict[str, str],
    words: Sequence[str],
    claim: tuple[str | None, Sequence[Verdict]] = (None, ()),
) -> Path:
    """Write FOLDER/report.html from the rows of sweep.jsonl; ``objectives`` maps figures to min or max.

    ``claim`` is what an experiment claims, and the verdicts on what it expects.
    A picture that fails is named in the page. OSError: the page cannot be written.
    """
    said, varied, parameters = said_of(rows)
    first, mode = next(iter(objectives.items()))
    sign = -1 if mode == "max" else 1
    done = [(row, each) for row, each in zip(rows, said, strict=True) if finite(row.get(first)) is not None]
    best = min((row for row, _ in done if row["status"] == "finished"), key=lambda row: sign * row[first], default=None)
    shown = [*objectives, *sorted({k for row, _ in done for k in row if k.startswith("test/")} - set(objectives))]
    board = leaderboard([*done], parameters, shown, sign, folder)
    page = template("sweep.html.j2").render(
        title=f"Sweep of {', '.join(parameters) or 'one trial'}",
        counts=Counter(row["status"] for row in rows),
        command=shlex.join(["python", "train.py", "-m", *words]),
        best=best
        and {
            "trial": best["trial"],
            "link": link(folder, best),
            "told": ", ".join(f"{name} {number(best[name])}" for name in shown if name in best),
            "command": command(best["words"]),
        },
        claim=claim[0],
        verdicts=claim[1],
        parameters=parameters,
        figures=shown,
        board=board[:LINES],
        left_out=max(0, len(board) - LINES),
        drawn=[*curves(folder, done, parameters, first), *drawn(done, parameters, objectives)],
        unfinished=[
            {**row, "link": link(folder, row), "own": " ".join(f"{k}={v}" for k, v in each.items() if k in varied)}
            for row, each in zip(rows, said, strict=True)
            if row["status"] != "finished"
        ],
    )
    write(folder / "report.html", page)
    return folder / "report.html"


def said_of(rows: Sequence[Row]) -> tuple[list[dict[str, str]], list[str], list[str]]:
    """The words of each trial by their keys, the keys in which trials differ, and those of them but the seed."""
    said = [dict(word.split("=", 1) for word in row["words"] if "=" in word) for row in rows]
    keys = dict.fromkeys(key for each in said for key in each)
    varied = [key for key in keys if len({each.get(key) for each in said}) > 1]
    return said, varied, [key for key in varied if key != "seed"] or varied


def finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def link(folder: Path, row: Row) -> str:
    """Where a trial is looked at: its page, or its folder."""
    return f"{row['run']}/report.html" if (folder / row["run"] / "report.html").exists() else f"{row['run']}/"


def leaderboard(
    done: Sequence[tuple[Row, dict[str, str]]],
    parameters: Sequence[str],
    figures: Sequence[str],
    sign: int,
    folder: Path,
) -> list[dict[str, Any]]:
    """A line for trials that agree in everything but the seed, the best mean first."""
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row, each in done:
        groups.setdefault(tuple(each.get(key) for key in parameters), []).append(row)

    def cell(rows: list[Row], key: str) -> str:
        values = [value for row in rows if (value := finite(row.get(key))) is not None]
        deviation = f" ± {number(stdev(values))}" if len(values) > 1 else ""
        return f"{number(mean(values))}{deviation}" if values else "–"

    ordered = sorted(groups.items(), key=lambda group: sign * mean(row[figures[0]] for row in group[1]))
    return [
        {
            "parameters": ["–" if value is None else number(plain(value)) for value in values],
            "figures": [cell(rows, key) for key in figures],
            "runs": [(row["trial"], link(folder, row)) for row in rows],
        }
        for values, rows in ordered
    ]


def curves(
    folder: Path, done: Sequence[tuple[Row, dict[str, str]]], parameters: Sequence[str], first: str
) -> list[Figure]:
    """The looked-for figure over the steps of training, and numbered measures: a line for trials but for the seed."""
    groups: dict[str, list[Row]] = {}
    for row, each in done:
        groups.setdefault(" ".join(each.get(key, "–") for key in parameters), []).append(row)
    if not 1 < len(groups) <= LINES_DRAWN:
        return []
    lines: dict[str, dict[str, Line]] = {}
    for name, rows in groups.items():
        theirs = [{first: by_steps(folder / row["run"], first), **series(row)} for row in rows]
        for key in dict.fromkeys(key for one in theirs for key, line in one.items() if line):
            lines.setdefault(key, {})[name] = mean_line([one[key] for one in theirs if key in one])
    by = f"By {', '.join(parameters)}{'; the mean over seeds' * any(len(rows) > 1 for rows in groups.values())}."
    return [
        draw(key, partial(comparison.line, lines[key], key, "step" if key == first else "layer"), by) for key in lines
    ]


def by_steps(run: Path, figure: str) -> Line:
    """A figure of a run by its steps."""
    return {row["step"]: row[figure] for row in read_rows(run / "metrics.jsonl") if finite(row.get(figure)) is not None}


def mean_line(lines: Sequence[Line]) -> Line:
    """The mean of lines, at the places that all of them have."""
    return {place: mean(line[place] for line in lines) for place in lines[0] if all(place in line for line in lines)}


def drawn(
    done: Sequence[tuple[Row, dict[str, str]]], parameters: Sequence[str], objectives: dict[str, str]
) -> list[Figure]:
    """The figures of trials that ended with a number."""
    if len(done) < 2:
        return []
    first, mode = next(iter(objectives.items()))
    values = [row[first] for row, _ in done]
    columns = {key: [plain(each[key]) if key in each else None for _, each in done] for key in parameters}
    numbers = [row["trial"] for row, _ in done]
    made = [
        draw(
            f"{first} by trial",
            lambda: comparison.history(numbers, values, first, mode),
            "Every trial that ended with a figure, and the best so far.",
        )
    ]
    if len(parameters) > 1:
        whole = [k for k in range(len(done)) if all(column[k] is not None for column in columns.values())]
        if len(whole) > 1:
            made.append(
                draw(
                    "Parallel coordinates",
                    lambda: comparison.parallel(columns, values, whole, first, mode),
                    "A line a trial through its parameters to its figure; the darker the better.",
                )
            )
        if len(whole) > 3 and len(set(values)) > 1:
            made.append(
                draw(
                    "Importance of parameters",
                    lambda: comparison.importance(columns, values, whole),
                    f"The share of the variance of {first} that each explains (fANOVA, Hutter et al. 2014).",
                )
            )
    for key in parameters[:SLICES]:
        made.append(
            draw(f"{first} by {key}", lambda key=key: comparison.piece(key, columns[key], values, first))  # type: ignore[misc]
        )
    if len(objectives) > 1:
        second = list(objectives)[1]
        made.append(
            draw(
                f"{first} and {second}",
                lambda: comparison.front([row for row, _ in done], objectives),
                "Both objectives; those that no other trial beats in both are joined.",
            )
        )
    return made
