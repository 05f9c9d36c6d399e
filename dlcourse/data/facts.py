"""What the readers of a person's own files share: the kind of y, its classes, names that a configuration can hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcourse.errors import Refused

#: Kinds of y that a reader finds: values, several classes, two of them.
VALUES, CLASSES, TWO = "values", "classes", "two"


def kind_of(task: str | None, tasks: Mapping[str, str]) -> str | None:
    """The kind of y that a task asks for; ``tasks`` maps each kind to the task that learns it. None: none is asked."""
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
    """y, task, outputs and classes where a row is of one class."""
    kind = kind or (TWO if len(classes) == 2 else CLASSES)
    if kind == TWO and len(classes) != 2:
        raise Refused(
            f"data.task={tasks[TWO]} needs two classes, {path} has {len(classes)} {what}; leave data.task out"
        )
    return {"y": CLASSES, "task": tasks[kind], "outputs": len(classes), "classes": list(classes)}


def literal(path: str | Path, text: str) -> str:
    """Text that a configuration can hold as it stands: ${…} would be evaluated there, ??? means unset."""
    if "${" in text or text == "???":
        raise Refused(f"{path}: the text '{text}' is refused, because '${{' and '???' have a meaning in configs")
    return text
