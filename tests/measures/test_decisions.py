"""What a diagnosis measures, against counting and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as their_log_loss
from sklearn.metrics import roc_auc_score

import dlcourse
from dlcourse.errors import Refused
from dlcourse.measures.decisions import Diagnosis, log_loss, temperature
from dlcourse.tasks.predictions import forward_batches


def test_figures_of_a_run(tmp_path):
    words = ["data=breast_cancer", "model.hidden=[]", "trainer.max_epochs=8", "optimizer.lr=0.01", "callbacks=none"]
    words += ["+callbacks.d._target_=dlcourse.measures.decisions.Diagnosis", "+callbacks.d.miss_cost=4"]
    done = dlcourse.run(*words, f"run_dir={tmp_path / 'run'}")
    test = done.data.sets["test"]
    p, malignant = 1 - forward_batches(done.model, test.x).a[:, 0].double().numpy(), test.y.numpy() == 0
    found = {name.removeprefix("measure/"): value for name, value in done.metrics.items()}
    assert found["auc"] == pytest.approx(roc_auc_score(malignant, p), abs=1e-6) and found["auc"] > 0.97
    assert found["log_loss"] == pytest.approx(their_log_loss(malignant, p), rel=1e-4)
    assert found["log_loss"] == pytest.approx(done.metrics["test/loss"], rel=1e-4), "the loss of the test is this one"
    for name, threshold in (("", 0.5), ("careful_", 0.2)):
        misses, alarms = (malignant & (p <= threshold)).sum(), (~malignant & (p > threshold)).sum()
        assert (found[f"{name}misses"], found[f"{name}false_alarms"]) == (misses, alarms)
        assert found[f"{name}cost"] == pytest.approx((4 * misses + alarms) / len(p), rel=1e-6)
    assert found["logistic_auc"] > 0.99 and found["validation_rows"] == 46
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "share of malignant found" in page and f"AUC {found['auc']:.4f}" in page


def test_the_calibration_error_of_shares_that_are_known():
    p = torch.tensor([0.25] * 8 + [0.95] * 4)
    there = torch.tensor([True, True, *[False] * 6, *[True] * 3, False])
    found = Diagnosis(wanted=1).figures(p.double(), there)["calibration_error"]
    assert found == pytest.approx((8 * 0 + 4 * 0.2) / 12)


def test_the_temperature_that_was_put_in():
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    there = torch.rand(20_000, generator=torch.Generator().manual_seed(1)) < z.sigmoid()
    assert temperature(3 * z, there) == pytest.approx(3, rel=0.05)
    assert log_loss(torch.tensor([0.0, 1.0]), torch.tensor([False, True])) == pytest.approx(0, abs=1e-12)
    assert np.isfinite(log_loss(torch.tensor([0.0]), torch.tensor([True])))


@pytest.mark.parametrize("words", [["data=iris"], ["data=moons", "loss=hinge"], ["data=sine"]])
def test_what_is_no_diagnosis(words):
    from dlcourse.runs.building import build
    from tests.composing import checked

    data, model = build(checked(words).tree)
    with pytest.raises(Refused, match="one of two classes by one probability"):
        Diagnosis().check(model, data)
    with pytest.raises(ValueError, match="miss_cost=0"):
        Diagnosis(miss_cost=0)
