"""Columns, task and classes of the user's own table, read before torch is imported."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from dlcourse.data.columns import CATEGORY, EMPTY, NUMBER, Column, Reading, read_as, read_column, row_of, words_of
from dlcourse.data.facts import CLASSES, TWO, VALUES, class_facts, kind_of, literal
from dlcourse.data.table_file import TableFile, read_table, shown
from dlcourse.data.table_formats import Writing
from dlcourse.errors import Refused

MOST_CLASSES = 20  # up to this many different integers are classes, many more are values
ROWS_A_CLASS = 5  # fewer than this many rows for each of more integers: values


class Words(NamedTuple):
    """What a person may say of a table file; each is a key of ``data``."""

    separator: str | None = None
    encoding: str | None = None
    comment: str | None = None
    header: bool = True
    sheet: str | None = None
    na_values: Sequence[Any] = ()
    decimal: str | None = None
    day_first: bool | None = None
    max_categories: int = 100

    def check(self) -> None:
        """Refused: a word that is none of those that the key has."""
        given = {"separator": self.separator, "decimal": self.decimal, "comment": self.comment, "sheet": self.sheet}
        for key, value in given.items():
            if value is not None and not (isinstance(value, str) and value):
                raise Refused(f"data.{key}={value}: expected a text, in quotes: data.{key}='\"{value}\"'")
        if self.separator is not None and len(self.separator) != 1:
            raise Refused(f"data.separator={self.separator}: expected one sign, as ';' or a tab")
        if self.decimal not in (None, ".", ","):
            raise Refused(f"data.decimal={self.decimal}: expected . or ,")
        if self.day_first not in (None, True, False) or self.header not in (True, False):
            raise Refused(f"data.day_first={self.day_first}, data.header={self.header}: expected true or false")
        if isinstance(self.max_categories, bool) or not isinstance(self.max_categories, int) or self.max_categories < 1:
            raise Refused(f"data.max_categories={self.max_categories}: expected a number of words from 1 on")
        if isinstance(self.na_values, str) or not isinstance(self.na_values, Sequence):
            raise Refused(f"data.na_values={self.na_values}: expected a list, as data.na_values=[NA,none]")

    @property
    def writing(self) -> Writing:
        """How the file is written."""
        return Writing(*self[:5], tuple(map(str, self.na_values)))

    @property
    def reading(self) -> Reading:
        """How its cells are read."""
        return Reading(*self[6:])


class Facts(NamedTuple):
    """What a table holds: values for the configuration, a description of each column, and what is wrong."""

    values: dict[str, Any]
    described: list[dict[str, Any]]
    problems: list[str]


def table_facts(
    path: str | Sequence[str] | None,
    target: Any,
    tasks: Mapping[str, str],
    task: str | None = None,
    columns: Sequence[Any] | None = None,
    ignore: Sequence[Any] = (),
    words: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Task, shape, outputs, classes and columns of a table whose column ``target`` is to be predicted.

    A list of targets: as many values. A text target, or one of up to 20 different integers, is a class, two of them
    binary; other numbers are values. Of the other columns, or those that are named, each is a number, a date, or a
    category with its words (one input a word). Raises Refused (2), for the first problem that `inspect_table` finds.
    """
    facts = inspect_table(path, target, tasks, task, columns, ignore, words)
    if facts.problems:
        raise Refused(facts.problems[0])
    return {**facts.values, "described": facts.described}


def inspect_table(
    path: str | Sequence[str] | None,
    target: Any,
    tasks: Mapping[str, str],
    task: str | None = None,
    columns: Sequence[Any] | None = None,
    ignore: Sequence[Any] = (),
    words: Mapping[str, Any] | None = None,
) -> Facts:
    """The same, with every problem of the columns. Refused: a file that cannot be read at all, a column it lacks."""
    if path is None:
        raise Refused("data=table reads your own file: set data.path=FILE.csv and data.target=COLUMN")
    kind, said = kind_of(task, tasks), Words(**(words or {}))
    said.check()
    for key, names in {"columns": columns, "ignore": ignore}.items():
        if isinstance(names, str) or not isinstance(names, Sequence | None):
            raise Refused(f"data.{key}={names}: expected a list of columns, as data.{key}=[{names}]")
    table = read_table(path, said.writing)
    if target is None or target == []:
        raise Refused(f"data.target: which column is to be predicted? {table.path} has {shown(table.names)}")
    names = target if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    goals = [find(table, name, "data.target") for name in names]
    if table.rows < 2:
        raise Refused(f"{table.path} has {table.rows} rows below its header, at least 2 are needed")
    left_out = [find(table, name, "data.ignore") for name in ignore]
    chosen = range(len(table.names)) if columns is None else [find(table, name, "data.columns") for name in columns]
    for key, named in {"ignore": left_out, "columns": () if columns is None else chosen}.items():
        if both := [table.names[at] for at in named if at in goals]:
            raise Refused(f"data.{key} names {both[0]}, which is the target; leave it out there")
    described: list[dict[str, Any]] = []
    problems: list[str] = []
    inputs: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    for at, name in enumerate(table.names):
        if at not in goals and (at in left_out or at not in chosen):
            why = "data.ignore" if at in left_out else "not in data.columns"
            described.append({"column": name, "becomes": f"left out: {why}"})
            continue
        try:
            if at in goals:
                found, column = _goal(table, at, VALUES if len(goals) > 1 else kind, tasks, said.reading)
                values, becomes = {**found, "outputs": found["outputs"] * len(goals)}, "the target"
            else:
                column = read_column(table, at, said.reading)
                becomes = _why_left_out(table, at, column)
                if not becomes:
                    vocabulary = words_of(table, column, said.reading) if column.kind == CATEGORY else None
                    inputs.append({"name": name, "kind": column.kind, "vocabulary": vocabulary})
                    becomes = f"{len(vocabulary)} inputs" if vocabulary else "1 input"
                    _present(table, at)
            described.append(_description(column, becomes))
        except Refused as refusal:
            described.append({"column": name, "becomes": "refused"})
            problems.append(str(refusal))
    if not inputs and not problems:
        problems.append(
            f"{table.path} has the target column '{table.names[goals[0]]}' only, and no column to predict it from"
        )
    shape = [sum(len(column["vocabulary"] or "1") for column in inputs)]
    return Facts({**values, "shape": shape, "columns": inputs, "said": table.said}, described, problems)


