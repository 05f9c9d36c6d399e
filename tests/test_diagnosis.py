"""Gradients, dead and saturated units by layer against what is known of small networks, and the words said of them."""

import json

import pytest
import torch
from torch import nn

import dlcourse
from dlcourse.activations import Step
from dlcourse.measures.diagnosis import gradients, hidden_layers, is_activation, layer_warnings, unit_statistics
from dlcourse.models.detector import Unshared
from dlcourse.models.transfer import Pictures
from dlcourse.runs.building import build
from tests.composing import checked

QUIET = ["trainer=cpu", "report=false"]


def network(*words):
    data, model = build(checked(["data=moons", *words]).tree)
    data.setup()
    return model, data.sets["train"].first(64)


MAPS, ROWS = torch.randn(3, 4, 8, 8), torch.randn(3, 6)
NAMES = torch.nn.modules.activation.__all__
NO_FUNCTION_OF_AN_ENTRY = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}


@pytest.mark.parametrize("z", [MAPS, ROWS, ROWS[:, :1], MAPS.double(), MAPS.bfloat16()], ids=lambda z: str(z.dtype))
def test_what_an_activation_does_decides(z):
    """Every activation of torch and ours, in whatever type; no layer that mixes entries, and none that is straight."""
    given = {"Threshold": (0.5, 0.1)}
    bends = [getattr(nn, name)(*given.get(name, ())) for name in set(NAMES) - NO_FUNCTION_OF_AN_ENTRY]
    bends += [Step(), nn.LeakyReLU(0.5)]
    assert [f for f in bends if not is_activation(f.to(z.dtype).eval(), z)] == []
    others = [nn.Identity(), nn.Flatten(), nn.Dropout(), nn.Softmax(1), nn.LeakyReLU(1.0)]
    if z.ndim == 4:
        others += [nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(8), nn.PixelShuffle(2)]
        others += [nn.Upsample(scale_factor=2), nn.Unflatten(1, (2, 2)), nn.ZeroPad2d(1)]
        others += [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(8)]
        others += [nn.Conv2d(4, 4, 1), Pictures(16, False), Unshared(4, 4, (8, 8)), nn.Softmax2d()]
        others += [nn.LocalResponseNorm(2)] * (z.dtype is not torch.bfloat16)  # torch has none there
    else:
        others += [nn.BatchNorm1d(z.shape[1]), nn.LayerNorm(z.shape[1]), nn.Linear(z.shape[1], z.shape[1])]
    others = [f.to(z.dtype).eval() for f in others]
    for f in others:
        for buffer in f.buffers():  # batch normalisation's statistics
            buffer.copy_(buffer + 100)
    assert [f for f in others if is_activation(f, z[:, :1] if isinstance(f, Pictures) else z)] == []


@pytest.mark.parametrize(
    ("words", "activations"),
    [
        (["model=resnet", "model.channels=[4,8]", "model.blocks=2"], 9),
        (["model=upscaler", "model.channels=[4]"], 1),
    ],
)
def test_the_hidden_layers_of_a_network(words, activations):
    data, model = build(checked(words).tree)
    data.setup()
    assert [type(f) for f, _ in hidden_layers(model, data.sets["train"].first(4))] == [nn.ReLU] * activations


def test_gradients_are_those_of_the_loss():
    model, batch = network("model.hidden=[5,4]", "model.dropout=0.5")
    found = gradients(model, batch)
    model.eval()
    model.loss_of(batch).loss.backward()
    layers = [part for part in model.network if isinstance(part, nn.Linear)]
    assert list(found) == ["gradient/1", "gradient/2", "gradient/3"]
    assert [*found.values()] == pytest.approx([float(layer.weight.grad.norm()) for layer in layers])


