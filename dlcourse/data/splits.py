"""Assignment of samples to training, validation and test: it depends only on y, in its order, and a seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.noise import hashed

SMALL = 20  # smaller data sets are not split
TEST_FRACTION = 0.2
TEST_SEED = 20  # constant, so that no seed changes the test set


def cut(y: Tensor, index: Tensor, fraction: float, seed: int | None) -> tuple[Tensor, Tensor]:
    """Split positions ``index`` (N,) into those that stay and a ``fraction`` that is cut off; both in order.

    Stratified if y holds class numbers (N,), else at random; without a seed the last samples are cut off.
    ValueError: without a seed, class numbers that are in order of class.
    """
    count = round(fraction * len(index))
    classes = y.ndim == 1
    if seed is None:
        if classes and len(y[index].unique_consecutive()) == len(y[index].unique()):
            raise ValueError("data.split_seed=null would validate by the last rows, and they are in order of class")
        return index[: len(index) - count], index[len(index) - count :]
    groups = y[index].long() if classes else torch.zeros(len(index), dtype=torch.long)
    shuffled = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))
    # Sort the shuffled samples by class, and cut evenly spaced ones off the sorted list. Float32 has 2²⁴ places.
    ranked = shuffled[groups[shuffled].argsort(stable=True)]
    chosen = torch.zeros(len(index), dtype=torch.bool)
    places = torch.arange(count) * len(index)
    spaced = places / max(count, 1) if len(index) < 2**24 else places // count
    chosen[ranked[spaced.long()]] = True
    return index[~chosen], index[chosen]


def share(keys: Tensor, groups: Tensor, fraction: float) -> Tensor:
    """Which samples (N,) are cut off, so that samples of one key stay together: a ``fraction`` of each group's keys.

    The keys of a group are sorted, and the first ones cut off: of two or more keys at least one is, and one stays. So
    a sample that is added moves only keys at the cut. A key of several groups belongs to the lowest.
    """
    if len(groups) and bool((groups == groups[0]).all()):  # ranks would take several times the memory of the keys
        ordered = distinct(keys)
        return keys < ordered[min(max(round(fraction * len(ordered)), 1), len(ordered) - 1)]
    rank, size = ranked(keys, groups)
    quota = (size * fraction).round().clamp_min(1).minimum(size - 1)
    return rank < quota


def distinct(keys: Tensor) -> Tensor:
    """The different keys, in order; NumPy's sort needs less memory than PyTorch's, or than ``np.unique``."""
    ordered = np.sort(keys.numpy())
    first = np.append(True, ordered[1:] != ordered[:-1])
    return torch.from_numpy(ordered if first.all() else ordered[first])


def share_late(times: Tensor, fraction: float) -> Tensor:
    """Which samples (N,) are the latest ``fraction`` of them; samples of one time stay together.

    ValueError: all samples are of one time.
    """
    ordered = times.sort().values
    start = ordered[len(ordered) - max(1, round(fraction * len(ordered)))]
    if start == ordered[0]:
        later = ordered[ordered > start]
        if not len(later):
            raise ValueError("all rows, or all that do not test, are of the same time")
        start = later[0]
    return times >= start


def fold_of(keys: Tensor, groups: Tensor, folds: int) -> Tensor:
    """The fold 0 … folds − 1 of each sample (N,): samples of one key are in one, the keys of a group in all alike.

    Which fold a group begins with depends on its number, so that small groups do not all leave the same folds empty.
    """
    rank, size = ranked(keys, groups)
    return (rank * folds // size + hashed(groups, folds) % folds) % folds


def ranked(keys: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample the rank of its key among the keys of its group, and their number, (N,) both."""
    distinct, which = keys.unique(return_inverse=True)
    group = torch.full((len(distinct),), torch.iinfo(groups.dtype).max, dtype=groups.dtype)
    del distinct  # each of these is as long as the table, here and below
    group = group.scatter_reduce(0, which, groups, "amin")
    _, group, counts = group.unique(return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    place = torch.arange(len(order)).sub_((counts.cumsum(0) - counts)[group[order]])  # within its group
    rank = torch.empty_like(order).scatter_(0, order, place)
    del order, place
    return rank[which], counts[group][which]


def positions(chosen: Sequence[Any] | None, names: Sequence[str]) -> list[int] | None:
    """The numbers of the classes that are chosen by name, in order; None, as given: all of them.

    ValueError: a name that is none of them, none chosen, or all.
    """
    if chosen is None:
        return None
    for name in chosen:
        if str(name) not in names:
            has = f"the data has {', '.join(names)}" if names else "the data has no classes"
            raise ValueError(f"data.classes_in_training names {name}; {has}")
    found = sorted({names.index(str(name)) for name in chosen})
    if not 0 < len(found) < len(names):
        raise ValueError(
            f"data.classes_in_training has {len(found)} of {len(names)} classes: some must be left to test"
        )
    return found
