"""What of a table decides which set a row is in, and its weight: equal inputs, groups, time."""

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.table_column import DATE, NUMBER, row_of
from dlcourse.data.table_file import TableFile
from dlcourse.data.table_reading import read_as, read_column
from dlcourse.data.table_words import Words
from dlcourse.errors import Refused


def keys_of(table: TableFile, columns: list[int]) -> Tensor:
    """A 64-bit hash of each row's cells in these columns, (N,): the same for equal cells."""
    cells = ", ".join(f"coalesce(c{at}::varchar, chr(30))" for at in columns)
    hashes = f"('0x' || substr(sha256(concat_ws(chr(31), {cells})), 1, 16))::ubigint"
    return torch.from_numpy(np.asarray(table.array(hashes)).view(np.int64))


def times_of(table: TableFile, at: int, words: Words) -> Tensor:
    """The time of each row, (N,). Refused: a column that is no number and no date, missing times."""
    column = read_column(table, at, words.reading)
    name = table.names[at]
    if column.kind not in (NUMBER, DATE):
        raise Refused(f"{table.path}: data.time={name} is a column of words, not of numbers or dates")
    _check_present(table, at, "time")
    return torch.from_numpy(np.asarray(table.array(f"({column.value})::double")))


def weights_of(table: TableFile, at: int, words: Words) -> Tensor:
    """The weight of each row in the loss, (N,). Refused: missing or negative ones, or no positive one."""
    column = read_as(table, at, NUMBER, "", words.reading)
    _check_present(table, at, "weight")
    if table.one(f"count(*) filter ({column.value} < 0)")[0]:
        row, text = row_of(table, f"{column.value} < 0", f"c{at}")
        raise Refused(
            f"{table.path}, row {row}: the weight in column '{table.names[at]}' is {text}; it must be 0 or more"
        )
    weights = torch.from_numpy(np.asarray(table.array(f"({column.value})::double"))).float()
    if not bool((weights > 0).any()):
        raise Refused(f"{table.path}: every weight in column '{table.names[at]}' is 0, so no row would be learned")
    return weights


def groups_of(table: TableFile, at: int) -> Tensor:
    """A 64-bit hash of the group of each row, (N,). Refused: rows without one, or fewer than three groups."""
    _check_present(table, at, "group")
    groups = keys_of(table, [at])
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
