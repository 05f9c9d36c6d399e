"""Detection by hand, against torchvision and torchmetrics: maps, loss, peaks, boxes, precision (L7)."""

import json
import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import sigmoid_focal_loss

from dlcourse import run
from dlcourse.centres import Centres
from dlcourse.metrics import Metrics
from dlcourse.runs.building import build
from dlcourse.runs.export import export_onnx
from dlcourse.tasks.base import Batch, Predictions
from dlcourse.tasks.predictions import forward_batches
from scripts.predict import predict
from tests import objects
from tests.composing import checked
from tests.scene_parts import BOXES

NONE = [0.0, 0.0, 0.0, 0.0, -1.0]
#: Two pictures of 16 × 24 in cells of 4 × 4: two boxes, and none.
Y = torch.tensor([[[2, 1, 12, 9, 1], [16, 6, 22, 16, 0], NONE], [NONE, NONE, NONE]])
needs_coco = pytest.mark.skipif(find_spec("pycocotools") is None, reason="pip install -e '.[detection]'")


def detection(outputs=3):
    return objects.task("detection", outputs, shape=[1, 16, 24])


def test_the_maps_of_two_boxes_by_hand():
    """Centres (7, 5) and (19, 11): cells (1, 1) and (2, 4) of 4 × 6; sizes 2.5 × 2 and 1.5 × 2.5 cells."""
    maps = detection().maps(Y)
    assert maps.shape == (2, 4, 6, 7) and not maps[1].any()
    assert maps[0, 1, 1].tolist() == pytest.approx([float(maps[0, 1, 1, 0]), 1, 0, 0.75, 0.25, 2.5, 2.0])
    assert maps[0, 2, 4, 3:].tolist() == pytest.approx([0.75, 0.75, 1.5, 2.5])
    assert (maps[..., :3] == 1).sum() == 2 and not maps[..., 2].any()
    sigma = math.sqrt(2.5 * 2.0) / 6
    for i, j in ((1, 2), (0, 0), (3, 1)):
        expected = math.exp(-((i - 1) ** 2 + (j - 1) ** 2) / (2 * sigma**2))
        assert float(maps[0, i, j, 1]) == pytest.approx(expected, rel=1e-5)
    others = maps[0, ..., 3:].clone()
    others[1, 1] = others[2, 4] = 0
    assert not others.any()


def test_true_maps_are_decoded_to_the_true_boxes():
    task = detection()
    found = task.found(task.postprocess(task.maps(Y)))
    order = found[0][:, 0].argsort()
    torch.testing.assert_close(found[0][order, :5], Y[0, :2])
    assert not len(found[1])
    lines = [*task.format_predictions(Predictions(Y, task.postprocess(task.maps(Y))))]
    assert json.loads(lines[0])[0].keys() == {"class", "score", "box"} and lines[1] == "[]"


def test_only_peaks_are_boxes_and_the_best_are_kept():
    task = detection()
    a = torch.zeros(1, 4, 6, 7)
    a[0, 1, 1, 0], a[0, 1, 2, 0], a[0, 1, 2, 1], a[0, 3, 5, 0] = 0.9, 0.8, 0.7, 0.4  # the second is beside the first
    found = task.detections(a)[0]
    assert found.shape == (20, 6) and found[:4, 5].tolist() == pytest.approx([0.9, 0.7, 0.4, 0.0])
    assert found[:3, 4].tolist() == [0, 1, 0]
    task.most, task.threshold = 2, 0.75
    assert task.detections(a).shape == (1, 2, 6) and len(task.found(a)[0]) == 1


