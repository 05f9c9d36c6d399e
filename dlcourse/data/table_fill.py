"""What stands for the missing inputs of a table, fitted on the training rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlcourse.data.table_input import width
from dlcourse.data.table_words import INDICATOR
from dlcourse.errors import Refused


def fitted_fill(x: Tensor, columns: Sequence[Mapping[str, Any]], missing: str) -> Tensor:
    """A value for each input, (inputs,), from training inputs x (N, inputs), NaN where missing.

    Of a number by ``missing``: the median, mean or most frequent value; with ``indicator`` the median. Of a word: the
    inputs of the most frequent one; with ``indicator`` 0 in all. Refused: a column that no training row has.
    """
    fill = torch.zeros(x.shape[1], dtype=x.dtype)
    start = 0
    for column in columns:
        words, inputs = column["vocabulary"], width(column) - bool(column.get("indicator"))
        values = x[:, start : start + inputs]
        values = values[~values[:, 0].isnan()]
        if not len(values):
            raise Refused(f"column '{column['name']}' is missing in all training rows; name it in data.ignore")
        if words and missing != INDICATOR:
            fill[start + int(values.sum(0).argmax())] = 1
        elif not words:
            fill[start : start + inputs] = torch.stack([FILLS[missing](each) for each in values.unbind(1)])
        start += width(column)
    return fill


def _median(values: Tensor) -> Tensor:
    n = len(values)
    return values.sort().values[[(n - 1) // 2, n // 2]].mean()


def _most_frequent(values: Tensor) -> Tensor:
    found, counts = values.unique(return_counts=True)
    return found[counts.argmax()]


#: What stands for a missing number, from those of the training rows.
FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "median": _median,
    "mean": torch.mean,
    "most_frequent": _most_frequent,
    INDICATOR: _median,
}
