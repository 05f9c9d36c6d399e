"""The lecture in NumPy: neurons, feed-forward, backpropagation, losses and optimizers in its own symbols.

Nothing here is fast and nothing is hidden. The notebooks teach from it; the tests hold the PyTorch side against it.
Rows are samples: x (N, n_in), z and a (N, n_out); a layer is (w, b) with w (n_out, n_in) and b (n_out,).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layer = tuple[Array, Array]
State = dict[str, Array]  # what an optimizer remembers of one parameter between its steps


# ── Neurons ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def perceptron(x: Array, y: Array, eta: float = 1.0, epochs: int = 100) -> tuple[Array, float, int]:
    """Rosenblatt's rule: a = 1 if w·x + b > 0 else 0; w ← w + η (y − a) x, b ← b + η (y − a), row by row.

    y (N,) in {0, 1}. Gives w, b and how many corrections there were; ends after an epoch without one. From w = 0 on
    rows that a line separates there are at most (R/γ)² (Novikoff 1962). Lecture: L1.
    """
    w, b, corrections = np.zeros(x.shape[1]), 0.0, 0
    for _ in range(epochs):
        before = corrections
        for row, target in zip(x, y, strict=True):
            error = target - float(w @ row + b > 0)
            w, b, corrections = w + eta * error * row, b + eta * error, corrections + int(error != 0)
        if corrections == before:
            break
    return w, b, corrections


def sigma(z: Array) -> Array:
    """σ(z) = 1/(1 + e^−z), in (0, 1), by whichever of its two forms does not overflow. Lecture: L2, L8b."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, small) / (1 + small)


