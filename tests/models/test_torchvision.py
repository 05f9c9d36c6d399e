"""The classifiers of torchvision: every name, its last layer and sizes; weights by name and from a file; a run."""

import hashlib
import json
import re
import urllib.error

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models import regnet

import dlcourse
from dlcourse.errors import CHECKPOINT, CONFIG, ENVIRONMENT, Refused
from dlcourse.models.pretrained import fill
from dlcourse.models.torchvision import OfTorchvision, network_of, takes
from dlcourse.models.transfer import last_layer
from dlcourse.runs.building import build, build_seeded
from dlcourse.runs.export import export_onnx
from dlcourse.runs.inference import has_light_background
from dlcourse.runs.inference import test as evaluate
from dlcourse.runs.trained import restore
from tests.composing import checked
from tests.objects import predicted_lines

NAMES = models.list_models(module=models)
NET = "shufflenet_v2_x0_5"  # the smallest
WORDS = ["model=torchvision", f"model.name={NET}", "logger=none", "callbacks=none", "trainer=cpu", "report=false"]
#: The smallest of 8 × 8, 14 × 14, 28 × 28, 32 × 32, 64 × 64, 96 × 96 that a network takes, where it is not the first.
LEAST = {
    **dict.fromkeys(["googlenet", "squeezenet1_0", "squeezenet1_1"], 28),
    **{name: 32 for name in NAMES if name.startswith(("convnext", "densenet", "vgg", "vit_b", "vit_l"))},
    **{"alexnet": 64, "inception_v3": 96, "maxvit_t": 224, "vit_h_14": 14},
}
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def shapes_only(monkeypatch):
    """On the meta device nothing has a value, so none are drawn; but a RegNet computes its widths with tensors."""
    for name in [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]:
        monkeypatch.setattr(nn.init, name, lambda *given, **named: None)
    widths = regnet.BlockParams.from_init_params

    def with_values(*given, **named):
        with torch.device("cpu"):
            return widths(*given, **named)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", with_values)


QUICK = ["alexnet", "convnext_tiny", "densenet121", "googlenet", "inception_v3", "mobilenet_v3_small"]
QUICK += ["regnet_y_400mf", "resnet18", "squeezenet1_1", NET, "swin_t", "vgg11", "vit_b_32"]
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("name", EVERY)
def test_every_network(name):
    """Its last layer is the one whose shape depends on the outputs; it takes pictures, or is told a size that it takes.

    No name looks like an auxiliary output's, and names stay apart without their dots: so ``fill`` may read files.
    """
    side = LEAST.get(name, 8)
    with torch.device("meta"), torch.no_grad():
        one, two = network_of(name, 7, side, False), network_of(name, 5, side, False)
        assert one.eval()(torch.zeros(2, 3, side, side)).shape == (2, 7)
    differ = {key for (key, p), q in zip(one.named_parameters(), two.parameters(), strict=True) if p.shape != q.shape}
    (last,) = [key for key, layer in one.named_modules() if layer is last_layer(one)]
    assert differ == {f"{last}.{key}" for key in last_layer(one).state_dict()}
    own = list(one.state_dict())
    assert not [key for key in own if "aux" in key.lower()]
    assert len({key.replace(".", "") for key in own}) == len(own)
    assert not [smaller for smaller in (8, 14, 28, 32, 64, 96) if smaller < side and takes(name, smaller)]


