"""Every loss in conf/loss: value, gradient and output against NumPy and scikit-learn. Lecture: L1, L9–L11."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

from dlcourse.cross_entropies import CrossEntropy
from dlcourse.models.base import Model
from tests import objects

CONF = Path(__file__).parents[1] / "conf" / "loss"
SHIPPED = sorted(path for path in CONF.glob("*.yaml") if path.stem != "own")
#: A task for each form of target.
TASKS = ("binary", "classes", "values")
FORMS = {"binary": "bits", "classes": "class_numbers", "values": "values"}
OF = {"binary": "binary", "classes": "classification", "values": "regression"}
SHAPES = {"binary": (6, 1), "classes": (6, 4), "values": (6, 2)}


#: The training rows of balanced losses, and the class weights N/(C n) of these.
TRAINING = {"binary": torch.tensor([[1.0], [0.0], [0.0]]), "classes": torch.tensor([0, 0, 1, 1, 2, 3])}
BALANCED = (0.75, 0.75, 1.5, 1.5)


def load(name: str, task: str, **options: Any):
    loss = objects.loss(name, OF[task], **options)
    loss.expect(SHAPES[task][1])
    if loss.balanced:
        loss.fit(TRAINING[task])
    return loss


def mean(loss: Any) -> Callable[..., Any]:
    """The mean that a loss gives, without its divisor."""
    return lambda z, y, weight=None: loss(z, y, weight)[0]


def forms(path: Path) -> list[str]:
    return list(objects.shipped("loss", path.stem).target_forms)


def batch(task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of order one, clear of every kink; targets as the data gives them."""
    rng = np.random.default_rng(3)
    z = torch.from_numpy(rng.normal(size=SHAPES[task]) * 2)
    targets = {
        "binary": torch.tensor([[1.0], [0.0], [0.0], [1.0], [1.0], [0.0]]),
        "classes": torch.tensor([0, 3, 1, 1, 2, 0]),
        "values": torch.from_numpy(rng.normal(size=SHAPES[task]) * 2),
    }
    return z, targets[task]


def one_hot(y: np.ndarray) -> np.ndarray:
    return np.eye(4)[y] if y.ndim == 1 else y


