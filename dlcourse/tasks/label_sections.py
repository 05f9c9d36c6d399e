"""Report sections of several labels: what each is found and missed in, and what its scores and probabilities say."""

from typing import Any

from torch import Tensor

from dlcourse.plots.section import Cell, Section, Table
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.probability_sections import Scores, precision_recall_f1, reliability_plot, score_section

COLUMNS = ["label", "training rows", "validation rows", "test rows", "precision", "recall", "F1"]


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    names, z = model.task.labels, predictions.z.double()
    rows = {stage: data.sets[stage].y > 0 for stage in ("train", "val", "test")}
    scores = Scores(
        names, (model.loss.output(z) if predictions.probabilities else z).numpy(), rows["test"].numpy(), "label"
    )
    found = [each_label(names, rows, predictions.z > 0)]
    if not predictions.probabilities:
        return found + score_section(scores, "Scores")
    weighted = model.loss.weights(z[:1]) is not None
    words = "probability of a label", "share of rows that have it"
    plot = reliability_plot(scores.score.ravel(), scores.there.ravel(), *words, weighted)
    return found + score_section(scores, "Scores and probabilities", plot)


def each_label(names: list[str], rows: dict[str, Tensor], called: Tensor) -> Section:
    """How many rows of each set have each label, its precision, recall and F1, and the commonest answers as yardstick.

    ``rows``: of each set which labels its rows have, (N, K); ``called``: the labels that test rows are called.
    """
    test = rows["test"]
    right = float((called == test).double().mean())
    usual = rows["train"].double().mean(0) > 0.5
    base = float((usual == test).double().mean())
    text = f"Of the test rows' labels {base:.1%} are as in most training rows. " + (
        f"Answering that always would be right as often as this model, in {right:.1%}, or more often."
        if right <= base
        else f"This model is right in {right:.1%}."
    )
    counts = {stage: there.sum(0).tolist() for stage, there in rows.items()}
    hits, asked = (called & test).sum(0).tolist(), called.sum(0).tolist()
    table = Table(COLUMNS, [])
    for k, name in enumerate(names):
        there = counts["test"][k]
        numbers = [Cell(counts[stage][k], f"{counts[stage][k]:,}") for stage in ("train", "val", "test")]
        table.rows.append([Cell(name, name), *numbers, *precision_recall_f1(hits[k], asked[k], there)])
    return Section("labels", "On the test set: each label", text, table=table)
