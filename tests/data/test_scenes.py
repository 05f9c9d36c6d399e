"""Scenes: made of the right digits, each once, where the boxes and masks say they are; bad targets are refused."""

import pytest
import torch

from dlcourse.data.scenes import INK, touching
from dlcourse.data.targets import check_targets
from dlcourse.errors import Refused
from dlcourse.runs.building import build
from tests.composing import checked, unchecked
from tests.refusing import refusal
from tests.scene_parts import BOXES, MASKS


def made(words, *more):
    data, _ = build(checked([*words, *more]).tree)
    data.setup()
    return data


@pytest.fixture(scope="module")
def boxes():
    return made(BOXES)


def crops(x, y):
    """The ink of each box of each scene, as bytes, and its digit."""
    found = []
    for picture, rows in zip(x[:, 0], y.long(), strict=True):
        for x1, y1, x2, y2, digit in rows.tolist():
            if digit >= 0:
                crop = picture[y1:y2, x1:x2]
                found.append((digit, tuple(crop.shape), bytes((crop * (crop >= INK)).flatten().tolist())))
    return found


def test_each_box_is_around_the_ink_of_a_digit_of_its_own_part(boxes):
    """Test scenes hold test digits, validation digits are in no training scene, and a box's sides touch ink."""
    seen = {stage: crops(rows.x, rows.y) for stage, rows in boxes.sets.items()}
    for digit, (height, width), ink in (each for part in seen.values() for each in part):
        there = torch.frombuffer(bytearray(ink), dtype=torch.uint8).reshape(height, width) > 0
        assert 0 <= digit <= 9 and there.any(0)[[0, -1]].all() and there.any(1)[[0, -1]].all()
    train, test = boxes.digits()
    for stage, (x, y) in (("train", train), ("val", train), ("test", test)):
        known = set()
        for picture, digit in zip(x[:, 0], y.tolist(), strict=True):
            ink = picture >= INK
            rows, columns = ink.any(1).nonzero()[:, 0], ink.any(0).nonzero()[:, 0]
            crop = (picture * ink)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            known.add((digit, tuple(crop.shape), bytes(crop.flatten().tolist())))
        assert set(seen[stage]) <= known
    unique = [set(part) for part in seen.values()]
    assert not unique[0] & unique[1] and not unique[1] & unique[2] and not unique[0] & unique[2]
    counts = (boxes.sets["train"].y[..., 4] >= 0).sum(1)
    assert counts.unique().tolist() == [1, 2, 3] and 1.8 < float(counts.float().mean()) < 2.2


def test_digits_do_not_touch_and_masks_are_the_same_scenes(boxes):
    masks = made(MASKS)
    for stage, rows in boxes.sets.items():
        assert torch.equal(rows.x, masks.sets[stage].x) and torch.equal(rows.index, masks.sets[stage].index)
        there = rows.y[..., 4] >= 0
        assert not touching(rows.y[..., :4], there).any()
        ink = (rows.x[:, 0] >= INK) == (masks.sets[stage].y > 0)
        assert ink.all()
        for mask, targets in zip(masks.sets[stage].y, rows.y.long(), strict=True):
            rebuilt = torch.zeros_like(mask)
            for x1, y1, x2, y2, digit in targets[targets[:, 4] >= 0].tolist():
                part = mask[y1:y2, x1:x2]
                rebuilt[y1:y2, x1:x2] = torch.where(part == digit + 1, part, 0)
            assert torch.equal(mask, rebuilt)


def test_a_scene_is_the_same_for_any_number_of_scenes_and_any_seed(boxes):
    few = made(BOXES, "data.n_samples=100", "data.n_test_samples=20", "seed=7")
    x, y = (torch.cat([getattr(boxes.sets[stage], part) for stage in ("train", "val")]) for part in ("x", "y"))
    order = torch.cat([boxes.sets[stage].index for stage in ("train", "val")]).argsort()
    own = torch.cat([few.sets[stage].index for stage in ("train", "val")]).argsort()
    assert torch.equal(torch.cat([few.sets[stage].x for stage in ("train", "val")])[own], x[order][:100])
    assert torch.equal(torch.cat([few.sets[stage].y for stage in ("train", "val")])[own], y[order][:100])
    assert torch.equal(few.sets["test"].x, boxes.sets["test"].x[:20])


