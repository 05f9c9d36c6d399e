"""A person's own table: CSV, Parquet, or a sheet of a workbook."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.data.base import Data, Split
from dlcourse.data.facts import CLASSES, LABELS, VALUES, describe
from dlcourse.data.picture import array
from dlcourse.data.splits import SMALL, distinct
from dlcourse.data.table_column import NUMBER, literal_of, place, row_of
from dlcourse.data.table_facts import complete, find, own_files
from dlcourse.data.table_file import TableFile, read_table, shown
from dlcourse.data.table_fill import fitted_fill
from dlcourse.data.table_input import width
from dlcourse.data.table_reading import check_missing, read_as
from dlcourse.data.table_rows import faults_of
from dlcourse.data.table_split import groups_of, in_test_set, keys_of, times_of, weights_of
from dlcourse.data.table_target import goal_column, labels_of
from dlcourse.data.table_words import DROP_ROWS, INDICATOR, PERIODS, REFUSE, UNKNOWN, Words
from dlcourse.errors import Refused

#: Words that both say which rows test or validate.
CLASHES = (
    *(("group", "time"), ("time", "folds"), ("folds", "test_path"), ("group", "test_path"), ("time", "test_path")),
    *(("folds", "val_path"), ("group", "val_path"), ("time", "val_path")),
)


class OwnTable(Data):
    """Rows of a table: numbers as they are, dates in days, categories one-hot by their words (N, inputs).

    Inputs are float32, or float64 if float32 would lose digits of some column of the table that was trained on; so are
    target values (``float64_target``), whose decimal marks and units are ``target_written``.
    ``dlcourse.data.table_facts.table_facts`` reads the columns and refuses invalid files; ``described`` is what it
    found of each, ``said`` of the file. ``separator`` to ``max_categories``: how to read it, see `Words`.

    Rows whose inputs are equal are in one set: the different rows of each class are sorted by a hash of their inputs,
    and the first fifth is for testing. ``group`` names a column whose groups stay together instead, ``time`` one by
    which the latest rows test, ``test_path`` and ``val_path`` files of their own, ``weight`` a column of weights in the
    loss. ``by_row``: as runs of before were split, each row by a hash of all its cells. ``label_words``: of each target
    that is a label the words of rows without and with it.

    ``missing``: what becomes of missing inputs. ``refuse``, ``drop_rows``; ``median``, ``mean`` or ``most_frequent``:
    that of the training rows stands for a missing number, and the most frequent word for a missing word; ``indicator``:
    the median, no word at all, and in both cases one more input, which is 1 where the value is missing.
    ``date_parts``: of a date also its place in the day, week or year, each as sine and cosine. ``unseen``: what a word
    is that the table trained on does not have: ``refuse``, or ``unknown``, none of the words.
    """

    reorders = True

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
        missing: str = REFUSE,
        unseen: str = REFUSE,
        date_parts: Sequence[str] = (),
        described: Sequence[Mapping[str, Any]] = (),
        said: Sequence[str] = (),
        ignore: Sequence[Any] = (),
        weight: Any = None,
        group: Any = None,
        time: Any = None,
        test_path: str | Sequence[str] | None = None,
        val_path: str | Sequence[str] | None = None,
        by_row: bool = False,
        float64_target: bool | None = False,
        target_written: Sequence[str] | None = None,
        fingerprint: Mapping[str, str] | None = None,
        cache: str | None = None,
        label_words: Sequence[Sequence[str]] | None = None,
        **facts: Any,
    ):
        super().__init__(**facts)
        self.fingerprint, self.cache, self.weight, self.group, self.time = fingerprint, cache, weight, group, time
        self.test_path, self.val_path, self.by_row = test_path, val_path, by_row
        given = {"group": group, "time": time, "folds": self.folds, "test_path": test_path, "val_path": val_path}
        for one, other in CLASHES:
            if given[one] is not None and given[other] is not None:
                raise Refused(
                    f"data.{one} and data.{other} both say which rows test or validate; leave one of them out"
                )
        several = isinstance(target, Sequence) and not isinstance(target, str)
        self.path, self.columns = path, list(columns)
        self.targets = [str(name) for name in (target if several else [target])]
        writing = (separator, encoding, comment, header, sheet, na_values)
        self.words = Words(*writing, decimal, day_first, max_categories, missing, unseen, date_parts)
        self.dtype = torch.float64 if any(column.get("float64") for column in self.columns) else torch.float32
        self.float64_target, self.label_words = bool(float64_target), label_words
        self.target_written = target_written or [""] * len(self.targets)
        self.fills = missing not in (REFUSE, DROP_ROWS)
        self.described = describe(described, said)

    def own_files(self) -> dict[str, list[Path]]:
        return own_files(self.path, self.test_path, self.val_path)

    def arrays(self) -> tuple[Split, Split | None]:
        table = read_table(self.path, self.words.writing)
        x, y, kept = self._rows(table)
        if self.by_row:
            test = torch.from_numpy(np.asarray(table.array(in_test_set(len(table.names)))))[kept]
            whole = len(x) < SMALL or not bool(test.any())
            return ((x, y), None) if whole else ((x[~test], y[~test]), (x[test], y[test]))
        self.keys = keys_of(x)
        if (repeated := len(self.keys) - len(distinct(self.keys))) and self.group is None:
            self.note = f"{repeated:,} rows repeat the inputs of another and are in its set"
        if self.group is not None:
            self.keys, self.in_groups = groups_of(table, find(table, self.group, "data.group"))[kept], True
        if self.time is not None:
            self.times = times_of(table, find(table, self.time, "data.time"), self.words)[kept]
            self.note = None
        if self.weight is not None:
            self.weights = weights_of(table, find(table, self.weight, "data.weight"), self.words)[kept]
        own = {"data.path": self.keys}
        found: dict[str, Split] = {}
        files = (("test", "data.test_path", self.test_path), ("validation", "data.val_path", self.val_path))
        for name, key, path in files:
            if path is not None:
                *split, _ = self._rows(read_table(path, self.words.writing))
                found[name], keys = (split[0], split[1]), keys_of(split[0])
                for where, known in own.items():
                    if count := int(torch.isin(keys, known).sum()):
                        more = f"{count:,} of {len(keys):,} {name} rows have the inputs of a row of {where}"
                        self.note = "; ".join(filter(None, [self.note, more]))
                own[key] = keys
        self.val = found.get("validation")
        return (x, y), found.get("test")

    def _rows(self, table: TableFile) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets, and which rows of the table they are of: all, or those without missing values."""
        kept = torch.arange(table.rows)
        if self.words.missing == DROP_ROWS:
            used = [find(table, name) for name in (*self.targets, *(column["name"] for column in self.columns))]
            kept = kept[torch.from_numpy(np.asarray(table.array(complete(used))))]
        x, y = self._inputs(table), self._targets(table)
        return (x, y, kept) if len(kept) == table.rows else (x[kept], y[kept], kept)

    def table(self, path: str | Path) -> TableFile | None:
        if Path(path).suffix == ".npy":
            return None
        table = read_table(path, self.words.writing)
        if not table.rows:
            raise Refused(f"{path} has no rows below its header")
        return table

    def read(self, path: str | Path) -> Tensor:
        """Raw inputs (N, inputs) of a table with the same columns in any order, with or without the target."""
        if (table := self.table(path)) is None:
            return array(Path(path), self.shape, self.dtype, self.fills)
        if self.words.missing == DROP_ROWS:
            for column in self.columns:
                check_missing(table, find(table, column["name"]), REFUSE, ())
        return self._inputs(table)

    def rows_to_predict(self, path: str | Path) -> tuple[Tensor, dict[int, str]]:
        if (table := self.table(path)) is None:
            return self.read(path), {}
        faults = faults_of(table, self.columns, self.words)
        return self._inputs(table.without([*faults])), faults

    def fitted_fill(self, x: Tensor) -> Tensor:
        return fitted_fill(x, self.columns, self.words.missing)

    def _inputs(self, table: TableFile) -> Tensor:
        x = torch.zeros(table.rows, sum(map(width, self.columns)), dtype=self.dtype)
        start = 0
        for column in self.columns:
            at, words = find(table, column["name"]), column["vocabulary"]
            value = torch.from_numpy(self._values(table, at, column["kind"], column.get("form", ""), words))
            missing = value.isnan()
            if words:
                known = (value >= 0).nonzero()[:, 0]
                x[known, start + value[known].long()] = 1
                x[missing, start : start + len(words)] = torch.nan
            else:
                x[:, start] = value
                for k, part in enumerate(column.get("parts", ())):
                    angle = 2 * torch.pi * (value / PERIODS[part])
                    x[:, start + 1 + 2 * k], x[:, start + 2 + 2 * k] = angle.sin(), angle.cos()
            start += width(column)
            if column.get("indicator"):
                x[missing, start - 1] = 1
            elif self.words.missing == INDICATOR:
                check_missing(table, at, REFUSE, ())
        return x

    def _targets(self, table: TableFile) -> Tensor:
        places = [find(table, name, "data.target") for name in self.targets]
        if self.words.missing != DROP_ROWS:
            for at in places:
                check_missing(table, at, REFUSE, (DROP_ROWS,))
        if self.y == VALUES:
            each = zip(places, self.target_written, strict=True)
            y = torch.stack([torch.from_numpy(self._values(table, at, NUMBER, form, None)) for at, form in each], 1)
            return y if self.float64_target else y.float()
        if self.y == LABELS:
            both = zip(places, self.label_words or [], strict=True)
            return torch.stack([self._numbers(table, at, words) for at, words in both], 1).float()
        return self._numbers(table, places[0], self.classes or [])

    def _numbers(self, table: TableFile, at: int, known: Sequence[str]) -> Tensor:
        """The place of each row's word among those that are known, (N,)."""
        cell = f"c{at}::varchar"
        labels = labels_of(table, goal_column(table, at, CLASSES, self.words.reading))
        for text, name in labels.items():
            if name not in known:
                self._unknown(table, at, f"{cell} is not distinct from {literal_of(text)}", known)
        texts = [*labels]
        numbers = np.ma.filled(table.array(place(cell, texts)), 0).astype(np.int64)  # rows without one are left out
        return torch.tensor([known.index(labels[text]) for text in texts])[torch.from_numpy(numbers)]

    def _values(self, table: TableFile, at: int, kind: str, form: str, vocabulary: Sequence[str] | None) -> np.ndarray:
        """One number for each row: of a word its place in the vocabulary; NaN where it is missing.

        Refused: unknown words, and missing values unless data.missing says what becomes of them.
        """
        column = read_as(table, at, kind, form, self.words.reading)
        check_missing(table, at, self.words.missing)
        value = column.value
        if vocabulary is not None:
            value = place(value, vocabulary)
            if self.words.unseen == UNKNOWN:
                value = f"case when {column.value} is not null then coalesce({value}, -1) end"
            if table.one(f"count({value})")[0] < table.one(f"count({column.value})")[0]:
                self._unknown(table, at, f"{value} is null and {column.value} is not null", vocabulary)
        found: np.ndarray = np.ma.filled(np.ma.asarray(table.array(f"({value})::double")), np.nan)
        return found

    def _unknown(self, table: TableFile, at: int, condition: str, known: Sequence[str]) -> None:
        row, text = row_of(table, condition, f"c{at}::varchar")
        raise Refused(
            f"{table.path}, row {row}: '{text}' in column '{table.names[at]}' is unknown; known: {shown(known)}"
        )
