"""A photo of a drawn sign becomes a picture as MNIST's are."""

import numpy as np
import pytest
from PIL import Image

import dlcourse
from dlcourse.data.photo import sign
from dlcourse.errors import Refused
from scripts.predict import predict


def seven() -> np.ndarray:
    """A seven of light strokes, 28 × 28, its box of 20 pixels, its centre of mass in the middle to half a pixel."""
    drawn = np.zeros((112, 112), np.float32)
    drawn[16:28, 36:84] = 255
    for k in range(68):
        right = 84 - k // 2
        drawn[28 + k, right - 12 : right] = 255
    small = np.asarray(Image.fromarray(drawn).resize((28, 28), Image.Resampling.BOX))
    down, right = (round(13.5 - small.sum(axis) @ np.arange(28) / small.sum()) for axis in (1, 0))
    return np.roll(small, (down, right), (0, 1))


def photo(path, light: bool, corner: tuple[int, int] = (90, 30), grain: float = 4.0):
    """The seven, 200 pixels high, off the middle, in light that falls from the left, with grain and a speck."""
    large = np.asarray(Image.fromarray(seven()).resize((280, 280), Image.Resampling.BICUBIC)).clip(0, 255) / 255
    ground = (60 if light else 190) + np.linspace(40, -30, 400)[None, :].repeat(500, 0)
    values = ground.copy()
    place = (slice(corner[0], corner[0] + 280), slice(corner[1], corner[1] + 280))
    values[place] += large * (150 if light else -150)
    values[480:483, 380:383] = 255 if light else 0
    values += np.random.default_rng(0).normal(0, grain, values.shape)
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("corner", [(90, 30), (10, 110), (200, 60)])
def test_a_photo_becomes_the_picture_that_was_drawn(tmp_path, light, corner):
    found, expected = sign(photo(tmp_path / "x.png", light, corner), 28), seven()
    assert found.shape == (28, 28) and found.dtype == np.float32 and found.min() >= 0 and found.max() <= 255
    rows, columns = ((found > 60).any(axis).nonzero()[0] for axis in (1, 0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    for axis in (0, 1):
        assert abs(found.sum(1 - axis) @ np.arange(28) / found.sum() - 13.5) <= 0.51
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
    assert found[0].max() == found[:, 0].max() == 0


def test_a_photo_that_the_camera_turned_is_upright(tmp_path):
    image = Image.open(photo(tmp_path / "x.png", False))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.abs(sign(tmp_path / "turned.png", 28) - sign(tmp_path / "x.png", 28)).mean() < 3


def test_paper_without_a_sign_has_no_ink(tmp_path):
    values = np.random.default_rng(0).normal(200, 4, (300, 200))
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(tmp_path / "x.png")
    assert not sign(tmp_path / "x.png", 28).any()


@pytest.mark.parametrize("dark", [False, True])
def test_predictions_of_photos(tmp_path, capsys, dark):
    """Whether the training pictures are light on dark or dark on light; paper without a sign is marked."""
    draw = np.random.default_rng(0)
    for name, turned in (("seven", seven()), ("turned", seven()[::-1])):
        (tmp_path / "signs" / name).mkdir(parents=True)
        for k in range(20):
            values = (np.roll(turned, draw.integers(-1, 2, 2), (0, 1)) + draw.normal(0, 5, (28, 28))).clip(0, 255)
            values = 255 - values if dark else values
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "signs" / name / f"{k}.png")
    words = ["data=image_folder", f"data.path={tmp_path / 'signs'}", "data.size=28", "data.channels=1"]
    quiet = ["logger=none", "callbacks=none", "report=false", "trainer.max_epochs=8"]
    dlcourse.run(*words, *quiet, f"run_dir={tmp_path / 'run'}")
    (tmp_path / "new").mkdir()
    photo(tmp_path / "new" / "1.png", light=False)
    photo(tmp_path / "new" / "2.png", light=True, corner=(200, 60))
    image = Image.open(photo(tmp_path / "new" / "3.png", light=False))
    image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "new" / "3.png")
    Image.new("L", (90, 70), 220).save(tmp_path / "new" / "4.png")
    capsys.readouterr()
    assert predict([f"run={tmp_path / 'run'}", f"input={tmp_path / 'new'}", "normalise=true"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[:3]] == [["1.png", "seven"], ["2.png", "seven"], ["3.png", "turned"]]
    assert ["unlike the training pictures" in line for line in lines] == [False, False, False, True]


def test_what_cannot_be_normalised_is_refused(tmp_path):
    quiet = ["logger=none", "callbacks=none", "report=false", "trainer.max_epochs=1"]
    dlcourse.run(*quiet, "data=iris", f"run_dir={tmp_path / 'iris'}")
    photo(tmp_path / "x.png", light=True)
    with pytest.raises(Refused, match="normalise=true is for grey square pictures"):
        predict([f"run={tmp_path / 'iris'}", f"input={tmp_path / 'x.png'}", "normalise=true"])
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    with pytest.raises(Refused, match="normalise=true takes pictures"):
        predict([f"run={tmp_path / 'iris'}", f"input={tmp_path / 'x.npy'}", "normalise=true"])
