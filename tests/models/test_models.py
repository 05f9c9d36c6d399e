"""Every model of conf/model on data that fits: gradients, shapes, what is refused, and what trains."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn
from torch.func import grad, vmap

import dlcourse
import dlcourse.runs.fit
from dlcourse.cross_entropies import CrossEntropy
from dlcourse.errors import CONFIG, Refused
from dlcourse.losses import MSE
from dlcourse.models.base import Model
from dlcourse.models.functional import loss_with
from dlcourse.runs.building import build, build_part, build_task
from dlcourse.runs.threads import set_threads
from dlcourse.tasks.base import Batch, logits
from tests import objects
from tests.composing import checked

CONF = Path(__file__).parents[2] / "conf"
SMOOTH = "activation=tanh"  # finite differences need a smooth function
#: Each model on data of each task that it can fit; hidden and channels small, so that all gradients are checked.
CASES = {
    "mlp": [
        ["data=iris", "model.hidden=[5,4]", SMOOTH],
        ["data=moons", "model.hidden=[5]", SMOOTH],
        ["data=sine", "model.hidden=[5]", SMOOTH],
        ["data=iris", "model.hidden=[5]", "model.norm=layer", "activation=gelu"],
        ["data=iris", "model.hidden=[5]", "loss=mse", SMOOTH],
    ],
    "cnn": [
        ["data=digits", "model.channels=[2,3]", "model.hidden=[4]", "model.norm=null", "model.pool=2", SMOOTH],
        ["data=digits", "model.channels=[2]", "model.hidden=[]", "model.norm=null", "model.instance_norm=true", SMOOTH],
    ],
    "lenet5": [["data=mnist"]],
    "alexnet": [["data=cifar10", "model.channels=[2,2,2,2,2]", "model.hidden=[3]", "model.dropout=0.0", SMOOTH]],
    "resnet": [["data=digits", "model.channels=[2,3]", "model.norm=null", SMOOTH]],
    "greedy_mlp": [["data=iris", "model.hidden=[5,4]", "model.epochs_per_layer=0", SMOOTH]],
    "autoencoder": [
        ["data=digits", "model.hidden=[5]", "model.code=2", SMOOTH],
        ["data=digits", "model.hidden=[5]", "model.channels=[2,3]", "loss=bce", SMOOTH],
        ["data=wine", "model.hidden=[4]", SMOOTH],
    ],
    "latent_diffusion": [
        ["data=digits", "model.hidden=[5]", "model.code=2", "model.width=4", "model.classes=10", SMOOTH]
    ],
    "upscaler": [["data=digits", "model.channels=[3]", SMOOTH]],
    "vae": [["data=digits", "model.hidden=[5]", "model.code=2", SMOOTH], ["data=wine", "loss=mse", SMOOTH]],
    "unet": [["data=scene_masks", "data.shape=[1,4,4]", "model.channels=[2,3]", "model.norm=null", SMOOTH]],
    "detector": [
        ["data=scenes", "data.shape=[1,8,8]", "model.channels=[2,3]", "model.norm=null", SMOOTH],
        ["data=scenes", "data.shape=[1,8,8]", "model.channels=[2,3]", "model.norm=null", "model.head=dense", SMOOTH],
        ["data=scenes", "data.shape=[1,8,8]", "model.channels=[2,3]", "model.norm=null", "model.head=unshared", SMOOTH],
    ],
    "perceptron": [["data=moons"], ["data=iris"]],
    "sigmoid_neuron": [["data=breast_cancer", "data.features=3"], ["data=iris"]],
    # Frozen, batch norm keeps its figures: a row's loss is then its own.
    "torchvision": [["data=digits", "model.name=shufflenet_v2_x0_5", "model.freeze=true"]],
    "efficientnet_lite": [["data=digits", "model.freeze=true"]],
}


def made(*words, **changes):
    """The data and the model of these words; nothing is read."""
    tree = checked(list(words)).tree
    if not changes:
        return build(tree)
    task = build_task(tree)
    return build_part(tree, "data", task), build_part({"model": {**tree["model"], **changes}}, "model", task)


def batch(data, rows=6):
    """Random inputs and targets by the data's declared facts, float64; pictures in 0 … white."""
    source = torch.Generator().manual_seed(3)
    x = torch.randn(rows, *data.shape, generator=source, dtype=torch.float64)
    x = x.sigmoid() * data.white if data.white else x
    if data.y == "classes":
        return x, torch.arange(rows) % data.outputs
    if data.y == "masks":
        return x, torch.randint(0, data.outputs, (rows, *data.shape[1:]), generator=source)
    if data.y == "boxes":
        return x, torch.tensor([[1.0, 1.0, 5.0, 6.0, 3.0], [0.0, 0.0, 0.0, 0.0, -1.0]]).double().repeat(rows, 1, 1)
    return x, torch.randn(rows, data.outputs, generator=source, dtype=torch.float64)


