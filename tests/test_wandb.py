"""W&B offline, read back by its own tool; and a server that is not there."""

import json
import os
import socket
from pathlib import Path

from dlcourse.runs.wandb_logger import _server_answers
from tests.faults.environment import recorded
from tests.faults.process import start

ROOT = Path(__file__).parent.parent
WORDS = ["data=and", "model=sigmoid_neuron", "trainer.max_epochs=12", "callbacks=none"]


def train(*words: str, **environment: str) -> str:
    unset = {name: None for name in os.environ if name.startswith("WANDB_")}
    done = start(ROOT / "train.py", words, cwd=ROOT, **unset | environment).end()
    assert done.code == 0, done.err
    return done.err


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.wandb"), key=lambda path: path.parent.name)


def test_a_multirun_of_three_is_three_finished_runs(tmp_path: Path) -> None:
    train("-m", *WORDS, "seed=0,1,2", f"sweep_dir={tmp_path}")
    found = files(tmp_path)
    assert len(found) == 3 and len({path.stem for path in found}) == 3
    for seed, path in enumerate(sorted(found, key=lambda path: path.parents[2].name)):
        assert [row["exit_code"] for row in recorded(path, "exit")] == [0]
        config = recorded(path, "config")[0]["update"]
        assert config["choice"]["model"] == "sigmoid_neuron" and config["seed"] == seed
        rows = [row["item"] for row in recorded(path, "history")]
        run = path.parents[2]
        told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [row["val/loss"] for row in rows if "val/loss" in row] == [
            row["val/loss"] for row in told if "val/loss" in row
        ]
        assert [row["trainer/global_step"] for row in rows if "test/loss" in row] == [12]


def test_a_resume_goes_on_under_its_id_and_sends_no_row_twice(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(*WORDS, f"run_dir={run}")
    train(f"resume={run}", "trainer.max_epochs=20")
    first, second = files(run)
    assert first.stem == second.stem
    steps = [
        row["item"]["trainer/global_step"]
        for path in (first, second)
        for row in recorded(path, "history")
        if "val/loss" in row["item"]
    ]
    assert steps == list(range(1, 21))


def test_diagnostics_bring_a_histogram_of_each_hidden_layers_activations(tmp_path: Path) -> None:
    train(
        "data=moons", "model.hidden=[8,4]", "trainer.max_epochs=2", "callbacks=diagnostics", f"run_dir={tmp_path}/run"
    )
    rows = [row["item"] for row in recorded(*files(tmp_path), "history")]
    found = {layer: [row for row in rows if f"activations/{layer}.values" in row] for layer in (1, 2)}
    for layer, width in ((1, 8), (2, 4)):
        steps = [row["trainer/global_step"] for row in found[layer]]
        assert steps[0] == 0 and len(steps) == len(set(steps)) == 3  # before training, and after each epoch
        counts = [sum(row[f"activations/{layer}.values"]) for row in found[layer]]
        assert len(set(counts)) == 1 and counts[0] % width == 0 and counts[0] > 0


def test_a_key_without_a_server_costs_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    nowhere = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    assert "server does not answer: this run is recorded offline" in train(*WORDS, f"run_dir={run}", **nowhere)
    (file,) = files(run)
    assert file.parent.name.startswith("offline-run-")
    assert [row["exit_code"] for row in recorded(file, "exit")] == [0]
    assert "0" * 40 not in "".join(path.read_text(errors="replace") for path in run.rglob("*") if path.is_file())


def test_a_server_that_accepts_and_says_nothing_is_none() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not _server_answers(f"http://127.0.0.1:{server.getsockname()[1]}")
