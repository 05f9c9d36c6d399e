"""Sweeps as commands: real processes, killed at random moments, and nothing lost that had finished."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlcourse.runs.files import read_rows
from tests.faults import process

ROOT = Path(__file__).parents[2]
LIGHT = ["logger=none", "callbacks=none"]
FAULTY = """
import os, signal
from dlcourse.models.mlp import MLP

class Faulty(MLP):
    def training_step(self, batch, batch_idx):
        # A marker beside the run tells the second attempt from the first.
        if self.global_step == 30 and (fault := os.environ.get("FAULT")):
            if self.optimizer_factory.keywords["lr"] == 0.002:
                raise RuntimeError("the user's own line")
            if self.optimizer_factory.keywords["lr"] == 0.003:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.optimizer_factory.keywords["lr"] == 0.004:
                return super().training_step(batch, batch_idx) * float("nan")
        return super().training_step(batch, batch_idx)
"""


def start(*words, cwd, **env):
    """``python train.py WORDS``, for what is killed or listened to on its way."""
    command = [sys.executable, str(ROOT / "train.py"), *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **env}, stdout=-1, stderr=-1, text=True, start_new_session=True
    )


def train(*words, cwd, **env):
    """The same, forked from a process that has torch: its exit code and what it printed."""
    done = process.start(ROOT / "train.py", words, cwd=cwd, **env).end(300)
    return done.code, done.out, done.err


def rows(folder):
    return {row["trial"]: row for row in read_rows(folder / "sweep.jsonl")}


def figures(path):
    return (path / "metrics.jsonl").read_text()


def test_two_at_a_time_leave_what_each_leaves_alone(tmp_path):
    words = [*LIGHT, "data=moons", "trainer.max_epochs=3", "seed=0,1", "optimizer.lr=0.01,0.02"]
    place = "sweep_dir='a folder (of mine)'"
    code, out, err = train("-m", *words, "sweep.workers=2", place, cwd=tmp_path)
    assert code == 0, err
    folder = tmp_path / "a folder (of mine)"
    found = rows(folder)
    assert [found[k]["status"] for k in range(4)] == ["finished"] * 4
    assert "seed=1 optimizer.lr=0.02" in out and "moons" not in out  # what all trials share is not told each time
    alone, _, err = train(*found[3]["words"], "run_dir=alone", cwd=tmp_path)
    assert alone == 0, err
    assert figures(tmp_path / "alone") == figures(folder / "0003")
    assert not (folder / "0003/report.html").exists()
    code, _, err = train("-m", *words, "sweep.workers=1", place, cwd=tmp_path)
    assert code == 0 and rows(folder) == found, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=interval(0.1,0.2)"], "sampler=tpe"),
        (["seed=0,1", "run_dir=x"], "set sweep_dir="),
        (["seed=0,1", "sweep.metric=test/acc"], "a test set selects nothing"),
        (["seed=0,1", "sweep.mode=[min,max]"], "one of min or max"),
        (["seed=0,1", "sweep.retry=all"], "expected failed"),
        (["seed=0,1", "sampler=tpee"], "did you mean tpe?"),
        (["seed=0,1", "hydra/launcher=joblib"], "There are: processes"),
        (["data=moons", "sampler=tpe"], "nothing to search for"),
    ],
)
def test_words_that_no_sweep_can_follow(tmp_path, words, said):
    code, _, err = train("-m", *words, cwd=tmp_path)
    assert code == 2 and said in err and len(err.splitlines()) <= 3 and "Traceback" not in err


@pytest.mark.slow
def test_F6_one_raises_one_is_killed_one_diverges(tmp_path):
    """F6: the others finish, and the table shows three failures; a second start continues what was killed."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    words = ["-m", *LIGHT, "++model._target_=faulty.Faulty", "allow=[faulty]", "trainer.max_epochs=2"]
    words += [
        "optimizer.lr=0.001,0.002,0.003,0.004,0.005",
        "checkpoint.every=10steps",
        "sweep.workers=2",
        "sweep_dir=s",
    ]
    home = {"cwd": tmp_path, "PYTHONPATH": str(tmp_path)}
    code, out, err = train(*words, **home, FAULT="yes")
    folder = tmp_path / "s"
    found = rows(folder)
    assert code == 0, err
    assert [found[k]["status"] for k in range(5)] == ["finished", "failed", "killed", "failed", "finished"]
    assert [found[k]["exit_code"] for k in range(5)] == [0, 1, 137, 3, 0]
    assert "the user's own line" in found[1]["reason"] and "diverged" in found[3]["reason"]
    assert all(reason in err for reason in ("the user's own line", "killed by SIGKILL", "diverged"))
    assert "RuntimeError" in (folder / "0001.log").read_text()
    before = {k: figures(folder / f"{k:04d}") for k in (0, 1, 3, 4)}
    code, out, err = train(*words, **home)
    assert code == 0, err
    found = rows(folder)
    assert [found[k]["status"] for k in range(5)] == ["finished", "failed", "finished", "failed", "finished"]
    assert before == {k: figures(folder / f"{k:04d}") for k in (0, 1, 3, 4)}
    code, out, err = train(*words, "sweep.retry=failed", **home)
    assert code == 0, err
    assert {row["status"] for row in rows(folder).values()} == {"finished"}
    # what was killed, raised or diverged went on to where it would have come to without that
    clean = [word for word in words if not word.startswith("sweep_dir")]
    assert train(*clean, "sweep_dir=clean", **home)[0] == 0
    for k in range(5):
        assert figures(folder / f"{k:04d}") == figures(tmp_path / f"clean/{k:04d}")


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_kill_the_sweep_at_any_moment(tmp_path, attempt):
    """SIGKILL of the sweep: its workers end with their state saved; the same command does the rest."""
    words = [*LIGHT, "trainer.max_epochs=12", "checkpoint.every=15steps", "seed=0,1,2,3", "sweep.workers=2"]
    process = start("-m", *words, "sweep_dir=s", cwd=tmp_path)
    folder = tmp_path / "s"
    while not list(folder.glob("*/metrics.jsonl")):
        time.sleep(0.05)
    time.sleep(random.Random(attempt).uniform(0, 4))
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/metrics.json")}
    code, _, err = train("-m", *words, "sweep_dir=s", cwd=tmp_path)
    for _ in range(20):  # a worker of the first life may still be saving its state
        if code == 0 and {row["status"] for row in rows(folder).values()} == {"finished"}:
            break
        time.sleep(1)
        code, _, err = train("-m", *words, "sweep_dir=s", cwd=tmp_path)
    assert code == 0, err
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())
    assert train("-m", *words, "sweep_dir=clean", cwd=tmp_path)[0] == 0
    for k in range(4):
        assert figures(folder / f"{k:04d}") == figures(tmp_path / f"clean/{k:04d}")


@pytest.mark.slow
def test_a_signal_stops_all_with_their_state(tmp_path):
    words = ["-m", *LIGHT, "trainer.max_epochs=500", "seed=0,1", "sweep.workers=2", "sweep_dir=s"]
    process = start(*words, cwd=tmp_path)
    while len(list((tmp_path / "s").glob("*/metrics.jsonl"))) < 2:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    for k in range(2):
        status = json.loads((tmp_path / f"s/{k:04d}/status.json").read_text())
        assert (status["status"], status["exit_code"]) == ("interrupted", 143)
        assert (tmp_path / f"s/{k:04d}/checkpoints/last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["*.log", "together_*.ckpt"])
def test_a_signal_stops_trials_that_train_together(tmp_path, seen):
    """Before they train, too: they are gone on with, and end as if nothing had been."""
    words = ["-m", *LIGHT, "trainer.max_epochs=40", "optimizer.lr=0.001,0.01", "seed=0,1", "sweep.workers=2"]
    words += ["hydra/launcher=vectorized"]
    process = start(*words, "sweep_dir=s", cwd=tmp_path)
    while not list((tmp_path / "s").glob(seen)):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    begun = {"interrupted", "finished"} if seen == "together_*.ckpt" else {"interrupted", "waiting"}
    assert {row["status"] for row in rows(tmp_path / "s").values()} <= begun
    assert train(*words, "sweep_dir=s", cwd=tmp_path)[0] == 0
    assert train(*words, "sweep_dir=clean", cwd=tmp_path)[0] == 0
    for k in range(4):
        assert figures(tmp_path / f"s/{k:04d}") == figures(tmp_path / f"clean/{k:04d}")


@pytest.mark.slow
@pytest.mark.parametrize("send", [os.kill, os.killpg])  # as a terminal does: to the whole group, the server too
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.0, 1.0, 2.5])
def test_a_signal_before_the_first_trial_has_begun(tmp_path, send, signum, after):
    words = ["-m", *LIGHT, "trainer.max_epochs=500", "seed=0,1", "sweep.workers=2", "sweep_dir=s"]
    process = start(*words, cwd=tmp_path)
    while not (tmp_path / "s").exists():
        time.sleep(0.01)
    time.sleep(after)
    send(process.pid, signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (128 + signum, -signum) and "Traceback" not in err, err


@pytest.mark.slow
def test_a_grid_of_three_with_two_processes_each(tmp_path):
    words = ["-m", *LIGHT, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2"]
    code, _, err = train(*words, "seed=0,1,2", "sweep_dir=s", cwd=tmp_path)
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "s").iterdir() if path.is_dir()) == ["0000", "0001", "0002"]
    assert {row["status"] for row in rows(tmp_path / "s").values()} == {"finished"}