def test_the_loss_by_its_formula_and_against_torchvision():
    torch.manual_seed(0)
    loss, task = Centres(prior=0.2), detection()
    z, t = torch.randn(48, 7, dtype=torch.float64), task.maps(Y).flatten(0, 2).double()
    total = 0.0
    for row, target in zip(z.tolist(), t.tolist(), strict=True):
        for v, heat in zip(row[:3], target[:3], strict=True):
            p = 1 / (1 + math.exp(-(v + math.log(0.2 / 0.8))))
            total -= (1 - p) ** 2 * math.log(p) if heat == 1 else (1 - heat) ** 4 * p**2 * math.log(1 - p)
        if 1 in target[:3]:
            error = [abs(a - b) for a, b in zip(row[3:], target[3:], strict=True)]
            total += sum(error[:2]) + 0.1 * sum(error[2:])
    value, divisor = loss(z, t)
    assert float(value) * divisor == pytest.approx(total, rel=1e-9) and divisor == 48
    weight = torch.rand(48, dtype=torch.float64)
    weighted, total_weight = loss(z, t, weight)
    alone = torch.stack([loss(z[k : k + 1], t[k : k + 1])[0] for k in range(48)])
    assert (
        float(weighted) == pytest.approx(float((weight * alone).sum() / weight.sum())) and total_weight == weight.sum()
    )
    hard = (t[:, :3] == 1).double()  # β = 0 of a target without heat around it is the focal loss
    focal = sigmoid_focal_loss(z[:, :3] + loss.shift, hard, alpha=-1, gamma=2, reduction="sum")
    plain, _ = Centres(prior=0.2, beta=0.0)(z, torch.cat([hard, z[:, 3:]], 1))
    assert float(plain) * 48 == pytest.approx(float(focal), rel=1e-9)
    free = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda free: loss(free, t)[0], free)


