import pytest
import torch

from dlcourse.errors import Refused


@pytest.mark.parametrize(
    ("name", "truth"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("nand", [1, 1, 1, 0]), ("xor", [0, 1, 1, 0])]
)
def test_gates(load, name, truth):
    (x, y), test = load(name).arrays()
    assert x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]] and y.flatten().tolist() == truth and test is None


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "blobs"])
def test_generated_classes_are_balanced_and_do_not_depend_on_the_seed(load, name):
    (x, y), (other, _) = load(name).arrays()
    (again, _), _ = load(name, seed=5, split_seed=5).arrays()
    assert x.shape == (1000, 2) and y.shape == (1000,) and y.sum() == 500
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(x, again) and not torch.equal(x, other)


@pytest.mark.parametrize(("name", "columns"), [("sine", 1), ("linear", 3)])
def test_generated_values(load, name, columns):
    (x, y), _ = load(name).arrays()
    assert x.shape == (1000, columns) and y.shape == (1000, 1)


def test_sine_without_noise_is_the_sine(load):
    (x, y), _ = load("sine", noise=0.0).arrays()
    assert torch.equal(y, x.sin()) and -3.1416 < x.min() < -3 and 3 < x.max() < 3.1416


def test_linear_is_found_by_least_squares(load):
    data = load("linear", noise=0.0)
    (x, y), _ = data.arrays()
    solution = torch.linalg.lstsq(torch.cat((x, torch.ones(len(x), 1)), 1), y).solution.flatten()
    assert torch.allclose(solution, torch.tensor([*data.w, data.b]), atol=1e-5)


def test_blobs_are_separable_by_a_line_between_their_centers(load):
    data = load("blobs")
    normal = torch.tensor(data.centers[1]) - torch.tensor(data.centers[0])
    for x, y in data.arrays():
        assert torch.equal(x @ normal > 0, y.flatten() == 1)


def test_three_blobs_are_classes(load):
    centers = [[0, 0], [3, 0], [0, 3]]
    data = load("blobs", centers=centers, outputs=3, classes=["a", "b", "c"])
    (x, y), _ = data.arrays()
    assert y.dtype == torch.int64 and sorted(y.unique().tolist()) == [0, 1, 2]


def test_spirals_turn(load):
    (x, y), _ = load("spirals", noise=0.0).arrays()
    r = x.norm(dim=1)
    phi = 2 * torch.pi * 1.5 * r + torch.pi * y.flatten()
    assert torch.allclose(x, torch.stack((r * phi.cos(), r * phi.sin()), 1), atol=1e-5) and r.max() <= 1.00001


@pytest.mark.parametrize("change", [{"n_samples": 1}, {"noise": -1.0}])
def test_impossible_numbers_are_refused(load, change):
    with pytest.raises(Refused, match="data=moons"):
        load("moons", **change).arrays()


@pytest.mark.parametrize("name", ["and", "or", "nand", "xor", "moons", "circles", "spirals", "blobs", "sine", "linear"])
def test_setup(load, name):
    data = load(name)
    data.setup()
    assert set(data.sets) == {"train", "val", "test"}
