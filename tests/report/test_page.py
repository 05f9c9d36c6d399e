"""The report: its sections for each task, what it counts and ranks, and that it is safe and stands alone."""

import copy
import re
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.metrics import confusion_matrix
from torch import nn

import dlcourse
from dlcourse.cross_entropies import BCE, CrossEntropy
from dlcourse.data.loading import Rows
from dlcourse.losses import MSE, Hinge
from dlcourse.plots import classes, values
from dlcourse.report.html import command, number
from dlcourse.report.page import build_report
from dlcourse.report.sections import filters
from dlcourse.tasks.class_sections import PICTURES, ROWS, Classified, each_class, input_names
from dlcourse.tasks.predictions import eval_mode
from tests import objects

RUNS = {
    "pictures": ("data=digits",),
    "convolution": ("data=digits", "model=cnn", "model.channels=[4]"),
    "plane": ("data=moons",),
    "values": ("data=diabetes",),
    "curve": ("data=sine",),
    "threshold": ("data=xor", "model=perceptron", "trainer.log_every_n_steps=1"),
}


@pytest.fixture(autouse=True)
def _no_trouble() -> Iterator[None]:
    """A part that cannot be drawn is warned of: here that is a failure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="report:.*")
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: dlcourse.run(*words, "trainer.max_epochs=2", "callbacks=none", f"run_dir={folder / name}")
        for name, words in RUNS.items()
    }


class Page(HTMLParser):
    """What a page refers to, the texts of its headings, and whether it holds scripts."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text("utf-8")
        self.references: list[str] = []
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.alts: list[str] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                self.references.append(value or "")
            if name in ("alt", "aria-label"):
                self.alts.append(value or "")

    def handle_data(self, text: str) -> None:
        if self.tags and self.tags[-1] in ("h1", "h2") and text.strip():
            self.headings.append(text.strip())


def page(run: Any) -> Page:
    return Page(run.run_dir / "report.html")


CLASSES, SCORES = ["Worst mistakes", "Each class"], "Scores and probabilities"
RELIABLE = "Reliability of the probabilities"
START = ["What was run", "Results", "Training", "On the test set"]
END = ["Environment and configuration"]


@pytest.mark.parametrize(
    ("name", "headings", "shown"),
    [
        (
            "pictures",
            [*CLASSES, SCORES, "The first layer"],
            ["Accuracy", "Confusion matrix", "Precision and recall", RELIABLE],
        ),
        (
            "convolution",
            [*CLASSES, SCORES, "The first layer"],
            ["Accuracy", "Confusion matrix", "Precision and recall", RELIABLE],
        ),
        ("plane", [*CLASSES, SCORES], ["Accuracy", "Confusion matrix", "ROC", RELIABLE, "Decision boundary"]),
        ("values", [], ["R²", "Predicted against true values", "Residuals"]),
        ("curve", [], ["R²", "Fitted curve", "Predicted against true values"]),
        ("threshold", [*CLASSES, "Scores"], ["Accuracy", "ROC", "Decision boundary"]),
    ],
)
def test_sections(runs: dict[str, Any], name: str, headings: list[str], shown: list[str]) -> None:
    found = page(runs[name])
    choice = OmegaConf.load(runs[name].run_dir / "config.yaml").choice
    assert found.headings == [f"{choice.model} on {choice.data}", *START, *headings, *END]
    for words in ["Loss over the steps", "Learning rate", *shown]:
        assert any(words in alt for alt in found.alts), words
    assert any(RELIABLE in alt for alt in found.alts) == (RELIABLE in shown)
    assert 'class="status finished"' in found.text


@pytest.mark.parametrize("name", RUNS)
def test_it_stands_alone(runs: dict[str, Any], name: str) -> None:
    found = page(runs[name])
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in found.references)
    assert all(address.strip("'\" ").startswith("#") for address in re.findall(r"url\(([^)]*)\)", found.text))
    assert "script" not in found.tags and "@import" not in found.text
    assert len(found.text) < 1_500_000


