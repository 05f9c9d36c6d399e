"""What a section of a report holds: figures, pictures with words below them, a table. Loggers show the same."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from dlcourse.plots.drawing import Drawing


@dataclass
class Figure:
    """A drawing, described in words (``alt``) and explained (``caption``); or the trouble there was in drawing it."""

    alt: str
    caption: str = ""
    svg: Markup | None = None
    uri: str | None = None
    trouble: str = ""
    width: float = 4.4  # inches


class Cell(NamedTuple):
    """A value of a table, and how the page writes it; ``look`` is right, wrong or nothing."""

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
    """A PIL image, the same as a data URI, described in words, and the lines below it with their look."""

    image: Any
    uri: str
    alt: str
    lines: list[tuple[str, str]]


@dataclass
class Section:
    """A titled part of a report. ``key`` is its name for loggers.

    ``classes`` are the class names with the true and the predicted class of each test row, for a logger's own
    confusion matrix.
    """

    key: str
    title: str
    text: str = ""
    figures: list[Figure] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    table: Table | None = None
    classes: tuple[Sequence[str], list[int], list[int]] | None = None


def draw(alt: str, make: Callable[[], "Drawing"], caption: str = "") -> Figure:
    """One figure, or the reason why there is none."""
    try:
        drawing = make()
        return Figure(alt, caption, svg=Markup(drawing.svg), width=drawing.width)  # its text is escaped by matplotlib
    except Exception as error:
        return Figure(alt, trouble=complain(alt, error))


def complain(what: str, error: Exception) -> str:
    """What the page says in place of something that failed; the terminal is told as well."""
    trouble = f"{what} cannot be shown: {type(error).__name__}: {error}"
    warnings.warn(f"report: {trouble}", stacklevel=3)
    return trouble
