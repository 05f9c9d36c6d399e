"""The autoencoder against the principal components of the same training rows, on the test rows (L4)."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import dlcourse
from dlcourse.data.loading import Rows
from dlcourse.measures.code import ActiveUnits, PrincipalComponents
from dlcourse.measures.few_labels import FewLabels, LinearInputs
from dlcourse.runs.building import build
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.reconstruction_sections import sections
from tests.composing import checked

#: What a data set is trained with; its white is what pixels are divided by.
DATA = {
    "digits": (16, ["trainer.max_epochs=60", "optimizer.lr=0.003"]),
    "mnist": (255, ["trainer.max_epochs=5", "data.batch_size=128", "optimizer.lr=0.002"]),
}


LBFGS = [
    "optimizer=lbfgs",
    "optimizer.history_size=50",
    *(f"optimizer.tolerance_{of}=1e-12" for of in ("grad", "change")),
]


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


def test_a_table_of_ones_own_is_reconstructed(tmp_path: Path) -> None:
    """The model's task stays, though the table has a column of classes: without a word for the task."""
    rng = np.random.default_rng(0)
    table = [f"{a:.3f},{2 * a:.3f},{'xyz'[k % 3]}" for k, a in enumerate(rng.normal(size=200))]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *table]))
    words = ["data=csv", f"data.path={tmp_path / 't.csv'}", "data.target=kind", "model.code=1", "trainer.max_epochs=40"]
    done = dlcourse.run("model=autoencoder", "optimizer.lr=0.01", *words, f"run_dir={tmp_path / 'run'}")
    assert done.metrics["test/mse"] < 0.1, "b = 2a: one unit is enough, where the mean alone has 1"
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Test samples and their reconstructions" in page and "sampler" not in page.split("Results")[0]
    assert '<th scope="col">a</th><th scope="col">b</th>' in page


@pytest.mark.parametrize("classes", [None, ["a", "b", "c"]])
def test_pictures_without_a_white_and_classes_without_names(classes: list[str] | None) -> None:
    """The report takes the range of the pixels, and draws every sample in the plane of the code."""
    x = torch.rand(6, 1, 8, 8) - 0.5
    y = torch.arange(6) % 3
    data = SimpleNamespace(sets={"test": Rows(x, y, torch.arange(6))}, shape=(1, 8, 8), y="classes", classes=classes)
    model = torch.nn.Module()
    model.code, model.device, model.task = 2, torch.device("cpu"), SimpleNamespace(white=None)
    model.mean = torch.zeros(())
    model.encode, model.decode = lambda rows: rows.flatten(1)[:, :2], lambda h: h.repeat(1, 32)
    model.output = lambda z: z.unflatten(1, (1, 8, 8))
    (section,) = sections(model, data, Predictions(x.flatten(1), x))
    pictures, plane, between = section.plots
    assert pictures.uri and plane.svg and between.uri
    assert all(name in plane.svg for name in (classes or ["class 0", "class 1", "class 2"]))


def test_the_measured_principal_components_are_those_of_the_singular_vectors(tmp_path: Path) -> None:
    """And a linear autoencoder at its least error spans their plane (Baldi and Hornik 1989)."""
    measure = "+callbacks.pca._target_=dlcourse.measures.code.PrincipalComponents"
    linear = ["model.hidden=[]", "loss.output=identity", *LBFGS]
    words = ["model=autoencoder", "model.code=2", *linear, "trainer.max_epochs=25", "report=false", measure]
    done = dlcourse.run(*words, f"run_dir={tmp_path / 'run'}")
    train, test = (done.data.sets[stage].x.flatten(1).double().numpy() / 16 for stage in ("train", "test"))
    found = {name[8:]: value for name, value in done.metrics.items() if name.startswith("measure/")}
    assert found["pca_mse"] == pytest.approx(pca_error(train, test, 2), rel=1e-6)
    assert done.metrics["test/mse"] == pytest.approx(found["pca_mse"], rel=0.002)
    assert found["angle"] < 0.05 and found["pca_size"] == 2
    done.model.loss.probabilities = True  # as beside outputs that are in 0 … 1
    clipped = PrincipalComponents([2]).measure(done.model, done.data)["pca_mse"]
    mean, axes = train.mean(0), np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:2]
    projected = ((test - mean) @ axes.T @ axes + mean).clip(0, 1)
    assert clipped == pytest.approx(np.square(projected - test).mean(), rel=1e-6) and clipped < found["pca_mse"]


