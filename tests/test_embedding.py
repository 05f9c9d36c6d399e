"""Codes that tell whether two samples are of one class: pairs, sets of classes, runs, and what is refused (L19)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional as F

import dlcourse
from dlcourse.errors import CONFIG, Refused
from dlcourse.measures.generalisation import Identification, Verification
from dlcourse.measures.gradcheck import gradient_check
from dlcourse.pairs import MOST, PairAUC, all_pairs, roc
from dlcourse.runs.building import build
from dlcourse.runs.export import ModelWithOutput
from dlcourse.runs.fit import train
from dlcourse.runs.trained import restore
from dlcourse.tasks.base import Batch, Predictions
from dlcourse.tasks.predictions import forward_batches
from tests import objects
from tests.composing import checked, resumed
from tests.stopping import WORDS, assert_same_run, killed

NEW = "data.classes_in_training=[0,1,2,3,4]"
SMALL = ["task=embedding", "task.outputs=8", "model.hidden=[16]"]


def built(*words: str) -> Any:
    data, model = build(checked(list(words)).tree)
    data.setup()
    model.standardise(data)
    return data, model.eval()


def test_pairs_are_of_two_samples_each_once() -> None:
    codes, y = torch.randn(9, 3), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    pairs = all_pairs(codes, y)
    assert (
        len(pairs.same) == 9 * 8 / 2 and int(pairs.same.sum()) == 3 + 1 + 6 and bool((pairs.first < pairs.second).all())
    )
    for i, j, s in zip(*(part.tolist() for part in pairs[:3]), strict=True):
        assert s == pytest.approx(float(F.cosine_similarity(codes[i], codes[j], dim=0)), abs=1e-6)
    many = all_pairs(torch.randn(3 * MOST, 2), torch.arange(3 * MOST) % 4)
    assert len(many.first.unique()) == MOST - 1 and int(many.second.max()) == 3 * MOST - 1


def test_the_area_and_the_equal_error_rate() -> None:
    """Against counting: by all pairs of pairs, and by trying every threshold."""
    codes = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 4
    codes += 1.5 * F.one_hot(y % 3, 3)
    pairs = all_pairs(codes, y)
    same, other = pairs.similarity[pairs.same].numpy(), pairs.similarity[~pairs.same].numpy()
    found = roc(pairs)
    assert found.auc == pytest.approx((same[:, None] > other).mean(), abs=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(pairs.same, pairs.similarity), abs=1e-12)
    rates = [((other >= t).mean(), (same < t).mean()) for t in np.sort(pairs.similarity.numpy())]
    accepts, rejects = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert (
        found.eer == pytest.approx((accepts + rejects) / 2, abs=abs(accepts - rejects) + 1e-9) and 0.1 < found.eer < 0.5
    )
    perfect = roc(all_pairs(F.one_hot(y, 4).float(), y))
    assert perfect.auc == 1 and perfect.eer == 0


@pytest.mark.parametrize("y", [[3, 3, 3], [1, 2, 3], [1]])
def test_pairs_of_one_kind_only(y: list[int]) -> None:
    with pytest.raises(ValueError, match="needs both kinds"):
        all_pairs(torch.randn(len(y), 2), torch.tensor(y))


def test_classes_in_training_move_no_row() -> None:
    """Each part keeps its rows of the classes it is for, in their order."""
    plain, chosen = built("task=reconstruction")[0], built("task=reconstruction", NEW)[0]
    for stage in ("train", "val", "test"):
        rows, kept = plain.sets[stage], chosen.sets[stage]
        inside = (rows.y < 5) == (stage != "test")
        assert torch.equal(kept.index, rows.index[inside]) and torch.equal(kept.x, rows.x[inside])
        assert torch.equal(kept.y, rows.y[inside]) and 0 < len(kept) < len(rows)
    assert chosen.note == "5 classes in training, 5 in the test, 897 rows left out"
    named = built("task=reconstruction", "data=iris", "data.classes_in_training=[virginica,setosa]")[0]
    assert named.classes_in_training == [0, 2] and set(named.sets["test"].y.tolist()) == {1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.classes_in_training=[3,12]"], "names 12; the data has 0, 1, 2"),
        (["data=sine", "data.classes_in_training=[a]"], "names a; the data has no classes"),
        (["data=iris", "data.classes_in_training=[setosa,versicolor,virginica]"], "3 of 3 classes"),
        (["data.classes_in_training=[3,4]"], "training has none of the classes of the test set.*task=embedding"),
        (["data.classes_in_training=[]"], "0 of 10 classes"),
        (["task=embedding", "data.classes_in_training=[3]"], "the train set has rows of one class only"),
        (
            ["task=embedding", "data=iris", "data.classes_in_training=[setosa,virginica]"],
            "the test set has rows of one",
        ),
        (["task=embedding", "data=and"], "the train set has only row 3 of class 1; a pair of one class needs two rows"),
        (
            ["task=embedding", "data=iris", "data.val_fraction=0.03"],
            "the val set has only row .* of class (setosa|ver)",
        ),
        (["task=embedding", "data=iris", "task.turns=2"], r"turns square pictures \(C, H, H\), found \(4,\)"),
        (["task=embedding", "task.turns=3"], "task.turns=3: expected 1, 2 or 4"),
        (["task=embedding", "data=iris", "task.flips=2"], r"flips pictures \(C, H, W\), found \(4,\)"),
        (["task=embedding", "data=sine"], "task=embedding cannot be learned from data=sine"),
        (["task=embedding", "loss=cross_entropy"], "try loss=supervised_contrastive, or arcface"),
        (["loss=arcface"], "loss=arcface cannot fit data=digits"),
        (["task=embedding", "trainer=ddp", "trainer.devices=2"], "loss=supervised_contrastive compares the rows"),
        (["task=embedding", "trainer.accumulate_grad_batches=2"], "set trainer.accumulate_grad_batches=1"),
        (
            ["task=embedding", "metrics=f1"],
            "metrics=f1 compares binary, multiclass, multilabel; task=embedding has codes",
        ),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said) as refusal:
        built(*words)
    assert refusal.value.code == CONFIG and str(refusal.value).count("\n") < 3


def test_arcface_is_for_several_processes_too() -> None:
    checked(["task=embedding", "loss=arcface", "trainer=ddp", "trainer.devices=2"])


def test_turns_are_classes_of_their_own() -> None:
    task = objects.task("embedding", outputs=10)
    task.turns = 4
    x = torch.arange(2 * 9).reshape(2, 1, 3, 3)
    inputs, groups = task.prepare_batch(Batch(x, torch.tensor([7, 2]), torch.arange(2)))
    assert groups.tolist() == [28, 29, 30, 31, 8, 9, 10, 11]
    for k in range(8):
        assert np.array_equal(inputs[k, 0].numpy(), np.rot90(x[k // 4, 0].numpy(), k % 4))
    task.flips = 2
    inputs, groups = task.prepare_batch(Batch(x, torch.tensor([7, 2]), torch.arange(2)))
    assert groups.tolist() == [*range(56, 64), *range(16, 24)]
    for k in range(16):
        turned = np.rot90(x[k // 8, 0].numpy(), k % 4)
        assert np.array_equal(inputs[k, 0].numpy(), np.fliplr(turned) if k % 8 > 3 else turned)
    task.turns = 2
    groups = task.prepare_batch(Batch(x, torch.tensor([7, 2]), torch.arange(2)))[1]
    codes = torch.randn(8, 3)
    preds, target = task.comparable(Predictions(codes, codes), groups)
    assert torch.equal(preds, codes[[0, 4]]) and target.tolist() == [7, 2]


def test_the_answer_is_the_same_for_a_mirror_image() -> None:
    """Of predictions and of an exported file; the output, which is trained, tells them apart."""
    data, model = built(*SMALL, "loss=arcface", "task.flips=2", NEW)
    x = data.sets["test"].x[:20]
    exported = ModelWithOutput(model)
    with torch.no_grad():
        assert torch.allclose(exported(x), exported(x.flip(3)), atol=1e-6)
        assert torch.allclose(exported(x), forward_batches(model, x).a, atol=1e-6)
        assert not torch.allclose(model(x), model(x.flip(3)), atol=1e-2)
    assert model.task.has_own_answer and not built(*SMALL)[1].task.has_own_answer


def test_every_version_of_a_row_has_its_weight() -> None:
    data, model = built(*SMALL, "loss=arcface", "task.turns=2", NEW)
    batch = data.sets["train"].first(6)
    weight = torch.tensor([1.0, 0, 2, 0, 0, 1])
    _, target = model.task.prepare_batch(batch)
    expected = model.loss(model(model.task.prepare_batch(batch)[0]), target, weight.repeat_interleave(2))
    assert torch.equal(model.loss_of(batch._replace(weight=weight)).loss, expected[0])


@pytest.mark.parametrize("words", [["task.turns=4"], ["loss=arcface", "task.turns=2"]])
def test_gradients_of_the_whole_model(words: list[str]) -> None:
    data, model = built("task=embedding", "task.outputs=3", "model.hidden=[4]", "activation=tanh", NEW, *words)
    found = list(gradient_check(model, data.sets["train"].first(12), entries=8))
    assert all(check.error < 1e-5 and check.largest > 1e-6 for check in found), found
    assert ("loss.centres" in {check.name for check in found}) == ("loss=arcface" in words) and model.frozen == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Codes of digits 0 to 4, by ArcFace, with both measures and a metric of pairs."""
    measures = "dlcourse.measures.generalisation"
    words = [*SMALL, NEW, "loss=arcface", "metrics=pair_auc", "trainer=cpu", "logger=none", "callbacks=none"]
    words += [f"+callbacks.v._target_={measures}.Verification", f"+callbacks.i._target_={measures}.Identification"]
    folder = tmp_path_factory.mktemp("embedding") / "run"
    return dlcourse.run(*words, "trainer.max_epochs=4", "optimizer.lr=0.01", f"run_dir={folder}")