def rows_of(x, y, index=None):
    return Batch(x, y, torch.arange(len(x)) if index is None else index)


def loss_of(model, x, y, parameters, index=None):
    return loss_with(model, parameters, rows_of(x, y, index)).loss


def test_every_model_file_has_a_case():
    assert {path.stem for path in (CONF / "model").glob("*.yaml")} - {"own"} <= set(CASES)


ALL = [(name, words) for name, sets in CASES.items() for words in sets]
IDS = [f"{name} {' '.join(words)}" for name, words in ALL]


#: Networks with ReLUs of their own, at whose corners a difference is no gradient. The prior of latent diffusion does
#: not move the encoder (tests/models/test_vae.py), so its steps are the gradient of no one function; nor are the steps
#: of layers that train one after another (tests/models/test_greedy_mlp.py).
NOT_CURVED = ("torchvision", "efficientnet_lite", "latent_diffusion", "greedy_mlp")
CURVED = [(name, words) for name, words in ALL if name not in NOT_CURVED]


@pytest.mark.parametrize(("name", "words"), CURVED, ids=[f"{name} {' '.join(words)}" for name, words in CURVED])
def test_gradients_against_finite_differences(name, words):
    torch.manual_seed(0)
    data, model = made(f"model={name}", *words, "init=gaussian")
    model.double()
    x, y = batch(data)
    parameters = {key: p.detach().clone().requires_grad_() for key, p in model.named_parameters()}
    keys = list(parameters)

    def loss(*values):
        return loss_of(model, x, y, dict(zip(keys, values, strict=True)))

    fast = sum(p.numel() for p in parameters.values()) > 500  # a random direction instead of every entry
    assert torch.autograd.gradcheck(loss, tuple(parameters.values()), eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=fast)
    assert any(p.abs().sum() > 0 for p in torch.autograd.grad(loss(*parameters.values()), list(parameters.values())))


@pytest.mark.parametrize(("name", "words"), ALL, ids=IDS)
def test_the_loss_is_a_function_of_parameters_and_batch(name, words):
    """torch.func can differentiate it, row by row: the mean of the rows' gradients is the batch's."""
    torch.manual_seed(0)
    data, model = made(f"model={name}", *words, "init=gaussian")
    model.double()
    x, y = batch(data)
    parameters = {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}

    def loss(parameters, x, y, index):
        return loss_of(model, x, y, parameters, index)

    index = torch.arange(len(x))
    whole = grad(loss)(parameters, x, y, index)
    rows = vmap(lambda x, y, k: grad(loss)(parameters, x[None], y[None], k[None]))(x, y, index)
    model.loss_of(rows_of(x, y)).loss.backward()
    own = dict(model.named_parameters())
    for key, p in [(key, own[key]) for key in parameters]:
        assert whole[key].shape == p.shape
        assert torch.allclose(whole[key], p.grad, rtol=1e-9, atol=1e-12), key
        assert torch.allclose(rows[key].mean(0), p.grad, rtol=1e-7, atol=1e-10), key
    assert all(torch.equal(own[key].detach(), p) for key, p in parameters.items())


def test_gradients_through_batch_norm():
    """Batch norm couples the rows of a batch; its running figures are no part of the loss."""
    torch.manual_seed(0)
    data, model = made("model=cnn", "model.channels=[2]", "model.hidden=[3]", SMOOTH)
    model.double()
    x, y = batch(data)
    parameters = {key: p.detach().clone().requires_grad_() for key, p in model.named_parameters()}

    def loss(*values):
        return loss_of(model, x, y, dict(zip(parameters, values, strict=True)))

    assert torch.autograd.gradcheck(loss, tuple(parameters.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_several_models_at_once():
    """The loss of a stack of parameters by one vmap is that of each."""
    data, model = made("data=iris", "model.hidden=[5]")
    x, y = batch(data)
    x = x.float()
    stack = {key: torch.stack([p.detach(), 2 * p.detach()]) for key, p in model.named_parameters()}
    both = vmap(lambda parameters: loss_of(model, x, y, parameters))(stack)
    one = [loss_of(model, x, y, {key: p[k] for key, p in stack.items()}) for k in (0, 1)]
    assert torch.allclose(both, torch.stack(one), rtol=1e-5) and both[0] != both[1]


@pytest.mark.parametrize(("name", "words"), ALL, ids=IDS)
@pytest.mark.parametrize("rows", [1, 7])
def test_output_shapes(name, words, rows):
    data, model = made(f"model={name}", *words)
    model.eval()
    z = logits(model(torch.randn(rows, *model.example_input_array.shape[1:])))
    assert z.shape == (rows, *model.task.places, model.task.outputs)
    makes_rows = ("autoencoder", "vae", "latent_diffusion", "upscaler")
    assert model.output(z).shape == ((rows, *data.shape) if name in makes_rows else z.shape)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=cnn", "data=iris"], ["cnn", "[4]|(4,)", "(C, H, W)"]),
        (["model=lenet5", "data=digits"], ["lenet5", "8, 8", "28, 28", "32, 32"]),
        (["model=lenet5", "data=iris"], ["lenet5", "[4]|(4,)"]),
        (["model=cnn", "model.channels=[4,4,4,4]"], ["model.channels", "[4, 4, 4, 4]", "1, 8, 8", "model.pool"]),
        (["model=cnn", "model.channels=[4]", "model.pool=9"], ["model.pool", "1, 8, 8"]),
        (["model.hidden=[8]", "model.activation=[relu,tanh]"], ["model.activation", "2", "1 hidden"]),
        (["model=cnn", "model.activation=[relu]"], ["model.activation", "1", "3 hidden"]),
        (["model=lenet5", "data=mnist", "model.activation=[relu,relu]"], ["model.activation", "2", "4 hidden"]),
        (["model.norm=group"], ["model.norm=group", "batch", "layer"]),
        (["model=cnn", "model.norm=layer"], ["model.norm=layer", "batch"]),
    ],
)
def test_what_does_not_fit_is_refused(words, said):
    with pytest.raises(Refused) as refusal:
        made(*words)
    assert refusal.value.code == CONFIG
    message = str(refusal.value)
    assert message.count("\n") < 3
    for part in said:
        assert any(choice in message for choice in part.split("|")), f"{part} is not in: {message}"


PARTS = {
    "optimizer": partial(torch.optim.SGD, lr=0.1),
    "scheduler": partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0),
    "init": lambda network: None,
}


def own(network, outputs=3, task="classification", shape=(4,), **parts):
    loss = CrossEntropy() if task == "classification" else MSE("identity")
    of = objects.task(task, outputs)
    return Model(network, task=of, shape=shape, outputs=outputs, loss=loss, **{**PARTS, **parts})


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_network_of_the_wrong_width(width):
    with pytest.raises(ValueError, match=rf"\(N, 4\) into \(N, {width}\).*\(N, 3\)"):
        own(nn.Linear(4, width))


def test_a_network_that_forgets_to_flatten():
    with pytest.raises(ValueError, match=r"\(N, 1, 8, 8\).*\(N, 1, 8, 3\).*\(N, 3\)"):
        own(nn.Linear(8, 3), shape=(1, 8, 8))


def test_a_network_that_fails_says_on_what():
    with pytest.raises(RuntimeError, match=r"Model failed on inputs of the data's shape \(4,\)") as error:
        own(nn.Linear(5, 3))
    assert "mat1" in str(error.value.__cause__)


def test_the_dry_forward_changes_nothing():
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    model = own(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(module.training for module in model.modules())
    assert model.frozen == [] and all(p.grad is None for p in model.parameters())


def test_choosing_the_threads_changes_nothing(monkeypatch):
    """Neither batch norm's running figures nor the random numbers may know whether OMP_NUM_THREADS was set."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = torch.get_num_threads()
    data, model = made("model=cnn", "model.channels=[2]", "model.hidden=[3]", "model.dropout=0.5")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    set_threads(model, data)
    torch.set_num_threads(threads)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_a_step_freezes_what_lies_before_it(capsys, tmp_path):
    """Rosenblatt's fixed first layer: only the layers after the step train, and the run names the frozen ones."""
    words = ["data=iris", "model.hidden=[8,7,6]", "model.activation=[relu,step,tanh]"]
    _, model = made(*words)
    frozen = ["network.1.weight", "network.1.bias", "network.3.weight", "network.3.bias"]
    assert model.frozen == frozen
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == frozen
    result = dlcourse.run(
        *words, "trainer.max_epochs=2", "callbacks=none", "trainer=cpu", f"run_dir={tmp_path / 'run'}"
    )
    said = capsys.readouterr().out
    assert all(name in said for name in frozen) and "network.5" not in said
    seed_everything(0, verbose=False)  # as a run with seed=0 begins
    _, begun = made(*words)
    after = dict(result.model.named_parameters())
    for name, p in begun.named_parameters():
        assert torch.equal(p, after[name].detach()) == (name in frozen), name


def test_a_step_at_the_end_leaves_nothing_to_train():
    step = made("activation=step", "data=iris", "model.hidden=[8]")[1].network[2]
    assert own(nn.Sequential(nn.Linear(4, 3), step)).frozen == ["network.0.weight", "network.0.bias"]


def kinds(model):
    return [type(layer).__name__ for layer in model.network]


def test_one_activation_a_layer():
    _, model = made("data=iris", "model.hidden=[3,4,5]", "model.activation=[relu,tanh,gelu]")
    assert kinds(model) == ["Flatten", "Linear", "ReLU", "Linear", "Tanh", "Linear", "GELU", "Linear"]
    _, model = made("model=cnn", "model.channels=[2]", "model.hidden=[3]", "model.activation=[silu,sigmoid]")
    assert kinds(model) == ["Conv2d", "BatchNorm2d", "SiLU", "MaxPool2d", "Flatten", "Linear", "Sigmoid", "Linear"]
    _, model = made("model=lenet5", "data=mnist", "model.activation=[relu,tanh,gelu,silu]")
    named = ["ReLU", "Tanh", "GELU", "SiLU"]
    assert [kind for kind in kinds(model) if kind in named] == named


def test_activations_share_nothing():
    """PReLU learns its slope: one instance a layer."""
    _, model = made("data=iris", "model.hidden=[3,4]", "activation=prelu")
    assert len([name for name, _ in model.named_parameters() if "weight" in name]) == 5


def test_dropout_and_norm():
    _, model = made("data=iris", "model.hidden=[3,4]", "model.dropout=0.25", "model.norm=batch")
    block = ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert kinds(model) == ["Flatten", *block, *block, "Linear"]
    assert [layer.p for layer in model.network if isinstance(layer, nn.Dropout)] == [0.25, 0.25]
    assert [layer.num_features for layer in model.network if isinstance(layer, nn.BatchNorm1d)] == [3, 4]
    _, model = made("data=iris", "model.hidden=[3]", "model.norm=layer")
    assert kinds(model) == ["Flatten", "Linear", "LayerNorm", "ReLU", "Linear"]
    _, model = made("model=cnn", "model.dropout=0.5")
    assert kinds(model)[-4:] == ["Linear", "ReLU", "Dropout", "Linear"]
    _, model = made("data=iris", "model.hidden=[3]", "model.norm=null", "model.dropout=0.0")
    assert kinds(model) == ["Flatten", "Linear", "ReLU", "Linear"]


def test_no_hidden_layer_is_a_linear_model():
    _, model = made("data=iris", "model.hidden=[]")
    assert kinds(model) == ["Flatten", "Linear"]


def groups(*words):
    _, model = made(*words)
    model.trainer = type("Trainer", (), {"estimated_stepping_batches": 10})()
    names = {id(p): name for name, p in model.named_parameters()}
    found = model.configure_optimizers()["optimizer"].param_groups
    return {names[id(p)]: group["weight_decay"] for group in found for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adam"])
def test_weight_decay_spares_biases_and_norms(optimizer, monkeypatch):
    monkeypatch.setattr(Model, "trainer", None)
    decay = groups("model=cnn", f"optimizer={optimizer}", "optimizer.weight_decay=0.3")
    assert {name for name, value in decay.items() if value == 0.3} == {
        "network.0.weight",
        "network.4.weight",
        "network.9.weight",
        "network.11.weight",
    }
    assert {value for name, value in decay.items() if name.endswith("bias")} == {0.0}
    assert decay["network.1.weight"] == decay["network.5.weight"] == 0.0
    assert set(groups("model=cnn", f"optimizer={optimizer}", "optimizer.weight_decay=0.0").values()) == {0.0}


def test_frozen_parameters_are_not_the_optimizers(monkeypatch):
    monkeypatch.setattr(Model, "trainer", None)
    assert set(groups("data=iris", "model.hidden=[8]", "activation=step")) == {"network.3.weight", "network.3.bias"}


def sequence(**changes):
    return made("model=cnn", "model.channels=[4,8]", "model.hidden=[5]", shape=[1, 100], outputs=3, **changes)[1]


def test_a_cnn_on_sequences():
    model = sequence()
    assert kinds(model)[:4] == ["Conv1d", "BatchNorm1d", "MaxPool1d", "ReLU"]
    assert model.network[9].in_features == 8 * 25
    model.eval()
    z = model(torch.randn(2, 1, 100))
    assert z.shape == (2, 3)
    torch.nn.functional.cross_entropy(z, torch.tensor([0, 2])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("shape", [[1, 100], [2, 9, 12]])
def test_sizes_of_any_kernel_and_pool(kernel, pool, shape):
    """The dense layer's width is what the blocks leave."""
    model = made("model=cnn", "model.channels=[3,2]", f"model.kernel={kernel}", f"model.pool={pool}", shape=shape)[1]
    assert model(torch.randn(2, *shape)).shape == (2, 10)


def test_convolution_finds_the_same_feature_elsewhere():
    """L7: the maps of a shifted picture are the shifted maps (away from the border)."""
    _, model = made("model=cnn")
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 2:4, 2:4] = torch.randn(2, 2)
    maps, shifted = model.network[0](x), model.network[0](x.roll((2, 1), (2, 3)))
    assert torch.allclose(maps.roll((2, 1), (2, 3)), shifted, atol=1e-6)


def test_inputs_are_standardised_in_the_model():
    model = own(nn.Linear(4, 3))
    model.mean.copy_(torch.arange(4.0))
    model.std.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    x = torch.randn(5, 4)
    assert torch.allclose(model(x), model.network((x - model.mean) / model.std))


def test_values_are_in_the_targets_units_and_their_loss_is_not():
    model = own(nn.Linear(4, 2), outputs=2, task="regression")
    model.task.y_mean.copy_(torch.tensor([10.0, -500.0]))
    model.task.y_std.copy_(torch.tensor([2.0, 100.0]))
    x, y = torch.randn(6, 4), torch.tensor([10.0, -500.0]) + torch.randn(6, 2) * torch.tensor([2.0, 100.0])
    z = model(x)
    assert torch.allclose(model.output(z), z * torch.tensor([2.0, 100.0]) + torch.tensor([10.0, -500.0]))
    scaled = (y - torch.tensor([10.0, -500.0])) / torch.tensor([2.0, 100.0])
    assert torch.allclose(model.loss_of(rows_of(x, y)).loss, ((z - scaled) ** 2).mean())


def test_figures_of_values_are_in_the_targets_units(tmp_path):
    """mae in the units of the disease score, about 40; the loss in deviations, below 1."""
    result = dlcourse.run(
        "data=diabetes", "trainer=cpu", "trainer.max_epochs=20", "report=false", f"run_dir={tmp_path / 'run'}"
    )
    assert 20 < result.metrics["test/mae"] < 100 and result.metrics["test/loss"] < 1.5


def test_probabilities_are_not_classes():
    """L2: 0.173… and 0.689… are legitimate outputs of a sigmoid neuron; a perceptron's are 0 and 1."""
    _, neuron = made("model=sigmoid_neuron", "data=moons")
    z = torch.tensor([[-1.5643], [0.7954]])
    assert torch.allclose(neuron.output(z), torch.tensor([[0.173], [0.689]]), atol=1e-3)
    _, perceptron = made("model=perceptron", "data=moons")
    assert perceptron.output(torch.tensor([[-0.1], [0.0], [0.1]])).flatten().tolist() == [0, 0, 1]


def test_exposure_and_contrast_do_not_matter_where_each_input_is_levelled():
    _, model = made("model=cnn", "model.channels=[4]", "model.hidden=[]", "model.instance_norm=true")
    x = 16 * torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(model.eval()(0.3 * x + 4), model(x), atol=1e-4)


def test_a_kernel_and_a_stride_for_each_convolution():
    words = ["model=cnn", "model.channels=[4,5,6]", "model.kernel=[5,3,1]", "model.stride=[2,1,2]", "model.hidden=[]"]
    _, model = made(*words, "model.pool=1", "model.norm=null")
    convolutions = [layer for layer in model.network if isinstance(layer, nn.Conv2d)]
    assert [c.kernel_size[0] for c in convolutions] == [5, 3, 1] and [c.stride[0] for c in convolutions] == [2, 1, 2]
    assert [c.padding[0] for c in convolutions] == [2, 1, 0]
    assert kinds(model) == ["Conv2d", "ReLU"] * 3 + ["Flatten", "Linear"]  # no pooling by 1
    assert model.network[-1].in_features == 6 * 2 * 2


@pytest.mark.parametrize("key", ["kernel", "stride", "pool"])
def test_a_list_for_other_convolutions_is_refused(key):
    with pytest.raises(Refused, match=f"model.{key} lists 2 for 3 convolutions"):
        made("model=cnn", "model.channels=[4,4,4]", "model.pool=1", f"model.{key}=[1,1]")


def test_pooling_windows_that_overlap():
    """AlexNet's: 3 wide, 2 apart, after the first, second and fifth convolution: 32, 15, 7, 3 places on a side."""
    _, model = made("model=alexnet", "data=cifar10")
    windows = [(layer.kernel_size, layer.stride) for layer in model.network if isinstance(layer, nn.MaxPool2d)]
    assert windows == [(3, 2)] * 3
    assert kinds(model)[:11] == ["Conv2d", "MaxPool2d", "ReLU"] * 2 + ["Conv2d", "ReLU"] * 2 + ["Conv2d"]
    sides = [part.shape[-1] for part in outputs_of(model, nn.MaxPool2d, torch.zeros(1, 3, 32, 32))]
    assert sides == [15, 7, 3] and model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert kinds(model)[-9:] == ["Flatten", *["Dropout", "Linear", "ReLU"] * 2, "Dropout", "Linear"]


def outputs_of(model, kind, x):
    """What each layer of a kind puts out for x."""
    seen = []
    hooks = [p.register_forward_hook(lambda _, x, z: seen.append(z)) for p in model.modules() if isinstance(p, kind)]
    model(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_keras_convnet_has_its_parameters():
    """34,826, as keras.io/examples/vision/mnist_convnet prints."""
    words = ["model.channels=[32,64]", "model.hidden=[]", "model.padding=0", "model.norm=null", "model.dropout=0.5"]
    _, model = made("model=cnn", *words, shape=[1, 28, 28])
    assert kinds(model) == [*["Conv2d", "MaxPool2d", "ReLU"] * 2, "Flatten", "Dropout", "Linear"]
    assert sum(p.numel() for p in model.parameters()) == 34826


@pytest.mark.parametrize("f", ["relu", "leaky_relu", "tanh", "gelu", "prelu", "falling"])
def test_activation_after_pooling_only_where_it_is_the_same(f):
    """Outputs and every gradient equal, bit by bit, those of the order convolution, activation, pooling (L7)."""
    falling = ["activation=leaky_relu", "activation.negative_slope=-0.2"]
    words = falling if f == "falling" else [f"activation={f}"]
    _, model = made("model=cnn", "model.channels=[4,6]", "model.hidden=[]", *words)
    layers = list(model.network)
    for k, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d) and isinstance(layers[k - 1], nn.BatchNorm2d):
            layers[k : k + 2] = layers[k + 1], layer
    assert (layers == list(model.network)) == (f not in ("relu", "leaky_relu"))
    plain = nn.Sequential(*layers)
    x = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)).relu()  # with ties
    gradients = []
    for network in (plain, model.network):
        network.zero_grad()
        z = network(x)
        z.square().sum().backward()
        gradients.append([z, *(p.grad.clone() for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_memory_format_changes_no_result():
    """Weights lie channel by channel for speed; outputs and gradients are those of the plain layout."""
    _, model = made("model=cnn", "model.channels=[4,6]", "model.hidden=[5]")
    assert model.network[4].weight.is_contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(model)
    plain.network.to(memory_format=torch.contiguous_format)
    x, y = torch.randn(7, 1, 8, 8), torch.arange(7)
    for each in (model, plain):
        each.double()
        each.loss_of(rows_of(x.double(), y)).loss.backward()
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_the_hook_that_runs_is_an_attribute_and_parameters_stay_parameters():
    model = own(nn.Linear(4, 3))
    model._current_fx_name = "training_step"
    assert model._current_fx_name == "training_step"
    model.extra = nn.Parameter(torch.zeros(2))
    assert "extra" in dict(model.named_parameters())
