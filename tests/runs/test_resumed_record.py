"""What a resumed run writes goes on where its files were: figures, seconds, the best so far."""

import csv
import json

import pytest

from dlcourse.runs.checkpoint_file import AtomicIO, load
from dlcourse.runs.checkpoints import Checkpoints
from tests.stopping import BATCHES, killed, resume, rows


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
