"""The benchmark of a GPU: its sections are listed, and one that fails or hangs costs only its own row."""

import sys
import time
from pathlib import Path

import pytest

from scripts.benchmark import benchmark, gpu
from scripts.benchmarks.measure import python

ROOT = Path(__file__).parents[2]


def test_the_command_line_lists_the_sections(capsys):
    with pytest.raises(SystemExit) as end:
        benchmark(["--help"])
    assert end.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "gpu: on a CUDA device" in told and ", ".join(gpu.SECTIONS) in told
    page = (ROOT / "scripts/benchmarks/README.md").read_text("utf-8").partition("## On a GPU")[2]
    for name, section in gpu.SECTIONS.items():
        assert f"`{name}`" in page and section.title and section.limit < gpu.WHOLE < 360


def test_what_a_section_says_is_its_row():
    done = gpu.outcome(python("-c", 'print(\'a line\'); print(\'{"a run": {"seconds": 1.5, "result": "same"}}\')'), 60)
    assert done.found == {"a run": {"seconds": 1.5, "result": "same"}} and not done.failure


@pytest.mark.parametrize(
    ("code", "limit", "reported"),
    [
        ("raise ValueError('no such kernel')", 60, "ended with 1: ValueError: no such kernel"),
        ("print('nothing to read')", 60, "ended with 0: nothing to read"),
        ("import time; time.sleep(60)", 0.5, "still running"),
        ("", 0, "no time left"),
    ],
)
def test_why_there_is_no_measurement(code, limit, reported):
    assert reported in gpu.outcome(python("-c", code), limit).failure


def test_what_a_section_has_started_ends_with_it(tmp_path):
    """A hanging section's processes would hold the device."""
    late = tmp_path / "late"
    inner = f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(late)!r}).touch()"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {inner!r}]).wait()"
    assert "still running" in gpu.outcome(python("-c", code), 0.7).failure
    time.sleep(1.5)
    assert not late.exists()


def test_one_failed_section_is_a_row_and_exit_code_1(monkeypatch, tmp_path, capsys):
    ends = {"mnist": gpu.Outcome(2.0, {"dlcourse": {"test/acc": 0.991}}), "bf16": gpu.Outcome(1.0, failure="no memory")}
    monkeypatch.setattr(gpu, "SECTIONS", {name: gpu.SECTIONS[name] for name in ends})
    monkeypatch.setattr(gpu, "outcome", lambda command, limit: ends[command[-2]])
    monkeypatch.setattr(sys, "argv", ["benchmark.py"])
    assert benchmark(["gpu", "--small", "--json", str(tmp_path / "kept.json")]) == 1
    shown = capsys.readouterr().out
    assert "dry run on the CPU" in shown and "FAILED: no memory" in shown and "test/acc 0.991" in shown
    assert benchmark(["--show", str(tmp_path / "kept.json")]) == 0
    assert capsys.readouterr().out.strip() in shown
    del ends["bf16"], gpu.SECTIONS["bf16"]
    assert benchmark(["gpu", "--small", "--json", str(tmp_path / "kept.json")]) == 0