def find(table: TableFile, name: Any, key: str = "") -> int:
    """The position of a column; Refused suggests the nearest name if it is missing."""
    if str(name) in table.names:
        return table.names.index(str(name))
    near = get_close_matches(str(name), table.names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    where = f" ({key})" if key else ""
    raise Refused(f"{table.path} has no column '{name}'{where}{hint}\nIt has: {shown(table.names)}")


def label(text: str) -> str:
    """The name of the class in a cell: 1, 1.0 and 1e0 are one class, 01 is another."""
    try:
        if text.lstrip("+-").isdigit():
            return text if text.lstrip("+-").startswith("0") and len(text.lstrip("+-")) > 1 else str(int(text))
        number = float(text) if "_" not in text else float("nan")
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _why_left_out(table: TableFile, at: int, column: Column) -> str:
    """Why a column is left out; empty if it is an input. Refused: values in a column without a name."""
    if column.kind == EMPTY:
        return "left out: no values"
    if not column.name and "row number" in column.said:
        return "left out: counts the rows"
    if not column.name:
        raise Refused(f"{table.path}: column {at + 1} has no name; name it, or remove it if it only counts the rows")
    return ""


def _description(column: Column, becomes: str) -> dict[str, Any]:
    kind = f"{column.kind} ({column.said})" if column.said else column.kind
    figures = {"missing": column.missing, "distinct": column.distinct, "values": column.shown}
    return {"column": column.name, "becomes": becomes, "kind": kind, **figures}


def _present(table: TableFile, at: int) -> None:
    if table.one(f"count(c{at})")[0] < table.rows:
        row, _ = row_of(table, f"c{at} is null", f"c{at}")
        name = table.names[at]
        raise Refused(f"{table.path}, row {row}: column '{name}' is missing; fill it in or remove the row")


def _goal(
    table: TableFile, at: int, kind: str | None, tasks: Mapping[str, str], reading: Reading
) -> tuple[dict[str, Any], Column]:
    path, name, cell = table.path, table.names[at], f"c{at}"
    _present(table, at)
    as_words = Column(name, CATEGORY, f"{cell}::varchar", table.rows, 0, table.one(f"count(distinct {cell})")[0])
    numeric = table.one(f"count(try_cast({cell}::varchar as double))")[0] == table.rows
    column = as_words if kind in (CLASSES, TWO) and not numeric else read_column(table, at, reading)
    if kind == VALUES and column.kind != NUMBER:
        read_as(table, at, NUMBER, reading)
    values = {"y": VALUES, "task": tasks[VALUES], "outputs": 1, "classes": None}
    if column.kind == NUMBER and kind in (None, VALUES) and column.distinct > 1:
        whole = table.one(f"bool_and({column.value} = trunc({column.value}))")[0]
        many = column.distinct > MOST_CLASSES
        if kind == VALUES or not whole or many and column.distinct * ROWS_A_CLASS > table.rows:
            return values, column
        if many:
            raise Refused(
                f"{path}: the target column '{name}' has {column.distinct} different whole numbers; set "
                f"data.task={tasks[CLASSES]} if each is a class,\nor data.task={tasks[VALUES]} if they are amounts"
            )
    number = column.value if column.kind == NUMBER else "0.0"
    cells = table.all(f"select distinct {cell}::varchar, {number} from t")
    labels = {literal(path, label(text)): amount for text, amount in cells}
    if len(labels) < 2:
        raise Refused(f"{path}: the target column '{name}' is '{[*labels][0]}' in every row; there is nothing to learn")
    if column.kind != NUMBER:
        words_of(table, as_words, reading)
    order = sorted(labels, key=lambda text: (labels[text], text))
    return class_facts(path, f"values of '{name}'", order, kind, tasks), column
