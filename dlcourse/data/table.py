"""The user's own table: a CSV file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.facts import VALUES
from dlcourse.data.splits import SMALL
from dlcourse.data.table_facts import Rows, find, label, present, shown, table, value
from dlcourse.errors import Refused

TEST_PART = 5  # about one row in five is for testing


class Csv(Data):
    """Rows of a CSV file: numbers as they are, categories one-hot by their vocabulary (N, inputs), float32.

    ``dlcourse.data.table_facts.csv_facts`` reads the columns and refuses invalid files. A hash of each row decides
    whether it is in the test set: about a fifth are, and other rows do not matter.
    """

    def __init__(self, *, path: str, target: str, columns: Sequence[dict[str, Any]], **facts: Any):
        super().__init__(**facts)
        self.path, self.target, self.columns = Path(path), target, list(columns)

    def arrays(self) -> tuple[Split, Split | None]:
        names, rows = table(self.path)
        x, y = self._inputs(self.path, names, rows), self._targets(names, rows)
        test = torch.tensor([in_test_set(row) for _, row in rows])
        if len(rows) < SMALL or not bool(test.any()):
            return (x, y), None
        return (x[~test], y[~test]), (x[test], y[test])

    def read(self, path: str | Path) -> Tensor:
        """Raw inputs (N, inputs) of a CSV file with the same columns in any order, with or without the target."""
        if Path(path).suffix == ".npy":
            return super().read(path)
        names, rows = table(path)
        if not rows:
            raise Refused(f"{path} has no rows below its header")
        return self._inputs(path, names, rows)

    def _inputs(self, path: str | Path, names: list[str], rows: Rows) -> Tensor:
        parts = []
        for column in self.columns:
            name, at = column["name"], find(path, names, column["name"])
            if column["kind"] == "number":
                parts.append(torch.tensor([[value(path, name, line, row[at])] for line, row in rows]))
            else:
                words = [_word(path, name, line, row[at], column["vocabulary"]) for line, row in rows]
                parts.append(torch.nn.functional.one_hot(torch.tensor(words), len(column["vocabulary"])).float())
        return torch.cat(parts, 1)

    def _targets(self, names: list[str], rows: Rows) -> Tensor:
        name, at = self.target, find(self.path, names, self.target, "data.target")
        if self.y == VALUES:
            return torch.tensor([[value(self.path, name, line, row[at])] for line, row in rows])
        return torch.tensor([_word(self.path, name, line, label(row[at]), self.classes or []) for line, row in rows])


def in_test_set(row: Sequence[str]) -> bool:
    """Whether a row is for testing, by a hash of its own cells."""
    digest = hashlib.sha256("\x1f".join(row).encode()).digest()
    return int.from_bytes(digest[:8], "big") % TEST_PART == 0


def _word(path: str | Path, name: str, line: int, text: str, vocabulary: Sequence[str]) -> int:
    if present(path, name, line, text) in vocabulary:
        return vocabulary.index(text)
    raise Refused(f"{path}, row {line}: '{text}' in column '{name}' is unknown; known: {shown(vocabulary)}")
