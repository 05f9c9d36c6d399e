"""The three sets of a data module, training, validation and test, and the rows that are left out of them."""

from typing import Any

import torch
from torch import Tensor

from dlcourse.data.loading import Rows
from dlcourse.data.splits import SMALL, TEST_FRACTION, TEST_SEED, cut
from dlcourse.errors import Refused

Split = tuple[Tensor, Tensor]


def split_into_sets(data: Any, train: Split, test: Split | None) -> tuple[dict[str, Rows], str | None]:
    """The sets by name, with positions in the arrays, and a note on them."""
    index = torch.arange(len(train[0]))
    if len(index) < SMALL and test is None:
        sets = dict.fromkeys(("train", "val", "test"), Rows(*train, index))
        return sets, f"{len(index)} rows: training, validation and test use the same ones"
    sets = {}
    if test is None:
        index, held_out = _cut(data, train[1], index, TEST_FRACTION, TEST_SEED)
        sets["test"] = Rows(train[0][held_out], train[1][held_out], held_out)
    else:
        sets["test"] = Rows(*test, torch.arange(len(test[0])))
    index, held_out = _cut(data, train[1], index, data.val_fraction, data.split_seed)
    sets["val"] = Rows(train[0][held_out], train[1][held_out], held_out)
    sets["train"] = Rows(train[0][index], train[1][index], index)
    return sets, None


def leave_rows_out(data: Any, sets: dict[str, Rows], note: str | None) -> tuple[dict[str, Rows], str | None]:
    """Keep the rows of the chosen classes in training and validation, of the others in the test; then draw.

    Drawn are the training samples, and among these the ones that keep their label.
    """
    notes = [data.note, note]
    if (chosen := data.classes_in_training) is not None:
        left_out = 0
        for name, rows in sets.items():
            kept = (torch.isin(rows.y, torch.tensor(chosen)) != (name == "test")).nonzero()[:, 0]
            left_out += len(rows) - len(kept)
            sets[name] = rows.at(kept)
        tested = data.outputs - len(chosen)
        notes.append(f"{len(chosen)} classes in training, {tested} in the test, {left_out:,} rows left out")
    if (count := data.train_samples) is not None:
        rows = sets["train"]
        if count > len(rows):
            raise Refused(f"data.train_samples={count}: data={data.name} has {len(rows)} training samples")
        drawn, others = _cut(data, rows.y, torch.arange(len(rows)), 1 - count / len(rows), data.split_seed)
        sets["train"] = rows.at(drawn)
        notes.append(f"{count:,} training samples, {len(others):,} left out")
    if (count := data.labelled) is not None:
        x, y, index = (rows := sets["train"]).parts
        if not data.task.learns_from_y:
            raise Refused(f"data.labelled={count}: the task learns from every row without y; leave it out")
        if count > len(rows):
            raise Refused(f"data.labelled={count}: data={data.name} has {len(rows)} training samples")
        weight = torch.zeros(len(rows))
        weight[_cut(data, y, torch.arange(len(rows)), count / len(rows), data.split_seed)[1]] = 1
        sets["train"] = Rows(x, y, index, weight)
        notes.append(f"{count:,} of {len(rows):,} training samples have a label")
    return sets, "; ".join(filter(None, notes)) or None


def _cut(data: Any, y: Tensor, index: Tensor, fraction: float, seed: int | None) -> tuple[Tensor, Tensor]:
    try:
        return cut(y, index, fraction, seed)
    except ValueError as error:
        raise Refused(f"data={data.name}: {error}; set data.split_seed=0") from None
