"""Two processes on the CPU: one run directory, the mathematics of one process, test figures of every row once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlcourse.runs.files import read_rows
from tests.faults import process

ROOT = Path(__file__).parent.parent
# 18 rows are cut off for validation, which leaves a training set that two processes divide evenly.
WORDS = ["optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=2", "logger=none", "callbacks=none", "seed=3"]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=16"]


def train(launcher: list[str], *words: str) -> str:
    done = subprocess.run([*launcher, "train.py", *WORDS, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("one") / "run"
    done = process.start(ROOT / "train.py", [*WORDS, "data.batch_size=32", f"run_dir={run}"], cwd=ROOT).end()
    assert done.code == 0, done.err
    return run


@pytest.mark.parametrize(
    "launcher", [[sys.executable], pytest.param([sys.executable, *TORCHRUN], marks=pytest.mark.slow)]
)
def test_two_processes_equal_one(one: Path, tmp_path: Path, launcher: list[str]) -> None:
    run = tmp_path / "run"
    out = train(launcher, *TWO, f"run_dir={run}")
    assert out.count("run: ") == 1, "only the first process speaks"
    for name, weight in weights(one).items():
        torch.testing.assert_close(weights(run)[name], weight, rtol=1e-5, atol=1e-6)
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (run, one))
    assert ours["test/acc"] == theirs["test/acc"] and ours["steps"] == theirs["steps"]
    assert ours["test/loss"] == pytest.approx(theirs["test/loss"], rel=1e-5)


def test_evaluation_counts_each_row_once_on_any_number_of_processes(one: Path, tmp_path: Path) -> None:
    """359 test rows on two processes: as many right as on one, with the same weights."""
    frozen = ["optimizer.lr=1e-30", f"init_from={one}", "trainer.max_epochs=1"]
    words = [*WORDS, *TWO, *frozen, f"run_dir={tmp_path / 'run'}"]
    done = process.start(ROOT / "train.py", words, cwd=ROOT).end()
    assert done.code == 0, done.err
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (tmp_path / "run", one))
    assert ours["test/acc"] == theirs["test/acc"]
    assert ours["test/loss"] == pytest.approx(theirs["test/loss"], rel=1e-6)


def one_is_told(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGTERM)
    return 143


def both_are_told(process: subprocess.Popen) -> int:
    """Ctrl-C: a terminal sends it to every process of the command."""
    os.killpg(process.pid, signal.SIGINT)
    return 130


#: train.py, but the report takes longer than Lightning looks on before it kills what another process has left behind.
LATE = """
import sys, time
from dlcourse import cli, report

build = report.build_report

def late(*known):
    time.sleep(6)
    return build(*known)

report.build_report = late
sys.exit(cli.guarded(cli.train))
"""


@pytest.mark.slow
@pytest.mark.parametrize("strike", [one_is_told, both_are_told])
def test_a_signal_stops_both_processes_and_a_resume_ends_the_same(
    tmp_path: Path, strike: Callable[[subprocess.Popen], int]
) -> None:
    words = [*WORDS, *TWO, "trainer.max_epochs=12", "trainer.log_every_n_steps=5", "model.dropout=0.3"]
    straight, run = tmp_path / "straight", tmp_path / "run"
    train([sys.executable], *words, f"run_dir={straight}")
    (tmp_path / "late.py").write_text(LATE)
    command = [sys.executable, str(tmp_path / "late.py"), *words, f"run_dir={run}"]
    both = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    while not any(row["step"] >= 60 for row in read_rows(run / "metrics.jsonl")):
        assert both.poll() is None
        time.sleep(0.01)
    code = strike(both)
    assert both.wait(60) == code
    assert not (run / "metrics.json").exists(), "it was stopped before its end"
    done = subprocess.run([sys.executable, "train.py", f"resume={run}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()
    for name, weight in weights(straight).items():
        assert torch.equal(weights(run)[name], weight), name


@pytest.mark.slow
def test_few_labels_weigh_the_same_on_two_processes(tmp_path: Path) -> None:
    """Each process has other numbers of labelled rows in its batches."""
    for name, words in {"one": ["trainer=cpu", "data.batch_size=32"], "two": TWO}.items():
        train([sys.executable], *words, "data.labelled=300", f"run_dir={tmp_path / name}")
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-6)
