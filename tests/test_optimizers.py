"""Every optimizer in conf/optimizer: ten steps against its published rule in NumPy float64. Lecture: L12, L14–L16."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from scipy.optimize import minimize

import dlcourse.config.compose  # noqa: F401  (what conf/ computes)
from dlcourse.optimizers import Muon, orthogonal

CONF = Path(__file__).parents[1] / "conf"
NAMES = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml") if path.stem != "own")
STEPS = 10
Gradient = Callable[[np.ndarray], np.ndarray]


@cache
def composed(name: str) -> DictConfig:
    """The choice as Hydra reads it: some files hold keys beside their group's."""
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(overrides=[f"+optimizer={name}", "+trainer=auto"])


def factory(name: str, **options: Any):
    return instantiate(OmegaConf.merge(composed(name), {"optimizer": options}).optimizer)


def gradient(w: np.ndarray) -> np.ndarray:
    """A bowl with waves: smooth, not quadratic, and of both signs along the way."""
    tilt = np.linspace(0.2, 3, w.size).reshape(w.shape)
    return tilt * (w - 0.5) + 0.7 * np.cos(5 * w)


START = [np.random.default_rng(5).normal(size=shape) for shape in ((4, 3), (3, 5), (3,), (2, 2, 3))]


# The rules. Each generates w_1, w_2, … from w_0; ``lr`` is η. Lists of numbers are scalars or arrays of the shape of w.
def gradient_descent(w, g: Gradient, lr, weight_decay=0.0):
    while True:
        w = w - lr * (g(w) + weight_decay * w)
        yield w


def heavy_ball(w, g: Gradient, lr, momentum, weight_decay=0.0):
    """Polyak (1964): two steps of memory, no velocity."""
    previous = w
    while True:
        w, previous = w - lr * (g(w) + weight_decay * w) + momentum * (w - previous), w
        yield w


def look_ahead(w, g: Gradient, lr, momentum):
    """Sutskever et al. (2013), equations 3 and 4; PyTorch keeps w + μ v, where the gradient is taken."""
    v = 0 * w
    while True:
        v = momentum * v - lr * g(w + momentum * v)
        w = w + v
        yield w + momentum * v


def adagrad(w, g: Gradient, lr, eps, lr_decay=0.0, weight_decay=0.0):
    history: list[np.ndarray] = []
    while True:
        history.append(g(w) + weight_decay * w)
        eta = lr / (1 + (len(history) - 1) * lr_decay)
        w = w - eta * history[-1] / (np.sqrt(sum(past**2 for past in history)) + eps)
        yield w


def adadelta(w, g: Gradient, lr, rho, eps):
    """Zeiler (2012), algorithm 1."""
    s, u = 0 * w, 0 * w
    while True:
        s = rho * s + (1 - rho) * g(w) ** 2
        delta = -np.sqrt(u + eps) / np.sqrt(s + eps) * g(w)
        u = rho * u + (1 - rho) * delta**2
        w = w + lr * delta
        yield w


def rmsprop(w, g: Gradient, lr, alpha, eps, centered=False):
    s, mean = 0 * w, 0 * w
    while True:
        s = alpha * s + (1 - alpha) * g(w) ** 2
        mean = alpha * mean + (1 - alpha) * g(w)
        w = w - lr * g(w) / (np.sqrt(s - mean**2 if centered else s) + eps)
        yield w


def adam(w, g: Gradient, lr, betas, eps, weight_decay=0.0, decoupled=0.0):
    """Kingma and Ba (2015), the averages written out as weighted sums; ``decoupled``: Loshchilov and Hutter (2019)."""
    seen: list[np.ndarray] = []
    while True:
        seen.append(g(w) + weight_decay * w)
        first, second = betas

        def average(beta, values):
            weights = beta ** np.arange(len(values))[::-1]
            return sum(k * v for k, v in zip(weights / weights.sum(), values, strict=True))

        w = (1 - lr * decoupled) * w
        w = w - lr * average(first, seen) / (np.sqrt(average(second, [past**2 for past in seen])) + eps)
        yield w


def adamw(w, g: Gradient, weight_decay, **options):
    return adam(w, g, decoupled=weight_decay, **options)


def muon(w, g: Gradient, lr, momentum, weight_decay, adamw_lr, betas, eps, nesterov=True, ns_steps=5):
    """Jordan (2024): the polynomial acts on the singular values alone."""
    if w.ndim != 2:
        yield from adamw(w, g, lr=adamw_lr, weight_decay=weight_decay, betas=betas, eps=eps)
    b = 0 * w
    while True:
        b = momentum * b + (1 - momentum) * g(w)
        u, s, vt = np.linalg.svd(momentum * b + (1 - momentum) * g(w) if nesterov else b, full_matrices=False)
        s = s / np.linalg.norm(s)
        for _ in range(ns_steps):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        w = (1 - lr * weight_decay) * w - lr * np.sqrt(max(1, w.shape[0] / w.shape[1])) * (u * s) @ vt
        yield w


