"""The figures of a pass against scikit-learn's, however the rows are cut into batches and processes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score

from dlcourse.metrics import HELD_ROWS, Metrics

SIZES = [1, 7, 32, 13, 47]  # 100 rows


def outputs(task):
    generator = torch.Generator().manual_seed(1)
    n = sum(SIZES)
    if task == "classes":
        return torch.randn(n, 4, generator=generator), torch.randint(4, (n,), generator=generator)
    if task == "binary":
        z = torch.randn(n, 1, generator=generator)
        return z, (z + torch.randn(n, 1, generator=generator) > 0).float()
    y = torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 5.0, 100.0]) + torch.tensor([0.0, 300.0, -7.0])
    return y + torch.randn(n, 3, generator=generator) * torch.tensor([0.5, 4.0, 10.0]), y


def row_loss(z, y):
    return (z.sum(1) - y.reshape(len(y), -1).sum(1)).abs()


def reference(task, z, y):
    figures = {"loss": row_loss(z, y).double().mean().item()}
    if task == "classes":
        figures["acc"] = accuracy_score(y.numpy(), z.numpy().argmax(1))
    elif task == "binary":
        figures["acc"] = accuracy_score(y.numpy() > 0.5, z.numpy() > 0)
    else:
        figures["mae"] = mean_absolute_error(y.numpy(), z.numpy())
        figures["r2"] = r2_score(y.numpy().astype(np.float64), z.numpy().astype(np.float64))
    return figures


def fed(task, z, y, sizes):
    metrics = Metrics(task)
    for part_z, part_y in zip(z.split(sizes), y.split(sizes), strict=True):
        metrics.update(row_loss(part_z, part_y).mean() if len(part_z) else torch.tensor(float("nan")), part_z, part_y)
    return metrics


@pytest.mark.parametrize("task", ["binary", "classes", "values"])
@pytest.mark.parametrize("sizes", [SIZES, [100], [1] * 100, [99, 1], [60, 0, 40]])
def test_uneven_batches(task, sizes):
    z, y = outputs(task)
    found = {name: float(value) for name, value in fed(task, z, y, sizes).compute().items()}
    assert found == pytest.approx(reference(task, z, y), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "classes", "values"])
@pytest.mark.parametrize("cut", [1, 30, 50, 99])
def test_two_processes(task, cut):
    """``reduce`` adds up the sums of both, whose numbers of rows differ."""
    z, y = outputs(task)
    one, other = fed(task, z[:cut], y[:cut], [cut]), fed(task, z[cut:], y[cut:], [100 - cut])
    theirs = iter(list(other.total().values()))
    found = one.compute(lambda mine: mine + next(theirs))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(reference(task, z, y), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "classes", "values"])
def test_compute_starts_afresh(task):
    z, y = outputs(task)
    metrics = fed(task, z, y, SIZES)
    metrics.compute()
    assert metrics.compute() == {}
    metrics.update(row_loss(z[:9], y[:9]).mean(), z[:9], y[:9])
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == pytest.approx(reference(task, z[:9], y[:9]), rel=1e-5)


def test_r2_far_from_zero_keeps_its_digits():
    """Σy² − (Σy)²/n loses digits where the mean is large against the deviation; float64 sums leave enough."""
    generator = torch.Generator().manual_seed(2)
    y = 1000 + torch.randn(5000, 1, generator=generator)
    z = y + 0.3 * torch.randn(5000, 1, generator=generator)
    found = fed("values", z, y, [512] * 9 + [392]).compute()["r2"]
    assert float(found) == pytest.approx(r2_score(y.double().numpy(), z.double().numpy()), abs=1e-4)


def test_many_rows_are_counted_exactly():
    """A float32 counter would stand still at 2^24."""
    metrics, z = Metrics("classes"), torch.zeros(2**22, 2)
    for _ in range(5):
        metrics.update(torch.tensor(1.0), z, torch.zeros(2**22, dtype=torch.long))
    metrics.update(torch.tensor(1.0), z[:1], torch.zeros(1, dtype=torch.long))
    assert int(metrics.total()["n"]) == 5 * 2**22 + 1


def test_ties_are_the_first_class_and_zero():
    metrics = Metrics("binary")
    metrics.update(torch.tensor(0.0), torch.zeros(4, 1), torch.tensor([[0.0], [1.0], [0.0], [1.0]]))
    assert float(metrics.compute()["acc"]) == 0.5


def test_a_non_finite_loss_shows():
    metrics = Metrics("classes")
    metrics.update(torch.tensor(float("nan")), torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    metrics.update(torch.tensor(1.0), torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    assert torch.isnan(metrics.compute()["loss"])


def test_the_same_batch_again_takes_its_place():
    """L-BFGS asks for the loss of a batch several times a step; it counts once, as it was last."""
    metrics = Metrics("binary")
    y = torch.ones(4, 1)
    for z in (-1.0, -1.0, 1.0):
        metrics.update(torch.tensor(-z), torch.full((4, 1), z), y, batch=0)
    metrics.update(torch.tensor(3.0), torch.full((4, 1), -1.0), y, batch=1)
    assert {name: float(value) for name, value in metrics.compute().items()} == {"loss": 1.0, "acc": 0.5}


def test_there_is_no_r2_of_targets_that_are_all_the_same():
    metrics = Metrics("values")
    metrics.update(torch.tensor(1.0), torch.zeros(3, 1), torch.ones(3, 1))
    assert set(metrics.compute()) == {"loss", "mae"}


@pytest.mark.parametrize("task", ["binary", "classes", "values"])
def test_when_batches_are_added_up_changes_no_bit(task):
    """A checkpoint adds up what is held; the resumed run's figures are those of the run that was never stopped."""
    z, y = outputs(task)
    z, y = z.repeat(40, 1), y.repeat(40, *[1] * (y.ndim - 1))
    sizes = SIZES * 40
    found = []
    for every in (1, 3, 50, 10**9):
        metrics = Metrics(task)
        for k, (part_z, part_y) in enumerate(zip(z.split(sizes), y.split(sizes), strict=True)):
            metrics.update(row_loss(part_z, part_y).mean(), part_z, part_y, batch=k)
            if k % every == 0:
                metrics.total()
        found.append(metrics.total())
    for other in found[1:]:
        assert other.keys() == found[0].keys() and all(torch.equal(other[name], found[0][name]) for name in other)


def test_few_rows_are_held():
    metrics = Metrics("classes")
    for k in range(500):
        metrics.update(torch.tensor(1.0), torch.zeros(32, 2), torch.zeros(32, dtype=torch.long), batch=k)
        assert metrics.rows == sum(len(y) for _, _, y in metrics.held) < HELD_ROWS + 32
    assert int(metrics.total()["n"]) == 500 * 32 and metrics.held == []
