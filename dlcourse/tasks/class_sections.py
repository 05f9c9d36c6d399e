"""Report sections of a classifier: confusion matrix, decision boundary and worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.plots import classes as plots
from dlcourse.plots.pictures import data_uri, is_film, is_picture, moving, picture, stacked, value_range
from dlcourse.plots.section import Cell, Picture, Plot, Section, Table, draw
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.predictions import forward_batches, grid
from dlcourse.tasks.probability_sections import Scores, precision_recall_f1, reliability_plot, score_section

GRID = 160  # points along each side of a decision map
PICTURES = 20  # of the worst mistakes
ROWS = 10  # of them where they are numbers
INPUTS = 8  # of a row that is no picture
FILMS = 8  # that are shown
COLUMNS = ["class", "training rows", "validation rows", "test rows", "precision", "recall", "F1"]


@dataclass
class Classified:
    """Test samples with true and predicted class (N,), and scores for each class (N, C)."""

    x: Tensor
    true: Tensor
    predicted: Tensor
    score: Tensor
    z: Tensor
    names: Sequence[str]

    def confusion(self) -> np.ndarray:
        """Rows of the test set counted by true class (down) and predicted class (across), (C, C)."""
        n = len(self.names)
        return torch.bincount(self.true * n + self.predicted, minlength=n * n).reshape(n, n).numpy()

    def worst(self, limit: int) -> list[int]:
        """Misclassified samples, worst first, by z of the predicted class minus z of the true one."""
        z = (self.z if self.z.shape[1] > 1 else torch.cat([-self.z, self.z], 1)).double()
        rows = torch.arange(len(z))
        lead = z[rows, self.predicted] - z[rows, self.true]
        wrong = (self.predicted != self.true).nonzero()[:, 0]
        order = lead[wrong].nan_to_num(nan=torch.inf).argsort(descending=True, stable=True)
        return wrong[order[:limit]].tolist()


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    """The confusion matrix, the regions of points in the plane, the worst mistakes, and each class."""
    task, test = model.task, data.sets["test"]
    found = Classified(
        test.x, test.y, task.predicted_class(predictions.z), task.scores(predictions), predictions.z, list(task.classes)
    )
    return [
        Section(
            "test",
            "On the test set",
            plots=class_plots(model, found, predictions.probabilities),
            classes=(found.names, found.true.tolist(), found.predicted.tolist()),
        ),
        mistakes(found, data, predictions.probabilities),
        each_class(found, data.sets["train"].y, data.sets["val"].y),
        *of_scores(model, found, predictions.probabilities, data.sets["train"].y),
    ]


def each_class(found: Classified, y_train: Tensor, y_val: Tensor) -> Section:
    """How many rows each class has, its precision, recall and F1, and what always answering the commonest would give.

    Precision: the share of a class's answers that are right; recall: the share of its rows that are found; F1: their
    harmonic mean, 2PR/(P + R).
    """
    counts = found.confusion()
    trained, validated = (torch.bincount(y.long(), minlength=len(found.names)) for y in (y_train, y_val))
    usual = int(trained.argmax())
    right, base = counts.trace() / counts.sum(), counts[usual].sum() / counts.sum()
    text = f"The commonest class in training, {found.names[usual]}, is {base:.1%} of the test rows. " + (
        f"Answering it always would be right as often as this model, in {right:.1%}, or more often."
        if right <= base
        else f"This model is right in {right:.1%}."
    )
    section = Section("classes", "Each class", text)
    section.table = Table(COLUMNS, [])
    for k, name in enumerate(found.names):
        hits, asked, there = counts[k, k], counts[:, k].sum(), counts[k].sum()
        shares = precision_recall_f1(int(hits), int(asked), int(there))
        rows = [Cell(int(n), f"{n:,}") for n in (trained[k], validated[k], there)]
        section.table.rows.append([Cell(name, name), *rows, *shares])
    return section


def class_plots(model: Any, found: Classified, probabilities: bool) -> list[Any]:
    counts = found.confusion()
    wrong = int(counts.sum() - counts.trace())
    caption = f"{wrong:,} of {counts.sum():,} test rows are wrong. Shaded by the share of the true class."
    drawn = [draw("Confusion matrix", partial(plots.confusion, counts, found.names), caption)]
    if is_film(found.x.shape[1:]):
        drawn += films(found)
    if tuple(found.x.shape[1:]) == (2,):
        paler = ", paler where the model is less sure" if probabilities else ""
        caption = f"Test rows on the regions of the predicted classes{paler}; a dark rim marks a mistake."
        drawn.append(draw("Decision boundary", partial(boundary, model, found), caption))
    return drawn


def films(found: Classified) -> list[Plot]:
    """The first test samples, moving and with their frames side by side."""
    chosen = range(min(FILMS, len(found.x)))
    low, high = value_range(found.x, chosen)
    first = found.x[: len(chosen)]
    named = "; ".join(f"{found.names[int(found.true[k])]}: {found.names[int(found.predicted[k])]}" for k in chosen)
    return [
        Plot("Test films", f"Each film's true class and the predicted one: {named}.", uri=moving(first, low, high)),
        Plot("Their frames", "A film a line.", uri=data_uri(stacked([*first.transpose(1, 2)], low, high))),
    ]


def of_scores(model: Any, found: Classified, probabilities: bool, y_train: Tensor) -> list[Section]:
    """What thresholds find: of two classes that with fewer training rows, of several each against the rest."""
    z = found.z.double()
    score = model.task.scores(Predictions(z, model.loss.output(z), probabilities)).nan_to_num().numpy()
    there = found.true.numpy()[:, None] == np.arange(len(found.names))
    if len(found.names) == 2:
        counts = torch.bincount(y_train.long(), minlength=2)
        k = int(counts[1] <= counts[0])
        name = found.names[k]
        scores = Scores([name], score[:, [k]], there[:, [k]], rest=found.names[1 - k])
        judged = score[:, k], there[:, k], f"probability of {name}", f"share that is {name}"
    else:
        scores = Scores(found.names, score, there)
        right = (found.predicted == found.true).numpy()
        judged = score.max(1), right, "probability of the predicted class", "share that is right"
    if not probabilities:
        return score_section(scores, "Scores")
    plot = reliability_plot(*judged, weighted=model.loss.weights(z[:1]) is not None)
    return score_section(scores, "Scores and probabilities", plot)


def boundary(model: Any, found: Classified) -> Any:
    wrong = (found.true != found.predicted).numpy()
    return plots.boundary(decision_map(model, found.x), found.x.numpy(), found.true.numpy(), wrong, found.names)


def decision_map(model: Any, x: Tensor) -> plots.DecisionMap:
    """The model's prediction on a grid around x (N, 2)."""
    places, extent = grid(x, GRID)
    there = forward_batches(model, places)
    classes = model.task.predicted_class(there.z)
    score = model.task.scores(there).amax(1).nan_to_num(0).clamp(0, 1)
    sure = score if there.probabilities else torch.ones(len(classes))
    return plots.DecisionMap(extent, classes.reshape(GRID, GRID).numpy(), sure.reshape(GRID, GRID).numpy())


