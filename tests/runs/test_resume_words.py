"""What may be said with resume=, and which run it means."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from dlcourse.errors import Refused
from dlcourse.runs.checkpoint_file import load
from tests.composing import checked, resumed
from tests.stopping import WORDS, killed, resume, rows


@pytest.mark.parametrize("word", ["optimizer.lr=0.1", "optimizer=sgd", "seed=1", "model.hidden=[8]", "tags=[x]"])
def test_other_words_are_refused(stopped, word):
    with pytest.raises(Refused, match="resume_changed|init_from") as refusal:
        resumed([f"resume={stopped}", word])
    assert refusal.value.code == 2
    assert word.split("=")[0] in str(refusal.value)


def test_a_change_that_is_asked_for_by_name(stopped):
    at = load(stopped / "checkpoints/last.ckpt")["global_step"]
    resume(stopped, "optimizer.lr=0.0123", "resume_changed=[optimizer.lr]")
    written = [json.loads(line) for line in rows(stopped).splitlines()]
    after = [row["lr"] for row in written if "lr" in row and row["step"] > at]
    assert after and all(lr == 0.0123 for lr in after)
    assert {row["lr"] for row in written if "lr" in row and row["step"] <= at} == {0.001}


@pytest.mark.parametrize(
    ("begun", "word", "expected"),
    [
        (["optimizer=adamw"], "optimizer.weight_decay=0.5", [{"weight_decay": 0.5}, {"weight_decay": 0}]),
        (["optimizer=adam"], "optimizer.betas=[0.5,0.9]", [{"betas": [0.5, 0.9], "lr": 0.001}]),
        (["optimizer=muon"], "optimizer.adamw_lr=0.02", [{"lr": 0.02, "adamw_lr": 0.02}] * 2),
        (["optimizer=muon"], "optimizer.lr=0.5", [{"lr": 0.5}, {"lr": 0.001}]),
        (["scheduler=step", "scheduler.step_size=1", "scheduler.gamma=0.5"], "optimizer.lr=0.002", [{"lr": 0.00025}]),
    ],
)
def test_a_change_reaches_each_group_of_the_optimizer(tmp_path, monkeypatch, begun, word, expected):
    killed(tmp_path / "run", begun, monkeypatch, 24)
    resume(tmp_path / "run", word, f"resume_changed=[{word.split('=')[0]}]")
    groups = load(tmp_path / "run/checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"]
    for group, values in zip(groups, expected, strict=True):
        for key, value in values.items():
            assert (list(group[key]) if key == "betas" else group[key]) == value, key


@pytest.mark.parametrize(("begun", "value"), [("optimizer=adam", 0.1), ("optimizer=adamw", 0)])
def test_what_decays_is_decided_when_a_run_starts(tmp_path, monkeypatch, begun, value):
    killed(tmp_path / "run", [begun], monkeypatch, 12)
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    with pytest.raises(Refused, match="from or to 0 needs a new run, init_from="):
        resume(tmp_path / "run", f"optimizer.weight_decay={value}", "resume_changed=[optimizer.weight_decay]")
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


def test_a_list_of_choices_may_be_repeated(tmp_path, monkeypatch):
    killed(tmp_path / "run", ["metrics=[f1,auroc]"], monkeypatch, 4)
    again = [f"resume={tmp_path / 'run'}"]
    assert resumed([*again, "metrics=[f1,auroc]"]) and resumed([*again, "metrics=[auroc,f1]", "logger=none"])
    for word in ("metrics=f1", "metrics=[f1,auroc,recall]"):
        with pytest.raises(Refused, match="would change the run"):
            resumed([*again, word])


def test_a_group_cannot_be_changed_even_by_name(stopped):
    with pytest.raises(Refused, match="init_from"):
        resumed([f"resume={stopped}", "optimizer=sgd", "resume_changed=[optimizer]"])


def test_resume_auto(tmp_path, monkeypatch):
    assert resumed(["resume=auto", f"run_dir={tmp_path / 'run'}"]) is None
    killed(tmp_path / "run", [], monkeypatch, 4)
    again = [*WORDS, "resume=auto", f"run_dir={tmp_path / 'run'}"]
    composed, path = resumed([*again, "optimizer=adam"])
    assert path == (tmp_path / "run").resolve()
    assert resumed([*again, "trainer.max_epochs=4"])[0].cfg.trainer.max_epochs == 4
    for word in ("seed=1", "optimizer=sgd", "optimizer.learning_rate=0.1"):
        with pytest.raises(Refused, match=f"{word} would change the run"):
            resumed([*again, word])
    resume(path, "trainer.max_epochs=4")
    with pytest.raises(Refused, match="is finished"):  # the words it was begun with do not make it shorter again
        resumed(again)
    assert resumed([*again, "trainer.max_epochs=5"])[0].cfg.trainer.max_epochs == 5
    with pytest.raises(Refused, match="run_dir"):
        resumed(["resume=auto"])


def test_no_such_run(tmp_path):
    with pytest.raises(Refused, match="not a run directory"):
        resumed([f"resume={tmp_path}"])


@pytest.mark.parametrize("left", [["checkpoints/"], ["overrides.yaml"], [".config.yaml.123", "checkpoints/"]])
def test_killed_while_its_directory_was_made(tmp_path, left):
    """The form for requeued jobs begins it again; somebody's own files are still refused."""
    from dlcourse.runs.directory import RunDirectory

    path = tmp_path / "r"
    path.mkdir()
    for name in left:
        (path / name).mkdir() if name.endswith("/") else (path / name).touch()
    RunDirectory.create(checked(["logger=none", f"run_dir={path}"])).release()
    assert (path / "config.yaml").exists()
    (other := tmp_path / "o").mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(Refused, match="holds other files"):
        RunDirectory.create(checked(["logger=none", f"run_dir={other}"]))


def test_no_database_of_a_run_directory_is_asked(finished, tmp_path):
    """A search's trial that is gone on with by hand reports to nobody, whatever stands in its file."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    cfg = OmegaConf.load(path / "config.yaml")
    node = {"_target_": "dlcourse.callbacks.pruning.Pruning", "storage": f"sqlite:///{tmp_path}/foreign.db"}
    node |= {"study": "x", "trial": 0, "metric": "val/loss", "pruner": None}
    cfg.callbacks = {"pruning": node, "by_another_name": node}
    OmegaConf.save(cfg, path / "config.yaml")
    resume(path, "trainer.max_epochs=2")
    assert not (tmp_path / "foreign.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.gradient_clip_val=null", "optimizer.lr=null"], "optimizer.lr=null would change"),
        (["~model.dropout"], "a single value"),
        (["trainer.max_epochs=9,10"], "a single value"),
        (["trainer.max_epochs=choice(9,10)"], "a single value"),
    ],
)
def test_no_word_is_dropped(stopped, words, said):
    with pytest.raises(Refused, match=said):
        resumed([f"resume={stopped}", *words])


def test_a_list_of_directories_is_no_run(stopped):
    with pytest.raises(Refused, match="only a single run"):
        resumed([f"resume={stopped},{stopped}"])


def test_a_run_whose_words_are_lost_goes_on(stopped):
    (stopped / "overrides.yaml").unlink()
    resume(stopped)
    assert (stopped / "metrics.json").exists()


def test_a_first_start_with_resume_auto_from_python_uses_no_wandb(tmp_path):
    import dlcourse

    words = ["data=moons", "trainer=cpu", "callbacks=none", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*words, "resume=auto")
    assert not (tmp_path / "run/wandb").exists()