@pytest.mark.parametrize("name", ["googlenet", "squeezenet1_1", NET])
@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10"])
def test_pictures_of_one_channel_and_of_any_size(name, data):
    words = [*WORDS, f"data={data}", f"model.name={name}"]
    if data == "digits" and name != NET:
        with pytest.raises(Refused, match=f"{name} cannot take pictures of 8 × 8: model.size=32 scales") as refusal:
            build(checked(words).tree)
        assert refusal.value.code == CONFIG
        words.append("model.size=32")
    _, model = build(checked(words).tree)
    x = torch.rand(2, *model.example_input_array.shape[1:])
    model.eval()
    assert model(x).shape == (2, 10)
    if x.shape[1] == 1:
        assert torch.equal(model(x), model(x.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.name=resnet81"], "did you mean resnet18.*\nThere are: alexnet, "),
        (["model.weights=IMAGNET1K_V1"], "no weights of that name for shufflenet_v2_x0_5; did you mean IMAGENET1K_V1"),
        (["data=iris"], r"expects pictures \(1, H, W\) or \(3, H, W\); the data's shape is \(4,\)"),
        (["model.freeze=maybe"], "model.freeze=maybe: expected true or false"),
        (["model.size=0"], "model.size=0: expected a whole number"),
        (["activation=tanh"], "model=torchvision has no activation to choose"),
        (["model.hidden=[3]"], "no key hidden"),
        (["model.dropout=0.5"], "no key dropout"),
        (["model.norm=batch"], "no key norm"),
        (["model.name=inception_v3", "model.size=32"], "pictures of 32 × 32: model.size=96 scales them"),
        (["model.weights=DEFAULT", "model.white=null"], "set data.white, the value of a white pixel"),
    ],
)
def test_what_does_not_fit_is_refused(words, said):
    with pytest.raises(Refused, match=f"(?s){said}") as refusal:
        build(checked([*WORDS, *words]).tree)
    assert refusal.value.code == CONFIG and str(refusal.value).count("\n") < 3


# Weights


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file as torchvision would offer it: a state_dict for 1000 classes, with its hash in its name."""
    torch.manual_seed(5)
    net = models.get_model(NET, weights=None)
    folder = tmp_path_factory.mktemp("offered")
    torch.save(net.state_dict(), folder / "made.pth")
    hashed = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()[:10]
    return (folder / "made.pth").rename(folder / f"shufflenet-{hashed}.pth")


@pytest.fixture
def offered(file, tmp_path, monkeypatch):
    """torchvision's weights of that network are at file://…; a fresh place to keep what is fetched."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    weights = models.get_model_weights(NET)["IMAGENET1K_V1"]
    monkeypatch.setattr(weights.value, "url", file.as_uri())
    return weights


def begun(*words):
    return build_seeded(checked([*WORDS, *words]))


def same(model, file):
    """Whether all but the last layer is that of a file."""
    there, own = torch.load(file, weights_only=True), model.network.net.state_dict()
    return all(torch.equal(own[name], w) for name, w in there.items() if not name.startswith("fc."))


def test_weights_are_fetched_checked_and_kept(offered, file, tmp_path, capsys):
    _, model = begun("model.weights=IMAGENET1K_V1")
    assert same(model, file) and model.network.net.fc.out_features == 10
    kept = tmp_path / "hub" / "checkpoints" / file.name
    assert kept.read_bytes() == file.read_bytes()
    said = capsys.readouterr().out
    assert "weights of IMAGENET1K_V1; fc.weight, fc.bias start from random weights; trained on" in said
    assert "; trained on pictures of 224 × 224, here they are 8 × 8 (model.size)" in said
    before = kept.stat().st_mtime_ns
    assert same(begun("model.weights=DEFAULT")[1], file) and kept.stat().st_mtime_ns == before  # not fetched again


def test_a_fetched_file_with_another_hash_is_refused(offered, file, tmp_path, monkeypatch):
    wrong = tmp_path / "shufflenet-0123456789.pth"
    wrong.write_bytes(file.read_bytes())
    monkeypatch.setattr(offered.value, "url", wrong.as_uri())
    with pytest.raises(Refused, match="shufflenet-0123456789.pth is no file of weights .invalid hash") as refusal:
        begun("model.weights=IMAGENET1K_V1")
    assert refusal.value.code == CHECKPOINT
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_kept_file_that_is_cut_is_refused(offered, file, tmp_path):
    kept = tmp_path / "hub" / "checkpoints" / file.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(file.read_bytes()[:10_000])
    with pytest.raises(Refused, match="is no file of weights .*; remove it to have it fetched again") as refusal:
        begun("model.weights=DEFAULT")
    assert refusal.value.code == CHECKPOINT


@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), TimeoutError("timed out")])
def test_without_a_network(offered, tmp_path, monkeypatch, error):
    def fails(*given, **named):
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", fails)
    with pytest.raises(Refused) as refusal:
        begun("model.weights=IMAGENET1K_V1")
    said = str(refusal.value)
    assert refusal.value.code == ENVIRONMENT and said.count("\n") < 3
    assert offered.url in said and str(tmp_path / "hub" / "checkpoints") in said and "model.weights=FILE" in said
    assert str(getattr(error, "reason", error)) in said


