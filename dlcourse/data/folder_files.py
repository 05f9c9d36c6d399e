"""The files of a folder of pictures, by set and class: standard library only."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlcourse.errors import Refused, one_line

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
NAMES = "PNG, JPEG, WebP, BMP, TIFF or GIF"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
OF_BEFORE = (".png", ".jpg", ".jpeg")  # what runs of before read
HIDDEN = ("Thumbs.db", "desktop.ini", "MACOSX")  # written by systems, besides names that begin with a point
#: The names of the folders of sets, in any case.
SETS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
SHOWN = 3


class Listing(NamedTuple):
    """The picture files of each set and class, in alphabetical order; files that are ``left_out``, by the reason.

    ``folders``: the folder of each set, empty if there is no such division: then all files are in the set ``train``.
    """

    sets: dict[str, dict[str, list[Path]]]
    folders: dict[str, Path]
    left_out: dict[str, list[Path]]

    def by_folder(self, path: str | Path) -> dict[str, list[Path]]:
        """The picture files below each class folder of PATH."""
        folders = {part: self.folders.get(part, Path(path)) for part in self.sets}
        return {str(folders[part] / name): files for part, group in self.sets.items() for name, files in group.items()}

    @property
    def said(self) -> list[str]:
        """What is left out, in sentences with the count, and where sets are divided."""
        told = [f"left out, {why}: {len(paths):,} ({named(paths)})" for why, paths in self.left_out.items()]
        names = {part: folder.name for part, folder in self.folders.items()}
        return [sets_said("folders", names), *told] if names else told


def sets_said(what: str, names: Mapping[str, str]) -> str:
    """Which folders or splits, by their names, are the sets, and that others are cut from training."""
    cut = {"val": "; validation is cut from training", "test": "; the test set is cut from training"}
    lacking = "".join(text for part, text in cut.items() if part not in names)
    return f"the sets are the {what} {', '.join(names.values())}{lacking}"


def list_folder(path: str | Path) -> Listing:
    """The pictures of PATH/CLASS, or of PATH/train/CLASS, PATH/val/CLASS and PATH/test/CLASS.

    A folder below a class folder belongs to the class. A folder ``train`` with folders in it, beside one of validation
    or of test, holds the training set. Refused: no such folder.
    """
    left_out: dict[str, list[Path]] = {}
    try:
        top = _folders(Path(path), (os.path.realpath(path),))
        folders = _folders_of_sets(top)
        beside = "as beside the folders of " + ("sets" if folders else "classes")
        for p in sorted(Path(path).iterdir()):
            if p not in (folders.values() if folders else top):
                _leave_out(left_out, p, beside)
        listed: dict[str, dict[str, list[Path]]] = {}
        for name, folder in (folders or {"train": Path(path)}).items():
            above = os.path.realpath(path), os.path.realpath(folder)
            classes = _folders(folder, above)
            for p in sorted(folder.iterdir()) if folders else ():
                if p not in classes:
                    _leave_out(left_out, p, "as beside the folders of classes")
            listed[name] = {p.name: [*_pictures(p, left_out, above)] for p in classes}
        return Listing(listed, folders, left_out)
    except OSError as error:
        raise Refused(
            f"{error.filename or path} cannot be read: {error.strerror}; set data.path to a folder of folders"
        ) from error


def files_of_before(path: Path) -> dict[str, list[Path]]:
    """The files that runs of before read: PNG and JPEG, of the class folders alone."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: sorted(f for f in p.iterdir() if f.suffix.lower() in OF_BEFORE) for p in folders}


def _folders(path: Path, above: tuple[str, ...] = ()) -> list[Path]:
    """The folders in a folder, without hidden ones, and links to one ``above``."""
    found = sorted(p for p in path.iterdir() if p.is_dir() and not _hidden(p.name))
    return [p for p in found if os.path.realpath(p) not in above]


def _folders_of_sets(folders: list[Path]) -> dict[str, Path]:
    """The folder of each set, if training has class folders and another set is beside it."""
    found = {name: p for name, words in SETS.items() for p in folders if p.name.lower() in words}
    return found if len(found) > 1 and "train" in found and _folders(found["train"]) else {}


def named(paths: Sequence[Path]) -> str:
    """The first names of a list of files."""
    return ", ".join(one_line(f"{p.parent.name}/{p.name}") for p in paths[:SHOWN]) + ", …" * (len(paths) > SHOWN)


def is_picture(name: str) -> bool:
    """Whether the name of a file is that of a picture, and not hidden."""
    return name.lower().endswith(SUFFIXES) and not _hidden(name)


def _pictures(folder: Path, left_out: dict[str, list[Path]], above: tuple[str, ...]) -> Iterator[Path]:
    """The pictures of a folder and of those below it, in the order of their names; a link to a folder above is none."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    here = (*above, os.path.realpath(folder))
    for entry in inside:
        if _hidden(entry.name):
            _leave_out(left_out, folder / entry.name, "")
        elif is_picture(entry.name) and entry.is_file():
            yield folder / entry.name
        elif entry.is_dir() and os.path.realpath(entry.path) not in here:
            yield from _pictures(folder / entry.name, left_out, here)
        else:
            _leave_out(left_out, folder / entry.name, f"as no {NAMES} file")


def _leave_out(left_out: dict[str, list[Path]], path: Path, why: str) -> None:
    """A file, or the pictures below a folder; the folder itself if it holds none."""
    below = [] if path.is_symlink() else sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    left_out.setdefault("as hidden" if _hidden(path.name) else why, []).extend(below or [path])


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.strip("_") in HIDDEN
