"""Which row is in which part: a function of the rows' y and of a seed, and of nothing else."""

import torch
from torch import Tensor

SMALL = 20  # fewer rows than this are not split
TEST_FRACTION = 0.2
TEST_SEED = 20  # a constant: no choice of seed moves a row into or out of the test set


def cut(y: Tensor, index: Tensor, fraction: float, seed: int | None) -> tuple[Tensor, Tensor]:
    """The row numbers ``index`` (N,) that stay, and the ``fraction`` of them that is cut off; both in order.

    Class by class where y holds class numbers (N,), else at random; without a seed the last rows are cut off.
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
    # Rank the shuffled rows by class, and spread the cut evenly over the ranked list.
    ranked = shuffled[groups[shuffled].argsort(stable=True)]
    chosen = torch.zeros(len(index), dtype=torch.bool)
    chosen[ranked[(torch.arange(count) * len(index) / max(count, 1)).long()]] = True
    return index[~chosen], index[chosen]
