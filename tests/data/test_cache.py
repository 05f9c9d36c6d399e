"""Pixels of large data, kept in a file and read from there."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import dlcourse
from dlcourse.data import cache, folder_facts
from dlcourse.data.picture_file import Examined
from dlcourse.data.stored import Stored
from dlcourse.errors import ENVIRONMENT, Refused
from scripts.inspect_data import main as inspect_data
from tests.faults.environment import disk

COUNT = 40


@pytest.fixture
def noise(tmp_path) -> Path:
    """Two classes of grey noise, dark and light."""
    draw = np.random.default_rng(0)
    for k, name in enumerate("ab"):
        (tmp_path / "noise" / name).mkdir(parents=True)
        for n in range(COUNT):
            values = draw.integers(100 * k, 100 * k + 150, (10, 10)).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / "noise" / name / f"{n}.png")
    return tmp_path / "noise"


@pytest.fixture
def large(monkeypatch):
    """Every data set counts as large."""
    monkeypatch.setattr(cache, "MANY", 0)


@pytest.fixture
def words(noise, tmp_path):
    """``words(data)`` for a run with its cache in the folder ``data``."""
    shared = ["data=image_folder", f"data.path={noise}", "data.size=10", "logger=none", "callbacks=none"]
    return lambda place, *more: [*shared, "report=false", f"paths.data_dir={tmp_path / place}", *more]


def loaded(load, noise, place, **changes):
    data = load("image_folder", path=str(noise), size=10, cache=place and str(place), **changes)
    data.setup()
    return data


@pytest.mark.parametrize("folders", ["", "sets"])
def test_stored_pixels_are_those_in_memory(load, noise, tmp_path, monkeypatch, folders):
    if folders:
        (tmp_path / "sets").mkdir()
        noise.rename(tmp_path / "sets" / "train")
        for name in "ab":
            (tmp_path / "sets" / "test" / name).mkdir(parents=True)
            for n in range(5):
                file = tmp_path / "sets" / "train" / name / f"{n}.png"
                (tmp_path / "sets" / "test" / name / f"{n}.png").write_bytes(file.read_bytes())
        noise = tmp_path / "sets"
    in_memory = loaded(load, noise, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()  # it would not pay
    monkeypatch.setattr(cache, "MANY", 0)
    stored = loaded(load, noise, tmp_path / "cache")
    assert in_memory.note == stored.note
    for name, rows in stored.sets.items():
        expected = in_memory.sets[name]
        assert isinstance(rows.x, Stored) and rows.x.shape == expected.x.shape and rows.x.numel() == expected.x.numel()
        assert torch.equal(rows.x[:], expected.x) and torch.equal(rows.y, expected.y)
        assert torch.equal(rows.index, expected.index)
        assert torch.equal(torch.cat([*rows.x.split(7)]), expected.x)
        chosen = torch.tensor([[3, 1], [0, 3]])
        assert torch.equal(rows.x[chosen], expected.x[chosen])
        assert torch.equal(rows.x.index_select(0, chosen[0]), expected.x[chosen[0]])
        assert torch.equal(rows.x.flatten(1), expected.x.flatten(1))  # asked of a copy
    assert torch.equal(stored.mean, in_memory.mean) and torch.equal(stored.std, in_memory.std)
    batches = [[batch.x for batch in data.train_dataloader()] for data in (stored, in_memory)]
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


@pytest.mark.parametrize("task", ["classification", "reconstruction"])
def test_a_run_is_the_same_to_the_last_bit(words, large, tmp_path, task):
    more = ["model=autoencoder", "task=reconstruction"] if task == "reconstruction" else []
    runs = [
        dlcourse.run(*words("data", f"run_dir={tmp_path / str(k)}", "trainer.max_epochs=2", *more, *last))
        for k, last in enumerate(([], [], ["data.cache=null"]))
    ]
    figures = [{key: value for key, value in run.metrics.items() if key.startswith(("test/", "val/"))} for run in runs]
    assert figures[0] == figures[1] == figures[2]
    assert len([*(tmp_path / "data" / "cache").glob("*.npy")]) == 2  # the pixels and their keys, written once


def test_rows_of_a_balanced_loss_are_counted_in_parts(words, large, monkeypatch):
    done = dlcourse.run(*words("data", "loss.class_weights=balanced", "trainer.max_steps=1"))
    counts = done.model.loss.counts.clone()
    sizes, read = [], Stored.__getitem__
    monkeypatch.setattr(Stored, "__getitem__", lambda rows, chosen: sizes.append(len(chosen)) or read(rows, chosen))
    monkeypatch.setattr("dlcourse.models.standardised.PART", 9)
    done.model.standardise(done.data)
    assert max(sizes) == 9 and sum(sizes) == len(done.data.sets["train"])
    assert torch.equal(done.model.loss.counts, counts)
    assert counts[1].tolist() == torch.bincount(done.data.sets["train"].y).tolist()


def test_files_are_decoded_once_until_one_changes(load, noise, large, tmp_path, monkeypatch, capsys):
    loaded(load, noise, tmp_path / "cache")
    assert "0.00 GB of pixels are kept in" in capsys.readouterr().err
    before = {*(tmp_path / "cache").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("dlcourse.data.picture_sets.pixels", lambda *_: pytest.fail("decoded again"))
        patch.setattr("dlcourse.data.picture_file.examine", lambda *_: pytest.fail("opened again"))
        loaded(load, noise, tmp_path / "cache")
    assert {*(tmp_path / "cache").iterdir()} == before and not capsys.readouterr().err
    (headers,) = (tmp_path / "cache").glob("*.json")
    kept = headers.read_bytes()
    headers.write_bytes(kept[:9])  # damaged: read again
    loaded(load, noise, tmp_path / "cache")
    assert headers.read_bytes() == kept
    set_back(noise / "a" / "3.png")
    loaded(load, noise, tmp_path / "cache")
    assert {*(tmp_path / "cache").iterdir()} > before


def set_back(file: Path) -> None:
    """As if it was written anew, with the time of the old content."""
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_found_of_files_is_not_read_by_other_code(load, noise, large, tmp_path, monkeypatch):
    loaded(load, noise, tmp_path / "cache")
    more = NamedTuple("Examined", [*Examined.__annotations__.items(), ("pages", int)])  # type: ignore[misc]
    monkeypatch.setattr("dlcourse.data.picture_file.Examined", more)
    monkeypatch.setattr("dlcourse.data.picture_file.examine", lambda *_: pytest.fail("opened again"))
    with pytest.raises(pytest.fail.Exception, match="opened again"):
        loaded(load, noise, tmp_path / "cache")


def test_broken_files_leave_nothing_half_written(load, noise, large, tmp_path):
    file = noise / "b" / "9.png"
    file.write_bytes(file.read_bytes()[:70])
    data = load("image_folder", path=str(noise), size=10, cache=str(tmp_path / "cache"))
    with pytest.raises(Refused, match="9.png is a picture that is cut off"):
        data.setup()
    assert not [*(tmp_path / "cache").glob("*.npy*")] and not [*(tmp_path / "cache").glob(".*")]
    found = folder_facts.inspect_folder(str(noise), 10, 3, {"classes": "classification"}, cache=str(tmp_path / "cache"))
    assert len(found.problems) == 1


class Room:
    free = 2**40


@pytest.mark.parametrize(
    ("fills_meanwhile", "reported"), [(False, "disk has 0.00 GB left"), (True, "No space left on device")]
)
def test_a_full_disk_is_refused_before_anything_is_written_or_when_it_fills(
    load, noise, large, tmp_path, monkeypatch, fills_meanwhile, reported
):
    """A quarter of the room that the pixels need."""
    if fills_meanwhile:
        monkeypatch.setattr("shutil.disk_usage", lambda _: Room)
    with disk(tmp_path / "disk", "size=16k") as none:
        if none:
            pytest.skip(none.said)
        data = load("image_folder", path=str(noise), size=20, cache=str(tmp_path / "disk"))
        with pytest.raises(Refused, match=f"{reported}; set paths.data_dir") as caught:
            data.setup()
        assert caught.value.code == ENVIRONMENT
        assert not [*(tmp_path / "disk").glob(".*")] and not [*(tmp_path / "disk").glob("*.npy*")]


def test_clear_deletes_what_was_kept_and_nothing_else(load, noise, large, tmp_path, capsys):
    loaded(load, noise, tmp_path / "data" / "cache")
    for name in ("mine.txt", "mine.npy"):
        (tmp_path / "data" / "cache" / name).write_text("x")
    assert inspect_data(["clear=cache", f"paths.data_dir={tmp_path / 'data'}"]) == 0
    assert capsys.readouterr().out.startswith("4 files deleted in")  # one of them the lock
    assert sorted(file.name for file in (tmp_path / "data" / "cache").iterdir()) == ["mine.npy", "mine.txt"]
    assert inspect_data(["clear=cache", f"paths.data_dir={tmp_path / 'nowhere'}"]) == 0


def test_clear_leaves_what_a_process_is_writing(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with subprocess.Popen(["sleep", "100"]) as other:
        names = [f".{'0' * 32}.npy.{process.pid}" for process in (ended, other)]
        for name in names:
            (tmp_path / name).write_bytes(b"x")
        assert cache.clear(tmp_path) == (1, 1)
        other.kill()
    assert [file.name for file in tmp_path.iterdir()] == names[1:]
    assert cache.clear(tmp_path) == (1, 1)


@pytest.mark.parametrize("suffix", [".npy", ".keys.npy"])
@pytest.mark.parametrize("left", [None, 0, 40, 140])
def test_pixels_that_lack_a_part_are_written_anew(tmp_path, suffix, left):
    pixels = np.arange(60, dtype=np.uint8).reshape(10, 1, 2, 3)
    path = tmp_path / "x.npy"
    values, keys = cache.stored_pixels(path, 10, (1, 2, 3), "uint8", pixels)
    assert np.array_equal(values, pixels)
    part = path.with_suffix(suffix)
    part.write_bytes(part.read_bytes()[:left])
    if left is None:
        part.unlink()
    again, keys_again = cache.stored_pixels(path, 10, (1, 2, 3), "uint8", pixels)
    assert np.array_equal(again, pixels) and np.array_equal(keys_again, keys)


def test_two_processes_write_the_same_pixels_once(tmp_path):
    """The first waits in its first picture until the second has asked for the lock."""
    code = (
        "import sys; import numpy as np; from pathlib import Path; from dlcourse.data import cache\n"
        "def read(k):\n"
        "    print('reads', flush=True); sys.stdin.readline()\n"
        "    return np.full(3, k, np.uint8)\n"
        "lock = cache.FileLock\n"
        "cache.FileLock = lambda path: print('asks', flush=True) or lock(path)\n"
        "cache.stored_pixels(Path(sys.argv[1]), 1, (3,), 'uint8', map(read, range(1)))"
    )
    start = partial(subprocess.Popen, [sys.executable, "-c", code, str(tmp_path / "x.npy")], text=True)
    with start(stdin=PIPE, stdout=PIPE, stderr=PIPE) as first:
        assert [first.stdout.readline() for _ in range(2)] == ["asks\n", "reads\n"]
        with start(stdin=PIPE, stdout=PIPE, stderr=PIPE) as second:
            assert second.stdout.readline() == "asks\n"
            first.communicate("\n")
            assert second.communicate("\n") == ("", "")
    assert (first.returncode, second.returncode) == (0, 0)