def mistakes(found: Classified, data: Any, probabilities: bool) -> Section:
    """The worst mistakes on the test set, as pictures or numbers, with the scores of both classes."""
    pictures = is_picture(data.shape)
    rows = found.worst(PICTURES if pictures else ROWS)
    kind = "probability" if probabilities else "score"
    if not rows:
        return Section("mistakes", "Worst mistakes", f"None: every one of the {len(found.x)} test rows is right.")
    text = (
        "The wrong test rows with the largest lead of the predicted class over the true one, worst first, each with "
        f"the model's {kind} of both classes."
    )
    digits = "{:.3f}" if probabilities else "{:.3g}"
    low, high = value_range(found.x, rows) if pictures else (0.0, 1.0)
    tabular = not pictures and not is_film(data.shape)
    names = input_names(data, found.x[0].numel())[:INPUTS] if tabular else []
    section = Section("mistakes", "Worst mistakes", text)
    section.table = Table(["row", "true", f"true {kind}", "predicted", f"predicted {kind}", *names], [])
    for row in rows:
        classes = [int(found.true[row]), int(found.predicted[row])]
        true, predicted = (found.names[k] for k in classes)
        true_score, score = (float(found.score[row, k]) for k in classes)
        true_shown, shown = (digits.format(value) for value in (true_score, score))
        values = found.x[row].flatten()[:INPUTS].tolist() if tabular else []
        section.table.rows.append(
            [
                Cell(row, str(row)),
                Cell(true, true, "right"),
                Cell(true_score, true_shown),
                Cell(predicted, predicted, "wrong"),
                Cell(score, shown),
                *(Cell(value, f"{value:.4g}") for value in values),
            ]
        )
        if pictures:
            image = picture(found.x[row], low, high)
            alt = f"Test row {row}: true class {true}, predicted {predicted}"
            lines = [(f"true {true} · {true_shown}", "right"), (f"predicted {predicted} · {shown}", "wrong")]
            section.pictures.append(Picture(image, data_uri(image), alt, lines))
    return section


def input_names(data: Any, count: int) -> list[str]:
    """A name for each input: a table's columns where they are known, else x1, x2, …"""
    names = []
    for column in getattr(data, "columns", None) or []:
        words: Sequence[str] = column.get("vocabulary") or [""]
        names += [f"{column['name']}={word}" if word else str(column["name"]) for word in words]
        waves = [f"{wave} of the {part}" for part in column.get("parts", ()) for wave in ("sine", "cosine")]
        names += [f"{column['name']}, {wave}" for wave in waves]
        names += [f"{column['name']} missing"] * bool(column.get("indicator"))
    return names if len(names) == count else [f"x{k}" for k in range(1, count + 1)]
