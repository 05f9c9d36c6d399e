"""Trials trained together end as each ends alone: weights, rows, figures, and what can be done with them after."""

import json
import signal

import pytest
import torch

from dlcourse.errors import Interrupted, Refused
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.files import read_rows
from dlcourse.runs.fit import train
from dlcourse.runs.trained import restore
from dlcourse.sweeps.compatibility import check
from dlcourse.sweeps.together import compose_trials, run_together
from dlcourse.sweeps.train_together import train_together
from dlcourse.sweeps.vectorized import VectorizedTraining, take
from dlcourse.sweeps.vectorized_checkpoint import CHECKPOINT
from dlcourse.sweeps.vectorized_trial import VectorizedTrial
from dlcourse.tasks.base import Batch
from tests.composing import checked, resumed

BASE = ["logger=none", "callbacks=none", "trainer=cpu", "report=false"]
#: About 200 steps each.
SMALL = ["model.hidden=[12]", "data.batch_size=48", "trainer.max_epochs=8"]
TINY_CNN = ["model=cnn", "model.channels=[3]", "model.hidden=[8]", "data.batch_size=128", "trainer.max_epochs=6"]
CASES = {
    "adam": [*SMALL],
    "sgd": [*SMALL, "optimizer=sgd"],
    "momentum clipped": [*SMALL, "optimizer=momentum", "trainer.gradient_clip_val=0.05"],
    "nesterov step": [*SMALL, "optimizer=nesterov", "scheduler=step", "scheduler.step_size=3"],
    "adagrad": [*SMALL, "optimizer=adagrad", "init=xavier"],
    "rmsprop one_cycle": [*SMALL, "optimizer=rmsprop", "scheduler=one_cycle"],
    "adamw cosine": [*SMALL, "optimizer=adamw", "scheduler=cosine", "model.norm=layer"],
    "cnn": [*TINY_CNN, "model.norm=null"],
    "cnn batch norm": [*TINY_CNN, "model.norm=batch"],
    "perceptron": ["model=perceptron", "data=blobs", "data.n_samples=60", "trainer.max_epochs=4"],
    "sigmoid neuron": ["model=sigmoid_neuron", "data=moons", "optimizer=sgd", "trainer.max_epochs=20"],
    "values": ["data=sine", "model.hidden=[8]", "trainer.max_epochs=12", "activation=tanh"],
    "full batch": [*SMALL[:1], "data.batch_size=full", "trainer.max_epochs=40"],
    "max_steps": [*SMALL[:2], "trainer.max_epochs=-1", "trainer.max_steps=70"],
    "loss": [*SMALL, "loss=mse", "activation=sigmoid"],
    "balanced": ["data=wine", "loss.class_weights=balanced", "model.hidden=[8]", "trainer.max_epochs=20"],
    "balanced labels": ["data=digits", "loss=bce", "loss.pos_weight=balanced", *SMALL],
    "autoencoder": ["model=autoencoder", *SMALL, "model.code=2"],
    "denoising": ["model=autoencoder", "task=denoising", *SMALL, "model.code=4"],
    "vae": ["model=vae", *SMALL, "model.code=4"],
    "contrastive": ["task=embedding", "task.turns=2", *SMALL],
    "arcface": ["task=embedding", "loss=arcface", *SMALL],
    "convolutional autoencoder": ["model=autoencoder", *SMALL, "model.code=8", "model.channels=[3]"],
}
VARIED = [["optimizer.lr=0.003", "seed=3"], ["optimizer.lr=0.02", "seed=3"], ["optimizer.lr=0.02", "seed=4"]]


def together(folder, words, varied=VARIED):
    jobs = [[*BASE, *words, *own, f"run_dir={folder / str(k)}"] for k, own in enumerate(varied)]
    folder.mkdir(exist_ok=True)
    train_together(compose_trials(jobs))
    return [folder / str(k) for k in range(len(varied))]


def alone(folder, words, own):
    return train(checked([*BASE, *words, *own, f"run_dir={folder}"]))


def metrics(path):
    return json.loads((path / "metrics.json").read_text())


def weights(path):
    return load(path / "checkpoints/best.ckpt")["state_dict"]


def assert_close_rows(one, two, rtol):
    one, two = read_rows(one / "metrics.jsonl"), read_rows(two / "metrics.jsonl")
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert list(a) == list(b) and (a["step"], a["epoch"]) == (b["step"], b["epoch"])
        assert list(a.values()) == pytest.approx(list(b.values()), rel=rtol, abs=1e-12)


