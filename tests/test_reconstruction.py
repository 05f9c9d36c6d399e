"""The autoencoder against the principal components of the same training rows, on the test rows (L4)."""

from pathlib import Path

import numpy as np
import pytest

import dlcourse

#: What a data set is trained with; its white is what pixels are divided by.
DATA = {
    "digits": (16, ["trainer.max_epochs=60", "optimizer.lr=0.003"]),
    "mnist": (255, ["trainer.max_epochs=5", "data.batch_size=128", "optimizer.lr=0.002"]),
}


def pca_error(train: np.ndarray, test: np.ndarray, components: int) -> float:
    """Mean squared error of the test rows put back from their first components, fitted on the training rows."""
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:components]
    kept = (test - mean) @ axes.T @ axes + mean
    return float(((test - kept) ** 2).mean())


def errors(data: str, code: int, seed: int, folder: Path, *words: str) -> tuple[float, float]:
    """The autoencoder's and PCA's error on the test rows, pixels in 0 … 1."""
    white, setting = DATA[data]
    given = ["model=autoencoder", f"data={data}", f"model.code={code}", f"seed={seed}", "callbacks=none", *setting]
    done = dlcourse.run(*given, *words, "report=false", f"run_dir={folder / f'{data}_{code}_{seed}'}")
    train, test = (done.data.sets[stage].x.flatten(1).double().numpy() / white for stage in ("train", "test"))
    return done.metrics["test/mse"], pca_error(train, test, code)


def test_a_few_epochs_are_enough_to_be_below_two_components(tmp_path: Path) -> None:
    autoencoder, pca = errors("digits", 2, 0, tmp_path, "trainer.max_epochs=12")
    assert pca == pytest.approx(0.0539, abs=0.001)
    assert autoencoder < pca


@pytest.mark.study
@pytest.mark.parametrize("code", [2, 8])
@pytest.mark.parametrize("data", DATA)
def test_below_the_principal_components_with_each_seed(data: str, code: int, tmp_path: Path) -> None:
    found = [errors(data, code, seed, tmp_path) for seed in range(3)]
    for seed, (autoencoder, pca) in enumerate(found):
        print(f"{data}, {code} units, seed {seed}: {autoencoder:.4f} against {pca:.4f}, ratio {autoencoder / pca:.3f}")
    assert all(autoencoder < pca for autoencoder, pca in found)