def test_what_passes_no_gradient_has_none():
    model, batch = network("model.hidden=[5,4]", "model.activation=[step,relu]")
    assert gradients(model, batch)["gradient/1"] == 0 and gradients(model, batch)["gradient/2"] > 0


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_dead_units_are_counted(activation):
    """Three of ten units get a bias so low that no row reaches them."""
    model, batch = network("model.hidden=[10]", f"activation={activation}")
    with torch.no_grad():
        model.network[1].bias.copy_(torch.tensor([-100.0] * 3 + [3.0] * 7))
    found = unit_statistics(hidden_layers(model, batch))
    assert found["dead/1"] == pytest.approx(0.3 if activation == "relu" else 0)
    assert "saturated/1" not in found


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_activations_are_counted(activation):
    """A weighted input of ±20 is flat, one of 0 is the steepest."""
    model, batch = network("model.hidden=[4]", f"activation={activation}")
    with torch.no_grad():
        model.network[1].weight.zero_()
        model.network[1].bias.copy_(torch.tensor([20.0, 0.0, -20.0, 0.0]))
    found = unit_statistics(hidden_layers(model, batch))
    assert found["saturated/1"] == pytest.approx(0.5) and "dead/1" not in found
    low, high = (0.0, 1.0) if activation == "sigmoid" else (-1.0, 1.0)
    assert [found["activation/p05/1"], found["activation/p95/1"]] == pytest.approx([low, high], abs=1e-3)


def test_a_convolutions_unit_is_a_map():
    data, model = build(checked(["data=digits", "model=cnn", "model.channels=[4]", "model.norm=null"]).tree)
    data.setup()
    with torch.no_grad():
        next(part for part in model.network.modules() if isinstance(part, nn.Conv2d)).bias[0] = -1e3
    assert unit_statistics(hidden_layers(model, data.sets["train"].first(32)))["dead/1"] == pytest.approx(0.25)


def test_looking_changes_nothing():
    """The same bits with diagnostics as without: no random number is drawn, no mode is left behind."""
    words = [*QUIET, "data=moons", "model.hidden=[8,8]", "model.dropout=0.2", "trainer.max_epochs=3"]
    plain, watched = dlcourse.run(*words), dlcourse.run(*words, "callbacks=diagnostics")
    for one, other in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)
    rows = [row for row in watched.history if "gradient/1" in row]
    assert [row["step"] for row in rows] == [0, 29, 58, 87]
    assert "update/1" not in rows[0] and all(0 < row["update/3"] < 1 for row in rows[1:])
    assert watched.metrics["measure/gradient/1"] == pytest.approx(rows[0]["gradient/1"], rel=1e-6)


def test_the_page_says_what_stands_out(tmp_path, capsys):
    words = ["trainer=cpu", "data=moons", "model.hidden=[16,16,16]", "optimizer.lr=1.0", "trainer.max_epochs=3"]
    result = dlcourse.run(*words, "callbacks=diagnostics", f"run_dir={tmp_path / 'run'}")
    assert result.metrics["measure/dead"] > 0.3
    page = (tmp_path / "run/report.html").read_text()
    sentence = "of its units fire for none of the samples checked; lower the learning rate"
    assert sentence in page and sentence in capsys.readouterr().out and "Dead units" in page
    assert json.loads((tmp_path / "run/metrics.json").read_text())["measure/dead"] == result.metrics["measure/dead"]


ROW = {"gradient/1": 1.0, "gradient/2": 1.0, "gradient/3": 1.0}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ({}, {}, []),
        ({"gradient/1": 1e-5}, {}, ["vanishes: before training that of layer 1 is 1e-05 of that of layer 3"]),
        ({"gradient/1": 2e4}, {}, ["explodes: before training that of layer 1 is 2e+04 times"]),
        ({}, {"dead/1": 0.84, "dead/2": 0.1}, ["hidden layer 1: 84% of its units fire for none"]),
        ({}, {"saturated/2": 0.7}, ["hidden layer 2: 70% of its activations lie where the function is flat"]),
        ({}, {"update/1": 1e-8, "update/2": 1e-3}, ["layer 1 hardly changes"]),
        ({}, {"update/2": 0.5}, ["layer 2: a step is still 50% of its weights"]),
    ],
)
def test_words(first, last, said):
    found = [*layer_warnings([{**ROW, **first}, {"train/loss": 1.0}, {**ROW, **last}])]
    assert len(found) == len(said) and all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_layers_are_in_their_order():
    """The tenth comes after the ninth, not after the first."""
    row = {f"dead/{layer}": 0.9 for layer in (1, 10, 2, 11)}
    said = [sentence.split(":")[0] for sentence in layer_warnings([{**ROW, **row}])]
    assert said == ["hidden layer 1", "hidden layer 2", "hidden layer 10", "hidden layer 11"]


def test_nothing_is_said_of_a_run_without_diagnostics():
    assert [*layer_warnings([{"train/loss": 1.0}])] == []
