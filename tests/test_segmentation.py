"""Segmentation against torchmetrics and by hand: rows are pixels, whatever the batches, weights and processes (L7)."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchmetrics import JaccardIndex
from torchmetrics.segmentation import MeanIoU

from dlcourse import run
from dlcourse.cross_entropies import CrossEntropy
from dlcourse.errors import Refused
from dlcourse.metrics import HELD_OUTPUTS, Metrics
from dlcourse.runs.building import build
from dlcourse.runs.export import export_onnx
from dlcourse.runs.fit import train
from dlcourse.sweeps.together import compose_trials
from dlcourse.sweeps.train_together import train_together
from dlcourse.tasks.base import Batch
from dlcourse.tasks.predictions import forward_batches
from scripts.predict import predict
from tests import objects
from tests.composing import checked
from tests.scene_parts import BOXES, MASKS


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    words = [*MASKS, "data.n_samples=100", "trainer.max_epochs=1", "optimizer.lr=0.02", "callbacks=none"]
    words += ["+metrics.jaccard._target_=torchmetrics.JaccardIndex", "+metrics.jaccard.task=multiclass"]
    words += ["+metrics.jaccard.num_classes=11", "+metrics.jaccard.mode=max"]
    return run(*words, f"run_dir={tmp_path_factory.mktemp('masks') / 'run'}")


def figures(task, z, y, sizes):
    """The task's metrics from batches of these sizes."""
    metrics, loss = Metrics(task, lambda output: output), CrossEntropy()
    for a, b in zip(z.split(sizes), y.split(sizes), strict=True):
        metrics.update(*loss(a.flatten(0, -2), b.flatten()), a, b)
    return {name: float(value) for name, value in metrics.compute().items()}


def test_iou_is_torchmetrics_whatever_the_batches():
    """Of all samples together; a class that is nowhere is left out."""
    torch.manual_seed(0)
    task = objects.task("segmentation", 5, shape=[1, 6, 7])
    y = torch.randint(0, 4, (23, 6, 7))
    z = torch.randn(23, 6, 7, 5) + 2 * F.one_hot(y, 5)
    z[..., 4] = -50  # neither true nor predicted
    one, other = figures(task, z, y, [23]), figures(task, z, y, [1, 7, 2, 12, 1])
    assert one.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-6) and one == other
    mask = z.argmax(-1)
    assert one["iou"] == pytest.approx(float(JaccardIndex("multiclass", num_classes=5)(mask, y)), rel=1e-6)
    assert one["acc"] == pytest.approx(float((mask == y).float().mean()))
    for k in range(4):
        both, either = ((mask == k) & (y == k)).sum(), ((mask == k) | (y == k)).sum()
        assert one[f"iou/{k + 1}"] == pytest.approx(float(both / either)), k
    assert "iou/5" not in one
    each = MeanIoU(num_classes=5, per_class=True, input_format="index")
    whole = each(mask.flatten()[None, None], y.flatten()[None, None])  # all samples as one picture
    assert [one[f"iou/{k}"] for k in range(1, 5)] == pytest.approx(whole[:4].tolist(), rel=1e-6)


def test_a_weight_of_a_sample_is_that_of_its_pixels():
    data, model = build(checked(MASKS).tree)
    torch.manual_seed(0)
    x, y = torch.rand(3, 1, 32, 32) * 255, torch.randint(0, 11, (3, 32, 32), dtype=torch.uint8)
    weight = torch.tensor([1.0, 0.0, 2.5])
    model.eval()
    found = model.loss_of(Batch(x, y, torch.arange(3), weight))
    with torch.no_grad():
        costs = F.cross_entropy(model(x).permute(0, 3, 1, 2), y.long(), reduction="none").mean((1, 2))
    assert float(found.loss) == pytest.approx(float((weight * costs).sum() / weight.sum()), rel=1e-5)
    assert float(found.divisor) == 3.5 * 32 * 32
    ones = model.loss_of(Batch(x, y, torch.arange(3), torch.ones(3)))
    assert float(ones.loss) == pytest.approx(float(model.loss_of(Batch(x, y, torch.arange(3))).loss), rel=1e-6)


