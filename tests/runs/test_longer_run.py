"""A finished run goes on if its limit is longer, and only then."""

import pytest
from lightning.pytorch.callbacks import Timer

from dlcourse.errors import Refused
from dlcourse.models.base import Model
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.fit import train
from dlcourse.runs.resume import is_longer
from tests.composing import checked, resumed
from tests.stopping import BATCHES, STOPPING, WORDS, assert_same, assert_same_run, killed, resume


@pytest.mark.parametrize("length", ["trainer.max_epochs", "trainer.max_steps"])
def test_a_longer_run(straight, tmp_path, length):
    """A finished run goes on as if it had been that long from the start, also from the middle of an epoch."""
    short, long = ("2", "3") if length.endswith("epochs") else (str(BATCHES + 6), str(2 * BATCHES + 6))
    words = ["model.dropout=0.3", "trainer.max_epochs=-1"] if length.endswith("steps") else ["model.dropout=0.3"]
    train(checked([*WORDS, *words, f"{length}={short}", f"run_dir={tmp_path / 'run'}"]))
    resume(tmp_path / "run", f"{length}={long}")
    reference = straight([*words, f"{length}={long}"])
    assert_same(reference, tmp_path / "run", ("state_dict", "optimizer_states", "rng"))
    if length.endswith("epochs"):
        assert_same_run(reference, tmp_path / "run")


def test_finished_needs_a_longer_limit(finished):
    with pytest.raises(Refused, match="is finished.*trainer.max_epochs") as refusal:
        resumed([f"resume={finished}"])
    assert refusal.value.code == 2


def test_a_limit_that_is_not_longer(finished):
    """The same limit again would train nothing, and unlink the finished figures for it."""
    with pytest.raises(Refused, match="max_epochs"):
        resume(finished, "trainer.max_epochs=1")
    assert (finished / "metrics.json").exists()


def test_longer_is_refused_where_the_schedule_knows_the_total(tmp_path, monkeypatch):
    killed(tmp_path / "run", ["scheduler=one_cycle"], monkeypatch, 5)
    with pytest.raises(Refused, match="scheduler=one_cycle.*init_from") as refusal:
        resumed([f"resume={tmp_path / 'run'}", "trainer.max_epochs=9"])
    assert refusal.value.code == 2


@pytest.mark.parametrize(
    ("new", "old", "longer"),
    [
        (5, 3, True),
        (2.0, 5, False),
        ("00:00:00:01", "01:00:00:00", False),
        ("00:10:00:00", "00:09:59:59", True),
        ("02:00:00:00", "00:47:00:00", True),
        (-1, 5, True),
        (5, None, False),
        ("soon", "00:47:00:00", True),  # the table of ranges says what is wrong with it
        ("soon", 5, True),
    ],
)
def test_a_limit_is_longer_as_a_number_or_a_time(new, old, longer):
    assert is_longer(new, old) is longer


def test_a_longer_time_goes_on_where_the_time_was_over(tmp_path):
    """In the middle of an epoch, to the bits of a run that had the time at once."""
    words = ["trainer.max_epochs=4", "trainer.max_time=00:01:00:00"]
    path, original = tmp_path / "run", Timer.time_remaining
    steps = BATCHES + 4
    with pytest.MonkeyPatch.context() as patch:
        over = {"now": False}

        def remaining(self, *args):
            return -1.0 if over["now"] else original(self, *args)

        def check(self, trainer):
            trainer.should_stop = trainer.should_stop or remaining(self) < 0

        step = Model.training_step

        def counting(self, batch, batch_idx):
            over["now"] = self.trainer.global_step >= steps - 1
            return step(self, batch, batch_idx)

        patch.setattr(Timer, "time_remaining", remaining)
        patch.setattr(Timer, "_check_time_remaining", check)
        patch.setattr(Model, "training_step", counting)
        train(checked([*WORDS, *words, f"run_dir={path}"]))
        assert load(path / "checkpoints/last.ckpt")["stopped"] == "time"
        assert load(path / "checkpoints/last.ckpt")["global_step"] == steps
    resume(path, "trainer.max_time=00:02:00:00")
    whole = tmp_path / "whole"
    train(checked([*WORDS, *words, f"run_dir={whole}"]))
    assert_same(whole, path, ("state_dict", "optimizer_states", "rng"))


def test_a_run_that_early_stopping_ended_is_not_longer(straight):
    with pytest.raises(Refused, match="early stopping ended"):
        resume(straight(STOPPING), "trainer.max_epochs=99")
