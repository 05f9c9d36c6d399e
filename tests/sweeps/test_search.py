"""Searches: what a word lets Optuna choose from, what a study is told, and how it is set right again."""

import json
import os
import pickle
import signal
import sqlite3

import optuna
import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from dlcourse.config.overrides import Overrides
from dlcourse.config.own_text import quoted
from dlcourse.errors import Refused
from dlcourse.sweeps.attempt import run_dir
from dlcourse.sweeps.search import Search, distribution
from dlcourse.sweeps.trials import Sweep
from tests.composing import checked, checked_multirun

RANDOM = OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 0})
SPACE = ["data=moons", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.hidden=choice([8],[8,8])"]


def parsed(words):
    return OverridesParser.create().parse_overrides(words)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x=interval(0.0,0.5)", FloatDistribution(0, 0.5)),
        ("x=interval(0,5)", FloatDistribution(0, 5)),
        ("x=int(interval(0,5))", IntDistribution(0, 5)),
        ("x=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("x=tag(log,int(interval(1,100)))", IntDistribution(1, 100, log=True)),
        ("x=range(2,10,2)", IntDistribution(2, 8, step=2)),
        ("x=range(3)", IntDistribution(0, 2)),
        ("x=range(0.0,0.3,0.1)", CategoricalDistribution([0.0, 0.1, 0.2])),
        ("x=choice(relu,tanh)", CategoricalDistribution(["relu", "tanh"])),
        ("x=32,64", CategoricalDistribution([32, 64])),
        ("x=choice([8],[8,8])", CategoricalDistribution(["[8]", "[8,8]"])),
    ],
)
def test_what_a_word_lets_a_search_choose_from(word, expected):
    assert distribution(*parsed([word])) == expected


@pytest.mark.parametrize("word", ["x=tag(log,interval(0,1))", "x=interval(2,1)"])
def test_an_interval_that_is_none(word):
    with pytest.raises(Refused, match="expected a lower end"):
        distribution(*parsed([word]))


@pytest.fixture
def sweep(tmp_path):
    """``sweep(n)``: the same directory again, as each start of the command finds it."""

    def make(n, **settings):
        known = {"metric": "val/loss", "mode": "min", "storage": None, "retry": None, "workers": 1}
        tree = {"sweep_dir": str(tmp_path / "s"), "sweep": {**known, "n_trials": n, **settings}, "seed": 0}
        made = Sweep(Overrides(), tree)
        context = made.lock()
        context.__enter__()
        context.__exit__(None, None, None)
        return made

    return make


def ends(sweep, number, status="finished", code=0, **figures):
    path = sweep.path(number)
    path.mkdir(exist_ok=True)
    (path / "status.json").write_text(json.dumps({"status": status, "exit_code": code, "reason": None}))
    if status == "finished":
        (path / "metrics.json").write_text(json.dumps(figures))
    sweep.end(number)


def search(sweep, words=SPACE, sampler=RANDOM, pruner=None):
    return Search(sweep, parsed(words), sampler, pruner)


