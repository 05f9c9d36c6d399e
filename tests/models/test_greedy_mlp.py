"""Layers trained one after another without labels, then all with the few labels there are (L18)."""

import json

import pytest
import torch

from dlcourse import run
from dlcourse.cross_entropies import BCE, CrossEntropy
from dlcourse.errors import Refused
from dlcourse.losses import MSE
from dlcourse.runs.building import build, build_seeded
from dlcourse.runs.export import export_onnx
from dlcourse.runs.fit import train
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed

GREEDY = [
    "model=greedy_mlp",
    "model.hidden=[12,9]",
    "model.epochs_per_layer=1",
    "model.masked=0.25",
    "activation=sigmoid",
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("greedy")
    words = [*GREEDY, "model.hidden=[32,16]", "data.labelled=200", "optimizer.lr=0.03", "data.batch_size=64"]
    return run(*words, "trainer.max_epochs=20", f"run_dir={folder / 'run'}")


def moved(epoch: int) -> set[str]:
    """The parameters that have a gradient in an epoch, on data without any label."""
    data, model = build_seeded(checked(GREEDY))
    data.setup()
    batch = data.sets["train"].first(32)._replace(epoch=epoch)
    loss = model.train().loss_of(batch._replace(y=torch.zeros_like(batch.y))).loss
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None}


def test_one_layer_moves_at_a_time_and_then_all_but_the_decoders():
    layer = [{f"network.{k}.{part}" for part in ("weight", "bias")} for k in (1, 3, 5)]
    decoder = [{f"decoders.{k}.{part}" for part in ("weight", "bias")} for k in (0, 1)]
    assert moved(0) == layer[0] | decoder[0]
    assert moved(1) == layer[1] | decoder[1]
    assert moved(2) == layer[0] | layer[1] | layer[2]


def test_a_layer_restores_what_was_masked():
    """The error by hand, of the second layer: a^1 with a quarter set to 0, restored in deviations of each unit."""
    data, model = build_seeded(checked(GREEDY))
    data.setup()
    batch = data.sets["train"].first(50)._replace(epoch=1)
    out = model.train().output_of(batch.x, batch)
    with torch.no_grad():
        a = torch.sigmoid(model.network[1](((batch.x - model.mean) / model.std).flatten(1)))
        t = (a - a.mean(0)) / a.std(0, correction=0)

        def error(given):
            return (model.decoders[0 + 1](torch.sigmoid(model.network[3](given))) - t).square().mean(1)

    assert not torch.allclose(out.error, error(a)), "something is masked"
    model.masked = 0.0
    assert torch.allclose(model.output_of(batch.x, batch).error, error(a), atol=1e-4)
    assert not out.z.requires_grad and out.error.requires_grad


def test_it_learns_and_says_what_it_did(done):
    rows = [row for row in done.history if "train/loss" in row]
    assert ["train/layer" in row for row in rows] == [True, True, *[False] * 18]
    assert done.metrics["test/acc"] > 0.6
    assert (
        json.loads((done.run_dir / "metrics.json").read_text())["note"] == "200 of 1,294 training samples have a label"
    )
    assert "test/layer" not in done.metrics
    assert (done.run_dir / "report.html").is_file()


def test_it_is_exported(done, tmp_path):
    assert export_onnx(done.model, done.data, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("step", [3, 28])
def test_resumed_to_the_bit(tmp_path, monkeypatch, step):
    """Stopped while a layer is trained alone, and while all are."""
    words = [*GREEDY, "data.labelled=200"]
    killed(tmp_path / "killed", words, monkeypatch, step)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*WORDS, *words, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_a_batch_of_one_row_has_a_loss():
    data, model = build_seeded(checked(GREEDY))
    data.setup()
    assert float(model.train().loss_of(data.sets["train"].first(1)._replace(epoch=1)).loss) > 0


def test_a_training_that_ends_before_the_labels_says_so(tmp_path):
    with pytest.warns(UserWarning, match="train for 2 epochs without labels: trainer.max_epochs=2 uses none"):
        run(*GREEDY, "trainer.max_epochs=2", "debug=limit", "report=false", f"run_dir={tmp_path / 'run'}")


def test_without_epochs_it_is_an_mlp(tmp_path):
    """The same weights after three epochs, to the bit."""
    weights = []
    for words in (["model=mlp"], ["model=greedy_mlp", "model.epochs_per_layer=0"]):
        own = ["model.hidden=[9]", "trainer.max_epochs=2", "report=false", f"run_dir={tmp_path / str(len(words))}"]
        weights.append(run(*words, *own).model.network.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(*map(dict.values, weights), strict=True))


def test_rows_without_a_label_change_nothing(tmp_path):
    """Other labels of the rows that have none give the same run; the hundred are of all classes, evenly."""
    data = build(checked(["data.labelled=100"]).tree)[0]
    data.setup()
    train_rows = data.sets["train"]
    labelled = train_rows.weight > 0
    assert int(labelled.sum()) == 100 and data.sets["val"].weight is None and data.sets["test"].weight is None
    counts = torch.bincount(train_rows.y[labelled])
    assert counts.min() >= 9 and counts.max() <= 11
    whole = build(checked([]).tree)[0]
    whole.setup()
    assert torch.equal(whole.sets["train"].index, train_rows.index), "no row changes its set"
    with_labels = run("data.labelled=100", "trainer.max_epochs=1", "report=false", f"run_dir={tmp_path / 'run'}")
    batch = with_labels.data.sets["train"].first(300)
    other = batch._replace(y=torch.where(batch.weight > 0, batch.y, 9 - batch.y))
    loss = with_labels.model.loss_of(batch).loss
    kept = batch.rows(batch.weight > 0)._replace(weight=None)
    assert torch.equal(loss, with_labels.model.loss_of(other).loss)
    assert float(loss.detach()) == pytest.approx(float(with_labels.model.loss_of(kept).loss.detach()), rel=1e-5)
    epoch = next(row for row in with_labels.history if "train/loss" in row)
    assert json.dumps(epoch["train/loss"]) != "NaN"


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(class_weights=[1.0, 2.0, 1.0]), MSE("softmax"), BCE()])
def test_a_batch_without_any_label_costs_nothing(loss):
    z = torch.randn(4, 3, requires_grad=True)
    mean, divisor = loss(z, torch.tensor([0, 1, 2, 0]), torch.zeros(4))
    mean.backward()
    assert float(mean.detach()) == 0 and float(divisor) == 0 and not z.grad.any()


def test_targets_of_values_are_standardised_by_those_that_are_known():
    data, model = build_seeded(checked(["data=sine", "data.labelled=10"]))
    data.setup()
    model.standardise(data)
    rows = data.sets["train"]
    assert torch.allclose(model.task.y_mean, rows.y[rows.weight > 0].mean(0))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.labelled=1295"], "data=digits has 1294 training samples"),
        (["data.labelled=0"], "data.labelled"),
        (["data.labelled=20", "model=autoencoder"], "data.labelled=20: the task learns from every row without y"),
        ([*GREEDY, "callbacks=early_stopping", "model.epochs_per_layer=3"], "early_stopping.patience=6 or more"),
        ([*GREEDY, "scheduler=plateau", "scheduler.patience=1"], "scheduler.patience=2 or more"),
        ([*GREEDY, "trainer=ddp"], "trainer.strategy=ddp_find_unused_parameters_true"),
    ],
)
def test_refused(words, said):
    with pytest.raises(Refused, match=said):
        data = build(checked(words).tree)[0]
        data.setup()
