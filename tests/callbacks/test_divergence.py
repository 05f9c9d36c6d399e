"""Where a number stopped being one: the same steps again name the layer and the sample."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import dlcourse
from dlcourse.cross_entropies import CrossEntropy
from dlcourse.data.images import Digits
from dlcourse.errors import DIVERGED, Refused
from dlcourse.models.base import Model
from dlcourse.runs.divergence import DivergenceFound, FindDivergence
from dlcourse.tasks.base import Batch

WORDS = ["trainer=cpu", "model.hidden=[16]", "data.batch_size=128", "trainer.max_epochs=3", "callbacks=none"]
WORDS += ["logger=none", "data.standardise=false", "report=false"]
WIDE = ["init=gaussian", "init.std=9"]


def diverge(run, *words):
    with pytest.raises(Refused, match="diverged") as refusal:
        dlcourse.run(*WORDS, *words, f"run_dir={run}")
    assert refusal.value.code == DIVERGED
    what, *found, way_out = str(refusal.value).splitlines()
    assert way_out == "Try a lower optimizer.lr" and len(found) <= 1
    return found[0] if found else ""


@pytest.fixture
def planted(monkeypatch):
    """Rows of the digits that overflow in the first layer; they are finite, and so they are admitted."""

    def plant(*rows):
        original = Digits.arrays

        def arrays(self):
            (x, y), test = original(self)
            x = x.float()
            x[list(rows)] = 3e38
            return (x, y), test

        monkeypatch.setattr(Digits, "arrays", arrays)

    return plant


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    result = dlcourse.run(*WORDS, "trainer.max_steps=1", f"run_dir={tmp_path_factory.mktemp('parts') / 'run'}")
    return {name: rows.index.tolist() for name, rows in result.data.sets.items()}


@pytest.mark.parametrize(
    "words", [[], ["data.augment=shift", "model.dropout=0.5"], ["trainer.accumulate_grad_batches=2"]]
)
def test_the_row_and_the_layer_are_named(tmp_path, planted, parts, words):
    row = parts["train"][5]
    planted(row)
    found = diverge(tmp_path / "run", *WIDE, *words)
    assert found.startswith("recomputed: network.1 (Linear) outputs ") and found.endswith(f" for row {row} of the data")


@pytest.mark.parametrize("rows_of_each", [1, 4, 6])  # turned pictures; pixels
@pytest.mark.parametrize("layer", ["network", "loss"])
def test_a_sample_with_several_rows(layer, rows_of_each):
    """Sample 2 of the batch is row 32 of the data, whichever of its own rows is no number."""
    parts = nn.ModuleDict({"network": nn.Linear(3, 2), "loss": CrossEntropy()})
    search, trainer = FindDivergence(step=0), SimpleNamespace(global_step=0)
    search.on_train_start(trainer, parts)
    x = torch.ones(4, 3)
    search.on_train_batch_start(trainer, None, Batch(x, torch.zeros(4), torch.arange(30, 34)), 0)
    values = torch.ones(4 * rows_of_each, 3)
    values[3 * rows_of_each - 1] = math.nan
    inputs = (values,) if layer == "network" else (values, torch.zeros(len(values), dtype=torch.long), None)
    with pytest.raises(DivergenceFound, match="nan for row 32 of the data$"):
        parts[layer](*inputs)


def test_a_row_that_only_validation_reads(tmp_path, planted, parts):
    row = parts["val"][3]
    planted(row)
    assert diverge(tmp_path / "run", *WIDE).endswith(f"for row {row} of the data")


def test_two_rows(tmp_path, planted, parts):
    rows = parts["train"][:2]
    planted(*rows)
    found = diverge(tmp_path / "run", *WIDE, "data.batch_size=full")
    assert found.endswith(f"for row {rows[0]} of the data and 1 more")


def test_a_loss_that_is_none_names_its_row(tmp_path, monkeypatch, parts):
    row, read, loss = parts["train"][9], Digits.arrays, CrossEntropy.forward

    def arrays(self):
        (x, y), test = read(self)
        x = x.float()
        x[row] = 1e24
        return (x, y), test

    def forward(self, z, y, weight=None):
        mean, divisor = loss(self, z, y, weight)
        return mean / (z.abs().max() < 1e20), divisor

    monkeypatch.setattr(Digits, "arrays", arrays)
    monkeypatch.setattr(CrossEntropy, "forward", forward)
    assert diverge(tmp_path / "run") == f"recomputed: the loss is inf for row {row} of the data"


def test_a_gradient_that_is_none(tmp_path, monkeypatch):
    """√z at z = 0: the output is finite, its gradient is not."""
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, z: (z * (z > 0)).sqrt())
    found = diverge(tmp_path / "run")
    assert found.startswith("recomputed: the gradient of network.1.") and "nan" in found


def test_a_step_that_leaves_no_weights(tmp_path):
    found = diverge(tmp_path / "run", "optimizer=sgd", "optimizer.lr=3e38", *WIDE)
    assert found.startswith("recomputed: step 1 made network.")


@pytest.mark.parametrize("every", ["null", "5steps"])
def test_the_repetition_begins_at_the_last_checkpoint_and_is_exact(tmp_path, monkeypatch, every):
    losses, original = [], Model.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if self.trainer.global_step >= 18:
            loss = loss * math.inf
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(Model, "training_step", step)
    found = diverge(tmp_path / "run", "model.dropout=0.3", "data.augment=shift", f"checkpoint.every={every}")
    assert found.startswith("recomputed: the gradient of network.4.")
    first, again = losses[:20], losses[20:]  # the row of step 20 tells that the loss of step 19 was no number
    assert first.index(math.inf) == 18 and again.index(math.inf) == {"null": 7, "5steps": 3}[every]
    begin = {"null": 11, "5steps": 15}[every]
    assert again[: 18 - begin] == first[begin:18]


def test_what_does_not_come_about_again_is_not_explained(tmp_path, monkeypatch):
    steps, original = iter(range(1000)), Model.training_step
    monkeypatch.setattr(Model, "training_step", lambda *batch: original(*batch) * (math.nan if next(steps) == 4 else 1))
    assert diverge(tmp_path / "run") == ""


def test_an_error_of_the_repetition_does_not_hide_the_divergence(tmp_path, monkeypatch, capsys):
    def broken(self, trainer, pl_module):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("dlcourse.runs.divergence.FindDivergence.on_train_start", broken)
    monkeypatch.setattr(Model, "training_step", lambda self, *_: (self.network[1].weight * math.nan).sum())
    assert diverge(tmp_path / "run") == ""
    assert "could not be recomputed: RuntimeError: no such luck" in capsys.readouterr().err
