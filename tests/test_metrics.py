"""The figures of a pass against scikit-learn's, however the rows are cut into batches and processes."""

import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score

from dlcourse.metrics import HELD_ROWS, Metrics
from tests import objects

SIZES = [1, 7, 32, 13, 47]  # 100 rows


def outputs(task):
    generator = torch.Generator().manual_seed(1)
    n = sum(SIZES)
    if task == "classification":
        return torch.randn(n, 4, generator=generator), torch.randint(4, (n,), generator=generator)
    if task == "binary":
        z = torch.randn(n, 1, generator=generator)
        return z, (z + torch.randn(n, 1, generator=generator) > 0).float()
    y = torch.randn(n, 3, generator=generator) * torch.tensor([1.0, 5.0, 100.0]) + torch.tensor([0.0, 300.0, -7.0])
    return y + torch.randn(n, 3, generator=generator) * torch.tensor([0.5, 4.0, 10.0]), y


def of(task, outputs=1):
    """The metrics of a task whose outputs are read as they are."""
    facts = {"classes": ["a", "b"]} if task == "binary" else {}
    return Metrics(objects.task(task, 2 if task == "binary" else outputs, **facts), lambda z: z)


def row_loss(z, y):
    return (z.sum(1) - y.reshape(len(y), -1).sum(1)).abs()


def reference(task, z, y):
    figures = {"loss": row_loss(z, y).double().mean().item()}
    if task == "classification":
        figures["acc"] = accuracy_score(y.numpy(), z.numpy().argmax(1))
    elif task == "binary":
        figures["acc"] = accuracy_score(y.numpy() > 0.5, z.numpy() > 0)
    else:
        each = {
            "mae": mean_absolute_error(y.numpy(), z.numpy(), multioutput="raw_values"),
            "r2": r2_score(y.double().numpy(), z.double().numpy(), multioutput="raw_values"),
        }
        for name, values in each.items():  # the deviations of a task that was not fitted are 1
            figures[name] = values.mean()
            figures |= {f"{name}/{k}": value for k, value in enumerate(values, 1)}
    return figures


def fed(task, z, y, sizes):
    metrics = of(task, z.shape[1])
    for part_z, part_y in zip(z.split(sizes), y.split(sizes), strict=True):
        loss = row_loss(part_z, part_y).mean() if len(part_z) else torch.tensor(float("nan"))
        metrics.update(loss, len(part_z), part_z, part_y)
    return metrics


@pytest.mark.parametrize("task", ["binary", "classification", "regression"])
@pytest.mark.parametrize("sizes", [SIZES, [100], [1] * 100, [99, 1], [60, 0, 40]])
def test_uneven_batches(task, sizes):
    z, y = outputs(task)
    found = {name: float(value) for name, value in fed(task, z, y, sizes).compute().items()}
    assert found == pytest.approx(reference(task, z, y), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "classification", "regression"])
@pytest.mark.parametrize("cut", [1, 30, 50, 99])
def test_two_processes(task, cut):
    """``reduce`` adds up the sums of both, whose numbers of rows differ."""
    z, y = outputs(task)
    one, other = fed(task, z[:cut], y[:cut], [cut]), fed(task, z[cut:], y[cut:], [100 - cut])
    theirs = iter(list(other.total().values()))
    found = one.compute(lambda mine: mine + next(theirs))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(reference(task, z, y), rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "classification", "regression"])
def test_compute_starts_afresh(task):
    z, y = outputs(task)
    metrics = fed(task, z, y, SIZES)
    metrics.compute()
    assert metrics.compute() == {}
    metrics.update(row_loss(z[:9], y[:9]).mean(), 9, z[:9], y[:9])
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == pytest.approx(reference(task, z[:9], y[:9]), rel=1e-5)


def test_r2_far_from_zero_keeps_its_digits():
    """Σy² − (Σy)²/n loses digits where the mean is large against the deviation; float64 sums leave enough."""
    generator = torch.Generator().manual_seed(2)
    y = 1000 + torch.randn(5000, 1, generator=generator)
    z = y + 0.3 * torch.randn(5000, 1, generator=generator)
    found = fed("regression", z, y, [512] * 9 + [392]).compute()["r2"]
    assert float(found) == pytest.approx(r2_score(y.double().numpy(), z.double().numpy()), abs=1e-4)


