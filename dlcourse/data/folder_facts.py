"""Shape and classes of the user's own pictures, read before torch is imported: standard library only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcourse.data.facts import CLASSES, class_facts, kind_of, literal
from dlcourse.errors import Refused

PICTURES = {".png", ".jpg", ".jpeg"}


def folder_facts(
    path: str | None, size: int, channels: int, tasks: Mapping[str, str], task: str | None = None
) -> dict[str, Any]:
    """Task, shape, outputs and classes of PATH/CLASS/*.png|jpg; the classes are in alphabetical order.

    Two folders are two classes with two outputs, unless the binary task is chosen. Refused (2).
    """
    if path is None:
        raise Refused("data=image_folder reads your own pictures: set data.path=FOLDER, with one folder a class in it")
    kind = kind_of(task, tasks) or CLASSES
    if channels not in (1, 3) or not isinstance(size, int) or size < 1:
        raise Refused(f"data.channels={channels} must be 1 or 3, and data.size={size} a number of pixels from 1 on")
    found = pictures(path)
    classes = [literal(path, name) for name in found]
    if len(classes) < 2:
        raise Refused(f"{path} needs a folder a class, at least two; found: {', '.join(classes) or 'none'}")
    if empty := [name for name, files in found.items() if not files]:
        raise Refused(f"{Path(path, empty[0])} holds no PNG or JPEG pictures; add some or remove the folder")
    return {"shape": [channels, size, size], **class_facts(path, "folders", classes, kind, tasks)}


def pictures(path: str | Path) -> dict[str, list[Path]]:
    """The picture files of each class folder, both in alphabetical order."""
    try:
        folders = sorted(p for p in Path(path).iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; set data.path to a folder of folders") from error
    return {p.name: sorted(f for f in p.iterdir() if f.suffix.lower() in PICTURES) for p in folders}