def test_loss_and_sums_are_the_same_whatever_the_batches():
    torch.manual_seed(0)
    task, loss = detection(), Centres()
    y, z = torch.cat([Y] * 6), torch.randn(12, 4, 6, 7)
    values = []
    for sizes in ([12], [1, 5, 2, 4]):
        metrics = Metrics(task, lambda output: output)
        for a, b in zip(z.split(sizes), y.split(sizes), strict=True):
            rows, target, _ = task.loss_inputs(a, b)
            metrics.update(*loss(rows, target), a, b)
        values.append(float(metrics.compute()["loss"]))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_weight_of_a_sample_is_that_of_its_cells():
    data, model = build(checked(BOXES).tree)
    torch.manual_seed(0)
    x, y = torch.rand(2, 1, 32, 32) * 255, Y.clone()
    y[1, 0] = torch.tensor([1.0, 20.0, 9.0, 30.0, 3.0])
    model.eval().requires_grad_(False)
    alone = [float(model.loss_of(Batch(x[k : k + 1], y[k : k + 1], torch.arange(1))).loss) for k in (0, 1)]
    both = model.loss_of(Batch(x, y, torch.arange(2), torch.tensor([1.0, 3.0])))
    assert float(both.loss) == pytest.approx((alone[0] + 3 * alone[1]) / 4, rel=1e-5) and both.divisor == 4 * 64


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([[[0, 0, 4, 4, 0], [1, 1, 3, 3, 1]], [NONE, NONE]], "two boxes of row 0 .* same cell of 4 × 4 pixels"),
        ([[NONE], [NONE]], "no row has a box"),
    ],
)
def test_what_cannot_be_learned_is_refused(y, said):
    with pytest.raises(ValueError, match=said):
        detection().check(torch.zeros(2, 1, 16, 24), torch.tensor(y, dtype=torch.float32))
    detection().check(torch.zeros(2, 1, 16, 24), Y)  # an empty scene beside others is background


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Hardly trained, so that a low score is enough for a box."""
    words = [*BOXES, "data.n_samples=100", "trainer.max_epochs=1", "task.threshold=0.02", "callbacks=none"]
    return run(*words, f"run_dir={tmp_path_factory.mktemp('boxes') / 'run'}")


def test_the_page_shows_true_and_predicted_boxes(done):
    page = (done.run_dir / "report.html").read_text("utf-8")
    assert page.count("predicted boxes") == done.model.task.samples_shown


@pytest.mark.slow
def test_a_run_finds_digits(tmp_path):
    """Of the true boxes four in ten are found after some 180 steps: the class is right, and IoU is a half or more."""
    words = [*BOXES, "trainer.max_epochs=8", "optimizer.lr=0.03", "data.batch_size=16", "callbacks=none"]
    done = run(*words, "report=false", f"run_dir={tmp_path / 'run'}")
    test, task = done.data.sets["test"], done.model.task
    found = task.found(forward_batches(done.model, test.x).a)
    right, true = 0, 0
    for y, boxes in zip(test.y, found, strict=True):
        for box in y[y[:, 4] >= 0]:
            same = boxes[boxes[:, 4] == box[4]]
            low, high = torch.maximum(same[:, :2], box[:2]), torch.minimum(same[:, 2:4], box[2:4])
            both = (high - low).clamp_min(0).prod(1)
            areas = (same[:, 2:4] - same[:, :2]).prod(1) + (box[2:4] - box[:2]).prod()
            right, true = right + bool((both / (areas - both) >= 0.5).any()), true + 1
    assert right > 0.4 * true, (right, true)


@pytest.mark.slow
def test_an_exported_detector_gives_the_same_maps(done, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install -e '.[export]')")
    assert export_onnx(done.model, done.data, tmp_path / "model.onnx") <= 1e-4


def test_predict_prints_boxes_and_draws_them(done, tmp_path, capsys):
    x = done.data.sets["test"].x[:3]
    np.save(tmp_path / "x.npy", x.numpy())
    words = [f"run={done.run_dir}", f"input={tmp_path / 'x.npy'}", f"output={tmp_path / 'out'}", "allow=[tests]"]
    assert predict(words) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = done.model.task.found(forward_batches(done.model, x).a)
    assert [[box["class"] for box in boxes] for boxes in said] == [
        [done.data.classes[int(box[4])] for box in boxes] for boxes in found
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
    drawn = np.array(Image.open(tmp_path / "out" / "0.png"))
    assert drawn.shape == (192, 192, 3) and np.ptp(drawn, axis=2).any() == bool(len(found[0]))


@pytest.mark.parametrize("orientation", [1, 6])  # upright, and turned by a quarter of a circle in its EXIF tag
def test_boxes_are_in_the_pixels_of_the_file(done, tmp_path, capsys, orientation):
    """The picture twice as high and three times as wide: the same boxes, so many times larger."""
    row = done.data.sets["test"].x[0, 0].numpy()
    large = Image.fromarray(row).resize((3 * 32, 2 * 32), Image.Resampling.NEAREST)
    large = large if orientation == 1 else large.transpose(Image.Transpose.ROTATE_90)
    (exif := Image.Exif())[0x0112] = orientation
    large.save(tmp_path / "large.png", exif=exif)
    given = [f"run={done.run_dir}", f"input={tmp_path / 'large.png'}", "allow=[tests]"]
    assert predict([*given, f"output={tmp_path / 'boxes.npy'}"]) == 0
    (said,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    predictions = forward_batches(done.model, done.data.read(tmp_path / "large.png"))
    (found,) = done.model.task.found(predictions.a)
    assert len(said) == len(found) > 0
    for box, (*corners, _, score) in zip(said, found.tolist(), strict=True):
        assert box["box"] == pytest.approx(
            [corner * by for corner, by in zip(corners, (3, 2, 3, 2), strict=True)], abs=0.01
        )
        assert box["score"] == pytest.approx(score, abs=1e-3)
    np.testing.assert_allclose(
        np.load(tmp_path / "boxes.npy")[..., -4:], predictions.a[..., -4:].numpy() * [3, 2, 3, 2], rtol=1e-4, atol=1e-3
    )


@needs_coco
def test_average_precision_of_right_and_of_wrong_boxes():
    """1 for the true boxes, 0 for none, and 0.5 where one of two classes is named wrongly."""
    from dlcourse.measures.boxes import MeanPrecision

    task = detection()
    exact = task.postprocess(task.maps(Y))
    wrong = exact.clone()
    wrong[..., 0] = 0
    for a, expected in ((exact, 1.0), (wrong, 0.5), (torch.zeros_like(exact), 0.0)):
        for sizes in ([2], [1, 1]):
            metric = MeanPrecision()
            for part, y in zip(a.split(sizes), Y.split(sizes), strict=True):
                metric.update(*task.comparable(Predictions(part, part), y))
            assert float(metric.compute()) == pytest.approx(expected)


def test_without_its_package_the_metric_names_the_extra(monkeypatch):
    from dlcourse.errors import Refused

    monkeypatch.setattr("dlcourse.measures.boxes.NEEDED", "no_such_package")
    with pytest.raises(Refused, match=r"needs no_such_package: pip install -e '.\[detection\]'"):
        build(checked([*BOXES, "metrics=map"]).tree)


@pytest.mark.slow
@needs_coco
def test_precision_of_both_halves_is_a_measurement(tmp_path):
    """In validation, in the test, and of each half; all of some hundred boxes, from any batch size of training."""
    words = [*BOXES, "metrics=map", "monitor=val/map", "mode=max", "trainer.max_epochs=2", "optimizer.lr=0.02"]
    halves = "+callbacks.halves._target_=dlcourse.measures.boxes.Halves"
    found = run(*words, halves, f"run_dir={tmp_path / 'run'}", "report=false").metrics
    assert 0 <= found["test/map"] <= 1 and 0 <= found["measure/left"] <= 1 and 0 <= found["measure/right"] <= 1
