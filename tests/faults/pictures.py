"""Folders of pictures as people have them, of which every pixel, class and set is known.

`folders` draws one: its pictures (`picture_files`), how they lie in folders of classes and sets, what lies beside them,
and how ``data=image_folder`` is told to read them.
"""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.faults.picture_files import BYTE, KINDS, REAL, WHOLE, Picture, grid, image_of, saved

NO_TEXT = "M\udcfcll"  # a name in Latin 1
ROOTS = ("own", "my pictures", "ü=#~", "a,b [1] (c)")
CLASSES = (
    *(
        "cat",
        "dog",
        "Öl",
        "10",
        "9",
        "007",
        "a b",
        "x=1",
        "#1",
        "~",
        "a,b",
        "[c]",
        "{d}",
        "null",
        "true",
        "1e3",
        "100%",
    ),
    *(
        "2020-01-01",
        "train",
        "'q'",
        '"d"',
        "\u00e9",
        "e\u0301",
        "a.png",
        "__b__",
        "$x",
        "tab\t",
        "two\nlines",
        "a\\b",
        "C:",
        "*",
    ),
    *("😀", "-", "k" * 70, NO_TEXT, "<b>", "CON", "Cat", "Ω", "_"),
)
STEMS = (
    "IMG_0001",
    "1",
    "10",
    "a b",
    "ü",
    "x=1",
    "#",
    "~x",
    "a,b",
    "[1]",
    "DSC.001",
    "-",
    "two\nlines",
    "M\udcfc",
    "a\\b",
)
BELOW = ("night", "a/b", "x.png", "test", "1", "ü #")
SUFFIXES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif")
TRAIN, VAL, TEST = (
    ("train", "Train", "TRAIN", "training"),
    ("val", "valid", "validation", "Val"),
    ("test", "Test", "testing"),
)
HIDDEN, NO_PICTURE, BESIDE = "as hidden", "as no PNG, JPEG, WebP, BMP, TIFF or GIF file", "as beside the folders of "
HIDDEN_FILES = (".DS_Store", "._1.png", "Thumbs.db", "desktop.ini", ".x.jpg")
HIDDEN_FOLDERS = ("__MACOSX", ".git", ".ipynb_checkpoints")
NO_PICTURES = ("notes.txt", "labels.csv", "1.heic", "1.png.txt", "png", "1.svg", "1.npy")
WHITES = (255, 1023, 4095, 16383, 65535)


class Placed(NamedTuple):
    """A picture at a place: its set, class, and the file."""

    part: str
    name: str
    path: Path
    picture: Picture