QUICK = ("adam", "momentum clipped", "cnn batch norm", "perceptron", "sigmoid neuron", "denoising", "vae", "balanced")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_each_is_the_trial_run_alone(tmp_path, name):
    """In float64, to 1e-8 over some two hundred steps; the rows are float32's at least."""
    words = [*CASES[name], "trainer.precision=64-true"]
    paths = together(tmp_path / "s", words)
    for k in (0, 2):
        result = alone(tmp_path / f"alone{k}", words, VARIED[k])
        assert result.metrics["steps"] >= 36
        mine, theirs = weights(paths[k]), weights(result.run_dir)
        assert mine.keys() == theirs.keys()
        for name, w in theirs.items():
            assert mine[name].dtype == w.dtype and torch.allclose(mine[name], w, rtol=1e-8, atol=1e-10), name
        assert_close_rows(result.run_dir, paths[k], 1e-6)
        one, two = metrics(result.run_dir), metrics(paths[k])
        clock = ("seconds", "samples_per_s")
        assert list(one) == list(two)
        for key in one.keys() - clock:
            assert one[key] == pytest.approx(two[key], rel=1e-6), key


@pytest.mark.slow
def test_in_float32_the_accuracies_agree(tmp_path):
    """Within one row in 200, after 30 epochs of rounding apart, where the rate is not so high that all is chance."""
    words = ["model.hidden=[32]", "trainer.max_epochs=30"]
    varied = [["optimizer.lr=0.001", "seed=3"], ["optimizer.lr=0.003", "seed=3"], ["optimizer.lr=0.01", "seed=4"]]
    paths = together(tmp_path / "s", words, varied)
    for k, own in enumerate(varied):
        accuracy = alone(tmp_path / f"alone{k}", words, own).metrics["test/acc"]
        assert metrics(paths[k])["test/acc"] == pytest.approx(accuracy, abs=1 / 200)


@pytest.mark.slow
def test_dropout_is_each_trials_own(tmp_path):
    """Equal in distribution only: the masks differ from trial to trial, and learning goes on."""
    words = [*SMALL, "model.dropout=0.5", "trainer.max_epochs=20"]
    one, two, _ = together(tmp_path / "s", words, [["tags=[]"], ["seed=1"], ["seed=2"]])
    assert metrics(one)["test/acc"] > 0.85 and metrics(two)["test/acc"] > 0.85


def test_one_that_diverges_changes_nothing_for_the_others(tmp_path):
    words = [*SMALL, "optimizer=sgd", "trainer.precision=64-true"]
    varied = [["optimizer.lr=0.02"], ["optimizer.lr=1e200"], ["optimizer.lr=0.05"]]
    paths = together(tmp_path / "s", words, varied)
    status = [json.loads((path / "status.json").read_text()) for path in paths]
    assert [s["status"] for s in status] == ["finished", "failed", "finished"]
    with pytest.raises(Refused, match="diverged") as refusal:
        alone(tmp_path / "diverged", words, varied[1])
    assert status[1]["exit_code"] == refusal.value.code == 3
    assert status[1]["reason"].splitlines()[0] == str(refusal.value).splitlines()[0]
    assert not (paths[1] / "metrics.json").exists()
    result = alone(tmp_path / "alone", words, varied[2])
    assert all(torch.allclose(weights(paths[2])[k], w, rtol=1e-8) for k, w in weights(result.run_dir).items())


def test_each_stops_early_where_it_would_alone(tmp_path):
    words = [*SMALL, "callbacks=early_stopping", "callbacks.early_stopping.patience=2", "trainer.max_epochs=40"]
    words += ["callbacks.progress=null", "callbacks.summary=null", "trainer.precision=64-true"]
    varied = [["optimizer.lr=0.001"], ["optimizer.lr=0.05"], ["optimizer.lr=0.1"]]
    paths = together(tmp_path / "s", words, varied)
    epochs = [metrics(path)["epochs"] for path in paths]
    assert len(set(epochs)) > 1
    for k in (1, 2):
        result = alone(tmp_path / f"alone{k}", words, varied[k])
        assert result.metrics["epochs"] == epochs[k]
        assert_close_rows(result.run_dir, paths[k], 1e-6)


ENDS_EARLY = [
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=1",
    "callbacks.early_stopping.min_delta=0.05",
    "callbacks.progress=null",
    "callbacks.summary=null",
]


