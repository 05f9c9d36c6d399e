"""A run that was stopped and goes on ends bit for bit as the run that was never stopped."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from omegaconf import OmegaConf

import dlcourse.runs.checkpoints as checkpoints
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Interrupted, Refused
from dlcourse.models.base import Model
from dlcourse.runs.checkpoint_file import AtomicIO, load
from dlcourse.runs.checkpoints import Checkpoints
from dlcourse.runs.fit import train
from dlcourse.runs.resume import is_longer
from dlcourse.runs.trained import restore
from tests.composing import checked, resumed

# Digits in batches of 128: 11 batches an epoch, the last one of 14 rows.
BATCHES = 11
WORDS = [
    "logger=none",
    "callbacks=none",
    "trainer=cpu",
    "model.hidden=[16]",
    "data.batch_size=128",
    "trainer.log_every_n_steps=3",
    "checkpoint.every=2steps",
    "trainer.max_epochs=3",
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code base catches it to save anything."""


@pytest.fixture(scope="module", autouse=True)
def bare():
    """No report: its page has tests of its own, and is no part of what is compared here."""
    import dlcourse.report.page

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlcourse.report.page, "build_report", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """``straight(words)``: the directory of the run that nothing stopped; one for each set of words."""
    made = {}

    def get(words):
        key = tuple(words)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("straight") / "run"
            train(checked([*WORDS, *words, f"run_dir={made[key]}"]))
        return made[key]

    return get


def killed(path, words, monkeypatch, step, hook="training_step"):
    """Train until the step-th call (from 0) of a hook of the model, which dies before it does anything."""
    original, calls = getattr(Model, hook), iter(range(10**6))

    def dying(self, *args):
        if next(calls) == step:
            raise Killed
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Model, hook, dying)
        with pytest.raises(Killed):
            train(checked([*WORDS, *words, f"run_dir={path}"]))
    assert not (path / "metrics.json").exists()


def resume(path, *words):
    return train(*resumed([f"resume={path}", *words]))


def rows(path):
    return (path / "metrics.jsonl").read_text()


