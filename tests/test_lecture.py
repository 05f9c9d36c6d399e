"""What the lecture claims, shown on real runs: each experiment with a claim, and proofs that need more than one."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import dlcourse
from dlcourse.config.claims import Expectation, judge
from dlcourse.models.base import Model
from dlcourse.report import course
from dlcourse.report.course import experiments
from dlcourse.runs.building import build
from dlcourse.sweeps.together import compose_trials
from dlcourse.sweeps.train_together import train_together
from tests.composing import checked
from tests.faults.process import start

ROOT = Path(__file__).parents[1]
QUIET = ["trainer=cpu", "callbacks=none"]


@pytest.fixture(scope="module", autouse=True)
def bare():
    """No report: its page has tests of its own."""
    import dlcourse.report.page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlcourse.report.page, "build_report", lambda *_: None)
        yield


@pytest.fixture
def run(tmp_path):
    paths = (tmp_path / f"run{k}" for k in range(1000))
    return lambda *words: dlcourse.run(*QUIET, *words, f"run_dir={next(paths)}")


def linear_unit(result):
    """w and b of a unit without hidden layers, on raw inputs."""
    model = result.model
    layer = model.network[1]
    std, mean = model.std.double().expand(layer.in_features), model.mean.double().expand(layer.in_features)
    w = layer.weight.detach().double()[0] / std
    return w, float(layer.bias.detach().double()[0] - (w * mean).sum())


@pytest.mark.parametrize("gate", ["and", "or", "nand"])
@pytest.mark.parametrize("seed", [0, 1])
def test_l1_a_perceptron_learns_the_gates(run, gate, seed):
    result = run("model=perceptron", f"data={gate}", f"seed={seed}", "trainer.max_epochs=20")
    assert result.metrics["test/acc"] == 1.0


def test_l1_a_perceptron_alone_just_works(run):
    result = run("model=perceptron", "trainer.max_epochs=2")
    assert result.data.name == "digits" and result.metrics["test/acc"] > 0.8


def test_l1_xor_is_beyond_a_perceptron(run):
    """No straight line has more than three of the four rows right, whatever the seed, in any epoch."""
    for seed in range(5):
        result = run("model=perceptron", "data=xor", f"seed={seed}", "trainer.max_epochs=25")
        # train/acc counts each row with the weights of its own step: no figure of one line
        reached = [row["val/acc"] for row in result.history if "val/acc" in row]
        assert len(reached) == 25 and max(reached) <= 0.75
        assert result.metrics["test/acc"] <= 0.75


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_l1_an_mlp_solves_xor(run, activation):
    words = ["data=xor", "model.hidden=[8]", f"activation={activation}", "optimizer.lr=0.1", "trainer.max_epochs=150"]
    assert run(*words).metrics["test/acc"] == 1.0


def test_l1_two_layers_of_threshold_units_are_xor():
    """(x OR y) AND NOT (x AND y), with weights by hand: an MLP of perceptrons."""
    data, model = build(checked(["data=xor", "model.hidden=[2]", "activation=step"]).tree)
    data.setup()
    with torch.no_grad():
        model.network[1].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
        model.network[1].bias.copy_(torch.tensor([-0.5, -1.5]))
        model.network[3].weight.copy_(torch.tensor([[1.0, -1.0]]))
        model.network[3].bias.fill_(-0.5)
    rows = data.sets["train"]
    assert torch.equal((model(rows.x) > 0).flatten().long(), rows.y)


@pytest.mark.parametrize("std", [0.3, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_l1_the_convergence_bound(run, monkeypatch, std, seed):
    """On separable rows the perceptron updates at most (R/γ)² times, then never again (Novikoff 1962).

    Inputs (x, 1); R their largest length, γ the widest margin of a separator through the origin.
    """
    from sklearn.svm import SVC

    updates, original = [], Model.training_step

    def counting(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        (gradient,) = torch.autograd.grad(loss, [self.network[1].weight], retain_graph=True)
        assert len(batch[0]) == 1
        updates.append(bool(gradient.abs().sum() > 0))
        return loss

    monkeypatch.setattr(Model, "training_step", counting)
    words = ["model=perceptron", "data=blobs", f"data.std={std}", "data.n_samples=100", f"seed={seed}"]
    result = run(*words, "trainer.max_epochs=8")
    rows = result.data.sets["train"]
    x = ((rows.x - result.data.mean) / result.data.std).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1).numpy()
    s = 2 * rows.y.double().numpy() - 1
    # The widest margin through the origin: mirror the rows, so that the separator has no intercept.
    support = SVC(C=1e10, kernel="linear", tol=1e-8).fit(np.concatenate([x, -x]), np.concatenate([s, -s]))
    w = support.coef_[0]
    margin = (s * (x @ w)).min() / np.linalg.norm(w)
    assert margin > 0, "these rows are not separable"
    bound = (np.linalg.norm(x, axis=1).max() / margin) ** 2
    assert 1 <= sum(updates) <= bound
    assert not any(updates[-len(rows) :])  # the last epoch has no mistake


def perceptron_accuracies(folder, seeds, epochs):
    """Of our perceptrons, trained together, which ends as each alone (tests/sweeps); and of scikit-learn's."""
    from sklearn.linear_model import Perceptron

    words = [*QUIET, "logger=none", "model=perceptron", f"trainer.max_epochs={epochs}"]
    train_together(compose_trials([[*words, f"seed={seed}", f"run_dir={folder / str(seed)}"] for seed in seeds]))
    ours = [json.loads((folder / str(seed) / "metrics.json").read_text())["test/acc"] for seed in seeds]
    data, _ = build(checked(words).tree)
    data.setup()
    sets, mean, std = data.sets, data.mean, data.std
    train, test = (((sets[n].x - mean) / std).flatten(1).numpy() for n in ("train", "test"))
    theirs = []
    for seed in seeds:
        peer = Perceptron(random_state=seed, max_iter=1000, tol=1e-3).fit(train, sets["train"].y.numpy())
        theirs.append(peer.score(test, sets["test"].y.numpy()))
    return ours, theirs


