"""What a trained run hands on: its weights to a new run, its model and data to the scripts."""

import shutil

import pytest
import torch

from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.models.base import Model
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.fit import train
from dlcourse.runs.trained import restore
from tests.composing import checked, resumed
from tests.stopping import BATCHES, WORDS, killed, resume


def test_init_from_starts_with_the_best_weights(finished, tmp_path, monkeypatch):
    started, original = {}, Model.on_train_start

    def watching(self):
        started.update({name: p.detach().clone() for name, p in self.named_parameters()})
        original(self)

    monkeypatch.setattr(Model, "on_train_start", watching)
    best = load(finished / "checkpoints/best.ckpt")["state_dict"]
    words = [*WORDS, "trainer.max_epochs=1", "seed=5", f"init_from={finished}"]
    train(checked([*words, f"run_dir={tmp_path / 'all'}"]))
    assert started and all(torch.equal(p, best[name]) for name, p in started.items())
    train(checked([*words, "init_from_skip=[network.3]", f"run_dir={tmp_path / 'skip'}"]))
    assert torch.equal(started["network.1.weight"], best["network.1.weight"])
    assert not torch.equal(started["network.3.weight"], best["network.3.weight"])


def test_init_from_another_architecture(finished, tmp_path):
    """What differs is named; skipping it helps."""
    words = [*WORDS, "trainer.max_epochs=1", "data=iris", "data.batch_size=32", f"init_from={finished}"]
    with pytest.raises(Refused, match=r"mean is \(1, 1, 1\) there and \(4,\) here") as refusal:
        train(checked([*words, f"run_dir={tmp_path / 'refused'}"]))
    assert refusal.value.code == 4
    wider = [*WORDS, "model.hidden=[8]", f"init_from={finished}"]
    with pytest.raises(Refused, match=r"network\.1\.weight is \(16, 64\) there and \(8, 64\) here"):
        train(checked([*wider, f"run_dir={tmp_path / 'wider'}"]))
    deeper = [*WORDS, "model.hidden=[16,16]", f"init_from={finished}"]
    with pytest.raises(Refused, match=r"missing there: network\.5\.weight"):
        train(checked([*deeper, f"run_dir={tmp_path / 'deeper'}"]))
    train(checked([*words, "init_from_skip=[network.1,network.3,mean,std,y_]", f"run_dir={tmp_path / 'run'}"]))
    assert (tmp_path / "run/metrics.json").exists()


def test_restore_brings_the_best_weights_and_the_standardisation(finished):
    cfg, model, data = restore(finished)
    best = load(finished / "checkpoints/best.ckpt")["state_dict"]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    data.setup()
    assert torch.allclose(model.mean, data.sets["train"].x.mean().reshape(1, 1, 1))
    assert not model.training
    assert cfg.model.hidden == [16]


def test_a_resume_asks_no_other_run(finished, tmp_path, monkeypatch):
    """What was begun from another run's weights has its own; the other may be gone. Its path is kept whole."""
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    monkeypatch.chdir(tmp_path)
    killed(tmp_path / "run", ["init_from=other"], monkeypatch, BATCHES + 3)
    assert resumed([f"resume={tmp_path / 'run'}"])[0].cfg.init_from == str(other)
    shutil.rmtree(other)
    resume(tmp_path / "run")
    assert (tmp_path / "run/metrics.json").exists()


def test_evaluation_on_data_of_an_allowed_package(finished, tmp_path, monkeypatch):
    (tmp_path / "own_digits.py").write_text("from dlcourse.data.images import Digits\nclass Mine(Digits):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["data=digits", "data._target_=own_digits.Mine"]
    with pytest.raises(Refused, match="may not run"):
        restore(finished, Overrides.parse(words))
    _, _, data = restore(finished, Overrides.parse([*words, "allow=[own_digits]"]))
    assert type(data).__name__ == "Mine"
