"""A run that a signal stopped has saved its state, and goes on exactly."""

import json
import os

import pytest

from dlcourse.errors import Interrupted
from dlcourse.models.base import Model
from dlcourse.runs.fit import train
from tests.composing import checked
from tests.stopping import BATCHES, STOPPING, WORDS, assert_same_run, resume


def test_interrupted_by_a_signal(straight, tmp_path, monkeypatch):
    """SIGTERM after any batch, also one that takes no step: the state is saved, the resume exact."""
    import signal

    words = ["trainer.accumulate_grad_batches=2", "trainer.max_epochs=2", "trainer.log_every_n_steps=2"]
    for step in (2, 3, BATCHES - 1, BATCHES):
        path, original, calls = tmp_path / f"run{step}", Model.training_step, iter(range(10**6))

        def asking(self, *args, step=step, calls=calls, original=original):
            if next(calls) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Model, "training_step", asking)
            with pytest.raises(Interrupted, match="SIGTERM") as stopped:
                train(checked([*WORDS, *words, f"run_dir={path}"]))
        assert stopped.value.code == 143
        assert str(path) in stopped.value.__notes__[0]
        status = json.loads((path / "status.json").read_text())
        assert (status["status"], status["exit_code"]) == ("interrupted", 143)
        resume(path)
        assert_same_run(straight(words), path)


def test_a_signal_in_the_epoch_that_early_stopping_ends(straight, tmp_path, monkeypatch):
    """The resume trains no further epoch."""
    import signal

    from lightning.pytorch.callbacks import EarlyStopping

    original = EarlyStopping.on_train_epoch_end

    def asked(self, trainer, module):
        original(self, trainer, module)
        if trainer.should_stop:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(EarlyStopping, "on_train_epoch_end", asked)
        with pytest.raises(Interrupted):
            train(checked([*WORDS, *STOPPING, f"run_dir={tmp_path / 'run'}"]))
    resume(tmp_path / "run")
    assert_same_run(straight(STOPPING), tmp_path / "run")