def test_active_units_of_a_model_that_is_told_the_class() -> None:
    data, model = build(checked(["model=vae", "model.classes=10"]).tree)
    data.setup()
    model.encode = lambda x, told: torch.cat((x.flatten(1), told), 1)
    found = ActiveUnits().measure(model, data)
    rows = torch.cat((data.sets["test"].x.flatten(1), F.one_hot(data.sets["test"].y, 10)), 1).double()
    assert found["active"] == int((rows.var(0, correction=0) > 0.01).sum()) and len(found) == 1 + 74


def test_few_labels_against_scikit_learn(tmp_path: Path) -> None:
    """The figures of the inputs, made again from the same draws; codes that are the inputs have the same."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit

    done = dlcourse.run("model=autoencoder", "trainer.max_epochs=1", "report=false", f"run_dir={tmp_path / 'run'}")
    model, data = done.model, done.data
    model.encode = lambda x: x.flatten(1)
    found = FewLabels(labels=[20], draws=3).measure(model, data)
    x = {stage: data.sets[stage].x.flatten(1).numpy() for stage in ("train", "val", "test")}
    y = {stage: data.sets[stage].y.numpy() for stage in x}
    draws = StratifiedShuffleSplit(3, train_size=20, test_size=10, random_state=0).split(y["train"], y["train"])
    scores = {"val": np.zeros(4), "test": np.zeros(4)}
    for rows, _ in draws:
        assert np.bincount(y["train"][rows]).tolist() == [2] * 10
        for k, c in enumerate((0.01, 0.1, 1, 10)):
            scaled = c / x["train"].std() ** 2  # the same problem in the units of the inputs
            fit = LogisticRegression(C=scaled, max_iter=5000, tol=1e-6).fit(x["train"][rows], y["train"][rows])
            for stage, sums in scores.items():
                sums[k] += fit.score(x[stage], y[stage]) / 3
    expected = scores["test"][scores["val"].argmax()]
    assert found["inputs_linear/20"] == pytest.approx(expected, abs=0.005)
    assert found["codes_linear/20"] == pytest.approx(found["inputs_linear/20"], abs=1e-9)
    assert found["codes_near/20"] == pytest.approx(found["inputs_near/20"], abs=1e-9)
    assert found["pca_near/20"] == pytest.approx(found["inputs_near/20"], abs=0.01), "all components: a rotation"
    assert 0.2 < found["rand/codes"] < 0.9


def test_logistic_regression_on_the_inputs() -> None:
    """The test accuracy of the strength that validation chooses, against scikit-learn in the units of the inputs."""
    from sklearn.linear_model import LogisticRegression

    data, _ = build(checked(["data=iris", "data.train_samples=60"]).tree)
    data.setup()
    found = LinearInputs(strengths=[1e-6, 0.1]).measure(None, data)
    x = {stage: rows.x.numpy() for stage, rows in data.sets.items()}
    fit = LogisticRegression(C=0.1 / x["train"].std() ** 2, max_iter=5000).fit(x["train"], data.sets["train"].y.numpy())
    assert found == {"inputs_linear": fit.score(x["test"], data.sets["test"].y.numpy()), "strength": 0.1}


@pytest.mark.study
@pytest.mark.parametrize("code", [2, 8])
@pytest.mark.parametrize("data", DATA)
def test_below_the_principal_components_with_each_seed(data: str, code: int, tmp_path: Path) -> None:
    found = [errors(data, code, seed, tmp_path) for seed in range(3)]
    for seed, (autoencoder, pca) in enumerate(found):
        print(f"{data}, {code} units, seed {seed}: {autoencoder:.4f} against {pca:.4f}, ratio {autoencoder / pca:.3f}")
    assert all(autoencoder < pca for autoencoder, pca in found)
