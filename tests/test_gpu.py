"""On a GPU: what trains on the CPU trains there, to the same figures.

pytest -m gpu, on a machine with a CUDA device; with DLCOURSE_DRY_RUN=1 the same on the CPU, to see that the tests run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.files import read_rows
from dlcourse.runs.fit import train
from dlcourse.sweeps.together import compose_trials
from dlcourse.sweeps.train_together import train_together
from tests.composing import checked
from tests.objects import predicted_lines
from tests.stopping import BATCHES, WORDS, assert_same_run, killed, resume

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[1]
QUIET = ["logger=none", "callbacks=none", "report=false"]
CNN = ["model=cnn", "model.channels=[8,16]", "model.hidden=[]", "trainer.max_epochs=4"]


@pytest.fixture(scope="module")
def device() -> str:
    """The accelerator of these runs, as ``trainer.accelerator`` names it."""
    if os.environ.get("DLCOURSE_DRY_RUN"):
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; DLCOURSE_DRY_RUN=1 runs this on the CPU")
    return "gpu"


def run(device: str, folder: Path, *words: str):
    return dlcourse.run(*QUIET, f"trainer.accelerator={device}", f"run_dir={folder}", *words)


def test_digits_are_learned_as_on_the_cpu(device, tmp_path):
    """The same seed, so the same weights to begin with and the same order: the accuracies differ by rounding."""
    words = ["trainer.max_epochs=8", "seed=1"]
    there = run(device, tmp_path / "there", *words)
    here = run("cpu", tmp_path / "here", *words)
    assert there.metrics["test/acc"] == pytest.approx(here.metrics["test/acc"], abs=0.015)
    assert there.metrics["test/acc"] > 0.95
    rows = [read_rows(each.run_dir / "metrics.jsonl") for each in (there, here)]
    first = [next(row["train/loss"] for row in each if "train/loss" in row) for each in rows]
    assert first[0] == pytest.approx(first[1], rel=1e-2)


@pytest.mark.parametrize("words", [["model.dropout=0.3"], ["data.augment=shift"]], ids=["dropout", "augmented"])
@pytest.mark.parametrize("step", [BATCHES, BATCHES + 5], ids=["at the end of an epoch", "in the middle"])
def test_resume_is_exact_on_the_device(device, tmp_path, monkeypatch, words, step):
    """To the last bit. (Dense layers: some convolutions of a GPU add up in no fixed order.)"""
    words = [*words, f"trainer.accelerator={device}"]
    train(checked([*WORDS, *words, f"run_dir={tmp_path / 'straight'}"]))
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "straight", tmp_path / "run")


def test_bf16_mixed_trains(device, tmp_path):
    result = run(device, tmp_path / "run", *CNN, "trainer.precision=bf16-mixed")
    assert result.metrics["test/acc"] > 0.9
    assert {w.dtype for w in result.model.parameters()} == {torch.float32}


def test_a_compiled_network_trains(device, tmp_path):
    result = run(device, tmp_path / "run", *CNN, "compile=true")
    assert result.metrics["test/acc"] > 0.9
    assert not any("_orig_mod" in name for name in load(tmp_path / "run/checkpoints/best.ckpt")["state_dict"])


def test_a_vectorised_sweep_is_its_trials_run_alone(device, tmp_path):
    """In float64, to 1e-5 of every weight and figure."""
    words = [*QUIET, f"trainer.accelerator={device}", "trainer.precision=64-true", "model.hidden=[12]"]
    words += ["data.batch_size=48", "trainer.max_epochs=4"]
    varied = [["optimizer.lr=0.003", "seed=3"], ["optimizer.lr=0.02", "seed=3"], ["optimizer.lr=0.02", "seed=4"]]
    paths = [tmp_path / "sweep" / str(k) for k in range(len(varied))]
    paths[0].parent.mkdir()
    train_together(compose_trials([[*words, *own, f"run_dir={path}"] for own, path in zip(varied, paths, strict=True)]))
    for own, path in zip(varied, paths, strict=True):
        alone = train(checked([*words, *own, f"run_dir={path.with_name('alone' + path.name)}"]))
        ours, theirs = (load(each / "checkpoints/best.ckpt")["state_dict"] for each in (path, alone.run_dir))
        assert ours.keys() == theirs.keys()
        for name, w in theirs.items():
            assert torch.allclose(ours[name], w, rtol=1e-5, atol=1e-8), name
        figures = json.loads((path / "metrics.json").read_text())
        for name in ("test/acc", "test/loss", "val/loss"):
            assert figures[name] == pytest.approx(alone.metrics[name], rel=1e-5), name


def test_a_run_of_the_device_predicts_on_the_cpu(device, tmp_path):
    """In a process that sees no GPU: the classes that the model gives on the device."""
    result = run(device, tmp_path / "run", *CNN)
    x = result.data.sets["test"].x[:64].cpu()
    np.save(tmp_path / "x.npy", x.numpy())
    words = [f"run={tmp_path / 'run'}", f"input={tmp_path / 'x.npy'}"]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "scripts/predict.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    expected = predicted_lines(result.model.to("cuda" if device == "gpu" else "cpu"), x)
    assert len(printed) == len(expected) == len(x)
    for one, other in zip(printed, expected, strict=True):
        assert probabilities(one) == pytest.approx(probabilities(other), abs=0.01)


def probabilities(line: str) -> dict[str, float]:
    """Those that a line of predictions gives each class."""
    return {name: float(value) for name, _, value in (part.partition("=") for part in line.split("\t")[1:])}