class Folder(NamedTuple):
    """A folder of pictures, what to say of it, and what must come of it."""

    name: str
    sets: dict[str, str]  # the folder of each set; none: all are of the set train
    classes: dict[str, list[str]]  # of each set
    placed: list[Placed]  # in no order
    others: dict[Path, bytes | str | None]  # files, targets of links, folders: relative to the folder
    left_out: Counter[str]  # how many, by the reason
    words: dict[str, Any]
    linked: dict[Path, str]  # class folders that are links, to folders of these names beside the whole
    refusals: dict[str, str]  # what must be named, and why it must be refused
    doubts: dict[str, str]  # what must be named where it is refused

    def write(self, root: Path) -> Path:
        """The folder, on disk, below an empty root."""
        path = root / self.name
        path.mkdir(parents=True)
        for place, name in self.linked.items():
            (root / name).mkdir()
            (path / place).parent.mkdir(parents=True, exist_ok=True)
            (path / place).symlink_to(root / name)
        for part, names in self.classes.items():
            for name in names:
                (path / self.sets.get(part, "") / name).mkdir(parents=True, exist_ok=True)
        for place, content in {**{each.path: each.picture.content for each in self.placed}, **self.others}.items():
            (path / place).parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                (path / place).mkdir(exist_ok=True)
            elif isinstance(content, bytes):
                (path / place).write_bytes(content)
            elif content == "pipe":
                os.mkfifo(path / place)
            else:
                (path / place).symlink_to(content)
        return path

    def of(self, part: str) -> list[Placed]:
        """The pictures of a set, by class, then by the names of folders and files."""
        return sorted((each for each in self.placed if each.part == part), key=lambda each: each.path.parts)

    @property
    def dtype(self) -> str:
        found = {each.picture.dtype for each in self.placed}
        return next(dtype for dtype in (REAL, WHOLE, BYTE) if dtype in found)

    @property
    def white(self) -> float:
        deep = [float(p.values.max()) for _, _, _, p in self.placed if p.dtype != BYTE]
        known = (1, *WHITES) if self.dtype == REAL else WHITES
        highest = max(deep, default=255)
        return self.words["white"] or next((white for white in known if highest <= white), highest)

    def lightness(self) -> float | None:
        """The mean lightness of what can be seen of transparent pictures."""
        found = []
        for _, _, _, picture in self.placed:
            if picture.transparent:
                alpha = np.asarray(picture.alpha, float)
                found.append(float((luminance(picture.values)[..., 0] * alpha).sum() / alpha.sum()))
        return sum(found) / len(found) if found else None

    def pixels(self, picture: Picture, ground: str) -> tuple[np.ndarray, float]:
        """What a picture must become (C, size, size), and by how much it may differ."""
        size, channels, resize = (self.words[key] for key in ("size", "channels", "resize"))
        values, slack = np.asarray(picture.values, float), 0.0
        if picture.alpha is not None:
            share = np.asarray(picture.alpha, float)[..., None] / 255
            values = (values * share + 255.0 * (ground == "white") * (1 - share)).round()
            slack = float(((share > 0) & (share < 1)).any())
        if picture.dtype == BYTE:
            values = luminance(values) if channels == 1 else values.repeat(3 // values.shape[2], 2)
            slack *= 1 + (channels == 1)
        if picture.dtype == self.dtype == BYTE:
            image = image_of(values)
            resized = np.asarray(fitted(image, size, resize, 255 * (ground == "white")), float).reshape(size, size, -1)
            return resized.transpose(2, 0, 1), slack
        if picture.dtype != self.dtype:
            values, slack = values * self.white / picture.white, slack * self.white / 255
        bands = [Image.fromarray(band.astype(np.float32)) for band in values.transpose(2, 0, 1)]
        edge = self.white if ground == "white" else 0
        resized = np.stack([np.asarray(fitted(band, size, resize, edge), float) for band in bands])
        same = picture.dtype == self.dtype and values.shape[:2] == (size, size)
        if same:
            resized = values.transpose(2, 0, 1)
        else:
            slack += 0.5 * (self.dtype == WHOLE) + 1e-5 * max(np.abs(resized).max(), 1e-30)
        return np.broadcast_to(resized, (channels, size, size)), slack


def luminance(values: np.ndarray) -> np.ndarray:
    """Grey (H, W, 1) of RGB, by ITU-R 601."""
    if values.shape[2] == 1:
        return values
    return (values.astype(np.int64) @ np.array([19595, 38470, 7471]) + 2**15 >> 16)[..., None]


def fitted(image: Image.Image, size: int, how: str, ground: float) -> Image.Image:
    """A picture as a square: squeezed, with its middle alone, or whole on a ground."""
    width, height = image.size
    if width == height or how == "squeeze":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    if how == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    longest = max(width, height)
    inner: Any = tuple(max(1, round(side / longest * size)) for side in image.size)
    colour: Any = ground if image.mode == "F" else (int(ground),) * len(image.getbands())
    padded = Image.new(image.mode, (size, size), colour if image.mode != "L" else int(ground))
    place: Any = tuple(round((size - side) / 2) for side in inner)
    padded.paste(image.resize(inner, Image.Resampling.BILINEAR), place)
    return padded


@st.composite
def folders(draw: st.DrawFn) -> Folder:
    pick = Random(draw(st.integers(0, 2**32)))
    count = draw(st.sampled_from([2] * 8 + [3, 3, 4, 4, 1]))
    kinds = draw(st.lists(st.sampled_from([*KINDS] * 2), min_size=1, max_size=4))
    divided = draw(st.sampled_from([(), (), (), ("val",), ("test",), ("val", "test")]))
    each = draw(st.sampled_from([1, 2, 3, 3, 10]))
    size = draw(st.integers(1, 9))
    fixed = draw(st.sampled_from([None, (size, size), (size, size), "sizes"]))
    words = {
        "size": size,
        "channels": draw(st.sampled_from([1, 3])),
        "resize": draw(st.sampled_from(["squeeze", "pad", "crop"])),
        "ground": draw(st.sampled_from([None, None, "white", "black"])),
        "white": draw(st.sampled_from([None, None, None, None, 255, 4095, 65535, 1000])),
    }
    names = pick.sample(CLASSES, count)
    sets = {"train": pick.choice(TRAIN), "val": pick.choice(VAL), "test": pick.choice(TEST)} if divided else {}
    sets = {part: name for part, name in sets.items() if part in ("train", *divided)}
    classes = {part: [*names] for part in sets or ["train"]}
    if "val" in classes and count > 1 and pick.random() < 0.2:
        classes["val"].pop()
    placed = []
    height, width = fixed if isinstance(fixed, tuple) else (pick.randint(3, 9), pick.randint(3, 9))
    for part, group in classes.items():
        for name in group:
            for _ in range(pick.randint(1, each) if each < 10 else each):
                if fixed == "sizes":
                    height, width = pick.randint(1, 9), pick.randint(1, 9)
                if placed and pick.random() < 0.15:
                    picture = pick.choice(placed).picture
                else:
                    picture = KINDS[pick.choice(kinds)](pick, height, width)
                place = Path(sets.get(part, ""), name, *pick.choice([()] * 6 + [(pick.choice(BELOW),)]))
                placed.append(Placed(part, name, place / named(pick, picture.suffix, len(placed)), picture))
    folder = Folder(pick.choice(ROOTS), sets, classes, placed, {}, Counter(), words, {}, {}, {})
    return with_links(refused(littered(folder, pick), pick), pick)


def named(pick: Random, suffix: str, number: int) -> str:
    suffix = pick.choice([suffix] * 8 + [suffix.upper(), pick.choice(SUFFIXES)])
    return f"{pick.choice(STEMS)}_{number}.{suffix}"


def littered(folder: Folder, pick: Random) -> Folder:
    """With files and folders beside the pictures, each counted by why it is left out; a class may be a link."""
    others, left_out = dict(folder.others), folder.left_out.copy()
    top, parts = Path(), [Path(name) for name in folder.sets.values()]
    inside = [each.path.parent for each in folder.placed]
    beside = BESIDE + ("sets" if parts else "classes")
    for _ in range(pick.choice([0, 0, 1, 3])):
        where = pick.choice([top, *parts, *pick.sample(inside, 1)])
        why = NO_PICTURE if where in inside else BESIDE + "classes" if where in parts else beside
        kind = pick.choice(["hidden", "no picture", "hidden folder", "gone", "empty", "pipe", "loop", "picture"])
        place, many = where / f"{pick.randrange(1000)}", 1
        if kind == "hidden":
            place, content, why = where / pick.choice(HIDDEN_FILES), b"x", HIDDEN
        elif kind == "no picture":
            place, content = where / pick.choice(NO_PICTURES), b"x"
        elif kind == "hidden folder":
            many = pick.choice([0, 1, 3])
            place, content, why = where / pick.choice(HIDDEN_FOLDERS), None, HIDDEN
            if place in others:
                continue
            for k in range(many):
                others[place / pick.choice(["", "deep"]) / f"._{k}.PNG"] = b"x"
            others[place / "notes"], many = b"x", many or 1
        elif kind in ("gone", "pipe"):
            place, content = place.with_name(f"{place.name}.png"), "/nowhere" if kind == "gone" else "pipe"
        elif kind == "loop":
            content = os.path.relpath(pick.choice([where, *where.parents]), where)
        elif kind == "empty" and where in inside:
            content, many = None, 0
        elif kind == "picture" and where not in inside:
            place, content = place.with_suffix(".png"), saved(image_of(grid(pick, 3, 3, 1, 255)), "PNG")
        else:
            continue
        if place not in others:
            others[place] = content
            left_out[why] += many
    return folder._replace(others=others, left_out=+left_out)


def with_links(folder: Folder, pick: Random) -> Folder:
    """A class folder, or a picture, may be a link to one elsewhere."""
    part, name, path, picture = pick.choice(folder.placed)
    place, kind = Path(folder.sets.get(part, ""), name), pick.choice([None] * 8 + ["class", "picture"])
    if kind == "class" and not any(str(folder.others[p]).startswith(".") for p in folder.others if place in p.parents):
        return folder._replace(linked={place: "elsewhere"})
    if kind == "picture":
        shown = Path("..", f"linked.{picture.suffix}")
        target = os.path.relpath(shown, path.parent)
        return folder._replace(others={**folder.others, shown: picture.content, path: target})
    return folder


def refused(folder: Folder, pick: Random) -> Folder:
    """With what must be refused, if anything: a fault may be added."""
    faults = ["empty", "text", "other format", "cut", "cut", "class", "new class", "test", "flat", "reference"]
    kind, at = pick.choice([""] * 20 + faults), pick.randrange(len(folder.placed))
    classes, refusals, doubts = {part: [*names] for part, names in folder.classes.items()}, {}, {}
    name, picture = folder.placed[at].path.name, folder.placed[at].picture
    part = pick.choice([*folder.sets][1:]) if len(folder.sets) > 1 else ""
    content = None
    if kind in ("empty", "text", "other format"):
        of_others = saved(image_of(picture.values), "PPM") if picture.dtype == BYTE else b"GIF"
        content = {"empty": b"", "text": b"hello", "other format": of_others}[kind]
        refusals[name] = f"a file that is {kind}"
    elif kind == "cut":
        content = picture.content[: pick.randrange(1, len(picture.content))]
        doubts[name] = "a picture that is cut off"
    elif kind == "class":
        classes[pick.choice([*classes])].append("empty one")
        refusals["empty one"] = "a class without pictures"
    elif kind == "new class" and part:
        classes[part].append("new one")
        refusals["new one"] = "a class that training lacks"
    elif kind == "reference":
        classes["train"].append("${seed}")
        refusals["${seed}"] = "a name with a meaning"
    elif kind == "test" and len(classes.get("test", ())) > 1:
        lost = classes["test"].pop()
        folder = without(folder, Path(folder.sets["test"], lost))
        refusals[lost] = "a class that the test lacks"
    elif kind == "flat" and part:
        classes[part] = []
        folder = without(folder, Path(folder.sets[part]))
        folder.others[Path(folder.sets[part], "1.png")] = picture.content
        refusals[folder.sets[part]] = "a set without class folders"
    if content is not None:
        folder.placed[at] = folder.placed[at]._replace(picture=picture._replace(content=content))
    refusals |= {path.name: picture.refusal for _, _, path, picture in folder.placed if picture.refusal}
    if len(classes["train"]) < 2:
        refusals[folder.name] = "one class"
    if NO_TEXT in classes["train"]:
        refusals[NO_TEXT] = "a name that is no text"
    return folder._replace(classes=classes, refusals=refusals, doubts=doubts)


def without(folder: Folder, place: Path) -> Folder:
    """The folder without a folder in it."""

    def stays(path: Path) -> bool:
        return path != place and place not in path.parents

    others = {p: content for p, content in folder.others.items() if stays(p)}
    return folder._replace(placed=[p for p in folder.placed if stays(p.path)], others=others)


def numbers(said: list[str], pattern: str) -> int:
    """The sum of the numbers in sentences of this form."""
    return sum(int(re.sub(",", "", found[1])) for each in said if (found := re.search(pattern, each, re.DOTALL)))


def emptied(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
