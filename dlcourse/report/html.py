"""What the pages of runs and sweeps have in common: the template, figures or why there are none, numbers in words."""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dlcourse.plots.drawing import Drawing


@dataclass
class Figure:
    """A picture, said in words (``alt``) and explained (``caption``); or the trouble there was in drawing it."""

    alt: str
    caption: str = ""
    svg: Markup | None = None
    uri: str | None = None
    trouble: str = ""
    width: float = 4.4  # inches


def complain(what: str, error: Exception) -> str:
    """What the page says in place of something that failed; the terminal hears it too."""
    trouble = f"{what} cannot be shown: {type(error).__name__}: {error}"
    warnings.warn(f"report: {trouble}", stacklevel=3)
    return trouble


def draw(alt: str, make: Callable[[], Drawing], caption: str = "") -> Figure:
    """One figure, or the reason why there is none."""
    try:
        drawing = make()
        return Figure(alt, caption, svg=Markup(drawing.svg), width=drawing.width)  # its text is escaped by matplotlib
    except Exception as error:
        return Figure(alt, trouble=complain(alt, error))


def template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class names, words and configuration are other people's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def command(words: list[str]) -> str:
    """The words once more for a shell; without run_dir, which holds this run already."""
    return shlex.join(["python", "train.py", *(word for word in words if not word.startswith("run_dir="))])


def number(value: Any) -> str:
    """Four significant digits of a number; a large one whole, its thousands set apart."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,.0f}" if isinstance(value, int) or 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
