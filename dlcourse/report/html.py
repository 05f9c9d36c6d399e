"""What the pages of runs and sweeps have in common: the template, figures or why there are none, numbers in words."""

import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


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
