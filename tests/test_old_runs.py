"""Run directories that earlier code wrote: every command answers as that code did, to the last bit on the same CPU."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.runs.directory import load_checked
from tests.old_runs.record import FINISHED, HERE, QUESTIONS, RUNS, command, lay_out, machine, table

#: What the code of then printed and wrote; the heading of its table was "figure".
EXPECTED = json.loads((HERE / "expected.json").read_text("utf-8").replace("figure  ", "metric  "))
SLOW = ("export", "init_from")  # but for digits
CLOSE = 1e-5  # how far a number may lie from the stored one on another CPU, relative to it
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")

asked = [
    pytest.param(run, question, marks=[pytest.mark.slow] * (question in SLOW and run != "digits"))
    for question in QUESTIONS
    for run in FINISHED
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """``here(run, …)``: stand in a new folder with copies of these runs and of the data that they read."""
    monkeypatch.chdir(tmp_path)
    return lambda *runs: lay_out(tmp_path, *runs)


def assert_same(found, expected, place):
    """Equal; on another CPU numbers may differ by ``CLOSE``, printed ones by one in their last digit as well."""
    if machine() == EXPECTED["machine"]:
        assert found == expected, place
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key, value in expected.items():
            if key != "weights":  # are stored as hashes
                assert_same(found[key], value, f"{place}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for k, value in enumerate(expected):
            assert_same(found[k], value, f"{place}/{k}")
    elif isinstance(expected, str):
        assert NUMBER.split(found) == NUMBER.split(expected), place
        for ours, theirs in zip(NUMBER.findall(found), NUMBER.findall(expected), strict=True):
            last = 1.01 * 10.0 ** -len(theirs.partition(".")[2].partition("e")[0])
            assert parsed(ours) == pytest.approx(parsed(theirs), rel=CLOSE, abs=last), place
    else:
        assert found == pytest.approx(expected, rel=CLOSE, abs=1e-6), place


def parsed(printed):
    return float(printed.replace(",", ""))


@pytest.mark.parametrize(("run", "question"), asked)
def test_an_old_run_answers_as_before(here, run, question):
    """evaluate: the test metrics. predict: a line a row. export: what the ONNX file computes. report: the results on
    the page. init_from: the rows and weights of an epoch more."""
    if question == "export":
        for package in ("onnxruntime", "onnxscript"):
            pytest.importorskip(package, reason=f"{package} is not installed (pip install -e '.[export]')")
    here(run)
    assert_same(QUESTIONS[question](run), EXPECTED[run][question], f"{run}/{question}")


def test_old_runs_are_listed_as_before(here):
    """The unfinished one too, as killed; nothing is computed, so this is equal everywhere."""
    here(*RUNS)
    assert table() == EXPECTED["table"]


@pytest.mark.parametrize(
    "tree",
    [
        {"choice": {"data": "digits", "loss": "mse"}, "data": {"task": "classes"}},
        {"choice": {}, "data": {"task": "classes"}, "loss": {}},
        {"choice": {"data": "digits", "loss": "mse"}, "data": {"task": ["a"]}, "loss": {}},
        {"choice": {"data": "digits"}, "data": 3},
    ],
)
def test_half_an_old_configuration_is_refused(tmp_path, tree):
    OmegaConf.save(OmegaConf.create(tree), tmp_path / "config.yaml")
    said = "is not the configuration of a run" if isinstance(tree["data"], dict) else "expected a mapping"
    with pytest.raises(Refused, match=said):
        load_checked(tmp_path, Overrides())


def test_unfinished_is_refused(here, capfd):
    """Its weights can be used; to continue it exactly takes the code that began it, which is named."""
    here("unfinished")
    run = Path("runs", "unfinished")
    commit = json.loads((run / "environment.json").read_text("utf-8"))["git"]["commit"]
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    code, _ = command("train.py", f"resume={run}")
    assert code == 2
    assert commit[:7] in capfd.readouterr().err
    after = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != ".lock"}
    assert after == before
