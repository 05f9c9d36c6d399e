"""Super-resolution: small copies of pictures, the upscaler, and interpolation beside it (L4)."""

import numpy as np
import pytest
import torch
from PIL import Image

import dlcourse
from dlcourse.errors import CONFIG, Refused
from dlcourse.runs.building import build
from dlcourse.runs.fit import train
from dlcourse.runs.trained import restore
from scripts.predict import predict
from tests import stopping
from tests.composing import checked, resumed
from tests.objects import predicted_lines
from tests.stopping import assert_same_run, killed

SMALL = ["model=upscaler", "model.channels=[8]"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """As a run: 4 × 4 pixels to 8 × 8."""
    bicubic = "+callbacks.bicubic._target_=dlcourse.measures.pictures.Bicubic"
    words = ["model=upscaler", "model.channels=[32]", "metrics=[psnr]", "metrics.psnr.data_range=1", bicubic]
    folder = tmp_path_factory.mktemp("upscaler")
    return dlcourse.run(*words, "trainer.max_epochs=20", "optimizer.lr=0.01", f"run_dir={folder / 'run'}")


def test_the_inputs_are_the_means_of_blocks(done):
    batch = done.data.samples("test")
    inputs, target = done.model.task.prepare_batch(batch)
    blocks = batch.x.numpy().reshape(-1, 1, 4, 2, 4, 2)
    np.testing.assert_allclose(inputs.numpy(), blocks.mean((3, 5)), rtol=1e-6)
    assert torch.equal(target, batch.x.flatten(1) / 16)


def test_closer_to_the_pictures_than_interpolation(done):
    found = done.metrics
    assert found["measure/psnr"] > found["measure/bicubic_psnr"] + 0.5
    assert found["measure/psnr"] == pytest.approx(-10 * np.log10(found["test/mse"]), abs=1e-3)
    assert found["test/psnr"] == pytest.approx(found["measure/psnr"], abs=1e-3)


def test_bicubic_is_pillows(done):
    """Inside, where neither repeats the border; Pillow's weights have a = −0.5, torch's −0.75."""
    x = torch.arange(16.0).reshape(1, 1, 4, 4)  # a plane: every spline of degree one or more reproduces it
    ours = done.model.task.bicubic(x)[0, 0, 2:-2, 2:-2].numpy()
    theirs = np.array(Image.fromarray(x[0, 0].numpy()).resize((8, 8), Image.Resampling.BICUBIC))[2:-2, 2:-2]
    np.testing.assert_allclose(ours, theirs, atol=0.3)


def test_the_page_and_a_prediction(done, tmp_path):
    page = (done.run_dir / "report.html").read_text("utf-8")
    assert "From above: test pictures, small copies, enlarged by bicubic interpolation, by the model." in page
    small = done.model.task.prepare_batch(done.data.samples("test"))[0][:3]
    np.save(tmp_path / "small.npy", small.numpy())
    _, model, data = restore(done.run_dir)
    lines = predicted_lines(model, data.read(tmp_path / "small.npy"))
    with torch.no_grad():
        expected = model.output(model(small)).flatten(1)
    given = [f"run={done.run_dir}", f"input={tmp_path / 'small.npy'}"]
    assert predict([*given, f"output={tmp_path / 'large.npy'}"]) == predict([*given, f"output={tmp_path}/large"]) == 0
    written = np.load(tmp_path / "large.npy")
    np.testing.assert_allclose(written.reshape(3, -1), expected, rtol=1e-6, atol=1e-6)
    drawn = np.array(Image.open(tmp_path / "large" / "0.png"))
    np.testing.assert_allclose(drawn, written[0, 0] / 16 * 255, atol=0.51)
    values = np.array([[float(value) for value in line.split("\t")] for line in lines])
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=iris"], "task.factor=2 makes pictures .* smaller; the data's shape is .4,."),
        (["task.factor=3"], "task.factor=3 .* a factor that divides height and width"),
        (["task.factor=0"], "task.factor=0: expected a whole number"),
        (["model.kernel=[3,3]"], r"model.kernel=\[3, 3\]: expected one whole number"),
        (["task=reconstruction"], "Upscaler turns inputs .N, 1, 8, 8. into .N, 256., but the data needs .N, 64."),
        (["task=reconstruction", "data=iris"], "model=upscaler expects pictures .*; the data's shape is .4,."),
    ],
)
def test_what_cannot_be_made_smaller_or_larger_is_refused(words, said):
    with pytest.raises(Refused, match=f"(?s){said}") as refusal:
        build(checked([*SMALL, *words]).tree)
    assert refusal.value.code == CONFIG


@pytest.mark.slow
def test_resumed_to_the_bit(tmp_path, monkeypatch):
    words = [word for word in stopping.WORDS if not word.startswith("model.hidden")]
    monkeypatch.setattr(stopping, "WORDS", words)
    killed(tmp_path / "killed", SMALL, monkeypatch, 9)
    train(*resumed([f"resume={tmp_path / 'killed'}"]))
    train(checked([*words, *SMALL, f"run_dir={tmp_path / 'straight'}"]))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")
