"""Runs to begin with: one that nothing stopped, a finished one, one that was killed."""

import pytest
import torch

from dlcourse.runs.fit import train
from tests import stopping
from tests.composing import checked
from tests.stopping import BATCHES, WORDS, killed


@pytest.fixture(scope="module", autouse=True)
def bare():
    """No report: its page has tests of its own, and is no part of what is compared here."""
    import dlcourse.report.page

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dlcourse.report.page, "build_report", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """``straight(words)``: the directory of the run that nothing stopped; one for each set of words."""
    made = {}

    def get(words):
        key = tuple(words)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("straight") / "run"
            train(checked([*stopping.WORDS, *words, f"run_dir={made[key]}"]))
        return made[key]

    return get


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run of one epoch."""
    path = tmp_path_factory.mktemp("finished") / "run"
    train(checked([*WORDS, "trainer.max_epochs=1", f"run_dir={path}"]))
    return path


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The directory of a run that was killed in its second epoch."""
    killed(tmp_path / "run", [], monkeypatch, BATCHES + 3)
    return tmp_path / "run"
