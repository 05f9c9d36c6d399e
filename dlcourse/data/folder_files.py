"""The files of a folder of pictures, by class: standard library only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dlcourse.errors import Refused

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
NAMES = "PNG, JPEG, WebP, BMP, TIFF or GIF"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
OF_BEFORE = (".png", ".jpg", ".jpeg")  # what runs of before read
HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")  # written by systems, besides names that begin with a point
SHOWN = 3


class Listing(NamedTuple):
    """The picture files of each class, in alphabetical order; files that are ``left_out``, by the reason."""

    classes: dict[str, list[Path]]
    left_out: dict[str, list[Path]]

    @property
    def said(self) -> list[str]:
        """What is left out, in sentences with the count."""
        return [f"left out, {why}: {len(paths):,} ({named(paths)})" for why, paths in self.left_out.items()]


def list_folder(path: str | Path) -> Listing:
    """The pictures of PATH/CLASS; a folder below a class folder belongs to the class. Refused: no such folder."""
    left_out: dict[str, list[Path]] = {}
    try:
        top = sorted(Path(path).iterdir())
        folders = [p for p in top if p.is_dir() and not _hidden(p.name)]
        for p in top:
            if p not in folders:
                _leave_out(left_out, p, "as beside the folders of classes")
        return Listing({p.name: [*_pictures(p, left_out, (os.path.realpath(path),))] for p in folders}, left_out)
    except OSError as error:
        raise Refused(
            f"{error.filename or path} cannot be read: {error.strerror}; set data.path to a folder of folders"
        ) from error


def files_of_before(path: Path) -> dict[str, list[Path]]:
    """The files that runs of before read: PNG and JPEG, of the class folders alone."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: sorted(f for f in p.iterdir() if f.suffix.lower() in OF_BEFORE) for p in folders}


def named(paths: "list[Path]") -> str:
    """The first names of a list of files."""
    return ", ".join(f"{p.parent.name}/{p.name}" for p in paths[:SHOWN]) + ", …" * (len(paths) > SHOWN)


def _pictures(folder: Path, left_out: dict[str, list[Path]], above: tuple[str, ...]) -> Iterator[Path]:
    """The pictures of a folder and of those below it, in the order of their names; a link to a folder above is none."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    here = (*above, os.path.realpath(folder))
    for entry in inside:
        p = folder / entry.name
        if not _hidden(entry.name) and entry.is_dir() and os.path.realpath(p) not in here:
            yield from _pictures(p, left_out, here)
        elif not _hidden(entry.name) and entry.is_file() and p.suffix.lower() in SUFFIXES:
            yield p
        else:
            _leave_out(left_out, p, f"as no {NAMES} file")


def _leave_out(left_out: dict[str, list[Path]], path: Path, why: str) -> None:
    left_out.setdefault("as hidden" if _hidden(path.name) else why, []).append(path)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN
