"""The command, as a stranger uses it: a new Python where its start matters, forked from one that has torch where a
process of its own does, and else its main function in this one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import dlcourse
from dlcourse import Refused
from dlcourse.cli import guarded, parse_script_overrides, train
from dlcourse.errors import ENVIRONMENT, explain
from dlcourse.runs.files import read_rows
from tests.faults import process

ROOT = Path(__file__).parents[1]
SMALL = ["data=and", "model=mlp", "logger=none", "callbacks=none", "trainer.max_epochs=3"]
BROKEN = """
from dlcourse.models.mlp import MLP

class Broken(MLP):
    def forward(self, x):
        if {when}:
            raise {error}  # the user's own line
        return super().forward(x)
"""


def start(*words, cwd=ROOT, **env):
    environment = {**os.environ, **env}
    command = [sys.executable, str(ROOT / "train.py") if cwd != ROOT else "train.py", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=-1, stderr=-1, text=True)


def ended(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def command(*words, **env):
    """``python train.py WORDS``: exit code, stdout, stderr."""
    return ended(start(*words, **env))


def forked(*words, cwd=ROOT, **env):
    """The same, without the seconds in which torch is imported."""
    done = process.start(ROOT / "train.py", words, cwd=cwd, **env).end()
    return done.code, done.out, done.err


@pytest.fixture
def light(tmp_path):
    """The same where torch and lightning cannot be imported: what comes out came before them."""
    for name in ("torch", "lightning"):
        (tmp_path / "poison" / name).mkdir(parents=True)
        (tmp_path / "poison" / name / "__init__.py").write_text(f"raise SystemError('{name} was imported')\n")
    return lambda *words, **env: command(*words, PYTHONPATH=str(tmp_path / "poison"), **env)


@pytest.fixture
def here(monkeypatch, capfd, runs):
    """The same in this process, which has torch: for what needs no process of its own."""

    def call(*words):
        place = [] if any(str(word).startswith("resume=") for word in words) else [f"paths.runs_dir={runs}"]
        monkeypatch.setattr(sys, "argv", ["train.py", *place, *map(str, words)])
        capfd.readouterr()
        return guarded(train), *capfd.readouterr()

    return call


def refused(ended, *said, code=2):
    rc, _, err = ended
    assert rc == code, err
    assert 1 <= len(err.splitlines()) <= 3, err
    for part in said:
        assert part in err


def only(folder):
    """The one run directory below a folder."""
    (found,) = folder.rglob("config.yaml")
    return found.parent


def read(path):
    return json.loads(path.read_text("utf-8"))


# Refused before torch is imported


def test_the_poison_works(light):
    rc, _, err = light(*SMALL)
    assert rc == 1 and "was imported" in err


@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["one", "multirun"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizr=adam", "did you mean optimizer?"),
        ("model=ccn", "did you mean cnn?"),
        ("optimizer.learning_rate=1", "optimizer.lr"),
        ("+foo=1", "foo"),
    ],
)
def test_a_typo_is_two_and_three_lines_before_torch_is_imported(light, word, said, multirun):
    ended = light(word, *multirun)
    refused(ended, said)
    assert ended[1] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optimizer.lr=-1", "optimizer.lr=-1"),
        ("data=sine loss=perceptron", "try loss=mse"),
        ("model._target_=torch.load", "torch.load may not run"),
        ("model=cnn,mlp", "-m"),
        ("--cfg job model=ccn", "did you mean cnn?"),
        ("--help modle=cnn", "did you mean model?"),
        ("--config-dir /tmp", "allow=[config_dir]"),
        ("--config-name x", "--config-name"),
        ("--experimental-rerun x.pickle", "--experimental-rerun"),
        ("--nonsense", "--help"),
        ("resume=/nowhere", "/nowhere"),
        ("-m seed=1,2 run_dir=x", "sweep_dir"),
        ("-m seed=1,2 --cfg job", "leave -m out"),
    ],
)
def test_so_is_all_that_can_be_judged_by_the_words(light, words, said):
    refused(light(*words.split()), said)


def test_a_scripts_value_without_its_word_is_told_the_words():
    with pytest.raises(Refused, match="runs/x: expected key=value. There are: run=, input="):
        parse_script_overrides(["runs/x"], "run", "input")
    with pytest.raises(Refused, match=r"^'a\\nb\\nc': expected key=value. There are: run=, data=$"):
        parse_script_overrides(["a\nb\nc"], "run", groups=("data",))


@pytest.mark.parametrize(
    "words",
    [
        ["hydra/hydra_logging=default", "+hydra.hydra_logging.handlers.x.class=sideeffect.X"],
        ["+hydra.callbacks.x._target_=sideeffect.X"],
        ["+hydra.sweeper.x._target_=sideeffect.X", "seed=1,2"],
        ["model._target_=sideeffect.X"],
    ],
    ids=["logging", "callbacks", "sweeper", "model"],
)
def test_no_flag_of_hydra_leads_around_the_gate(tmp_path, words):
    (tmp_path / "sideeffect.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef X(*a, **k): pass\n")
    flags = [["--help"], ["--hydra-help"], ["-m"], ["--cfg", "all"], ["-sc", "query=bash"]]
    line = f"python train.py {' '.join(words)} model="
    env = {"PYTHONPATH": str(tmp_path), "COMP_LINE": line, "COMP_POINT": str(len(line))}
    started = {" ".join(flag): start(*flag, *words, **env) for flag in flags}
    codes = {flag: ended(one)[0] for flag, one in started.items()}
    assert not (tmp_path / "ran").exists()
    assert codes["-m"] == codes["--cfg all"] == 2


# Hydra's own flags


def test_help_lists_the_groups_without_torch(light):
    rc, out, err = light("--help")
    assert (rc, err) == (0, "")
    for group in (
        "model: alexnet, autoencoder, cnn, detector, efficientnet_lite, greedy_mlp, latent_diffusion, lenet5, mlp, own",
        "optimizer: ",
        "debug: ",
        "resume",
        "max_epochs",
    ):
        assert group in out or group == "max_epochs"


def test_the_configuration_is_shown_without_torch(light):
    rc, out, err = light("model=cnn", "optimizer=adamw", "--cfg", "job", "--resolve")
    assert (rc, err) == (0, "")
    shown = yaml.safe_load(out)
    assert shown["model"]["_target_"] == "dlcourse.models.cnn.CNN" and shown["model"]["shape"] == [1, 8, 8]
    assert shown["model"]["optimizer"]["_target_"] == "torch.optim.AdamW" and "hydra" not in shown


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("model=", {"model=cnn", "model=mlp", "model=perceptron"}),
        ("optimizer=ada", {"optimizer=adam", "optimizer=adamw", "optimizer=adagrad", "optimizer=adadelta"}),
        ("optimizer.l", {"optimizer.lr="}),
        ("model=cnn model.dr", {"model.dropout="}),
    ],
)
def test_completion(light, line, offered):
    line = f"python train.py {line}"
    rc, out, err = light("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert (rc, err) == (0, "") and offered <= set(out.split())


# A run


def test_a_run_and_the_same_run_from_python(runs):
    running = start(*SMALL, f"paths.runs_dir={runs}")
    result = dlcourse.run(*SMALL, f"paths.runs_dir={runs.with_name('python')}")
    rc, out, err = ended(running)
    assert rc == 0, err
    run = only(runs)
    assert [line.split(": ")[0] for line in out.splitlines()[-2:]] == ["run", "report"]
    assert str(run) in out.splitlines()[-2] and "test/acc" in out
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "metrics.jsonl",
        "metrics.json",
        "status.json",
    }
    assert names >= {"report.html", "timing.jsonl"}
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"last.ckpt", "best.ckpt"}
    assert read(run / "status.json") == {"status": "finished", "exit_code": 0, "reason": None}
    assert yaml.safe_load((run / "overrides.yaml").read_text()) == [*SMALL, f"paths.runs_dir={runs}"]

    assert result.run_dir == only(runs.with_name("python"))
    assert result.history == read_rows(run / "metrics.jsonl") and len(result.history) >= 7
    timed = {"seconds", "samples_per_s"}
    other = read(run / "metrics.json")
    assert {k: v for k, v in result.metrics.items() if k not in timed}.items() <= other.items()
    assert result.metrics["epochs"] == 3 and 0 <= result.metrics["test/acc"] <= 1
    assert type(result.model).__name__ == "MLP" and result.data.name == "and"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("model=ccn", 2),
        ("data=sine loss=hinge", 2),
        ("+model.foo=1", 2),
        ("trainer=ddp", 2),
        ("trainer.strategy=ddp", 2),
        ("trainer.devices=2 trainer.accelerator=cpu", 2),
        ("trainer.num_nodes=2", 2),
        ("sweep=digits_grid", 2),
        ("optimizer=sgd optimizer.lr=1e30", 3),
        ("paths.runs_dir=/dev/null/x", 5),
    ],
)
def test_from_python_refusals_have_a_code(runs, words, code):
    with pytest.raises(Refused) as refusal:
        dlcourse.run(f"paths.runs_dir={runs}", "callbacks=none", "trainer.limit_train_batches=3", *words.split())
    assert refusal.value.code == code
    assert not list(runs.rglob("metrics.json"))


def test_from_python_a_run_is_resumed_not_started_again(runs):
    first = dlcourse.run(*SMALL, f"paths.runs_dir={runs}")
    with pytest.raises(Refused, match="is finished"):
        dlcourse.run(f"resume={first.run_dir}")
    longer = dlcourse.run(f"resume={first.run_dir}", "trainer.max_epochs=5")
    assert longer.run_dir == first.run_dir and longer.metrics["epochs"] == 5
    assert longer.history[: len(first.history) - 1] == first.history[:-1]


# Refused after torch is imported


@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["one", "multirun"])
def test_an_unknown_argument_is_told_by_name(multirun, here):
    ended = here("+model.foo=1", "logger=none", *multirun)
    refused(ended, "foo")
    assert "hidden" in ended[2] or multirun, "what it takes instead"


def test_an_unknown_argument_writes_no_run_directory(here, runs):
    refused(here("++model.hiden=[3]"), "did you mean hidden?")
    assert not runs.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["monitor=val/foo"],
        ["optimizer.lr=[0.1]"],
        ["model.hidden=3"],
        ["tags=3"],
        ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/foo"],
        ["++callbacks.x=3"],
        ["model.optimizer=null"],
        ["data._target_=dlcourse.models.mlp.MLP"],
        ["trainer.precision=17"],
        ["trainer.max_time=soon"],
        ["trainer.strategy=foo"],
        ["trainer.profiler=foo"],
        ["model.norm=foo"],
        ["data.shape=[3]"],
    ],
    ids=" ".join,
)
def test_values_that_only_their_owners_can_judge(here, words, runs):
    refused(here(*SMALL, *words))
    assert not any(read_rows(path) for path in runs.rglob("metrics.jsonl")), "refused before the first epoch"


def test_the_run_directory_is_new(here, tmp_path):
    assert here(*SMALL, f"run_dir={tmp_path / 'mine'}")[0] == 0
    figures = (tmp_path / "mine" / "metrics.json").read_bytes()
    refused(here(*SMALL, f"run_dir={tmp_path / 'mine'}"), "holds a run already", f"resume={tmp_path / 'mine'}")
    assert (tmp_path / "mine" / "metrics.json").read_bytes() == figures
    assert read(tmp_path / "mine" / "status.json")["status"] == "finished", "the refusal is not the first run's"


def test_where_nothing_can_be_written_it_says_so(here, runs):
    runs.write_text("a file")
    refused(here(*SMALL), str(runs), code=5)


@pytest.mark.parametrize(("trainer", "there"), [("gpu", "torch.cuda"), ("mps", "torch.backends.mps")])
def test_a_device_that_is_not_there(here, trainer, there):
    import torch

    if {"gpu": torch.cuda, "mps": torch.backends.mps}[trainer].is_available():
        pytest.skip(f"{there} is here")
    refused(here(*SMALL, f"trainer={trainer}"), f"trainer.accelerator={trainer}", "This machine has: cpu", code=5)


@pytest.mark.parametrize("words", [["data=diabetes", "optimizer.lr=1e30"], ["data=digits", "optimizer.lr=1e30"]])
def test_a_run_that_diverges_stops_and_says_where(here, runs, words):
    rc, _, err = here("optimizer=sgd", "logger=none", "callbacks=none", *words)
    assert rc == 3
    what, where, way_out = err.splitlines()[-3:]
    assert what.startswith("diverged: ") and "at step" in what and "1e+30" in what
    assert where.startswith("recomputed: ") and "network." in where and way_out == "Try a lower optimizer.lr"
    status = read(only(runs) / "status.json")
    assert (status["status"], status["exit_code"]) == ("failed", 3) and "diverged" in status["reason"]
    assert not (only(runs) / "metrics.json").exists() and (only(runs) / "report.html").exists()


# The user's own code


@pytest.mark.parametrize(
    "error", ["ValueError('mine')", "KeyError('mine')", "RuntimeError('mine')", "TypeError('mine')"]
)
def test_an_error_in_ones_own_forward_is_a_traceback(here, monkeypatch, tmp_path, error):
    name = f"own_{error.split('(')[0].lower()}"
    (tmp_path / f"{name}.py").write_text(BROKEN.format(when="True", error=error))
    monkeypatch.syspath_prepend(tmp_path)
    rc, _, err = here(*SMALL, f"allow=[{name}]", f"++model._target_={name}.Broken")
    assert rc == 1
    assert "Traceback" in err and f"raise {error}  # the user's own line" in err


def test_an_error_in_training_leaves_its_traceback_behind(tmp_path, runs):
    (tmp_path / "mynets.py").write_text(
        BROKEN.format(when="self.training and self._trainer", error="ValueError('mine')")
    )
    words = [*SMALL, "allow=[mynets]", "++model._target_=mynets.Broken", f"paths.runs_dir={runs}"]
    rc, _, err = forked(*words, PYTHONPATH=str(tmp_path))
    assert rc == 1
    run = only(runs)
    for text in (err, (run / "error.txt").read_text()):
        assert "Traceback" in text and "the user's own line" in text and str(tmp_path / "mynets.py") in text
    status = read(run / "status.json")
    assert (status["status"], status["exit_code"]) == ("failed", 1) and "mine" in status["reason"]
    assert not (run / "metrics.json").exists()
    assert "allow: []" in (run / "config.yaml").read_text(), "what is allowed is said each time"


def test_where_a_refusal_came_from_is_told_when_asked(here):
    rc, _, err = here("model=ccn", "debug.traceback=true")
    assert rc == 2 and "Traceback" in err and "did you mean cnn?" in err.splitlines()[-2]


# Interrupt and resume


def test_a_terminated_run_is_continued(runs, here):
    words = ["data=digits", "model.hidden=[8]", "logger=none", "callbacks=none", "trainer.max_epochs=40"]
    words += ["trainer.limit_train_batches=20", "trainer.limit_val_batches=1", f"paths.runs_dir={runs}"]
    running = process.start(ROOT / "train.py", words, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not any(read_rows(path) for path in runs.rglob("metrics.jsonl")):
        assert running.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.process.pid, signal.SIGTERM)
    done = running.end()
    assert done.code == 143 and len(done.err.splitlines()) <= 3, done.err
    run = only(runs)
    status = read(run / "status.json")
    assert (status["status"], status["exit_code"]) == ("interrupted", 143)
    assert not (run / "metrics.json").exists() and (run / "checkpoints" / "last.ckpt").exists()
    before = read_rows(run / "metrics.jsonl")
    assert before[-1]["epoch"] < 39, "it was stopped on its way"

    refused(here(f"resume={run}", "optimizer.lr=0.5"), "optimizer.lr", "resume_changed=[optimizer.lr]")
    rc, out, _ = forked(f"resume={run}")
    assert rc == 0 and str(run) in out
    assert read(run / "status.json")["status"] == "finished" and read(run / "metrics.json")["epochs"] == 40
    rows = read_rows(run / "metrics.jsonl")
    assert rows[: len(before)] == before, "what was repeated came out the same"
    epochs = [row["epoch"] for row in rows if "val/loss" in row]
    assert epochs == list(range(40)), "every epoch once"


def test_a_finished_run_goes_on_only_for_longer(here, light, tmp_path):
    run = tmp_path / "mine"
    assert here(*SMALL, f"run_dir={run}")[0] == 0
    first = read_rows(run / "metrics.jsonl")
    refused(light(f"resume={run}"), "is finished", "trainer.max_epochs")
    refused(light(f"resume={run}", "model=cnn"), "init_from=")
    refused(light(f"resume={run}", "trainer.max_epoch=5"), "trainer.max_epoch")
    for shorter in ("trainer.max_epochs=2", "trainer.max_epochs=3"):
        rc, _, err = here(f"resume={run}", shorter)
        assert rc == 2, f"{shorter} is no longer than 3: {err}"
        assert (run / "metrics.json").exists(), "what was finished stays so"
    rc, out, _ = forked(f"resume={run}", "trainer.max_epochs=5")
    assert rc == 0 and read(run / "metrics.json")["epochs"] == 5
    rows = read_rows(run / "metrics.jsonl")
    fit = [row for row in rows if "val/loss" in row]
    assert fit[:3] == [row for row in first if "val/loss" in row]
    assert [row["epoch"] for row in fit] == [0, 1, 2, 3, 4]


def test_resume_auto_starts_and_then_continues(here, tmp_path):
    words = [*SMALL, f"run_dir={tmp_path / 'mine'}", "resume=auto"]
    assert here(*words)[0] == 0
    refused(here(*words), "is finished")


# Multirun


def test_a_multirun_makes_a_directory_a_trial(tmp_path):
    words = ["-m", "data=and,sine", "model=perceptron", "loss=perceptron", "trainer.max_epochs=3", "logger=none"]
    rc, out, err = forked(*words, "callbacks=none", cwd=tmp_path)
    assert rc == 0, err
    (folder,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"], "nothing else is left behind"
    done, failed = read_rows(folder / "sweep.jsonl")
    assert (
        done["status"] == "finished"
        and "test/acc" in done
        and read(folder / done["run"] / "status.json")["exit_code"] == 0
    )
    assert (failed["status"], failed["exit_code"]) == ("failed", 2) and "try loss=mse" in failed["reason"]
    assert "data=and" in done["words"] and "data=sine" in failed["words"]
    assert (
        "finished" in out
        and "failed" in out
        and f"sweep: {folder.relative_to(tmp_path)}" in out
        and "try loss=mse" in err
    )
    # the same command finds what is done
    before = (folder / "0000" / "metrics.jsonl").stat().st_mtime_ns
    rc, _, _ = forked(*words, "callbacks=none", cwd=tmp_path)
    assert rc == 0 and (folder / "0000" / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_multirun_where_every_trial_is_refused(light, tmp_path):
    words = ["-m", "data=sine", "loss=perceptron,hinge", f"sweep_dir='{tmp_path / 'my sweep'}'", "logger=none"]
    rc, _, err = light(*words)
    assert rc == 2 and len(err.splitlines()) <= 3 and "try loss=mse" in err
    assert {path.name for path in tmp_path.iterdir()} <= {"poison", "my sweep"}


def test_where_slurm_is_installed_nothing_is_said_of_srun(tmp_path):
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = [*SMALL, "data=sine", f"paths.runs_dir={tmp_path / 'runs'}"]
    rc, out, err = forked(*words, PATH=path)
    assert rc == 0 and "srun" not in out + err, err
    refused(forked(*words, "optimizer.lr=1e30", PATH=path), "diverged", code=3)


def test_a_key_without_its_group_is_found_inside(tmp_path):
    rc, _, err = ended(start("lr=0.1", cwd=tmp_path))
    assert rc == 2 and "did you mean optimizer.lr?" in err and len(err.splitlines()) <= 3


def test_memory_that_runs_out_is_of_the_environment():
    """Python's own error too, and the one that another was raised from."""
    error = RuntimeError("in a worker")
    error.__cause__ = MemoryError()
    for each in (MemoryError(), error):
        assert (found := explain(each)) is not None
        assert found.code == ENVIRONMENT and "halve data.batch_size" in str(found)
    assert explain(RuntimeError("of another kind")) is None
