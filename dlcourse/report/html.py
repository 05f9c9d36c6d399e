"""Helpers for all pages: templates, commands and numbers as text."""

import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class names, overrides and configuration are untrusted text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def command(overrides: list[str]) -> str:
    """The shell command with these overrides, without run_dir, which is taken by this run."""
    return shlex.join(
        ["python", "train.py", *(override for override in overrides if not override.startswith("run_dir="))]
    )


def number(value: Any) -> str:
    """A number with four significant digits; a large one rounded, with thousands separators."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,.0f}" if isinstance(value, int) or 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
