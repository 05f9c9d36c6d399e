"""Every activation in conf/activation: value, derivative and range against NumPy formulas in float64. Lecture: L8."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import norm

CONF = Path(__file__).parents[1] / "conf" / "activation"
INF = float("inf")


def factory(name: str):
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"))


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


class Row(NamedTuple):
    value: Callable
    derivative: Callable
    low: float
    high: float
    at_zero: float  # the derivative that PyTorch takes at 0, where the formula may have none


# The range is the interval whose ends the values reach or come as near to as one likes.
ELEMENTWISE = {
    "identity": Row(lambda z: z, lambda z: 1 + 0 * z, -INF, INF, 1),
    "step": Row(lambda z: (z > 0) * 1.0, lambda z: 0 * z, 0, 1, 0),
    "sigmoid": Row(sigma, lambda z: sigma(z) * (1 - sigma(z)), 0, 1, 0.25),
    "tanh": Row(lambda z: 2 * sigma(2 * z) - 1, lambda z: 4 * sigma(2 * z) * (1 - sigma(2 * z)), -1, 1, 1),
    "relu": Row(lambda z: np.maximum(0, z), lambda z: (z > 0) * 1.0, 0, INF, 0),
    "leaky_relu": Row(lambda z: np.where(z < 0, 0.01 * z, z), lambda z: np.where(z < 0, 0.01, 1), -INF, INF, 0.01),
    "prelu": Row(lambda z: np.where(z < 0, 0.25 * z, z), lambda z: np.where(z < 0, 0.25, 1), -INF, INF, 0.25),
    "elu": Row(lambda z: np.where(z < 0, np.exp(z) - 1, z), lambda z: np.where(z < 0, np.exp(z), 1), -1, INF, 1),
    "gelu": Row(lambda z: z * norm.cdf(z), lambda z: norm.cdf(z) + z * norm.pdf(z), -0.169971, INF, 0.5),
    "silu": Row(
        lambda z: z * sigma(z), lambda z: sigma(z) * (1 + z * (1 - sigma(z))), -0.278465, INF, 0.5
    ),
}  # fmt: skip
JOINT = {"softmax"}  # its outputs depend on one another


def test_every_file_has_a_reference():
    assert {path.stem for path in CONF.glob("*.yaml")} - {"own"} == set(ELEMENTWISE) | JOINT


def derivative(f: torch.nn.Module, z: torch.Tensor) -> torch.Tensor:
    z = z.clone().requires_grad_()
    a = f(z)
    return torch.autograd.grad(a.sum(), z)[0] if a.requires_grad else torch.zeros_like(z)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value_and_derivative(name):
    row, f = ELEMENTWISE[name], factory(name)().double()
    z = np.linspace(-12, 12, 2400)  # an even number of points: 0 is not among them
    assert np.abs(z).min() > 1e-3
    tensor = torch.from_numpy(z).reshape(60, 40)
    np.testing.assert_allclose(f(tensor).detach().numpy().ravel(), row.value(z), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(derivative(f, tensor).numpy().ravel(), row.derivative(z), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_at_zero(name):
    f, zero = factory(name)().double(), torch.zeros(1, 1, dtype=torch.float64)
    assert f(zero).item() == (0.5 if name == "sigmoid" else 0)
    assert derivative(f, zero).item() == pytest.approx(ELEMENTWISE[name].at_zero)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_range(name):
    row, f = ELEMENTWISE[name], factory(name)().double()
    z = torch.cat([torch.linspace(-30, 30, 60001), torch.tensor([-1e6, -1e3, 1e3, 1e6])]).double()
    a = f(z[None]).detach()
    assert torch.isfinite(a).all()
    for attained, bound in ((a.min().item(), row.low), (a.max().item(), row.high)):
        if np.isinf(bound):
            assert attained * np.sign(bound) >= 1e4
        else:
            assert attained == pytest.approx(bound, abs=1e-6)
    assert a.min() >= row.low - 1e-6
    assert a.max() <= row.high


@pytest.mark.parametrize("name, low, high", [("sigmoid", 0, 1), ("tanh", -1, 1), ("softmax", 0, 1)])
def test_open_ranges_exclude_their_ends(name, low, high):
    a = factory(name)()(torch.linspace(-15, 15, 300, dtype=torch.float64).reshape(100, 3))
    assert a.min() > low
    assert a.max() < high


def test_tanh_is_a_stretched_sigmoid():
    z = torch.linspace(-8, 8, 101, dtype=torch.float64)
    torch.testing.assert_close(factory("tanh")()(z), 2 * factory("sigmoid")()(2 * z) - 1)


def test_softmax_value_and_jacobian():
    f = factory("softmax")()
    z = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 4.0, 0.5]], dtype=torch.float64)
    s = np.exp(z.numpy()) / np.exp(z.numpy()).sum(1, keepdims=True)
    np.testing.assert_allclose(f(z).numpy(), s, rtol=1e-14)
    for row, a in zip(z, s, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: f(r[None])[0], row).numpy()
        np.testing.assert_allclose(jacobian, np.diag(a) - np.outer(a, a), atol=1e-15)


def test_softmax_runs_over_units_or_channels_and_does_not_overflow():
    f = factory("softmax")()
    for shape in ((5, 7), (5, 7, 4), (5, 7, 4, 3)):
        a = f(torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e4)
        torch.testing.assert_close(a.sum(1), torch.ones_like(a[:, 0]))


def test_step_passes_no_gradient():
    z = torch.randn(4, 3, requires_grad=True)
    assert not factory("step")()(z).requires_grad


def test_prelu_learns_its_slope():
    f = factory("prelu")().double()
    f(torch.tensor([[-2.0, 3.0, -0.5]], dtype=torch.float64)).sum().backward()
    assert [p.grad.tolist() for p in f.parameters()] == [[-2.5]]


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) | JOINT))
def test_a_factory_makes_one_instance_a_layer(name):
    make = factory(name)
    assert make() is not make()
