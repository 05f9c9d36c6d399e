"""Each measure on models whose figure is known, and on ones where it must be another."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import dlcourse
from dlcourse.errors import CONFIG, Refused
from dlcourse.measures.code import ActiveUnits, PrincipalComponents
from dlcourse.measures.few_labels import FewLabels
from dlcourse.measures.generalisation import Gap, Shifts, Verification
from dlcourse.measures.generation import Generated
from dlcourse.measures.landscape import directions, plane
from dlcourse.measures.pictures import Bicubic
from dlcourse.measures.reference import Formula, Gradients, Optimum, Probabilities
from dlcourse.measures.smoothness import LinearEstimate, Linearity
from dlcourse.measures.training import EachEpochTest
from dlcourse.runs.building import build
from dlcourse.runs.files import read_rows
from tests.composing import checked

QUIET = ["trainer=cpu", "callbacks=none", "report=false"]


def ready(*words):
    data, model = build(checked(list(words)).tree)
    data.setup()
    model.standardise(data)
    return model.eval(), data


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "gelu"])
def test_the_linear_estimate_is_of_second_order(activation):
    found = LinearEstimate().measure(*ready("data=moons", "model.hidden=[8]", f"activation={activation}"))
    assert found["error_ratio"] == pytest.approx(4, abs=0.1) and 0 < found["largest_change"] < 0.1


def test_an_output_that_jumps():
    model, data = ready("data=moons", "model=perceptron")
    with torch.no_grad():
        model.network[1].weight.copy_(torch.tensor([[1.0, -2.0]]))
    found = LinearEstimate(step=0.05).measure(model, data)
    assert found["first_change"] == 1


@pytest.mark.parametrize(("activation", "linear"), [("identity", True), ("relu", False), ("tanh", False)])
def test_linearity(activation, linear):
    found = Linearity().measure(*ready("data=moons", "model.hidden=[8,8]", f"activation={activation}"))
    assert (found["nonlinearity"] < 1e-12) == linear and (linear or found["nonlinearity"] > 0.01)


@pytest.mark.parametrize("standardise", ["true", "false"])
def test_the_optimum_of_a_linear_unit(standardise):
    """Weights put to the closed form, in whatever units the model has them, are at no distance; moved ones are."""
    model, data = ready("data=diabetes", "model.hidden=[]", f"data.standardise={standardise}")
    rows = data.sets["train"]
    x = np.concatenate([rows.x.double().numpy(), np.ones((len(rows.x), 1))], 1)
    best = torch.from_numpy(np.linalg.lstsq(x, rows.y.double().numpy()[:, 0], rcond=None)[0])
    model.double()
    with torch.no_grad():
        w = best[:-1] * model.std / model.task.y_std
        model.network[1].weight.copy_(w[None])
        model.network[1].bias.copy_((best[-1] + (best[:-1] * model.mean).sum() - model.task.y_mean) / model.task.y_std)
    scale = float(best.abs().max())
    assert Optimum().measure(model, data)["distance"] < 1e-6 * scale
    with torch.no_grad():
        model.network[1].bias += 1.0
    assert Optimum().measure(model, data)["distance"] == pytest.approx(float(model.task.y_std), rel=1e-5)


def test_the_optimum_is_one_of_a_single_unit():
    with pytest.raises(Refused, match="one unit"):
        Optimum().check(*ready("data=moons"))


@pytest.mark.parametrize("words", [["data=moons"], ["data=digits"], ["data=moons", "loss=mse"]])
def test_the_formula_on_the_slide(words):
    model, data = ready(*words, "model.hidden=[8]")
    assert Formula().measure(model, data)["formula_error"] < 1e-12
    forward = model.loss.forward
    model.loss.forward = lambda z, y: (1.01 * forward(z, y)[0], len(z))  # another loss than that on the slide
    assert Formula().measure(model, data)["formula_error"] > 1e-3


def test_a_loss_without_a_formula():
    with pytest.raises(Refused, match="no formula"):
        Formula().check(*ready("data=moons", "loss=hinge"))
    for option in ("loss.pos_weight=balanced", "loss.pos_weight=2", "loss.label_smoothing=0.1"):
        with pytest.raises(Refused, match="no formula for BCE with its options"):
            Formula().check(*ready("data=moons", option))


def test_probabilities_sum_to_one():
    found = Probabilities().measure(*ready("data=digits"))
    assert found["sum_error"] < 1e-12 and found["shift_error"] < 1e-12 and 0 <= found["lowest"] < found["highest"] <= 1
    found = Probabilities().measure(*ready("data=digits", "loss=bce"))
    assert found["sum_error"] > 0.1 and found["shift_error"] > 0.1


def test_gradients_agree():
    assert Gradients().measure(*ready("data=digits", "model.hidden=[8]"))["gradient_error"] < 1e-6


def test_the_gap_of_what_was_learned_by_heart():
    words = ["data=moons", "data.n_samples=40", "data.noise=0.5", "model.hidden=[64]", "optimizer.lr=0.05"]
    result = dlcourse.run(*QUIET, *words, "trainer.max_epochs=200", "monitor=train/loss")
    found = Gap().measure(result.model, result.data)
    assert found["train_acc"] == 1 and found["gap"] > 0.5
    assert found["gap"] == pytest.approx(result.metrics["test/loss"] - found["train_loss"], rel=1e-4)


def test_a_gap_of_values_has_no_accuracy(runs):
    words = ["data=diabetes", "+callbacks.gap._target_=dlcourse.measures.generalisation.Gap", "trainer.max_epochs=1"]
    found = dlcourse.run(*words, f"paths.runs_dir={runs}").metrics
    assert {name for name in found if name.startswith("measure/")} == {"measure/train_loss", "measure/gap"}
    assert found["measure/gap"] == pytest.approx(found["test/loss"] - found["measure/train_loss"], rel=1e-5)
    with pytest.raises(Refused, match="Regression has no classes"):
        each = ["+callbacks.each._target_=dlcourse.measures.training.EachEpochTest"]
        dlcourse.run(*words[:1], *each, *words[2:], f"paths.runs_dir={runs}")


def test_a_convolution_shifts_with_its_picture():
    found = Shifts().measure(*ready("data=digits", "model=cnn", "model.channels=[8]"))
    assert found["not_shifted"] < 1e-5 and found["parameters"] == 8 * 9
    assert found["dense_parameters"] == 8 * 64 * 65
    found = Shifts().measure(*ready("data=digits", "model.hidden=[64]"))
    assert found["not_shifted"] > 0.3 and found["parameters"] == found["dense_parameters"] == 64 * 65
    with pytest.raises(Refused, match="only the border of a picture"):
        Shifts(pixels=2).check(*ready("data=digits", "model.hidden=[64]"))
    with pytest.raises(Refused, match="does not form pictures"):
        Shifts().check(*ready("data=digits", "model.hidden=[10]"))
    with pytest.raises(Refused, match=r"the first layer's map is \(4, 4\), the picture \(8, 8\)"):
        Shifts().check(*ready("data=digits", "model=cnn", "model.stride=2", "model.channels=[8]"))
    with pytest.raises(Refused, match="data=moons has inputs"):
        Shifts().check(*ready("data=moons"))


def test_shifts_in_half_precision():
    model, data = ready("data=digits", "model=cnn", "model.channels=[8]")
    assert Shifts().measure(model.bfloat16(), data)["not_shifted"] < 0.02


def test_a_model_without_what_a_measure_needs_is_refused():
    _, mlp = build(checked(["data=digits", "model.hidden=[4]"]).tree)
    _, autoencoder = build(checked(["data=digits", "model=autoencoder", "model.hidden=[4]", "model.code=2"]).tree)
    trainer = SimpleNamespace(datamodule=None)
    lacking = {ActiveUnits(): "encode", PrincipalComponents(): "code", FewLabels(): "encode", Generated([]): "draw"}
    for measure, name in {**lacking, Bicubic(): "task.bicubic"}.items():
        said = f"{type(measure).__name__} measures models with {name}, which MLP with Classification is without"
        with pytest.raises(Refused, match=said):
            measure.setup(trainer, mlp, "fit")
    for measure in (ActiveUnits(), PrincipalComponents(), FewLabels()):
        measure.setup(trainer, autoencoder, "fit")
    with pytest.raises(Refused, match="Generated measures models with draw, which Autoencoder with Reconstruction is"):
        Generated([]).setup(trainer, autoencoder, "fit")


@pytest.mark.parametrize(
    ("target", "said"),
    [("code.ActiveUnits", "measures models with encode"), ("boxes.Halves", "data=digits has no boxes in one half")],
)
def test_what_cannot_be_measured_is_refused_before_training(target, said, tmp_path):
    run, measure = tmp_path / "run", f"+callbacks.own._target_=dlcourse.measures.{target}"
    with pytest.raises(Refused, match=said) as refusal:
        dlcourse.run("trainer=cpu", "model.hidden=[4]", "report=false", "logger=none", measure, f"run_dir={run}")
    assert refusal.value.code == CONFIG and not list(run.glob("checkpoints/*.ckpt"))
    assert read_rows(run / "metrics.jsonl") == []


def test_verification_of_codes_that_are_the_class():
    """A layer that already holds the class tells each pair; one of noise tells none."""
    model, data = ready("data=digits", "model.hidden=[10]", "activation=identity")

    class Oracle(nn.Module):
        def forward(self, x):
            rows = data.sets["test"]
            same = (rows.x.flatten(1)[None] == x[:, None]).all(-1)
            return nn.functional.one_hot(rows.y[same.int().argmax(1)], 10).float()

    model.mean.zero_()
    model.std.fill_(1.0)
    model.network[1] = Oracle()
    found = Verification().measure(model, data)
    assert found["auc"] == 1 and 0.5 < found["pixel_auc"] < 0.95


@pytest.mark.parametrize("optimizer", ["adagrad", "adadelta"])
def test_the_effective_rate(optimizer):
    """Against the optimizer's own state after its last epoch."""
    rate = "+callbacks.rate._target_=dlcourse.measures.training.EffectiveRate"
    words = [*QUIET, "data=moons", "model.hidden=[4]", f"optimizer={optimizer}", "trainer.max_epochs=5", rate]
    result = dlcourse.run(*words)
    rates = [row["rate"] for row in result.history if "rate" in row]
    assert len(rates) == 5
    assert result.metrics["measure/first_rate"] == pytest.approx(rates[0], rel=1e-6)
    assert result.metrics["measure/last_rate"] == pytest.approx(rates[-1], rel=1e-6)
    if optimizer == "adagrad":
        assert all(later < earlier for earlier, later in zip(rates, rates[1:], strict=False))