def sigma(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def identity(z):
    return z


def threshold(z):
    return np.where(z > 0, 1.0, 0.0)


def mse(a, t):
    return ((t - a) ** 2).sum() / t.size


def mae(a, t):
    return abs(t - a).sum() / t.size


def huber(a, t, delta=1.0):
    r = abs(t - a)
    return np.where(r < delta, r**2 / 2, delta * (r - delta / 2)).sum() / t.size


def bce(a, t, label_smoothing=0.0, pos_weight=1.0):
    t = (1 - label_smoothing) * t + label_smoothing / 2
    return -(np.array(pos_weight) * t * np.log(a) + (1 - t) * np.log(1 - a)).sum() / t.size


def cross_entropy(a, t, label_smoothing=0.0, class_weights=(1, 1, 1, 1)):
    t_smooth = (1 - label_smoothing) * t + label_smoothing / t.shape[1]
    v = np.array(class_weights)
    return -(v * t_smooth * np.log(a)).sum() / (v * t).sum()


def perceptron(z, t):
    return sum(max(0.0, -m) for m in ((2 * t - 1) * z).ravel()) / len(z)


def hinge(z, t):
    return sum(max(0.0, 1 - m) for m in ((2 * t - 1) * z).ravel()) / len(z)


class Row(NamedTuple):
    name: str
    tasks: str
    cost: Callable  # of (seen, t)
    seen: Callable  # what the cost looks at: the output, or z itself
    output: Callable
    options: dict[str, Any] = {}
    probabilities: bool = False


TABLE = [
    Row("mse", "values", mse, identity, identity),
    Row("mse", "binary classes", mse, sigma, sigma, {}, True),
    Row("mse", "binary classes", mse, identity, identity, {"output": "identity"}),
    Row("mse", "classes", mse, softmax, softmax, {"output": "softmax"}, True),
    Row("mse", "values", mse, sigma, sigma, {"output": "sigmoid"}, True),
    Row("mae", "values", mae, identity, identity),
    Row("mae", "binary classes", mae, sigma, sigma, {}, True),
    Row("huber", "values", huber, identity, identity),
    Row("huber", "values", lambda a, t: huber(a, t, 0.3), identity, identity, {"delta": 0.3}),
    Row("huber", "binary classes", lambda a, t: huber(a, t, 0.3), sigma, sigma, {"delta": 0.3}, True),
    Row("bce", "binary classes", bce, sigma, sigma, {}, True),
    Row("bce", "binary classes", lambda a, t: bce(a, t, 0.0, 3), sigma, sigma, {"pos_weight": 3}, True),
    Row("bce", "binary classes", lambda a, t: bce(a, t, 0.1), sigma, sigma, {"label_smoothing": 0.1}, True),
    Row("bce", "classes", lambda a, t: bce(a, t, 0.2, (1, 2, 0.5, 3)), sigma, sigma,
        {"label_smoothing": 0.2, "pos_weight": [1, 2, 0.5, 3]}, True),
    Row("bce", "binary", lambda a, t: bce(a, t, 0.0, 2.0), sigma, sigma, {"pos_weight": "balanced"}, True),
    Row("bce", "classes", lambda a, t: bce(a, t, 0.1, (2, 2, 5, 5)), sigma, sigma,
        {"pos_weight": "balanced", "label_smoothing": 0.1}, True),
    Row("cross_entropy", "classes", cross_entropy, softmax, softmax, {}, True),
    Row("cross_entropy", "classes", lambda a, t: cross_entropy(a, t, 0.1), softmax, softmax,
        {"label_smoothing": 0.1}, True),
    Row("cross_entropy", "classes", lambda a, t: cross_entropy(a, t, 0.0, (1, 2, 0.5, 3)), softmax, softmax,
        {"class_weights": [1, 2, 0.5, 3]}, True),
    Row("cross_entropy", "classes", lambda a, t: cross_entropy(a, t, 0.2, (1, 2, 0.5, 3)), softmax, softmax,
        {"label_smoothing": 0.2, "class_weights": [1, 2, 0.5, 3]}, True),
    Row("cross_entropy", "classes", lambda a, t: cross_entropy(a, t, 0.2, BALANCED), softmax, softmax,
        {"label_smoothing": 0.2, "class_weights": "balanced"}, True),
    Row("perceptron", "binary classes", perceptron, identity, threshold),
    Row("hinge", "binary classes", hinge, identity, threshold),
]  # fmt: skip
CASES = [pytest.param(row, task, id=f"{row.name}-{task}-{row.options}") for row in TABLE for task in row.tasks.split()]


def test_every_file_and_task_has_a_reference():
    pairs = [(path, task) for path in SHIPPED for task in TASKS]
    on_disk = {(path.stem, task) for path, task in pairs if FORMS[task] in forms(path)}
    assert {(row.name, task) for row in TABLE for task in row.tasks.split()} == on_disk


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_file_names_the_forms_that_its_class_accepts(path):
    """What the gate knows without torch is what the class says."""
    assert forms(path) == list(type(objects.loss(path.stem)).target_forms)


@pytest.mark.parametrize("row, task", CASES)
def test_value_gradient_and_output(row, task):
    loss, (z, y) = load(row.name, task, **row.options), batch(task)
    t = one_hot(y.numpy()).astype(float)

    def reference(z: np.ndarray) -> float:
        return row.cost(row.seen(z), t)

    z.requires_grad_()
    value, divisor = loss(z, y)
    v = row.options.get("class_weights", [1] * 4)
    v = BALANCED if v == "balanced" else v
    assert value.shape == () and divisor == pytest.approx(np.array(v)[y].sum() if task == "classes" else len(z))
    np.testing.assert_allclose(value.item(), reference(z.detach().numpy()), rtol=1e-12)
    np.testing.assert_allclose(loss.output(z).detach().numpy(), row.output(z.detach().numpy()), rtol=1e-12)
    assert loss.probabilities is row.probabilities

    (gradient,) = torch.autograd.grad(value, z)
    assert gradient.abs().max() > 1e-3
    np.testing.assert_allclose(gradient.numpy(), differences(reference, z.detach().numpy()), rtol=1e-6, atol=1e-9)


def differences(f: Callable[[np.ndarray], float], z: np.ndarray, h: float = 1e-5) -> np.ndarray:
    gradient = np.empty_like(z)
    for i in np.ndindex(z.shape):
        e = np.zeros_like(z)
        e[i] = h
        gradient[i] = (f(z + e) - f(z - e)) / (2 * h)
    return gradient


def test_agrees_with_scikit_learn():
    (z, y), (zc, yc), (zv, yv) = (batch(task) for task in TASKS)
    v = np.array([1, 2, 0.5, 3])
    a, labels = sigma(z.numpy()).ravel(), y.numpy().ravel()
    pairs = [
        (mean(load("bce", "binary"))(z, y), metrics.log_loss(labels, a)),
        (mean(load("cross_entropy", "classes"))(zc, yc), metrics.log_loss(yc, softmax(zc.numpy()))),
        (
            mean(load("cross_entropy", "classes", class_weights=v.tolist()))(zc, yc),
            metrics.log_loss(yc, softmax(zc.numpy()), sample_weight=v[yc]),
        ),
        (mean(load("hinge", "binary"))(z, y), metrics.hinge_loss(labels, z.numpy().ravel())),
        (mean(load("mse", "values"))(zv, yv), metrics.mean_squared_error(yv, zv)),
        (mean(load("mae", "values"))(zv, yv), metrics.mean_absolute_error(yv, zv)),
    ]
    for ours, theirs in pairs:
        assert ours.item() == pytest.approx(theirs, rel=1e-12)


def test_closed_gradients():
    """∂C/∂z = (a − t)/n for both cross-entropies."""
    for name, task, output in (("bce", "binary", sigma), ("cross_entropy", "classes", softmax)):
        z, y = batch(task)
        gradient = torch.func.grad(mean(load(name, task)))(z, y)
        np.testing.assert_allclose(gradient, (output(z.numpy()) - one_hot(y.numpy())) / 6, rtol=1e-12, atol=1e-15)


def test_a_badly_wrong_neuron_learns_slowly_with_squared_error_only():
    """σ'(z) = 0.0067 at z = 5: squared error nearly stands still there, cross-entropy does not (lecture L11)."""
    z, y = torch.tensor([[5.0]]), torch.tensor([[0.0]])
    slow, fast = (torch.func.grad(mean(load(name, "binary")))(z, y).item() for name in ("mse", "bce"))
    assert fast == pytest.approx(0.9933, abs=1e-4)
    assert slow == pytest.approx(2 * 0.9933 * 0.9933 * 0.0067, rel=0.01)


def test_a_tie_is_a_mistake_of_the_perceptron():
    for task, y, sign in (
        ("binary", torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [-1.0]])),
        ("classes", torch.tensor([2]), torch.tensor([[-1.0, -1.0, 1.0]])),
    ):
        z = torch.zeros_like(sign)
        assert mean(load("perceptron", task))(z, y).item() == 0
        torch.testing.assert_close(torch.func.grad(mean(load("perceptron", task)))(z, y), -sign / len(z))


