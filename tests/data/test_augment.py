import pytest
import torch

from dlcourse.data.augment import Affine, FlipCrop, Shift, moved
from dlcourse.noise import normal, uniform

INDEX = torch.arange(64)
PICTURES = torch.randint(0, 256, (64, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
EACH = pytest.mark.parametrize("augment", [Shift(2), FlipCrop(3), Affine()], ids=lambda a: type(a).__name__)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def splitmix64(state):
    """The generator as published, in whole numbers of any size."""
    mask = 2**64 - 1
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_the_hash_is_splitmix64():
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    state = splitmix64((3 + golden) & mask)
    state = splitmix64((splitmix64((state + 7) & mask) + 11) & mask)
    expected = [(splitmix64((state + golden * k) & mask) >> 40) / 2**24 for k in (1, 2, 3)]
    assert uniform(3, 7, torch.tensor([11]), 3)[0].tolist() == expected


def test_the_numbers_are_uniform():
    index = torch.arange(20000)
    u = uniform(0, 0, index, 4).double()
    assert u.min() >= 0 and u.max() < 1
    assert torch.allclose(u.mean(0), torch.full((4,), 0.5).double(), atol=0.01)
    assert (torch.corrcoef(u.T) - torch.eye(4)).abs().max() < 0.03
    assert u[1:, 0].sub(u[:-1, 0]).abs().mean() == pytest.approx(1 / 3, abs=0.01)  # neighbours are unrelated


def test_normal_numbers_are_normal():
    from scipy import stats

    n = normal(3, 5, torch.arange(20000), 4).double()
    assert n.isfinite().all() and stats.kstest(n.flatten().numpy(), "norm").pvalue > 0.01
    assert (torch.corrcoef(n.T) - torch.eye(4)).abs().max() < 0.03
    seeds = torch.tensor([3, 4])
    both = torch.func.vmap(lambda seed: normal(seed, 5, torch.arange(7), 4))(seeds)
    assert torch.equal(both[0], n[:7].float()) and not torch.equal(both[0], both[1])


@EACH
def test_shape_and_type_are_kept(augment):
    for x in (PICTURES, PICTURES.float(), PICTURES[:, :1].double()):
        out = augment(x, 0, 0, INDEX)
        assert out.shape == x.shape and out.dtype == x.dtype and not torch.equal(out, x)


@EACH
def test_pictures_of_one_batch_differ_and_so_do_epochs_and_seeds(augment):
    same = PICTURES[:1].expand(64, -1, -1, -1)
    out = augment(same, 0, 0, INDEX)
    assert len(out.flatten(1).unique(dim=0)) > 10
    assert not torch.equal(out, augment(same, 0, 1, INDEX)) and not torch.equal(out, augment(same, 1, 0, INDEX))
    assert torch.equal(out, augment(same, 0, 0, INDEX))


@EACH
@pytest.mark.parametrize("device", DEVICES)
def test_a_picture_depends_on_neither_its_batch_nor_the_order_nor_the_device(augment, device):
    whole = augment(PICTURES, 4, 2, INDEX)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))[:37]
    part = augment(PICTURES[order].to(device), 4, 2, INDEX[order].to(device)).cpu()
    # Affine interpolates: a different rounding may move one value in many by one.
    assert (part.int() - whole[order].int()).abs().max() <= (1 if isinstance(augment, Affine) else 0)


def test_shift_moves_by_whole_pixels_up_to_the_limit():
    x = torch.zeros(500, 1, 9, 9, dtype=torch.uint8)
    x[:, 0, 4, 4] = 255
    where = Shift(2)(x, 0, 0, torch.arange(500)).flatten(1).argmax(1)
    moves = torch.stack((where // 9 - 4, where % 9 - 4), 1).unique(dim=0, return_counts=True)
    assert len(moves[0]) == 25 and moves[0].abs().max() == 2 and moves[1].min() >= 8


def test_moved_pads_with_zeros_and_flips():
    x = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)[None, None].expand(2, 1, 2, 3)
    down, right, flip = torch.tensor([1, 0]), torch.tensor([0, -1]), torch.tensor([False, True])
    out = moved(x, down, right, flip)
    assert out[0, 0].tolist() == [[0, 0, 0], [1, 2, 3]] and out[1, 0].tolist() == [[2, 1, 0], [5, 4, 0]]
    assert moved(x, torch.tensor([5, -5]), torch.tensor([0, 0])).sum() == 0


def test_flip_crop_flips_half_of_the_pictures():
    x = torch.arange(10, dtype=torch.float32).expand(1000, 1, 4, 10)
    out = FlipCrop(0)(x, 0, 0, torch.arange(1000))
    flipped = (out == x.flip(3)).flatten(1).all(1)
    assert torch.equal((out == x).flatten(1).all(1), ~flipped) and 450 < flipped.sum() < 550


def test_affine_turns_moves_and_scales():
    x = torch.zeros(300, 1, 21, 31)
    x[:, :, 9:12, 5:26] = 1  # a bar
    index = torch.arange(300)
    still = Affine(0, 0, 0)(x, 0, 0, index)
    assert torch.allclose(still, x, atol=1e-5)
    turned = Affine(90, 0, 0)(x, 0, 0, index)
    assert turned.amax((1, 3))[:, 2].max() > 0.9  # the bar keeps its length when it stands, in pixels that are square
    assert turned.sum((1, 2, 3)).max() < 1.1 * 63
    area = Affine(0, 0, 0.5)(x, 0, 0, index).sum((1, 2, 3)) / 63
    assert 0.1 < area.min() < 0.4 and 1.7 < area.max() < 2.6  # 0.5² and 1.5², give or take the pixels
    center = (Affine(0, 0.2, 0)(x, 0, 0, index).sum((1, 2)) * torch.arange(31)).sum(1) / 63 - 15
    assert -6.3 < center.min() < -4 and 4 < center.max() < 6.3
    left = torch.zeros(300, 1, 21, 31)
    left[..., :10] = 1
    flipped = Affine(0, 0, 0, flip=True)(left, 0, 0, index)[..., 0].mean((1, 2)) < 0.5
    assert 110 < flipped.sum() < 190
    assert torch.allclose(
        Affine(20, 0.2, 0.1)(left, 0, 0, index)[~flipped], Affine(20, 0.2, 0.1, True)(left, 0, 0, index)[~flipped]
    )


@pytest.mark.parametrize(
    "wrong", [lambda: Shift(-1), lambda: Shift(1.5), lambda: FlipCrop(-1), lambda: Affine(-1), lambda: Affine(scale=1)]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        wrong()


def test_rows_of_a_table_are_refused():
    with pytest.raises(ValueError, match="augmentation is for pictures"):
        Shift(1)(torch.zeros(4, 3), 0, 0, torch.arange(4))