def test_an_optimizer_without_an_effective_rate():
    words = [*QUIET, "data=moons", "trainer.max_epochs=1"]
    with pytest.raises(Refused, match="SGD has no effective rate"):
        dlcourse.run(*words, "optimizer=sgd", "+callbacks.rate._target_=dlcourse.measures.training.EffectiveRate")


def test_the_test_set_after_each_epoch_chooses_nothing():
    words = [*QUIET, "trainer.max_epochs=3", "model.hidden=[16]"]
    plain = dlcourse.run(*words)
    read = dlcourse.run(*words, "+callbacks.each._target_=dlcourse.measures.training.EachEpochTest")
    assert {k: v for k, v in read.metrics.items() if k in plain.metrics and k not in ("seconds", "samples_per_s")} == {
        k: v for k, v in plain.metrics.items() if k not in ("seconds", "samples_per_s")
    }
    found = [row["test_each/acc"] for row in read.history if "test_each/acc" in row]
    assert len(found) == 3 and read.metrics["measure/best_epoch_acc"] == pytest.approx(max(found))
    assert read.metrics["test/acc"] == pytest.approx(found[int(read.metrics["best_epoch"])])


def test_classes_that_are_lost():
    """An output that begins far below zero, where the squared error has no slope, is never heard of again."""
    model, data = ready("data=digits", "model.hidden=[16]", "activation=sigmoid", "loss=mse")
    with torch.no_grad():
        model.network[3].bias[:2] = -50.0
    found, each = {}, EachEpochTest()
    each.accuracies = [0.5]
    model.log_dict = lambda figures, logger: found.update(figures)
    trainer = SimpleNamespace(datamodule=data, loggers=[], current_epoch=0, global_step=0)
    each.on_test_epoch_end(trainer, model)
    assert found["measure/lost_classes"] >= 2


