"""Checkpoints survive a kill inside the write, are refused when damaged, and execute nothing."""

import errno
import json
import math
import os
import pickle
import random
import resource
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.checkpoint_file import AtomicIO, load, newest_readable, random_state, set_random_state
from dlcourse.runs.checkpoints import Checkpoints
from dlcourse.runs.directory import RunDirectory

WORDS = ["trainer=cpu", "model.hidden=[16]", "data.batch_size=128", "trainer.max_epochs=2", "report=false"]


class Killed(BaseException):
    """Stands for the end of the process at this point."""


def checkpoint(step):
    generator = torch.Generator().manual_seed(step)
    weights = {f"layer{k}.weight": torch.randn(64, 64, generator=generator) for k in range(4)}
    return {"global_step": step, "epoch": 0, "state_dict": weights}


@pytest.fixture
def folder(tmp_path):
    """A folder as two saves leave it: last.ckpt of step 2, last.prev.ckpt of step 1."""
    for step in (1, 2):
        AtomicIO().save_checkpoint(checkpoint(step), tmp_path / "last.ckpt")
    return tmp_path


def step_of(path):
    return load(path)["global_step"]


def refused(path):
    with pytest.raises(Refused) as refusal:
        load(path)
    assert refusal.value.code == CHECKPOINT
    assert str(path) in str(refusal.value)
    return str(refusal.value)


def test_the_last_but_one_is_kept(folder):
    assert step_of(folder / "last.ckpt") == 2 and step_of(folder / "last.prev.ckpt") == 1
    AtomicIO().save_checkpoint(checkpoint(3), folder / "last.ckpt")
    assert step_of(folder / "last.ckpt") == 3 and step_of(folder / "last.prev.ckpt") == 2
    AtomicIO().save_checkpoint(checkpoint(4), folder / "best.ckpt")
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt", "last.prev.ckpt"]
    weights = load(folder / "last.ckpt")["state_dict"]
    assert all(torch.equal(w, weights[name]) for name, w in checkpoint(3)["state_dict"].items())


def before(name, call, count=0):
    """A stand-in for a function that dies before its ``count``-th call (from 0)."""
    calls = iter(range(10**6))

    def dying(*args, **kwargs):
        if next(calls) == count:
            raise Killed(name)
        return call(*args, **kwargs)

    return dying


