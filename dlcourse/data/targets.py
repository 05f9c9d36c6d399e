"""The kinds of targets that data can have: their shape, and which values are targets at all."""

from collections.abc import Sequence

import torch
from torch import Tensor


def expected_shape(kind: str, rows: int, shape: Sequence[int], outputs: int) -> tuple[int | str, ...]:
    """The shape of y for ``rows`` inputs of a shape (C, H, W); a letter stands for any number."""
    shapes: dict[str, tuple[int | str, ...]] = {
        "classes": (rows,),
        "masks": (rows, *shape[1:]),
        "boxes": (rows, "K", 5),
    }
    return shapes.get(kind, (rows, outputs))


def check_targets(y: Tensor, kind: str, shape: Sequence[int], outputs: int, rows: int) -> None:
    """ValueError: targets of another shape than their kind has, or the first row with an impossible one."""
    expected = expected_shape(kind, rows, shape, outputs)
    if y.ndim != len(expected) or any(n != m for n, m in zip(y.shape, expected, strict=True) if m != "K"):
        listed = ", ".join(map(str, expected)) + "," * (len(expected) == 1)
        raise ValueError(f"expected targets ({listed}) for data.y={kind}, found {tuple(y.shape)}")
    if kind == "boxes":
        check_boxes(y, shape, outputs)
        return
    largest = {"classes": outputs - 1, "masks": outputs - 1, "labels": 1}.get(kind)
    bad = ~torch.isfinite(y) if largest is None else (y < 0) | (y > largest) | (y != y.floor())
    if len(found := bad.reshape(len(y), -1).any(1).nonzero()):
        row = int(found[0])
        wanted = "a finite number" if largest is None else f"0 … {largest}"
        if kind == "masks":
            down, right = bad[row].nonzero()[0].tolist()
            value = y[row, down, right].item()
            raise ValueError(f"the mask of row {row} has class {value} at ({down}, {right}), expected {wanted}")
        raise ValueError(f"the target of row {row} is {y[row].tolist()}, expected {wanted}")


def check_boxes(y: Tensor, shape: Sequence[int], outputs: int) -> None:
    """ValueError names the first box [x1, y1, x2, y2, class] that is no box in a picture (C, H, W).

    Class −1 stands for no box; whatever its corners are, they are not looked at.
    """
    height, width = shape[1:]
    x1, y1, x2, y2, number = y.double().unbind(2)
    there = number != -1
    problems = {
        f"must have a class 0 … {outputs - 1}, or -1 for no box": ~(
            (number >= 0) & (number < outputs) & (number == number.floor())
        ),
        "must have x1 < x2 and y1 < y2": ~((x1 < x2) & (y1 < y2)),
        f"must lie inside the picture, 0 … {width} by 0 … {height}": ~(
            (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
        ),
    }
    for problem, bad in problems.items():
        if len(found := (bad & there).nonzero()):
            row, box = found[0].tolist()
            raise ValueError(f"box {box} of row {row} is {[round(v, 4) for v in y[row, box].tolist()]}: it {problem}")
