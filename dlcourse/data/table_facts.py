"""Columns, task and classes of the user's own table, read before torch is imported: standard library only."""

import csv
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dlcourse.data.facts import CLASSES, TWO, VALUES, class_facts, kind_of, literal
from dlcourse.errors import Refused

MISSING = {"", "na", "n/a", "#n/a", "nan", "null"}
LARGEST = (2 - 2**-23) * 2.0**127  # of float32
MOST_CLASSES = 20  # up to this many different integers are classes, more are values
IDENTIFIERS = 20  # with this many rows, a text that differs in every row is an identifier, not a feature

Rows = list[tuple[int, list[str]]]  # (line in an editor, the header being line 1; cells)
Cells = list[tuple[int, str]]


def csv_facts(
    path: str | None, target: str | None, tasks: Mapping[str, str], task: str | None = None
) -> dict[str, Any]:
    """Task, shape, outputs, classes and columns of a CSV file whose column ``target`` is to be predicted.

    A text target, or one of up to 20 different integers, is a class, two of them binary; any other is a value.
    Each other column is a number, or a category with its vocabulary (one input a word). Raises Refused (2).
    """
    if path is None:
        raise Refused("data=csv reads your own file: set data.path=FILE.csv and data.target=COLUMN")
    kind = kind_of(task, tasks)
    names, rows = table(path)
    if target is None:
        raise Refused(f"data.target: which column is to be predicted? {path} has {shown(names)}")
    at = find(path, names, target, "data.target")
    if len(rows) < 2:
        raise Refused(f"{path} has {len(rows)} rows below its header, at least 2 are needed")
    if len(names) < 2:
        raise Refused(f"{path} has the target column '{target}' only, and no column to predict it from")
    cells = {name: [(line, row[i]) for line, row in rows] for i, name in enumerate(names)}
    goal = _goal(path, names[at], cells.pop(names[at]), kind, tasks)
    columns = [_column(path, name, column) for name, column in cells.items()]
    return {**goal, "shape": [sum(len(c["vocabulary"] or "1") for c in columns)], "columns": columns}


def table(path: str | Path) -> tuple[list[str], Rows]:
    """Column names and rows; the separator is comma, semicolon or tab, whichever is most frequent in the header."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=header.count), strict=True, skipinitialspace=True)
            lines: Rows = []
            start = 1
            for row in reader:  # a quoted cell may span lines: messages name the first line of a row
                if row:
                    lines.append((start, [cell.strip() for cell in row]))
                start = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise Refused(f"{path}, row {reader.line_num}: {error}; correct the quotes") from error
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; name a CSV file") from error
    if not lines:
        raise Refused(f"{path} is empty; its first line must name the columns")
    names = [literal(path, name) for name in lines[0][1]]
    for i, name in enumerate(names):
        if not name:
            raise Refused(f"{path}: column {i + 1} has no name; name it, or remove it if it only counts the rows")
        if name in names[:i]:
            raise Refused(f"{path}: two columns are named '{name}'; rename one")
    for line, row in lines[1:]:
        if len(row) != len(names):
            raise Refused(f"{path}, row {line}: {len(row)} cells, but the header has {len(names)}; complete the row")
    return names, lines[1:]


def find(path: str | Path, names: Sequence[str], name: str | None, key: str = "") -> int:
    """The index of a column; Refused suggests the nearest name if it is missing."""
    if name in names:
        return names.index(str(name))
    near = get_close_matches(str(name), names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    where = f" ({key})" if key else ""
    raise Refused(f"{path} has no column '{name}'{where}{hint}\nIt has: {shown(names)}")


def shown(words: Sequence[str]) -> str:
    """The first twenty entries of a list, as text."""
    return ", ".join(words[:20]) + (", …" if len(words) > 20 else "")


def number(text: str) -> float | None:
    """The number in a cell, which may be infinite; None for text."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def value(path: str | Path, name: str, line: int, text: str) -> float:
    """The number in a cell; Refused if it is not a finite number."""
    present(path, name, line, text)
    found = number(text)
    if found is None:
        raise Refused(f"{path}, row {line}: column '{name}' holds numbers, but here '{text}'; correct it")
    if abs(found) > LARGEST:
        raise Refused(f"{path}, row {line}: column '{name}' is {text}; correct it or remove the row")
    return found


def present(path: str | Path, name: str, line: int, text: str) -> str:
    """The text of a cell; Refused if the value is missing."""
    if text.lower() in MISSING:
        raise Refused(f"{path}, row {line}: column '{name}' is missing ('{text}'); fill it in or remove the row")
    return text


def label(text: str) -> str:
    """The name of the class in a cell: 1, 1.0 and 1e0 are one class."""
    found = number(text)
    return str(int(found)) if found is not None and found.is_integer() else text


def _column(path: str, name: str, cells: Cells) -> dict[str, Any]:
    if _numeric(path, name, cells):
        return {"name": name, "kind": "number", "vocabulary": None}
    words = {literal(path, text) for _, text in cells}
    _not_identifiers(path, name, len(words), len(cells))
    return {"name": name, "kind": "category", "vocabulary": sorted(words)}


def _goal(path: str, name: str, cells: Cells, kind: str | None, tasks: Mapping[str, str]) -> dict[str, Any]:
    for line, text in cells:
        present(path, name, line, text)
    if kind == VALUES:
        for line, text in cells:
            value(path, name, line, text)
    numeric = kind in (CLASSES, TWO) or _numeric(path, name, cells)
    numeric = numeric and all(number(text) is not None for _, text in cells)
    labels = {literal(path, label(text)) for _, text in cells}
    if len(labels) < 2:
        raise Refused(f"{path}: the target column '{name}' is '{labels.pop()}' in every row; there is nothing to learn")
    integers = numeric and all(text.lstrip("-").isdigit() for text in labels)
    if kind == VALUES or (kind is None and numeric and not (integers and len(labels) <= MOST_CLASSES)):
        return {"y": VALUES, "task": tasks[VALUES], "outputs": 1, "classes": None}
    if not numeric:
        _not_identifiers(path, name, len(labels), len(cells))
    order = sorted(labels, key=lambda text: (number(text) or 0.0, text) if numeric else (0.0, text))
    return class_facts(path, f"values of '{name}'", order, kind, tasks)


def _numeric(path: str, name: str, cells: Cells) -> bool:
    """Whether a column holds numbers; a missing or infinite value, or one text among numbers, is refused."""
    numbers = sum(number(present(path, name, line, text)) is not None for line, text in cells)
    if 2 * numbers < len(cells):
        return False
    for line, text in cells:
        value(path, name, line, text)
    return True


def _not_identifiers(path: str, name: str, words: int, rows: int) -> None:
    if words == rows >= IDENTIFIERS:
        raise Refused(
            f"{path}: the text in column '{name}' is different in each of the {rows} rows, so nothing can be learned\n"
            "from it. Remove the column, or, if they are numbers, write them with a point: 1.5"
        )
