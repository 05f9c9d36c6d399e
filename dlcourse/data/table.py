"""The user's own table: CSV, Parquet, or a sheet of a workbook."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.facts import CLASSES, VALUES
from dlcourse.data.splits import SMALL
from dlcourse.data.table_column import CATEGORY, NUMBER, row_of
from dlcourse.data.table_facts import check_present, find, goal_column, labels_of
from dlcourse.data.table_file import TableFile, read_table, shown
from dlcourse.data.table_reading import read_as
from dlcourse.data.table_words import Words
from dlcourse.errors import Refused, printable

TEST_PART = 5  # about one row in five is for testing


class OwnTable(Data):
    """Rows of a table: numbers as they are, dates in days, categories one-hot by their words (N, inputs), float32.

    ``dlcourse.data.table_facts.table_facts`` reads the columns and refuses invalid files; ``described`` is what it
    found of each, ``said`` of the file. ``separator`` to ``max_categories``: how to read it, see `Words`. A hash of
    each row decides whether it is in the test set: about a fifth are, and other rows do not matter.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str],
        target: Any,
        columns: Sequence[Mapping[str, Any]],
        separator: str | None = None,
        encoding: str | None = None,
        comment: str | None = None,
        header: bool = True,
        sheet: str | None = None,
        na_values: Sequence[Any] = (),
        decimal: str | None = None,
        day_first: bool | None = None,
        max_categories: int = 100,
        described: Sequence[Mapping[str, Any]] = (),
        said: Sequence[str] = (),
        ignore: Sequence[Any] = (),
        **facts: Any,
    ):
        super().__init__(**facts)
        several = isinstance(target, Sequence) and not isinstance(target, str)
        self.path, self.columns = path, list(columns)
        self.targets = [str(name) for name in (target if several else [target])]
        writing = (separator, encoding, comment, header, sheet, na_values)
        self.words = Words(*writing, decimal, day_first, max_categories)
        self.described = describe(described, said)

    def arrays(self) -> tuple[Split, Split | None]:
        table = read_table(self.path, self.words.writing)
        x, y = self._inputs(table), self._targets(table)
        test = torch.from_numpy(np.asarray(table.array(in_test_set(len(table.names)))))
        if table.rows < SMALL or not bool(test.any()):
            return (x, y), None
        return (x[~test], y[~test]), (x[test], y[test])

    def read(self, path: str | Path) -> Tensor:
        """Raw inputs (N, inputs) of a table with the same columns in any order, with or without the target."""
        if Path(path).suffix == ".npy":
            return super().read(path)
        table = read_table(path, self.words.writing)
        if not table.rows:
            raise Refused(f"{path} has no rows below its header")
        return self._inputs(table)

    def _inputs(self, table: TableFile) -> Tensor:
        widths = [len(column["vocabulary"] or "1") for column in self.columns]
        x = torch.zeros(table.rows, sum(widths))
        start = 0
        for column, width in zip(self.columns, widths, strict=True):
            at = find(table, column["name"])
            value = self._values(table, at, column["kind"], column.get("form", ""), column["vocabulary"])
            if column["kind"] == CATEGORY:
                x[torch.arange(table.rows), start + torch.from_numpy(value.astype(np.int64))] = 1
            else:
                x[:, start] = torch.from_numpy(value.astype(np.float32))
            start += width
        return x

    def _targets(self, table: TableFile) -> Tensor:
        places = [find(table, name, "data.target") for name in self.targets]
        if self.y == VALUES:
            values = [self._values(table, at, NUMBER, "", None).astype(np.float32) for at in places]
            return torch.from_numpy(np.stack(values, 1))
        at = places[0]
        known, cell = self.classes or [], f"c{at}::varchar"
        check_present(table, at)
        labels = labels_of(table, goal_column(table, at, CLASSES, self.words.reading))
        for text, name in labels.items():
            if name not in known:
                self._unknown(table, at, f"{cell} is not distinct from {_quoted(text)}", known)
        texts = [*labels]
        numbers = torch.from_numpy(np.asarray(table.array(_place(cell, texts))).astype(np.int64))
        return torch.tensor([known.index(labels[text]) for text in texts])[numbers]

    def _values(self, table: TableFile, at: int, kind: str, form: str, vocabulary: Sequence[str] | None) -> np.ndarray:
        """One number for each row: of a word its place in the vocabulary. Refused: missing values, unknown words."""
        column = read_as(table, at, kind, form, self.words.reading)
        check_present(table, at)
        value = column.value
        if vocabulary is not None:
            value = _place(value, vocabulary)
            if table.one(f"count({value})")[0] < table.rows:
                self._unknown(table, at, f"{value} is null", vocabulary)
        found: np.ndarray = np.asarray(table.array(value))
        return found

    def _unknown(self, table: TableFile, at: int, condition: str, known: Sequence[str]) -> None:
        row, text = row_of(table, condition, f"c{at}::varchar")
        raise Refused(
            f"{table.path}, row {row}: '{text}' in column '{table.names[at]}' is unknown; known: {shown(known)}"
        )


def describe(columns: Sequence[Mapping[str, Any]], said: Sequence[str]) -> str:
    """The columns as they were read, and what there is to say of the file, as text."""
    from tabulate import tabulate

    rows = [{key: printable(str(value)).replace("\n", "\\n") for key, value in row.items()} for row in columns]
    return "\n".join([*map(printable, said), tabulate(rows, headers="keys", disable_numparse=True)] if rows else said)


def in_test_set(columns: int) -> str:
    """The SQL expression of whether a row is for testing, by a hash of its own cells."""
    cells = ", ".join(f"coalesce(c{k}::varchar, '')" for k in range(columns))
    return f"('0x' || substr(sha256(concat_ws(chr(31), {cells})), 1, 16))::ubigint % {TEST_PART} = 0"


def _place(value: str, words: Sequence[str]) -> str:
    """The SQL expression of the place of a word in a list, from 0 on; null for another."""
    return f"(list_position([{', '.join(map(_quoted, words))}], {value}) - 1)"


def _quoted(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"