def test_it_says_what_was_run_and_what_came_out(runs: dict[str, Any]) -> None:
    run = runs["threshold"]
    text = page(run).text
    assert (
        "python train.py logger=none data=xor model=perceptron trainer.log_every_n_steps=1 trainer.max_epochs=2" in text
    )
    assert "use the same ones" in text  # the data's note, beside the figures
    assert re.search(r"acc</th>\s*<td>" + re.escape(number(run.metrics["test/acc"])), text)
    assert torch.__version__.partition("+")[0] in text


def test_a_command_is_quoted_and_names_no_directory_twice() -> None:
    assert command(["model.hidden=[8,4]", "run_dir=/x", "tags=[a b]"]) == (
        "python train.py 'model.hidden=[8,4]' 'tags=[a b]'"
    )


@pytest.mark.parametrize("name", ["pictures", "plane", "threshold"])
def test_confusion_and_mistakes_are_the_models(runs: dict[str, Any], name: str) -> None:
    run = runs[name]
    x, y = run.data.sets["test"].x, run.data.sets["test"].y
    with torch.no_grad():
        z = run.model.eval()(x)
    true, predicted = y, z.argmax(1) if z.shape[1] > 1 else (z[:, 0] > 0).long()
    found = Classified(x, true, predicted, z, z, run.data.classes)
    assert (found.confusion() == confusion_matrix(true, predicted, labels=range(len(run.data.classes)))).all()
    test, mistakes, *_ = build_report(run.run_dir, run.model, run.data).sections
    assert test.classes == (run.data.classes, true.tolist(), predicted.tolist())
    z = z if z.shape[1] > 1 else torch.cat([-z, z], 1)
    wrong = [row for row in range(len(y)) if true[row] != predicted[row]]
    lead = {row: float(z[row, predicted[row]] - z[row, true[row]]) for row in wrong}
    told = [[cell.value for cell in row] for row in mistakes.table.rows]
    rows = [row for row, *_ in told]
    limit = PICTURES if name == "pictures" else ROWS
    assert len(rows) == min(limit, len(wrong)) and set(rows) <= set(wrong)
    assert [lead[row] for row in rows] == pytest.approx(sorted(lead.values(), reverse=True)[: len(rows)], abs=1e-4)
    assert len(mistakes.pictures) == (len(rows) if name == "pictures" else 0)
    for row, true_class, true_score, predicted_class, score, *_ in told:
        assert true_class == run.data.classes[true[row]]
        assert predicted_class == run.data.classes[predicted[row]]
        if name != "threshold":
            assert 0 <= true_score < score <= 1


def test_the_model_keeps_its_mode_and_gradients(runs: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model.train()
    model[2].eval()
    with eval_mode(model):
        assert not any(part.training for part in model.modules())
        assert not model(torch.ones(3, 2)).requires_grad
    assert [part.training for part in model.modules()] == [True, True, True, False]


def test_names_and_words_are_escaped(runs: dict[str, Any], tmp_path: Path) -> None:
    bad = "<script>alert('$x^$')</script>"
    run = runs["pictures"]
    data, model = run.data, copy.deepcopy(run.model)
    model.task.classes = [bad + str(k) for k in range(10)]
    for file in run.run_dir.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "overrides.yaml").write_text("- 'tags=[</pre><script>]'\n")
    (tmp_path / "status.json").write_text('{"status": "failed", "exit_code": 1, "reason": "</p><script>1</script>"}')
    (tmp_path / "error.txt").write_text("<img src=x onerror=alert(1)>")
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text() + f'evil: "{bad}"\n')
    report = build_report(tmp_path, model, data, {"test/acc": 0.5, "note": "</caption><script>"})
    found = Page(report.path)
    assert report.sections[1].table and "script" not in found.tags
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in found.references)
    assert "&lt;script&gt;alert" in found.text


