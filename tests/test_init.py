"""Every initialisation in conf/init: mean, spread and shape of the weights against the published distribution."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import stats
from torch import nn

CONF = Path(__file__).parents[1] / "conf" / "init"


def factory(name: str, **options: Any):
    return instantiate(OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), options))


class Layer(NamedTuple):
    build: Any
    n_in: int
    n_out: int


LAYERS = {
    "linear": Layer(lambda: nn.Linear(300, 200), 300, 200),
    "conv1d": Layer(lambda: nn.Conv1d(40, 90, 5), 200, 450),
    "conv2d": Layer(lambda: nn.Conv2d(16, 120, 3), 144, 1080),
    "conv2d_grouped": Layer(lambda: nn.Conv2d(32, 200, 3, groups=2), 144, 1800),
    "conv3d": Layer(lambda: nn.Conv3d(6, 100, 3), 162, 2700),
}


def uniform(half: float):
    return stats.uniform(-half, 2 * half)


# Weights, biases as frozen SciPy distributions of (n_in, n_out); None: exactly zero.
TABLE = [
    ("default", {}, lambda i, o: uniform(i**-0.5), lambda i, o: uniform(i**-0.5)),
    ("zeros", {}, None, None),
    ("gaussian", {}, lambda i, o: stats.norm(0, i**-0.5), lambda i, o: stats.norm(0, 1)),  # Nielsen, chapter 3
    ("gaussian", {"fan_in": False}, lambda i, o: stats.norm(0, 1), lambda i, o: stats.norm(0, 1)),  # and chapter 1
    ("gaussian", {"std": 0.2}, lambda i, o: stats.norm(0, 0.2 * i**-0.5), lambda i, o: stats.norm(0, 0.2)),
    ("xavier", {}, lambda i, o: uniform((6 / (i + o)) ** 0.5), None),
    ("xavier", {"gain": 3.0}, lambda i, o: uniform(3 * (6 / (i + o)) ** 0.5), None),
    ("sigmoid_as_tanh", {}, lambda i, o: uniform((6 / (i + o)) ** 0.5), None),  # of one layer alone
    ("zero_last", {}, None, None),  # of one layer alone
    ("he", {}, lambda i, o: stats.norm(0, (2 / i) ** 0.5), None),
    ("he", {"a": 0.5}, lambda i, o: stats.norm(0, (2 / 1.25 / i) ** 0.5), None),
]


def test_every_file_has_a_reference():
    assert {path.stem for path in CONF.glob("*.yaml")} - {"own"} == {name for name, *_ in TABLE}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name, options, weights, biases", TABLE, ids=[f"{name}-{o}" for name, o, *_ in TABLE])
def test_distribution(name, options, weights, biases, layer):
    """Kolmogorov–Smirnov against the published distribution; the draw is fixed, so the outcome is too."""
    torch.manual_seed(2)
    build, n_in, n_out = LAYERS[layer]
    network = nn.Sequential(nn.Identity(), nn.Sequential(build()))
    assert factory(name, **options)(network) is None
    for values, distribution in zip(network.parameters(), (weights, biases), strict=True):
        drawn = values.detach().numpy().ravel()
        if distribution is None:
            assert (drawn == 0).all()
        else:
            assert stats.kstest(drawn, distribution(n_in, n_out).cdf).pvalue > 1e-3
            if len(drawn) > 1000:
                assert drawn.std() == pytest.approx(distribution(n_in, n_out).std(), rel=0.02)


@pytest.mark.parametrize("name, options, weights, biases", TABLE, ids=[f"{name}-{o}" for name, o, *_ in TABLE])
def test_other_layers_and_missing_biases_are_left_alone(name, options, weights, biases):
    network = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Conv1d(4, 2, 1, bias=False))
    nn.init.constant_(network[1].weight, 7.0)
    factory(name, **options)(network)
    assert (network[1].weight == 7).all()
    assert np.isfinite(network[0].weight.detach().numpy()).all()


def test_default_changes_nothing_and_the_others_follow_the_seed():
    network = nn.Linear(5, 4)
    before = network.weight.detach().clone()
    factory("default")(network)
    assert torch.equal(network.weight, before)
    for name in ("gaussian", "xavier", "he"):
        drawn = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            factory(name)(network)
            drawn.append(network.weight.detach().clone())
        assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_negative_spread_is_refused():
    with pytest.raises((ValueError, InstantiationException), match="std=-1"):
        factory("gaussian", std=-1)(nn.Linear(2, 2))


def test_sigmoids_compute_what_tanh_does():
    def network(f):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(5, 7), f(), nn.Linear(7, 6), f(), nn.Linear(6, 4), f(), nn.Linear(4, 3)).double()

    of_tanh, of_sigmoids = network(nn.Tanh), network(nn.Sigmoid)
    for each, start in ((of_tanh, factory("xavier")), (of_sigmoids, factory("sigmoid_as_tanh"))):
        torch.manual_seed(0)
        start(each)
    x = torch.randn(20, 5, dtype=torch.float64)
    assert torch.allclose(of_tanh(x), of_sigmoids(x), rtol=0, atol=1e-12)


def test_only_the_last_layer_starts_at_zero():
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    before = network[0].weight.clone()
    factory("zero_last")(network)
    assert torch.equal(network[0].weight, before) and not network(torch.randn(4, 5)).any()
