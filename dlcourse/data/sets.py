"""The three sets of a data module, training, validation and test, and the rows that are left out of them."""

from typing import Any

import torch
from torch import Tensor

from dlcourse.data.loading import Rows
from dlcourse.data.splits import SMALL, TEST_FRACTION, TEST_SEED, cut, distinct, fold_of, share, share_late
from dlcourse.data.stored import Stored, at
from dlcourse.errors import Refused
from dlcourse.noise import hashed

LARGE = 2**26  # bytes of a table, of which there is to be no second copy
Split = tuple[Tensor, Tensor]


def split_into_sets(data: Any, train: Split, test: Split | None) -> tuple[dict[str, Rows], str | None]:
    """The sets by name, with positions in the arrays, and a note on them.

    ``data.folds``: fold ``data.fold`` is the test set. Where ``data`` has ``keys`` of its rows, those of one key stay
    together; where it has ``times``, later rows test and validate what earlier ones taught.
    """
    x, y = train
    index, sets, where = torch.arange(len(x)), dict[str, Rows](), dict[str, Tensor]()
    by_inputs = data.keys is not None and not data.in_groups and data.times is None
    few = len(distinct(data.keys)) if by_inputs else len(index)
    if few < SMALL and test is None and data.val is None and data.folds is None:
        different = "" if few == len(index) else " different"
        sets = dict.fromkeys(("train", "val", "test"), Rows(x, y, index))
        return sets, f"{few}{different} rows: training, validation and test use the same ones"
    if data.folds is not None:
        if test is not None:
            raise Refused(f"data.folds={data.folds}: data={data.name} has a test set of its own; leave folds out")
        keys = index if data.keys is None else data.keys
        if (count := len(distinct(keys))) < data.folds:
            what = "groups" if data.in_groups else "different rows"
            raise Refused(
                f"data.folds={data.folds}: data={data.name} has {count} {what}; set data.folds={count}, or fewer"
            )
        in_fold = fold_of(hashed(keys, TEST_SEED), _strata(data, y), data.folds) == data.fold
        index, where["test"] = index[~in_fold], index[in_fold]
    elif test is None:
        index, where["test"] = _cut(data, y, index, TEST_FRACTION, TEST_SEED)
    else:
        sets["test"] = Rows(test[0], test[1], torch.arange(len(test[0])))
    if data.val is None:
        if data.split_seed is None and data.in_groups:
            raise Refused("data.split_seed=null takes the last rows to validate, and data.group keeps groups together")
        index, where["val"] = _cut(data, y, index, data.val_fraction, data.split_seed)
    else:
        sets["val"] = Rows(data.val[0], data.val[1], torch.arange(len(data.val[0])))
    sets |= _divided(data, x, y, where | {"train": index})
    notes = [_lacking(data, sets)]
    if data.split_seed is None and by_inputs and data.val is None:
        count = int(torch.isin(data.keys[sets["val"].index], data.keys[index]).sum())
        notes += [f"{count:,} of {len(sets['val']):,} validation rows have the inputs of a training row"] * bool(count)
    return sets, "; ".join(filter(None, notes)) or None


def _divided(data: Any, x: Tensor, y: Tensor, where: dict[str, Tensor]) -> dict[str, Rows]:
    """The rows at the positions of each set; no position is in two.

    A large table that ``data`` has read for itself is put in their order where it is, a column at a time, and each set
    is a part of it.
    """
    if not data.reorders or isinstance(x, Stored) or x.nbytes < LARGE:
        return {name: Rows(at(x, index), y[index], index) for name, index in where.items()}
    order = torch.cat([*where.values()])
    for column in x.unbind(1):
        column[: len(order)] = column[order]
    parts = x[: len(order)].split([*map(len, where.values())])
    return {name: Rows(part, y[index], index) for part, (name, index) in zip(parts, where.items(), strict=True)}


def _strata(data: Any, y: Tensor) -> Tensor:
    """The class of each sample (N,), of which each set is to have its share; 0 where y has none, or groups decide."""
    of_classes = y.ndim == 1 and not data.in_groups
    return y.long() if of_classes else torch.zeros((), dtype=torch.long).expand(len(y))


def _lacking(data: Any, sets: dict[str, Rows]) -> str | None:
    """Which classes a set has no row of, though others have."""
    if data.y != "classes" or data.classes_in_training is not None:
        return None
    present = {name: {*rows.y.unique().tolist()} for name, rows in sets.items()}
    names = data.classes or [str(k) for k in range(data.outputs)]
    found = []
    for name, title in (("train", "training"), ("val", "validation"), ("test", "test")):
        if lost := sorted(set().union(*present.values()) - present[name]):
            few = ", ".join(f"'{names[k]}'" for k in lost[:3]) + (", …" if len(lost) > 3 else "")
            found.append(f"the {title} set has no row of class {few}")
    return "; ".join(found) or None


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
        drawn, others = _draw(data, rows.y, 1 - count / len(rows))
        sets["train"] = rows.at(drawn)
        notes.append(f"{count:,} training samples, {len(others):,} left out")
    if (count := data.labelled) is not None:
        x, y, index = (rows := sets["train"]).parts
        if not data.task.learns_from_y:
            raise Refused(f"data.labelled={count}: the task learns from every row without y; leave it out")
        if count > len(rows):
            raise Refused(f"data.labelled={count}: data={data.name} has {len(rows)} training samples")
        weight = torch.zeros(len(rows))
        weight[_draw(data, y, count / len(rows))[1]] = 1
        sets["train"] = Rows(x, y, index, weight)
        notes.append(f"{count:,} of {len(rows):,} training samples have a label")
    if data.weights is not None:
        rows = sets["train"]
        weight = data.weights[rows.index]
        if not bool((weight > 0).any()):
            raise Refused(f"data={data.name}: the weight of every training row is 0, so no row would be learned")
        sets["train"] = Rows(rows.x, rows.y, rows.index, weight if rows.weight is None else weight * rows.weight)
    return sets, "; ".join(filter(None, notes)) or None


def _draw(data: Any, y: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    try:
        return cut(y, torch.arange(len(y)), fraction, data.split_seed)
    except ValueError as error:
        raise Refused(f"data={data.name}: {error}; set data.split_seed=0") from None


def _cut(data: Any, y: Tensor, index: Tensor, fraction: float, seed: int | None) -> tuple[Tensor, Tensor]:
    try:
        if data.times is not None:
            chosen = share_late(data.times[index], fraction)
        elif data.keys is not None and seed is not None:
            chosen = share(hashed(data.keys[index], seed), _strata(data, y[index]), fraction)
        else:
            return cut(y, index, fraction, seed)
    except ValueError as error:
        way = "leave data.time out" if data.times is not None else "set data.split_seed=0"
        raise Refused(f"data={data.name}: {error}; {way}") from None
    return index[~chosen], index[chosen]
