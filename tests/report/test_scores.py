"""What the report says of scores and probabilities, and of the mean as an answer: scikit-learn's figures."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

import dlcourse
from dlcourse.tasks import probability_sections
from dlcourse.tasks.predictions import forward_batches
from dlcourse.tasks.probability_sections import MOST, Scores, calibration_error, reliability, score_section
from dlcourse.tasks.value_sections import against_mean


@pytest.fixture
def drawn(monkeypatch):
    """What the plots are drawn from, by their names."""
    seen = {}
    draw = probability_sections.draw

    def watching(alt, make, caption=""):
        seen[alt] = make.args
        return draw(alt, make, caption)

    monkeypatch.setattr(probability_sections, "draw", watching)
    return seen


def trained(tmp_path, *words):
    quick = ["logger=none", "callbacks=none", "report=false", "trainer.max_epochs=3", f"run_dir={tmp_path / 'run'}"]
    return dlcourse.run(*words, *quick)


def sections_of(run):
    predictions = forward_batches(run.model, run.data.sets["test"].x)
    return {section.key: section for section in run.model.task.visualize(run.model, run.data, predictions)}


def test_bins_are_those_of_calibration_curve():
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.random(500), [0, 1, 0.1, 0.3, 0.7]])
    true = rng.random(len(p)) < p**2
    shares, means = calibration_curve(true, p, n_bins=10)
    bins = reliability(p, true)
    np.testing.assert_allclose([each.mean for each in bins], means, rtol=1e-12)
    np.testing.assert_allclose([each.share for each in bins], shares, rtol=1e-12)
    assert sum(each.rows for each in bins) == len(p)
    theirs = binary_calibration_error(torch.tensor(p[:500]), torch.tensor(true[:500]).long(), n_bins=10, norm="l1")
    assert calibration_error(reliability(p[:500], true[:500])) == pytest.approx(float(theirs), rel=1e-5)
    assert [each.rows for each in reliability(np.full(4, 0.5), np.array([True] * 4))] == [4]


@pytest.mark.parametrize("words", [["data=breast_cancer"], ["data=breast_cancer", "task=classification"]])
def test_two_classes_have_one_curve_of_the_rarer_one(tmp_path, drawn, words):
    run = trained(tmp_path, *words)
    found = sections_of(run)["scores"]
    test = run.data.sets["test"]
    z = run.model(test.x).detach().double()
    malignant = (test.y == 0).numpy()
    p = (1 - z.sigmoid()[:, 0] if z.shape[1] == 1 else z.softmax(1)[:, 0]).numpy()
    (name, (across, up)) = next(iter(drawn["ROC"][0].items()))
    theirs = metrics.roc_curve(malignant, p, drop_intermediate=False)
    np.testing.assert_allclose(across, theirs[0]), np.testing.assert_allclose(up, theirs[1])
    precision, recall, _ = metrics.precision_recall_curve(malignant, p)
    (ours,) = drawn["Precision and recall"][0].values()
    np.testing.assert_allclose(ours[0], recall), np.testing.assert_allclose(ours[1], precision)
    row = [cell.value for cell in found.table.rows[0]]
    figures = [malignant.mean(), metrics.roc_auc_score(malignant, p), metrics.average_precision_score(malignant, p)]
    assert row == ["malignant", *map(pytest.approx, figures)]
    assert name.startswith("malignant: AUC ") and "by chance malignant would be right in" in found.plots[1].caption
    shares, means = calibration_curve(malignant, p, n_bins=10)
    bins = drawn["Reliability of the probabilities"][0]
    np.testing.assert_allclose([(each.mean, each.share) for each in bins], np.stack([means, shares], 1), atol=1e-6)
    assert "weighs classes" not in found.plots[2].caption


def test_several_classes_have_a_curve_each_and_the_reliability_of_the_answer(tmp_path, drawn):
    run = trained(tmp_path, "data=digits", "loss.class_weights=balanced")
    found = sections_of(run)["scores"]
    test = run.data.sets["test"]
    p = run.model(test.x).detach().double().softmax(1)
    assert (
        len(drawn["ROC"][0]) == len(drawn["Precision and recall"][0]) == 10 and drawn["Precision and recall"][1] is None
    )
    for k, (_, share, area, average) in enumerate([cell.value for cell in row] for row in found.table.rows):
        there = (test.y == k).numpy()
        assert share == there.mean() and area == pytest.approx(metrics.roc_auc_score(there, p[:, k]))
        assert average == pytest.approx(metrics.average_precision_score(there, p[:, k]))
    theirs = multiclass_calibration_error(p, test.y, num_classes=10, n_bins=10, norm="l1")
    assert calibration_error(drawn["Reliability of the probabilities"][0]) == pytest.approx(float(theirs), abs=1e-5)
    assert "The loss weighs classes" in found.plots[2].caption


def test_a_loss_without_probabilities_has_curves_only(tmp_path, drawn):
    run = trained(tmp_path, "data=moons", "loss=hinge")
    found = sections_of(run)["scores"]
    assert found.title == "Scores" and [*drawn] == ["ROC", "Precision and recall"]


def test_more_than_ten_classes_and_those_without_rows(drawn):
    there = np.repeat(np.eye(13, dtype=bool), [*[3] * 10, 5, 1, 0], 0)
    score = np.random.default_rng(0).random(there.shape)
    score[:, 4] = ~there[:, 4]
    (section,) = score_section(Scores([f"c{k}" for k in range(13)], score, there), "Scores")
    names = [row[0].value for row in section.table.rows]
    assert len(names) == MOST and "c10" in names and not {"c11", "c12"} & {*names}
    assert section.text.startswith("Of 12, the 10 with the most test rows. No better than chance: ")
    assert "c4" in section.text
    assert score_section(Scores(["a"], score[:, :1], np.ones((36, 1), bool)), "Scores") == []


def test_the_mean_is_the_yardstick_of_values(tmp_path):
    y = np.array([[1.0, 10], [2, 20], [3, 30]])
    a = np.array([[1.0, 30], [2, 20], [4, 10]])
    text = against_mean(y, a, np.array([2.0, 22]))
    rmse = metrics.root_mean_squared_error
    first, second = (f"{rmse(y[:, k], a[:, k]):.4g} by this model" for k in (0, 1))
    assert f"value 1: 0.8165 by the mean, {first}; value 2: {8.406:.4g} by the mean, {second}, no better than" in text
    run = trained(tmp_path, "data=diabetes", "optimizer=sgd", "optimizer.lr=1e-9")
    said = sections_of(run)["test"].text
    assert ("no better than that" in said) == (run.metrics["test/r2"] <= 0)
