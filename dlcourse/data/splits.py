"""Assignment of samples to training, validation and test: it depends only on y, in its order, and a seed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
    # Sort the shuffled samples by class, and cut evenly spaced ones off the sorted list.
    ranked = shuffled[groups[shuffled].argsort(stable=True)]
    chosen = torch.zeros(len(index), dtype=torch.bool)
    chosen[ranked[(torch.arange(count) * len(index) / max(count, 1)).long()]] = True
    return index[~chosen], index[chosen]


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