def test_a_run_and_its_figures(run: Any) -> None:
    """The metric of pairs and the measure, computed again from the stored model."""
    _, model, data = restore(run.run_dir)
    data.setup()
    for stage, key in (
        ("test", "measure/auc"),
        ("test", "test/pair_auc"),
        ("val", "val/pair_auc"),
        ("val", "measure/seen_auc"),
    ):
        rows = data.sets[stage]
        with torch.no_grad():
            z = model(rows.x)
        similarity = torch.corrcoef(torch.cat([z, -z], 1))  # the cosine: of mean zero
        upper = np.triu_indices(len(z), 1)
        same = (rows.y[:, None] == rows.y).numpy()[upper]
        assert run.metrics[key] == pytest.approx(roc_auc_score(same, similarity.numpy()[upper]), abs=1e-4), key
    assert run.metrics["measure/seen_auc"] > 0.9 > run.metrics["measure/auc"] > 0.6
    assert run.metrics["measure/chance"] == pytest.approx(0.2) and run.metrics["measure/rank1"] > 0.3
    assert model.state_dict()["loss.centres"].shape == (10, 8)
    assert model.output(model(data.sets["test"].x)).norm(dim=1).allclose(torch.ones(179))


def test_the_page_shows_codes_curves_and_pairs(run: Any) -> None:
    page = (run.run_dir / "report.html").read_text("utf-8")
    for text in ("ROC of pairs", "test set, new classes: AUC", "validation set, classes of the training: AUC"):
        assert text in page
    assert "on their first two principal components" in page and "Pairs that are told worst" in page
    assert page.count('alt="Test samples ') == 16