def test_weights_of_a_file_are_those_of_the_name(offered, file, capsys):
    """To the last bit, the new last layer and the random numbers that follow too."""
    made = []
    for word in ("IMAGENET1K_V1", file):
        _, model = begun(f"model.weights={word}", "init=he")
        made.append((model.state_dict(), torch.rand(3)))
    (one, after), (two, then) = made
    assert all(torch.equal(w, two[name]) for name, w in one.items()) and torch.equal(after, then)
    assert same(model, file)  # init=he drew none of it


def test_a_file_is_found_from_anywhere(file, monkeypatch, tmp_path):
    monkeypatch.chdir(file.parent)
    assert checked([*WORDS, f"model.weights={file.name}"]).tree["model"]["weights"] == str(file)
    assert checked([*WORDS, "model.weights=DEFAULT"]).tree["model"]["weights"] == "DEFAULT"


class Evil:
    def __reduce__(self):
        return (print, ("a file ran",))


def damaged(state, name, tmp_path):
    changed = dict(state)
    if name == "shape":
        changed["conv1.0.weight"] = torch.zeros(24, 1, 3, 3)
    elif name == "missing":
        del changed["conv1.0.weight"]
    elif name == "foreign":
        changed["conv9.weight"] = torch.zeros(2)
    elif name == "nan":
        changed["conv1.0.weight"] = torch.full((24, 3, 3, 3), torch.nan)
    elif name == "sparse":
        changed["conv1.0.weight"] = state["conv1.0.weight"].to_sparse()
    elif name == "meta":
        changed["conv1.0.weight"] = state["conv1.0.weight"].to("meta")
    elif name == "int8":
        changed["conv1.0.weight"] = torch.zeros(24, 3, 3, 3, dtype=torch.int8)
    elif name == "code":
        changed = Evil()
    elif name == "numbers":
        changed = {"lr": 0.1}
    torch.save(changed, path := tmp_path / "damaged.pth")
    if name == "cut":
        path.write_bytes(path.read_bytes()[:10_000])
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shape", r"conv1.0.weight is \(24, 1, 3, 3\) there and \(24, 3, 3, 3\) here"),
        ("missing", "missing there: conv1.0.weight"),
        ("foreign", "only there: conv9.weight"),
        ("nan", "conv1.0.weight holds numbers that are not finite"),
        ("sparse", "does not fit the network: conv1.0.weight is torch.sparse_coo there, not a plain tensor"),
        ("meta", "does not fit the network: conv1.0.weight has no numbers there"),
        ("int8", "does not fit the network: conv1.0.weight is torch.int8 there and torch.float32 here"),
        ("code", "is no file of weights"),
        ("numbers", "holds no state_dict"),
        ("cut", "is no file of weights"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(name, said, file, tmp_path, capsys):
    path = damaged(torch.load(file, weights_only=True), name, tmp_path)
    with pytest.raises(Refused, match=said) as refusal:
        begun(f"model.weights={path}")
    assert refusal.value.code == CHECKPOINT and str(refusal.value).count("\n") < 3
    assert "a file ran" not in capsys.readouterr().out


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(Refused, match=r"model.weights=/nowhere/a.pth: there is no such file") as refusal:
        begun("model.weights=/nowhere/a.pth")
    assert refusal.value.code == CONFIG


def of_state(name, state, tmp_path):
    """A file with this state_dict loaded into that network."""
    torch.save(state, tmp_path / f"{name}.pth")
    net = network_of(name, 4, 64, True)
    return net, fill(net, last_layer(net), OfTorchvision.find(name, str(tmp_path / f"{name}.pth")))


@pytest.mark.parametrize("name", ["googlenet"])
def test_auxiliary_outputs_are_left_out_and_named(name, tmp_path):
    whole = models.get_model(name, weights=None, aux_logits=True, init_weights=False)
    net, told = of_state(name, whole.state_dict(), tmp_path)
    count = len([key for key in whole.state_dict() if key.lower().startswith("aux")])
    assert f"left out: {count} tensors of auxiliary outputs (aux1." in told
    assert torch.equal(net.conv1.conv.weight, whole.conv1.conv.weight)
    assert net.transform_input  # as torchvision's weights of it want


@pytest.mark.slow
def test_the_names_of_older_files(tmp_path):
    """DenseNet's, by torchvision's own rule for them."""
    whole = models.densenet121(weights=None)
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key): w for key, w in whole.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    net, _ = of_state("densenet121", old, tmp_path)
    assert all(
        torch.equal(w, whole.state_dict()[key]) for key, w in net.features.state_dict(prefix="features.").items()
    )