def test_the_perceptron_leaves_right_answers_alone():
    z, y = torch.tensor([[0.1], [-0.1]]), torch.tensor([[1.0], [0.0]])
    assert torch.func.grad(mean(load("perceptron", "binary")))(z, y).abs().max() == 0


@pytest.mark.parametrize("row, task", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_on_huge_logits(row, task, dtype):
    loss, (z, y) = load(row.name, task, **row.options), batch(task)
    z = (z.sign() * 1e4).to(dtype).requires_grad_()
    value, _ = loss(z, y)
    assert value.dtype == dtype
    (gradient,) = torch.autograd.grad(value, z)
    assert torch.isfinite(value) and torch.isfinite(gradient).all() and torch.isfinite(loss.output(z)).all()


def test_huge_logits_cost_their_distance():
    """Wrong by 1e4 costs 1e4 for both cross-entropies; right by 1e4 costs nothing."""
    z, y = torch.tensor([[1e4], [1e4]]), torch.tensor([[0.0], [1.0]])
    assert mean(load("bce", "binary"))(z, y).item() == pytest.approx(5e3)
    assert mean(load("cross_entropy", "classes"))(torch.tensor([[1e4, 0.0]] * 2), torch.tensor([0, 1])).item() == 5e3


@pytest.mark.parametrize("row, task", CASES)
def test_vectorises(row, task):
    """vmap over a stack of models gives the gradient of each."""
    loss, (z, y) = mean(load(row.name, task, **row.options)), batch(task)
    stack = torch.stack([z, -z, z / 3])
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None))(stack, y)
    alone = torch.stack([torch.func.grad(loss)(one, y) for one in stack])
    torch.testing.assert_close(together, alone)