def test_predictions_are_codes(run: Any) -> None:
    from tests.objects import predicted_lines

    _, model, data = restore(run.run_dir)
    data.setup()
    lines = [[float(value) for value in line.split("\t")] for line in predicted_lines(model, data.sets["test"].x[:3])]
    assert np.allclose(np.linalg.norm(lines, axis=1), 1, atol=1e-5) and np.shape(lines) == (3, 8)


@pytest.mark.slow
def test_onnx_gives_the_codes(run: Any, tmp_path: Path) -> None:
    from dlcourse.runs.export import export_onnx

    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install -e '.[export]')")
    _, model, data = restore(run.run_dir)
    assert export_onnx(model, data, tmp_path / "model.onnx") <= 1e-5


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (16, ["task.turns=4", NEW]),
        pytest.param(3, ["task.turns=4", NEW], marks=pytest.mark.slow),
        pytest.param(17, ["loss=arcface"], marks=pytest.mark.slow),
        pytest.param(
            4, ["loss=arcface", "metrics=pair_auc", "monitor=val/pair_auc", "mode=max"], marks=pytest.mark.slow
        ),
    ],
)
def test_resumed_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, words: list[str]) -> None:
    words = ["task=embedding", "task.outputs=8", *words]
    killed(tmp_path / "killed", words, monkeypatch, step)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*WORDS, *words, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_a_metric_of_pairs_sees_all_batches() -> None:
    codes, y = torch.randn(30, 4), torch.arange(30) % 3
    metric = PairAUC()
    for part in torch.arange(30).split(7):
        metric.update(codes[part], y[part])
    assert float(metric.compute()) == pytest.approx(roc(all_pairs(codes, y)).auc)


def test_measures_of_codes_that_are_the_class() -> None:
    """A network that outputs the class tells each pair and each sample; the code of a classifier is its last layer."""
    data, model = built(*SMALL, NEW, "task.outputs=10")

    class Oracle(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = torch.cat([data.sets[stage].x for stage in ("test", "val")]).flatten(1)
            y = torch.cat([data.sets[stage].y for stage in ("test", "val")])
            return F.one_hot(y[torch.cdist(x.flatten(1), rows).argmin(1)], 10).float()

    model.network = Oracle()
    model.mean.zero_()
    model.std.fill_(1.0)
    model.dummy = torch.nn.Parameter(torch.zeros(1))
    found = Verification().measure(model, data)
    assert found["auc"] == found["seen_auc"] == 1 and found["eer"] == 0
    assert 0.6 < found["pixel_auc"] <= found["eigen_auc"] + 0.01 < 1 and 0.1 < found["eigen_eer"] < 0.4
    found = Identification(shots=3).measure(model, data)
    assert found["rank1"] == 1 and found["chance"] == 0.2 and 0.5 < found["pixel_rank1"] < 1
    rows = data.sets["test"].x.flatten(1).double() - data.sets["train"].x.flatten(1).double().mean(0)
    y, of_class = data.sets["test"].y, [(data.sets["test"].y == k).nonzero()[:, 0] for k in range(5, 10)]
    shares = []
    for choice in range(min(map(len, of_class))):
        known = [int(each[(choice + k) % len(each)]) for each in of_class for k in range(3)]
        others = [row for row in range(len(y)) if row not in known]
        neighbour = KNeighborsClassifier(1, metric="cosine").fit(rows[known], y[known])
        shares.append(neighbour.score(rows[others], y[others]))
    assert found["pixel_rank1"] == pytest.approx(sum(shares) / len(shares), abs=1e-3)
    with pytest.raises(Refused, match="shots=40"):
        Identification(shots=40).check(model, data)
