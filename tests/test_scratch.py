"""The NumPy twin against PyTorch, in float64, and against what the lecture says of it."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs
from torch import nn

from dlcourse import cross_entropies, losses, scratch

CLOSE = dict(rtol=1e-9, atol=1e-12)
ACTIVATIONS = {
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
}
LOSSES = {
    "mse": (scratch.MSE, losses.MSE("identity")),
    "sigmoid mse": (scratch.SIGMOID_MSE, losses.MSE("sigmoid")),
    "bce": (scratch.BCE, cross_entropies.BCE()),
    "cross-entropy": (scratch.CROSS_ENTROPY, cross_entropies.CrossEntropy()),
}
OPTIMIZERS = [
    (partial(scratch.gd, eta=0.1), partial(torch.optim.SGD, lr=0.1)),
    (partial(scratch.momentum, eta=0.05, mu=0.8), partial(torch.optim.SGD, lr=0.05, momentum=0.8)),
    (partial(scratch.nesterov, eta=0.05), partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True)),
    (partial(scratch.adagrad, eta=0.3), partial(torch.optim.Adagrad, lr=0.3)),
    (scratch.adadelta, torch.optim.Adadelta),
    (partial(scratch.adam, eta=0.02, beta1=0.8), partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.999))),
]


def twin(layers, activation):
    """The same network in PyTorch, from the same numbers."""
    parts = []
    for w, b in layers:
        linear = nn.Linear(*w.shape[::-1], dtype=torch.float64)
        linear.load_state_dict({"weight": torch.tensor(w), "bias": torch.tensor(b)})
        parts += [linear, activation]
    return nn.Sequential(*parts[:-1])


def problem(loss, n=12):
    """Inputs, targets as the twin reads them, and as PyTorch does."""
    rng = np.random.default_rng(1)
    x, classes = rng.normal(size=(n, 5)), rng.integers(3, size=n)
    if loss == "mse":
        t = rng.normal(size=(n, 3))
        return x, t, torch.tensor(t)
    return x, np.eye(3)[classes], torch.tensor(classes)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    z = torch.linspace(-800, 800, 4001, dtype=torch.float64, requires_grad=True)  # 0 and the ends of exp among them
    a = ACTIVATIONS[name](z)
    (slope,) = torch.autograd.grad(a.sum(), z)
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(scratch.ACTIVATIONS[name].f(z.detach().numpy()), a.detach().numpy(), **CLOSE)
        found = scratch.ACTIVATIONS[name].derivative(z.detach().numpy())
    np.testing.assert_allclose(found, slope.numpy(), **CLOSE)


def test_every_activation_of_the_twin_is_compared():
    assert set(ACTIVATIONS) == set(scratch.ACTIVATIONS)


def test_softmax_sums_to_one_and_does_not_see_a_shift():
    z = np.random.default_rng(0).normal(size=(50, 7)) * 100
    a = scratch.softmax(z)
    np.testing.assert_allclose(a.sum(1), 1)
    np.testing.assert_allclose(scratch.softmax(z + 1e4), a, rtol=1e-9)
    np.testing.assert_allclose(a, torch.softmax(torch.tensor(z), 1).numpy(), **CLOSE)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1, 1000])
def test_losses(name, size):
    ours, theirs = LOSSES[name]
    _, t, y = problem(name)
    z = torch.tensor(np.random.default_rng(2).normal(size=t.shape) * size, requires_grad=True)
    cost, _ = theirs(z, y)
    (gradient,) = torch.autograd.grad(cost, z)
    there = z.detach().numpy()
    assert ours.cost(there, t) == pytest.approx(cost.item(), rel=1e-12)
    np.testing.assert_allclose(ours.gradient(there, t), gradient.numpy(), **CLOSE)
    np.testing.assert_allclose(ours.output(there), theirs.output(z).detach().numpy(), **CLOSE)


@pytest.mark.parametrize(("activation", "loss"), list(product(ACTIVATIONS, LOSSES)))
def test_backpropagation_is_autograd(activation, loss):
    ours, theirs = LOSSES[loss]
    x, t, y = problem(loss)
    layers = scratch.network([5, 8, 6, 3], np.random.default_rng(0))
    model = twin(layers, ACTIVATIONS[activation])
    cost, _ = theirs(model(torch.tensor(x)), y)
    cost.backward()
    found, gradients = scratch.backpropagate(layers, x, t, scratch.ACTIVATIONS[activation], ours)
    assert found == pytest.approx(cost.item(), rel=1e-12)
    for g, p in zip([g for layer in gradients for g in layer], model.parameters(), strict=True):
        np.testing.assert_allclose(g, p.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("loss", LOSSES)
def test_backpropagation_is_finite_differences(loss):
    ours, _ = LOSSES[loss]
    x, t, _ = problem(loss)
    layers = scratch.network([5, 4, 3], np.random.default_rng(0))
    activation = scratch.ACTIVATIONS["tanh"]
    _, gradients = scratch.backpropagate(layers, x, t, activation, ours)
    before = [v.copy() for layer in layers for v in layer]

    def cost():
        return ours.cost(scratch.feed_forward(layers, x, activation)[0][-1], t)

    for v, g, kept in zip([v for la in layers for v in la], [g for la in gradients for g in la], before, strict=True):
        np.testing.assert_allclose(scratch.numerical_gradient(cost, v), g, rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(v, kept)


@pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS)
def test_optimizers_take_the_same_path(ours, theirs):
    """Sixty mini-batch steps of a whole network, from the same weights through the same rows."""
    x, t, y = problem("cross-entropy", n=40)
    layers = scratch.network([5, 8, 3], np.random.default_rng(0))
    model = twin(layers, nn.Tanh())
    optimizer, loss = theirs(model.parameters()), LOSSES["cross-entropy"][1]
    costs = []
    for rows in scratch.shuffled(40, 16, 20, np.random.default_rng(3)):
        optimizer.zero_grad()
        cost, _ = loss(model(torch.tensor(x[rows])), y[rows])
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    tanh = scratch.ACTIVATIONS["tanh"]
    found = scratch.train(
        layers, x, t, tanh, scratch.CROSS_ENTROPY, ours, scratch.shuffled(40, 16, 20, np.random.default_rng(3))
    )
    assert len(found) == 60
    np.testing.assert_allclose(found, costs, rtol=1e-8)
    for v, p in zip([v for layer in layers for v in layer], model.parameters(), strict=True):
        np.testing.assert_allclose(v, p.detach().numpy(), rtol=1e-7, atol=1e-9)


def test_an_epoch_has_each_row_once():
    batches = list(scratch.shuffled(10, 4, 2, np.random.default_rng(0)))
    assert [len(rows) for rows in batches] == [4, 4, 2, 4, 4, 2]
    first, second = (np.concatenate(part) for part in (batches[:3], batches[3:]))
    assert sorted(first) == sorted(second) == list(range(10)) and list(first) != list(second)


@pytest.mark.parametrize("seed", range(5))
def test_the_perceptron_rule_keeps_its_bound(seed):
    """At most (R/γ)² corrections, γ the margin of any line that separates: here the one between the clouds."""
    x, y = make_blobs(200, centers=[[-3, -3], [3, 3]], cluster_std=0.8, random_state=seed)
    w, b, corrections = scratch.perceptron(x, y)
    assert ((x @ w + b > 0) == y).all()
    margin = np.min((2 * y - 1) * (x @ [1, 1])) / np.sqrt(2)  # with b = 0, so its norm with the bias is √2
    assert margin > 0
    assert 0 < corrections <= ((x**2).sum(1) + 1).max() / margin**2


def test_a_perceptron_never_gets_xor():
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    w, b, corrections = scratch.perceptron(x, y, epochs=1000)
    assert corrections >= 1000 and ((x @ w + b > 0) == y).sum() <= 3


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_digits(seed):
    x, y = load_digits(return_X_y=True)
    x, rng = x / 16, np.random.default_rng(seed)
    layers = scratch.network([64, 32, 10], rng)
    relu = scratch.ACTIVATIONS["relu"]
    costs = scratch.train(
        layers,
        x[:1400],
        np.eye(10)[y[:1400]],
        relu,
        scratch.CROSS_ENTROPY,
        partial(scratch.adam, eta=0.005),
        scratch.shuffled(1400, 32, 20, rng),
    )
    z = scratch.feed_forward(layers, x[1400:], relu)[0][-1]
    assert np.mean(costs[-40:]) < 0.1 * np.mean(costs[:5])
    assert (z.argmax(1) == y[1400:]).mean() > 0.9
