"""Report sections of codes: their plane, the ROC of pairs, and the pairs that are told worst."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from dlcourse.pairs import Pairs, Roc, all_pairs, roc
from dlcourse.plots.codes import code_plane
from dlcourse.plots.pictures import data_uri, is_picture, picture, value_range
from dlcourse.plots.roc import roc_curves
from dlcourse.plots.section import Cell, Picture, Plot, Section, Table, draw
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.predictions import forward_batches

SHOWN = 8  # pairs of each kind
GAP = 2  # pixels between the two pictures of a pair


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    """The codes in the plane, the ROC of pairs of the test and of the validation set, and the worst pairs."""
    test, val = data.sets["test"], data.sets["val"]
    found = predictions.a[:: model.task.versions]  # the samples as they are
    pairs = all_pairs(found, test.y)
    curves = {"test": roc(pairs), "validation": roc(all_pairs(forward_batches(model, val.x).a, val.y))}
    section = Section("test", "On the test set", plots=[plane(data, found), roc_plot(data, curves)])
    return [section, worst_pairs(data, pairs)]


def roc_plot(data: Any, curves: dict[str, Roc]) -> Plot:
    """Both curves, and which classes each is of."""
    seen = set(data.sets["train"].y.unique().tolist())
    new_in_test = not set(data.sets["test"].y.unique().tolist()) & seen
    names = {}
    for stage, found in curves.items():
        new = "new classes" if new_in_test and stage == "test" else "classes of the training"
        names[f"{stage} set, {new}: AUC {found.auc:.3f}"] = (found.false_accepts, found.true_accepts)
    caption = "All pairs of two samples, accepted as of one class from some cosine of their codes on. " + "; ".join(
        f"{stage}: equal error rate {found.eer:.1%}" for stage, found in curves.items()
    )
    words = "pairs of two classes accepted", "pairs of one class accepted"
    return draw("ROC of pairs", partial(roc_curves, names, *words), f"{caption}.")


def plane(data: Any, codes: Tensor) -> Plot:
    """The codes of the test samples in two dimensions, in the colours of their classes."""
    y, caption = data.sets["test"].y, "The code of each test sample, of length 1."
    if codes.shape[1] > 2:
        centred = (codes - codes.mean(0)).double()
        _, s, axes = torch.linalg.svd(centred, full_matrices=False)
        share = float(s[:2].square().sum() / s.square().sum())
        codes = centred @ axes[:2].T
        caption = f"The codes of the test samples on their first two principal components, {share:.0%} of the variance."
    there, numbers = y.unique(return_inverse=True)
    names = [str(data.classes[k]) if data.classes else f"class {k}" for k in there.tolist()]
    return draw("Codes of the test set", partial(code_plane, codes.numpy(), numbers.numpy(), names), caption)


def worst_pairs(data: Any, pairs: Pairs) -> Section:
    """The pairs of one class with the least similar codes, and those of two classes with the most similar ones."""
    x, y = data.sets["test"].x, data.sets["test"].y
    names = data.classes or [str(k) for k in range(data.outputs)]
    same = torch.where(pairs.same, pairs.similarity, torch.inf).argsort(stable=True)[:SHOWN]
    other = torch.where(pairs.same, -torch.inf, pairs.similarity).argsort(descending=True, stable=True)[:SHOWN]
    text = "Test samples of one class whose codes are far apart, then samples of two classes whose codes are close."
    section = Section("pairs", "Pairs that are told worst", text)
    section.table = Table(["samples", "classes", "distance"], [])
    for k in [*same[pairs.same[same]].tolist(), *other[~pairs.same[other]].tolist()]:
        rows = [int(pairs.first[k]), int(pairs.second[k])]
        shown = " and ".join(map(str, rows))
        kinds = " and ".join(dict.fromkeys(names[int(y[row])] for row in rows))
        distance = float(1 - pairs.similarity[k])
        look = "right" if bool(pairs.same[k]) else "wrong"
        section.table.rows.append([Cell(shown, shown), Cell(kinds, kinds, look), Cell(distance, f"{distance:.3f}")])
        if is_picture(data.shape):
            low, high = value_range(x, rows)
            gap = torch.full((*x.shape[1:3], GAP), high)
            image = picture(torch.cat([x[rows[0]].float(), gap, x[rows[1]].float()], 2), low, high)
            alt = f"Test samples {shown}: {kinds}"
            section.pictures.append(Picture(image, data_uri(image), alt, [(kinds, look), (f"{distance:.3f}", "")]))
    return section
