"""The page of a sweep: its numbers, its links, and what it makes of poor material."""

import re

import numpy as np
import optuna
import pytest
from optuna.importance import get_param_importances

from dlcourse.plots import comparison
from dlcourse.report.sweep import build_sweep_report

WORDS = ["optimizer.lr=0.001,0.01,0.1", "activation=tanh,relu", "seed=0,1", "sweep.workers=2"]


def trial(k, words, loss, status="finished", **more):
    figures = {"val/loss": loss, "test/acc": 1 - loss / 10} if loss is not None else {}
    row = {"trial": k, "words": [*words, "data=moons"], "run": f"{k:04d}", "status": status, "exit_code": 0}
    return row | {"reason": None} | figures | more


def rows(count=12):
    words = [
        [f"activation={name}", f"optimizer.lr={lr}", f"seed={seed}"]
        for name in ("tanh", "relu")
        for lr in (0.001, 0.01, 0.1)
        for seed in (0, 1)
    ]
    rng = np.random.default_rng(0)
    return [trial(k, words[k % 12], round(float(rng.uniform(0.1, 1)), 4)) for k in range(count)]


@pytest.fixture
def page(tmp_path):
    def make(rows, objectives=None, words=WORDS):
        path = build_sweep_report(tmp_path, rows, objectives or {"val/loss": "min"}, words)
        assert path == tmp_path / "report.html"
        text = path.read_text()
        assert "<script" not in text and not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
        assert "cannot be shown" not in text
        return text

    return make


def test_the_best_trial_and_its_command(page, tmp_path):
    some = rows()
    best = min(some, key=lambda row: row["val/loss"])
    (tmp_path / best["run"]).mkdir()
    (tmp_path / best["run"] / "report.html").touch()
    text = page(some)
    assert f"python train.py {' '.join(best['words'])}" in text
    assert f'href="{best["run"]}/report.html"' in text and 'href="0001/"' in text
    assert "python train.py -m optimizer.lr=0.001,0.01,0.1 activation=tanh,relu seed=0,1 sweep.workers=2" in text
    assert "12 finished" in text


def test_lines_of_the_leaderboard_are_means_over_seeds(page):
    some = rows()
    text = page(some)
    board = text[text.index('id="board"') : text.index("What matters")]
    lines = re.findall(r"<tr>(<td>.*?)</tr>", board, re.DOTALL)
    assert len(lines) == 6
    means = {}
    for a, b in zip(some[::2], some[1::2], strict=True):
        values = np.array([a["val/loss"], b["val/loss"]])
        means[a["words"][0], a["words"][1]] = (values.mean(), values.std(ddof=1))
    ordered = sorted(means.items(), key=lambda item: item[1][0])
    for line, ((name, lr), (mean, deviation)) in zip(lines, ordered, strict=True):
        assert [name.split("=")[1], lr.split("=")[1]] == re.findall(r"<td>(.*?)</td>", line, re.DOTALL)[:2]
        assert f"{mean:.4g} ± {deviation:.4g}" in line
    assert "seed" not in re.search(r"<thead>(.*?)</thead>", board, re.DOTALL)[1]


def test_folds_are_one_line_with_mean_and_deviation(page):
    values = [0.2, 0.3, 0.25, 0.4, 0.35]
    text = page([trial(k, ["data.folds=5", f"data.fold={k}"], value) for k, value in enumerate(values)])
    board = text[text.index('id="board"') :]
    assert board.count("±") >= 1 and f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.4g}" in board


def test_all_figures_are_there(page):
    text = page(rows())
    for alt in (
        "val/loss by trial",
        "Parallel coordinates",
        "Importance of hyperparameters",
        "val/loss by optimizer.lr",
    ):
        assert alt in text
    assert text.count("<svg") == 5


def test_importance_finds_what_matters(monkeypatch):
    """Where one parameter decides, fANOVA gives it nearly all."""
    told = {}

    def watched(study, **settings):
        told.update(get_param_importances(study, **settings))
        return told

    monkeypatch.setattr(optuna.importance, "get_param_importances", watched)
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=40).tolist(), rng.uniform(size=40).tolist()
    comparison.importance({"a": a, "b": b}, [5 * v for v in a], range(40))
    assert told["a"] > 0.9


def test_two_objectives(page):
    some = [row | {"seconds": 20 - row["trial"]} for row in rows()]
    text = page(some, {"val/loss": "min", "seconds": "min"})
    assert "val/loss and seconds" in text and "Pareto" in text


def test_those_that_did_not_finish_and_why(page):
    some = rows()
    some[3] = trial(3, some[3]["words"], None, "failed", exit_code=3, reason="diverged: <script>alert(1)</script>")
    some[4] = trial(4, some[4]["words"], None, "killed", exit_code=137, reason="killed by SIGKILL")
    text = page(some)
    table = text[text.index('id="unfinished"') :]
    assert "&lt;script&gt;alert(1)" in table and "killed by SIGKILL" in table and "137" in table
    assert 'href="0003/"' in table and "10 finished" in text and "1 killed" in text


@pytest.mark.parametrize(
    "some",
    [
        [],
        [trial(0, ["seed=0"], 0.5)],
        [trial(0, ["seed=0"], None, "failed", exit_code=1), trial(1, ["seed=1"], None, "waiting", exit_code=None)],
        [trial(0, ["seed=0"], 0.5), trial(1, ["seed=1"], 0.5)],
        [trial(k, ["model.hidden=[64,32]" if k % 2 else "model.hidden=[8]"], 0.1 * k + 0.1) for k in range(6)],
        [trial(k, [f"a={k}"] if k else [], 0.1 * k + 0.1) for k in range(6)],
        [trial(k, [f"a={k}"], None if k == 2 else float("nan") if k == 3 else 0.5 + k) for k in range(6)],
        [trial(k, [f"a={k}", "b=x"], 10.0**k) for k in range(30)],
    ],
    ids=["none", "one", "all failed", "equal", "lists", "a parameter of some", "none and nan", "wide"],
)
def test_poor_material(page, some):
    page(some)


def test_a_figure_that_fails_is_named(page, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no such luck")

    monkeypatch.setattr("dlcourse.plots.comparison.history", broken)
    with pytest.warns(UserWarning, match="no such luck"):
        path = build_sweep_report(tmp_path, rows(), {"val/loss": "min"}, WORDS)
    assert "val/loss by trial cannot be shown: ValueError: no such luck" in path.read_text()


@pytest.mark.slow
def test_five_hundred_trials(page):
    rng = np.random.default_rng(1)
    words = [
        [f"optimizer.lr={10 ** rng.uniform(-4, -1):.5g}", f"model.dropout={rng.uniform():.3f}"] for _ in range(500)
    ]
    text = page([trial(k, each, float(rng.uniform())) for k, each in enumerate(words)])
    assert "450 more are in sweep.csv" in text


@pytest.mark.parametrize(
    ("name", "across", "expected"),
    [
        ("measure/gradient", None, "layer"),
        ("test/mae", None, "output"),
        ("measure/near", None, "number"),
        ("val/loss", "step", "step"),
    ],
)
def test_the_axis_of_a_metric_says_what_is_counted(name, across, expected):
    drawing = comparison.line({"": {1: 0.5, 2: 0.25}}, name, across)
    assert drawing.axes.get_xlabel() == expected