@pytest.mark.slow
def test_l1_digits_as_well_as_scikit_learn(tmp_path):
    """Mean over ten seeds, same rows, within two points; an epoch is 1,294 updates of one row."""
    ours, theirs = perceptron_accuracies(tmp_path, range(10), epochs=8)
    print(
        f"perceptron {statistics.mean(ours):.4f} ± {statistics.stdev(ours):.4f}, "
        f"scikit-learn {statistics.mean(theirs):.4f} ± {statistics.stdev(theirs):.4f}"
    )
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) <= 0.02


def test_l2_a_sigmoid_neuron_is_logistic_regression(run):
    """The same optimum as scikit-learn's, unregularised, in the units of the raw columns."""
    from scipy.optimize import linprog
    from sklearn.linear_model import LogisticRegression

    words = ["model=sigmoid_neuron", "data=breast_cancer", "data.features=3", "optimizer=lbfgs", "monitor=train/loss"]
    result = run(*words, "trainer.max_epochs=20")
    rows = result.data.sets["train"]
    x, y = rows.x.double().numpy(), rows.y.numpy()
    # Not separable: no w, b has s (w x + b) ≥ 1 for all rows, so a finite optimum exists.
    s = 2 * y - 1
    constraints = -s[:, None] * np.concatenate([x, np.ones((len(x), 1))], 1)
    separator = linprog(np.zeros(4), A_ub=constraints, b_ub=-np.ones(len(x)), bounds=(None, None))
    assert separator.status == 2, "separable: the unregularised optimum is at infinity"
    scaled = (x - x.mean(0)) / x.std(0)
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(scaled, y)
    coefficients = peer.coef_[0] / x.std(0)
    intercept = float(peer.intercept_[0] - (coefficients * x.mean(0)).sum())
    w, b = linear_unit(result)
    np.testing.assert_allclose(w.numpy(), coefficients, rtol=1e-2)
    assert b == pytest.approx(intercept, rel=1e-2)
    share = torch.sigmoid(torch.from_numpy(x).float() @ w.float() + b).numpy()
    np.testing.assert_allclose(share, peer.predict_proba(scaled)[:, 1], atol=5e-3)


def test_l9_a_linear_unit_reaches_least_squares(run):
    words = ["model=mlp", "model.hidden=[]", "data=linear", "loss=mse", "optimizer=lbfgs", "monitor=train/loss"]
    result = run(*words, "trainer.max_epochs=10")
    rows = result.data.sets["train"]
    x = np.concatenate([rows.x.double().numpy(), np.ones((len(rows), 1))], 1)
    solution = np.linalg.lstsq(x, rows.y.double().numpy(), rcond=None)[0][:, 0]
    w, b = linear_unit(result)
    np.testing.assert_allclose([*w.tolist(), b], solution, atol=1e-4)
    np.testing.assert_allclose(solution, [1.5, -2.0, 0.5, 0.7], atol=0.03)  # the weights that made the data


