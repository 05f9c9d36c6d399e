"""The pictures and classes of a data set as Hugging Face's ``datasets`` writes it: which columns, and their rows.

Imports neither torch nor lightning.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcourse.data.folder_files import named, sets_said
from dlcourse.data.huggingface_files import (
    CLASSES,
    PICTURES,
    Feature,
    Split,
    column,
    features,
    rows_in,
    schema_of,
    splits_in,
)
from dlcourse.errors import Refused

if TYPE_CHECKING:
    from dlcourse.data.picture_file import Encoded

UNLABELLED = -1  # of a ClassLabel


class Columns(NamedTuple):
    """The columns of pictures and of their classes; ``names`` of these, if the data set gives any."""

    image: str
    target: str
    names: list[str] | None


class Part(NamedTuple):
    """A set: its split, and the class of each row, None without one."""

    split: Split
    classes: list[str | None]


class Sets(NamedTuple):
    """The sets ``train``, ``val`` and ``test``; the classes in order; sentences on what is not read; what is wrong."""

    columns: Columns
    parts: dict[str, Part]
    classes: list[str]
    said: list[str]
    problems: list[str]


def read_sets(folder: Path, path: str, image: str | None = None, target: str | None = None) -> Sets:
    """The classes of all rows of a data set in a folder, called ``path`` in messages."""
    found = splits_in(folder)
    schema = schema_of(found.sets["train"].files[0])
    columns = _columns(schema, path, image, target)
    values = {part: _values(split, columns) for part, split in found.sets.items()}
    unlabelled = [part for part, each in values.items() if part != "train" and not {*each} - {None}]
    classes = columns.names or [str(value) for value in sorted({*values["train"]} - {None})]
    parts = {
        part: Part(split, [_word(value, columns) for value in values[part]])
        for part, split in found.sets.items()
        if part not in unlabelled
    }
    names = {part: each.split.name for part, each in parts.items()}
    left_out = {"without labels": [found.sets[part] for part in unlabelled], "none of the sets": found.left_out}
    said = [sets_said("splits", names)] if names != {"train": "train"} else []
    said += [
        f"left out, as {why}: the split {split.name}, {rows_in(split.files):,} rows"
        for why, splits in left_out.items()
        for split in splits
    ]
    if others := [name for name in schema.names if name not in columns[:2]]:
        said.append(f"left out, as other columns: {len(others):,} ({', '.join(others)})")
    if found.others:
        said.append(f"left out, as no Parquet files: {len(found.others):,} ({named(found.others)})")
    problems = [each for part in parts.values() for each in _problems(part, columns, classes, path)]
    return Sets(columns, parts, classes, said, problems)


def _problems(part: Part, columns: Columns, classes: list[str], path: str) -> Iterator[str]:
    """What is wrong with the classes of a set."""
    name = part.split.name
    if count := part.classes.count(None):
        first = part.classes.index(None)
        yield f"{path}: {count:,} rows of {name} have no {columns.target}, first row {first:,} (from 0); remove them"
    if (names := features(schema_of(part.split.files[0]))[columns.target].names) != columns.names:
        yield f"{path}: {name} calls the classes {names}, training {columns.names}"
    if unknown := sorted({*part.classes} - {*classes, None}, key=str):
        yield f"{path}: {name} has the class '{unknown[0]}', which training does not have; remove its rows"


def pictures(split: Split, image: str, path: str) -> "Iterator[Encoded]":
    """The picture of each row, still encoded; without content where there is none."""
    from dlcourse.data.picture_file import Encoded

    row = 0
    for values in column(split.files, image):
        for value in values:
            found = value.as_py() or {}
            content, name = (found, None) if isinstance(found, bytes) else (found.get("bytes"), found.get("path"))
            yield Encoded(
                f"{path}: row {row:,} (from 0) of {split.name}" + (f", {name}," if name else ""), content or b""
            )
            row += 1


def _columns(schema: Any, path: str, image: str | None, target: str | None) -> Columns:
    """The columns to use: those that are named, or the only one that can be meant."""
    written = features(schema)
    kinds = {field.name: _kind(field, written[field.name]) for field in schema}
    listed = ", ".join(f"{name} ({kind[:40]})" for name, kind in kinds.items())
    chosen = {}
    for key, name, kind in (("image", image, PICTURES), ("target", target, CLASSES)):
        only = [each for each, found in kinds.items() if found == kind]
        if name is None and len(only) != 1:
            raise Refused(
                f"{path} has {'several columns' if only else 'no column'} of {kind}; set data.{key}\nIt has: {listed}"
            )
        chosen[key] = only[0] if name is None else str(name)
        if chosen[key] not in kinds:
            raise Refused(f"{path} has no column '{name}' (data.{key})\nIt has: {listed}")
    image, target = chosen.values()
    if kinds[image] != PICTURES and not _are_bytes(schema.field(image).type):
        raise Refused(f"{path}: data.image={image} holds no pictures, but {kinds[image]}\nIt has: {listed}")
    if kinds[target] != CLASSES and not _are_words(schema.field(target).type):
        raise Refused(
            f"{path}: data.target={target} holds {kinds[target]}; pictures are learned by class: {CLASSES}, strings, "
            f"whole numbers or bool\nIt has: {listed}"
        )
    return Columns(image, target, written[target].names)


def _kind(field: Any, written: Feature) -> str:
    """A column's kind where it is no plain value, else its type; a picture without a kind is known by its parts."""
    from pyarrow import types

    if written.kind not in ("", "Value"):
        return written.kind
    of_struct = types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    return PICTURES if of_struct else str(field.type)


def _are_bytes(of: Any) -> bool:
    from pyarrow import types

    return types.is_binary(of) or types.is_large_binary(of)


def _are_words(of_column: Any) -> bool:
    from pyarrow import types

    of = of_column.value_type if types.is_dictionary(of_column) else of_column
    return types.is_string(of) or types.is_large_string(of) or types.is_integer(of) or types.is_boolean(of)


def _values(split: Split, columns: Columns) -> list[Any]:
    """The target of each row; None where a class is missing, nothing where all are."""
    if columns.target not in schema_of(split.files[0]).names:
        return []
    values = [value for part in column(split.files, columns.target) for value in part.to_pylist()]
    return values if columns.names is None else [None if value == UNLABELLED else value for value in values]


def _word(value: Any, columns: Columns) -> str | None:
    """The class of a value."""
    if value is None:
        return None
    return columns.names[value] if columns.names and 0 <= value < len(columns.names) else str(value)
