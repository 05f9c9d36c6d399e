"""What of a table decides which set a row is in, and its weight: equal inputs, groups, time."""

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.table_column import DATE, NUMBER, row_of
from dlcourse.data.table_file import TableFile
from dlcourse.data.table_reading import read_as, read_column
from dlcourse.data.table_words import Words
from dlcourse.errors import Refused
from dlcourse.noise import AT_ONCE, hashed

TEST_PART = 5  # about one row in five is for testing, of runs of before


def keys_of(x: Tensor) -> Tensor:
    """A 64-bit number for each row of inputs x (N, inputs), (N,): the same for equal inputs."""
    keys = torch.zeros(len(x), dtype=torch.int64)
    for rows, into in zip(x.split(AT_ONCE), keys.split(AT_ONCE), strict=True):
        for k, column in enumerate(rows.unbind(1)):
            values = column.double() + 0.0  # so that -0 is 0
            into.copy_(hashed(into ^ values.where(~values.isnan(), torch.nan).view(torch.int64), k))
    return keys


def times_of(table: TableFile, at: int, words: Words) -> Tensor:
    """The time of each row, (N,). Refused: a column that is no number and no date, missing times."""
    column = read_column(table, at, words.reading)
    name = table.names[at]
    if column.kind not in (NUMBER, DATE):
        raise Refused(f"{table.path}: data.time={name} is a column of words, not of numbers or dates")
    _check_present(table, at, "time")
    return torch.from_numpy(np.asarray(table.array(f"({column.value})::double")))


def weights_of(table: TableFile, at: int, words: Words) -> Tensor:
    """The weight of each row in the loss, (N,). Refused: missing or negative ones."""
    column = read_as(table, at, NUMBER, "", words.reading)
    _check_present(table, at, "weight")
    if table.one(f"count(*) filter ({column.value} < 0)")[0]:
        row, text = row_of(table, f"{column.value} < 0", f"c{at}")
        raise Refused(
            f"{table.path}, row {row}: the weight in column '{table.names[at]}' is {text}; it must be 0 or more"
        )
    return torch.from_numpy(np.asarray(table.array(f"({column.value})::double"))).float()


def groups_of(table: TableFile, at: int) -> Tensor:
    """A 64-bit hash of the group of each row, (N,). Refused: rows without one, or fewer than three groups."""
    _check_present(table, at, "group")
    hashes = f"('0x' || substr(sha256(c{at}::varchar), 1, 16))::ubigint"
    groups = torch.from_numpy(np.asarray(table.array(hashes)).view(np.int64))
    if (count := len(groups.unique())) < 3:
        raise Refused(
            f"{table.path}: column '{table.names[at]}' has {count} group{'s' * (count > 1)}; training, validation and "
            "test need one each"
        )
    return groups


def _check_present(table: TableFile, at: int, what: str) -> None:
    if table.one(f"count(c{at})")[0] < table.rows:
        row, _ = row_of(table, f"c{at} is null", f"c{at}")
        raise Refused(f"{table.path}, row {row}: column '{table.names[at]}' (data.{what}) is missing; fill it in")


def in_test_set(columns: int) -> str:
    """The SQL expression of whether a row is for testing, by a hash of its own cells."""
    cells = ", ".join(f"coalesce(c{k}::varchar, '')" for k in range(columns))
    return f"('0x' || substr(sha256(concat_ws(chr(31), {cells})), 1, 16))::ubigint % {TEST_PART} = 0"