@pytest.mark.parametrize("half", ["left", "right"])
def test_one_half_holds_all_centres_of_training_and_validation(half, boxes):
    data = made(BOXES, f"data.half={half}")
    for stage, rows in data.sets.items():
        centres = ((rows.y[..., 0] + rows.y[..., 2]) / 2)[rows.y[..., 4] >= 0]
        if stage == "test":
            assert torch.equal(rows.x, boxes.sets["test"].x)
        else:
            assert (centres < 16).all() if half == "left" else (centres >= 16).all()
    x, y = data.test_scenes("right")
    assert sorted(crops(x, y)) == sorted(crops(data.sets["test"].x, data.sets["test"].y)), "the same digits"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.n_samples=2000"], "2000 scenes need .* digits, there are 1437"),
        (["data.shape=[1,8,8]"], "has no room for its digits in 8 × 8 pixels"),
    ],
)
def test_too_many_digits_are_refused(words, said):
    with pytest.raises(Refused, match=said):
        made(BOXES, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["task=segmentation", "data=iris"],
            "task=segmentation cannot be learned from data=iris, whose y holds classes",
        ),
        (["task=detection", "data=scene_masks"], "y holds masks: it takes boxes"),
        (["task=classification", "data=scenes"], "y holds boxes: it takes classes"),
        (["data=scenes", "model=detector", "data.augment=shift"], "data.augment moves the pictures of data=scenes"),
        (["data=scenes", "model=detector", "loss=mse"], "try loss=centres"),
        (["model=detector", "data=scenes", "metrics=f1"], "task=detection has boxes"),
        (["data=scene_masks", "model=unet", "data.outputs=12"], "data.classes has 11 names"),
        (["data=scenes", "model=detector", "data.n_test_samples=0"], "data.n_test_samples=0"),
    ],
)
def test_what_does_not_fit_is_refused_before_torch(words, said):
    assert said in refusal(checked, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=scenes", "model=detector", "data.half=top"], "data.half=top: expected left, right or null"),
        (["data=scenes", "model=detector", "task.stride=3"], "task.stride=3"),
        (["data=scenes", "model=detector", "model.stride=3"], "model.stride=3: expected a power of 2"),
        (["data=scenes", "model=detector", "model.stride=[2,2]"], "model.stride=[2, 2]: expected a power of 2"),
        (["data=scenes", "model=detector", "model.head=round"], "expected convolution, unshared or dense"),
        (["data=scenes", "model=detector", "model.stride=2"], "(N, 32, 32, 14), but the data needs (N, 16, 16, 14)"),
        (["data=scenes", "model=mlp"], "into (N, 14), but the data needs (N, 16, 16, 14)"),
        (["data=scene_masks", "model=unet", f"model.channels={[4] * 8}".replace(" ", "")], "halves pictures"),
        (["data=scene_masks", "model=unet", "model.norm=layer"], "expected batch or null"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_data_are_read(words, said):
    assert said in refusal(build, unchecked(words).tree)


BOX = [2.0, 3.0, 10.0, 12.0, 4.0]
NONE = [0.0, 0.0, 0.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([[BOX, [2, 3, 33, 12, 4]]], r"box 1 of row 0 .* must lie inside the picture, 0 … 32 by 0 … 16"),
        ([[BOX, NONE], [[2, -1, 3, 12, 4], NONE]], "box 0 of row 1 .* inside"),
        ([[BOX, [5, 3, 5, 12, 4]]], "box 1 of row 0 .* x1 < x2"),
        ([[BOX, [5, 3, 7, 12, 10]]], "class 0 … 9"),
        ([[BOX, [5, 3, 7, 12, 0.5]]], "class 0 … 9"),
        ([[BOX, [float("nan"), 3, 7, 12, 1]]], "x1 < x2"),
        ([[BOX[:4]]], r"expected targets \(1, K, 5\) for data.y=boxes, found \(1, 1, 4\)"),
    ],
)
def test_boxes_that_are_none_are_refused_by_row(y, said):
    y = torch.tensor(y, dtype=torch.float32)
    with pytest.raises(ValueError, match=said):
        check_targets(y, "boxes", (1, 16, 32), 10, len(y))
    check_targets(torch.tensor([[BOX, [9.0, 9.0, 1.0, 1.0, -1.0]]]), "boxes", (1, 16, 32), 10, 1)


def test_masks_are_refused_by_row_and_place():
    y = torch.zeros(3, 4, 5, dtype=torch.uint8)
    check_targets(y, "masks", (1, 4, 5), 11, 3)
    y[1, 2, 3] = 11
    with pytest.raises(ValueError, match=r"the mask of row 1 has class 11 at \(2, 3\), expected 0 … 10"):
        check_targets(y, "masks", (1, 4, 5), 11, 3)
    with pytest.raises(ValueError, match=r"expected targets \(3, 5, 4\)"):
        check_targets(y, "masks", (1, 5, 4), 11, 3)
