"""A trained run at work: the same figures again, predictions of each task, an exported file."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import dlcourse
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.runs.export import export_onnx
from dlcourse.runs.inference import has_light_background
from dlcourse.runs.inference import test as evaluate
from dlcourse.runs.trained import restore
from dlcourse.tasks.predictions import forward_batches
from scripts.export import export
from scripts.predict import predict
from tests.objects import predicted_lines
from tests.refusing import refusal

RUNS = {
    "mlp": ["trainer.max_epochs=8"],
    "cnn": ["model=cnn", "model.channels=[8,16]", "model.hidden=[32]", "trainer.max_epochs=4"],
    "binary": ["data=moons", "trainer.max_epochs=5"],
    "values": ["data=diabetes", "trainer.max_epochs=20"],
    "perceptron": ["model=perceptron", "data=blobs", "trainer.max_epochs=2"],
    "perceptrons": ["model=perceptron", "trainer.max_epochs=2"],
    "sigmoids": ["model=sigmoid_neuron", "data=iris", "trainer.max_epochs=5"],
    "augmented": ["data.augment=shift", "trainer.max_epochs=1"],
    "autoencoder": ["model=autoencoder", "model.channels=[4]", "model.code=8", "trainer.max_epochs=4"],
    "told": ["model=latent_diffusion", "model.classes=10", "trainer.max_epochs=1"],
    "upscaler": ["model=upscaler", "model.channels=[8]", "trainer.max_epochs=1"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``trained(name)``: the directory of that run, trained at its first use."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "run"
            dlcourse.run(*RUNS[name], "trainer=cpu", "report=false", f"run_dir={made[name]}")
        return made[name]

    return get


def figures(path):
    written = json.loads((path / "metrics.json").read_text())
    return {name: value for name, value in written.items() if name.startswith("test/")}


@pytest.mark.parametrize("name", RUNS)
def test_evaluate_repeats_the_figures_of_training(trained, name):
    path = trained(name)
    assert evaluate(*restore(path)) == figures(path)


@pytest.mark.parametrize("name", ["mlp", "values"])
def test_evaluate_with_the_data_named_again(trained, name):
    path = trained(name)
    words = ["data=digits"] if name == "mlp" else ["data=diabetes"]
    assert evaluate(*restore(path, Overrides.parse(words))) == figures(path)


def test_evaluate_on_other_data_that_does_not_fit(trained):
    with pytest.raises(Refused, match="data=iris.*shape.*trained on"):
        restore(trained("mlp"), Overrides.parse(["data=iris"]))
    with pytest.raises(Refused, match="choose the data"):
        restore(trained("mlp"), Overrides.parse(["data.path=x.csv"]))


def test_evaluate_touches_no_file(trained):
    path = trained("mlp")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    evaluate(*restore(path))
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_pictures_of_digits(trained, tmp_path, name):
    """A PNG of a test digit (16 is white, 255) gives the same answer as the row, and mostly its class."""
    _, model, data = restore(trained(name))
    data.setup()
    rows = data.sets["test"]
    for k in range(30):
        pixels = (rows.x[k, 0] * 255 / 16).round().numpy().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k:02d}.png")
    x = data.read(tmp_path)
    assert (x - rows.x[:30]).abs().max() < 16 / 255
    said = [line.split("\t")[0] for line in predicted_lines(model, x)]
    assert said == [line.split("\t")[0] for line in predicted_lines(model, rows.x[:30])]
    assert sum(a == str(b) for a, b in zip(said, rows.y[:30].tolist(), strict=True)) >= 27
    assert predicted_lines(model, data.read(tmp_path / "07.png"))[0].split("\t")[0] == said[7]


def test_npy_of_digits_is_raw(trained, tmp_path):
    _, model, data = restore(trained("mlp"))
    data.setup()
    np.save(tmp_path / "x.npy", data.sets["test"].x[:5].numpy())
    assert predicted_lines(model, data.read(tmp_path / "x.npy")) == list(
        predicted_lines(model, data.sets["test"].x[:5])
    )


def test_ink_on_paper_is_told_and_the_datas_own_pictures_are_not(trained, tmp_path):
    _, model, data = restore(trained("cnn"))
    data.setup()
    x = data.sets["test"].x.float()
    assert not has_light_background(model, data, x).any() and has_light_background(model, data, 16 - x).all()
    paper = np.full((80, 80), 255, np.uint8)
    paper[10:20, 15:65] = 0  # a seven
    paper[20:70, 50:60] = 0
    for name, pixels in (("paper", paper), ("board", 255 - paper)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    found = [
        bool(has_light_background(model, data, data.read(tmp_path / f"{name}.png"))) for name in ("paper", "board")
    ]
    assert found == [True, False]
    data.standardise = 16.0  # and the model knows no ground
    assert not has_light_background(model, data, 16 - x).any()


def test_predictions_add_up_to_the_accuracy(trained):
    for name in ("mlp", "binary", "perceptron", "perceptrons", "sigmoids"):
        _, model, data = restore(trained(name))
        data.setup()
        rows = data.sets["test"]
        names = [line.split("\t")[0] for line in predicted_lines(model, rows.x)]
        truth = [data.classes[int(y)] for y in rows.y.flatten().tolist()]
        share = sum(a == b for a, b in zip(names, truth, strict=True)) / len(truth)
        assert share == pytest.approx(figures(trained(name))["test/acc"], abs=1e-6), name


def parsed(line):
    best, *pairs = line.split("\t")
    return best, {name: float(value) for name, value in (pair.split("=") for pair in pairs)}


@pytest.mark.parametrize("name", ["mlp", "binary"])
def test_probabilities(trained, name):
    _, model, data = restore(trained(name))
    data.setup()
    for line in predicted_lines(model, data.sets["test"].x[:20]):
        best, shares = parsed(line)
        assert list(shares) == data.classes
        assert sum(shares.values()) == pytest.approx(1, abs=1e-3) and all(0 <= p <= 1 for p in shares.values())
        assert shares[best] == max(shares.values())


@pytest.mark.parametrize("name", ["perceptron", "perceptrons"])
def test_scores_where_a_loss_has_no_probabilities(trained, name):
    _, model, data = restore(trained(name))
    data.setup()
    x = data.sets["test"].x[:20]
    z = forward_batches(model, x).z
    for line, row in zip(predicted_lines(model, x), z.tolist(), strict=True):
        best, scores = parsed(line)
        assert scores[best] == max(scores.values())
        expected = row if len(row) > 1 else [-row[0], row[0]]
        assert list(scores.values()) == pytest.approx(expected, abs=1e-4)


def test_values_are_in_the_targets_units(trained):
    path = trained("values")
    _, model, data = restore(path)
    data.setup()
    rows = data.sets["test"]
    said = torch.tensor([float(line) for line in predicted_lines(model, rows.x)])
    mae = (said - rows.y[:, 0]).abs().mean().item()
    assert mae == pytest.approx(figures(path)["test/mae"], rel=1e-4)


def test_a_prediction_depends_on_no_other_row(trained, monkeypatch):
    _, model, data = restore(trained("cnn"))
    data.setup()
    x = data.sets["test"].x[:9]
    model.train()  # asked in the middle of something: batch norm must not see the rows
    alone = torch.cat([forward_batches(model, row[None]).z for row in x])
    assert torch.allclose(forward_batches(model, x).z, alone, atol=1e-4)
    monkeypatch.setattr("dlcourse.tasks.predictions.BATCH", 2)
    assert torch.allclose(forward_batches(model, x).z, alone, atol=1e-4)
    assert model.training


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "cnn",
        "binary",
        "values",
        "upscaler",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("autoencoder", "told")),
    ],
)
def test_onnx(trained, tmp_path, name):
    """Raw inputs to what a person reads, in a batch of any size, within 1e-4 of the model."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install -e '.[export]')")
    _, model, data = restore(trained(name))
    assert export_onnx(model, data, tmp_path / "model.onnx") <= 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    x = model.task.prepare_batch(data.samples("test"))[0].float()
    with torch.inference_mode():
        own = model.output(model(x))
    for size in (1, 7, len(x)):
        there = torch.from_numpy(session.run(None, {"x": x[:size].numpy()})[0])
        assert there.shape == own[:size].shape and there[0].numel() == model.task.outputs
        assert (there - own[:size]).abs().max() <= 1e-4 * own.abs().max().clamp_min(1)


