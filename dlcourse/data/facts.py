"""Shared by the readers of the user's own files: kinds of y, classes, and names that a configuration can hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcourse.errors import Refused

#: Kinds of y: values, several classes, two classes, labels.
VALUES, CLASSES, TWO, LABELS = "values", "classes", "two", "labels"


def kind_of(task: str | None, tasks: Mapping[str, str]) -> str | None:
    """The kind of y that a task needs (None without a task); ``tasks`` maps each kind to its task."""
    if task is None:
        return None
    found = [kind for kind, name in tasks.items() if name == task]
    if not found:
        now = f"; {task} is called {tasks[task]}" if task in tasks else ""
        raise Refused(f"data.task={task} must be one of {', '.join(tasks.values())}, or left out{now}")
    return found[0]


def class_facts(
    path: str, what: str, classes: Sequence[str], kind: str | None, tasks: Mapping[str, str]
) -> dict[str, Any]:
    """The configuration values y, task, outputs and classes for a classification data set."""
    kind = kind or (TWO if len(classes) == 2 else CLASSES)
    if kind == TWO and len(classes) != 2:
        raise Refused(
            f"data.task={tasks[TWO]} needs two classes, {path} has {len(classes)} {what}; leave data.task out"
        )
    return {"y": CLASSES, "task": tasks[kind], "outputs": len(classes), "classes": list(classes)}


def literal(path: str | Path, text: str) -> str:
    """The text, if a configuration can hold it literally: there ${…} would be evaluated, and ??? means unset."""
    if "${" in text or text == "???":
        raise Refused(f"{path}: the text '{text}' is refused, because '${{' and '???' have a meaning in configs")
    return text
