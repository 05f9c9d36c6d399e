"""What files of pictures hold, and how they become pixels of one kind: before torch is imported."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcourse.data.cache import is_large, kept_as, recalled, remember
from dlcourse.errors import Refused

if TYPE_CHECKING:
    from dlcourse.data.picture_file import Examined, Source

WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
RESIZED = {
    "squeeze": "squeezed (data.resize=pad or crop keeps their proportions)",
    "pad": "padded with {ground}",
    "crop": "cropped to their middle",
}
MOST_CLASSES = 20  # are described one by one


def check_pixels(size: Any, channels: Any, ground: str | None, resize: str) -> None:
    """Refuse words that say how pictures become pixels."""
    from dlcourse.data.picture_file import BLACK, WHITE

    if channels not in (1, 3) or not isinstance(size, int) or size < 1:
        raise Refused(f"data.channels={channels} must be 1 or 3, and data.size={size} a number of pixels from 1 on")
    if ground not in (None, WHITE, BLACK):
        raise Refused(f"data.ground={ground} must be {WHITE} or {BLACK}, or left out")
    if resize not in RESIZED:
        raise Refused(f"data.resize={resize} must be one of {', '.join(RESIZED)}")


def examined(
    pictures: "Iterable[Source]", count: int, files: Sequence[Path], cache: str | None, whole: bool, *where: Any
) -> "list[Examined]":
    """What each of ``count`` pictures in files holds; of many, it is kept in ``cache``."""
    from dlcourse.data.picture_file import READING, Examined, examine

    path = None
    if cache is not None and is_large(files, count):
        path = Path(cache, f"{kept_as(files, whole, Examined._fields, READING, *where)}.json")
    if path is not None and (known := recalled(path)) is not None:
        return [Examined(*each) for each in known]
    found = [examine(each, whole) for each in pictures]
    if path is not None and not any(each.fault for each in found):
        remember(path, found)
    return found


class Pixels(NamedTuple):
    """How pictures become pixels, as values for the configuration; what is found of each class, and said of all."""

    values: dict[str, Any]
    described: list[dict[str, Any]]
    said: list[str]


def pixels_of(
    found: "Mapping[str, Mapping[str, Sequence[Examined]]]",
    size: int,
    channels: int,
    white: float | None,
    ground: str | None,
    resize: str,
) -> Pixels:
    """How pictures become pixels: bytes, or int32 or float32 where some have more than 8 bits, from 0 to ``white``.

    ``found``: what those of each class and set hold. ``ground`` is the colour that transparent pictures are laid on:
    white, or black where what can be seen of them is light.
    """
    from dlcourse.data.picture_file import BLACK, BYTE, REAL, WHITE, WHOLE

    every = [each for parts in found.values() for files in parts.values() for each in files]
    lightness = [each.lightness for each in every if each.lightness is not None]
    laid_on = ground or (BLACK if lightness and sum(lightness) / len(lightness) > 127.5 else WHITE)
    dtypes = {each.dtype for each in every}
    dtype = next(each for each in (REAL, WHOLE, BYTE) if each in dtypes or each == BYTE)
    highest = max((each.highest for each in every if each.highest is not None), default=255.0)
    whites = (1, *WHITES) if dtype == REAL else WHITES
    values = {"white": white or next((w for w in whites if highest <= w), highest), "ground": laid_on, "dtype": dtype}
    said = _said(every, values, len(lightness))
    if oblong := sum(each.width != each.height for each in every):
        became = RESIZED[resize].format(ground=laid_on)
        said.append(f"{oblong:,} of {len(every):,} pictures are not square and are {became}, to {size} × {size}")
    described = [_description(name, parts) for name, parts in [*found.items()][:MOST_CLASSES]]
    if rest := [*found.values()][MOST_CLASSES:]:
        together = {part: [each for parts in rest for each in parts[part]] for part in rest[0]}
        described.append(_description(f"{len(rest)} more classes", together))
    return Pixels({"shape": [channels, size, size], **values}, described, said)


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
