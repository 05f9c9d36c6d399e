"""With class weights the logged loss is Σ w C / Σ w over all rows, however they are cut into batches and processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dlcourse
from dlcourse.runs.checkpoint_file import load
from dlcourse.runs.trained import restore
from tests.composing import checked
from tests.refusing import refusal

ROOT = Path(__file__).parent.parent
WEIGHTS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
WORDS = [f"loss.class_weights={WEIGHTS}".replace(" ", ""), "trainer.max_epochs=1", "logger=none", "callbacks=none"]
WORDS += ["report=false"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


def weighted(model, rows, weights=WEIGHTS) -> tuple[float, float]:
    """−Σ w_y log p_y / Σ w_y over all rows in float64, and the mean of the same over batches of 32."""
    with torch.inference_mode():
        cost = -model(rows.x).double().log_softmax(1)[torch.arange(len(rows)), rows.y]
    w = torch.tensor(weights, dtype=torch.float64)[rows.y]
    batches = [(some_w * some).sum() / some_w.sum() for some_w, some in zip(w.split(32), cost.split(32), strict=True)]
    return float((w * cost).sum() / w.sum()), float(torch.stack(batches).mean())


def test_over_batches(tmp_path: Path) -> None:
    done = dlcourse.run(*WORDS, f"run_dir={tmp_path / 'run'}")
    for stage in ("val", "test"):
        exact, of_batches = weighted(done.model, done.data.sets[stage])
        assert done.metrics[f"{stage}/loss"] == pytest.approx(exact, rel=1e-6)
        assert abs(of_batches - exact) > 1e-4 * exact, "a mean of batches' means is another figure"


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], ["loss.class_weights=balanced"]], ids=["numbers", "balanced"])
def test_over_two_processes(tmp_path: Path, given: list[str]) -> None:
    """Each process sees other classes in each batch; the figure is that of all rows."""
    words = [*WORDS, *given, *TWO, f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, model, data = restore(tmp_path / "run")
    if not data.sets:
        data.setup("test")
    exact, _ = weighted(model, data.sets["test"], model.loss.weights(torch.zeros(1, 10, dtype=torch.float64)).tolist())
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test/loss"] == pytest.approx(exact, rel=1e-6)


TABLE = ["data=table", "data.target=kind", "model.hidden=[4]", *WORDS[1:]]


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with 160 rows of one class, 30 of another and 10 of a third."""
    rng = torch.Generator().manual_seed(0)
    kinds = ["a"] * 160 + ["b"] * 30 + ["c"] * 10
    x = torch.randn(len(kinds), 2, generator=rng).tolist()
    path = tmp_path_factory.mktemp("rare") / "rare.csv"
    path.write_text("u,v,kind\n" + "".join(f"{u},{v},{kind}\n" for (u, v), kind in zip(x, kinds, strict=True)))
    return path


def test_balanced_weights_are_of_the_training_rows_and_go_with_the_run(rare: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = dlcourse.run(*TABLE, f"data.path={rare}", "loss.class_weights=balanced", f"run_dir={run}")
    n = torch.bincount(done.data.sets["train"].y)
    assert load(run / "checkpoints/best.ckpt")["state_dict"]["loss.counts"].tolist() == [
        (n.sum() - n).tolist(),
        n.tolist(),
    ]
    balanced = (n.sum() / (3 * n.double())).tolist()
    exact, _ = weighted(done.model, done.data.sets["test"], balanced)
    assert done.metrics["test/loss"] == pytest.approx(exact, rel=1e-6)
    _, model, _ = restore(run)  # which sees no training row
    assert model.loss.weights(torch.zeros(1, 3, dtype=torch.float64)).tolist() == pytest.approx(balanced)
    started = dlcourse.run(*TABLE, f"data.path={rare}", f"init_from={run}", f"run_dir={tmp_path / 'plain'}")
    assert "loss.counts" not in started.model.state_dict()
    words = [f"init_from={tmp_path / 'plain'}", "loss.class_weights=balanced", "data.train_samples=50"]
    again = dlcourse.run(*TABLE, f"data.path={rare}", *words, f"run_dir={tmp_path / 'again'}")
    assert int(again.model.loss.counts[:, 0].sum()) == 50


def test_a_class_without_training_rows_is_named(tmp_path: Path, capsys) -> None:
    kinds = [*"aaab" * 40, *"c" * 10]
    (tmp_path / "late.csv").write_text(
        "day,u,kind\n" + "".join(f"{k},{k % 7},{kind}\n" for k, kind in enumerate(kinds))
    )
    words = [f"data.path={tmp_path / 'late.csv'}", "data.time=day", "loss.class_weights=balanced"]
    done = dlcourse.run(*TABLE, *words, f"run_dir={tmp_path / 'run'}")
    said = "loss.class_weights=balanced: no training row is of class c, and its weight is 0"
    assert capsys.readouterr().out.count(said) == 1
    assert done.model.loss.weights(torch.zeros(1, 3)).tolist() == pytest.approx([2 / 3, 2, 0], rel=0.05)


def test_pixels_are_counted(tmp_path: Path) -> None:
    words = ["data=scene_masks", "model=unet", "model.channels=[2]", "data.n_samples=40", "data.n_test_samples=10"]
    done = dlcourse.run(*words, "loss.class_weights=balanced", *WORDS[1:], f"run_dir={tmp_path / 'run'}")
    masks = done.data.sets["train"].y.long()
    assert done.model.loss.counts[1].tolist() == torch.bincount(masks.flatten(), minlength=done.data.outputs).tolist()


def test_what_cannot_be_counted_or_is_no_word_is_refused() -> None:
    assert "loss.class_weights=even: expected a number" in refusal(checked, ["loss.class_weights=even"])
    words = ["model=autoencoder", "loss=bce", "loss.pos_weight=balanced"]
    assert "loss.pos_weight=balanced counts zeros and ones, and task=reconstruction has" in refusal(checked, words)
    assert checked([*words[:2], "loss.pos_weight=2"]).tree["loss"]["pos_weight"] == 2