def test_pixels_are_those_that_the_weights_know(file):
    """Grey digits of 0 … 16 and their trained network: the weights' own preparation, before and after the data."""
    data, model = begun(f"model.weights={file}")
    data.setup()
    model.standardise(data)
    model.eval()
    x = data.sets["test"].x[:5].float()
    mean, std = (torch.tensor(value)[:, None, None] for value in IMAGENET)
    assert torch.allclose(model(x), model.network.net((x / 16 - mean) / std), atol=1e-5)
    assert not {"mean", "std"} & set(model.of_the_data)
    assert not has_light_background(model, data, torch.full((2, 1, 8, 8), 16.0)).any()  # unknown: not the data's mean
    _, other = begun()
    other.standardise(data)
    assert other.mean.shape == (1, 1, 1) and float(other.mean) == pytest.approx(float(data.mean))


@pytest.mark.parametrize("name", NAMES)
def test_the_deviations_of_every_weights_are_known(name):
    for each in models.get_model_weights(name):
        mean, std = OfTorchvision.find(name, each.name).moments()
        assert mean.shape == std.shape == (3,) and (std > 0).all()
        of_file = OfTorchvision.find(name, f"/somewhere/{each.url.rpartition('/')[2]}")
        assert of_file.weights.transforms is each.transforms
        assert OfTorchvision.find(name, each.name).side >= 176


def test_a_frozen_network_trains_its_last_layer_only(file, runs):
    words = [f"model.weights={file}", "model.freeze=true", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
    _, begin = begun(*words)
    assert [name for name, p in begin.named_parameters() if p.requires_grad] == [
        "network.net.fc.weight",
        "network.net.fc.bias",
    ]
    begin.train()
    norms = [layer for layer in begin.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms and not any(layer.training for layer in norms) and begin.training
    result = dlcourse.run(*WORDS, *words, f"run_dir={runs / 'a'}")
    after = result.model.network.net.state_dict()
    assert same(result.model, file)  # running figures of batch norm too
    assert not torch.equal(after["fc.weight"], begin.network.net.fc.weight)


@pytest.mark.slow
def test_a_run_is_continued_and_used_without_the_file(file, runs, tmp_path, capsys):
    """Weights are loaded once: what the run has learned since is not overwritten, and the file may be gone."""
    mine = tmp_path / "mine.pth"
    mine.write_bytes(file.read_bytes())
    words = [*WORDS, f"model.weights={mine}", "trainer.limit_train_batches=4"]
    whole = dlcourse.run(*words, "trainer.max_epochs=2", f"run_dir={runs / 'whole'}")
    first = dlcourse.run(*words, "trainer.max_epochs=1", f"run_dir={runs / 'run'}")
    assert "mine.pth; fc.weight" in capsys.readouterr().out
    mine.unlink()
    path = first.run_dir
    second = dlcourse.run(f"resume={path}", "trainer.max_epochs=2")
    assert "mine.pth" not in capsys.readouterr().out
    ours, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(w, theirs[name]) for name, w in ours.items())
    cfg, model, data = restore(path)
    written = json.loads((path / "metrics.json").read_text())
    assert evaluate(cfg, model, data) == {name: value for name, value in written.items() if name.startswith("test/")}
    lines = predicted_lines(model, data.sets["test"].x[:3].float())
    assert len(lines) == 3 and all("9=" in line for line in lines)
    assert export_onnx(model, data, path / "model.onnx") < 1e-4


def test_the_diagnosis_sees_what_goes_into_an_activation(runs):
    words = ["callbacks=diagnostics", "trainer.max_epochs=1", "trainer.limit_train_batches=2", f"run_dir={runs / 'a'}"]
    assert "test/acc" in dlcourse.run(*WORDS, *words).metrics