def test_a_failed_run_has_a_page(tmp_path: Path) -> None:
    words = ("data=diabetes", "optimizer=sgd", "optimizer.lr=1e6", "trainer.log_every_n_steps=1", "callbacks=none")
    with pytest.raises(dlcourse.Refused):
        dlcourse.run(*words, f"run_dir={tmp_path / 'run'}")
    found = Page(tmp_path / "run" / "report.html")
    assert 'class="status failed"' in found.text
    assert "diverged" in found.text and "optimizer.lr=1e6" in found.text
    assert "Training" in found.headings and "On the test set" not in found.headings


def test_almost_no_files_are_enough(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("choice: {model: mlp, data: iris}\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 0, "val/loss": null}\n{"step": 2, "ep')
    assert "mlp on iris" in Page(build_report(tmp_path).path).headings


class Odd(nn.Module):
    """A model whose logits are what a test says."""

    def __init__(self, task: Any, loss: nn.Module, z: torch.Tensor):
        super().__init__()
        self.network, self.task, self.loss, self.z = nn.Sequential(nn.Linear(1, 1)), task, loss, z
        self.device = torch.device("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.z.repeat(len(x) // len(self.z) + 1, 1)[: len(x)]

    def output(self, z: torch.Tensor) -> torch.Tensor:
        return self.task.postprocess(self.loss.output(z))


def odd_data(kind: str, outputs: int, shape: tuple[int, ...], scale: float = 1.0) -> Any:
    rows = 12
    x = scale * torch.linspace(0, 1, rows).reshape(-1, *[1] * len(shape)).expand(rows, *shape).contiguous()
    y = {
        "classes": torch.arange(rows) % outputs,
        "values": scale * torch.arange(rows * outputs).reshape(rows, outputs).float(),
    }[kind]
    sets = {stage: Rows(x, y, torch.arange(rows)) for stage in ("train", "val", "test")}
    data = SimpleNamespace(y=kind, outputs=outputs, shape=shape, sets=sets, note=None)
    data.samples = lambda stage: data.sets[stage].first(rows)
    return data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, 0.0])
@pytest.mark.parametrize(
    ("task", "loss", "outputs", "shape"),
    [
        ("classification", CrossEntropy(), 3, (2,)),
        ("classification", CrossEntropy(), 40, (1, 5, 5)),
        ("binary", BCE(), 2, (2,)),
        ("binary", Hinge(), 2, (3, 200, 150)),
        ("regression", MSE("identity"), 1, (1,)),
        ("regression", MSE("identity"), 3, (4, 6)),
    ],
)
def test_odd_numbers_do_no_harm(
    tmp_path: Path, value: float, task: str, loss: Any, outputs: int, shape: tuple[int, ...]
) -> None:
    (tmp_path / "config.yaml").write_text("choice: {model: odd, data: odd}\nmonitor: val/loss\n")
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "epoch": 0, "val/loss": null, "lr": 1e300}\n{"step": 2, "epoch": 1, "val/loss": 1e300}\n'
    )
    of = objects.task(task, outputs)
    z = torch.zeros(2, of.outputs)
    z[0, 0] = value
    data = odd_data(objects.KINDS[task], outputs, shape, scale=1e35 if value == 3e38 else 1.0)
    report = build_report(tmp_path, Odd(of, loss, z), data, {"test/loss": value, "best_epoch": 0})
    assert "On the test set" in Page(report.path).headings


def test_a_figure_that_fails_is_named_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(classes, "confusion", fail)
    (tmp_path / "config.yaml").write_text("choice: {model: odd, data: odd}\n")
    with pytest.warns(UserWarning, match="Confusion matrix cannot be shown: ValueError: no room"):
        model = Odd(objects.task("binary", 2), BCE(), torch.ones(1, 1))
        report = build_report(tmp_path, model, odd_data("classes", 2, (2,)))
    text = report.path.read_text("utf-8")
    assert "ValueError: no room" in text and "Decision boundary" in text


