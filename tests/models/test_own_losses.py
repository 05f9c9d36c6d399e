"""What a model adds to the loss is trained, logged and added up like the rest; a task may answer otherwise."""

import json

import pytest
import torch
from torch.nn import functional as F

from dlcourse import run
from dlcourse.config.gate import check_classes
from dlcourse.config.overrides import Overrides
from dlcourse.runs.building import build_seeded
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.export import export_onnx
from dlcourse.runs.fit import train
from dlcourse.runs.trained import restore
from dlcourse.sweeps.together import compose_trials
from dlcourse.sweeps.train_together import train_together
from dlcourse.tasks.predictions import forward_batches
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed

OWN = "allow=[tests]"
PENALISED = ["model._target_=tests.models.own_parts.Penalised", OWN]


def test_the_loss_holds_it_and_it_is_a_metric(tmp_path):
    """Of 297 test rows in batches, with weights for classes: each part is a mean of its own kind, over all rows."""
    weights = [1.0, 5.0, *[1.0] * 8]
    done = run(
        *PENALISED,
        "loss.class_weights=" + str(weights).replace(" ", ""),
        "data.batch_size=64",
        "trainer.max_epochs=2",
        "metrics=f1",
        f"run_dir={tmp_path / 'run'}",
    )
    test = done.data.sets["test"]
    with torch.no_grad():
        z = done.model.eval()(test.x).z.double()
    spread = 0.01 * float(z.square().mean())
    expected = float(F.cross_entropy(z, test.y, torch.tensor(weights).double())) + spread
    assert done.metrics["test/spread"] == pytest.approx(spread, rel=1e-5)
    assert done.metrics["test/loss"] == pytest.approx(expected, rel=1e-5)
    assert done.metrics["test/acc"] == pytest.approx(float((z.argmax(1) == test.y).float().mean()), abs=1e-6)
    assert {"train/spread", "val/spread"} <= {key for row in done.history for key in row}
    assert (tmp_path / "run" / "report.html").is_file()
    _, model, data = restore(done.run_dir, Overrides.parse([OWN]))
    assert export_onnx(model, data, tmp_path / "model.onnx") < 1e-5
    assert torch.equal(forward_batches(model, test.x).z, z.float())


def test_it_is_trained(tmp_path):
    """The gradient of the loss is that of both parts, by central differences in float64."""
    data, model = build(PENALISED)
    batch = data.sets["train"].first(16)
    model = model.double()
    batch = batch._replace(x=batch.x.double())
    parameter = [p for p in model.parameters() if p.ndim == 2][-1]
    (g,) = torch.autograd.grad(model.loss_of(batch).loss, parameter)
    with torch.no_grad():
        values = []
        for step in (1e-6, -2e-6):
            parameter[3, 5] += step
            z = model(batch.x).z
            values.append(F.cross_entropy(z, batch.y) + 0.01 * z.square().mean())
    assert float(g[3, 5]) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-5)


def build(words):
    composed = checked([*words, "logger=none"])
    check_classes(composed.tree, composed.overrides.packages)
    data, model = build_seeded(composed)
    data.setup()
    model.standardise(data)
    return data, model.eval()


@pytest.mark.parametrize("step", [17, pytest.param(4, marks=pytest.mark.slow)])
def test_resumed_to_the_bit(tmp_path, monkeypatch, step):
    killed(tmp_path / "killed", PENALISED, monkeypatch, step)
    resumed_run = train(*resumed([f"resume={tmp_path / 'killed'}", OWN]))
    straight = train(checked([*WORDS, *PENALISED, f"run_dir={tmp_path / 'straight'}"]))
    assert resumed_run.metrics["test/spread"] == straight.metrics["test/spread"]
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_a_task_answers_otherwise_in_validation_and_test(tmp_path):
    """Training compares the output; validation, test and predictions are made of the answer."""
    done = run(
        "task._target_=tests.models.own_parts.Reversed",
        OWN,
        "data=iris",
        "metrics=f1",
        "trainer.max_epochs=30",
        f"run_dir={tmp_path / 'run'}",
    )
    last = {key: value for row in done.history for key, value in row.items()}
    assert last["train/acc"] > 0.8 and done.metrics["test/acc"] < 0.2
    test = done.data.sets["test"]
    with torch.no_grad():
        worst = done.model.eval()(test.x).argmin(1)
    assert done.metrics["test/acc"] == pytest.approx(float((worst == test.y).float().mean()), abs=1e-6)
    assert done.metrics["test/f1"] < 0.2 and done.metrics["val/loss"] < 1.1, "the loss compares the output"


def test_together_as_alone(tmp_path):
    """Auxiliary losses and weights of rows, in a vectorised sweep in float64 to 1e-8."""
    words = [
        *PENALISED,
        "data=iris",
        "data._target_=tests.models.own_parts.WeightedIris",
        *("logger=none", "callbacks=none", "trainer=cpu", "report=false", "trainer.precision=64-true"),
        *("model.hidden=[6]", "data.batch_size=16", "trainer.max_epochs=15"),
    ]
    varied = [["optimizer.lr=0.01"], ["optimizer.lr=0.03"]]
    train_together(compose_trials([[*words, *own, f"run_dir={tmp_path / str(k)}"] for k, own in enumerate(varied)]))
    for k, own in enumerate(varied):
        alone = train(checked([*words, *own, f"run_dir={tmp_path / f'alone{k}'}"]))
        mine, theirs = (
            load(path / "checkpoints/best.ckpt")["state_dict"] for path in (tmp_path / str(k), alone.run_dir)
        )
        for name, w in theirs.items():
            assert torch.allclose(mine[name], w, rtol=1e-8, atol=1e-10), name
        together = json.loads((tmp_path / str(k) / "metrics.json").read_text())
        for key in ("test/loss", "test/spread", "test/acc", "val/loss", "val/spread"):
            assert together[key] == pytest.approx(alone.metrics[key], rel=1e-6), key


def test_weights_of_rows_count(tmp_path):
    """test/loss is Σ w·C / Σ w over all rows, whatever the batches."""
    done = run(
        "data=iris",
        "data._target_=tests.models.own_parts.WeightedIris",
        OWN,
        "trainer.max_epochs=3",
        "data.batch_size=7",
        f"run_dir={tmp_path / 'run'}",
    )
    test = done.data.sets["test"]
    with torch.no_grad():
        costs = F.cross_entropy(done.model.eval()(test.x).double(), test.y, reduction="none")
    assert done.metrics["test/loss"] == pytest.approx(float((test.weight * costs).sum() / test.weight.sum()), rel=1e-5)