def test_l9_gradient_descent_gets_there_too(run):
    words = ["model=mlp", "model.hidden=[]", "data=linear", "loss=mse", "optimizer=gd", "monitor=train/loss"]
    result = run(*words, "optimizer.lr=0.3", "trainer.max_epochs=60")
    rows = result.data.sets["train"]
    x = np.concatenate([rows.x.double().numpy(), np.ones((len(rows), 1))], 1)
    solution = np.linalg.lstsq(x, rows.y.double().numpy(), rcond=None)[0][:, 0]
    w, b = linear_unit(result)
    np.testing.assert_allclose([*w.tolist(), b], solution, atol=1e-4)


def test_l6_an_mlp_fits_values(run):
    """sin(x) with noise of deviation 0.1: at most 1 − 0.01/0.51 = 0.98 can be explained."""
    metrics = run("data=sine", "trainer.max_epochs=30").metrics
    assert 0.9 <= metrics["test/r2"] <= 0.99
    flat = run("data=sine", "model.hidden=[]", "trainer.max_epochs=5").metrics
    assert flat["test/r2"] < 0.75  # a straight line cannot


def test_l6_an_mlp_fits_classes(run):
    words = ["data=spirals", "model.hidden=[32,32]", "optimizer.lr=0.01", "trainer.max_epochs=40"]
    assert run(*words).metrics["test/acc"] > 0.95
    assert run("data=spirals", "model.hidden=[]", "trainer.max_epochs=5").metrics["test/acc"] < 0.75


def command(tmp_path, *words, timeout=900):
    """``python train.py WORDS``, forked from a process that has torch: its figures, and its seconds."""
    path = tmp_path / "run"
    done = start(ROOT / "train.py", [*words, f"run_dir={path}"], cwd=ROOT).end(timeout)
    if done.code == 5 and "data=" in " ".join(words):
        pytest.skip(f"no source of the data answers: {done.err.strip()}")
    assert done.code == 0, done.err
    metrics = json.loads((path / "metrics.json").read_text())
    print(f"{' '.join(words)}: test/acc {metrics['test/acc']:.4f} in {done.seconds:.1f} s")
    return metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_cnn_on_digits(tmp_path, seed):
    """To be reached within 60 s; the time is printed, as the machine may be busy (pytest -s)."""
    assert command(tmp_path, "model=cnn", "optimizer=adam", f"seed={seed}")["test/acc"] >= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "model", "accuracy", "epochs"),
    [("mnist", "cnn", 0.99, 3), ("mnist", "mlp", 0.98, 7), ("fashion_mnist", "cnn", 0.91, 6)],
)
def test_pictures_of_28_by_28(tmp_path, data, model, accuracy, epochs):
    """At most the epochs of conf/data."""
    words = [f"data={data}", f"model={model}", f"trainer.max_epochs={epochs}"]
    assert command(tmp_path, *words)["test/acc"] >= accuracy


EXPERIMENTS = {each.name: each for each in experiments(Path("unused"))}
SHORT = [name for name, each in EXPERIMENTS.items() if not each.is_long]
#: Single runs of a few seconds.
QUICK = ["02_logistic_regression", "08f_softmax", "09_least_squares", "10_binary_cross_entropy"]


def test_every_row_that_can_be_shown_has_an_experiment():
    """L1 to L19, L22 and L23, but for what needs models that are not there yet: L4, L5."""
    shown = {row for each in EXPERIMENTS.values() for row in each.yaml["lecture"]}
    wanted = {f"L{k}" for k in (1, 2, 3, 6, 7, *range(9, 20), 22, 23)} | {f"L8{letter}" for letter in "abcdef"}
    assert wanted - shown == set()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_expects(name):
    """The words that it tries are words, its expectations can be read, its first trial composes."""
    yaml = EXPERIMENTS[name].yaml
    assert yaml["expect"] and all(Expectation(text) for text in yaml["expect"])
    assert all(re.fullmatch(r"L\d+[a-f]?", row) for row in yaml["lecture"])
    params = yaml.get("hydra", {}).get("sweeper", {}).get("params", {})
    first = [f"{key}={str(value).split(',')[0]}" for key, value in params.items() if "(" not in str(value)]
    composed = checked([f"experiment={name}", *first, "hydra.mode=RUN"])
    assert composed.cfg.claim == yaml["claim"] and not composed.multirun
    named = {part.split("=")[0] for text in yaml["expect"] for _, words in Expectation(text).metrics for part in words}
    assert named <= set(params), "a group of trials that no word of the study tells apart"


