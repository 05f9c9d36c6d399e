"""Denoising: the noise is a function of seed, epoch and sample, and a trained model takes it away (L4)."""

from pathlib import Path

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.runs.fit import train
from dlcourse.tasks.base import Batch
from tests import objects
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed
from tests.test_reconstruction import pca_error


def denoising(noise: float = 0.5):
    facts = {"outputs": 16, "shape": [1, 4, 4], "white": 255.0}
    task = objects.task("denoising", **facts)
    task.noise = noise
    return task


def test_the_noise_belongs_to_the_sample() -> None:
    task, x = denoising(), torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8)
    batch = Batch(x, torch.zeros(6), torch.arange(6), seed=3, epoch=2)
    noisy, target = task.prepare_batch(batch)
    assert torch.equal(target, x.flatten(1).float() / 255)
    some, _ = task.prepare_batch(batch.rows([4, 1]))
    assert torch.equal(some, noisy[[4, 1]])
    for other in (batch._replace(seed=4), batch._replace(epoch=3)):
        assert not torch.equal(task.prepare_batch(other)[0], noisy)
    many = Batch(torch.zeros(5000, 1, 4, 4), torch.zeros(5000), torch.arange(5000))
    drawn = denoising(0.3).prepare_batch(many)[0]
    assert float(drawn.std()) == pytest.approx(0.3 * 255, rel=0.01) and abs(float(drawn.mean())) < 2


def test_below_what_came_in_and_below_the_principal_components(tmp_path: Path) -> None:
    """PCA of the clean training rows at its best number of components, chosen on the test rows, to its advantage."""
    words = ["model=autoencoder", "task=denoising", "model.code=16", "trainer.max_epochs=15", "optimizer.lr=0.003"]
    done = dlcourse.run(*words, f"run_dir={tmp_path / 'run'}")
    test = done.data.sets["test"]
    noisy, target = done.model.task.prepare_batch(test.first(len(test))._replace(seed=done.data.seed))
    clean, copies = target.double().numpy(), noisy.flatten(1).double().numpy() / 16
    train_rows = done.data.sets["train"].x.flatten(1).double().numpy() / 16
    mean = train_rows.mean(0)
    axes = np.linalg.svd(train_rows - mean, full_matrices=False)[2]
    errors = [(((copies - mean) @ axes[:k].T @ axes[:k] + mean - clean) ** 2).mean() for k in range(1, 65)]
    with torch.no_grad():
        back = done.model.eval()(noisy).sigmoid().double().numpy()
    assert done.metrics["test/mse"] == pytest.approx(((back - clean) ** 2).mean(), rel=1e-4)
    assert done.metrics["test/mse"] < min(errors) < ((copies - clean) ** 2).mean()
    assert pca_error(train_rows, clean, 64) < 1e-12, "without noise all components are the picture itself"
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "From above: test samples, with noise, denoised." in page


@pytest.mark.parametrize("step", [16, pytest.param(3, marks=pytest.mark.slow)])
def test_resumed_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    words = ["model=autoencoder", "task=denoising", "model.code=4"]
    killed(tmp_path / "killed", words, monkeypatch, step)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*WORDS, *words, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_a_table_is_denoised_too(tmp_path: Path) -> None:
    done = dlcourse.run("data=iris", "model=autoencoder", "task=denoising", "model.code=2", f"run_dir={tmp_path / 'r'}")
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "In each cell: test samples → with noise → denoised." in page and done.metrics["test/mse"] < 1
