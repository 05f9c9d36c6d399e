"""The facts of a person's own data, read before torch is imported: standard library only."""

import csv
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dlcourse.errors import Refused

MISSING = {"", "na", "n/a", "#n/a", "nan", "null"}
LARGEST = (2 - 2**-23) * 2.0**127  # of float32
CLASSES = 20  # up to so many different integers are classes, not values
IDENTIFIERS = 20  # from so many rows on, a text that is different in each of them cannot be learned from
TASKS = ("binary", "classes", "values")
PICTURES = {".png", ".jpg", ".jpeg"}

Rows = list[tuple[int, list[str]]]  # (line in an editor, the header being line 1; cells)
Cells = list[tuple[int, str]]


def csv_facts(path: str | None, target: str | None, task: str | None = None) -> dict[str, Any]:
    """Task, shape, outputs, classes and columns of a CSV file whose column ``target`` is to be predicted.

    A text target, or one of up to 20 different integers, is a class, two of them binary; any other is a value.
    Each other column is a number, or a category with its vocabulary (one input a word). Raises Refused (2).
    """
    if path is None:
        raise Refused("data=csv reads your own file: set data.path=FILE.csv and data.target=COLUMN")
    _check_task(task)
    names, rows = table(path)
    if target is None:
        raise Refused(f"data.target: which column is to be predicted? {path} has {shown(names)}")
    at = find(path, names, target, "data.target")
    if len(rows) < 2:
        raise Refused(f"{path} has {len(rows)} rows below its header, at least 2 are needed")
    if len(names) < 2:
        raise Refused(f"{path} has the target column '{target}' only, and no column to predict it from")
    cells = {name: [(line, row[i]) for line, row in rows] for i, name in enumerate(names)}
    goal = _goal(path, names[at], cells.pop(names[at]), task)
    columns = [_column(path, name, column) for name, column in cells.items()]
    return {**goal, "shape": [sum(len(c["vocabulary"] or "1") for c in columns)], "columns": columns}


def folder_facts(path: str | None, size: int, channels: int, task: str | None = None) -> dict[str, Any]:
    """Task, shape, outputs and classes of PATH/CLASS/*.png|jpg; the classes are in alphabetical order.

    The task is ``classes`` unless ``binary`` is asked for. Raises Refused (2).
    """
    if path is None:
        raise Refused("data=image_folder reads your own pictures: set data.path=FOLDER, with one folder a class in it")
    _check_task(task)
    if task == "values":
        raise Refused("data.task=values does not fit data=image_folder, whose folders are classes")
    if channels not in (1, 3) or not isinstance(size, int) or size < 1:
        raise Refused(f"data.channels={channels} must be 1 or 3, and data.size={size} a number of pixels from 1 on")
    found = pictures(path)
    classes = [_literal(path, name) for name in found]
    if len(classes) < 2:
        raise Refused(f"{path} needs a folder a class, at least two; found: {', '.join(classes) or 'none'}")
    if empty := [name for name, files in found.items() if not files]:
        raise Refused(f"{Path(path, empty[0])} holds no PNG or JPEG pictures; add some or remove the folder")
    return {"shape": [channels, size, size], **_labels(path, "folders", classes, task or "classes")}


def table(path: str | Path) -> tuple[list[str], Rows]:
    """Column names and rows; fields are separated by comma, semicolon or tab, whichever the header has most of."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=header.count), strict=True, skipinitialspace=True)
            lines: Rows = []
            start = 1
            for row in reader:  # a quoted cell may span lines: a row is named by its first
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
    names = [_literal(path, name) for name in lines[0][1]]
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
    """Where a column stands; a missing one is refused with the nearest name."""
    if name in names:
        return names.index(str(name))
    near = get_close_matches(str(name), names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    where = f" ({key})" if key else ""
    raise Refused(f"{path} has no column '{name}'{where}{hint}\nIt has: {shown(names)}")


def shown(words: Sequence[str]) -> str:
    """The first twenty words of a list."""
    return ", ".join(words[:20]) + (", …" if len(words) > 20 else "")


def number(text: str) -> float | None:
    """The number a cell holds, which may be infinite; None for text."""
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def value(path: str | Path, name: str, line: int, text: str) -> float:
    """The finite number a cell must hold."""
    present(path, name, line, text)
    found = number(text)
    if found is None:
        raise Refused(f"{path}, row {line}: column '{name}' holds numbers, but here '{text}'; correct it")
    if abs(found) > LARGEST:
        raise Refused(f"{path}, row {line}: column '{name}' is {text}; correct it or remove the row")
    return found


def present(path: str | Path, name: str, line: int, text: str) -> str:
    """The cell, unless it stands for a missing value."""
    if text.lower() in MISSING:
        raise Refused(f"{path}, row {line}: column '{name}' is missing ('{text}'); fill it in or remove the row")
    return text


def label(text: str) -> str:
    """The name of the class in a cell: 1, 1.0 and 1e0 are one class."""
    found = number(text)
    return str(int(found)) if found is not None and found.is_integer() else text


def pictures(path: str | Path) -> dict[str, list[Path]]:
    """The picture files of each class folder, both in alphabetical order."""
    try:
        folders = sorted(p for p in Path(path).iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; set data.path to a folder of folders") from error
    return {p.name: sorted(f for f in p.iterdir() if f.suffix.lower() in PICTURES) for p in folders}


def _column(path: str, name: str, cells: Cells) -> dict[str, Any]:
    if _numeric(path, name, cells):
        return {"name": name, "kind": "number", "vocabulary": None}
    words = {_literal(path, text) for _, text in cells}
    _not_identifiers(path, name, len(words), len(cells))
    return {"name": name, "kind": "category", "vocabulary": sorted(words)}


def _goal(path: str, name: str, cells: Cells, task: str | None) -> dict[str, Any]:
    for line, text in cells:
        present(path, name, line, text)
    if task == "values":
        for line, text in cells:
            value(path, name, line, text)
    numeric = task in ("binary", "classes") or _numeric(path, name, cells)
    numeric = numeric and all(number(text) is not None for _, text in cells)
    labels = {_literal(path, label(text)) for _, text in cells}
    if len(labels) < 2:
        raise Refused(f"{path}: the target column '{name}' is '{labels.pop()}' in every row; there is nothing to learn")
    integers = numeric and all(text.lstrip("-").isdigit() for text in labels)
    if task == "values" or (task is None and numeric and not (integers and len(labels) <= CLASSES)):
        return {"task": "values", "outputs": 1, "classes": None}
    if not numeric:
        _not_identifiers(path, name, len(labels), len(cells))
    order = sorted(labels, key=lambda text: (number(text) or 0.0, text) if numeric else (0.0, text))
    return _labels(path, f"values of '{name}'", order, task)


def _labels(path: str, what: str, classes: list[str], task: str | None) -> dict[str, Any]:
    task = task or ("binary" if len(classes) == 2 else "classes")
    if task == "binary" and len(classes) != 2:
        raise Refused(f"data.task=binary needs two classes, {path} has {len(classes)} {what}; leave data.task out")
    return {"task": task, "outputs": 1 if task == "binary" else len(classes), "classes": classes}


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


def _literal(path: str | Path, text: str) -> str:
    """Text that a config can hold as it stands: ${…} would be evaluated there, ??? means unset."""
    if "${" in text or text == "???":
        raise Refused(f"{path}: the text '{text}' is refused, because '${{' and '???' have a meaning in configs")
    return text


def _check_task(task: str | None) -> None:
    if task is not None and task not in TASKS:
        raise Refused(f"data.task={task} must be one of {', '.join(TASKS)}, or left out")
