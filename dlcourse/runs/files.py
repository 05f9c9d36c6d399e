"""Files of a run: written whole or not at all, read as far as they are whole."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from dlcourse.internals import text_representer


class Dumper(yaml.CSafeDumper):
    """PyYAML's in C, in a sixth of the time, with OmegaConf's quotes: 1e-3 as text is a number to its reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_representer(str, text_representer())


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. What is no Unicode (of a file's name) is escaped, as JSON escapes it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    try:
        text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        text = OmegaConf.to_yaml(value)
    write(path, text)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; a last one that was cut short is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def series(row: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Figures whose names end in numbers, as gradient/1, gradient/2, …: by their common name, in order."""
    found: dict[str, dict[int, float]] = {}
    for key, value in row.items():
        name, _, place = key.rpartition("/")
        if place.isdigit() and isinstance(value, int | float):
            found.setdefault(name, {})[int(place)] = float(value)
    return {name: dict(sorted(line.items())) for name, line in found.items()}


def read_overrides(run_dir: Path) -> list[str]:
    """The overrides of a run as they were written, ``${…}`` included; none where overrides.yaml is missing."""
    path = run_dir / "overrides.yaml"
    words = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else []
    return [str(word) for word in words or []]
