"""The bookkeeping of the benchmarks: measurements come from the processes that ran, ratios from the same round."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks.measure import Contestant, Failed, Row, measure, python, ratio, spread, table
from scripts.benchmarks.rows import PEERS, ROWS, Plan

ROOT = Path(__file__).parents[2]


def speaker(name: str, value: str, **rest) -> Contestant:
    return Contestant(name, python("-c", f"print('{{\"x\": {value}}}')"), lambda s: {"x": s.reported["x"]}, **rest)


def quiet(line: str) -> None:
    pass


def test_measurements_are_those_that_the_processes_report():
    told: list[str] = []
    row = Row([speaker("a", "{seed}.5"), speaker("b", "2")], 3, {"a / b": ("x", "a", "b")}, notes=["a note"])
    result = measure("test", row, told.append)
    assert [each["x"] for each in result["measurements"]["a"]] == [0.5, 1.5, 2.5]
    assert ratio(result, "x", "a", "b") == [0.25, 0.75, 1.25]
    assert [line.split("  ")[1][:1] for line in told] == ["a", "b"] * 3  # in turn
    shown = table(json.loads(json.dumps(result)))
    assert "1.5 (0.5 – 2.5)" in shown and "0.75 (0.25 – 1.25)" in shown and "- a note" in shown


def test_time_and_memory_are_the_operating_systems():
    code = "import time; x = bytearray(200 * 2**20); time.sleep(0.3); print('{}')"
    contestant = Contestant("a", python("-c", code), lambda s: {"s": s.seconds, "MiB": s.megabytes, "cpu": s.cpu})
    (measurements,) = measure("test", Row([contestant], 1), quiet)["measurements"]["a"]
    assert (
        0.3 < measurements["s"] < 10 and measurements["MiB"] > 200 and 0 < measurements["cpu"] < measurements["s"] + 1
    )


def test_a_process_that_fails_is_no_figure():
    with pytest.raises(Failed, match="ended with 3, not 0"):
        measure("test", Row([Contestant("a", python("-c", "raise SystemExit(3)"), lambda s: {})], 1), quiet)


def test_who_cannot_take_part_is_named_with_the_way_in():
    result = measure("test", Row([speaker("a", "1"), speaker("b", "2", needs=["no_such_package"])], 1), quiet)
    assert list(result["measurements"]) == ["a"] and "pip install -e '.[bench]'" in result["skipped"]["b"]
    assert "no_such_package" in table(result)


def test_spread():
    assert spread([3, 1, 2]) == "2 (1 – 3)" and spread([2]) == "2" and spread([]) == ""


def test_a_peers_time_is_that_of_the_epoch_that_reaches_the_bound():
    """The bound is the lower of 0.99 and the median of its last accuracies."""
    row = ROWS["time_to_accuracy"](Plan(None, PEERS, False, True, Path("data")))
    reported = [
        {"began": 100.0, "epochs": [{"time": 110.0, "test/acc": 0.97}, {"time": 120.0, "test/acc": a}]}
        for a in (0.98, 0.985, 0.989)
    ]
    measurements = {"keras": [{"test/acc": each["epochs"][-1]["test/acc"]} for each in reported]}
    row.add_derived(measurements, {"keras": reported})  # type: ignore[misc]
    assert [each["seconds"] for each in measurements["keras"]] == [20.0, 20.0, 20.0]
    reported[0]["epochs"][0]["test/acc"] = 0.985
    row.add_derived(measurements, {"keras": reported})  # type: ignore[misc]
    assert [each["seconds"] for each in measurements["keras"]] == [10.0, 20.0, 20.0]
    assert [each["epochs"] for each in measurements["keras"]] == [1, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_each_benchmark_runs_on_a_small_size(name: str, tmp_path: Path):
    """Inference compiles, which takes a while."""
    if not (Path(os.environ.get("DLCOURSE_DATA_DIR", ROOT / "data")) / "MNIST/raw").is_dir():
        pytest.skip("no MNIST/raw in the data directory")
    kept = tmp_path / "result.json"
    command = [sys.executable, "scripts/benchmark.py", name, "--small", "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(kept.read_text())
    for contestant, rounds in result["measurements"].items():
        assert len(rounds) == 1 and rounds[0], contestant
        # A share computed from a speed-up may fall below zero by chance; what was measured may not.
        assert all(value > 0 for key, value in rounds[0].items() if key != "serial share"), (contestant, rounds)
    again = subprocess.run([*command[:2], "--show", str(kept)], cwd=ROOT, capture_output=True, text=True)
    assert again.stdout.strip() and again.stdout.strip() in done.stdout