def after_half(call):
    """A stand-in for torch.save that dies when half of the bytes are written."""

    def dying(value, file):
        call(value, file)
        file.truncate(file.tell() // 2)
        file.flush()
        raise Killed("torch.save")

    return dying


POINTS = {
    "before torch.save": (torch, "save", lambda f: before("save", f)),
    "inside torch.save": (torch, "save", after_half),
    "before fsync": (os, "fsync", lambda f: before("fsync", f)),
    "before the first replace": (os, "replace", lambda f: before("replace", f)),
    "between the two replaces": (os, "replace", lambda f: before("replace", f, 1)),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("existing", [0, 1, 2])
def test_a_kill_inside_the_write_leaves_a_loadable_one(tmp_path, monkeypatch, point, existing):
    for step in range(1, existing + 1):
        AtomicIO().save_checkpoint(checkpoint(step), tmp_path / "last.ckpt")
    module, name, dying = POINTS[point]
    whole = existing == 0 and "between" in point  # the first write has nothing to move aside
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying(getattr(module, name)))
        with nullcontext() if whole else pytest.raises(Killed):
            AtomicIO().save_checkpoint(checkpoint(existing + 1), tmp_path / "last.ckpt")
    if existing or whole:
        assert step_of(newest_readable(tmp_path)[0].path) == existing + whole
    else:
        with pytest.raises(Refused):
            newest_readable(tmp_path)
    AtomicIO().save_checkpoint(checkpoint(9), tmp_path / "last.ckpt")  # and the next write works
    assert step_of(tmp_path / "last.ckpt") == 9


@pytest.mark.parametrize("existing", [0, 1])
def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch, existing):
    if existing:
        AtomicIO().save_checkpoint(checkpoint(1), tmp_path / "last.ckpt")

    def full(value, file):
        file.write(b"x" * 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        AtomicIO().save_checkpoint(checkpoint(2), tmp_path / "last.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"] * existing  # no half a file takes up the room


@pytest.mark.parametrize("limit", [100, 3000])
def test_a_file_that_cannot_grow_is_told_as_such(tmp_path, limit):
    """PyTorch's writer makes a RuntimeError about positions of it; the limit acts as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError) as told:
            AtomicIO().save_checkpoint({"w": torch.zeros(5000)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.errno == errno.EFBIG and told.value.filename == str(tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(folder, share):
    last = folder / "last.ckpt"
    content = last.read_bytes()
    last.write_bytes(content[: int(share * len(content))])
    refused(last)
    (path, _), problems = newest_readable(folder)
    assert path.name == "last.prev.ckpt" and step_of(path) == 1
    assert len(problems) == 1 and str(last) in problems[0]
    path.write_bytes(b"")
    with pytest.raises(Refused) as refusal:
        newest_readable(folder)
    assert refusal.value.code == CHECKPOINT and "last.prev.ckpt" in str(refusal.value)


@pytest.mark.parametrize("cut", [1, 10, 21, 22, 23])
def test_truncated_by_a_few_bytes(folder, cut):
    last = folder / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-cut])
    refused(last)


def entries(path, part):
    """The places in the file of the bytes that an archive's entries hold."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if part in info.filename and info.file_size:
                with open(path, "rb") as file:
                    file.seek(info.header_offset + 26)
                    name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
                yield info.header_offset + 30 + name + extra, info.file_size


@pytest.mark.parametrize("part", ["data/0", "data/1", "data/3", "data.pkl", "version", "byteorder"])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_flipped_bit(folder, part, bit):
    last = folder / "last.ckpt"
    content = bytearray(last.read_bytes())
    for start, size in list(entries(last, part)):
        for at in {start, start + size // 2, start + size - 1}:
            damaged = content.copy()
            damaged[at] ^= 1 << bit
            last.write_bytes(damaged)
            refused(last)
            (path, _), problems = newest_readable(folder)
            assert path.name == "last.prev.ckpt" and str(last) in problems[0]


def test_one_flipped_bit_anywhere_never_changes_a_value(folder):
    """Also in headers and the directory: refused, or what is read is what was written; no other error."""
    last = folder / "last.ckpt"
    content = bytearray(last.read_bytes())
    wanted, source = load(last), random.Random(0)
    headers = [start - k for start, _ in entries(last, "") for k in (1, 9, 20, 30)]
    end = [len(content) - k for k in range(1, 23)] + [len(content) - k for k in range(30, 900, 13)]
    for at in [*headers, *end, *(source.randrange(len(content)) for _ in range(60))]:
        damaged = content.copy()
        damaged[at] ^= 1 << source.randrange(8)
        last.write_bytes(damaged)
        try:
            read = load(last)
        except Refused as refusal:
            assert refusal.code == CHECKPOINT
            continue
        assert read["global_step"] == wanted["global_step"]
        assert all(torch.equal(w, wanted["state_dict"][name]) for name, w in read["state_dict"].items())


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def malicious(path, canary):
    torch.save({"state_dict": {}, "x": Canary(canary)}, path)


def test_a_malicious_pickle_runs_nothing(folder, tmp_path_factory):
    canary = tmp_path_factory.mktemp("canary") / "ran"
    malicious(folder / "last.ckpt", canary)
    said = refused(folder / "last.ckpt")
    assert "weights_only" not in said and not canary.exists()
    (path, _), problems = newest_readable(folder)
    assert path.name == "last.prev.ckpt" and problems == [said] and not canary.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_bare_pickle_runs_nothing(tmp_path, protocol):
    canary = tmp_path / "ran"
    (tmp_path / "last.ckpt").write_bytes(pickle.dumps(Canary(canary), protocol))
    assert "weights_only" not in refused(tmp_path / "last.ckpt") and not canary.exists()
    torch.save(Canary(canary), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.ckpt")
    assert not canary.exists()


def test_a_module_is_more_than_tensors(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "last.ckpt")
    assert "weights_only" not in refused(tmp_path / "last.ckpt")


@pytest.mark.parametrize("address", ["https://localhost:1/x.ckpt", "s3://bucket/x.ckpt", "file:///tmp/x.ckpt"])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_refused(address, kind):
    """A Path turns // into /, which must not make a file of an address."""
    with pytest.raises(Refused, match="not URLs") as refusal:
        load(kind(address))
    assert refusal.value.code == CHECKPOINT
    with pytest.raises(Refused, match="not URLs") as refusal:
        AtomicIO().load_checkpoint(kind(address))
    assert refusal.value.code == CHECKPOINT


def test_no_checkpoint(tmp_path):
    assert "checkpoint not found" in refused(tmp_path / "last.ckpt")
    (tmp_path / "folder.ckpt").mkdir()
    refused(tmp_path / "folder.ckpt")


def test_random_numbers_come_back():
    def draw():
        return torch.rand(3).tolist(), np.random.rand(), random.random(), np.random.randn(), random.gauss(0, 1)

    draw()  # NumPy and Python keep a second normal number back
    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


def test_random_state_is_plain(tmp_path):
    AtomicIO().save_checkpoint({"rng": random_state()}, tmp_path / "x.ckpt")
    first = torch.rand(1).item(), np.random.rand(), random.random()
    set_random_state(load(tmp_path / "x.ckpt")["rng"])
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == first


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "run"
    return dlcourse.run(*WORDS, "scheduler=one_cycle", f"run_dir={path}")


def plain(value):
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(plain(item) for item in value)
    return value is None or type(value) in (torch.Tensor, str, int, float, bool)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_contents_are_tensors_and_plain_values(run, name):
    path = run.run_dir / "checkpoints" / name
    content = torch.load(path, weights_only=True)
    for key, value in content.items():
        assert plain(dict(value) if isinstance(value, dict) else value), key
    lightnings = {"state_dict", "global_step", "epoch", "pytorch-lightning_version", "hyper_parameters"}
    assert lightnings | ({"optimizer_states", "lr_schedulers"} if name == "last.ckpt" else set()) <= set(content)
    assert content["hyper_parameters"]["model"]["hidden"] == [16]
    assert content["hyper_parameters"]["data"]["classes"][3] == "3"
    assert "mean" in content["state_dict"]


def test_files_of_a_run(run):
    names = {path.name for path in (run.run_dir / "checkpoints").iterdir()}
    assert {"last.ckpt", "best.ckpt"} <= names <= {"last.ckpt", "last.prev.ckpt", "best.ckpt"}


def test_best_is_the_first_lowest(run):
    scores = [row["val/loss"] for row in run.history if "val/loss" in row]
    content = load(run.run_dir / "checkpoints/best.ckpt")
    assert content["epoch"] == scores.index(min(scores)) == run.metrics["best_epoch"]
    assert run.metrics["val/loss"] == pytest.approx(min(scores))


class Trainer:
    """What `Checkpoints.on_validation_end` asks of a trainer; it is its own strategy and connector."""

    sanity_checking = False

    def __init__(self, key, score, epoch):
        self.state = type("State", (), {"fn": "fit"})
        figures = {"val/acc": 0.5, "train/loss": 0.1, key: score}
        self.callback_metrics = {name: torch.tensor(figure) for name, figure in figures.items()}
        self.current_epoch, self.global_step = epoch, epoch * 10
        self.strategy = self._checkpoint_connector = self
        self.weights = torch.tensor(float(epoch))
        self.saved = []

    def broadcast(self, value):
        return value

    def dump_checkpoint(self, weights_only):
        return {"epoch": self.current_epoch, "state_dict": {"w": self.weights}}

    def save_checkpoint(self, content, path):
        assert float(content["state_dict"]["w"]) == content["epoch"]
        self.saved.append(Path(path).name)


@pytest.mark.parametrize(
    ("mode", "scores", "epochs"),
    [("min", [3.0, 1.0, 1.0, 2.0, 0.5, 0.5], [0, 1, 4]), ("max", [0.2, 0.2, 0.9, 0.1, 0.9], [0, 2])],
)
def test_best_of_a_sequence(tmp_path, mode, scores, epochs):
    """A tie keeps the first; the mode says which way is better."""
    key = "val/loss" if mode == "min" else "val/f"
    callback = Checkpoints(RunDirectory(tmp_path), key, mode, None, {})
    saved = []
    for epoch, score in enumerate(scores):
        trainer = Trainer(key, score, epoch)
        callback.on_validation_end(trainer, None)
        saved += [epoch] if trainer.saved == ["best.ckpt"] else []
    assert saved == epochs
    assert callback.best["epoch"] == epochs[-1] and callback.best["step"] == epochs[-1] * 10
    assert callback.best[key] == pytest.approx(scores[epochs[-1]])
    restored = Checkpoints(RunDirectory(tmp_path), key, mode, None, {})
    restored.load_state_dict(callback.state_dict())
    trainer = Trainer(key, scores[epochs[-1]], 9)
    restored.on_validation_end(trainer, None)
    assert trainer.saved == []


@pytest.mark.parametrize("way", ["at the end", "at an exception", "a second later"])
def test_the_best_weights_wait_for_the_next_writing(tmp_path, monkeypatch, way):
    """Short epochs write nothing of their own: what is best meanwhile is a copy, and is not lost whatever comes."""
    callback = Checkpoints(RunDirectory(tmp_path), "val/loss", "min", None, {})
    trainer = Trainer("val/loss", 1.0, 3)
    callback.saved_at = time.monotonic()
    callback.on_validation_end(trainer, None)
    assert trainer.saved == []
    trainer.weights += 1  # training goes on
    if way == "at the end":
        callback.state_at_stop = {"epoch": 4, "state_dict": {"w": 4.0}}
        callback.on_train_end(trainer, None)
        assert trainer.saved == ["best.ckpt", "last.ckpt"]
    elif way == "at an exception":
        callback.on_exception(trainer, None, RuntimeError())
        assert trainer.saved == ["best.ckpt"]
    else:
        callback.saved_at -= 1
        callback.on_validation_end(again := Trainer("val/loss", 0.5, 5), None)
        assert again.saved == ["best.ckpt"] and callback.pending_best is None


@pytest.mark.parametrize(
    ("every", "steps", "seconds"),
    [(None, None, math.inf), ("500steps", 500, math.inf), ("30s", None, 30), ("1.5m", None, 90), ("2h", None, 7200)],
)
def test_every(every, steps, seconds):
    callback = Checkpoints(None, "val/loss", "min", every, {})
    assert (callback.every_steps, callback.every_seconds) == (steps, seconds)


def test_every_so_many_steps(tmp_path, monkeypatch):
    written, original = [], AtomicIO.save_checkpoint

    def watching(self, content, path, storage_options=None):
        if Path(path).name == "last.ckpt":
            written.append(content["global_step"])
        original(self, content, path, storage_options)

    monkeypatch.setattr(AtomicIO, "save_checkpoint", watching)
    dlcourse.run(*WORDS, "checkpoint.every=4steps", f"run_dir={tmp_path / 'run'}")
    assert {4, 8, 12, 16, 20} <= set(written) and 22 in written  # 11 steps an epoch; the end
    assert len(written) == len(set(written)) or written[-2:] == [22, 22]


def test_another_monitor(tmp_path):
    result = dlcourse.run(*WORDS, "monitor=val/acc", "mode=max", f"run_dir={tmp_path / 'run'}")
    scores = [row["val/acc"] for row in result.history if "val/acc" in row]
    assert load(tmp_path / "run/checkpoints/best.ckpt")["epoch"] == scores.index(max(scores))


def test_an_end_within_the_first_epoch(tmp_path):
    """trainer.max_steps may end the run before the first validation is due: what there is is validated and tested."""
    result = dlcourse.run(*WORDS, "trainer.max_steps=5", f"run_dir={tmp_path / 'run'}")
    assert result.metrics["steps"] == 5 and 0 <= result.metrics["test/acc"] <= 1
    assert json.loads((tmp_path / "run/status.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("word", ["monitor=val/f1", "monitor=train/lr"])
def test_a_monitor_that_no_step_logs_is_refused_before_training(tmp_path, word):
    with pytest.raises(Refused, match=word.split("=")[1]) as refusal:
        dlcourse.run(*WORDS, word, "mode=max", f"run_dir={tmp_path / 'run'}")
    assert refusal.value.code == 2
    assert not (tmp_path / "run/metrics.jsonl").exists() or not (tmp_path / "run/metrics.jsonl").read_text()


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path, monkeypatch):
    """The error of opening the file comes through, and not that there is none to remove."""

    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(PermissionError):
        AtomicIO().save_checkpoint({}, tmp_path / "last.ckpt")
