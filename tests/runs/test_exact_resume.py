"""A run that was killed and goes on ends bit for bit as the run that was never stopped."""

import json

import pytest

import dlcourse.runs.checkpoints as checkpoints
from dlcourse.models.base import Model
from dlcourse.runs.checkpoint_file import load
from tests import stopping
from tests.stopping import BATCHES, STOPPING, WORDS, Killed, assert_same_run, killed, resume, rows

CHOICES = {
    "plain": [],
    "dropout": ["model.dropout=0.3"],
    "batch norm": ["model=cnn", "model.channels=[4]", "model.hidden=[8]", "model.dropout=0.2"],
    "augmented": ["data.augment=shift"],
    "autoencoder": ["model=autoencoder", "model.channels=[4]", "model.code=2"],
    "momentum": ["optimizer=momentum"],
    "one_cycle": ["scheduler=one_cycle"],
    "step": ["scheduler=step", "scheduler.step_size=1"],
    "diagnosed": ["callbacks=diagnostics", "callbacks.progress=null", "callbacks.summary=null"],
    "balanced": ["loss.class_weights=balanced", "loss.label_smoothing=0.1"],
    "clipped": ["trainer.gradient_clip_val=0.1"],
}


@pytest.mark.parametrize("words", CHOICES.values(), ids=CHOICES.keys())
@pytest.mark.parametrize("step", [BATCHES, BATCHES + 5], ids=["at the end of an epoch", "in the middle"])
def test_resume_is_exact(straight, tmp_path, monkeypatch, words, step):
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


@pytest.mark.parametrize("step", [0, 1, 2, 7, 10, 12, 21, 23, 32])
def test_killed_at_any_step(straight, tmp_path, monkeypatch, step):
    killed(tmp_path / "run", [], monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight([]), tmp_path / "run")


def test_killed_twice(straight, tmp_path, monkeypatch):
    words = ["model.dropout=0.3"]
    killed(tmp_path / "run", words, monkeypatch, 6)
    with monkeypatch.context() as patch:
        calls, original = iter(range(10**6)), Model.training_step

        def dying(self, *args):
            if next(calls) == 9:
                raise Killed
            return original(self, *args)

        patch.setattr(Model, "training_step", dying)
        with pytest.raises(Killed):
            resume(tmp_path / "run")
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


def test_every_row_is_seen_once_an_epoch(tmp_path, monkeypatch):
    killed(tmp_path / "run", ["trainer.max_epochs=2"], monkeypatch, BATCHES + 6)
    seen, original = {}, Model.training_step

    def watching(self, batch, batch_idx):
        seen.setdefault(self.trainer.current_epoch, []).extend(batch[2].tolist())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Model, "training_step", watching)
    step = load(tmp_path / "run/checkpoints/last.ckpt")["global_step"]
    assert step == BATCHES + 5  # 16 = 8 × 2steps, one step before the kill
    result = resume(tmp_path / "run")
    assert list(seen) == [1]
    train_rows = result.data.sets["train"].index.tolist()
    first = result.data.train_dataloader().sampler
    first.set_epoch(1)
    order = [train_rows[k] for batch in list(first)[:5] for k in batch.tolist()]
    assert len(set(seen[1])) == len(seen[1])
    assert sorted([*order, *seen[1]]) == train_rows


@pytest.mark.parametrize("step", [1, BATCHES + 4])
def test_workers(straight, tmp_path, monkeypatch, step):
    words = ["data.num_workers=1", "trainer.max_epochs=2"]
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")
    assert rows(straight(["trainer.max_epochs=2"])) == rows(tmp_path / "run")


@pytest.mark.parametrize("every", ["2steps", "11steps"])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_killed_during_validation(straight, tmp_path, monkeypatch, every, epoch):
    words = [f"checkpoint.every={every}"]
    killed(tmp_path / "run", words, monkeypatch, epoch, "validation_step")
    resume(tmp_path / "run")
    assert_same_run(straight([]), tmp_path / "run")


@pytest.mark.parametrize("step", [2, 3, 8, 11, 14])
def test_killed_between_validations(straight, tmp_path, monkeypatch, step):
    words = ["trainer.val_check_interval=0.25", "trainer.max_epochs=2"]  # after batches 2, 4, 6, 8, 10
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


@pytest.mark.parametrize("step", [1, 2, 5, 10, 11, 14])
@pytest.mark.parametrize("every", ["1steps", "0.001s"])
def test_accumulation(straight, tmp_path, monkeypatch, step, every):
    """The checkpoint never lies between the batches of one step, whose summed gradients it could not hold."""
    words = ["trainer.accumulate_grad_batches=2", "trainer.max_epochs=2", "trainer.log_every_n_steps=2"]
    killed(tmp_path / "run", [*words, f"checkpoint.every={every}"], monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


@pytest.mark.parametrize("step", [BATCHES, BATCHES + 3, 2 * BATCHES + 3])
def test_plateau(straight, tmp_path, monkeypatch, step):
    """The plateau schedule has seen the epoch that its checkpoint ends; every epoch here lowers the rate."""
    words = ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=10", "trainer.max_epochs=5"]
    monkeypatch.setattr(checkpoints.time, "monotonic", iter(range(0, 10**9, 10)).__next__)  # save at each epoch's end
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    rates = [row["lr"] for row in map(json.loads, rows(tmp_path / "run").splitlines()) if "lr" in row]
    assert len(set(rates)) >= 3  # the schedule does something
    assert_same_run(straight(words), tmp_path / "run")


@pytest.mark.parametrize("step", [BATCHES, BATCHES + 5, 2 * BATCHES + 3])
def test_early_stopping(straight, tmp_path, monkeypatch, step):
    killed(tmp_path / "run", STOPPING, monkeypatch, step)
    resume(tmp_path / "run")
    assert load(tmp_path / "run/checkpoints/last.ckpt")["epoch"] == 3  # epochs 0, 1, 2, the last two without gain
    assert_same_run(straight(STOPPING), tmp_path / "run")


def test_early_stopping_decided_before_the_kill(straight, tmp_path, monkeypatch):
    """Killed after the epoch that said stop, before the test: the resume trains no further epoch."""
    monkeypatch.setattr(checkpoints.time, "monotonic", iter(range(0, 10**9, 10)).__next__)
    killed(tmp_path / "run", STOPPING, monkeypatch, 0, "test_step")
    resume(tmp_path / "run")
    assert_same_run(straight(STOPPING), tmp_path / "run")


@pytest.mark.parametrize("step", [4, 5, 6, 8])
def test_limited_batches(straight, tmp_path, monkeypatch, step):
    """An epoch that ends before the rows do is over: the next one begins with its first batch."""
    words = ["trainer.limit_train_batches=4"]
    monkeypatch.setattr(checkpoints.time, "monotonic", iter(range(0, 10**9, 10)).__next__)
    killed(tmp_path / "run", words, monkeypatch, step)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


def test_values(straight, tmp_path, monkeypatch):
    words = ["data=sine", "optimizer=momentum", "data.batch_size=64", "trainer.max_epochs=2"]
    killed(tmp_path / "run", words, monkeypatch, 20)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


def test_full_batch(straight, tmp_path, monkeypatch):
    words = ["data=linear", "optimizer=lbfgs", "trainer.max_epochs=4"]
    monkeypatch.setattr(stopping, "WORDS", [word for word in WORDS if not word.startswith("data.batch_size")])
    killed(tmp_path / "run", words, monkeypatch, 50)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")
