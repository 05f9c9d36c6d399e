"""Launchers beyond plain processes: vectorised in several, submitit's local executor, a local Ray, W&B's agent."""

import json
from pathlib import Path

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from test_processes import FAULTY, LIGHT, figures, rows, train

from dlcourse.config.overrides import number_or_text
from dlcourse.sweeps.hydra_plugins.dlcourse.sweeps import combinations
from tests.composing import checked

ROOT = Path(__file__).parents[2]
SHORT = [*LIGHT, "data=moons", "trainer.max_epochs=3"]


def test_combinations_are_those_of_hydra():
    words = ["data=moons,circles", "model.hidden=[4],[8,8]", "+model.name='a b',c", "seed=range(0,6,2)", "~callbacks"]
    words += ["optimizer.lr=choice(0.1,1e-3)", "x=1", "seed=3,1", "y=sort(3,1,2)", "z={a:1},{b:2}", "v=null,''"]
    parsed = OverridesParser.create().parse_overrides(words)
    found = list(combinations(parsed))
    assert found == BasicSweeper.split_arguments(parsed, None)[0]
    assert len(found) == 2**7 * 3 and "seed=1" in found[-1]
    assert list(combinations([])) == [[]]


@pytest.mark.slow
def test_together_in_two_processes_is_each_alone(tmp_path):
    words = ["-m", *SHORT, "optimizer.lr=0.01,0.02", "seed=0,1", "hydra/launcher=vectorized", "sweep.workers=2"]
    code, _, err = train(*words, "sweep_dir=s", cwd=tmp_path)
    assert code == 0, err
    found = rows(tmp_path / "s")
    assert [found[k]["status"] for k in range(4)] == ["finished"] * 4
    assert not list((tmp_path / "s").glob("*.ckpt")) and (tmp_path / "s/report.html").exists()
    assert train(*found[2]["words"], "run_dir=alone", cwd=tmp_path)[0] == 0
    mine, alone = (
        json.loads((path / "metrics.json").read_text()) for path in (tmp_path / "s/0002", tmp_path / "alone")
    )
    assert mine["test/acc"] == alone["test/acc"]
    assert mine["val/loss"] == pytest.approx(alone["val/loss"], rel=1e-3)


@pytest.mark.slow
def test_what_cannot_be_vectorised_is_refused_and_may_be_run_otherwise(tmp_path):
    words = ["-m", *SHORT, "model.hidden=[4],[8]", "sweep_dir=s"]
    code, _, err = train(*words, "hydra/launcher=vectorized", cwd=tmp_path)
    assert code == 2 and "model.hidden" in err and "hydra/launcher=processes" in err and len(err.splitlines()) <= 3
    code, _, err = train(*words, cwd=tmp_path)
    assert code == 0 and {row["status"] for row in rows(tmp_path / "s").values()} == {"finished"}, err


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_beyond_one_machine(tmp_path, launcher):
    """Two trials, one of which is refused: a row, and the same figures as alone."""
    words = ["-m", *SHORT, "optimizer.lr=0.01,-1", f"hydra/launcher={launcher}"]
    code, _, err = train(*words, "sweep_dir=s", cwd=tmp_path)
    assert code == 0, err
    found = rows(tmp_path / "s")
    assert [found[k]["status"] for k in range(2)] == ["finished", "failed"] and "optimizer.lr=-1" in found[1]["reason"]
    assert train(*found[0]["words"], "run_dir=alone", cwd=tmp_path)[0] == 0
    assert figures(tmp_path / "alone") == figures(tmp_path / "s/0000")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_a_killed_job_is_a_row(tmp_path, launcher):
    """And the same command goes on with it."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    words = ["-m", *LIGHT, "++model._target_=faulty.Faulty", "allow=[faulty]", "trainer.max_epochs=2", "sweep_dir=s"]
    words += ["optimizer.lr=0.001,0.003", "checkpoint.every=10steps", f"hydra/launcher={launcher}"]
    home = {"cwd": tmp_path, "PYTHONPATH": str(tmp_path)}
    code, _, err = train(*words, **home, FAULT="yes")
    assert code == 0, err
    assert [row["status"] for row in rows(tmp_path / "s").values()] == ["finished", "killed"]
    code, _, err = train(*words, **home)
    assert code == 0 and {row["status"] for row in rows(tmp_path / "s").values()} == {"finished"}, err


@pytest.mark.slow
def test_a_search_with_a_pruner_vectorised(tmp_path):
    words = ["-m", *SHORT, "sampler=random", "pruner=halving", "optimizer.lr=tag(log,interval(1e-5,1e-1))"]
    words += ["sweep.n_trials=8", "hydra/launcher=vectorized", "hydra.launcher.batch=8", "trainer.max_epochs=9"]
    code, _, err = train(*words, "sweep_dir=s", cwd=tmp_path)
    assert code == 0, err
    status = [row["status"] for row in rows(tmp_path / "s").values()]
    assert len(status) == 8 and set(status) == {"finished", "pruned"}


def test_the_words_of_wandbs_agent_are_words_of_ours():
    """As the agent of W&B makes its command line of the sweep file, for both ends of each parameter."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load((ROOT / "scripts" / "wandb_sweep.yaml").read_text())
    assert (ROOT / sweep["program"]).exists()

    def choices(node):
        return [node["value"]] if "value" in node else node.get("values") or [node["min"], node["max"]]

    for end in (0, -1):
        ends = {name: {"value": choices(node)[end]} for name, node in sweep["parameters"].items()}
        assert "${args_no_hyphens}" in create_sweep_command(list(sweep["command"]))
        words = create_sweep_command_args({"args": ends})["args_no_hyphens"]
        cfg = checked(words).cfg
        assert cfg.trainer.max_epochs == 20 and cfg.optimizer.lr == number_or_text(str(ends["optimizer.lr"]["value"]))
        assert all(isinstance(width, int) for width in cfg.model.hidden)
    assert sweep["metric"] == {"name": checked([]).cfg.monitor, "goal": "minimize"}
