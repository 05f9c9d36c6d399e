"""The residual network: its blocks by hand, its parameters, and the gradient that shortcuts carry (L18)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlcourse.errors import Refused
from dlcourse.runs.building import build
from tests.composing import checked

SMALL = ["model=resnet", "model.channels=[3,5]", "data=digits"]


def made(*words):
    return build(checked([*SMALL, *words]).tree)[1]


def test_a_block_adds_what_it_learns_to_what_it_is_given():
    """f(x + F(x)), where the size changes f(W x + F(x)) with W a convolution of 1 × 1; by functions of torch."""
    model = made().eval()
    same, halving = model.network[2], model.network[3]
    x = torch.randn(2, 3, 8, 8)

    def normed(layer, x, stride=1, padding=1):
        conv, norm = layer
        z = F.conv2d(x, conv.weight, None, stride, padding)
        return F.batch_norm(z, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    with torch.no_grad():
        change = normed(same.change[2], F.relu(normed(same.change[0], x)))
        assert torch.allclose(same(x), F.relu(x + change), atol=1e-6)
        change = normed(halving.change[2], F.relu(normed(halving.change[0], x, 2)))
        assert torch.allclose(halving(x), F.relu(normed(halving.kept, x, 2, 0) + change), atol=1e-6)
        assert halving(x).shape == (2, 5, 4, 4)


def test_resnet20_has_its_parameters():
    """The network of section 4.2 with n = 3, counted there as 0.27 million; its shortcuts have no weights: + 2,752."""
    model = made("model.channels=[16,32,64]", "model.blocks=3", "data=cifar10")
    weights = sum(p.numel() for p in model.parameters())
    shortcuts = sum(p.numel() for block in model.network if hasattr(block, "kept") for p in block.kept.parameters())
    assert weights - shortcuts == 269_722 and shortcuts == 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert sum(isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) for part in model.modules()) == 19


def test_shortcuts_carry_the_gradient_to_the_first_layer():
    """Thirty blocks before training, without batch norm: where nothing is added, next to nothing arrives."""
    x = torch.randn(8, 1, 8, 8)
    norms = {}
    for shortcut in (True, False):
        torch.manual_seed(0)
        words = ["model.channels=[4]", "model.blocks=30", "model.norm=null", f"model.shortcut={shortcut}"]
        model = made(*words)
        model.network(x).square().sum().backward()
        norms[shortcut] = float(model.network[0][0].weight.grad.norm())
    assert norms[True] > 1 and norms[False] < 1e-6


def test_blocks_of_each_stage():
    model = made("model.blocks=[1,2]")
    assert [type(part).__name__ for part in model.network].count("Residual") == 3
    with pytest.raises(Refused, match="model.blocks lists 3 for 2 stages"):
        made("model.blocks=[1,2,1]")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=iris"], "halves pictures"),
        (["model.channels=[2,2,2,2,2]"], "halves pictures .C, H, W. 4 times"),
        (["model.blocks=0"], "model.blocks"),
    ],
)
def test_refused(words, said):
    with pytest.raises(Refused, match=said):
        made(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["model=cnn", "model.kernel=1", "model.stride=2", "model.channels=[4,8]", "model.pool=1", "model.norm=null"],
        ["model=resnet", "model.channels=[3,5]"],
    ],
    ids=["cnn", "resnet"],
)
def test_few_maps_and_a_stride_are_kept_in_the_usual_order(words):
    """Otherwise the weight gradient of PyTorch 2.14 writes past its memory, and the process dies."""
    model = build(checked(words).tree)[1]
    model(torch.rand(64, 1, 8, 8)).sum().backward()
    assert all(part.weight.is_contiguous() for part in model.modules() if isinstance(part, nn.Conv2d))


def test_enough_maps_lie_side_by_side():
    weight = made("model.channels=[8,16]").network[3].change[0][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
