"""Runs that die at a chosen step, and the comparison of what a resume makes of them with runs that did not."""

import json

import pytest
import torch

from dlcourse.models.base import Model
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.fit import train
from tests.composing import checked, resumed

# Digits in batches of 128: 11 batches an epoch, the last one of 14 rows.
BATCHES = 11
WORDS = [
    "logger=none",
    "callbacks=none",
    "trainer=cpu",
    "model.hidden=[16]",
    "data.batch_size=128",
    "trainer.log_every_n_steps=3",
    "checkpoint.every=2steps",
    "trainer.max_epochs=3",
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code base catches it to save anything."""


def killed(path, words, monkeypatch, step, hook="training_step"):
    """Train until the step-th call (from 0) of a hook of the model, which dies before it does anything."""
    original, calls = getattr(Model, hook), iter(range(10**6))

    def dying(self, *args):
        if next(calls) == step:
            raise Killed
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Model, hook, dying)
        with pytest.raises(Killed):
            train(checked([*WORDS, *words, f"run_dir={path}"]))
    assert not (path / "metrics.json").exists()


def resume(path, *words):
    """Go on with a run."""
    return train(*resumed([f"resume={path}", *words]))


def rows(path):
    """The text of its metrics."""
    return (path / "metrics.jsonl").read_text()


def flat(tree, path=""):
    """The leaves of a checkpoint's tree by their place."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in flat(value, f"{path}/{key}").items()}
    return {path: tree}


def assert_same(one, other, parts=("state_dict", "optimizer_states", "lr_schedulers", "rng"), name="last.ckpt"):
    a, b = load(one / "checkpoints" / name), load(other / "checkpoints" / name)
    assert (a["global_step"], a["epoch"]) == (b["global_step"], b["epoch"])
    for part in parts:
        left, right = flat(a[part]), flat(b[part])
        assert left.keys() == right.keys()
        for place, value in left.items():
            same = torch.equal(value, right[place]) if isinstance(value, torch.Tensor) else value == right[place]
            assert same, f"{part}{place} differs"


def assert_same_run(one, other):
    """Weights, optimizer, schedule, random numbers, best checkpoint, every row of figures and the final ones."""
    assert rows(one) == rows(other)
    assert_same(one, other)
    assert_same(one, other, ("state_dict",), "best.ckpt")
    a, b = (json.loads((path / "metrics.json").read_text()) for path in (one, other))
    clock = ("seconds", "samples_per_s")
    assert {k: v for k, v in a.items() if k not in clock} == {k: v for k, v in b.items() if k not in clock}


STOPPING = [
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=2",
    "callbacks.early_stopping.min_delta=10",
    "trainer.max_epochs=8",
]