@pytest.mark.parametrize("name", QUICK)
def test_a_claim_of_one_run(run, name):
    result = run(f"experiment={name}")
    verdicts = judge(EXPERIMENTS[name].yaml["expect"], [result.metrics])
    assert all(verdict.met for verdict in verdicts), verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHORT if name not in QUICK])
def test_a_claim(tmp_path, monkeypatch, name):
    """As ``scripts/course.py`` runs it, but forked from a process that has torch."""

    def forked(words):
        return SimpleNamespace(returncode=start(Path(words[1]), words[2:], cwd=ROOT).end(1800).code)

    monkeypatch.setattr(course, "subprocess", SimpleNamespace(run=forked))
    data_dir = Path(os.environ.get("DLCOURSE_DATA_DIR", ROOT / "data"))
    if "mnist" in str(EXPERIMENTS[name].yaml.get("defaults")) and not (data_dir / "MNIST" / "raw").is_dir():
        pytest.skip("no MNIST/raw in the data directory")
    (each,) = [each for each in experiments(tmp_path) if each.name == name]
    assert each.run() == 0
    assert each.rows and all(verdict.met for verdict in each.verdicts), each.verdicts


@pytest.mark.slow
def test_l8e_leaky_relu_revives_what_relu_lost(run):
    """The weights of a network whose units have died, under another activation, learn again."""
    high = ["model.hidden=[64,64,64]", "optimizer.lr=0.1", "trainer.max_epochs=5", "callbacks=diagnostics"]
    dead = run(*high, "activation=relu")
    assert dead.metrics["measure/dead"] >= 0.8
    more = [f"init_from={dead.run_dir}", "trainer.max_epochs=10", *high[:1], "callbacks=diagnostics"]
    still, revived = (run(*more, f"activation={name}") for name in ("relu", "leaky_relu"))
    assert still.metrics["measure/dead"] >= 0.7 and revived.metrics["measure/dead"] == 0
    assert revived.metrics["test/acc"] > still.metrics["test/acc"]


@pytest.mark.slow
def test_l22_a_new_activation_is_one_class_and_one_file(tmp_path):
    for name in ("conf", "dlcourse"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", tmp_path)
    with open(tmp_path / "dlcourse/activations.py", "a") as file:
        file.write("\n\nclass Sine(nn.Module):\n    def forward(self, x: Tensor) -> Tensor:\n        return x.sin()\n")
    (tmp_path / "conf/activation/sine.yaml").write_text(
        "# sin x\n_target_: dlcourse.activations.Sine\n_partial_: true\n"
    )
    words = ["activation=sine", "model.hidden=[32]", "trainer.max_epochs=5", "logger=none", "run_dir=run"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "train.py", *words], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test/acc"] > 0.9


@pytest.mark.slow
def test_the_course_is_kept_and_judged(tmp_path):
    """Two experiments, a page; the second start runs nothing; a figure that no longer keeps its claim is exit 1."""

    def page_of(*words, names=("09", "08a")):
        command = [sys.executable, "scripts/course.py", *names, "--folder", str(tmp_path), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = page_of()
    assert done.returncode == 0 and "2 of 2 claims are met" in done.stdout, done.stdout + done.stderr
    page = (tmp_path / "course.html").read_text()
    assert "python train.py experiment=09_least_squares" in page and "08a_identity/report.html" in page
    assert page.count("<svg") == 3  # the course of each, and the quantity that 08a's expectations compare
    assert "no experiment with a claim begins with 9_least\n" in page_of(names=["08a", "9_least"]).stderr
    again = page_of()
    assert again.returncode == 0 and again.stdout.count("  kept\n") == 2
    figures = tmp_path / "09_least_squares/metrics.json"
    figures.write_text(json.dumps({**json.loads(figures.read_text()), "measure/distance": 1.0}))
    spoilt = page_of("--page")
    assert spoilt.returncode == 1 and "but not 09_least_squares" in spoilt.stdout
    assert "not met" in (tmp_path / "course.html").read_text()
