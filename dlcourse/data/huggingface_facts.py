"""Shape, classes and pixels of a data set as Hugging Face's ``datasets`` writes it, before torch is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dlcourse.data.facts import CLASSES, Facts, Reader, class_facts, kind_of, literal
from dlcourse.data.fingerprint import fingerprint
from dlcourse.data.hub import located
from dlcourse.data.huggingface_rows import Part, pictures, read_sets
from dlcourse.data.picture_facts import check_pixels, examined, pixels_of
from dlcourse.errors import Refused

if TYPE_CHECKING:
    from dlcourse.data.picture_file import Examined


def inspect_huggingface(
    path: str | None,
    size: int,
    channels: int,
    tasks: Mapping[str, str],
    task: str | None = None,
    white: float | None = None,
    ground: str | None = None,
    resize: str = "squeeze",
    cache: str | None = None,
    image: str | None = None,
    target: str | None = None,
    revision: str | None = None,
    fetched: str = "huggingface",
    whole: bool = True,
) -> Facts:
    """Task, shape, outputs and classes of the pictures in column ``image`` by column ``target``, and their pixels.

    ``path``: a folder, a file, or a name of the hub, whose ``revision`` becomes the commit and is ``fetched`` to a
    folder. ``white`` and ``ground``: see `pixels_of`. A ClassLabel gives the order of the classes, other values their
    own.

    ``problems``: all that is wrong with rows. Refused: files that cannot be read at all, columns that are not there.
    """
    if not isinstance(path, str):
        raise Refused(
            "data=huggingface reads a data set as `datasets` writes it: set data.path=FOLDER, or to a name of the hub, "
            "as ylecun/mnist"
        )
    kind = kind_of(task, tasks) or CLASSES
    check_pixels(size, channels, ground, resize)
    folder, commit = located(path, revision, Path(fetched))
    sets = read_sets(folder, path, image, target)
    classes = [literal(path, name) for name in sets.classes]
    if len(classes) < 2:
        raise Refused(f"{path} needs at least two classes in {sets.columns.target}; found: {', '.join(classes) or '0'}")
    facts = class_facts(path, "classes", classes, kind, tasks)
    found: dict[str, dict[str, list[Examined]]] = {name: {part: [] for part in sets.parts} for name in classes}
    problems = [*sets.problems]
    for name, part in sets.parts.items():
        every = _examined(part, sets.columns.image, path, cache, whole)
        for label, each in zip(part.classes, every, strict=True):
            if label in found:
                found[label][name].append(each)
        problems += [each.fault for each in every if each.fault]
    pixels = pixels_of(found, size, channels, white, ground, resize)
    files = {f"{path} ({part.split.name})": [*part.split.files] for part in sets.parts.values()}
    columns = {"image": literal(path, sets.columns.image), "target": literal(path, sets.columns.target)}
    values = {**facts, **pixels.values, **columns, "revision": commit, "said": [*sets.said, *pixels.said]}
    return Facts({**values, "fingerprint": {} if commit else fingerprint(files, cache)}, pixels.described, problems)


huggingface_facts = Reader(inspect_huggingface, whole=False)


def _examined(part: Part, image: str, path: str, cache: str | None, whole: bool) -> "list[Examined]":
    rows = pictures(part.split, image, path)
    return examined(rows, len(part.classes), part.split.files, cache, whole, part.split.name, image)
