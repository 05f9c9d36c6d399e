"""Random folders of pictures of which every pixel is known: read as they are, or refused with the file or folder.

DLCOURSE_EXAMPLES: how many (200).
"""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlcourse.data import cache as kept_pixels
from dlcourse.data import fingerprint
from dlcourse.data.folder import OwnPictures
from dlcourse.data.folder_facts import folder_facts, inspect_folder
from dlcourse.data.picture import picture
from dlcourse.errors import CONFIG, Refused
from tests import objects
from tests.faults.pictures import BYTE, HIDDEN, NO_PICTURE, Folder, emptied, folders, numbers

Rows = list[tuple[torch.Tensor, int, bytes]]  # pixels, class, and the pixels again as a key
EXAMPLES = int(os.environ.get("DLCOURSE_EXAMPLES", 200))
TASKS = {"two": "binary", "classes": "classification"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """In memory, where there is such a place: most of the time goes to folders that are made and removed."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(folders(), st.sampled_from([False] * 6 + [True]))
def test_a_folder_is_read_as_it_is_or_refused(root: Path, folder: Folder, kept: bool) -> None:
    """``kept``: what is read is kept in a cache, as of large folders, and read again from there."""
    emptied(root)
    path = folder.write(root / "of a person")
    with pytest.MonkeyPatch.context() as patch:
        if kept:
            patch.setattr(kept_pixels, "LARGE", 0)
            patch.setattr(fingerprint, "LARGE", 0)
        reasons = {**folder.refusals, **folder.doubts}
        try:
            data = own_pictures(path, folder, root / "cache")
            sets = check_pixels(path, folder, data)
            reasons |= without_pictures(folder, sets)
            for _ in range(kept):
                data.arrays()
            check_arrays(data, sets)
            data.setup()
        except Refused as refusal:
            check_refusal(refusal, reasons)
            event(f"refused: {[*reasons.values()][0]}")
            return
    assert not set(reasons) - set(folder.doubts), reasons
    check_said(folder, data)
    check_sets(data, sets["train"])
    check_others(path, folder, data)
    event(f"read, {len(folder.sets)} sets, {folder.dtype}")


def own_pictures(path: Path, folder: Folder, kept: Path) -> OwnPictures:
    words, ask = folder.words, dict(path=str(path), cache=str(kept))
    facts = folder_facts(tasks=TASKS, **ask, **words)
    told = {key: facts[key] for key in ("classes", "said")}
    assert OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(told))) == told  # as a run's config.yaml keeps them
    batch: dict[str, Any] = dict(batch_size=8, num_workers=0, seed=0, split_seed=0, val_fraction=0.1, augment=None)
    rest = {key: words[key] for key in ("size", "channels", "resize")}
    of = task(facts.pop("task"), facts["outputs"])
    return OwnPictures(name="image_folder", task=of, **ask, **rest, **facts, **batch)


@cache
def task(name: str, outputs: int) -> Any:
    return objects.task(name, outputs, classes=[*map(str, range(outputs))])


def check_pixels(path: Path, folder: Folder, data: OwnPictures) -> dict[str, Rows]:
    """Each picture is read as it must be; and what each set must hold: what no later set has."""
    light = folder.lightness()
    known = folder.words["ground"] or ("white" if light is None or light < 127.5 else "black")
    ground = data.conversion.ground or ""
    assert ground == known or light is not None and abs(light - 127.5) < 1
    assert (data.conversion.dtype, data.white) == (folder.dtype, pytest.approx(folder.white, rel=1e-7))
    assert data.classes == sorted(folder.classes["train"])
    sets: dict[str, Rows] = {}
    for part in ("test", "val", "train"):
        seen = {key for rows in sets.values() for _, _, key in rows}
        sets[part] = []
        for placed in folder.of(part):
            wanted, slack = folder.pixels(placed.picture, ground)
            found = picture(path / placed.path, data.shape, data.conversion)
            assert found.shape == wanted.shape and str(found.dtype) == f"torch.{folder.dtype}"
            assert np.abs(found.numpy().astype(float) - wanted).max() <= slack, (placed.path, placed.picture, found)
            if (key := found.numpy().tobytes()) not in seen:
                sets[part].append((found, data.classes.index(placed.name), key))
    return sets


def without_pictures(folder: Folder, sets: dict[str, Rows]) -> dict[str, str]:
    """What must be named of a set whose pictures all are in a later one, or that training has too few to cut from."""
    empty = [part for part in ("val", "train") if not sets[part] and (part in folder.sets or part == "train")]
    if empty:
        return {f"{folder.name}/{folder.sets[empty[0]]}": "a set that a later one holds"}
    class_of: dict[bytes, int] = {}
    for _, label, key in sorted(sets["train"], key=lambda row: row[1]):
        class_of.setdefault(key, label)
    counts = [*Counter(class_of.values()).values()]
    cut = {part: share for part, share in {"test": 0.2, "val": 0.1}.items() if part not in folder.sets}
    for part, share in cut.items() if folder.sets or len(class_of) >= 20 else ():
        taken = [min(max(1, round(count * share)), count - 1) for count in counts]
        if not any(taken):
            return {f"data=image_folder: the {part} set": "a set that cannot be cut"}
        counts = [count - few for count, few in zip(counts, taken, strict=True)]
    return {}


def check_arrays(data: OwnPictures, sets: dict[str, Rows]) -> None:
    """Pixels and labels, in order."""
    train, test = data.arrays()
    for part, found in {"train": train, "val": data.val, "test": test}.items():
        if found is None:
            assert not sets[part]
            continue
        x, y = found
        assert y.tolist() == [label for _, label, _ in sets[part]]
        assert torch.equal(x[:], torch.stack([pixels for pixels, _, _ in sets[part]]))


def check_said(folder: Folder, data: OwnPictures) -> None:
    """What is left out or changed is counted."""
    pictures = [each.picture for each in folder.placed]
    said = data.described.splitlines()
    for why in {HIDDEN, NO_PICTURE, *folder.left_out}:
        assert numbers(said, rf"^left out, {why}: ([\d,]+) \(") == folder.left_out[why], (why, said)
    for pattern, count in {
        r"^([\d,]+) transparent": sum(each.transparent for each in pictures),
        r"^([\d,]+) pictures of more than 8": sum(each.dtype != BYTE for each in pictures),
        r"^of ([\d,]+) pictures with 16": sum(each.cut for each in pictures),
        r"^of ([\d,]+) files with several": sum(each.frames for each in pictures),
        r"^([\d,]+) of [\d,]+ pictures are not": sum(p.values.shape[0] != p.values.shape[1] for p in pictures),
    }.items():
        assert numbers(said, pattern) == count, (pattern, said)


def check_sets(data: OwnPictures, train: Rows) -> None:
    """No equal pictures in two sets, unless the rows are so few that all sets share them; and what is told of it."""
    found = {part: {x.numpy().tobytes() for x in rows.x[:]} for part, rows in data.sets.items()}
    note = (data.note or "").split("; ")
    keys, pairs = ({row[2] for row in train}, {row[1:] for row in train})
    assert numbers(note, r"^([\d,]+) pictures repeat") == len(train) - len(keys), note
    assert numbers(note, r"^([\d,]+) pictures are in two") == len(pairs) - len(keys), note
    if any("use the same ones" in each for each in note):
        assert len(keys) < 20 and found["train"] == found["val"] == found["test"]
        return
    assert len(set.union(*found.values())) == sum(map(len, found.values()))


def check_others(path: Path, folder: Folder, data: OwnPictures) -> None:
    """What scripts/inspect_data.py says of the same files, and what predict.py reads of a folder."""
    contents = [each.picture.content for each in folder.placed]
    found = inspect_folder(str(path), tasks=TASKS, **folder.words)
    assert not found.problems
    repeated = numbers(found.values["said"], r"^([\d,]+) files are the same")
    assert repeated == len(contents) - len(set(contents))
    place = folder.placed[0].path.parent
    files = sorted((each for each in folder.placed if each.path.parent == place), key=lambda each: each.path.name)
    wanted = [picture(path / each.path, data.shape, data.conversion).float() for each in files]
    assert torch.equal(data.read(path / place), torch.stack(wanted))


def check_refusal(refusal: Refused, reasons: dict[str, str]) -> None:
    """It names one of the files or folders at fault."""
    said = str(refusal)
    assert refusal.code == CONFIG and 1 <= len(said.splitlines()) <= 3, said
    assert any(name in said or ascii(name)[1:-1] in said for name in reasons), (said, reasons)
