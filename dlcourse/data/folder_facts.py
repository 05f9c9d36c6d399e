"""Shape, classes and pixels of a person's own pictures, read before torch is imported."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcourse.data.cache import is_large, kept_as, recalled, remember
from dlcourse.data.facts import CLASSES, Facts, Reader, class_facts, kind_of, literal
from dlcourse.data.fingerprint import fingerprint, sums_of
from dlcourse.data.folder_files import NAMES, Listing, list_folder
from dlcourse.errors import Refused, in_utf8, one_line

if TYPE_CHECKING:
    from dlcourse.data.picture_file import Examined

WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
RESIZED = {
    "squeeze": "squeezed (data.resize=pad or crop keeps their proportions)",
    "pad": "padded with {ground}",
    "crop": "cropped to their middle",
}
MOST_CLASSES = 20  # are described one by one


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

    Two folders are two classes with two outputs, unless the binary task is chosen. Pixels are bytes, or int32 or
    float32 where some files have more than 8 bits, from 0 to ``white``. ``ground`` is the colour that transparent
    pictures are laid on: white, or black where what can be seen of them is light.

    ``problems``: all that is wrong with the folders and files, which are read as a ``whole`` or by their headers.
    Refused: a folder that cannot be read at all.
    """
    from dlcourse.data.picture_file import BLACK, BYTE, REAL, WHITE, WHOLE

    if path is None:
        raise Refused("data=image_folder reads your own pictures: set data.path=FOLDER, with one folder a class in it")
    kind = kind_of(task, tasks) or CLASSES
    if channels not in (1, 3) or not isinstance(size, int) or size < 1:
        raise Refused(f"data.channels={channels} must be 1 or 3, and data.size={size} a number of pixels from 1 on")
    if ground not in (None, WHITE, BLACK):
        raise Refused(f"data.ground={ground} must be {WHITE} or {BLACK}, or left out")
    if resize not in RESIZED:
        raise Refused(f"data.resize={resize} must be one of {', '.join(RESIZED)}")
    listing = list_folder(path)
    classes = [literal(path, name) for name in listing.sets["train"]]
    if unreadable := [name for name in classes if in_utf8(name) != name]:
        raise Refused(f"{path}: the name of the folder {one_line(unreadable[0])} is no UTF-8; rename it")
    if len(classes) < 2:
        raise Refused(f"{path} needs a folder a class, at least two; found: {one_line(', '.join(classes)) or 'none'}")
    facts = class_facts(path, "folders", classes, kind, tasks)
    problems = [*_problems(Path(path), listing)]
    files = [file for group in listing.sets.values() for name in classes for file in group.get(name, ())]
    every = _examined(files, whole, cache)
    of_file = dict(zip(files, every, strict=True))
    found = {
        name: {part: [of_file[file] for file in group.get(name, ())] for part, group in listing.sets.items()}
        for name in classes
    }
    problems += [each.fault for each in every if each.fault]
    lightness = [each.lightness for each in every if each.lightness is not None]
    laid_on = ground or (BLACK if lightness and sum(lightness) / len(lightness) > 127.5 else WHITE)
    dtypes = {each.dtype for each in every}
    dtype = next(each for each in (REAL, WHOLE, BYTE) if each in dtypes or each == BYTE)
    highest = max((each.highest for each in every if each.highest is not None), default=255.0)
    whites = (1, *WHITES) if dtype == REAL else WHITES
    pixels = {"white": white or next((w for w in whites if highest <= w), highest), "ground": laid_on, "dtype": dtype}
    said = [*listing.said, *_said(every, pixels, len(lightness))]
    if oblong := sum(each.width != each.height for each in every):
        became = RESIZED[resize].format(ground=laid_on)
        said.append(f"{oblong:,} of {len(every):,} pictures are not square and are {became}, to {size} × {size}")
    if whole and (repeated := _repeated(listing, cache)):
        said.append(f"{repeated:,} files are the same as another, byte by byte")
    described = [_description(name, parts) for name, parts in [*found.items()][:MOST_CLASSES]]
    if rest := [*found.values()][MOST_CLASSES:]:
        together = {part: [each for parts in rest for each in parts[part]] for part in listing.sets}
        described.append(_description(f"{len(rest)} more classes", together))
    values = {"shape": [channels, size, size], **facts, **pixels, "said": said}
    values["fingerprint"] = fingerprint(listing.by_folder(path), cache)
    return Facts(values, described, problems)


folder_facts = Reader(inspect_folder, whole=False)


def _said(files: "Sequence[Examined]", pixels: Mapping[str, Any], transparent: int) -> list[str]:
    """What is done to the pixels of files, in sentences."""
    said = []
    if transparent:
        said.append(f"{transparent:,} transparent pictures are laid on {pixels['ground']} (data.ground)")
    if deep := sum(each.highest is not None for each in files):
        others = "" if deep == len(files) else "; the values of others are scaled to it"
        said.append(f"{deep:,} pictures of more than 8 bits keep their values, white is {pixels['white']:g}{others}")
    if cut := sum(each.cut_to_8_bits for each in files):
        said.append(f"of {cut:,} pictures with 16 bits a colour, the upper 8 are read")
    if several := sum(each.frames for each in files):
        said.append(f"of {several:,} files with several pictures, the first is read")
    return said


def _examined(files: Sequence[Path], whole: bool, cache: str | None) -> "list[Examined]":
    """What each file holds; of many files, it is kept in ``cache``."""
    from dlcourse.data.picture_file import READING, Examined, examine

    path = None
    if cache is not None and is_large(files):
        path = Path(cache, f"{kept_as(files, whole, Examined._fields, READING)}.json")
    if path is not None and (known := recalled(path)) is not None:
        return [Examined(*each) for each in known]
    found = [examine(file, whole) for file in files]
    if path is not None and not any(each.fault for each in found):
        remember(path, found)
    return found


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


def _description(name: str, parts: "Mapping[str, Sequence[Examined]]") -> dict[str, Any]:
    count = ", ".join(f"{len(files):,} {part}" for part, files in parts.items())
    read = [each for files in parts.values() for each in files if not each.fault]
    row = {"class": name, "pictures": count if len(parts) > 1 else len(parts["train"]), "sizes": _sizes(read)}
    return {**row, "formats": _counted(each.format for each in read), "depths": _counted(each.bits for each in read)}


def _sizes(files: "Sequence[Examined]") -> str:
    if not files:
        return ""
    first, last = (choose((each.width, each.height) for each in files) for choose in (min, max))
    return f"{first[0]} × {first[1]}" + (f" … {last[0]} × {last[1]}" if last != first else "")


def _counted(words: Iterable[str]) -> str:
    """``20 PNG, 40 WEBP``; a word alone, where there is no other."""
    counts = Counter(words)
    return ", ".join(counts) if len(counts) == 1 else ", ".join(f"{n:,} {word}" for word, n in sorted(counts.items()))
