import pytest
import torch

from dlcourse.errors import Refused


@pytest.mark.parametrize(
    ("name", "shape", "counts", "first"),
    [
        ("iris", (150, 4), [50, 50, 50], [5.1, 3.5, 1.4, 0.2]),
        ("wine", (178, 13), [59, 71, 48], [14.23, 1.71, 2.43, 15.6]),
        ("breast_cancer", (569, 30), [212, 357], [17.99, 10.38, 122.8, 1001.0]),
    ],
)
def test_classes(load, name, shape, counts, first):
    data = load(name)
    (x, y), test = data.arrays()
    assert tuple(x.shape) == shape and x.dtype == torch.float32 and test is None
    assert y.flatten().long().bincount().tolist() == counts and len(data.classes) == len(counts)
    assert x[0, :4].tolist() == pytest.approx(first)


def test_diabetes_is_unscaled(load):
    (x, y), _ = load("diabetes").arrays()
    assert x.shape == (442, 10) and y.shape == (442, 1)
    assert x[0, 0] == 59 and (y.min(), y.max()) == (25, 346)


def test_the_first_features_only(load):
    data = load("breast_cancer", features=3)
    (x, _), _ = data.arrays()
    (whole, _), _ = load("breast_cancer").arrays()
    assert data.shape == (3,) and torch.equal(x, whole[:, :3])


@pytest.mark.parametrize("features", [0, 5])
def test_features_that_are_not_there_are_refused(load, features):
    with pytest.raises(Refused, match=f"data.features={features}: data=iris has 1 to 4 columns"):
        load("iris", features=features).arrays()


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_setup(load, name):
    data = load(name)
    data.setup()
    assert set(data.sets) == {"train", "val", "test"}
