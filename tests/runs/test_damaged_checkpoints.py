"""A checkpoint that is damaged or not ours: the one before it is used, or the resume is refused."""

import os
import shutil
from pathlib import Path

import pytest

from dlcourse.errors import Refused
from dlcourse.runs.checkpoint_file import AtomicIO, load
from dlcourse.runs.fit import train
from tests.composing import checked
from tests.stopping import BATCHES, WORDS, Killed, assert_same_run, killed, resume, rows


@pytest.mark.parametrize("step", [BATCHES, BATCHES + 5])
def test_killed_inside_the_write(straight, tmp_path, monkeypatch, step):
    """The checkpoint that was not finished does not count; the one before it does."""
    with monkeypatch.context() as patch:
        original, writes = AtomicIO.save_checkpoint, []

        def dying(self, checkpoint, path, storage_options=None):
            writes.append(path)
            if len(writes) > 6:
                Path(path).with_name(f".{Path(path).name}.1").write_bytes(b"half")
                raise Killed
            original(self, checkpoint, path, storage_options)

        patch.setattr(AtomicIO, "save_checkpoint", dying)
        with pytest.raises(Killed):
            train(checked([*WORDS, f"run_dir={tmp_path / 'run'}"]))
    resume(tmp_path / "run")
    assert_same_run(straight([]), tmp_path / "run")


def test_a_damaged_last_checkpoint(straight, tmp_path, monkeypatch, capsys):
    """The one before it is used, that is said, and the end is the same."""
    killed(tmp_path / "run", ["model.dropout=0.3"], monkeypatch, BATCHES + 6)
    last = tmp_path / "run/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    resume(tmp_path / "run")
    said = capsys.readouterr().err
    assert "last.ckpt is damaged" in said and "continuing from last.prev.ckpt" in said
    assert_same_run(straight(["model.dropout=0.3"]), tmp_path / "run")


def test_a_damaged_checkpoint_never_takes_the_good_ones_place(tmp_path, monkeypatch):
    """Killed again in the first write after the fallback, between the two names: the good one is still there."""
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 6)
    folder = tmp_path / "run/checkpoints"
    (folder / "last.ckpt").write_bytes(b"damaged")
    original = os.replace

    def dying(source, target):
        if Path(source).name == ".last.ckpt.part":
            raise Killed
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            resume(tmp_path / "run")
    resume(tmp_path / "run")
    assert (folder / "last.damaged.ckpt").read_bytes() == b"damaged"


def test_both_damaged(tmp_path, monkeypatch):
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 6)
    for name in ("last.ckpt", "last.prev.ckpt"):
        (tmp_path / "run/checkpoints" / name).write_bytes(b"")
    with pytest.raises(Refused, match="last.ckpt") as refusal:
        resume(tmp_path / "run")
    assert refusal.value.code == 4


def test_a_checkpoint_of_another_model_touches_nothing(finished, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    train(checked([*WORDS, "model.hidden=[5]", "trainer.max_epochs=1", f"run_dir={tmp_path / 'other'}"]))
    before = (path / "metrics.json").read_text(), rows(path)
    shutil.copy(tmp_path / "other/checkpoints/last.ckpt", path / "checkpoints/last.ckpt")
    with pytest.raises(Refused, match=r"another model: .*\(5, 64\) there and \(16, 64\) here") as refusal:
        resume(path, "trainer.max_epochs=2")
    assert refusal.value.code == 4
    AtomicIO().save_checkpoint({"state_dict": {}}, path / "checkpoints/last.ckpt")
    with pytest.raises(Refused, match="not a checkpoint of a dlcourse run: it has no optimizer_states") as refusal:
        resume(path, "trainer.max_epochs=2")
    assert refusal.value.code == 4
    assert before == ((path / "metrics.json").read_text(), rows(path))


def test_damaged_best_weights_are_told_and_found_anew(stopped, capsys):
    best = stopped / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:500])
    resume(stopped)
    assert "best.ckpt is damaged" in capsys.readouterr().err
    assert load(best)["global_step"] > BATCHES and (stopped / "metrics.json").exists()