REFUSED_TASKS = [(path.stem, task) for path in SHIPPED for task in TASKS if FORMS[task] not in forms(path)]


@pytest.mark.parametrize("name, task", REFUSED_TASKS)
def test_a_task_it_does_not_fit_is_refused(name, task):
    """By the model, where the two meet (by the gate before: tests/config/test_rules.py)."""
    parts = {"optimizer": None, "scheduler": None, "init": lambda network: None}
    outputs = SHAPES[task][1]
    with pytest.raises(ValueError, match=f"the task has {FORMS[task]}"):
        Model(
            torch.nn.Linear(2, outputs),
            task=objects.task(OF[task], outputs if task != "binary" else 2),
            shape=(2,),
            outputs=outputs,
            loss=load(name, task),
            **parts,
        )


@pytest.mark.parametrize("row, task", CASES)
def test_weights_count_rows(row, task):
    """Weights of whole numbers are rows that come several times; the mean times its divisor adds up over batches."""
    loss, (z, y) = load(row.name, task, **row.options), batch(task)
    times = torch.tensor([1, 2, 3, 1, 2, 1])
    value, divisor = loss(z, y, times.double())
    repeated, whole = loss(z.repeat_interleave(times, 0), y.repeat_interleave(times, 0))
    torch.testing.assert_close(value, repeated)
    assert float(divisor) == pytest.approx(float(whole))
    parts = [loss(z[k : k + 2], y[k : k + 2], times[k : k + 2].double()) for k in (0, 2, 4)]
    assert float(sum(mean * d for mean, d in parts) / sum(d for _, d in parts)) == pytest.approx(float(value))
    torch.testing.assert_close(loss(z, y, torch.ones(6))[0], loss(z, y)[0])


@pytest.mark.parametrize(
    "name, task, options, words",
    [
        ("mse", "values", {"output": "tanh"}, "output=tanh: one of identity, sigmoid, softmax"),
        ("huber", "values", {"delta": 0}, "delta=0"),
        ("cross_entropy", "classes", {"label_smoothing": 1}, "label_smoothing=1"),
        ("cross_entropy", "classes", {"class_weights": [1, 0, 1, 1]}, "above zero"),
        ("cross_entropy", "classes", {"class_weights": "even"}, "class_weights=even: expected balanced, or a number"),
        ("cross_entropy", "classes", {"class_weights": 3}, "class_weights=3: expected balanced, or a number for each"),
        ("bce", "binary", {"label_smoothing": 1}, "label_smoothing=1"),
        ("bce", "binary", {"pos_weight": 0}, "above zero"),
        ("bce", "binary", {"pos_weight": "even"}, "pos_weight=even: expected balanced, or a number for each output"),
    ],
)
def test_options_out_of_range_are_refused(name, task, options, words):
    with pytest.raises(InstantiationException, match=words):
        load(name, task, **options)


@pytest.mark.parametrize("row, task", CASES)
def test_shapes_never_broadcast(row, task):
    loss, (z, y) = load(row.name, task, **row.options), batch(task)
    wrong = y[:1] if task == "classes" else y[:, 0]
    with pytest.raises(ValueError, match=rf"\({z.shape[0]}, {z.shape[1]}\), the target \({len(wrong)},\)"):
        loss(z, wrong)
    with pytest.raises(ValueError, match=r"z has shape \(6,\)"):
        loss(z[:, 0], y)