class Row(NamedTuple):
    """``published``: what the rule is given when the file is used as shipped; ``options``: given to both."""

    name: str
    reference: Callable
    published: dict[str, Any]
    options: dict[str, Any] = {}
    torch_only: dict[str, Any] = {}
    tolerance: float = 1e-10


ADAM: dict[str, Any] = dict(lr=0.001, betas=(0.9, 0.999), eps=1e-8)
MUON = ADAM | dict(lr=0.02, adamw_lr=0.001, momentum=0.95, weight_decay=0.01)
FUSED: dict[str, Any] = dict(fused=True)
TABLE = [
    Row("gd", gradient_descent, dict(lr=0.1)),
    Row("perceptron_rule", gradient_descent, dict(lr=1.0), tolerance=1e-8),
    Row("sgd", gradient_descent, dict(lr=0.01)),
    Row("sgd", gradient_descent, dict(lr=0.01), dict(lr=0.2, weight_decay=0.1), FUSED),
    Row("sgd", heavy_ball, dict(lr=0.01), dict(momentum=0.5)),
    Row("momentum", heavy_ball, dict(lr=0.01, momentum=0.9)),
    Row("momentum", heavy_ball, dict(), dict(lr=0.1, momentum=0.6, weight_decay=0.1)),
    Row("nesterov", look_ahead, dict(lr=0.01, momentum=0.9)),
    Row("nesterov", look_ahead, dict(), dict(lr=0.1, momentum=0.6), FUSED),
    Row("adagrad", adagrad, dict(lr=0.01, eps=1e-10)),
    Row("adagrad", adagrad, dict(), dict(lr=0.2, eps=0.1, lr_decay=0.1, weight_decay=0.1)),
    Row("adadelta", adadelta, dict(lr=1.0, rho=0.9, eps=1e-6)),
    Row("adadelta", adadelta, dict(), dict(lr=0.5, rho=0.8, eps=0.01)),
    Row("rmsprop", rmsprop, dict(lr=0.001, alpha=0.99, eps=1e-8)),
    Row("rmsprop", rmsprop, dict(), dict(lr=0.05, alpha=0.8, eps=0.1, centered=True)),
    Row("adam", adam, ADAM),
    Row("adam", adam, ADAM, dict(lr=0.1, betas=[0.5, 0.7], eps=0.1, weight_decay=0.1), FUSED),
    Row("adamw", adamw, ADAM | dict(weight_decay=0.01)),
    Row("adamw", adamw, dict(), dict(lr=0.1, betas=[0.5, 0.7], eps=0.1, weight_decay=0.3), FUSED),
    Row("muon", muon, MUON),
    Row("muon", muon, MUON, dict(lr=0.1, momentum=0.5, nesterov=False, ns_steps=3, weight_decay=0.2, adamw_lr=0.05)),
]
BY_CLOSURE = {"lbfgs"}  # its steps follow a line search: see the quadratic below


def test_every_file_has_a_reference():
    assert {row.name for row in TABLE} | BY_CLOSURE == set(NAMES)


def parameters(dtype=torch.float64) -> list[tuple[str, torch.nn.Parameter]]:
    return [(f"w{i}", torch.nn.Parameter(torch.tensor(w, dtype=dtype))) for i, w in enumerate(START)]


def walk(optimizer: torch.optim.Optimizer, named: list[tuple[str, torch.nn.Parameter]], steps: int = STEPS) -> list:
    """Step with gradients from NumPy; the parameters after each step."""
    path = []
    for _ in range(steps):
        for _, p in named:
            p.grad = torch.from_numpy(gradient(p.detach().double().numpy())).to(p.dtype)
        optimizer.step()
        path.append([p.detach().double().numpy().copy() for _, p in named])
    return path


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.name}-{row.options}")
def test_trajectory(row):
    named = parameters()
    path = walk(factory(row.name, **row.options, **row.torch_only)(named), named)
    assert len(path) == STEPS
    rules = [row.reference(w, gradient, **(row.published | row.options)) for w in START]
    for step, ours in enumerate(path):
        for i, (a, rule) in enumerate(zip(ours, rules, strict=True)):
            message = f"step {step}, parameter {i}"
            np.testing.assert_allclose(a, next(rule), rtol=row.tolerance, atol=row.tolerance, err_msg=message)
    assert all(np.abs(end - start).max() > 1e-3 for end, start in zip(path[-1], START, strict=True))


