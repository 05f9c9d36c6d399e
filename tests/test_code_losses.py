"""The losses on codes against NumPy and scikit-learn, their gradients, and what they refuse (L19)."""

import math

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from sklearn.metrics import log_loss
from sklearn.metrics.pairwise import cosine_similarity

from tests import objects
from tests.test_losses import differences

Y = torch.tensor([2, 0, 2, 1, 0, 2, 5])  # of classes 1 and 5 there is one row each


def codes(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def contrastive(**options: object):
    return objects.loss("supervised_contrastive", **options)


def arcface(classes: int = 6, **options: object):
    torch.manual_seed(1)
    return objects.loss("arcface", **{"classes": classes, "code": 4, **options}).double()


def khosla(z: np.ndarray, y: np.ndarray, tau: float, weight: np.ndarray | None = None) -> float:
    """Equation 2 of the paper, sum by sum."""
    s, rows, costs, weights = cosine_similarity(z) / tau, range(len(z)), [], []
    for i in rows:
        partners = [p for p in rows if p != i and y[p] == y[i]]
        if partners:
            below = sum(math.exp(s[i, a]) for a in rows if a != i)
            costs.append(-np.mean([math.log(math.exp(s[i, p]) / below) for p in partners]))
            weights.append(1.0 if weight is None else weight[i])
    return float(np.average(costs, weights=weights))


def deng(z: np.ndarray, y: np.ndarray, centres: np.ndarray, scale: float, margin: float) -> float:
    """With angles, and scikit-learn's logarithmic loss."""
    cosine = cosine_similarity(z, centres)
    for row, k in enumerate(y):
        theta = np.arccos(cosine[row, k])
        inside = theta + margin < np.pi
        cosine[row, k] = np.cos(theta + margin) if inside else cosine[row, k] - margin * np.sin(margin)
    a = np.exp(scale * cosine)
    return float(log_loss(y, a / a.sum(1, keepdims=True), labels=range(len(centres))))


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_supervised_contrastive_is_its_formula(tau: float) -> None:
    z, loss = codes().requires_grad_(), contrastive(temperature=tau)
    value, divisor = loss(z, Y)
    assert float(value.detach()) == pytest.approx(khosla(z.detach().numpy(), Y.numpy(), tau), rel=1e-12)
    assert float(divisor) == 5, "two rows have no partner"
    (gradient,) = torch.autograd.grad(value, z)
    expected = differences(lambda z: khosla(z, Y.numpy(), tau), z.detach().numpy())
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=1e-8)
    weight = torch.tensor([1.0, 2, 3, 4, 5, 6, 7])
    weighed, total = loss(z, Y, weight)
    assert float(weighed.detach()) == pytest.approx(khosla(z.detach().numpy(), Y.numpy(), tau, weight.numpy()))
    assert float(total) == 1 + 2 + 3 + 5 + 6


def test_the_label_of_a_row_without_weight_says_nothing() -> None:
    weight = torch.tensor([1.0, 1, 1, 0, 1, 0, 0])
    told, other = (contrastive()(codes(), y, weight) for y in (Y, torch.where(weight > 0, Y, 9)))
    assert float(told[0]) == float(other[0]) > 0 and float(told[1]) == float(other[1])


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.5])
def test_arcface_is_its_formula(margin: float) -> None:
    z, loss = codes().requires_grad_(), arcface(margin=margin, scale=5)
    centres = loss.centres.detach().numpy()
    value, divisor = loss(z, Y)
    assert float(value.detach()) == pytest.approx(deng(z.detach().numpy(), Y.numpy(), centres, 5, margin), rel=1e-9)
    assert divisor == 7
    gradients = torch.autograd.grad(value, [z, loss.centres])
    of_z = differences(lambda z: deng(z, Y.numpy(), centres, 5, margin), z.detach().numpy())
    of_centres = differences(lambda w: deng(z.detach().numpy(), Y.numpy(), w, 5, margin), centres)
    np.testing.assert_allclose(gradients[0].numpy(), of_z, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradients[1].numpy(), of_centres, rtol=1e-5, atol=1e-7)
    parts = [loss(z[k : k + 3], Y[k : k + 3]) for k in (0, 3, 6)]
    mean = sum(part.detach() * count for part, count in parts) / 7
    assert float(mean) == pytest.approx(float(value.detach())), "exact over batches"


def test_where_there_is_no_pair_there_is_no_cost_and_no_slope() -> None:
    for rows in (1, 3):
        z = codes()[:rows].requires_grad_()
        value, divisor = contrastive()(z, torch.arange(rows))
        (gradient,) = torch.autograd.grad(value, z)
        assert float(value) == 0 == float(divisor) and not gradient.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_the_ends(dtype: torch.dtype) -> None:
    """Equal, opposite, huge and zero codes, and codes on their centre."""
    same = torch.ones(4, 4, dtype=dtype)
    for loss in (contrastive(), arcface().to(dtype)):
        for z in (same, same * torch.tensor([[1.0], [-1], [1], [-1]], dtype=dtype), 1e10 * same, 0 * same):
            z = z.clone().requires_grad_()
            value, _ = loss(z, torch.tensor([0, 0, 1, 1]))
            (gradient,) = torch.autograd.grad(value, z)
            assert value.isfinite() and gradient.isfinite().all()
    loss = arcface().to(dtype)
    on_centre = loss.centres.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(on_centre, torch.arange(6))[0], on_centre)
    assert gradient.isfinite().all()


def test_several_models_at_once() -> None:
    stack = torch.stack([codes(), -2 * codes().flip(1), codes() ** 2])
    for loss in (contrastive(), arcface()):

        def slope(z: torch.Tensor, loss=loss) -> torch.Tensor:
            return torch.func.grad(lambda z: loss(z, Y)[0])(z)

        together = torch.func.vmap(slope)(stack)
        torch.testing.assert_close(together, torch.stack([slope(z) for z in stack]))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("supervised_contrastive", {"temperature": 0}, "temperature=0"),
        ("supervised_contrastive", {"compares_rows": False}, "compares_rows=false"),
        ("arcface", {"scale": 0}, "scale=0"),
        ("arcface", {"margin": 3.2}, "margin=3.2"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(InstantiationException, match=said):
        objects.loss(name, **options)


def test_targets_are_whole_numbers_one_a_row() -> None:
    for loss in (contrastive(), arcface()):
        for target in (Y.double(), Y[:3], torch.zeros(7, 4)):
            with pytest.raises(ValueError, match=r"expected codes \(M, K\) and whole numbers"):
                loss(codes(), target)