def test_class_targets_are_whole_numbers_and_weights_one_a_class():
    z, y = batch("classes")
    with pytest.raises(ValueError, match="whole numbers"):
        load("cross_entropy", "classes")(z, y.float())
    with pytest.raises(ValueError, match="float64.*whole numbers"):
        load("cross_entropy", "classes")(z, z.sigmoid())
    with pytest.raises(ValueError, match="output=softmax is for class numbers"):
        load("mse", "binary", output="softmax")(*batch("binary"))
    with pytest.raises(ValueError, match="3 numbers for 4 classes"):
        load("cross_entropy", "classes", class_weights=[1, 2, 3])(z, y)


def test_weights_that_are_given_are_no_state():
    assert not load("cross_entropy", "classes", class_weights=[1, 2, 3, 4]).state_dict()
    assert not load("bce", "classes", pos_weight=[1, 2, 3, 4]).state_dict() and not load("bce", "binary").state_dict()


def test_positive_weights_are_those_of_pytorch():
    z, y = batch("binary")
    bits = torch.from_numpy(np.random.default_rng(5).integers(0, 2, SHAPES["classes"])).double()
    wide = batch("classes")[0]
    for p, (logits, t) in (([3.0], (z, y)), ([1.0, 2.0, 0.5, 3.0], (wide, bits)), ([7.0], (wide, bits))):
        theirs = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(p, dtype=torch.float64))(logits, t.double())
        ours, _ = objects.loss("bce", "multilabel", pos_weight=p if len(p) > 1 else p[0])(logits, t.double())
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    with pytest.raises(ValueError, match="pos_weight has 2 numbers for 4 outputs"):
        objects.loss("bce", "multilabel", pos_weight=[1, 2])(wide, bits)


@pytest.mark.parametrize("y", [[0, 0, 1, 1, 2, 3], [3] * 90 + [0] * 9 + [1], [2, 2, 2]])
def test_balanced_class_weights_are_those_of_scikit_learn(y):
    loss = load("cross_entropy", "classes", class_weights="balanced")
    loss.fit(torch.tensor(y))
    weights = loss.weights(torch.zeros(1, 4, dtype=torch.float64)).numpy()
    there = np.unique(y)
    np.testing.assert_allclose(weights[there], compute_class_weight("balanced", classes=there, y=y), rtol=1e-12)
    absent = sorted({0, 1, 2, 3} - {*y})
    assert not weights[absent].any()
    told = [f"loss.class_weights=balanced: no training row is of class {k}, and its weight is 0" for k in absent]
    assert loss.remarks("0123") == told
    assert weights[y].mean() == pytest.approx(1)


def test_balanced_positive_weights_make_both_kinds_weigh_the_same():
    loss = objects.loss("bce", "multilabel", pos_weight="balanced")
    loss.expect(3)
    bits = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [1, 0, 1]])
    loss.fit(bits)
    p = loss.weights(torch.zeros(1, 3))
    assert p.tolist() == [1.5, 1, 1]  # of the other two there are rows of one kind only
    assert [line.split(": ")[1] for line in loss.remarks("abc")] == [
        f"{name} is the same in all training rows, and its weight is 1" for name in "bc"
    ]
    loss.fit(bits, torch.tensor([0.5, 2, 0, 0, 0]))  # rows without a weight do not count
    assert loss.weights(torch.zeros(1, 3)).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="the targets have other values"):
        loss.fit(bits / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_counts_are_whole_numbers_in_any_precision(dtype):
    """70,000 is no float16, and 257 no bfloat16."""
    loss = load("cross_entropy", "classes", class_weights="balanced")
    loss.fit(torch.tensor([0, 1, 2, 3]).repeat_interleave(torch.tensor([70_000, 35_000, 257, 257])))
    loss.to(dtype)
    expected = 105_514 / 4 / torch.tensor([70_000, 35_000, 257, 257])
    torch.testing.assert_close(loss.weights(torch.zeros(1, 4, dtype=dtype)), expected.to(dtype))


def test_a_batch_of_a_class_that_training_does_not_have_costs_nothing():
    """As a balanced loss says of it; a mean over no weight is 0, not 0/0."""
    loss = CrossEntropy(class_weights="balanced")
    loss.expect(3)
    loss.fit(torch.tensor([0, 0, 1]))
    mean, divisor = loss(torch.randn(4, 3, dtype=torch.float64), torch.full((4,), 2))
    assert (float(mean), float(divisor)) == (0, 0)