def test_many_points_are_thinned_and_large_pictures_made_small(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("choice: {model: odd, data: odd}\n")
    data = odd_data("classes", 2, (3, 400, 400))
    data.sets["test"].x = torch.rand(12, 3, 400, 400)
    model = Odd(objects.task("classification", 2), CrossEntropy(), torch.eye(2)[[1, 0]])
    report = build_report(tmp_path, model, data)
    pictures = report.sections[1].pictures
    assert len(pictures) == 12 and max(pictures[0].image.size) == 96
    assert report.path.stat().st_size < 1_500_000
    y = np.random.default_rng(0).normal(size=(100_000, 1))
    assert len(values.predicted_against_true(y, y).svg) < 300_000


def test_inputs_carry_their_columns_names() -> None:
    columns = [{"name": "age", "kind": "number"}, {"name": "town", "kind": "category", "vocabulary": ["A", "B"]}]
    assert input_names(SimpleNamespace(columns=columns), 3) == ["age", "town=A", "town=B"]
    columns[1]["indicator"] = True
    assert input_names(SimpleNamespace(columns=columns), 4) == ["age", "town=A", "town=B", "town missing"]
    columns[0]["parts"] = ["day"]
    waves = ["age", "age, sine of the day", "age, cosine of the day"]
    assert input_names(SimpleNamespace(columns=columns), 6) == [*waves, "town=A", "town=B", "town missing"]
    assert input_names(SimpleNamespace(), 2) == ["x1", "x2"]


def test_filters_are_the_first_layers_weights(runs: dict[str, Any]) -> None:
    dense, convolution = runs["pictures"].model, runs["convolution"].model
    weights = filters(dense, (1, 8, 8), 10)
    assert weights is not None and weights.shape == (10, 1, 8, 8)
    assert (weights[3].ravel() == dense.network[1].weight[3].detach().numpy()).all()
    weights = filters(convolution, (1, 8, 8), 10)
    assert weights is not None and (weights == convolution.network[0].weight.detach().numpy()).all()
    assert filters(runs["plane"].model, (2,), 10) is None


def test_the_worst_mistakes_of_equal_probability_are_told_apart_by_their_logits() -> None:
    z = torch.tensor([[60.0, 0.0], [90.0, 0.0], [0.0, 50.0], [70.0, 0.0]])
    answers = Classified(z, torch.tensor([1, 1, 1, 1]), z.argmax(1), z.softmax(1), z, ["a", "b"])
    assert answers.worst(5) == [1, 3, 0]


def test_each_class_has_its_figures_and_the_commonest_one_is_the_yardstick() -> None:
    """Precision, recall and F1 as scikit-learn computes them; a model that is no better than one answer is told."""
    from sklearn.metrics import precision_recall_fscore_support

    true = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    predicted = torch.tensor([0, 0, 0, 1, 0, 1, 0, 1, 0, 0])
    score = torch.zeros(10, 4)
    found = Classified(torch.zeros(10, 2), true, predicted, score, score, ["a", "b", "c", "d"])
    section = each_class(found, torch.tensor([0, 0, 1, 2]), torch.tensor([2, 2]))
    expected = precision_recall_fscore_support(true, predicted, labels=range(3), zero_division=np.nan)
    for k in range(3):
        row = [cell.value for cell in section.table.rows[k]]
        assert row[1:4] == [[2, 1, 1][k], [0, 0, 2][k], [5, 3, 2][k]]
        for value, other in zip(row[4:], (each[k] for each in expected[:3]), strict=True):
            assert value is None and np.isnan(other) or value == pytest.approx(other)
    assert (
        section.text == "The commonest class in training, a, is 50.0% of the test rows. This model is right in 60.0%."
    )
    always = Classified(torch.zeros(10, 2), true, torch.zeros_like(true), score, score, ["a", "b", "c", "d"])
    assert "Answering it always would be right as often as this model" in each_class(always, true, true).text