def test_many_rows_are_counted_exactly():
    """A float32 counter would stand still at 2^24."""
    metrics, z = of("classification", 2), torch.zeros(2**22, 2)
    for _ in range(5):
        metrics.update(torch.tensor(1.0), 2**22, z, torch.zeros(2**22, dtype=torch.long))
    metrics.update(torch.tensor(1.0), 1, z[:1], torch.zeros(1, dtype=torch.long))
    assert int(metrics.total()["n"]) == 5 * 2**22 + 1


def test_ties_are_the_first_class_and_zero():
    metrics = of("binary")
    metrics.update(torch.tensor(0.0), 4, torch.zeros(4, 1), torch.tensor([[0.0], [1.0], [0.0], [1.0]]))
    assert float(metrics.compute()["acc"]) == 0.5


def test_a_non_finite_loss_shows():
    metrics = of("classification", 2)
    metrics.update(torch.tensor(float("nan")), 2, torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    metrics.update(torch.tensor(1.0), 2, torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    assert torch.isnan(metrics.compute()["loss"])


def test_the_same_batch_again_takes_its_place():
    """L-BFGS asks for the loss of a batch several times a step; it counts once, as it was last."""
    metrics = of("binary")
    y = torch.ones(4, 1)
    for z in (-1.0, -1.0, 1.0):
        metrics.update(torch.tensor(-z), 4, torch.full((4, 1), z), y, batch=0)
    metrics.update(torch.tensor(3.0), 4, torch.full((4, 1), -1.0), y, batch=1)
    assert {name: float(value) for name, value in metrics.compute().items()} == {"loss": 1.0, "acc": 0.5}


def test_there_is_no_r2_of_targets_that_are_all_the_same():
    metrics = of("regression")
    metrics.update(torch.tensor(1.0), 3, torch.zeros(3, 1), torch.ones(3, 1))
    assert set(metrics.compute()) == {"loss", "mae"}


@pytest.mark.parametrize("task", ["binary", "classification", "regression"])
def test_when_batches_are_added_up_changes_no_bit(task):
    """A checkpoint adds up what is held; the resumed run's figures are those of the run that was never stopped."""
    z, y = outputs(task)
    z, y = z.repeat(40, 1), y.repeat(40, *[1] * (y.ndim - 1))
    sizes = SIZES * 40
    found = []
    for every in (1, 3, 50, 10**9):
        metrics = of(task, z.shape[1])
        for k, (part_z, part_y) in enumerate(zip(z.split(sizes), y.split(sizes), strict=True)):
            metrics.update(row_loss(part_z, part_y).mean(), len(part_z), part_z, part_y, batch=k)
            if k % every == 0:
                metrics.total()
        found.append(metrics.total())
    for other in found[1:]:
        assert other.keys() == found[0].keys() and all(torch.equal(other[name], found[0][name]) for name in other)


def test_few_rows_are_held():
    metrics = of("classification", 2)
    for k in range(500):
        metrics.update(torch.tensor(1.0), 32, torch.zeros(32, 2), torch.zeros(32, dtype=torch.long), batch=k)
        assert metrics.rows == sum(len(y) for _, _, _, y, _ in metrics.held) < HELD_ROWS + 32
    assert int(metrics.total()["n"]) == 500 * 32 and metrics.held == []


def test_several_values_are_averaged_in_their_deviations():
    """The mean over targets of mae in deviations: a target in large units does not drown the others."""
    y = torch.randn(300, 2, generator=torch.Generator().manual_seed(4)) * torch.tensor([1.0, 1000.0])
    metrics = of("regression", 2)
    metrics.task.fit(y, y)
    error = torch.tensor([0.5, 200.0])
    metrics.update(torch.tensor(0.0), 300, y + error, y)
    found = metrics.compute()
    assert float(found["mae/1"]) == pytest.approx(0.5, rel=1e-4) and float(found["mae/2"]) == pytest.approx(
        200, rel=1e-4
    )
    assert float(found["mae"]) == pytest.approx(float((error / y.std(0, correction=0)).mean()), rel=1e-4)


def test_labels_and_whole_rows():
    metrics = of("multilabel", 3)
    z = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    metrics.update(torch.tensor(0.0), 2, z, torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    found = metrics.compute()
    assert float(found["acc"]) == pytest.approx(4 / 6) and float(found["exact"]) == 0.5


def test_a_weighted_mean_is_exact_over_batches():
    """Means of batches whose divisors differ, as with class weights: the loss of all rows, not the mean of means."""
    metrics = of("classification", 2)
    for loss, divisor in ((1.0, 1.0), (4.0, 9.0)):
        metrics.update(torch.tensor(loss), torch.tensor(divisor), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))
    assert float(metrics.compute()["loss"]) == pytest.approx(3.7)
