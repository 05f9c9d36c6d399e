"""Columns, task and classes of a person's own table, read before torch is imported."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dlcourse.data.facts import CLASSES, LABELS, TWO, VALUES, Facts, Reader, kind_of
from dlcourse.data.fingerprint import fingerprint
from dlcourse.data.table_column import Column, count
from dlcourse.data.table_file import TableFile, files_of, read_table, shown
from dlcourse.data.table_input import read_input, width
from dlcourse.data.table_numbers import could_be_thousands
from dlcourse.data.table_target import read_target
from dlcourse.data.table_words import DROP_ROWS, Words
from dlcourse.errors import Refused


def inspect_table(
    path: str | Sequence[str] | None,
    target: Any,
    tasks: Mapping[str, str],
    task: str | None = None,
    columns: Sequence[Any] | None = None,
    ignore: Sequence[Any] | None = (),
    words: Mapping[str, Any] | None = None,
    apart: Mapping[str, Any] | None = None,
    beside: Sequence[Any] = (),
    cache: str | None = None,
) -> Facts:
    """Task, shape, outputs, classes and columns of a table whose column ``target`` is to be predicted.

    A list of targets: as many values, or labels where the task takes these, of two words each. A text target, or one
    of up to 20 different integers, is a class, two of them binary; other numbers are values. Of the other columns, or
    those that are named, each is a number, a date, or a category with its words (one input a word), and, by
    missing=indicator, one input more if values are missing.
    ``apart`` names the columns of sample weights, of groups and of the time, which are inputs only if ``columns`` names
    them. ``beside``: other files of the data, to be tested or validated on; ``cache``: see `fingerprint`.

    ``problems``: all that is wrong with the columns. Refused: a file that cannot be read at all, a column it lacks.
    """
    if path is None:
        raise Refused("data=table reads your own file: set data.path=FILE.csv and data.target=COLUMN")
    kind, said = kind_of(task, tasks), Words(**(words or {}))
    said.check()
    table = read_table(path, said.writing)
    goals = _goals(table, target, kind, tasks)
    if table.rows < 2:
        raise Refused(f"{table.path} has {table.rows} rows below its header, at least 2 are needed")
    left_out = _left_out(table, goals, columns, ignore, apart or {})
    described: list[dict[str, Any]] = []
    problems: list[str] = []
    inputs: list[dict[str, Any]] = []
    targets: dict[int, dict[str, Any]] = {}  # what is found of each
    read: list[Column] = []
    for at, name in enumerate(table.names):
        if at in left_out:
            described.append({"column": name, "becomes": left_out[at]})
            continue
        try:
            if at in goals:
                of_one = kind if len(goals) == 1 else kind or VALUES
                targets[at], column = read_target(table, at, of_one, tasks, said.reading, said.missing)
                becomes = _said_of_target(targets[at])
            else:
                column, entry, becomes = read_input(table, at, said)
                inputs += [entry] if entry else []
            described.append(_description(column, becomes))
            read.append(column)
        except Refused as refusal:
            described.append({"column": name, "becomes": "refused"})
            of_two_words = at in goals and len(goals) > 1 and kind is None and count(table, at).distinct == 2
            way = f"\nA label of two words is learned by data.task={tasks.get(LABELS)}" if of_two_words else ""
            problems.append(f"{refusal}{way}")
    problems += _unclear(table, read, said)
    if not inputs and not problems:
        problems.append(
            f"{table.path} has the target column '{table.names[goals[0]]}' only, and no column to predict it from"
        )
    if said.date_parts and not any("parts" in entry for entry in inputs):
        problems.append(f"{table.path}: data.date_parts={[*said.date_parts]}, but no input is a date; leave it out")
    notes = [*table.said]
    used = [*goals, *(find(table, column["name"]) for column in inputs)]
    if said.missing == DROP_ROWS and (lost := table.rows - table.one(f"count(*) filter ({complete(used)})")[0]):
        notes.append(f"{lost:,} of {table.rows:,} rows are left out, a value is missing in them")
        if lost == table.rows:
            problems.append(f"{table.path}: data.missing=drop_rows leaves no row; a value is missing in each")
    values = {**_together(table, goals, targets), "shape": [sum(map(width, inputs))], "columns": inputs, "said": notes}
    values["fingerprint"] = fingerprint(own_files(path, *beside), cache)
    return Facts(values, described, problems)


table_facts = Reader(inspect_table)


def own_files(*paths: str | Sequence[str] | None) -> dict[str, list[Path]]:
    """The files of a person's table, each by its name."""
    return {file: [Path(file)] for path in paths if path is not None for file in files_of(path)}


