"""Sections of a report: plots, pictures with captions, a table. Loggers show the same."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from dlcourse.plots.drawing import Drawing


@dataclass
class Plot:
    """A plot (``svg`` or ``uri``) with its ``alt`` text and ``caption``, or the ``problem`` that prevented it."""

    alt: str
    caption: str = ""
    svg: Markup | None = None
    uri: str | None = None
    problem: str = ""
    width: float = 4.4  # inches


class Cell(NamedTuple):
    """A value of a table and its text on the page; ``look`` is ``right``, ``wrong`` or empty."""

    value: Any
    text: str
    look: str = ""


@dataclass
class Table:
    """Named columns and rows of cells."""

    columns: list[str]
    rows: list[list[Cell]]


@dataclass
class Picture:
    """A PIL image, the same as a data URI, its alt text, and the lines below it with their look."""

    image: Any
    uri: str
    alt: str
    lines: list[tuple[str, str]]


@dataclass
class Section:
    """A section of a report; ``key`` is its name for loggers.

    ``classes``: the class names with the true and the predicted class of each test sample, for a logger's own confusion
    matrix.
    """

    key: str
    title: str
    text: str = ""
    plots: list[Plot] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    table: Table | None = None
    classes: tuple[Sequence[str], list[int], list[int]] | None = None


def draw(alt: str, make: Callable[[], "Drawing"], caption: str = "") -> Plot:
    """A plot, or the reason why it failed."""
    try:
        drawing = make()
        return Plot(alt, caption, svg=Markup(drawing.svg), width=drawing.width)  # its text is escaped by matplotlib
    except Exception as error:
        return Plot(alt, problem=warn_section_failed(alt, error))


def warn_section_failed(title: str, error: Exception) -> str:
    """Warn that a part of the page failed; returns the message that the page shows instead."""
    problem = f"{title} cannot be shown: {type(error).__name__}: {error}"
    warnings.warn(f"report: {problem}", stacklevel=3)
    return problem
