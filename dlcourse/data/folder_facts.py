"""Shape, classes and pixels of a person's own pictures, read before torch is imported."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dlcourse.data.facts import CLASSES, Facts, Reader, class_facts, kind_of, literal
from dlcourse.data.fingerprint import fingerprint, sums_of
from dlcourse.data.folder_files import NAMES, Listing, list_folder
from dlcourse.data.picture_facts import check_pixels, examined, pixels_of
from dlcourse.errors import Refused, in_utf8, one_line


def inspect_folder(
    path: str | None,
    size: int,
    channels: int,
    tasks: Mapping[str, str],
    task: str | None = None,
    white: float | None = None,
    ground: str | None = None,
    resize: str = "squeeze",
    cache: str | None = None,
    whole: bool = True,
) -> Facts:
    """Task, shape, outputs and classes of the pictures in a folder, in alphabetical order; how they become pixels.

    Two folders are two classes with two outputs, unless the binary task is chosen. ``white`` and ``ground``: see
    `pixels_of`.

    ``problems``: all that is wrong with the folders and files, which are read as a ``whole`` or by their headers.
    Refused: a folder that cannot be read at all.
    """
    if path is None:
        raise Refused("data=image_folder reads your own pictures: set data.path=FOLDER, with one folder a class in it")
    kind = kind_of(task, tasks) or CLASSES
    check_pixels(size, channels, ground, resize)
    listing = list_folder(path)
    classes = [literal(path, name) for name in listing.sets["train"]]
    if unreadable := [name for name in classes if in_utf8(name) != name]:
        raise Refused(f"{path}: the name of the folder {one_line(unreadable[0])} is no UTF-8; rename it")
    if len(classes) < 2:
        raise Refused(f"{path} needs a folder a class, at least two; found: {one_line(', '.join(classes)) or 'none'}")
    facts = class_facts(path, "folders", classes, kind, tasks)
    problems = [*_problems(Path(path), listing)]
    files = [file for group in listing.sets.values() for name in classes for file in group.get(name, ())]
    every = examined(files, len(files), files, cache, whole)
    of_file = dict(zip(files, every, strict=True))
    found = {
        name: {part: [of_file[file] for file in group.get(name, ())] for part, group in listing.sets.items()}
        for name in classes
    }
    problems += [each.fault for each in every if each.fault]
    pixels = pixels_of(found, size, channels, white, ground, resize)
    said = [*listing.said, *pixels.said]
    if whole and (repeated := _repeated(listing, cache)):
        said.append(f"{repeated:,} files are the same as another, byte by byte")
    values = {**facts, **pixels.values, "said": said}
    values["fingerprint"] = fingerprint(listing.by_folder(path), cache)
    return Facts(values, pixels.described, problems)


folder_facts = Reader(inspect_folder, whole=False)


def _problems(path: Path, listing: Listing) -> Iterator[str]:
    """What is wrong with the folders: a class without pictures, or that training does not have, or the test."""
    known = listing.sets["train"]
    for part, classes in listing.sets.items():
        folder = listing.folders.get(part, path)
        if not classes and part != "train":
            yield f"{folder} has no class folders; move its pictures into these, or the folder out of {path}"
            continue
        for name, files in classes.items():
            if name not in known:
                yield f"{one_line(folder / name)}: training has no class of that name; rename or remove the folder"
            elif not files and (part != "val" or not any(classes.values())):
                yield f"{one_line(folder / name)} holds no pictures ({NAMES}); add some or remove the folder"
        if part == "test" and (lost := [name for name in known if name not in classes]):
            lacking = one_line(lost[0])
            yield f"{folder} has no folder {lacking}, which is a class of training; add it or remove that class"


def _repeated(listing: Listing, cache: str | None) -> int:
    """How many files are the same as another."""
    files = [file for classes in listing.sets.values() for group in classes.values() for file in group]
    return len(files) - len({*sums_of(files, cache).values()})