def _goals(table: TableFile, target: Any, kind: str | None, tasks: Mapping[str, str]) -> list[int]:
    """The positions of the target columns. Refused: none, and several where the task takes one."""
    if target is None or target == []:
        raise Refused(f"data.target: which column is to be predicted? {table.path} has {shown(table.names)}")
    names = target if isinstance(target, Sequence) and not isinstance(target, str) else [target]
    goals = [find(table, name, "data.target") for name in names]
    if len(goals) > 1 and (kind in (CLASSES, TWO) or len({*goals}) < len(goals)):
        way = f"leave data.task out, or set data.task={tasks[LABELS]}" if LABELS in tasks else "leave data.task out"
        raise Refused(f"data.target={[*names]}: several targets are values or labels, each named once; {way}")
    return goals


def _left_out(
    table: TableFile,
    goals: Sequence[int],
    columns: Sequence[Any] | None,
    ignore: Sequence[Any] | None,
    apart: Mapping[str, Any],
) -> dict[int, str]:
    """What becomes of columns that are neither inputs nor targets. Refused: a target that is named as one of these."""
    if ignore is None:
        raise Refused("data.ignore=null: expected a list of columns, or [] for none")
    for key, names in {"columns": columns, "ignore": ignore}.items():
        if isinstance(names, str) or not isinstance(names, Sequence | None):
            raise Refused(f"data.{key}={names}: expected a list of columns, as data.{key}=[{names}]")
    ignored = [find(table, name, "data.ignore") for name in ignore]
    chosen = range(len(table.names)) if columns is None else [find(table, name, "data.columns") for name in columns]
    aside = {find(table, name, f"data.{key}"): key for key, name in apart.items() if name is not None}
    named = {"ignore": ignored, "columns": [] if columns is None else chosen, **{k: [at] for at, k in aside.items()}}
    for key, places in named.items():
        if both := [table.names[at] for at in places if at in goals]:
            raise Refused(f"data.{key} names {both[0]}, which is the target; leave it out there")
    found = {at: "left out: not in data.columns" for at in range(len(table.names)) if at not in chosen}
    found |= {at: "left out: data.ignore" for at in ignored}
    found |= {at: f"the {key}" for at, key in aside.items() if columns is None or at not in chosen}
    return {at: why for at, why in found.items() if at not in goals}


def _said_of_target(found: Mapping[str, Any]) -> str:
    if words := found.get("label_words"):
        return f"a label: '{words[1]}', without it '{words[0]}'"
    return "the target"


def _together(table: TableFile, goals: Sequence[int], targets: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The values for the configuration, of one target or several."""
    found = {key: value for target in targets.values() for key, value in target.items()}
    if not found:
        return {}
    found["outputs"] *= len(goals)
    if "target_written" in found:
        found["target_written"] = [targets[at].get("target_written", "") for at in goals if at in targets]
    words = [targets[at].get("label_words") for at in goals if at in targets]
    if any(words):
        found |= {"classes": [table.names[at] for at in goals], "label_words": words}
    return found


def _unclear(table: TableFile, read: Sequence[Column], said: Words) -> list[str]:
    """Columns whose points may stand between thousands, because other columns have decimal commas."""
    if said.decimal is not None or not any(column.form.startswith(",") for column in read):
        return []
    return [
        f"{table.path}: the points in column '{column.name}' may stand between thousands, because other columns have "
        "decimal\ncommas; set data.decimal=',' if they do, else write them with a comma"
        for column in read
        if could_be_thousands(table, column)
    ]


def find(table: TableFile, name: Any, key: str = "") -> int:
    """The position of a column; Refused suggests the nearest name if it is missing."""
    if str(name) in table.names:
        return table.names.index(str(name))
    near = get_close_matches(str(name), table.names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    where = f" ({key})" if key else ""
    raise Refused(f"{table.path} has no column '{name}'{where}{hint}\nIt has: {shown(table.names)}")


def _description(column: Column, becomes: str) -> dict[str, Any]:
    kind = f"{column.kind} ({column.said})" if column.said else column.kind
    figures = {"missing": column.missing, "distinct": column.distinct, "values": column.shown}
    return {"column": column.name, "becomes": becomes, "kind": kind, **figures}


def complete(columns: Sequence[int]) -> str:
    """The SQL condition of rows in which none of these columns is missing."""
    return " and ".join(f"c{at} is not null" for at in columns)
