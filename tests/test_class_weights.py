"""With class weights the logged loss is Σ w C / Σ w over all rows, however they are cut into batches and processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dlcourse

ROOT = Path(__file__).parent.parent
WEIGHTS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
WORDS = [f"loss.class_weights={WEIGHTS}".replace(" ", ""), "trainer.max_epochs=1", "logger=none", "callbacks=none"]
WORDS += ["report=false"]


def weighted(model, rows) -> tuple[float, float]:
    """−Σ w_y log p_y / Σ w_y over all rows in float64, and the mean of the same over batches of 32."""
    with torch.inference_mode():
        cost = -model(rows.x).double().log_softmax(1)[torch.arange(len(rows)), rows.y]
    w = torch.tensor(WEIGHTS, dtype=torch.float64)[rows.y]
    batches = [(some_w * some).sum() / some_w.sum() for some_w, some in zip(w.split(32), cost.split(32), strict=True)]
    return float((w * cost).sum() / w.sum()), float(torch.stack(batches).mean())


def test_over_batches(tmp_path: Path) -> None:
    done = dlcourse.run(*WORDS, f"run_dir={tmp_path / 'run'}")
    for stage in ("val", "test"):
        exact, of_batches = weighted(done.model, done.data.sets[stage])
        assert done.metrics[f"{stage}/loss"] == pytest.approx(exact, rel=1e-6)
        assert abs(of_batches - exact) > 1e-4 * exact, "a mean of batches' means is another figure"


@pytest.mark.slow
def test_over_two_processes(tmp_path: Path) -> None:
    """Each process sees other classes in each batch; the figure is that of all rows."""
    words = [*WORDS, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    from dlcourse.config.overrides import Overrides
    from dlcourse.runs.trained import restore

    _, model, data = restore(tmp_path / "run", Overrides())
    if not data.sets:
        data.setup("test")
    exact, _ = weighted(model, data.sets["test"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test/loss"] == pytest.approx(exact, rel=1e-6)