def flat(tree, path=""):
    """The leaves of a checkpoint's tree by their place."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in flat(value, f"{path}/{key}").items()}
    return {path: tree}


def assert_same(one, other, parts=("state_dict", "optimizer_states", "lr_schedulers", "rng"), name="last.ckpt"):
    a, b = load(one / "checkpoints" / name), load(other / "checkpoints" / name)
    assert (a["global_step"], a["epoch"]) == (b["global_step"], b["epoch"])
    for part in parts:
        left, right = flat(a[part]), flat(b[part])
        assert left.keys() == right.keys()
        for place, value in left.items():
            same = torch.equal(value, right[place]) if isinstance(value, torch.Tensor) else value == right[place]
            assert same, f"{part}{place} differs"


def assert_same_run(one, other):
    """Weights, optimizer, schedule, random numbers, best checkpoint, every row of figures and the final ones."""
    assert rows(one) == rows(other)
    assert_same(one, other)
    assert_same(one, other, ("state_dict",), "best.ckpt")
    a, b = (json.loads((path / "metrics.json").read_text()) for path in (one, other))
    clock = ("seconds", "samples_per_s")
    assert {k: v for k, v in a.items() if k not in clock} == {k: v for k, v in b.items() if k not in clock}


CHOICES = {
    "plain": [],
    "dropout": ["model.dropout=0.3"],
    "batch norm": ["model=cnn", "model.channels=[4]", "model.hidden=[8]", "model.dropout=0.2"],
    "augmented": ["data.augment=shift"],
    "momentum": ["optimizer=momentum"],
    "one_cycle": ["scheduler=one_cycle"],
    "step": ["scheduler=step", "scheduler.step_size=1"],
    "diagnosed": ["callbacks=diagnostics", "callbacks.progress=null", "callbacks.summary=null"],
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


STOPPING = [
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=2",
    "callbacks.early_stopping.min_delta=10",
    "trainer.max_epochs=8",
]


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
    monkeypatch.setitem(globals(), "WORDS", [word for word in WORDS if not word.startswith("data.batch_size")])
    killed(tmp_path / "run", words, monkeypatch, 50)
    resume(tmp_path / "run")
    assert_same_run(straight(words), tmp_path / "run")


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


@pytest.mark.parametrize("step", [BATCHES, BATCHES + 5])
def test_killed_inside_the_write(straight, tmp_path, monkeypatch, step):
    """The checkpoint that was not finished does not count; the one before it does."""
    with monkeypatch.context() as patch:
        original, writes = AtomicIO.save_checkpoint, []

        def dying(self, checkpoint, path, storage_options=None):
            writes.append(path)
            if len(writes) > 6:
                Path(path).with_name(f".{Path(path).name}.1").write_bytes(b"half")
                raise Killed
            original(self, checkpoint, path, storage_options)

        patch.setattr(AtomicIO, "save_checkpoint", dying)
        with pytest.raises(Killed):
            train(checked([*WORDS, f"run_dir={tmp_path / 'run'}"]))
    resume(tmp_path / "run")
    assert_same_run(straight([]), tmp_path / "run")


def test_a_damaged_last_checkpoint(straight, tmp_path, monkeypatch, capsys):
    """The one before it is used, that is said, and the end is the same."""
    killed(tmp_path / "run", ["model.dropout=0.3"], monkeypatch, BATCHES + 6)
    last = tmp_path / "run/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    resume(tmp_path / "run")
    said = capsys.readouterr().err
    assert "last.ckpt is damaged" in said and "continuing from last.prev.ckpt" in said
    assert_same_run(straight(["model.dropout=0.3"]), tmp_path / "run")


def test_a_damaged_checkpoint_never_takes_the_good_ones_place(tmp_path, monkeypatch):
    """Killed again in the first write after the fallback, between the two names: the good one is still there."""
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 6)
    folder = tmp_path / "run/checkpoints"
    (folder / "last.ckpt").write_bytes(b"damaged")
    original = os.replace

    def dying(source, target):
        if Path(source).name == ".last.ckpt.part":
            raise Killed
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            resume(tmp_path / "run")
    resume(tmp_path / "run")
    assert (folder / "last.damaged.ckpt").read_bytes() == b"damaged"


def test_both_damaged(tmp_path, monkeypatch):
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 6)
    for name in ("last.ckpt", "last.prev.ckpt"):
        (tmp_path / "run/checkpoints" / name).write_bytes(b"")
    with pytest.raises(Refused, match="last.ckpt") as refusal:
        resume(tmp_path / "run")
    assert refusal.value.code == 4


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    train(checked([*WORDS, "trainer.max_epochs=1", f"run_dir={path}"]))
    return path


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 3)
    return tmp_path / "run"


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
    with pytest.raises(Refused, match="no run directory"):
        resumed([f"resume={tmp_path}"])


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


def test_state_of_checkpoints_comes_back(tmp_path, monkeypatch):
    killed(tmp_path / "run", [], monkeypatch, 2 * BATCHES + 5)
    saved = load(tmp_path / "run/checkpoints/last.ckpt")["callbacks"]["Checkpoints"]["best"]
    loaded, original = [], Checkpoints.load_state_dict

    def watching(self, state):
        original(self, state)
        loaded.append(self.best)

    monkeypatch.setattr(Checkpoints, "load_state_dict", watching)
    resume(tmp_path / "run")
    assert loaded[0] == saved and saved["epoch"] in (0, 1)


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
def test_a_limitis_longer_as_a_number_or_a_time(new, old, longer):
    assert is_longer(new, old) is longer


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


def test_metrics_csv_goes_on_where_metrics_jsonl_does(straight, tmp_path, monkeypatch):
    path, words = tmp_path / "run", ["logger=csv"]
    killed(path, words, monkeypatch, BATCHES + 3)
    resume(path)
    with open(path / "metrics.csv", encoding="utf-8") as one, open(straight(words) / "metrics.csv") as other:
        ours, theirs = list(csv.DictReader(one)), list(csv.DictReader(other))
    assert [{k: float(v) for k, v in row.items() if v} for row in ours] == [
        {k: float(v) for k, v in row.items() if v} for row in theirs
    ]


def test_the_seconds_of_all_lives_are_added(tmp_path, monkeypatch):
    path = tmp_path / "run"
    killed(path, ["checkpoint.every=1steps"], monkeypatch, BATCHES + 3)
    earlier = load(path / "checkpoints/last.ckpt")["callbacks"]["Record"]
    assert earlier["rows"] > 128 * (BATCHES + 1) and earlier["seconds"] > 0
    metrics = resume(path).metrics
    assert metrics["seconds"] > earlier["seconds"]
    rows = 3 * 1294  # of three epochs, whichever life trained on them
    assert metrics["samples_per_s"] * metrics["seconds"] == pytest.approx(rows, rel=0.01)
    timed = [json.loads(line) for line in (path / "timing.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in timed] == [0, 1, 2]
    assert sorted(row["seconds"] for row in timed) == [row["seconds"] for row in timed]


def test_best_weights_of_a_later_life_are_not_taken_for_earlier_ones(tmp_path, monkeypatch):
    """best.ckpt stems from after the checkpoint that is gone on from: what is best is found anew."""
    path = tmp_path / "run"
    killed(path, [], monkeypatch, 2 * BATCHES + 3)
    folder = path / "checkpoints"
    best = load(folder / "best.ckpt")
    AtomicIO().save_checkpoint({**best, "global_step": 10**6}, folder / "best.ckpt")
    metrics = resume(path, "optimizer.lr=1e-9", "resume_changed=[optimizer.lr]").metrics
    assert load(folder / "best.ckpt")["global_step"] < 10**6
    late = [row["val/loss"] for row in map(json.loads, rows(path).splitlines()[-9:]) if "val/loss" in row]
    assert metrics["val/loss"] == min(late)


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


def test_evaluation_on_data_of_an_allowed_package(finished, tmp_path, monkeypatch):
    (tmp_path / "own_digits.py").write_text("from dlcourse.data.images import Digits\nclass Mine(Digits):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["data=digits", "data._target_=own_digits.Mine"]
    with pytest.raises(Refused, match="may not run"):
        restore(finished, Overrides.parse(words))
    _, _, data = restore(finished, Overrides.parse([*words, "allow=[own_digits]"]))
    assert type(data).__name__ == "Mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.gradient_clip_val=null", "optimizer.lr=null"], "optimizer.lr=null would change"),
        (["~model.dropout"], "one value each"),
        (["trainer.max_epochs=9,10"], "one value each"),
        (["trainer.max_epochs=choice(9,10)"], "one value each"),
    ],
)
def test_no_word_is_dropped(stopped, words, said):
    with pytest.raises(Refused, match=said):
        resumed([f"resume={stopped}", *words])


def test_a_list_of_directories_is_no_run(stopped):
    with pytest.raises(Refused, match="of one run"):
        resumed([f"resume={stopped},{stopped}"])


def test_a_run_whose_words_are_lost_goes_on(stopped):
    (stopped / "overrides.yaml").unlink()
    resume(stopped)
    assert (stopped / "metrics.json").exists()


def test_a_checkpoint_of_another_model_touches_nothing(finished, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    train(checked([*WORDS, "model.hidden=[5]", "trainer.max_epochs=1", f"run_dir={tmp_path / 'other'}"]))
    before = (path / "metrics.json").read_text(), rows(path)
    shutil.copy(tmp_path / "other/checkpoints/last.ckpt", path / "checkpoints/last.ckpt")
    with pytest.raises(Refused, match=r"another model: .*\(5, 64\) there and \(16, 64\) here") as refusal:
        resume(path, "trainer.max_epochs=2")
    assert refusal.value.code == 4
    AtomicIO().save_checkpoint({"state_dict": {}}, path / "checkpoints/last.ckpt")
    with pytest.raises(Refused, match="no checkpoint of a run of ours: it has no optimizer_states") as refusal:
        resume(path, "trainer.max_epochs=2")
    assert refusal.value.code == 4
    assert before == ((path / "metrics.json").read_text(), rows(path))


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


def test_a_first_start_with_resume_auto_from_python_uses_no_wandb(tmp_path):
    import dlcourse

    words = ["data=moons", "trainer=cpu", "callbacks=none", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"]
    dlcourse.run(*words, "resume=auto")
    assert not (tmp_path / "run/wandb").exists()


def test_damaged_best_weights_are_told_and_found_anew(stopped, capsys):
    best = stopped / "checkpoints/best.ckpt"
    best.write_bytes(best.read_bytes()[:500])
    resume(stopped)
    assert "best.ckpt is damaged" in capsys.readouterr().err
    assert load(best)["global_step"] > BATCHES and (stopped / "metrics.json").exists()