def softmax(z: Array) -> Array:
    """a_j = e^{z_j}/Σ_k e^{z_k}, each in (0, 1), a row sums to 1; a shift of all z changes nothing. Lecture: L8f."""
    shifted = np.exp(z - z.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


class Activation(NamedTuple):
    """A hidden unit's output f(z) and its derivative f′(z), elementwise."""

    f: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def leaky(slope: float) -> Activation:
    """f(x) = a·x for x < 0, x for x ≥ 0. Range (−∞, ∞) for a > 0. Lecture: L8e."""
    return Activation(lambda z: np.where(z < 0, slope * z, z), lambda z: np.where(z > 0, 1.0, slope))


#: Lecture: L8a–e. Where f has a corner, at 0, the derivative is the one from the left, as in PyTorch.
ACTIVATIONS = {
    "identity": Activation(lambda z: z, np.ones_like),
    "sigmoid": Activation(sigma, lambda z: sigma(z) * (1 - sigma(z))),
    "tanh": Activation(lambda z: 2 * sigma(2 * z) - 1, lambda z: 1 - (2 * sigma(2 * z) - 1) ** 2),
    "relu": leaky(0.0),
    "leaky_relu": leaky(0.01),
}


# ── Losses: C and ∂C/∂z of the weighted inputs of the last layer ─────────────────────────────────────────────────────


class Loss(NamedTuple):
    """The output a(z), the cost C(z, t) (one number, the mean over the rows), and its gradient ∂C/∂z (N, n_out)."""

    output: Callable[[Array], Array]
    cost: Callable[[Array, Array], float]
    gradient: Callable[[Array, Array], Array]


def softplus(z: Array) -> Array:
    """ln(1 + e^z)."""
    return np.logaddexp(0, z)


#: C = mean (t − z)²: a linear unit's minimum is ordinary least squares. Lecture: L9.
MSE = Loss(
    lambda z: z,
    lambda z, t: float(np.mean((t - z) ** 2)),
    lambda z, t: 2 * (z - t) / z.size,
)
#: C = mean (t − σ(z))²; σ′(z) in its gradient is what slows a badly wrong neuron down. Lecture: L11.
SIGMOID_MSE = Loss(
    sigma,
    lambda z, t: float(np.mean((t - sigma(z)) ** 2)),
    lambda z, t: 2 * (sigma(z) - t) * sigma(z) * (1 - sigma(z)) / z.size,
)
#: C = −mean [t ln a + (1 − t) ln(1 − a)], a = σ(z); the gradient is a − t, without σ′. Lecture: L10.
BCE = Loss(
    sigma,
    lambda z, t: float(np.mean(t * softplus(-z) + (1 - t) * softplus(z))),
    lambda z, t: (sigma(z) - t) / z.size,
)
#: C = −mean Σ_j t_j ln a_j, a = softmax(z), t one-hot. Lecture: L11.
CROSS_ENTROPY = Loss(
    softmax,
    lambda z, t: float(np.mean(np.logaddexp.reduce(z, axis=1) - (t * z).sum(1))),
    lambda z, t: (softmax(z) - t) / len(z),
)


# ── Networks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def network(widths: Sequence[int], rng: np.random.Generator) -> list[Layer]:
    """Layers of these widths, inputs first; w ~ N(0, 1/n_in), b = 0."""
    pairs = zip(widths[1:], widths[:-1], strict=True)
    return [(rng.normal(size=(n_out, n_in)) / np.sqrt(n_in), np.zeros(n_out)) for n_out, n_in in pairs]


def feed_forward(layers: Sequence[Layer], x: Array, activation: Activation) -> tuple[list[Array], list[Array]]:
    """z of each layer, and what enters each: a⁰ = x, zˡ = aˡ⁻¹ wˡᵀ + bˡ, aˡ = f(zˡ). Lecture: L6.

    The last z is what the loss takes; its output function belongs to the loss.
    """
    zs, entering = [], [x]
    for w, b in layers:
        zs.append(entering[-1] @ w.T + b)
        entering.append(activation.f(zs[-1]))
    return zs, entering[:-1]


def backpropagate(
    layers: Sequence[Layer], x: Array, t: Array, activation: Activation, loss: Loss
) -> tuple[float, list[Layer]]:
    """C and (∂C/∂w, ∂C/∂b) of each layer, by the chain rule from the last to the first. Lecture: L13.

    δᴸ = ∂C/∂zᴸ, δˡ = (δˡ⁺¹ wˡ⁺¹) f′(zˡ), ∂C/∂wˡ = δˡᵀ aˡ⁻¹, ∂C/∂bˡ = Σ_n δˡ.
    """
    zs, entering = feed_forward(layers, x, activation)
    delta = loss.gradient(zs[-1], t)
    gradients: list[Layer] = []
    for place in reversed(range(len(layers))):
        gradients.insert(0, (delta.T @ entering[place], delta.sum(0)))
        if place:
            delta = (delta @ layers[place][0]) * activation.derivative(zs[place - 1])
    return loss.cost(zs[-1], t), gradients


def numerical_gradient(cost: Callable[[], float], v: Array, h: float = 1e-6) -> Array:
    """∂C/∂v by central differences, (C(v + h) − C(v − h))/2h for one entry of v at a time; v comes back unchanged."""
    found = np.zeros_like(v)
    for place in np.ndindex(*v.shape):
        kept = v[place]
        v[place] = kept + h
        above = cost()
        v[place] = kept - h
        found[place] = (above - cost()) / (2 * h)
        v[place] = kept
    return found


# ── Optimizers: each changes a parameter v in place by its gradient g ────────────────────────────────────────────────


def gd(v: Array, g: Array, state: State, eta: float) -> None:
    """v ← v − η g, which makes ΔC ≈ −η ‖g‖². Lecture: L12."""
    v -= eta * g


def momentum(v: Array, g: Array, state: State, eta: float, mu: float = 0.9) -> None:
    """m ← μ m + g, v ← v − η m. Lecture: L12; Polyak (1964)."""
    m = state.setdefault("m", np.zeros_like(v))
    m[...] = mu * m + g
    v -= eta * m


def nesterov(v: Array, g: Array, state: State, eta: float, mu: float = 0.9) -> None:
    """m ← μ m + g, v ← v − η (g + μ m): the step that momentum is about to take. Lecture: L12; Nesterov (1983)."""
    m = state.setdefault("m", np.zeros_like(v))
    m[...] = mu * m + g
    v -= eta * (g + mu * m)


def adagrad(v: Array, g: Array, state: State, eta: float, eps: float = 1e-10) -> None:
    """s ← s + g², v ← v − η g/(√s + ε): rare inputs keep a large rate, and every rate decays. Lecture: L15."""
    s = state.setdefault("s", np.zeros_like(v))
    s += g**2
    v -= eta * g / (np.sqrt(s) + eps)


def adadelta(v: Array, g: Array, state: State, eta: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
    """s ← ρ s + (1 − ρ) g², Δ = √(u + ε)/√(s + ε) g, u ← ρ u + (1 − ρ) Δ², v ← v − η Δ. Lecture: L16; Zeiler (2012)."""
    s, u = (state.setdefault(name, np.zeros_like(v)) for name in ("s", "u"))
    s[...] = rho * s + (1 - rho) * g**2
    delta = np.sqrt(u + eps) / np.sqrt(s + eps) * g
    u[...] = rho * u + (1 - rho) * delta**2
    v -= eta * delta


def adam(
    v: Array, g: Array, state: State, eta: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> None:
    """m ← β₁ m + (1 − β₁) g, s ← β₂ s + (1 − β₂) g², v ← v − η m̂/(√ŝ + ε).

    m̂ = m/(1 − β₁ᵗ) and ŝ = s/(1 − β₂ᵗ) make up for the start at 0. Lecture: L14; Kingma and Ba (2015).
    """
    m, s = (state.setdefault(name, np.zeros_like(v)) for name in ("m", "s"))
    t = state.setdefault("t", np.zeros(()))
    t += 1
    m[...] = beta1 * m + (1 - beta1) * g
    s[...] = beta2 * s + (1 - beta2) * g**2
    v -= eta * (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + eps)


# ── Training ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def train(
    layers: Sequence[Layer],
    x: Array,
    t: Array,
    activation: Activation,
    loss: Loss,
    optimizer: Callable[[Array, Array, State], None],
    batches: Iterator[NDArray[np.int64]],
) -> list[float]:
    """Descend along the batches (row numbers of x), changing the layers in place; C before each step. Lecture: L12.

    ``optimizer`` has its η: ``partial(adam, eta=0.01)``. All rows in one batch is gradient descent proper.
    """
    states: list[State] = [{} for _ in range(2 * len(layers))]
    costs = []
    for rows in batches:
        cost, gradients = backpropagate(layers, x[rows], t[rows], activation, loss)
        costs.append(cost)
        values = [v for layer in layers for v in layer]
        slopes = [g for layer in gradients for g in layer]
        for v, g, state in zip(values, slopes, states, strict=True):
            optimizer(v, g, state)
    return costs


def shuffled(n: int, batch_size: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """The row numbers of mini-batches: each epoch once through all n rows, in a new order."""
    for _ in range(epochs):
        order = rng.permutation(n)
        yield from (order[start : start + batch_size] for start in range(0, n, batch_size))
