"""The plain command, killed from outside at any instant: what is continued ends to the bit as what was never killed.

The rows of metrics.jsonl, all weights and the state of the optimizer; with shuffling, dropout, augmentation, schedule.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.subjects import digest

ROOT = Path(__file__).parents[2]
WORDS = [
    "model=cnn",
    "model.dropout=0.3",
    "data.augment=shift",
    "scheduler=one_cycle",
    "checkpoint.every=7steps",
    "trainer.max_epochs=12",
    "trainer.log_every_n_steps=5",
    "logger=none",
    "callbacks=none",
]


def start(*words: str) -> subprocess.Popen:
    command = [sys.executable, "train.py", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def steps(run: Path) -> int:
    """How far the rows of a run reach; a last one may be half written."""
    path = run / "metrics.jsonl"
    rows = path.read_text().splitlines()[:-1] if path.exists() else []
    return json.loads(rows[-1])["step"] if rows else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never killed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(start(*WORDS, f"run_dir={run}"))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 50, 170, 333])
def test_a1_to_a7_a_killed_run_is_continued_to_the_bit(whole: Path, tmp_path: Path, after: int) -> None:
    run = tmp_path / "run"
    process = start(*WORDS, f"run_dir={run}")
    while steps(run) < after:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "metrics.json").exists(), "it was killed before its end"
    finish(start(f"resume={run}"))
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert digest(run / "checkpoints/last.ckpt") == digest(whole / "checkpoints/last.ckpt")