def test_a_study_is_told_what_the_directories_say_and_goes_on_after_a_kill(sweep):
    first = sweep(4)
    one = search(first)
    numbers = one.numbers()
    for k, value in enumerate((0.5, 0.2)):
        assert next(numbers) == k
        first.begin(k)
        ends(first, k, **{"val/loss": value})
    assert next(numbers) == 2
    first.begin(2)
    assert first.rows[2]["words"][0] == "data=moons" and first.rows[2]["words"][1].startswith("optimizer.lr=0.")
    # The process dies here; another one finds trial 2 running in the study, with no directory.
    second = sweep(4)
    two = search(second)
    assert [t.state for t in two.study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
    again = two.numbers()
    assert next(again) == 2 and second.rows[2]["words"] == first.rows[2]["words"]
    ends(second, 2, **{"val/loss": 0.9})
    assert next(again) == 3
    ends(second, 3, status="failed", code=3)
    assert list(again) == []
    assert [t.state for t in two.study.trials] == [TrialState.COMPLETE] * 3 + [TrialState.FAIL]
    assert (
        two.study.best_value == 0.2 and two.study.best_params["optimizer.lr"] == one.study.best_params["optimizer.lr"]
    )
    values = [t.params["optimizer.lr"] for t in two.study.trials]
    assert len(set(values)) == 4, "a sampler that begins again must not propose the same"


def test_finished_on_disk_and_not_in_the_study(sweep):
    """Killed between metrics.json and the study's commit: the directory counts."""
    first = sweep(1)
    numbers = search(first).numbers()
    next(numbers)
    first.begin(0)
    first.path(0).mkdir()
    (first.path(0) / "metrics.json").write_text('{"val/loss": 0.3}')
    two = search(sweep(1))
    assert list(two.numbers()) == []
    assert two.study.trials[0].state == TrialState.COMPLETE and two.study.best_value == 0.3


def test_failed_ones_run_again_only_when_asked(sweep):
    numbers = search(first := sweep(1)).numbers()
    next(numbers)
    ends(first, 0, status="failed", code=1)
    assert list(search(sweep(1)).numbers()) == []
    again = search(third := sweep(1, retry="failed"))
    assert list(again.numbers()) == [0]
    ends(third, 0, **{"val/loss": 0.1})
    assert again.study.best_value == 0.1
    assert list(search(fourth := sweep(1)).numbers()) == [] and list(fourth.rows) == [0]


def test_trials_that_were_stopped_before_they_had_a_directory_are_still_to_be_run(sweep):
    numbers = search(first := sweep(1)).numbers()
    first.begin(next(numbers))
    first.end(0, code=128 + signal.SIGTERM)
    assert first.rows[0]["status"] == "interrupted"
    two = search(second := sweep(1))
    assert list(two.numbers()) == [0] and two.study.trials[0].state == TrialState.RUNNING
    ends(second, 0, **{"val/loss": 0.1})
    assert list(search(sweep(1)).numbers()) == []


def test_several_objectives(sweep):
    made = sweep(3, metric=["val/loss", "seconds"], mode=["min", "min"])
    found = search(made)
    for number in found.numbers():
        ends(made, number, **{"val/loss": number, "seconds": 3 - number})
    assert len(found.study.best_trials) == 3
    with pytest.raises(Refused, match="single objective"):
        search(made, pruner=OmegaConf.create({"_target_": "optuna.pruners.MedianPruner"}))


def test_a_search_without_anything_to_search_for(sweep):
    with pytest.raises(Refused, match="nothing to search for"):
        search(sweep(1), ["data=moons"])


def test_a_password_does_not_get_into_run_directories():
    with pytest.raises(Refused, match="password"):
        checked(["sweep.storage=postgresql://u:hunter2@h/db"])


def test_a_package_is_never_allowed_by_a_file(sweep):
    first = sweep(1)
    (first.folder / "sweep.jsonl").write_text(
        json.dumps({"trial": 0, "words": ["+callbacks.x._target_=evil.X", "allow=[evil]", "++allow=[evil]"]}) + "\n"
    )
    second = sweep(1)
    assert not any(word.lstrip("+").startswith("allow") for word in second.job(0))
    second.overrides = Overrides.parse(["allow=[mine]"])
    assert "allow=[mine]" in second.job(0)


@pytest.mark.parametrize(("word", "low", "high", "step"), [("x=range(10,0,-3)", 1, 10, 3), ("x=range(0,7,2)", 0, 6, 2)])
def test_ranges(word, low, high, step):
    found = distribution(*parsed([word]))
    assert (found.low, found.high, found.step) == (low, high, step)


def test_a_range_without_a_value():
    with pytest.raises(Refused, match="is empty"):
        distribution(*parsed(["x=range(3,3)"]))


def test_the_words_by_which_a_trial_asks_its_pruner(sweep):
    """They compose, pass the gate, and name the pruner's own settings."""
    made = sweep(1)
    found = search(made, pruner=OmegaConf.create({"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 7}))
    cfg = checked(made.job(next(found.numbers()))).cfg
    node = cfg.callbacks.pruning
    assert node.pruner == {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 7}
    assert (node.trial, node.metric, node.study) == (0, "val/loss", "s")
    assert optuna.load_study(storage=node.storage, study_name=node.study).trials[0].state == TrialState.RUNNING


def test_a_finished_trial_without_the_figure_is_a_failure(sweep):
    made = sweep(1, metric="train/loss")
    found = search(made)
    ends(made, next(found.numbers()), **{"val/loss": 0.1})
    assert found.study.trials[0].state == TrialState.FAIL


def test_a_pruner_needs_a_figure_of_each_epoch(sweep):
    with pytest.raises(Refused, match="validation metric"):
        search(sweep(1, metric="seconds"), pruner=OmegaConf.create({"_target_": "optuna.pruners.MedianPruner"}))


def test_a_process_that_ends_before_its_trial_begins_is_told(sweep, capsys):
    made = sweep(1)
    made.add(0, ["seed=0"])
    made.begin(0)
    made.end(0, code=1)
    assert made.rows[0]["status"] == "failed" and "0000.log" in made.rows[0]["reason"]
    assert "0000.log" in capsys.readouterr().out and sweep(1).is_due(0)


def test_a_study_holds_one_search(sweep):
    made = sweep(1)
    ends(made, next(search(made).numbers()), **{"val/loss": 0.1})
    search(sweep(2))  # more trials of the same
    with pytest.raises(Refused, match="data=moons data=xor"):
        search(sweep(2), ["data=xor", *SPACE[1:]])


def test_a_trial_whose_last_worker_still_lives_is_no_failure(sweep, capsys):
    """A worker of a start that was killed is saving its state: the study is told nothing, the trial is due again."""
    made = sweep(1)
    found = search(made)
    number = next(found.numbers())
    path = made.path(number)
    path.mkdir()
    (path / "status.json").write_text(json.dumps({"status": "running", "exit_code": None, "reason": None}))
    orphan = FileLock(path / ".lock")
    orphan.acquire()
    made.end(number, code=5)
    orphan.release()
    assert "an earlier start" in capsys.readouterr().out
    assert found.study.trials[0].state == TrialState.RUNNING
    assert sweep(1).is_due(number)


@pytest.mark.parametrize("folder", ["Drop (Uni)", "it's", "a, b=[c]", "ünï {x}"])
def test_a_folder_may_have_any_name(tmp_path, folder):
    """What is told to a trial arrives as it was said."""
    said = quoted("sweep_dir", tmp_path / folder)
    known = {"metric": "val/loss", "mode": "min", "storage": None, "retry": None, "workers": 1, "n_trials": 1}
    made = Sweep(Overrides.parse([said]), {"sweep_dir": str(tmp_path / folder), "sweep": known, "seed": 0})
    with made.lock():
        found = search(made, pruner=OmegaConf.create({"_target_": "optuna.pruners.MedianPruner"}))
        job = made.job(next(found.numbers()))
    assert run_dir(job)[0] == tmp_path / folder / "0000"
    cfg = checked(job).cfg
    assert cfg.run_dir == str(tmp_path / folder / "0000")
    study = optuna.load_study(storage=cfg.callbacks.pruning.storage, study_name=folder)
    assert len(study.trials) == 1 and (tmp_path / folder / "study.db").exists()


class Payload:
    """Pickled: a command that leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


CMAES = OmegaConf.create({"_target_": "dlcourse.sweeps.sampler.CmaEs", "seed": 0, "n_startup_trials": 2})
NUMBERS = ["data=moons", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.dropout=interval(0.0,0.5)"]


def test_cmaes_goes_on_from_its_own_state(sweep):
    made = sweep(30)
    for k, number in enumerate(search(made, NUMBERS, CMAES).numbers()):
        ends(made, number, **{"val/loss": 1.0 / (k + 1)})
        if k == 14:
            break
    again = sweep(30)
    found = search(again, NUMBERS, CMAES)
    state = found.study.sampler._restore_optimizer(found.study.get_trials(deepcopy=False))
    assert type(state).__name__ == "CMA" and state.generation >= 1
    assert len([*found.numbers()]) == 15


def test_a_study_from_somebody_else_runs_nothing(sweep, tmp_path):
    made = sweep(4)
    found = search(made, NUMBERS, CMAES)
    for number in found.numbers():
        ends(made, number, **{"val/loss": 0.1})
    evil = pickle.dumps(Payload(tmp_path / "canary")).hex()
    with sqlite3.connect(tmp_path / "s/study.db") as file:
        row = "insert into trial_system_attributes (trial_id, key, value_json) values (3, 'cma:optimizer:0', ?)"
        file.execute(row, (json.dumps(evil),))
    with pytest.raises(Refused, match="no state of CMA-ES"):
        [*search(sweep(6), NUMBERS, CMAES).numbers()]
    assert not (tmp_path / "canary").exists()


def test_a_file_adds_no_words_to_a_trial(sweep):
    made = sweep(2)
    found = search(made)
    number = next(found.numbers())
    foreign = {"trial": number, "words": ["+callbacks.x._target_=evil.X"]}
    (made.folder / "sweep.jsonl").write_text(json.dumps(foreign) + "\n")
    again = sweep(2)
    numbers = search(again).numbers()
    assert next(numbers) == number and not any("evil" in word for word in again.job(number))


def test_the_same_words_in_another_order_are_the_same_trial(sweep):
    made = sweep(1)
    assert made.number(["seed=0", "optimizer=adam"]) == made.number(["optimizer=adam", "seed=0"]) == 0


@pytest.mark.parametrize("word", ["run_dir=x", "resume=x"])
def test_one_directory_for_many_runs(word):
    with pytest.raises(Refused, match="set sweep_dir="):
        checked_multirun(["sweep=digits_grid", word])
