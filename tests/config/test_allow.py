"""Packages of one's own: the person at the command line allows them, no file and no run directory does."""

import sys

import pytest
from omegaconf import OmegaConf

from dlcourse.config.gate import (
    check_classes,
    check_targets,
)
from dlcourse.config.overrides import Overrides
from dlcourse.config.store import stored
from tests.composing import checked, composed, loaded, resumed
from tests.refusing import refusal


def test_a_person_allows_a_package(monkeypatch, tmp_path):
    (tmp_path / "mynets.py").write_text("import os\nfrom pathlib import Path\nclass Net: pass\ndef make(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    refusal(checked, ["++model._target_=mynets.Net"])
    for allow in ("allow=[mynets]", "allow=mynets", "allow=[other,mynets]", "+allow=[mynets]", "++allow=[mynets]"):
        assert "mynets" in Overrides.parse([allow]).packages
    assert checked(["allow=[mynets]", "++model._target_=mynets.Net"]).cfg.model._target_ == "mynets.Net"
    monkeypatch.setenv("DLCOURSE_ALLOW", "other, mynets")
    checked(["++model._target_=mynets.Net"])
    check_classes({"_target_": "mynets.Net"}, ["mynets"])
    for name in ("make", "Path", "os", "os.system", "os.path.join"):  # the same rule inside it
        refusal(check_classes, {"_target_": f"mynets.{name}"}, ["mynets"])
    refusal(check_targets, {"_target_": "mynetsevil.Net"}, ["mynets"])
    refusal(check_targets, {"_target_": "mynets._private.Net"}, ["mynets"])


def test_nothing_but_the_person_allows(tmp_path):
    """Neither a configuration nor a run directory; a run directory passes the same gate as words."""

    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert loaded(tmp_path).choices["model"] == "mlp"
    cfg.allow = ["evil"]
    cfg.model._target_ = "evil.Net"
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert "evil.Net" in refusal(loaded, tmp_path)
    loaded(tmp_path, "evil")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model._target_", "os.system"),
        ("callbacks.x", {"_target_": "shutil.rmtree", "path": "/nowhere"}),
        ("logger.x", {"_target_": "joblib.load"}),
        ("optimizer.lr", "${oc.env:WANDB_API_KEY}"),
        ("optimizer.lr", float("nan")),
        ("loss.target_forms", ["values"]),
    ],
)
def test_a_run_directory_of_somebody_else_passes_the_same_gate(tmp_path, monkeypatch, key, value):

    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    OmegaConf.update(cfg, key, value, force_add=True)
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert "hunter2" not in refusal(loaded, tmp_path)


def test_what_a_resume_changes_passes_the_gate(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    made = composed("logger=none")
    OmegaConf.save(stored(made), tmp_path / "config.yaml")
    (tmp_path / "overrides.yaml").write_text("[]")
    changed = "resume_changed=[optimizer.lr,model.norm]"
    found = resumed([f"resume={tmp_path}", changed, "optimizer.lr=0.5"])
    assert found[0].cfg.model.optimizer.lr == 0.5 and found[1] == tmp_path
    evil = "model.norm={_target_:subprocess.Popen,args:id}"
    for words in ([changed, evil], [changed, "optimizer.lr=-1"], ["optimizer.lr=0.5"], ["model=cnn"], ["nothing=1"]):
        refusal(resumed, [f"resume={tmp_path}", *words])


def test_a_longer_resume_builds_nothing_that_is_not_judged(tmp_path, monkeypatch):
    """A longer run asks the scheduler of a run directory whether it may be: after it is seen to be a class."""
    (tmp_path / "sideeffects.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    made = composed("logger=none")
    cfg = OmegaConf.create(stored(made))
    cfg.scheduler = {"_target_": "dlcourse.config.gate.import_module", "name": "sideeffects"}
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    (tmp_path / "overrides.yaml").write_text("[]")
    refusal(resumed, [f"resume={tmp_path}", "trainer.max_epochs=99"])
    assert not (tmp_path / "ran").exists()


def test_a_package_of_ours_that_is_no_part_of_a_model_must_be_allowed():
    words = ["+callbacks.clock._target_=scripts.benchmarks.clock.Clock"]
    assert "may not run" in refusal(checked, words)
    checked([*words, "allow=[scripts.benchmarks]"])
