"""Films of moving digits: the direction is in the order of the frames, and in nothing else (L7)."""

import pytest
import torch

from dlcourse.data.video import DIRECTIONS, STEP
from dlcourse.errors import Refused


def films(load, arrays, show="frames", count=300):
    return arrays(load("moving_digits", films=count, show=show))


def test_each_frame_is_the_one_before_moved(load, arrays):
    (x, y), (test_x, _) = films(load, arrays)
    assert x.shape == (300, 1, 10, 28, 28) and x.dtype == torch.uint8 and len(test_x) == 300
    for film, direction in zip(x, y, strict=True):
        down, right = (STEP * step for step in DIRECTIONS[direction])
        moved = torch.roll(film[0, :-1], (down, right), (1, 2))
        assert torch.equal(moved, film[0, 1:])
    assert torch.bincount(y, minlength=8).min() > 20


def test_names_and_steps_agree(load):
    """Rows count downwards."""
    vertical, horizontal = {-1: ["up"], 0: [], 1: ["down"]}, {-1: ["left"], 0: [], 1: ["right"]}
    for name, (down, right) in zip(load("moving_digits").task.classes, DIRECTIONS, strict=True):
        assert name == " ".join(vertical[down] + horizontal[right])


def test_the_controls_hold_the_same_films_without_their_order(load, arrays):
    (x, y), _ = films(load, arrays)
    for show in ("first", "mean", "shuffled"):
        (control, classes), _ = films(load, arrays, show)
        assert torch.equal(classes, y) and control.shape == x.shape and control.dtype == x.dtype
        if show == "first":
            assert torch.equal(control, x[:, :, :1].expand_as(x))
        elif show == "mean":
            assert (control[:, :, 0].float() - x.float().mean(2)).abs().max() <= 0.5
            assert torch.equal(control, control[:, :, :1].expand_as(x))
        else:
            assert torch.equal(control.sum(2), x.sum(2)), "the same frames"
            assert (control != x).flatten(1).any(1).float().mean() > 0.95


def test_starts_are_uniform(load, arrays):
    """The centre of mass of one frame says nothing of the direction: each class has it everywhere."""
    (x, y), _ = films(load, arrays, count=4000)
    bright = x[:, 0, 0].float().sum(1).argmax(1)  # the column with most ink
    for direction in range(8):
        found = torch.bincount(bright[y == direction] // 7, minlength=4).double()
        assert (found / found.sum() - 0.25).abs().max() < 0.08


def test_what_cannot_be_shown_is_refused(load, arrays):
    with pytest.raises(ValueError, match="data.show=backwards: expected one of frames, first, mean, shuffled"):
        load("moving_digits", show="backwards")
    with pytest.raises(Refused, match="data.films=70000: each film shows another digit, and MNIST has 60,000"):
        films(load, arrays, count=70_000)