def test_muon_equals_the_two_optimizers_of_torch():
    """In float32, where both orthogonalise in bfloat16: steps equal to the last bits."""
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    matrices, others = [[(n, p) for n, p in theirs if (p.ndim == 2) is kind] for kind in (True, False)]
    path = walk(factory("muon")(ours), ours)
    for optimizer, named in (
        (torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01), matrices),
        (torch.optim.AdamW(others, lr=0.001, weight_decay=0.01), others),
    ):
        walk(optimizer, named)
    for a, (_, b) in zip(path[-1], theirs, strict=True):
        np.testing.assert_allclose(a, b.detach().double().numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_orthogonal_keeps_directions_and_levels_lengths(shape):
    m = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(m, full_matrices=False)
    core = u.T @ orthogonal(m) @ vt.T
    torch.testing.assert_close(core, torch.diag(core.diag()))
    assert 0.6 < core.diag().min() <= core.diag().max() < 1.3
    assert orthogonal(m.float()).dtype == torch.bfloat16
    assert not orthogonal(torch.zeros(2, 3)).any()


def test_muon_cuts_groups_by_kind_and_keeps_names_and_options():
    named = parameters()
    optimizer = Muon([{"params": named[:3]}, {"params": named[3:], "weight_decay": 0.0, "adamw_lr": 0.5}])
    assert [group["param_names"] for group in optimizer.param_groups] == [["w0", "w1"], ["w2"], ["w3"]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.001, 0.5]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0.0]
    plain = Muon(p for _, p in named)
    assert [len(group["params"]) for group in plain.param_groups] == [2, 2]


def test_muon_skips_parameters_without_gradient_and_runs_its_closure():
    named = parameters()
    optimizer = Muon(named)
    optimizer.step()
    assert all((p.detach().numpy() == w).all() for (_, p), w in zip(named, START, strict=True))
    w = named[0][1]

    def closure():
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx((START[0] ** 2).sum())
    assert (w.detach().numpy() != START[0]).all()


@pytest.mark.parametrize("options", [{"lr": -1}, {"momentum": 1}, {"betas": [0.9, 1.0]}, {"adamw_lr": float("nan")}])
def test_muon_refuses_what_is_out_of_range(options):
    with pytest.raises((ValueError, InstantiationException), match="must be"):
        factory("muon", **options)(parameters())


@pytest.mark.parametrize("name", sorted(set(NAMES) - BY_CLOSURE))
def test_groups_keep_their_own_weight_decay(name):
    """Biases can be spared: with no gradient, only the group with weight decay shrinks."""
    named = parameters()
    groups = [{"params": named[:2]}, {"params": named[2:], "weight_decay": 0.0}]
    optimizer = factory(name, weight_decay=0.5, lr=0.1)(groups)
    for _, p in named:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = [bool((p.detach().numpy() != w).any()) for (_, p), w in zip(named, START, strict=True)]
    assert moved == [True, True, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_checkpoint(name):
    """Five steps, a file of plain tensors and numbers, five more: the same as ten."""
    whole, first, second = parameters(), parameters(), parameters()
    expected = steps_by_closure(factory(name)(whole), whole, 10)
    optimizer = factory(name)(first)
    steps_by_closure(optimizer, first, 5)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    with torch.no_grad():
        for (_, a), (_, b) in zip(second, first, strict=True):
            a.copy_(b)
    optimizer = factory(name)(second)
    optimizer.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(steps_by_closure(optimizer, second, 5), expected, strict=True):
        assert torch.equal(a, b)


def steps_by_closure(optimizer: torch.optim.Optimizer, named: list, steps: int) -> list[torch.Tensor]:
    """Descend Σ ln cosh(w − 1): convex, its curvature fades, so that no optimizer here is done in a few steps."""

    def closure():
        optimizer.zero_grad()
        loss = sum(torch.log(torch.cosh(p - 1)).sum() for _, p in named)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return [p.detach().clone() for _, p in named]


@pytest.mark.parametrize("options, tolerance", [({}, 1e-4), ({"tolerance_change": 1e-15}, 1e-7)])
def test_lbfgs_finds_the_minimum_of_a_quadratic(options, tolerance):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    h, c = root @ root.T + np.eye(6), rng.normal(size=6)
    expected = minimize(lambda w: w @ h @ w / 2 - c @ w, np.zeros(6), jac=lambda w: h @ w - c, tol=1e-12).x
    w = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = factory("lbfgs", **options)([("w", w)])

    def closure():
        optimizer.zero_grad()
        loss = w @ torch.from_numpy(h) @ w / 2 - torch.from_numpy(c) @ w
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    np.testing.assert_allclose(w.detach().numpy(), expected, atol=tolerance)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_an_optimizer_wants_stands_beside_it(name):
    wanted = {"gd": "full", "lbfgs": "full", "perceptron_rule": 1}
    assert composed(name).get("optimizer_batch") == wanted.get(name)
