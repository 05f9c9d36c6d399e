"""Augmentation: a whole batch of pictures in one call, each picture by its own random numbers.

``augment(x, seed, epoch, index)``: x (N, C, H, W) of any number type, index (N,) positions in the data; returns the
same shape and type. The random numbers are a hash of (seed, epoch, index), so that a picture changes the same way in
any batch, order, process or device, and differently in the next epoch.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from dlcourse.noise import uniform


class Shift:
    """Shift by up to ``pixels`` whole pixels in each direction; new pixels are 0."""

    def __init__(self, pixels: int = 2):
        self.pixels = _whole("pixels", pixels)

    def __call__(self, x: Tensor, seed: int, epoch: int, index: Tensor) -> Tensor:
        u = _draws(x, seed, epoch, index, 2)
        return moved(x, _steps(u[:, 0], self.pixels), _steps(u[:, 1], self.pixels))


class FlipCrop:
    """Flip left to right with probability 1/2, pad with ``padding`` zeros and crop to the original size at random."""

    def __init__(self, padding: int = 4):
        self.padding = _whole("padding", padding)

    def __call__(self, x: Tensor, seed: int, epoch: int, index: Tensor) -> Tensor:
        u = _draws(x, seed, epoch, index, 3)
        return moved(x, _steps(u[:, 0], self.padding), _steps(u[:, 1], self.padding), flip=u[:, 2] < 0.5)


class Affine:
    """Rotate by up to ``degrees``, shift by up to ``translate`` of the size, scale by 1 ± ``scale``; bilinear.

    ``flip``: before that, left to right with probability 1/2. New pixels are 0, or with ``edge`` the nearest old ones.
    """

    def __init__(
        self,
        degrees: float = 10.0,
        translate: float = 0.1,
        scale: float = 0.1,
        flip: bool = False,
        edge: bool = False,
    ):
        if not (degrees >= 0 and 0 <= translate <= 1 and 0 <= scale < 1):
            raise ValueError(
                f"degrees={degrees} must be 0 or more, translate={translate} in [0, 1], scale={scale} in [0, 1)"
            )
        self.degrees, self.translate, self.scale, self.flip = degrees, translate, scale, flip
        self.padding_mode = "border" if edge else "zeros"

    def __call__(self, x: Tensor, seed: int, epoch: int, index: Tensor) -> Tensor:
        u = 2 * _draws(x, seed, epoch, index, 5) - 1
        angle, zoom = u[:, 0] * math.radians(self.degrees), 1 + u[:, 1] * self.scale
        down, right = (u[:, k] * 2 * self.translate for k in (2, 3))  # the grid runs from −1 to 1
        pixels = x if x.is_floating_point() else x.float()
        if self.flip:
            pixels = torch.where((u[:, 4] < 0)[:, None, None, None], pixels.flip(3), pixels)
        grid = _grid(x, angle, zoom, down, right).to(pixels.dtype)
        out = functional.grid_sample(pixels, grid, padding_mode=self.padding_mode, align_corners=False)
        return out if x.is_floating_point() else out.round().to(x.dtype)


def _draws(x: Tensor, seed: int, epoch: int, index: Tensor, k: int) -> Tensor:
    """k numbers in [0, 1) for each picture of x, (N, k)."""
    if x.ndim != 4:
        raise ValueError(f"augmentation is for pictures (N, C, H, W), found {tuple(x.shape)}; set data.augment=none")
    return uniform(seed, epoch, index.to(x.device), k)


def moved(x: Tensor, down: Tensor, right: Tensor, flip: Tensor | None = None) -> Tensor:
    """Shift each picture by its own whole number of pixels, (N,) each, after flipping it where ``flip`` is true."""
    n, channels, height, width = x.shape
    rows = torch.arange(height, device=x.device) - down[:, None]
    columns = torch.arange(width, device=x.device) - right[:, None]
    outside = ((rows < 0) | (rows >= height))[:, None, :, None] | ((columns < 0) | (columns >= width))[:, None, None, :]
    if flip is not None:
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    x = x.gather(2, rows[:, None, :, None].expand(n, channels, height, width))
    return x.gather(3, columns[:, None, None, :].expand(n, channels, height, width)).masked_fill(outside, 0)


def _grid(x: Tensor, angle: Tensor, zoom: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """The source of each pixel, (N, H, W, 2); elementwise, so that no picture depends on others in the batch."""
    height, width = x.shape[2:]
    v = ((2 * torch.arange(height, device=x.device) + 1) / height - 1)[None, :, None] - down[:, None, None]
    h = ((2 * torch.arange(width, device=x.device) + 1) / width - 1)[None, None, :] - right[:, None, None]
    cos, sin = (angle.cos() / zoom)[:, None, None], (angle.sin() / zoom)[:, None, None]
    return torch.stack((cos * h + sin * v * (height / width), cos * v - sin * h * (width / height)), -1)


def _steps(u: Tensor, most: int) -> Tensor:
    """Whole numbers −most … most, equally likely."""
    return (u * (2 * most + 1)).long() - most


def _whole(key: str, value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{key}={value} must be a whole number of pixels, 0 or more")
    return value