def test_a_run_by_its_own_weights(done):
    test = done.data.sets["test"]
    mask = forward_batches(done.model, test.x).z.argmax(-1)
    reference = float(JaccardIndex("multiclass", num_classes=11)(mask, test.y.long()))
    assert done.metrics["test/iou"] == pytest.approx(reference, rel=1e-5) == done.metrics["test/jaccard"]
    assert {f"test/iou/{k}" for k in range(1, 12)} <= set(done.metrics)
    page = (done.run_dir / "report.html").read_text("utf-8")
    assert page.count("picture, true mask, predicted mask") == done.model.task.samples_shown


def test_the_network_sees_the_same_at_every_even_place(done):
    """Shifting the picture by what pooling leaves whole shifts the mask, away from the border."""
    model, x = done.model.eval(), torch.zeros(1, 1, 32, 32)
    x[..., 10:18, 8:16] = done.data.sets["test"].x[:1, :, 8:16, 8:16].float()
    with torch.no_grad():
        here, there = model(x), model(x.roll(4, 3))
    assert torch.allclose(here[:, 8:24, 8:16], there[:, 8:24, 12:20], atol=1e-3)


def test_predict_counts_pixels_and_writes_the_mask(done, tmp_path, capsys):
    """A PNG whose pixel values are class numbers, by the name of the picture; never over the input."""
    x = done.data.sets["test"].x[:2]
    (tmp_path / "in").mkdir()
    for k, name in enumerate(("a", "b")):
        Image.fromarray(x[k, 0].numpy()).save(tmp_path / "in" / f"{name}.png")
    words = [f"run={done.run_dir}", f"input={tmp_path / 'in'}", "allow=[tests]"]
    assert predict([*words, f"output={tmp_path / 'out'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    mask = forward_batches(done.model, x).z.argmax(-1)
    written = np.array(Image.open(tmp_path / "out" / "b.png"))
    assert np.array_equal(written, mask[1].numpy()) and [line.split("\t")[0] for line in lines] == ["a.png", "b.png"]
    counted = dict(pair.split("=") for pair in lines[1].split("\t")[1:])
    assert (
        counted.get("background", "0") == str(int((mask[1] == 0).sum())) and sum(map(int, counted.values())) == 32 * 32
    )
    with pytest.raises(Refused, match="holds the input"):
        predict([*words, f"output={tmp_path / 'in'}"])
    said = "masks and numbers of pixels are of the converted pictures"
    assert said not in capsys.readouterr().err
    Image.fromarray(x[0, 0].numpy()).resize((48, 32)).save(tmp_path / "in" / "a.png")
    assert predict(words) == 0 and said in capsys.readouterr().err


def test_outputs_of_many_pixels_are_not_held():
    """A mask of 64 × 64 is 45,056 outputs: a thousand samples of them would fill 180 MB."""
    task = objects.task("segmentation", 11, shape=[1, 64, 64])
    metrics, z = Metrics(task, lambda output: output), torch.randn(8, 64, 64, 11)
    y = z.argmax(-1)
    for _ in range(9):
        metrics.update(torch.tensor(1.0), 8 * 4096, z, y)
        assert metrics.outputs < HELD_OUTPUTS + z.numel()
    found = metrics.compute()
    assert found["acc"] == found["iou"] == 1 and metrics.outputs == 0


@pytest.mark.slow
def test_an_exported_network_gives_the_same_probabilities(done, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install -e '.[export]')")
    assert export_onnx(done.model, done.data, tmp_path / "model.onnx") <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("words", [MASKS, BOXES], ids=["masks", "boxes"])
def test_together_as_alone(words, tmp_path):
    """A vectorised sweep in float64, to 1e-8; each weight of a convolution has an axis for the trials."""
    words = [*words, "trainer.precision=64-true", "trainer.max_epochs=1", "data.batch_size=60", "data.n_samples=200"]
    words += ["logger=none", "callbacks=none", "trainer=cpu", "report=false"]
    varied = [["optimizer.lr=0.01"], ["optimizer.lr=0.03"]]
    train_together(compose_trials([[*words, *own, f"run_dir={tmp_path / str(k)}"] for k, own in enumerate(varied)]))
    for k, own in enumerate(varied):
        alone = train(checked([*words, *own, f"run_dir={tmp_path / f'alone{k}'}"])).metrics
        together = json.loads((tmp_path / str(k) / "metrics.json").read_text())
        for key in (key for key in alone if key.startswith(("test/", "val/"))):
            assert together[key] == pytest.approx(alone[key], rel=1e-6), key