@pytest.mark.parametrize(
    "words",
    [SMALL, [*TINY_CNN, "model.dropout=0.3", "scheduler=cosine", "optimizer=momentum"], [*SMALL, *ENDS_EARLY]],
    ids=["mlp", "cnn", "some have ended"],
)
def test_what_was_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch, words):
    straight = together(tmp_path / "straight", words)

    def dying(self):
        if self.epoch == 4:
            raise KeyboardInterrupt
        epoch(self)
        self.save_at = 0  # a checkpoint after each epoch

    with monkeypatch.context() as patch:
        epoch = VectorizedTraining.train_epoch
        patch.setattr(VectorizedTraining, "train_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            together(tmp_path / "s", words)
    assert (tmp_path / "s" / CHECKPOINT.format(0)).exists() and not (tmp_path / "s/0").exists()
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(VectorizedTraining, "train_epoch", lambda self: (seen.append(self.epoch), epoch(self)))
        paths = together(tmp_path / "s", words)
    assert seen[0] == 4
    for one, two in zip(straight, paths, strict=True):
        assert (one / "metrics.jsonl").read_text() == (two / "metrics.jsonl").read_text()
        assert all(torch.equal(w, weights(two)[name]) for name, w in weights(one).items())
    assert not (tmp_path / "s" / CHECKPOINT.format(0)).exists()


@pytest.mark.parametrize(
    "words",
    [
        *([*SMALL, f"activation={name}"] for name in ("gelu", "prelu", "tanh")),
        *([*SMALL, f"loss={name}"] for name in ("mse", "huber")),
        *(["data=moons", "model.hidden=[4]", f"loss={name}"] for name in ("bce", "hinge")),
        [*SMALL, "model.norm=batch", "model.dropout=0.3"],
        [*TINY_CNN, "model.norm=batch"],
    ],
    ids=" ".join,
)
def test_the_shortened_record_gives_the_same_bits(tmp_path, monkeypatch, words):
    composed = compose_trials([[*BASE, *words, f"seed={k}", f"run_dir={tmp_path / str(k)}"] for k in range(2)])
    trees = check([each for each, _ in composed])

    def steps():
        one = VectorizedTraining([VectorizedTrial(*each, tree) for each, tree in zip(composed, trees, strict=True)])
        train, found = one.sets["train"], []
        torch.manual_seed(0)
        for rows in one.order()[:2]:
            x, y, index = (take(part, rows) for part in (train.x, train.y, train.index))
            batch = Batch(x, y, index, seed=one.seeds, epoch=torch.zeros_like(one.seeds))
            g, losses = one.stacked.step(batch)
            one.stacked.w.sub_(0.1 * g)
            found += [g, losses.loss, losses.output, *one.stacked.rest.values()]
        return [value.clone() for value in found]

    short = steps()
    monkeypatch.setattr("dlcourse.sweeps.stacked.simplified", lambda recorded: recorded)
    assert all(map(torch.equal, short, steps()))


def test_killed_while_the_directories_are_written(tmp_path, monkeypatch):
    """Those that are whole stay as they are; half of one is written anew."""
    publish = VectorizedTrial.publish

    def dying(self, *rest):
        if self.path.name == "1":
            self.path.mkdir()
            (self.path / "config.yaml").write_text("half")
            raise KeyboardInterrupt
        publish(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(VectorizedTrial, "publish", dying)
        with pytest.raises(KeyboardInterrupt):
            together(tmp_path / "s", SMALL)
    before = (tmp_path / "s/0/metrics.json").stat().st_mtime_ns
    monkeypatch.setattr(VectorizedTraining, "train_epoch", None)  # nothing is trained again
    jobs = [[*BASE, *SMALL, *VARIED[k], f"run_dir={tmp_path / 's' / str(k)}"] for k in (1, 2)]  # what a sweep asks for
    train_together(compose_trials(jobs))
    paths = [tmp_path / "s" / str(k) for k in range(3)]
    assert before == (paths[0] / "metrics.json").stat().st_mtime_ns
    assert [metrics(path)["epochs"] for path in paths] == [8, 8, 8]


def test_a_signal_ends_it_with_a_checkpoint(tmp_path, monkeypatch):
    epoch = VectorizedTraining.train_epoch

    def asked(self):
        if self.epoch == 2:
            signal.raise_signal(signal.SIGTERM)
        epoch(self)
        self.save_at = 0

    monkeypatch.setattr(VectorizedTraining, "train_epoch", asked)
    with pytest.raises(Interrupted) as stop:
        together(tmp_path / "s", SMALL)
    assert stop.value.code == 143
    assert load(tmp_path / "s" / CHECKPOINT.format(0))["epoch"] == 2


def test_a_trial_serves_as_any_run(tmp_path):
    paths = together(tmp_path / "s", [*SMALL, "logger=csv"])
    cfg, model, data = restore(paths[1])
    from dlcourse.runs.inference import test as evaluate

    again = evaluate(cfg, model, data)
    assert {key: metrics(paths[1])[key] for key in again} == pytest.approx(again, rel=1e-6)
    assert (paths[1] / "hparams.yaml").read_text() == "configuration: config.yaml\n"
    assert (paths[1] / "metrics.csv").exists() and (paths[1] / "environment.json").exists()
    with pytest.raises(Refused, match="no last.ckpt"):
        resumed([f"resume={paths[1]}", "trainer.max_epochs=99"])


@pytest.mark.parametrize(
    ("words", "varied", "said"),
    [
        ([], [["model.hidden=[8]"], ["model.hidden=[9]"]], "model.hidden"),
        ([], [["activation=relu"], ["activation=tanh"]], "activation"),
        ([], [["optimizer=sgd"], ["optimizer=adam"]], "optimizer"),
        ([], [["data.batch_size=32"], ["data.batch_size=64"]], "data.batch_size"),
        (["optimizer=lbfgs", "data=moons"], None, "LBFGS"),
        (["optimizer=muon"], None, "Muon"),
        (["scheduler=plateau"], None, "scheduler=plateau"),
        (["data.augment=shift"], None, "data.augment"),
        (["model=greedy_mlp"], None, "model.epochs_per_layer=4 is not vectorised"),
        (["trainer.accumulate_grad_batches=2"], None, "trainer.accumulate_grad_batches=2"),
        (["trainer.gradient_clip_algorithm=value"], None, "trainer.gradient_clip_algorithm=value"),
        (["trainer.precision=bf16-mixed"], None, "trainer.precision=bf16-mixed"),
        (["trainer.limit_train_batches=3"], None, "trainer.limit_train_batches=3"),
        (["trainer.max_time=00:01:00:00"], None, "trainer.max_time"),
        (["optimizer.amsgrad=true"], None, "optimizer.amsgrad"),
        (["compile=true"], None, "compile"),
        (["trainer=mps"], None, "trainer.accelerator=mps"),
        (["checkpoint.every=10s"], None, "checkpoint.every"),
        (["+callbacks.mine._target_=lightning.pytorch.callbacks.Timer"], None, "callbacks.mine"),
    ],
)
def test_what_cannot_be_done_together_is_refused_by_name(tmp_path, words, varied, said):
    with pytest.raises(Refused, match="hydra/launcher=processes") as refusal:
        together(tmp_path / "s", words, varied or VARIED[:2])
    assert said in str(refusal.value)


def test_a_trial_that_was_begun_by_itself_is_not_lost(tmp_path):
    last = tmp_path / "s/1/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    with pytest.raises(Refused, match="started on its own"):
        together(tmp_path / "s", SMALL)
    assert last.exists()


def test_compositions_are_those_of_the_gate(tmp_path):
    """Numbers put into one configuration make the same as composing each."""
    jobs = [[*BASE, *own, f"run_dir={tmp_path / str(k)}"] for k, own in enumerate(VARIED)]
    for (composed, path), words in zip(compose_trials(jobs), jobs, strict=True):
        known = checked(words)
        assert (
            composed.cfg == known.cfg
            and composed.tree == known.tree
            and composed.overrides.texts == words
            and str(path) == known.cfg.run_dir
        )


def test_one_that_is_refused_is_a_row_and_the_others_train(tmp_path):
    varied = [["optimizer.lr=-1", "seed=0"], ["optimizer.lr=0.01", "seed=0"], ["optimizer.lr=0.02", "seed=nan"]]
    paths = [tmp_path / str(k) for k in range(3)]
    jobs = [[*BASE, *SMALL, *own, f"run_dir={path}"] for own, path in zip(varied, paths, strict=True)]
    assert run_together(jobs) == 0
    told = [json.loads((path / "status.json").read_text()) for path in paths]
    assert [(each["status"], each["exit_code"]) for each in told] == [("failed", 2), ("finished", 0), ("failed", 2)]
    assert "optimizer.lr=-1" in told[0]["reason"] and "seed" in told[2]["reason"]
    assert 5e-324 * 1.0 > 0  # numbers as small as that are zero to the sweep only


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A folder of three trials that were stopped together after some epochs."""

    def dying(self):
        if self.epoch == 3:
            raise KeyboardInterrupt
        epoch(self)
        self.save_at = 0

    epoch = VectorizedTraining.train_epoch
    with monkeypatch.context() as patch:
        patch.setattr(VectorizedTraining, "train_epoch", dying)
        with pytest.raises(KeyboardInterrupt):
            together(tmp_path / "s", SMALL)
    return tmp_path / "s"


def test_shared_out_otherwise_than_before_nothing_is_trained_anew(stopped):
    jobs = [[*BASE, *SMALL, *own, f"run_dir={stopped / str(k)}"] for k, own in enumerate(VARIED[:2])]
    with pytest.raises(Refused, match=r"together_0\.ckpt.*sweep\.workers"):
        train_together(compose_trials(jobs))


def test_a_damaged_checkpoint_of_them_all_is_told_and_they_begin_again(stopped, capsys):
    path = stopped / CHECKPOINT.format(0)
    path.write_bytes(path.read_bytes()[:500])
    assert [metrics(each)["epochs"] for each in together(stopped, SMALL)] == [8, 8, 8]
    assert "together_0.ckpt is damaged" in capsys.readouterr().err
