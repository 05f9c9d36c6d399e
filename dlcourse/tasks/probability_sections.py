"""Report section on scores and probabilities: what each threshold finds, and whether a probability comes true."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dlcourse.plots import probabilities as plots
from dlcourse.plots.roc import roc_curves
from dlcourse.plots.section import Cell, Plot, Section, Table, draw

BINS = 10  # of probabilities, of equal width
MOST = 10  # classes or labels in one plot


class Scores(NamedTuple):
    """The score (N, K) of each of K classes or labels by name, and whether it is there (N, K).

    ``what``: a class or a label; ``rest``: what the rows without it are called.
    """

    names: Sequence[str]
    score: np.ndarray
    there: np.ndarray
    what: str = "class"
    rest: str = "all other rows"


class Bin(NamedTuple):
    """Rows of similar probability: its mean, the share in which it came true, and their number."""

    mean: float
    share: float
    rows: int


def reliability(p: np.ndarray, true: np.ndarray) -> list[Bin]:
    """Probabilities p (M,) in bins of equal width, each compared with how often it came true (M,); none is empty."""
    of = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], p)
    return [Bin(float(p[of == k].mean()), float(true[of == k].mean()), int((of == k).sum())) for k in np.unique(of)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: Σ over bins of their share of the rows · |mean probability − share that is true|.

    Lecture: applications. Naeini et al. (2015).
    """
    total = sum(each.rows for each in bins)
    return sum(each.rows / total * abs(each.mean - each.share) for each in bins)


def score_section(found: Scores, title: str, plot: Plot | None = None) -> list[Section]:
    """ROC and precision against recall, of up to ten classes or labels; nothing where the test rows are all alike.

    ``plot``: one more, of how reliable the probabilities are.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    rows = found.there.sum(0)
    both = [k for k in np.argsort(-rows, kind="stable") if 0 < rows[k] < len(found.there)]
    shown = sorted(both[:MOST])
    if not shown:
        return [Section("scores", title, plots=[plot])] if plot else []
    errors, precision = {}, {}
    table = Table([found.what, "share of the test rows", "ROC AUC", "average precision"], [])
    at_chance = []
    for k in shown:
        name, there, score = found.names[k], found.there[:, k], np.nan_to_num(found.score[:, k])
        area, average, share = roc_auc_score(there, score), average_precision_score(there, score), there.mean()
        across, up, _ = roc_curve(there, score, drop_intermediate=False)
        errors[f"{short(name)}: AUC {area:.4f}"] = across, up
        p, r, _ = precision_recall_curve(there, score)
        precision[f"{short(name)}: AP {average:.4f}"] = r, p
        cells = [Cell(float(value), f"{value:.3f}") for value in (share, area, average)]
        table.rows.append([Cell(name, name), *cells])
        if area <= 0.5:
            at_chance.append(name)
    only = len(shown) == 1
    name, rest = (found.names[shown[0]], found.rest) if only else (f"the {found.what}", found.rest)
    base = float(found.there[:, shown[0]].mean()) if only else None
    text = f"Of {len(both)}, the {MOST} with the most test rows. " if len(both) > MOST else ""
    text += f"No better than chance: {', '.join(at_chance)}." if at_chance else ""
    words = f"share of {rest} called {name}", f"share of {name} found"
    chance = f"; by chance {name} would be right in {base:.1%}, the dashed line" if base is not None else ""
    drawn = [
        draw(
            "ROC",
            partial(roc_curves, errors, *words, plots.WIDTH),
            "Over all thresholds of the score; the diagonal is chance.",
        ),
        draw(
            "Precision and recall",
            partial(plots.precision_recall_curves, precision, base),
            f"Over all thresholds{chance}. AP: the average precision.",
        ),
    ]
    return [Section("scores", title, text.strip(), plots=[*drawn, *([plot] if plot else [])], table=table)]


def reliability_plot(p: np.ndarray, true: np.ndarray, across: str, up: str, weighted: bool) -> Plot:
    """Probability against frequency, with the expected calibration error; ``weighted``: the loss weighs classes."""
    bins = reliability(np.nan_to_num(p).clip(0, 1), true)
    caution = (
        " The loss weighs classes, so these are not the probabilities of the rows as they come." if weighted else ""
    )
    caption = (
        f"Expected calibration error {calibration_error(bins):.3f}, in {BINS} bins of equal width; a point's area is "
        f"its share of {len(p):,}. On the diagonal probabilities come true.{caution}"
    )
    return draw("Reliability of the probabilities", partial(plots.reliability, bins, across, up), caption)


def precision_recall_f1(hits: int, called: int, there: int) -> list[Cell]:
    """hits/called, hits/there and 2·hits/(called + there); – where nothing is divided by."""
    parts = [(hits, called), (hits, there), (2 * hits, called + there)]
    return [Cell(None, "–") if not of else Cell(share / of, f"{share / of:.3f}") for share, of in parts]


def short(name: Any) -> str:
    """A name that fits into a legend."""
    text = str(name)
    return text if len(text) <= 24 else text[:23] + "…"