def test_an_export_that_differs_leaves_no_file(trained, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[export]')")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (pip install -e '.[export]')")
    _, model, data = restore(trained("mlp"))
    monkeypatch.setattr("dlcourse.runs.export.TOLERANCE", -1.0)
    with pytest.raises(Refused, match="differs from the trained one"):
        export_onnx(model, data, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_inputs_of_an_exported_file_are_said(trained, monkeypatch, capsys):
    """Those of the model: small pictures for super-resolution, whatever the data's shape is."""
    monkeypatch.setattr("dlcourse.runs.export.export_onnx", lambda *_: 0.0)
    assert export([f"run={trained('upscaler')}"]) == 0
    assert "(raw inputs x (batch, 1, 4, 4), float32)" in capsys.readouterr().out


def test_an_export_without_its_packages(trained, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    _, model, data = restore(trained("mlp"))
    with pytest.raises(Refused, match=r"onnxruntime.*\[export\]"):
        export_onnx(model, data, tmp_path / "model.onnx")


def test_a_picture_that_is_converted_is_said(trained, tmp_path, capsys):
    """Other sizes and channels are taken, and it is told; what is no picture is refused by name."""
    _, _, data = restore(trained("mlp"))
    Image.new("RGB", (40, 30)).save(tmp_path / "wide.png")
    Image.new("L", (8, 8)).save(tmp_path / "fits.png")
    assert data.read(tmp_path).shape == (2, 1, 8, 8)
    told = capsys.readouterr().err
    assert "wide.png: 3, 30, 40 was converted to 1, 8, 8" in told and "fits.png" not in told
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="table.csv: data=digits reads pictures"):
        data.read(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("missing/x.npy", "there is no folder .*missing; make it first"),
        ("folder.npy", "folder.npy is a folder; choose the name of a file"),
        ("file.txt", "file.txt is a file where a folder is wanted"),
        ("file.txt/inside", "file.txt is a file where a folder is wanted"),
        ("x.png", "holds the input"),
        (".", "holds the input"),
    ],
)
def test_a_place_to_write_that_is_none_is_refused_first(tmp_path, output, said):
    """Before the run is looked for, which does not exist here."""
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder.npy").mkdir()
    words = [f"run={tmp_path / 'none'}", f"input={tmp_path / 'x.png'}", f"output={tmp_path / output}"]
    assert re.search(said, refusal(predict, words))
