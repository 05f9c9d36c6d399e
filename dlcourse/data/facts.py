"""Shared by the readers of a person's own files: kinds of y, classes, and names that a configuration can hold."""

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Any, NamedTuple

from dlcourse.errors import Refused, one_line, printable

#: Kinds of y: values, several classes, two classes, labels.
VALUES, CLASSES, TWO, LABELS = "values", "classes", "two", "labels"


class Facts(NamedTuple):
    """What a person's files hold: values for the configuration, a description in rows, and what is wrong."""

    values: dict[str, Any]
    described: list[dict[str, Any]]
    problems: list[str]


class Reader:
    """The values that ``inspect`` finds, for the configuration. Refused (2), for the first problem.

    ``quicker``: arguments of ``inspect`` where a run follows, which reads all of the files.
    """

    def __init__(self, inspect: Callable[..., Facts], **quicker: Any):
        self.inspect, self.quicker = inspect, quicker
        update_wrapper(self, inspect)

    def __call__(self, *given: Any, **named: Any) -> dict[str, Any]:
        facts = self.inspect(*given, **named, **self.quicker)
        if facts.problems:
            raise Refused(facts.problems[0])
        return {**facts.values, "described": facts.described}


def describe(rows: Sequence[Mapping[str, Any]], said: Sequence[str]) -> str:
    """What was read, as text: sentences on the whole, and a table."""
    from tabulate import tabulate

    shown = [{key: one_line(value) for key, value in row.items()} for row in rows]
    table = [tabulate(shown, headers="keys", disable_numparse=True)] if shown else []
    return "\n".join([*map(printable, said), *table])


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
        raise Refused(
            f"{path}: the text '{one_line(text)}' is refused, because '${{' and '???' have a meaning in configs"
        )
    return text
