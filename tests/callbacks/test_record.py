"""What a run writes down, and the guard against numbers that are none."""

import json
import math

import pytest
import torch

import dlcourse
from dlcourse.errors import DIVERGED, Refused
from dlcourse.models.base import Model
from dlcourse.runs.record import Record

# 11 batches an epoch
WORDS = ["trainer=cpu", "model.hidden=[16]", "data.batch_size=128", "trainer.max_epochs=2"]
WORDS += ["trainer.log_every_n_steps=4", "callbacks=none", "report=false"]


def rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def with_losses(monkeypatch, change):
    """Every training loss of the model passes through ``change(number of the batch, loss)``; those kept are listed."""
    seen, original = [], Model.training_step

    def step(self, batch, batch_idx):
        loss = change(len(seen), original(self, batch, batch_idx))
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(Model, "training_step", step)
    return seen


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The losses of all batches, and the run that they belong to."""
    with pytest.MonkeyPatch.context() as patch:
        losses = with_losses(patch, lambda k, loss: loss)
        result = dlcourse.run(*WORDS, f"run_dir={tmp_path_factory.mktemp('record') / 'run'}")
    return losses, result


def test_rows_of_the_training_loss(run):
    losses, result = run
    steps = [row for row in rows(result.run_dir) if "train/loss_step" in row]
    assert [row["step"] for row in steps] == [4, 8, 12, 16, 20]
    for row in steps:
        mean = math.fsum(losses[row["step"] - 4 : row["step"]]) / 4
        assert row["train/loss_step"] == pytest.approx(mean, rel=1e-6)
        assert row["lr"] == 0.001


def test_rows_of_an_epoch(run):
    losses, result = run
    written = rows(result.run_dir)
    train = [row for row in written if "train/loss" in row]
    assert [row["epoch"] for row in train] == [0, 1] and [row["step"] for row in train] == [11, 22]
    sizes = [128] * 10 + [1294 - 1280]
    for k, row in enumerate(train):
        mean = sum(a * b for a, b in zip(losses[11 * k : 11 * (k + 1)], sizes, strict=True)) / 1294
        assert row["train/loss"] == pytest.approx(mean, rel=1e-5)
    assert [row["epoch"] for row in written if "val/loss" in row] == [0, 1]
    assert len([row for row in written if "test/loss" in row]) == 1


def test_rows_hold_no_clock(run):
    figures = {f"{stage}/{figure}" for stage in ("train", "val", "test") for figure in ("loss", "acc")}
    assert {key for row in rows(run[1].run_dir) for key in row} == {"step", "epoch", "lr", "train/loss_step", *figures}


def test_timing(run):
    timing = [json.loads(line) for line in (run[1].run_dir / "timing.jsonl").read_text().splitlines()]
    assert [(row["step"], row["epoch"]) for row in timing] == [(11, 0), (22, 1)]
    assert 0 < timing[0]["seconds"] <= timing[1]["seconds"]


def test_accumulated_losses_are_those_of_the_batches(tmp_path, monkeypatch):
    losses = with_losses(monkeypatch, lambda k, loss: loss)
    dlcourse.run(*WORDS, "trainer.accumulate_grad_batches=2", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}")
    steps = [row for row in rows(tmp_path / "run") if "train/loss_step" in row]
    assert [row["step"] for row in steps] == [4]
    assert steps[0]["train/loss_step"] == pytest.approx(sum(losses[:8]) / 8, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("batch", [0, 5, 10, 13])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path, monkeypatch, value, batch):
    with_losses(monkeypatch, lambda k, loss: loss * value if k == batch else loss)
    with pytest.raises(Refused, match="diverged") as refusal:
        dlcourse.run(*WORDS, "optimizer.lr=0.002", f"run_dir={tmp_path / 'run'}")
    said = str(refusal.value)
    assert refusal.value.code == DIVERGED
    assert f"step {batch + 1} " in said and "0.002" in said and "optimizer.lr" in said and said.count("\n") < 3
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["status"], status["exit_code"]) == ("failed", DIVERGED) and "diverged" in status["reason"]
    assert not (tmp_path / "run/metrics.json").exists()


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_the_step_is_named_also_with_accumulation(tmp_path, monkeypatch, batch):
    with_losses(monkeypatch, lambda k, loss: loss * math.nan if k == batch else loss)
    with pytest.raises(Refused, match=f"step {batch // 2 + 1} "):
        dlcourse.run(*WORDS, "trainer.accumulate_grad_batches=2", f"run_dir={tmp_path / 'run'}")


@pytest.mark.parametrize("every", ["1steps", "0.001s"])
def test_no_checkpoint_holds_what_diverged(tmp_path, monkeypatch, every):
    """The flag is read before any checkpoint: those that are there can be continued."""
    with_losses(monkeypatch, lambda k, loss: loss * math.nan if k == 13 else loss)
    with pytest.raises(Refused, match="diverged"):
        dlcourse.run(*WORDS, "trainer.log_every_n_steps=50", f"checkpoint.every={every}", f"run_dir={tmp_path / 'run'}")
    files = list((tmp_path / "run/checkpoints").glob("*.ckpt"))
    assert len(files) == 3
    for file in files:
        weights = torch.load(file, weights_only=True)["state_dict"]
        assert all(torch.isfinite(w).all() for w in weights.values()), file.name


def test_weights_that_are_no_numbers_are_never_best(tmp_path, monkeypatch):
    """The last training loss is finite, the step after it is not: only the validation shows it."""
    original = torch.optim.Adam.step
    steps = iter(range(100))

    def step(self, closure=None):
        loss = original(self, closure)
        if next(steps) == 21:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(math.nan)
        return loss

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(Refused, match="val/loss is nan") as refusal:
        dlcourse.run(*WORDS, f"run_dir={tmp_path / 'run'}")
    assert refusal.value.code == DIVERGED
    for file in (tmp_path / "run/checkpoints").glob("*.ckpt"):
        assert torch.isfinite(torch.load(file, weights_only=True)["state_dict"]["network.1.weight"]).all(), file.name


def test_a_rate_that_is_far_too_high(tmp_path):
    words = ["data=diabetes", "model.hidden=[16]", "optimizer=sgd", "trainer=cpu", "trainer.max_epochs=20"]
    with pytest.raises(Refused, match=r"diverged.*1e\+30") as refusal:
        dlcourse.run(*words, "optimizer.lr=1e30", f"run_dir={tmp_path / 'run'}")
    assert refusal.value.code == DIVERGED


def test_the_losses_waiting_for_a_row_are_state():
    record = Record(None)
    record.losses = [torch.tensor(0.1), torch.tensor(2.7182817)]
    other = Record(None)
    other.load_state_dict(json.loads(json.dumps(record.state_dict())))
    assert [float(loss) for loss in other.losses] == [float(loss) for loss in record.losses]
    assert Record(None).state_dict()["losses"] == []
