"""Autograd against central differences: agreement of what ships, and that a wrong gradient is found."""

from pathlib import Path

import pytest
import torch
from torch import nn

from dlcourse.measures.gradcheck import _slope, gradient_check
from dlcourse.runs.building import build_seeded
from tests.composing import checked
from tests.faults import process

SCRIPT = Path(__file__).parents[1] / "scripts" / "gradcheck.py"


def checks(*words, activation=None):
    data, model = build_seeded(checked([*words, "trainer=cpu"]))
    data.setup()
    model.standardise(data)
    if activation is not None:
        model.network[2] = activation
    return list(gradient_check(model, data.sets["train"].first(16))), model


@pytest.mark.parametrize(
    "words",
    [
        ["model=mlp", "data=digits"],
        ["model=mlp", "data=digits", "loss=mse", "activation=sigmoid"],
        ["model=mlp", "data=diabetes", "activation=tanh", "loss=huber"],
        ["model=mlp", "data=digits", "model.dropout=0.5", "activation=leaky_relu"],
        ["model=mlp", "data=iris", "activation=softmax", "loss=bce"],
        ["data=wine", "loss.class_weights=balanced", "loss.label_smoothing=0.1"],
        ["model=sigmoid_neuron", "data=breast_cancer", "loss.pos_weight=balanced", "loss.label_smoothing=0.1"],
        ["model=cnn", "data=digits", "model.norm=batch"],
        ["model=sigmoid_neuron", "data=moons"],
        ["model=perceptron", "data=blobs"],
    ],
    ids=" ".join,
)
def test_the_gradients_are_those_of_the_loss(words):
    found, model = checks(*words)
    assert [check.name for check in found] == [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(check.entries > 0 for check in found)
    # A hidden bias before batch normalisation or a dead unit may have no gradient at all; not every parameter.
    assert max(check.largest for check in found) > 1e-4
    assert max(check.error for check in found) < 1e-5


def test_no_more_places_than_are_asked_for():
    data, model = build_seeded(checked(["data=digits", "trainer=cpu"]))
    data.setup()
    assert {check.entries for check in gradient_check(model, data.sets["train"].first(4), entries=3)} == {3}


def test_a_slope_leaves_the_parameter_as_it_was():
    p = torch.randn(3, 4, dtype=torch.float64)
    before = p.clone()
    assert _slope(lambda: (p**2).sum(), p, 5, 1e-5) == pytest.approx(2 * float(before[1, 1]))
    assert torch.equal(p, before)


class Wrong(torch.autograd.Function):
    """tanh, whose derivative somebody wrote as 1 − a instead of 1 − a²."""

    @staticmethod
    def forward(ctx, z):
        a = z.tanh()
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * (1 - a)


class WrongTanh(nn.Module):
    def forward(self, z):
        return Wrong.apply(z)


def test_a_wrong_derivative_is_found_in_the_layers_before_it():
    found, _ = checks("model=mlp", "data=digits", "model.hidden=[16]", activation=WrongTanh())
    first, last = found[0], found[-1]
    assert first.error > 1e-2 and last.error < 1e-5


def test_the_command():
    done = process.start(SCRIPT, ["data=moons", "model.hidden=[4]"]).end()
    assert done.code == 0, done.err
    assert "network.1.weight" in done.out and "worst: " in done.out and "within 1e-05" in done.out
    done = process.start(SCRIPT, ["model=mpl"]).end()
    assert done.code == 2 and "did you mean mlp" in done.err