def test_exported_beside_the_run(tmp_path):
    pytest.importorskip("onnxruntime")
    words = ["data=moons", "model.hidden=[8]", "trainer.max_epochs=1", f"run_dir={tmp_path / 'run'}"]
    result = dlcourse.run(*QUIET, *words, "+callbacks.exported._target_=dlcourse.measures.reference.Exported")
    assert result.metrics["measure/export_error"] < 1e-5 and (tmp_path / "run/model.onnx").exists()


def test_the_plane_of_losses_has_the_model_in_its_middle(tmp_path):
    words = ["data=moons", "model.hidden=[16]", "trainer.max_epochs=20", f"run_dir={tmp_path / 'run'}"]
    add = ["+callbacks.landscape._target_=dlcourse.measures.landscape.Landscape", "+callbacks.landscape.points=9"]
    result = dlcourse.run(*QUIET, *words, *add)
    told = json.loads((tmp_path / "run/landscape.json").read_text())
    batch = result.data.sets["train"].first(256)
    with torch.no_grad():
        loss = float(result.model.eval().loss_of(batch).loss)
    assert told["loss"][4][4] == pytest.approx(loss, rel=1e-5)
    assert np.shape(told["loss"]) == (9, 9) and told["places"][0] == -told["places"][-1] == -1
    assert result.metrics["measure/rim_loss"] > loss


def test_directions_are_as_long_as_each_units_weights():
    model, _ = ready("data=digits", "model=cnn", "model.channels=[4]")
    one, two = directions(model, 0)
    weights = dict(model.named_parameters())
    name = next(name for name, w in weights.items() if w.ndim == 4)
    for direction in (one, two):
        lengths = [v[name].flatten(1).norm(dim=1) for v in (direction, weights)]
        torch.testing.assert_close(*lengths)
        assert not any(direction[name].any() for name, w in weights.items() if w.ndim == 1)
    assert not torch.equal(one[name], two[name])


def test_the_slice_can_be_descended():
    model, data = ready("data=moons", "model.hidden=[8]")
    cost, place = plane(model, data.sets["train"].first(64)), torch.zeros(2, requires_grad=True)
    cost(place).backward()
    place.grad = None
    cost(place).backward()  # as often as an optimizer asks
    g = place.grad
    h = torch.tensor([1e-3, 0.0])
    assert float(g[0]) == pytest.approx(((cost(h) - cost(-h)) / 2e-3).item(), rel=1e-2)
